//! `cargo xtask test`: all checks and tests, in one profile, so that nothing is built twice.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::command::{cargo, command, run, shown};
use crate::instructions::{self, Programs};
use crate::programs::{JAVA, MAKE, POSTGRESQL, PYTHON, REDIS, VALGRIND, VENV, require, require_terraform};
use crate::python::{self, Making};
use crate::tests;
use crate::workspace::{Workspace, executable};

/// How much is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All but what needs programs that few have and takes long.
    Usual,
    /// That too: Spark itself, and Terraform.
    Full,
}

/// One thing that has to hold.
struct Step {
    name: &'static str,
    action: Action,
}

enum Action {
    Run(Command),
    /// What this would run, several programs at a time.
    Tests(Command),
    /// The instructions of the hot paths keep within their limits, in what this builds.
    Instructions(Command),
    /// The programs of the system; with them the Python environment is begun.
    Programs,
    /// The Python environment is there.
    Python,
}

/// Runs every step until one fails, and ends with what each took.
///
/// # Errors
///
/// When a step fails; the message names its command.
pub(crate) fn test(scope: Scope) -> Result<()> {
    let mut took = Vec::new();
    let mut done = Ok(());
    let mut environment = None;
    for step in steps(scope)? {
        println!("\n── {} ──", step.name);
        let started = Instant::now();
        let outcome = step.action.perform(scope, &mut environment);
        took.push((step.name, started.elapsed(), outcome.is_ok()));
        if outcome.is_err() {
            done = outcome.with_context(|| format!("step `{}`", step.name));
            break;
        }
    }
    // Nothing goes on behind the summary. Where a step before it failed, that is what has to be said.
    if let Some(making) = environment {
        done = done.and(making.finish());
    }
    print_summary(&took);
    done
}

fn steps(scope: Scope) -> Result<Vec<Step>> {
    let step = |name, command| Step { name, action: Action::Run(command) };
    // What cargo builds is the same in every step.
    let workspace = |subcommand: &str| {
        let mut command = cargo([subcommand, "--workspace"]);
        if scope == Scope::Full {
            command.args(["--features", "oxidag-tests/full"]);
        }
        command
    };
    let with = |mut command: Command, arguments: &[&str]| {
        command.args(arguments);
        command
    };
    let mut doc = cargo(["doc", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    let fake = ["-m", "unittest", "discover", "--start-directory", "tests/gcp"];
    let fake = command(python::interpreter(&python::folder()?), fake);
    Ok(vec![
        step("format", cargo(["fmt", "--all", "--check"])),
        Step { name: "programs", action: Action::Programs },
        step("clippy", with(workspace("clippy"), &["--all-targets", "--", "-D", "warnings"])),
        // With the tests' own targets: they bring features of shared dependencies with them, and without
        // them those dependencies would be built once for this step and again for the next. The tests
        // across crates run the program and load the libraries that this step leaves behind.
        step("build", with(workspace("build"), &["--all-targets"])),
        // What it looks at is built already. Not after the tests, which build libraries anew.
        Step {
            name: "instructions",
            action: Action::Instructions(with(workspace("build"), &["--all-targets"])),
        },
        // Begun long ago, and mostly there by now.
        Step { name: "python", action: Action::Python },
        step("fake of Google", fake),
        Step { name: "tests", action: Action::Tests(workspace("test")) },
        step("doc tests", with(workspace("test"), &["--doc"])),
        // By itself: the host for tests of engines is no part of the libraries that the steps before have built.
        step("test host", cargo(["test", "--package", "oxidag-plugin-api", "--features", "async,test"])),
        step("documentation", doc),
    ])
}

impl Action {
    /// `environment` is the Python environment, from when it is begun until it is there.
    fn perform(self, scope: Scope, environment: &mut Option<Making>) -> Result<()> {
        match self {
            Self::Run(mut command) => {
                println!("$ {}", shown(&command));
                run(&mut command)
            }
            Self::Tests(command) => {
                println!("$ {}", shown(&command));
                tests::run(command)
            }
            Self::Instructions(command) => count(command),
            Self::Programs => {
                require(&[&PYTHON, &VENV, &POSTGRESQL, &REDIS, &MAKE, &VALGRIND])?;
                if scope == Scope::Full {
                    require(&[&JAVA])?;
                    require_terraform()?;
                }
                *environment = Some(python::begin(scope)?);
                Ok(())
            }
            Self::Python => environment.take().map_or(Ok(()), Making::finish),
        }
    }
}

/// Not in the build that ships: it would take minutes. One task more that is copied, parsed or looked up shows in this one too.
fn count(mut build: Command) -> Result<()> {
    let inside = executable(&mut build, "inside")?;
    let name = format!("{}oxidag_engine_noop{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let noop = Workspace::read()?.target.join("debug").join(name);
    let counts = instructions::count(&Programs { inside, noop }, instructions::Build::Tested)?;
    instructions::print(&counts);
    instructions::check(&counts)
}

fn print_summary(took: &[(&str, Duration, bool)]) {
    println!("\n── summary ──");
    for (name, time, passed) in took {
        let mark = if *passed { "ok" } else { "FAILED" };
        println!("{name:<14} {:>7.1} s  {mark}", time.as_secs_f64());
    }
    let total: Duration = took.iter().map(|(_, time, _)| *time).sum();
    println!("{:<14} {:>7.1} s", "total", total.as_secs_f64());
}
