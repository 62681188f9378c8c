//! How many instructions the hot paths take. That depends on the build, not on how busy a machine is, so a limit holds
//! everywhere.
//!
//! Valgrind is asked itself rather than through gungraun: that needs a program of its own, of just the library's version,
//! which takes minutes to build, and CI's half hour is full. What gungraun would add, comparisons with the last run, limits
//! make up for: they are set a little above what was counted.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::command::{command, shown};

/// A hot path: what `inside count` calls it, and how many instructions it may take for one task.
struct HotPath {
    name: &'static str,
    what: &'static str,
    /// In the build of the tests, which is not optimized: it is there anyway when CI comes to it.
    tested: u64,
    /// In what ships.
    shipped: u64,
}

const HOT_PATHS: [HotPath; 7] = [
    HotPath { name: "parse", what: "parse and check a task of a DAG file", tested: 34_200, shipped: 7_900 },
    HotPath {
        name: "graph",
        what: "add a task with its dependencies to the graph",
        tested: 6_400,
        shipped: 620,
    },
    HotPath { name: "schedule", what: "take a task through the scheduler", tested: 16_000, shipped: 2_500 },
    HotPath { name: "call", what: "call an engine through the ABI", tested: 27_400, shipped: 8_050 },
    HotPath { name: "begin", what: "begin a run with a task", tested: 860, shipped: 430 },
    HotPath { name: "record", what: "record a task's four events", tested: 5_500, shipped: 670 },
    HotPath { name: "apply", what: "bring them into the database", tested: 16_200, shipped: 2_390 },
];

/// Tasks that `inside count` does it to.
const TASKS: u64 = 1_000;

/// Which build is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// That of the tests.
    Tested,
    /// The one that ships.
    Shipped,
}

/// The programs of a build.
pub(crate) struct Programs {
    /// The benchmark `inside` of core.
    pub(crate) inside: PathBuf,
    /// The engine `noop`.
    pub(crate) noop: PathBuf,
}

/// A hot path that was counted.
pub(crate) struct Count {
    what: &'static str,
    each: u64,
    limit: u64,
}

impl Count {
    /// For other programs.
    pub(crate) fn json(&self) -> Value {
        json!({"what": self.what, "instructions": self.each, "limit": self.limit, "met": self.is_met()})
    }

    fn is_met(&self) -> bool {
        self.each <= self.limit
    }
}

/// Counts every hot path.
///
/// # Errors
///
/// When valgrind is missing, or one of them fails.
pub(crate) fn count(programs: &Programs, build: Build) -> Result<Vec<Count>> {
    let folder = tempfile::tempdir().context("cannot make a folder for what is counted")?;
    let plugins = folder.path().join("plugins.toml");
    std::fs::write(&plugins, format!("[engines.noop]\npath = {:?}\n", programs.noop))
        .with_context(|| format!("cannot write {}", plugins.display()))?;
    let one = |path: &HotPath| {
        let each = total(&programs.inside, path.name, &plugins, folder.path())? / TASKS;
        let limit = if build == Build::Tested { path.tested } else { path.shipped };
        Ok(Count { what: path.what, each, limit })
    };
    HOT_PATHS.iter().map(one).collect()
}

/// Prints what was counted.
pub(crate) fn print(counts: &[Count]) {
    println!("{:<46} {:>12} {:>12}", "instructions a task", "counted", "limit");
    for Count { what, each, limit } in counts {
        println!("{what:<46} {each:>12} {limit:>12}");
    }
}

/// Whether all keep within their limits.
///
/// # Errors
///
/// When one does not; the message names all of them.
pub(crate) fn check(counts: &[Count]) -> Result<()> {
    let beyond: Vec<String> = counts
        .iter()
        .filter(|count| !count.is_met())
        .map(|Count { what, each, limit }| format!("to {what} takes {each} instructions, {limit} at most"))
        .collect();
    if beyond.is_empty() {
        return Ok(());
    }
    bail!("{}; find out why, or raise the limits in xtask/src/instructions.rs", beyond.join("; "))
}

fn total(inside: &Path, name: &str, plugins: &Path, folder: &Path) -> Result<u64> {
    let options = [
        "--tool=callgrind",
        "--collect-atstart=no",
        "--toggle-collect=inside::counts::measured*",
        "--callgrind-out-file=/dev/null",
    ];
    let mut valgrind = command("valgrind", options);
    valgrind.arg(inside).args(["count", name]).arg(plugins).arg(folder);
    let ended = valgrind.output().with_context(|| format!("cannot start `{}`", shown(&valgrind)))?;
    let told = String::from_utf8_lossy(&ended.stderr);
    if !ended.status.success() {
        bail!("`{}` failed: {}\n{told}", shown(&valgrind), ended.status);
    }
    collected(&told).with_context(|| format!("`{}` counted nothing:\n{told}", shown(&valgrind)))
}

/// The number in the line `==123== Collected : 456`, unless it is 0: then the function was not found.
fn collected(told: &str) -> Option<u64> {
    let line = told.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok().filter(|&count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_in_what_valgrind_says() {
        assert_eq!(collected("==7== \n==7== Events    : Ir\n==7== Collected : 1234\n"), Some(1234));
        assert_eq!(collected("==7== Collected : 0"), None, "the function was not found");
        assert_eq!(collected("==7== Events    : Ir"), None);
    }

    #[test]
    fn what_passes_its_limit_is_named() {
        let count = |what, each| Count { what, each, limit: 10 };
        assert!(check(&[count("walk", 10)]).is_ok());
        let said = check(&[count("walk", 10), count("run", 11)]).unwrap_err().to_string();
        assert!(said.starts_with("to run takes 11 instructions, 10 at most;"), "{said}");
    }
}
