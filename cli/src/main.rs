//! The `oxidag` command: arguments in, what people and programs read out.
//!
//! ```text
//! args (as typed) ─▶ commands ─▶ oxidag-core ─▶ report, chart, graph, table ─▶ output
//!                        └─▶ exit
//! ```
//!
//! Nothing here decides what runs and when; that is the library's. Nothing is loaded before a command needs it.

mod args;
mod chart;
mod commands;
mod exit;
mod failure;
mod fetching;
mod format;
mod graph;
mod names;
mod notice;
mod output;
mod phases;
mod report;
mod settings;
mod signals;
mod since;
mod style;
mod svg;
mod table;
mod uploads;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    signals::survive();
    let cli = args::Cli::parse();
    match commands::execute(cli.command) {
        Ok(exit) => exit.into(),
        Err(error) => failure::report(&error).into(),
    }
}
