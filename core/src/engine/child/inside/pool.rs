//! The threads of the child: one for each attempt that blocks, kept for the next; one for all that do not.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

/// What a thread is to do.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// As many threads as there were jobs at once.
pub(super) struct Pool {
    jobs: Sender<Job>,
    queue: Receiver<Job>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Threads that wait for a job, less the jobs that wait for a thread.
    idle: AtomicUsize,
    /// Jobs that are not done.
    open: AtomicUsize,
}

impl Pool {
    pub(super) fn new() -> Self {
        let (jobs, queue) = unbounded();
        Self { jobs, queue, counts: Arc::default() }
    }

    /// Has a thread do this at once.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn spawn(&self, job: Job) -> io::Result<()> {
        let take = |idle: usize| idle.checked_sub(1);
        if self.counts.idle.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_err() {
            let (queue, counts) = (self.queue.clone(), Arc::clone(&self.counts));
            thread::Builder::new().name("oxidag-worker".to_owned()).spawn(move || work(&queue, &counts))?;
        }
        self.counts.open.fetch_add(1, Ordering::AcqRel);
        // Its receiver is here.
        let _ = self.jobs.send(job);
        Ok(())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.counts.open.load(Ordering::Acquire) == 0
    }
}

fn work(queue: &Receiver<Job>, counts: &Counts) {
    for job in queue {
        job();
        counts.open.fetch_sub(1, Ordering::AcqRel);
        counts.idle.fetch_add(1, Ordering::AcqRel);
    }
}

/// One thread, there once it is needed.
#[derive(Default)]
pub(super) struct Lane(OnceLock<Sender<Job>>);

impl Lane {
    /// Has the thread do this after what it was given before. Only the thread that reads calls it.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn send(&self, job: Job) -> io::Result<()> {
        let jobs = match self.0.get() {
            Some(jobs) => jobs,
            None => {
                let (jobs, queue) = unbounded::<Job>();
                let lane = thread::Builder::new().name("oxidag-launcher".to_owned());
                lane.spawn(move || queue.iter().for_each(|job| job()))?;
                self.0.get_or_init(|| jobs)
            }
        };
        // The thread ends only with the process.
        let _ = jobs.send(job);
        Ok(())
    }
}
