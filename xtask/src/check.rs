//! `cargo xtask test`: all checks and tests, in one profile, so that nothing is built twice.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::command::{cargo, run, shown};
use crate::programs::{POSTGRESQL, PYTHON, require};

/// One thing that has to hold.
struct Step {
    name: &'static str,
    action: Action,
}

enum Action {
    Run(Command),
    Programs,
}

/// Runs every step until one fails, and ends with what each took.
///
/// # Errors
///
/// When a step fails; the message names its command.
pub(crate) fn test() -> Result<()> {
    let mut took = Vec::new();
    let mut done = Ok(());
    for mut step in steps() {
        println!("\n── {} ──", step.name);
        let started = Instant::now();
        let outcome = step.action.perform();
        took.push((step.name, started.elapsed(), outcome.is_ok()));
        if outcome.is_err() {
            done = outcome.with_context(|| format!("step `{}`", step.name));
            break;
        }
    }
    print_summary(&took);
    done
}

fn steps() -> Vec<Step> {
    let step = |name, command| Step { name, action: Action::Run(command) };
    let mut doc = cargo(["doc", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    vec![
        step("format", cargo(["fmt", "--all", "--check"])),
        Step { name: "programs", action: Action::Programs },
        step("clippy", cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        // With the tests' own targets: they bring features of shared dependencies with them, and without
        // them those dependencies would be built once for this step and again for the next. The tests
        // across crates run the program and load the libraries that this step leaves behind.
        step("build", cargo(["build", "--workspace", "--all-targets"])),
        step("tests", cargo(["test", "--workspace"])),
        step("documentation", doc),
    ]
}

impl Action {
    fn perform(&mut self) -> Result<()> {
        match self {
            Action::Run(command) => {
                println!("$ {}", shown(command));
                run(command)
            }
            Action::Programs => {
                require(&PYTHON)?;
                require(&POSTGRESQL)
            }
        }
    }
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
