//! What is measured inside a process, by core's benchmark `inside`: calls of an engine, which are too short for a clock that
//! stands outside, and very many runs in one process.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::report::Report;
use super::{Bench, Built};
use crate::command::{command, output, run};

/// What a call costs at most beyond the engine's own work, in microseconds.
const TARGET: f64 = 2.0;

/// How many runs one process makes.
const RUNS: u32 = 10_000;

impl Bench {
    /// Builds an engine in C that does nothing, and measures calls of it and of one in Rust.
    pub(super) fn calls(&self, report: &mut Report) -> Result<()> {
        let in_c = self.folder.path().join("empty.so");
        let mut cc = command("cc", ["-std=c11", "-O2", "-fPIC", "-shared", "-Iplugin-api/include", "-o"]);
        run(cc.arg(&in_c).arg("xtask/src/bench/empty.c"))?;
        let engines =
            format!("[engines.c]\npath = {in_c:?}\n[engines.rust]\npath = {:?}\n", self.built.rogue);
        let plugins = self.write("calls.toml", &engines)?;
        let rounds = self.rounds.to_string();
        for measured in self.inside(["calls".as_ref(), plugins.as_os_str(), rounds.as_ref()])? {
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

    /// What a process holds after half of its runs and after all of them. The first half is for what is kept on purpose.
    pub(super) fn long(&self, report: &mut Report) -> Result<()> {
        let home = self.folder.path().join("long");
        let plugins = self.plugins("in-process")?;
        let runs = RUNS.to_string();
        let looks = self.inside(["runs".as_ref(), plugins.as_os_str(), home.as_os_str(), runs.as_ref()])?;
        let half = looks.iter().find(|look| look["runs"] == RUNS / 2);
        let (half, all) = half.zip(looks.last()).context("the benchmark of runs tells nothing")?;
        let grown = |name: &str| -> Result<f64> {
            let number = |look: &Value| {
                look[name].as_f64().with_context(|| format!("the benchmark of runs tells no {name}"))
            };
            Ok(number(all)? - number(half)?)
        };
        report.add("10,000 runs in a process: memory grows by", "MB", [grown("kilobytes")? / 1000.0], 1.0);
        report.add("descriptors by", "", [grown("descriptors")?], 0.0);
        report.add("threads by", "", [grown("threads")?], 0.0);
        Ok(())
    }

    /// Stores runs beside those that are there.
    pub(super) fn store(&self, home: &Path, runs: u32) -> Result<()> {
        let runs = runs.to_string();
        self.inside(["stored".as_ref(), home.as_os_str(), runs.as_ref()]).map(drop)
    }

    fn inside<const N: usize>(&self, arguments: [&std::ffi::OsStr; N]) -> Result<Vec<Value>> {
        let Built { inside, .. } = &self.built;
        let printed = output(&mut command(inside, arguments))?;
        let line = |line| serde_json::from_str(line).context("the benchmark `inside` prints no JSON");
        printed.lines().map(line).collect()
    }
}
