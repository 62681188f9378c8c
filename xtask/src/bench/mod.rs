//! `cargo xtask bench`: how fast the built program is, measured from outside, beside its targets and its peers.
//!
//! It reports; only with `--check` does it judge, since a busy machine is no reason for anything to fail. How many
//! instructions the hot paths take, which depends on no machine, [`crate::instructions`] counts.

mod dags;
mod growth;
mod inside;
mod looking;
mod measure;
mod noops;
mod peers;
mod processes;
mod report;
mod waiting;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::command::cargo;
use crate::instructions::{self, Programs};
use crate::programs::{MAKE, VALGRIND, require};
use crate::workspace::{PROGRAM, Workspace, executable, root};
use measure::{Sample, measure};
use report::Report;

/// What is measured together.
type Part = fn(&Bench, &mut Report) -> Result<()>;

/// All parts by their names. Those that tell memory come first: what is read here later counts as theirs otherwise.
const PARTS: [(&str, Part); 10] = [
    ("noops", Bench::no_ops),
    ("one", Bench::one_task),
    ("growing", Bench::growth),
    ("isolation", Bench::isolated),
    ("waiting", Bench::waiting),
    ("processes", Bench::processes),
    ("looking", Bench::looking),
    ("makespan", Bench::makespan),
    ("long", Bench::long),
    ("calls", Bench::calls),
];

/// What was asked for.
#[derive(Debug, Default, PartialEq)]
struct Options {
    json: bool,
    check: bool,
    counts: bool,
    rounds: usize,
    /// Parts by their names; all without.
    only: Vec<String>,
    peers: Vec<String>,
}

/// Where the measured program is and what it runs.
struct Bench {
    built: Built,
    folder: TempDir,
    rounds: usize,
    peers: Vec<String>,
}

/// What was built.
struct Built {
    oxidag: PathBuf,
    noop: PathBuf,
    rogue: PathBuf,
    /// Core's benchmark of that name.
    inside: PathBuf,
}

/// Builds what `cargo xtask dist` builds, measures it, and prints medians.
///
/// # Errors
///
/// When the build fails, a program is missing, a measured command does not succeed, or with `--check` a target is missed.
pub(crate) fn bench(options: &[&str]) -> Result<()> {
    let options = Options::read(options)?;
    require(if options.counts { &[&VALGRIND] } else { &[&MAKE] })?;
    let workspace = Workspace::read()?;
    let built = Built::build(&workspace)?;
    if options.counts {
        return count(built, &options);
    }
    // In the target directory, since the temporary one may be memory and runs are stored on disk.
    let folder = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(&workspace.target)
        .context("cannot make a folder for the benchmark in the target directory")?;
    let bench = Bench { built, folder, rounds: options.rounds, peers: options.peers };
    let mut report = Report::new(options.rounds);
    for (name, part) in PARTS {
        if options.only.is_empty() || options.only.iter().any(|only| only == name) {
            part(&bench, &mut report).with_context(|| format!("cannot measure `{name}`"))?;
        }
    }
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{report}");
    }
    if options.check { report.check() } else { Ok(()) }
}

/// Counts instructions instead of measuring times.
fn count(built: Built, options: &Options) -> Result<()> {
    let programs = Programs { inside: built.inside, noop: built.noop };
    let counts = instructions::count(&programs, instructions::Build::Shipped)?;
    if options.json {
        println!("{}", counts.iter().map(instructions::Count::json).collect::<serde_json::Value>());
    } else {
        instructions::print(&counts);
    }
    instructions::check(&counts)
}

impl Options {
    fn read(options: &[&str]) -> Result<Self> {
        let mut read = Self { rounds: 5, ..Self::default() };
        let mut options = options.iter();
        let list = |names: Option<&&str>, option: &str, known: &[&str]| -> Result<Vec<String>> {
            let names: Vec<String> = names.unwrap_or(&"").split(',').map(str::to_owned).collect();
            match names.iter().all(|name| known.contains(&name.as_str())) {
                true => Ok(names),
                false => bail!("{option} takes some of {}, with commas between them", known.join(", ")),
            }
        };
        while let Some(option) = options.next() {
            match *option {
                "--json" => read.json = true,
                "--check" => read.check = true,
                "--counts" => read.counts = true,
                "--rounds" => {
                    read.rounds = options
                        .next()
                        .and_then(|rounds| rounds.parse().ok())
                        .filter(|rounds| *rounds > 0)
                        .context("--rounds takes a number from 1")?;
                }
                "--only" => read.only = list(options.next(), option, &PARTS.map(|(name, _)| name))?,
                "--peers" => read.peers = list(options.next(), option, &["dask", "luigi"])?,
                other => bail!(
                    "no option `{other}`; there are --json, --check, --counts, --rounds N, --only PARTS and --peers NAMES"
                ),
            }
        }
        Ok(read)
    }
}

impl Built {
    /// In one go, so that nothing is built twice.
    fn build(workspace: &Workspace) -> Result<Self> {
        let mut build = cargo(["build", "--profile", "dist", "--lib", "--bins", "--bench", "inside"]);
        let packages =
            [PROGRAM, "oxidag-core", "oxidag-engine-noop", "oxidag-engine-shell", "oxidag-engine-rogue"];
        build.args(packages.iter().flat_map(|package| ["-p", package]));
        let inside = executable(&mut build, "inside")?;
        let built = workspace.target.join("dist");
        let library = |name: &str| {
            built.join(format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX))
        };
        Ok(Self {
            oxidag: built.join(format!("oxidag{}", std::env::consts::EXE_SUFFIX)),
            noop: library("oxidag_engine_noop"),
            rogue: library("oxidag_engine_rogue"),
            inside,
        })
    }
}

impl Bench {
    /// One run of a DAG, on a state folder that no run has seen before.
    fn run(&self, dag: &Path, round: usize) -> Result<Sample> {
        self.run_on(&root().join("plugins.toml"), dag, round)
    }

    fn run_on(&self, plugins: &Path, dag: &Path, round: usize) -> Result<Sample> {
        let mut oxidag = self.oxidag("run", round, dag);
        oxidag.arg("--plugins").arg(plugins).args(["--workers", "2", "--format", "quiet"]);
        // The state goes with the folder at the end: ext4 is slow to make files for a while after many were removed.
        measure(&mut oxidag)
    }

    /// A command about a DAG.
    fn oxidag(&self, subcommand: &str, round: usize, dag: &Path) -> Command {
        let stem = dag.file_stem().unwrap_or_default().to_string_lossy();
        let mut oxidag = self.command(&self.home(&stem, round));
        oxidag.arg(subcommand).arg(dag);
        oxidag
    }

    /// The program, with its state in a folder.
    fn command(&self, home: &Path) -> Command {
        let mut oxidag = Command::new(&self.built.oxidag);
        oxidag.current_dir(self.folder.path()).env("OXIDAG_HOME", home);
        oxidag
    }

    /// Where the state of a DAG's run is.
    fn home(&self, stem: &str, round: usize) -> PathBuf {
        self.folder.path().join(format!("{stem}-{round}"))
    }

    /// Has a DAG file written.
    fn dag(&self, stem: &str, write: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<PathBuf> {
        let path = self.folder.path().join(format!("{stem}.json"));
        write(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_peers_are_chosen_by_their_names() {
        let read =
            Options::read(&["--rounds", "3", "--only", "noops,one", "--peers", "dask", "--check"]).unwrap();
        assert_eq!((read.rounds, read.check, read.json), (3, true, false));
        assert_eq!((read.only.join(" "), read.peers.join(" ")), ("noops one".to_owned(), "dask".to_owned()));
        let said = Options::read(&["--only", "nothing"]).unwrap_err().to_string();
        assert!(said.starts_with("--only takes some of noops, one, "), "{said}");
    }
}
