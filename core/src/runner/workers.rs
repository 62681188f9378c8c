//! The threads that call engines: workers for tasks that block, and one launcher for those that do not.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::{io, ptr};

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::call::{Call, Post};
use super::live::LiveTask;
use super::message::Message;
use super::turn::Runs;
use super::{lock, lock_soon};
use crate::event::{Event, TaskIdx, Timestamp};
use crate::prepare::{Entry, Prepared};

/// An attempt for a worker or the launcher.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) run: Arc<RunInfo>,
    /// The task, unless it is one of the DAG file.
    pub(super) added: Option<Arc<LiveTask>>,
    pub(super) task: TaskIdx,
    pub(super) attempt: u32,
    /// A scheduler that died had begun it,
    pub(super) again: bool,
    /// and had stored this.
    pub(super) checkpoint: Option<Value>,
    pub(super) call: Arc<Call>,
}

/// What the threads need to know of a run.
#[derive(Debug)]
pub(super) struct RunInfo {
    /// Its place among the runs of this process.
    pub(super) index: u32,
    pub(super) prepared: Arc<Prepared>,
    pub(super) run_id: String,
    /// What the keys of all its attempts begin with.
    identity: Sha256,
}

impl RunInfo {
    pub(super) fn new(index: u32, prepared: Arc<Prepared>, run_id: String, started_at: Timestamp) -> Self {
        let identity = format!("{}\0{run_id}\0{}\0", prepared.dag.dag_id, started_at.0);
        Self { index, identity: Sha256::new_with_prefix(identity), prepared, run_id }
    }
}

/// All threads that call engines.
///
/// The scheduler starts a task only when a worker is idle, so nothing queues up here.
pub(super) struct Workers {
    context: Context,
    blocking: Lane,
    launches: Lane,
    /// Attempts that this turn starts.
    started: VecDeque<Job>,
    /// Asks engines to stop, on a thread of its own: their callbacks may wait for a turn.
    stops: Option<Sender<Arc<Call>>>,
    /// How many threads there are for tasks that block.
    count: u32,
    /// Whether an abandoned attempt keeps a thread; it is not waited for.
    lost: bool,
    /// A test takes the jobs itself.
    #[cfg(test)]
    by_hand: bool,
}

/// What each thread has.
#[derive(Clone)]
struct Context {
    post: Arc<Post>,
    runs: Weak<Mutex<Runs>>,
    lanes: Lanes,
}

/// To the threads: attempts, and `None` for one of them to end.
#[derive(Clone)]
struct Lanes {
    blocking: Sender<Option<Job>>,
    launches: Sender<Option<Job>>,
}

/// The other end of a lane.
pub(super) type Queue = Receiver<Option<Job>>;

struct Lane {
    queue: Queue,
    threads: Vec<JoinHandle<()>>,
}

/// Threads that end by themselves.
pub(super) struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    pub(super) fn join(self) {
        // A worker does not panic: engines' panics are caught on their side.
        self.0.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl Workers {
    pub(super) fn new(post: Arc<Post>, runs: Weak<Mutex<Runs>>) -> Self {
        let ((blocking, blocking_queue), (launches, launches_queue)) = (unbounded(), unbounded());
        Self {
            context: Context { post, runs, lanes: Lanes { blocking, launches } },
            blocking: Lane { queue: blocking_queue, threads: Vec::new() },
            launches: Lane { queue: launches_queue, threads: Vec::new() },
            started: VecDeque::new(),
            stops: None,
            count: 0,
            lost: false,
            #[cfg(test)]
            by_hand: false,
        }
    }

    /// No thread is ever started: what there is to do can be taken here.
    #[cfg(test)]
    pub(super) fn by_hand(post: Arc<Post>) -> (Self, [Queue; 2], Receiver<Arc<Call>>) {
        let (stops, stopped) = unbounded();
        let mut workers = Self::new(post, Weak::new());
        (workers.by_hand, workers.stops) = (true, Some(stops));
        let queues = [workers.blocking.queue.clone(), workers.launches.queue.clone()];
        (workers, queues, stopped)
    }

    /// Starts so many threads for tasks that block, and one for others, where there are any of them.
    pub(super) fn start(&mut self, workers: u32, prepared: &[&Prepared]) -> io::Result<()> {
        let any = |blocks: bool| {
            prepared.iter().any(|dag| dag.graph.tasks().any(|task| dag.blocks(task) == blocks))
        };
        self.count = workers;
        if any(true) {
            (0..workers).try_for_each(|_| self.add_thread(true))?;
        }
        if any(false) {
            self.add_thread(false)?;
        }
        Ok(())
    }

    /// Hands an attempt to its engine, once that it begins is stored.
    pub(super) fn queue(&mut self, job: Job) -> io::Result<()> {
        self.have_threads(job.entry().blocks())?;
        self.started.push_back(job);
        Ok(())
    }

    /// A graph that grows may come to tasks of a kind that it did not begin with.
    fn have_threads(&mut self, blocking: bool) -> io::Result<()> {
        let (lane, wanted) = match blocking {
            true => (&self.blocking, self.count),
            false => (&self.launches, 1),
        };
        if !lane.threads.is_empty() {
            return Ok(());
        }
        (0..wanted).try_for_each(|_| self.add_thread(blocking))
    }

    /// The attempts that this turn starts, the most urgent first.
    pub(super) fn started(&mut self) -> &mut VecDeque<Job> {
        &mut self.started
    }

    /// What this turn starts of this run does not begin.
    pub(super) fn refuse(&mut self, run: u32) {
        refuse(&mut self.started, run);
    }

    /// Wakes threads for the attempts that this turn starts.
    pub(super) fn send_all(&mut self) {
        self.started.drain(..).for_each(|job| self.context.lanes.send(job));
    }

    /// Asks the engine to stop an attempt.
    pub(super) fn stop(&mut self, call: Arc<Call>) -> io::Result<()> {
        let stops = match &self.stops {
            Some(stops) => stops,
            None => self.stops.insert(start_stopper()?),
        };
        // The stopper ends only after its sender.
        let _ = stops.send(call);
        Ok(())
    }

    /// The attempt is not waited for any longer; a thread that it keeps is replaced.
    pub(super) fn abandon(&mut self, blocking: bool, call: &Call) -> io::Result<()> {
        if !call.abandon() {
            return Ok(());
        }
        self.lost = true;
        self.add_thread(blocking)
    }

    /// Lets the threads end; gives those that can be waited for.
    pub(super) fn close(&mut self) -> Threads {
        let mut threads = Vec::new();
        let Lanes { blocking, launches } = &self.context.lanes;
        for (lane, jobs) in [(&mut self.blocking, blocking), (&mut self.launches, launches)] {
            // Nobody listens any more once these have ended.
            lane.threads.iter().for_each(|_| drop(jobs.send(None)));
            threads.append(&mut lane.threads);
        }
        if self.lost {
            threads.clear();
        }
        Threads(threads)
    }

    fn add_thread(&mut self, blocking: bool) -> io::Result<()> {
        #[cfg(test)]
        if self.by_hand {
            return Ok(());
        }
        let context = self.context.clone();
        let (lane, name) = match blocking {
            true => (&mut self.blocking, "oxidag-worker"),
            false => (&mut self.launches, "oxidag-launcher"),
        };
        let queue = lane.queue.clone();
        let thread = thread::Builder::new().name(name.to_owned());
        let work = move || if blocking { context.work(&queue) } else { context.launch(&queue) };
        lane.threads.push(thread.spawn(work)?);
        Ok(())
    }
}

/// Where the runs could not begin, too, the threads end.
impl Drop for Workers {
    fn drop(&mut self) {
        drop(self.close());
    }
}

impl Lanes {
    fn send(&self, job: Job) {
        let lane = if job.entry().blocks() { &self.blocking } else { &self.launches };
        // There is a queue as long as there are threads, and nothing starts once they have ended.
        let _ = lane.send(Some(job));
    }
}

fn start_stopper() -> io::Result<Sender<Arc<Call>>> {
    let (stops, queue) = unbounded::<Arc<Call>>();
    let stop_all = move || queue.iter().for_each(|call| call.stop());
    thread::Builder::new().name("oxidag-stopper".to_owned()).spawn(stop_all)?;
    Ok(stops)
}

thread_local! {
    /// The call that this worker is in, after which it takes a turn.
    static IN_CALL: Cell<*const Call> = const { Cell::new(ptr::null()) };
    /// What this worker takes turns of.
    static RUNS: RefCell<Weak<Mutex<Runs>>> = const { RefCell::new(Weak::new()) };
}

/// Whether this thread takes a turn as soon as it has returned from this call.
pub(super) fn takes_next_turn(call: &Call) -> bool {
    ptr::eq(IN_CALL.get(), call)
}

/// Takes a turn with this message at once, if this thread is the worker in this call; else gives the message back.
pub(super) fn take_turn_with(call: &Call, message: Message) -> Result<(), Message> {
    let runs = RUNS.with_borrow(Weak::upgrade);
    match runs.filter(|_| takes_next_turn(call)) {
        Some(runs) => {
            lock(&runs).turn_in_call(message);
            Ok(())
        }
        None => Err(message),
    }
}

impl Context {
    /// A worker: runs attempts and takes a turn after each.
    fn work(&self, queue: &Queue) {
        RUNS.set(Weak::clone(&self.runs));
        let (mut left, mut buffer) = (Left::default(), String::new());
        while let Some(mut job) = self.next(&mut left).or_else(|| queue.recv().ok().flatten()) {
            if job.call.is_lost() {
                // It was given up while it waited for this thread, whose place another one has taken.
                return;
            }
            IN_CALL.set(Arc::as_ptr(&job.call));
            hand_over(&mut job, &mut buffer);
            IN_CALL.set(ptr::null());
            if !job.call.returned() {
                // Another thread has taken this one's place.
                return;
            }
            if !job.call.has_ended() {
                self.post.post(job.deferred());
            }
            drop(job);
            self.turn(&mut left);
        }
    }

    /// The most urgent of the attempts that need a worker is for this one, all others are for other threads.
    fn next(&self, left: &mut Left) -> Option<Job> {
        let own = left.jobs.iter().position(|job| job.entry().blocks());
        let own = own.and_then(|place| left.jobs.remove(place));
        left.jobs.drain(..).for_each(|job| self.lanes.send(job));
        own
    }

    /// A turn, and after it what is left to do without it: others may have theirs meanwhile.
    fn turn(&self, left: &mut Left) {
        let Some(runs) = self.runs.upgrade() else { return };
        let mut turn = lock_soon(&runs);
        let Some((run, outlet)) = turn.turn_of_worker(left) else { return };
        let mut outlet = lock_soon(&outlet);
        drop(turn);
        if let Err(message) = outlet.put(&mut left.events) {
            drop(outlet);
            refuse(&mut left.jobs, run);
            self.post.send(Message::Unwritten { run, message });
        }
    }

    /// The launcher: hands over attempts that go on without a thread. The loop takes a turn for many of them.
    fn launch(&self, queue: &Queue) {
        let mut buffer = String::new();
        while let Ok(Some(mut job)) = queue.recv() {
            if job.call.is_lost() {
                return;
            }
            hand_over(&mut job, &mut buffer);
            if !job.call.returned() {
                return;
            }
            if !job.call.has_ended() {
                self.post.send(job.deferred());
            }
        }
    }
}

/// Why an attempt did not begin.
pub(super) const UNSTORED: &str = "not started, since the run cannot go on";

/// Refuses the attempts of this run.
fn refuse(jobs: &mut VecDeque<Job>, run: u32) {
    jobs.retain(|job| {
        let is_of_run = job.run.index == run;
        if is_of_run {
            job.call.refuse(UNSTORED.to_owned());
        }
        !is_of_run
    });
}

/// What a turn leaves to be done after it: first these events are stored, then the attempts begin.
#[derive(Default)]
pub(super) struct Left {
    pub(super) events: Vec<Event>,
    pub(super) jobs: VecDeque<Job>,
}

impl Job {
    /// What its engine is to run.
    pub(super) fn entry(&self) -> Entry<'_> {
        self.added.as_ref().map_or_else(|| self.run.prepared.entry(self.task), |added| added.entry())
    }

    /// The engine has returned, and the attempt goes on.
    fn deferred(&self) -> Message {
        self.call.defer();
        Message::Deferred { run: self.run.index, task: self.task, attempt: self.attempt }
    }
}

/// Hands an attempt to its engine; `buffer` is for what is written meanwhile.
fn hand_over(job: &mut Job, buffer: &mut String) {
    let checkpoint = job.checkpoint.take();
    let (key, entry, prepared) = (idempotency_key(job), job.entry(), &job.run.prepared);
    let written = match prepared.call(entry, &job.run.run_id, job.attempt, &key) {
        Ok(mut handed) => {
            (handed.checkpoint, handed.resumed) = (checkpoint.as_ref(), job.again);
            handed.write(buffer)
        }
        Err(message) => Err(message),
    };
    match written {
        Ok(()) => prepared.engine_of(entry).run(buffer, entry.blocks(), Arc::clone(&job.call)),
        Err(message) => job.call.refuse(message),
    }
    // Few tasks are large, and most of them once.
    if buffer.capacity() > LARGE {
        *buffer = String::new();
    }
}

/// A buffer of more bytes is not kept.
const LARGE: usize = 64 * 1024;

/// The same for the same attempt, and different for any other one anywhere: the run's start is part of it,
/// since run ids may be chosen by the user. Letters, digits and `-`, as remote services want job ids.
pub(super) fn idempotency_key(job: &Job) -> String {
    key(&job.run.identity, job.entry().task_id, job.attempt)
}

fn key(run: &Sha256, task_id: &str, attempt: u32) -> String {
    let mut digest = run.clone();
    digest.update(task_id);
    digest.update(b"\0");
    digest.update(itoa::Buffer::new().format(attempt));
    let mut key = String::with_capacity(PREFIX.len() + 32);
    key.push_str(PREFIX);
    for byte in digest.finalize().iter().take(16) {
        for digit in [byte >> 4, byte & 15] {
            key.push(char::from(HEX[usize::from(digit)]));
        }
    }
    key
}

const PREFIX: &str = "oxidag-";
const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_digest_of_all_that_tells_an_attempt_from_others() {
        let run = Sha256::new_with_prefix("nightly\0run-1\x001764194400000000\0");
        // As `sha256sum` tells it of the same bytes: jobs that another version has begun are found.
        assert_eq!(key(&run, "load", 2), "oxidag-128dcc8c8fc8b48618f4450124f6524e");
        assert_ne!(key(&run, "load", 1), key(&run, "load", 2));
    }
}
