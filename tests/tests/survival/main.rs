//! Runs whose scheduler is killed again and again, at random moments, over local, deferred and mapped work: each task has one
//! effect all the same, and nothing that was told to be done is undone.
//!
//! A failure names its seed; `OXIDAG_SURVIVAL_SEED=SEED cargo test -p oxidag-tests --test survival` plays it again, with
//! the same DAG and the same plan of kills.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod checks;
mod dag;
mod process;
mod rivals;

use std::collections::HashSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use oxidag_tests::ledger::{Entry, Ledger};
use oxidag_tests::{Sandbox, engine};

use dag::Dag;
use process::{End, Known, Moment};

/// How many kills there have to be.
const KILLS: u32 = 300;
/// How many of them one run has to bear at most.
const KILLS_PER_RUN: u32 = 30;
/// How many runs go on at once.
const SIDE_BY_SIDE: usize = 2;

/// One run, from its first process to its last.
struct Round {
    sandbox: Sandbox,
    ledger: Ledger,
    dag: Dag,
    rng: Rng,
    run: String,
    workers: String,
    processes: u32,
    kills: u32,
    ended: HashSet<String>,
}

impl Round {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let dag = Dag::random(&mut rng);
        let sandbox = Sandbox::new();
        let ledger = Ledger::start(sandbox.path().join("ledger"));
        let plugins = format!(
            "[engines.ledger]\npath = {:?}\nconfig = {{address = '{}'}}\n[engines.shell]\npath = {:?}\n[engines.noop]\npath = {:?}\n",
            engine("ledger"),
            ledger.address(),
            engine("shell"),
            engine("noop")
        );
        sandbox.write("plugins.toml", &plugins);
        sandbox.write("dag.json", &dag.file());
        let workers = rng.u32(1..=4).to_string();
        // No other run on the machine has this id: its processes are known by it.
        let run = format!("survival-{seed}-{}", std::process::id());
        Self { sandbox, ledger, dag, rng, run, workers, processes: 0, kills: 0, ended: HashSet::new() }
    }

    /// Plays it to its end, bearing so many kills at most.
    fn play(&mut self, kills: u32) -> Result<(), String> {
        let mut begun = false;
        let status = loop {
            let moment = if self.kills < kills { Moment::random(&mut self.rng) } else { Moment::Never };
            match self.process(begun, moment)? {
                End::Killed => {
                    self.kills += 1;
                    begun = true;
                    if self.rng.u8(..4) == 0 {
                        self.look()?;
                    }
                }
                // The first process was killed before it had stored the run.
                End::Exited(2, _) if begun && !self.is_known() => begun = false,
                End::Exited(status, said) if ![0, 1].contains(&status) => {
                    return Err(format!("process {} ended with status {status}: {said}", self.processes));
                }
                End::Exited(status, _) => break status,
            }
        };
        self.check(status)
    }

    /// Whether anything of the run can have happened, as far as anybody can tell.
    fn is_known(&self) -> bool {
        !self.ledger.book().entries().is_empty()
            || self.sandbox.oxidag(&["runs", "show", &self.run]).status == Some(0)
    }

    /// Looks at the run between two processes, which recovers it, too.
    fn look(&self) -> Result<(), String> {
        let shown = self.sandbox.oxidag(&["runs", "show", &self.run, "--json"]);
        let ledger = self.ledger.book().entries();
        let found = match shown.status {
            Some(0) => checks::lost(&shown.json(), &ledger),
            _ if ledger.is_empty() => Vec::new(),
            _ => vec![format!("the run is not shown: {}", shown.stderr)],
        };
        if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
    }

    /// Starts the run, or goes on with it.
    fn process(&mut self, begun: bool, moment: Moment) -> Result<End, String> {
        self.processes += 1;
        let first = ["run", "dag.json", "--run-id", &self.run];
        let next = ["resume", &self.run];
        let what: &[&str] = if begun { &next } else { &first };
        let mut command =
            self.sandbox.command(&[what, &["--workers", &self.workers, "--format", "json"]].concat());
        // For the scripts: the file that they write to, and who started them.
        command.env("LEDGER", self.ledger.book().path()).env("PROCESS", self.processes.to_string());
        let mut known = Known {
            book: self.ledger.book(),
            tasks: self.dag.states(),
            processes: self.processes,
            ended: std::mem::take(&mut self.ended),
        };
        let end = process::watch(command, &mut known, moment, &self.sandbox.path().join("errors"));
        self.ended = known.ended;
        end.map_err(|error| format!("process {}, {what:?}, {moment:?}: {error}", self.processes))
    }

    /// After the run's end.
    fn check(&mut self, status: i32) -> Result<(), String> {
        let mut found = Vec::new();
        let right = i32::from(self.dag.state() != "success");
        if status != right {
            found.push(format!("the last process ended with status {status}, not {right}"));
        }
        let shown = self.sandbox.oxidag(&["runs", "show", &self.run, "--json"]).expect_status(0).json();
        found.extend(checks::breaches(&self.dag, &shown, &self.ledger.book().entries()));
        found
            .extend(self.processes_left().into_iter().map(|process| format!("a process is left: {process}")));
        if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
    }

    /// The run's processes that live on, though they are given the time to end.
    fn processes_left(&self) -> Vec<String> {
        let variable = format!("OXIDAG_RUN_ID={}", self.run);
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let left = process::left_alive(&variable);
            if left.is_empty() || Instant::now() > until {
                return left;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A run that has ended is not begun again.
    fn stays_ended(&mut self) -> Result<(), String> {
        let before = starts(&self.ledger);
        let right = i32::from(self.dag.state() != "success");
        match self.process(true, Moment::Never)? {
            End::Exited(status, _) if status == right && starts(&self.ledger) == before => Ok(()),
            end => Err(format!("resumed after its end: {end:?}, {:?}", starts(&self.ledger))),
        }
    }

    /// What to look at, where something is wrong.
    fn report(&self, seed: u64, error: &str) -> String {
        let mut text =
            format!("seed {seed}, after {} kills in {} processes:\n{error}\n", self.kills, self.processes);
        for entry in self.ledger.book().entries() {
            // Of the tasks that are named above.
            if entry.task == "-" || error.contains(&format!("{}:", entry.task)) {
                writeln!(text, "  {entry}").unwrap();
            }
        }
        for task in self.dag.tasks.iter().filter(|task| error.contains(&format!("{}:", task.id))) {
            let logs = self.sandbox.home().join("logs/survival").join(&task.id);
            for log in fs::read_dir(logs).into_iter().flatten().flatten() {
                writeln!(text, "{:?}:\n{}", log.file_name(), fs::read_to_string(log.path()).unwrap())
                    .unwrap();
            }
        }
        text
    }
}

/// Everything that was started.
fn starts(ledger: &Ledger) -> Vec<Entry> {
    let mut entries = ledger.book().entries();
    entries.retain(|entry| matches!(entry.what.as_str(), "begin" | "submitted" | "adopted"));
    entries
}

/// Plays a run that is killed so often at most; returns how often it was.
fn survive(seed: u64, kills: u32) -> Result<u32, String> {
    let mut round = Round::new(seed);
    let played = round.play(kills).and_then(|()| round.stays_ended());
    played.map(|()| round.kills).map_err(|error| round.report(seed, &error))
}

#[test]
fn runs_survive_being_killed_at_any_moment() {
    if let Ok(seed) = env::var("OXIDAG_SURVIVAL_SEED") {
        survive(seed.parse().unwrap(), KILLS_PER_RUN).unwrap_or_else(|error| panic!("{error}"));
        return;
    }
    let (next, kills) = (AtomicU64::new(fastrand::u64(..1_000_000_000)), AtomicU32::new(0));
    let play = || {
        while kills.load(Ordering::Relaxed) < KILLS {
            let killed = survive(next.fetch_add(1, Ordering::Relaxed), KILLS_PER_RUN);
            // After a failure nobody goes on.
            kills.fetch_add(*killed.as_ref().unwrap_or(&KILLS), Ordering::Relaxed);
            killed?;
        }
        Ok::<(), String>(())
    };
    let failed: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(play)).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap().err()).collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_run_that_is_left_alone_keeps_every_promise() {
    for seed in 0..3 {
        let mut round = Round::new(seed);
        round.play(0).unwrap_or_else(|error| panic!("{}", round.report(seed, &error)));
        assert_eq!((round.kills, round.processes), (0, 1));
    }
}
