//! `oxidag completions`.

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::args::Cli;
use crate::output;

pub(super) fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    output::print(&String::from_utf8_lossy(&script)).context("cannot print the completions")
}
