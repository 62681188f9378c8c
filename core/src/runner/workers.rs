//! The threads that call engines: workers for tasks that block, and one launcher for those that do not.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};
use sha2::{Digest, Sha256};

use super::call::{Call, Shared};
use super::message::Message;
use super::spin::Spin;
use crate::event::{TaskIdx, Timestamp};
use crate::prepare::Prepared;

/// An attempt for a worker or the launcher.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) task: TaskIdx,
    pub(super) attempt: u32,
    pub(super) call: Arc<Call>,
}

/// What the threads need to know of the run.
#[derive(Debug)]
pub(super) struct RunInfo {
    pub(super) prepared: Arc<Prepared>,
    pub(super) run_id: String,
    pub(super) started_at: Timestamp,
}

/// All threads that call engines.
///
/// The scheduler starts a task only when a worker is idle, so nothing queues up here.
pub(super) struct Workers {
    run: Arc<RunInfo>,
    shared: Arc<Shared>,
    blocking: Lane,
    launches: Lane,
    /// Asks engines to stop, on a thread of its own: their callbacks may wait for the loop.
    stops: Option<Sender<Arc<Call>>>,
    /// Threads that an abandoned attempt keeps; they are not waited for.
    lost: usize,
}

struct Lane {
    jobs: Sender<Job>,
    queue: Receiver<Job>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    pub(super) fn start(run: RunInfo, shared: &Arc<Shared>, workers: u32) -> io::Result<Self> {
        let mut pool = Self {
            run: Arc::new(run),
            shared: Arc::clone(shared),
            blocking: Lane::new(),
            launches: Lane::new(),
            stops: None,
            lost: 0,
        };
        let blocks = |pool: &Self| pool.run.prepared.graph.tasks().any(|task| pool.run.prepared.blocks(task));
        let count = if blocks(&pool) { workers } else { 0 };
        for _ in 0..count {
            pool.add_thread(true)?;
        }
        if pool.run.prepared.graph.tasks().any(|task| !pool.run.prepared.blocks(task)) {
            pool.add_thread(false)?;
        }
        Ok(pool)
    }

    /// Hands an attempt to its engine.
    pub(super) fn start_attempt(&self, job: Job) {
        let lane = if self.run.prepared.blocks(job.task) { &self.blocking } else { &self.launches };
        // The lane keeps a receiver itself, so the channel is never closed.
        let _ = lane.jobs.send(job);
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
    pub(super) fn abandon(&mut self, task: TaskIdx, call: &Call) -> io::Result<()> {
        if !call.abandon() {
            return Ok(());
        }
        self.lost += 1;
        self.add_thread(self.run.prepared.blocks(task))
    }

    /// Lets the threads end, and waits for all that can.
    pub(super) fn finish(self) {
        let lost = self.lost;
        for lane in [self.blocking, self.launches] {
            drop((lane.jobs, lane.queue));
            if lost == 0 {
                // A worker does not panic: engines' panics are caught on their side.
                lane.threads.into_iter().for_each(|thread| drop(thread.join()));
            }
        }
    }

    fn add_thread(&mut self, blocking: bool) -> io::Result<()> {
        let (lane, name) = match blocking {
            true => (&mut self.blocking, "oxidag-worker"),
            false => (&mut self.launches, "oxidag-launcher"),
        };
        let thread = lane.spawn(name, &self.run, &self.shared)?;
        lane.threads.push(thread);
        Ok(())
    }
}

impl Lane {
    fn new() -> Self {
        let (jobs, queue) = unbounded();
        Self { jobs, queue, threads: Vec::new() }
    }

    fn spawn(&self, name: &str, run: &Arc<RunInfo>, shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
        let (queue, run, shared) = (self.queue.clone(), Arc::clone(run), Arc::clone(shared));
        thread::Builder::new().name(name.to_owned()).spawn(move || work(&queue, &run, &shared))
    }
}

fn start_stopper() -> io::Result<Sender<Arc<Call>>> {
    let (stops, queue) = unbounded::<Arc<Call>>();
    let stop_all = move || queue.iter().for_each(|call| call.stop());
    thread::Builder::new().name("oxidag-stopper".to_owned()).spawn(stop_all)?;
    Ok(stops)
}

fn work(queue: &Receiver<Job>, run: &RunInfo, shared: &Shared) {
    let mut spin = Spin::default();
    while let Some(job) = spin.receive(queue, None) {
        hand_over(run, &job);
        if !job.call.returned() {
            // Another thread has taken this one's place.
            return;
        }
        if !job.call.has_ended() {
            job.call.defer();
            let _ = shared.messages.send(Message::Deferred { task: job.task, attempt: job.attempt });
        }
    }
}

fn hand_over(run: &RunInfo, job: &Job) {
    let key = idempotency_key(run, job);
    let task = match run.prepared.call(job.task, &run.run_id, job.attempt, key) {
        Ok(task) => task,
        Err(message) => return job.call.refuse(message),
    };
    match serde_json::to_string(&task) {
        Ok(json) => run.prepared.engine(job.task).run(&json, job.call.handle()),
        Err(error) => job.call.refuse(format!("the task cannot be written as JSON: {error}")),
    }
}

/// The same for the same attempt, and different for any other one anywhere: the run's start is part of it,
/// since run ids may be chosen by the user. Letters, digits and `-`, as remote services want job ids.
fn idempotency_key(run: &RunInfo, job: &Job) -> String {
    let task = &run.prepared.task(job.task).task_id;
    let identity =
        format!("{}\0{}\0{}\0{task}\0{}", run.prepared.dag.dag_id, run.run_id, run.started_at.0, job.attempt);
    let digest = Sha256::digest(identity.as_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("oxidag-{hex}")
}
