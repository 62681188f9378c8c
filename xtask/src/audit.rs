//! `cargo xtask audit`: what the dependencies are licensed under and where they come from, and whether engines that
//! compile today will do so tomorrow.

use anyhow::{Context, Result, bail};

use crate::command::{cargo, command, output, run};

/// The crate that engines are written against.
const PLUGIN_API: &str = "oxidag-plugin-api";

/// Runs cargo-deny by `deny.toml` and cargo-semver-checks on plugin-api, and installs them first where they are missing.
///
/// # Errors
///
/// When one of them cannot be installed, or finds something.
pub(crate) fn audit() -> Result<()> {
    have("deny")?;
    run(&mut cargo(["deny", "--all-features", "check", "bans", "licenses", "sources"]))?;
    have("semver-checks")?;
    let before = last_version()?;
    // The package by its name: those that are not published are left out otherwise.
    let check =
        ["semver-checks", "check-release", "-p", PLUGIN_API, "--all-features", "--baseline-rev", &before];
    run(&mut cargo(check))
}

/// A program that extends cargo.
fn have(name: &str) -> Result<()> {
    if output(&mut cargo([name, "--version"])).is_err() {
        println!("cargo-{name} is missing; installing it takes some minutes");
        let package = format!("cargo-{name}");
        run(&mut cargo(["install", &package, "--locked"]))
            .with_context(|| format!("cannot install cargo-{name}"))?;
    }
    Ok(())
}

/// The last revision of plugin-api's version before this one: the parent of the one that changed the number.
fn last_version() -> Result<String> {
    let mut log =
        command("git", ["log", "-1", "--format=%H", "-G^version = ", "--", "plugin-api/Cargo.toml"]);
    let changed = output(&mut log)?;
    let changed = changed.trim();
    if changed.is_empty() {
        bail!(
            "the history does not say when {PLUGIN_API} got its version; fetch all of it (`git fetch --unshallow`)"
        );
    }
    Ok(format!("{changed}^"))
}
