//! `cargo xtask audit`: what the dependencies are licensed under and where they come from.

use anyhow::{Context, Result};

use crate::command::{cargo, output, run};

/// Runs cargo-deny by `deny.toml`, and installs it first where it is missing.
///
/// # Errors
///
/// When cargo-deny cannot be installed, or finds something.
pub(crate) fn audit() -> Result<()> {
    if output(&mut cargo(["deny", "--version"])).is_err() {
        println!("cargo-deny is missing; installing it takes some minutes");
        run(&mut cargo(["install", "cargo-deny", "--locked"])).context("cannot install cargo-deny")?;
    }
    run(&mut cargo(["deny", "--all-features", "check", "bans", "licenses", "sources"]))
}
