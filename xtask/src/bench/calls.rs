//! A call of an engine, measured inside a process: too short for a clock that stands outside.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::report::Report;
use crate::command::{cargo, command, output, run};
use crate::workspace::{Workspace, root};

/// What a call costs at most beyond the engine's own work, in microseconds.
const TARGET: f64 = 2.0;

/// Builds an engine in C that does nothing, and measures calls of it and of one in Rust.
///
/// # Errors
///
/// When something cannot be built, or an attempt does not end well.
pub(super) fn measure(
    workspace: &Workspace,
    folder: &Path,
    rounds: usize,
    report: &mut Report,
) -> Result<()> {
    let in_c = folder.join("empty.so");
    let mut cc = command("cc", ["-std=c11", "-O2", "-fPIC", "-shared", "-Iplugin-api/include", "-o"]);
    run(cc.arg(&in_c).arg("xtask/src/bench/empty.c"))?;
    run(&mut cargo(["build", "--profile", "dist", "-p", "oxidag-engine-rogue"]))?;
    let name = format!("{}oxidag_engine_rogue{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let in_rust = workspace.target.join("dist").join(name);

    let plugins = folder.join("calls.toml");
    let engines = format!("[engines.c]\npath = {in_c:?}\n[engines.rust]\npath = {in_rust:?}\n");
    std::fs::write(&plugins, engines).with_context(|| format!("cannot write {}", plugins.display()))?;
    let mut bench =
        cargo(["bench", "--quiet", "--profile", "dist", "-p", "oxidag-core", "--bench", "abi_call", "--"]);
    let printed = output(bench.arg(&plugins).arg(rounds.to_string()).current_dir(root()))?;
    for line in printed.lines() {
        let measured: Value = serde_json::from_str(line).context("the benchmark of calls prints no JSON")?;
        let nanoseconds =
            measured["nanoseconds"].as_array().context("the benchmark of calls tells no times")?;
        let times = nanoseconds.iter().filter_map(Value::as_f64).map(|nanoseconds| nanoseconds / 1000.0);
        let what = if measured["engine"] == "c" {
            "a call of an engine in C"
        } else {
            "a call of an engine in Rust"
        };
        report.add(what, "µs", times, TARGET);
    }
    Ok(())
}
