//! Runs the tests that cargo builds, two programs at a time: most of them wait for servers, processes and deadlines, and
//! cargo runs one after the other.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::command::output;

/// So many at once. Each has as many threads as there are processors already.
const AT_ONCE: usize = 2;

/// A program with tests in it.
struct Program {
    path: PathBuf,
    /// The package's folder, in which cargo runs them too.
    folder: PathBuf,
}

/// Builds what `cargo test` with these arguments would run, and runs all of it. What a program prints is shown when it ends.
///
/// # Errors
///
/// When the build or a program fails; the message names the programs.
pub(crate) fn run(mut cargo_test: Command) -> Result<()> {
    cargo_test.args(["--no-run", "--message-format=json-render-diagnostics"]);
    let programs = programs(&output(&mut cargo_test)?)?;
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(program) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = tested(program) {
                        failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(error);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if failed.is_empty() {
        return Ok(());
    }
    let failed: Vec<String> = failed.iter().map(|error| format!("{error:#}")).collect();
    bail!("of {} programs with tests: {}", programs.len(), failed.join("; "))
}

/// The programs in cargo's messages ("External tools", in the Cargo book).
fn programs(messages: &str) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).context("cannot read what cargo says")?;
        let is_test = message["profile"]["test"] == true;
        let path = message["executable"].as_str().filter(|_| is_test);
        let folder = message["manifest_path"].as_str().and_then(|manifest| Path::new(manifest).parent());
        if let (Some(path), Some(folder)) = (path, folder) {
            programs.push(Program { path: path.into(), folder: folder.to_owned() });
        }
    }
    if programs.is_empty() {
        bail!("cargo has built no tests");
    }
    Ok(programs)
}

fn tested(Program { path, folder }: &Program) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let began = Instant::now();
    let ended = Command::new(path).current_dir(folder).env("CARGO_MANIFEST_DIR", folder).output();
    let Output { status, stdout, stderr } = ended.with_context(|| format!("cannot start {name}"))?;
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    println!("\n── {name}: {:.1} s ──\n{}{}", began.elapsed().as_secs_f64(), out.trim_start(), err);
    if !status.success() {
        bail!("{name} failed: {status}");
    }
    Ok(())
}
