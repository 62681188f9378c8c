//! `cargo xtask`: the chores of this repository, one module each.
//!
//! It starts other programs and prints what they did; nothing of oxidag itself is linked in, so that it
//! builds in seconds and works while the rest does not compile.
#![expect(clippy::print_stdout, reason = "what a chore did is for the person at the terminal")]

mod audit;
mod bench;
mod check;
mod command;
mod demo;
mod dist;
mod instructions;
mod programs;
mod python;
mod tests;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
The chores of this repository.

usage: cargo xtask CHORE

  demo                        build what the quick start needs, and run it
  test [--full]               all checks and tests; with --full also those that need Java and Terraform
  bench [--json] [--check]    measure, and print medians beside their targets; with --check, fail where one is missed
        [--rounds N]          so often; 5 times without
        [--only PARTS]        noops, one, growing, isolation, waiting, processes, looking, makespan, long, calls
        [--peers dask,luigi]  these beside make, ninja and xargs; pip installs them
        [--counts]            instead, count the instructions of the hot paths, and hold them to their limits
  audit                       licences, bans and sources of the dependencies, by cargo-deny; plugin-api, by cargo-semver-checks
  dist                        an archive with the program and its engines, in dist/
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [] | ["help" | "-h" | "--help"] => {
            print!("{USAGE}");
            Ok(())
        }
        ["demo"] => demo::demo(),
        ["test"] => check::test(check::Scope::Usual),
        ["test", "--full"] => check::test(check::Scope::Full),
        ["bench", options @ ..] => bench::bench(options),
        ["audit"] => audit::audit(),
        ["dist"] => dist::dist(),
        other => Err(anyhow::anyhow!("no chore `{}`; `cargo xtask help` lists them", other.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
