//! `cargo xtask bench`: how fast the built program is, measured from outside, beside its targets.
//!
//! It reports and never judges: a busy machine is no reason for anything to fail.

mod calls;
mod dags;
mod growth;
mod measure;
mod report;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::command::command;
use crate::programs::{MAKE, require};
use crate::workspace::{Workspace, root};
use measure::{Sample, measure};
use report::{Report, median, per_task};

/// How many tasks have no dependencies.
const INDEPENDENT: u32 = 100_000;
/// How many tasks wait for one another.
const CHAIN: u32 = 10_000;
/// How many tasks start a process.
const PROCESSES: u32 = 500;

/// What was asked for.
struct Options {
    json: bool,
    rounds: usize,
}

/// Where the measured program is and what it runs.
struct Bench {
    oxidag: PathBuf,
    folder: TempDir,
    rounds: usize,
}

/// Builds what `cargo xtask dist` builds, measures it, and prints medians.
///
/// # Errors
///
/// When the build fails, a program is missing, or a measured command does not succeed.
pub(crate) fn bench(options: &[&str]) -> Result<()> {
    let options = Options::read(options)?;
    require(&[&MAKE])?;
    let workspace = Workspace::read()?;
    let built = workspace.build("dist", ["oxidag-engine-noop", "oxidag-engine-shell"])?;
    // In the target directory, since the temporary one may be memory and runs are stored on disk.
    let folder = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(&workspace.target)
        .context("cannot make a folder for the benchmark in the target directory")?;
    let bench = Bench {
        oxidag: built.join(format!("oxidag{}", std::env::consts::EXE_SUFFIX)),
        folder,
        rounds: options.rounds,
    };
    let mut report = bench.measure_all()?;
    calls::measure(&workspace, bench.folder.path(), bench.rounds, &mut report)?;
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{report}");
    }
    Ok(())
}

impl Options {
    fn read(options: &[&str]) -> Result<Self> {
        let mut read = Self { json: false, rounds: 5 };
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match *option {
                "--json" => read.json = true,
                "--rounds" => {
                    read.rounds = options
                        .next()
                        .and_then(|rounds| rounds.parse().ok())
                        .filter(|rounds| *rounds > 0)
                        .context("--rounds takes a number from 1")?;
                }
                other => bail!("no option `{other}`; there are --json and --rounds N"),
            }
        }
        Ok(read)
    }
}

impl Bench {
    fn measure_all(&self) -> Result<Report> {
        let mut report = Report::new(self.rounds);
        self.one_task(&mut report)?;
        self.no_ops(&mut report)?;
        self.isolated(&mut report)?;
        self.processes(&mut report)?;
        self.growth(&mut report)?;
        Ok(report)
    }

    fn one_task(&self, report: &mut Report) -> Result<()> {
        let dag = self.write("one.json", &dags::independent(1))?;
        let samples = self.rounds(|round| self.run(&dag, round))?;
        let times = samples.iter().map(|sample| sample.seconds * 1000.0);
        report.add("one noop task, start to exit", "ms", times, 30.0);
        Ok(())
    }

    fn no_ops(&self, report: &mut Report) -> Result<()> {
        let many = self.write("independent.json", &dags::independent(INDEPENDENT))?;
        let chain = self.write("chain.json", &dags::chain(CHAIN))?;
        let mut independent = Vec::new();
        let mut chained = Vec::new();
        for round in 0..self.rounds {
            independent.push(self.run(&many, round)?);
            chained.push(self.run(&chain, round)?);
        }
        let seconds = independent.iter().map(|sample| sample.seconds);
        report.add("100,000 independent noop tasks", "s", seconds, 1.5);
        let memory = independent.iter().map(|sample| sample.peak_megabytes);
        report.add("their peak memory", "MB", memory, 200.0);

        let target = per_task(1.5, INDEPENDENT);
        let each = independent.iter().map(|sample| per_task(sample.seconds, INDEPENDENT));
        report.add("each of them", "µs", each, target);
        let each = chained.iter().map(|sample| per_task(sample.seconds, CHAIN));
        report.add("each of 10,000 noop tasks in a chain", "µs", each, target);
        Ok(())
    }

    /// The same tasks with their engine in oxidag's process and in one of its own, in turn.
    fn isolated(&self, report: &mut Report) -> Result<()> {
        let plugins = |isolation: &str| {
            let engine = "[engines.noop]\npath = \"oxidag_engine_noop\"\nisolation";
            self.write(&format!("{isolation}.toml"), &format!("{engine} = \"{isolation}\"\n"))
        };
        let (here, apart) = (plugins("in-process")?, plugins("process")?);
        let near = self.write("near.json", &dags::independent(CHAIN))?;
        let far = self.write("far.json", &dags::independent(CHAIN))?;
        let mut nears = Vec::new();
        let mut fars = Vec::new();
        for round in 0..self.rounds {
            nears.push(per_task(self.run_on(&here, &near, round)?.seconds, CHAIN));
            fars.push(per_task(self.run_on(&apart, &far, round)?.seconds, CHAIN));
        }
        let added: Vec<f64> = fars.iter().zip(&nears).map(|(far, near)| far - near).collect();
        report.add_baseline("each of 10,000 noop tasks", "µs", nears);
        report.add_baseline("the same, isolation = \"process\"", "µs", fars);
        report.add("what isolation adds to each", "µs", added, 100.0);
        Ok(())
    }

    /// Both in turn, so that a machine that slows down slows both down; on a disk that has nothing left to write of what
    /// was measured before, since only one of the two makes files.
    fn processes(&self, report: &mut Report) -> Result<()> {
        measure(&mut Command::new("sync"))?;
        let dag = self.write("processes.json", &dags::processes(PROCESSES))?;
        let makefile = self.write("Makefile", &dags::makefile(PROCESSES))?;
        let mut ours = Vec::new();
        let mut makes = Vec::new();
        for round in 0..self.rounds {
            ours.push(self.run(&dag, round)?.seconds);
            let mut make = command("make", ["-s", "-j2", "-f"]);
            makes.push(measure(make.arg(&makefile))?.seconds);
        }
        let ratios: Vec<f64> = ours.iter().zip(&makes).map(|(o, m)| o / m).collect();
        let milliseconds = |seconds: f64| seconds * 1000.0 / f64::from(PROCESSES);
        report.add(
            "each of 500 shell tasks, /bin/true",
            "ms",
            ours.into_iter().map(milliseconds),
            median(&makes).map_or(f64::NAN, milliseconds) * 1.3,
        );
        report.add_baseline("the same by make -s -j2", "ms", makes.into_iter().map(milliseconds));
        report.add("oxidag over make", "×", ratios, 1.3);
        Ok(())
    }

    fn rounds(&self, run: impl FnMut(usize) -> Result<Sample>) -> Result<Vec<Sample>> {
        (0..self.rounds).map(run).collect()
    }

    /// One run of a DAG, on a state folder that no run has seen before.
    fn run(&self, dag: &Path, round: usize) -> Result<Sample> {
        self.run_on(&root().join("plugins.toml"), dag, round)
    }

    fn run_on(&self, plugins: &Path, dag: &Path, round: usize) -> Result<Sample> {
        let stem = dag.file_stem().unwrap_or_default().to_string_lossy();
        let home = self.folder.path().join(format!("{stem}-{round}"));
        let mut oxidag = Command::new(&self.oxidag);
        oxidag
            .arg("run")
            .arg(dag)
            .arg("--plugins")
            .arg(plugins)
            .args(["--workers", "2", "--format", "quiet"])
            .current_dir(self.folder.path())
            .env("OXIDAG_HOME", &home);
        // The state goes with the folder at the end: ext4 is slow to make files for a while after many were removed.
        measure(&mut oxidag)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}
