//! The turns, the scheduler and the store under a clock, engines and a service that exist only here: random DAGs with
//! failures, and crashes between any two effects. Every seed is a run; a seed that fails is named and can be repeated
//! with `OXIDAG_SEED=N`.
//!
//! The turns and the store are the real ones. Workers are not: what they would do is done here, one step at a time, in
//! a random order. A crash forgets everything but the store and the service, and may leave half a frame in the journal.

mod checks;
mod dags;
mod engines;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use serde_json::Value;

use dags::{Fate, dag};

use super::call::{Call, Post, Shared};
use super::clock::Clock;
use super::demand::Numbers;
use super::live::Live;
use super::message::{Message, Request};
use super::outlet::Outlet;
use super::report::{Reporter, Reports};
use super::request::{Session, Start};
use super::run::Run;
use super::turn::{Rest, Runs};
use super::workers::{Job, Left, Queue, RunInfo, Workers, idempotency_key};
use super::{Mailbox, Resumed, begun, lock};
use crate::event::{Event, EventKind, TaskIdx, Timestamp};
use crate::logs::RunLogs;
use crate::prepare::Prepared;
use crate::scheduler::{Limits, Places};
use crate::secrets::Masker;
use crate::spec::{SourceFile, parse};
use crate::state::TaskState;
use crate::store::{Durations, Store};

/// How many runs are tried.
const SEEDS: u64 = 10_000;

const GRACE: Duration = Duration::from_secs(5);

#[test]
fn no_task_is_lost_doubled_started_early_or_left_whatever_crashes() {
    if let Some(seed) = std::env::var("OXIDAG_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return check(seed);
    }
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        return;
                    }
                    let failed = std::panic::catch_unwind(|| check(seed)).is_err();
                    assert!(!failed, "seed {seed} failed; OXIDAG_SEED={seed} repeats it");
                }
            });
        }
    });
}

/// One run with crashes and, where it says so, cancelled; without either, the same run ends the same way.
fn check(seed: u64) {
    let crashed = World::new(seed, true).run();
    if seed.is_multiple_of(4) && !crashed.disturbed {
        let other = World::new(seed, false).run();
        assert_eq!(crashed.states, other.states, "the end depends on the crashes");
        assert_eq!(crashed.edges, other.edges, "the graph depends on the crashes");
    }
}

/// `SplitMix64`, as in the scheduler's jitter.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }
}

/// A job of the service: what attempts have done to the world outside.
#[derive(Debug, Clone)]
struct Outside {
    task: TaskIdx,
    attempt: u32,
    ends_at: Timestamp,
    cancelled: bool,
    /// It had its effect.
    done: bool,
}

/// What survives a crash, and what was promised.
struct World {
    seed: u64,
    dice: Dice,
    dag: String,
    fates: Vec<Fate>,
    /// The numbers of mapped tasks.
    mapped: Vec<usize>,
    limits: Limits,
    crashes: u64,
    cancels: bool,
    /// These are left out of the run.
    left_out: Vec<TaskIdx>,
    clock: &'static AtomicI64,
    _folder: tempfile::TempDir,
    home: PathBuf,
    service: HashMap<String, Outside>,
    told: Arc<Mutex<HashMap<TaskIdx, TaskState>>>,
    /// Something happened that makes the end depend on the moment.
    disturbed: bool,
}

struct Ended {
    /// By name: the numbers of tasks that are added depend on what ends first.
    states: BTreeMap<String, TaskState>,
    /// What comes before each of them.
    edges: BTreeMap<String, BTreeSet<String>>,
    disturbed: bool,
}

/// An attempt in its engine.
struct Attempt {
    job: Job,
    key: String,
    phase: Phase,
    stopped: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Submitted,
    Waiting,
}

/// A process of the scheduler.
struct Process {
    runs: Runs,
    post: Arc<Post>,
    messages: Receiver<Message>,
    queues: [Queue; 2],
    stops: Receiver<Arc<Call>>,
    attempts: Vec<Attempt>,
    rest: Option<Rest>,
    clock: Clock,
}

impl World {
    fn new(seed: u64, crashes: bool) -> Self {
        let mut dice = Dice(seed);
        let (dag, fates, mapped) = dag(&mut dice);
        let limits = Limits {
            workers: 0,
            engines: vec![dice.one_in(2).then(|| 1 + dice.roll(3) as u32)],
            pools: vec![1],
        };
        let planned = dice.roll(4);
        // In memory where there is such a place: a run writes little, but ten thousand do.
        let shm = Path::new("/dev/shm");
        let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        let folder = folder.unwrap();
        let cancels = dice.one_in(6);
        let parsed: Value = serde_json::from_str(&dag).unwrap();
        let all = (0..parsed["tasks"].as_array().unwrap().len() as u32).map(TaskIdx);
        let left_out = if dice.one_in(4) { all.filter(|_| dice.one_in(3)).collect() } else { Vec::new() };
        Self {
            seed,
            dag,
            fates,
            mapped,
            limits,
            crashes: if crashes { planned } else { 0 },
            cancels: cancels && crashes,
            left_out,
            clock: Box::leak(Box::new(AtomicI64::new(1_000_000_000_000))),
            home: folder.path().to_owned(),
            _folder: folder,
            service: HashMap::new(),
            told: Arc::default(),
            disturbed: cancels && crashes,
            dice,
        }
    }

    fn run(mut self) -> Ended {
        let mut is_new = true;
        loop {
            let mut process = self.start(is_new);
            is_new = false;
            if self.drive(&mut process) {
                return self.finish(process);
            }
            self.crash(process);
        }
    }

    /// Begins the run, or goes on with it: another process may have other limits.
    fn start(&mut self, is_new: bool) -> Process {
        self.limits.workers = 1 + self.dice.roll(3) as u32;
        let source = SourceFile::new("dag.json".into(), self.dag.clone());
        let (dag, source) = parse(source).map_err(|e| e.render(false)).unwrap();
        let blocks = |task: &crate::spec::Task| self.fates[number(&task.task_id)].blocking;
        let prepared = Arc::new(Prepared::without_engines(dag, source, blocks));
        let store = Store::open(&self.home).unwrap();
        let start = if is_new {
            Start::New { left_out: self.left_out.clone(), skipped: Vec::new(), results: HashMap::new() }
        } else {
            let journal = store.resume_run("r").unwrap();
            let from = Box::new(Resumed::new(&store.run("r").unwrap().unwrap(), &prepared).unwrap());
            Start::Resume { from, journal }
        };
        let clock = Clock::Manual(self.clock);
        let mailbox = Mailbox::new();
        let (sender, messages) = (mailbox.sender.clone(), mailbox.receiver.clone());
        let (lines_in, lines) = bounded(1);
        let post = Arc::new(Post::new(sender, lines_in));
        let (workers, queues, stops) = Workers::by_hand(Arc::clone(&post));
        let mut runs = Runs::new(Places::new(self.limits.clone()), workers, Arc::clone(&post), lines);
        let masker = Masker::default();
        let shared = Arc::new(Shared {
            run: 0,
            post: Arc::clone(&post),
            lines: None,
            masker,
            prepared: Arc::clone(&prepared),
            logs: RunLogs::new(&self.home, &prepared.dag.dag_id, "r"),
            clock,
        });
        let live = Live::new(Arc::clone(&prepared), Durations::default(), Numbers::alone(1));
        let started_at = start.started_at(clock.now());
        let session = Session {
            store: &store,
            home: self.home.clone(),
            environment: None,
            plugins: None,
            workers: 1,
            mailbox,
        };
        let reporter: Box<dyn Reporter> = Box::new(Teller(Arc::clone(&self.told)));
        let (journal, opening) = start.begin(&session, &prepared, "r", started_at).unwrap();
        let (live, scheduler) =
            begun(live, &prepared, &opening, prepared.settings(GRACE, self.seed), &self.limits);
        let info = Arc::new(RunInfo::new(0, prepared, "r".to_owned(), started_at));
        let outlet = Outlet::new(journal, Reports::start(reporter));
        runs.begin(Run::new(info, live, scheduler, outlet, shared), opening);
        let rest = runs.turn_of_loop(Some(clock.now()));
        Process { runs, post, messages, queues, stops, attempts: Vec::new(), rest, clock }
    }

    /// Step after step until the run has ended; `false` where the process dies before.
    fn drive(&mut self, process: &mut Process) -> bool {
        let mut steps = 0;
        while process.rest.is_some() {
            steps += 1;
            assert!(steps < 100_000, "the run does not end");
            if self.dies() {
                return false;
            }
            if self.cancels && self.dice.one_in(30) {
                self.cancels = false;
                process.runs.take(Message::All(Request::Cancel));
                process.turn();
            }
            if !self.step(process) {
                return false;
            }
            self.check_limits(process);
        }
        true
    }

    /// Whether the process dies here.
    fn dies(&mut self) -> bool {
        let dies = self.crashes > 0 && self.dice.one_in(25);
        self.crashes -= u64::from(dies);
        dies
    }

    /// `false` where the process dies in it.
    fn step(&mut self, process: &mut Process) -> bool {
        while let Ok(call) = process.stops.try_recv() {
            // The engine's callback, which engines here do without.
            for attempt in process.attempts.iter_mut().filter(|attempt| Arc::ptr_eq(&attempt.job.call, &call))
            {
                attempt.stopped = true;
            }
        }
        match self.dice.roll(4) {
            0 => {
                let queue = &process.queues[self.dice.roll(2) as usize];
                if let Ok(Some(job)) = queue.try_recv() {
                    let key = idempotency_key(&job);
                    process.attempts.push(Attempt { job, key, phase: Phase::New, stopped: false });
                }
            }
            1 if !process.attempts.is_empty() => {
                let which = self.dice.roll(process.attempts.len() as u64) as usize;
                self.advance(process, which);
            }
            2 => {
                if let Ok(message) = process.messages.try_recv() {
                    if self.dice.one_in(2) {
                        return self.turn_of_worker(process, message);
                    }
                    process.runs.take(message);
                    process.turn();
                }
            }
            _ => self.pass_time(process),
        }
        true
    }

    /// The turn of a worker, after which it stores what happened; `false` where the process dies before.
    fn turn_of_worker(&mut self, process: &mut Process, message: Message) -> bool {
        let mut left = Left::default();
        process.post.post(message);
        if let Some((_, outlet)) = process.runs.turn_of_worker(&mut left) {
            if self.dies() {
                return false;
            }
            lock(&outlet).put(&mut left.events).unwrap();
        }
        process.runs.workers.started().append(&mut left.jobs);
        // What is left for the loop: to wake those threads, and to see whether the runs have ended.
        process.turn();
        true
    }

    /// To the next moment at which something is due.
    fn pass_time(&mut self, process: &mut Process) {
        let now = self.clock.load(Ordering::Relaxed);
        // Engines are quick: an attempt that is given up had its time.
        let is_busy = |attempt: &Attempt| {
            let job = self.service.get(&attempt.key);
            let has_ended = job.is_some_and(|job| job.ends_at.0 <= now || job.cancelled);
            let is_deaf = self.fates[number(attempt.job.entry().task_id)].deaf;
            attempt.phase != Phase::Waiting || has_ended || (attempt.stopped && !is_deaf)
        };
        let is_waited_for = !process.queues.iter().all(Receiver::is_empty) || !process.stops.is_empty();
        if is_waited_for || process.attempts.iter().any(is_busy) {
            return;
        }
        let jobs = process.attempts.iter().filter_map(|attempt| self.service.get(&attempt.key));
        let jobs = jobs.map(|job| job.ends_at.0).filter(|at| *at > now);
        let alarm = process.rest.as_ref().and_then(|rest| rest.alarm).map(|alarm| alarm.0.max(now));
        let Some(next) = jobs.chain(alarm).min() else { return };
        self.clock.store(next, Ordering::Relaxed);
        // What has been told is heard before an alarm.
        while let Ok(message) = process.messages.try_recv() {
            process.runs.take(message);
        }
        process.turn();
    }

    /// Everything in memory is gone, and the journal may end in the middle of a frame.
    fn crash(&mut self, process: Process) {
        drop(process);
        // What was on its way to people still arrives.
        while Arc::strong_count(&self.told) > 1 {
            std::thread::yield_now();
        }
        if self.dice.one_in(2) {
            let mut journal =
                OpenOptions::new().append(true).open(self.home.join("journal/r.journal")).unwrap();
            let torn = [40, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
            journal.write_all(&torn[..self.dice.roll(torn.len() as u64) as usize]).unwrap();
            // Room that was made for more.
            journal.write_all(&[0; 100][..self.dice.roll(100) as usize]).unwrap();
        }
        // Remote jobs go on meanwhile; and the system's clock may be set.
        let forward = 1_000 * self.dice.roll(3_000) as i64;
        let back = if self.dice.one_in(8) { -10_000_000 } else { 0 };
        if back != 0 {
            for job in self.service.values_mut() {
                job.ends_at.0 += back;
            }
        }
        self.clock.fetch_add(forward + back, Ordering::Relaxed);
    }
}

impl Process {
    fn turn(&mut self) {
        if self.rest.is_some() {
            self.rest = self.runs.turn_of_loop(Some(self.clock.now()));
        }
    }
}

/// Remembers what people were told.
struct Teller(Arc<Mutex<HashMap<TaskIdx, TaskState>>>);

impl Reporter for Teller {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        if let EventKind::TaskState { task, state, .. } = event.kind {
            let mut told = self.0.lock().unwrap();
            if let Some(before) = told.get(&task) {
                assert_eq!(*before, state, "task {} had ended", task.0);
            }
            if state.is_terminal() {
                told.insert(task, state);
            }
        }
        Ok(())
    }
}

/// The number in `t7`, `d7` or `t7[2]`.
fn number(name: &str) -> usize {
    name[1..].split('[').next().unwrap().parse().unwrap()
}

/// The same, of a task that is no instance.
fn number_of(name: &str) -> Option<usize> {
    (!name.contains('[')).then(|| number(name))
}
