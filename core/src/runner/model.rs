//! The turns, the scheduler and the store under a clock, engines and a service that exist only here: random DAGs with
//! failures, and crashes between any two effects. Every seed is a run; a seed that fails is named and can be repeated
//! with `OXIDAG_SEED=N`.
//!
//! The turns and the store are the real ones. Workers are not: what they would do is done here, one step at a time, in
//! a random order. A crash forgets everything but the store and the service, and may leave half a frame in the journal.

mod dags;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use oxidag_plugin_api::abi::End;
use oxidag_plugin_api::{Error, ErrorKind, Outcome};
use serde_json::{Map, Value, json};

use dags::{Fate, dag};

use super::call::{Call, Post, Shared};
use super::clock::Clock;
use super::demand::Numbers;
use super::live::Live;
use super::message::{Appended, Message, Question, Request};
use super::outlet::Outlet;
use super::report::{Reporter, Reports};
use super::request::{Session, Start};
use super::run::Run;
use super::turn::{Rest, Runs};
use super::workers::{Job, Left, Queue, RunInfo, Workers, idempotency_key};
use super::{Mailbox, Resumed, begun, lock};
use crate::event::{Event, EventKind, FailureKind, TaskIdx, Timestamp};
use crate::graph::Graph;
use crate::logs::RunLogs;
use crate::prepare::Prepared;
use crate::scheduler::{Limits, Places};
use crate::secrets::Masker;
use crate::spec::{SourceFile, TriggerRule, parse};
use crate::state::{RunState, TaskState};
use crate::store::{Durations, RunDetails, Store, TaskDetails};

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
            shows_lines: false,
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
        let rest = runs.turn_of_loop(true);
        Process { runs, post, messages, queues, stops, attempts: Vec::new(), rest }
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

    /// One effect of one engine.
    fn advance(&mut self, process: &mut Process, which: usize) {
        let attempt = &mut process.attempts[which];
        let fate = &self.fates[number(attempt.job.entry().task_id)];
        let (task, number) = (attempt.job.task, attempt.job.attempt);
        match attempt.phase {
            Phase::New if attempt.stopped && !fate.deaf && !self.service.contains_key(&attempt.key) => {
                process.end(which, End::Error(Error::new(ErrorKind::Cancelled, "before it began")));
            }
            Phase::New => {
                let name = attempt.job.entry().task_id.to_owned();
                // Instances of one mapped task would all add the same.
                if let Some(new) = fate.adds.filter(|_| !name.contains('[')) {
                    add(process, which, new);
                }
                let attempt = &mut process.attempts[which];
                let known =
                    attempt.job.checkpoint.as_ref().map(|job| job["job"].as_str().unwrap_or_default());
                let is_blocking = fate.blocking;
                attempt.phase =
                    if known.is_some() || is_blocking { Phase::Waiting } else { Phase::Submitted };
                if known.is_none() {
                    let key = attempt.key.clone();
                    let duration = fate.duration;
                    self.submit(process, &key, (task, number), is_blocking, duration);
                } else {
                    assert_eq!(known, Some(attempt.key.as_str()), "the checkpoint of another attempt");
                }
                if !is_blocking {
                    let deferred = Message::Deferred { run: 0, task, attempt: number };
                    process.runs.take(deferred);
                    process.turn();
                }
            }
            Phase::Submitted => {
                attempt.phase = Phase::Waiting;
                let (stored, answer) = bounded(1);
                let checkpoint = json!({"job": attempt.key});
                process.runs.take(Message::Checkpoint { run: 0, task, attempt: number, checkpoint, stored });
                assert_eq!(answer.recv().unwrap(), Ok(()));
                process.turn();
            }
            Phase::Waiting => self.look(process, which),
        }
    }

    /// A job of this key; a local process is begun anew, since its engine ended what was left of the old one.
    fn submit(
        &mut self,
        process: &Process,
        key: &str,
        (task, attempt): (TaskIdx, u32),
        is_blocking: bool,
        duration: Duration,
    ) {
        self.check_start(process, task, attempt);
        let now = Timestamp(self.clock.load(Ordering::Relaxed));
        let ends_at = now.after(duration);
        let job = Outside { task, attempt, ends_at, cancelled: false, done: false };
        match self.service.get_mut(key) {
            // Its effect is the process's last act, and the scheduler may have died before it heard of it.
            Some(known) if is_blocking && !known.done => *known = job,
            Some(known) => {
                assert_eq!((known.task, known.attempt), (task, attempt), "one key for two attempts")
            }
            None => drop(self.service.insert(key.to_owned(), job)),
        }
    }

    /// The engine looks at its job.
    fn look(&mut self, process: &mut Process, which: usize) {
        let attempt = &process.attempts[which];
        let fate = &self.fates[number(attempt.job.entry().task_id)];
        let Some(job) = self.service.get_mut(&attempt.key) else { panic!("a job was lost") };
        let has_ended = job.ends_at.0 <= self.clock.load(Ordering::Relaxed);
        if has_ended && !job.cancelled {
            let end = if attempt.job.attempt <= fate.failing {
                End::Error(Error::new(fate.kind, "as it was decided"))
            } else {
                job.done = true;
                let result = Some(json!({"n": attempt.job.task.0}));
                End::Outcome(Outcome { result, metrics: Map::new() })
            };
            process.end(which, end);
        } else if job.cancelled || (attempt.stopped && !fate.deaf) {
            // Also one that was cancelled for a scheduler that died before it heard of it.
            job.cancelled = true;
            process.end(which, End::Error(Error::new(ErrorKind::Cancelled, "asked to stop")));
        }
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

    /// A task starts when its dependencies let it, once at a time, and never again after its success.
    fn check_start(&self, process: &Process, task: TaskIdx, attempt: u32) {
        let run = &process.runs.runs[0];
        let entry = run.live.entry(task);
        let rule = entry.task.trigger_rule;
        assert!(!run.scheduler.is_excluded(task), "task {} is left out", task.0);
        for upstream in run.scheduler.graph().upstream(task) {
            let state = run.scheduler.state(upstream);
            if run.scheduler.is_excluded(upstream) {
                continue;
            }
            assert!(state.is_terminal() || rule == TriggerRule::OneFailed, "task {} started early", task.0);
            if rule == TriggerRule::AllSuccess && !entry.task.teardown && !run.scheduler.is_mapped(upstream) {
                let effects = self.effects(upstream);
                assert_eq!((state, effects), (TaskState::Success, 1), "task {} started early", task.0);
            }
        }
        for other in self.service.values().filter(|job| job.task == task && job.attempt != attempt) {
            assert!(!other.done, "task {} is repeated after its success", task.0);
            let is_over = other.cancelled || other.ends_at.0 <= self.clock.load(Ordering::Relaxed);
            let is_deaf = self.fates[number(entry.task_id)].deaf;
            assert!(is_over || is_deaf, "task {} runs twice at once", task.0);
        }
    }

    fn effects(&self, task: TaskIdx) -> usize {
        self.service.values().filter(|job| job.task == task && job.done).count()
    }

    fn check_limits(&self, process: &Process) {
        let count = |counts: &dyn Fn(&Attempt) -> bool| process.attempts.iter().filter(|a| counts(a)).count();
        let held = |attempt: &Attempt| {
            let state = process.runs.runs.first().map(|run| run.scheduler.state(attempt.job.task));
            state.is_some_and(TaskState::is_in_flight)
        };
        let workers = count(&|a| held(a) && a.job.entry().blocks());
        assert!(workers <= self.limits.workers as usize, "too many workers");
        assert!(
            self.limits.engines[0].is_none_or(|limit| count(&held) <= limit as usize),
            "too many in flight"
        );
        let Some(run) = process.runs.runs.first() else { return };
        let pooled = count(&|a| held(a) && a.job.entry().task.pool.is_some());
        assert!(pooled <= 1, "the pool has one slot");
        for attempt in process.attempts.iter().filter(|attempt| held(attempt)) {
            let task = attempt.job.entry().task;
            let most = task.max_active.map_or(usize::MAX, |most| most as usize);
            let active = count(&|a| held(a) && a.job.entry().task.task_id == task.task_id);
            assert!(active <= most, "{active} instances of {} at once", task.task_id);
        }
        if let Some(early) = run.scheduler.out_of_order().filter(|_| run.ended.is_some()) {
            panic!("{early:?} are out of order");
        }
    }

    /// What is stored in the end is what happened and what was told.
    fn finish(self, mut process: Process) -> Ended {
        let (_, ends) = process.runs.finish();
        // What may be remarked is that a rule never came to anything.
        let remark = ends[0].remark.as_deref().unwrap_or_default();
        assert!(remark.lines().all(|line| line.contains("never applied")), "{remark}");
        let store = Store::open(&self.home).unwrap();
        let run = store.run("r").unwrap().unwrap();
        assert_eq!(run.head.state, ends[0].state);
        let states: Vec<TaskState> = run.tasks.iter().map(|task| task.state).collect();
        for (task, &state) in (0..).map(TaskIdx).zip(&states) {
            assert!(state.is_terminal(), "task {} is left {state}", task.0);
            let effects = self.effects(task);
            let name = &run.tasks[task.get()].task_id;
            if self.mapped.contains(&number(name)) && !name.contains('[') {
                // Its instances have effects.
                assert_eq!(effects, 0, "task {} is mapped", task.0);
                continue;
            }
            if state == TaskState::Success {
                assert_eq!(effects, 1, "task {} succeeded", task.0);
            } else if !self.fates[number(name)].deaf {
                assert_eq!(effects, 0, "task {} is {state}", task.0);
            }
        }
        for (task, told) in self.told.lock().unwrap().iter() {
            assert_eq!(states[task.get()], *told, "task {} was told to be otherwise", task.0);
        }
        let good = |state: &TaskState| matches!(state, TaskState::Success | TaskState::Skipped);
        let all_good =
            states.iter().zip(&run.tasks).all(|(state, task)| good(state) || task.task_id.starts_with("d"));
        assert_eq!(run.head.state == RunState::Success, all_good, "{states:?}");
        for (fate, number) in self.fates.iter().zip(0_usize..) {
            let Some(new) = fate.adds.filter(|_| !self.disturbed) else { continue };
            let adds = run.tasks.iter().find(|task| number_of(&task.task_id) == Some(number));
            let ran = adds.is_some_and(|task| !task.attempts.is_empty());
            let added = run.tasks.iter().filter(|task| number_of(&task.task_id) == Some(new)).count();
            assert_eq!(added, usize::from(ran), "t{number} adds t{new}");
        }
        if !self.disturbed {
            self.check_rules(&run);
        }
        let edges = self.edges(&run);
        let states = run.tasks.iter().map(|task| (task.task_id.clone(), task.state)).collect();
        Ended { states, edges, disturbed: self.disturbed || self.fates.iter().any(|fate| fate.deaf) }
    }
}

impl World {
    /// The final graph. Nothing was added to what there was: every edge of a new task comes from one that is older.
    fn edges(&self, run: &RunDetails) -> BTreeMap<String, BTreeSet<String>> {
        let source = SourceFile::new("dag.json".into(), self.dag.clone());
        let (dag, _) = parse(source).map_err(|e| e.render(false)).unwrap();
        let file = Arc::new(Graph::new(&dag).unwrap());
        let (graph, _) = super::grown(run, &dag, &file).unwrap();
        let upstream = |graph: &Graph, task| -> BTreeSet<TaskIdx> { graph.upstream(task).collect() };
        let named = |task: TaskIdx| {
            let before = upstream(&graph, task);
            if task.get() < file.len() {
                assert_eq!(before, upstream(&file, task), "something was added before {}", graph.name(task));
            } else {
                assert!(before.iter().all(|before| *before < task), "{} is older", graph.name(task));
            }
            let names = before.into_iter().map(|before| graph.name(before).to_owned());
            (graph.name(task).to_owned(), names.collect())
        };
        graph.tasks().map(named).collect()
    }

    /// Each rule was applied as often as it should have been, and never later than what asks for its end.
    fn check_rules(&self, run: &RunDetails) {
        let dag: Value = serde_json::from_str(&self.dag).unwrap();
        let Some(rules) = dag["rules"].as_array() else { return };
        let named = |name: &Value| {
            let name = name.as_str().unwrap().to_owned();
            run.tasks.iter().filter(move |task| task.task_id == name)
        };
        let left_out = |task: &TaskDetails| {
            task.state == TaskState::Skipped
                && task.error.as_ref().is_some_and(|e| e.kind == FailureKind::LeftOut)
        };
        let done = |task: &TaskDetails| task.state == TaskState::Success || left_out(task);
        let adds = |rule: usize| &rules[rule]["add"]["tasks"][0];
        let first = &adds(0)["dependencies"][0];
        let applied = named(first).filter(|task| done(task)).count();
        assert_eq!(named(&adds(0)["task_id"]).count(), applied, "the rule for {first}");
        // The instances of a mapped task are of its type, and stand for it.
        let of_kind = |task: &&TaskDetails| {
            let of_rule = |name: &str| number(name) == number(adds(0)["task_id"].as_str().unwrap());
            let of_file = dag["tasks"].as_array().unwrap().iter();
            let kinds: Vec<usize> = of_file
                .filter(|t| t["type"] == "k")
                .map(|t| number(t["task_id"].as_str().unwrap()))
                .collect();
            let is_mapped = self.mapped.contains(&number(&task.task_id)) && !task.task_id.contains('[');
            (kinds.contains(&number(&task.task_id)) || of_rule(&task.task_id)) && !is_mapped
        };
        let matches = run.tasks.iter().filter(of_kind).filter(|task| done(task)).count();
        let each = adds(1)["task_id"].as_str().unwrap();
        let prefix = format!("{each}[");
        assert_eq!(run.tasks.iter().filter(|t| t.task_id.starts_with(&prefix)).count(), matches, "rule each");
        assert_eq!(named(&adds(2)["task_id"]).count(), 1, "rule closed");
        for rule in &rules[3..] {
            let name = rule["add"]["tasks"][0]["task_id"].as_str().unwrap();
            let applied = run.tasks.iter().filter(|task| number(&task.task_id) == number(name)).count();
            let wanted = if let Some(of) = rule["each"]["instances_of"].as_str() {
                let is_one = |task: &&TaskDetails| task.task_id.starts_with(&format!("{of}[")) && done(task);
                run.tasks.iter().filter(is_one).count()
            } else {
                usize::from(run.tasks.iter().any(|task| of_kind(&task) && task.state == TaskState::Failed))
            };
            assert_eq!(applied, wanted, "rule {}", rule["rule_id"]);
        }
        let last = run.tasks.iter().position(|task| task.task_id == adds(2)["task_id"].as_str().unwrap());
        let late =
            run.tasks.iter().skip(last.unwrap()).filter(|t| of_kind(t) || t.task_id.starts_with(&prefix));
        assert_eq!(late.count(), 0, "something was added to what was closed");
    }
}

impl Process {
    fn turn(&mut self) {
        if self.rest.is_some() {
            self.rest = self.runs.turn_of_loop(true);
        }
    }

    fn end(&mut self, which: usize, end: End) {
        self.attempts.swap_remove(which).job.call.end(end);
    }
}

/// The engine adds a task behind its own, and goes on once that is stored; another one asks at the same time.
fn add(process: &mut Process, which: usize, new: usize) {
    let job = &process.attempts[which].job;
    let script = json!({"engine": "noop", "inline": ""});
    let addition =
        json!({"tasks": [{"task_id": format!("t{new}"), "script": script, "dependencies": ["{task}"]}]});
    let ready = job.run.prepared.extend(&addition).unwrap();
    let (answer, answered) = bounded(1);
    let asked = Box::new(Appended { addition, ready, answer });
    let (task, attempt) = (job.task, job.attempt);
    process.runs.take(Message::Append { run: 0, task, attempt, asked });
    let (answer, told) = bounded(1);
    process.runs.take(Message::Query { run: 0, task, question: Question::default(), answer });
    process.turn();
    assert_eq!(told.try_recv().unwrap().unwrap().as_array().map(Vec::len), Some(1));
    let said = answered.try_recv().unwrap();
    assert!(said.is_ok() || said == Err("the run is being stopped".to_owned()), "{said:?}");
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
