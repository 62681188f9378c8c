//! A live run's side of the store: events go to the journal at once, and from there into the tables in the background.
//!
//! The journal is also the queue between the two, so a slow database costs disk, not memory, and never holds up the run.
//! The thread here writes nothing but what the journal already holds: it may stop at any instant and nothing is lost.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;

use super::apply::Applier;
use super::error::StoreError;
use super::home::{self, Home};
use super::window::Window;
use super::{codec, journal};
use crate::event::{Event, EventKind};

/// How long events gather for one transaction, and so by how much other processes lag behind.
const GATHER: Duration = Duration::from_millis(20);

/// A run that this process owns: its events are recorded here.
///
/// Dropping it without [`RunJournal::finish`] leaves the run interrupted, as a crash would; nothing that was recorded is lost.
#[derive(Debug)]
pub struct RunJournal {
    run_id: String,
    tasks: u32,
    home: Home,
    journal: File,
    window: Window,
    pub(super) path: PathBuf,
    end: u64,
    frame: Vec<u8>,
    db: Arc<Mutex<Connection>>,
    shared: Arc<Shared>,
    applying: Option<JoinHandle<Applier>>,
}

/// What the run and its background thread tell each other.
#[derive(Debug)]
struct Shared {
    progress: Mutex<Progress>,
    wake: Condvar,
}

#[derive(Debug)]
struct Progress {
    /// The journal's end: everything before it is whole.
    written: u64,
    /// The thread sleeps until there is more.
    idle: bool,
    /// The thread is to end.
    stop: bool,
    /// Why the thread ended by itself.
    error: Option<StoreError>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What [`RunJournal::start`] needs to know of the run.
pub(super) struct Owned {
    pub(super) run_id: String,
    pub(super) run_key: i64,
    pub(super) tasks: u32,
    pub(super) journal: File,
}

impl RunJournal {
    /// Starts the background thread for a run whose journal is ours and holds no event yet.
    pub(super) fn start(home: Home, db: Arc<Mutex<Connection>>, run: Owned) -> Result<Self, StoreError> {
        let path = home.journal(&run.run_id);
        let io = |error| StoreError::io(&path, &error);
        let for_thread = (run.journal.try_clone().map_err(io)?, path.clone());
        let start = journal::HEADER_LEN;
        let applier = Applier::new(run.run_key, for_thread, home.database(), start);
        let shared = Arc::new(Shared {
            progress: Mutex::new(Progress { written: start, idle: false, stop: false, error: None }),
            wake: Condvar::new(),
        });
        let applying = thread::Builder::new().name("oxidag-store".to_owned());
        let (thread_db, thread_shared) = (Arc::clone(&db), Arc::clone(&shared));
        let applying =
            applying.spawn(move || apply_until_stopped(applier, &thread_db, &thread_shared)).map_err(io)?;
        Ok(Self {
            run_id: run.run_id,
            tasks: run.tasks,
            home,
            journal: run.journal,
            window: Window::New,
            path,
            end: start,
            frame: Vec::new(),
            db,
            shared,
            applying: Some(applying),
        })
    }

    /// Stores events, all of them or none; once this returns `Ok` they survive the death of the process.
    ///
    /// Log lines and progress are passed over: they are kept elsewhere or not at all.
    ///
    /// # Errors
    ///
    /// The journal cannot be written, an event names a task that the run does not have, or the database failed since the
    /// last call (the journal then has these events all the same, and the next [`super::Store::open`] picks them up).
    pub fn record(&mut self, events: &[Event]) -> Result<(), StoreError> {
        let tasks = self.check_tasks(events)?;
        journal::begin_frame(&mut self.frame);
        let io = |error| StoreError::io(&self.path, &error);
        for event in events {
            codec::encode(event, &mut self.frame).map_err(io)?;
        }
        if journal::end_frame(&mut self.frame).map_err(io)? {
            if !self.window.write(&self.journal, &self.frame, self.end) {
                // At a known place, not at the file's end: after a write that failed half-way, the next one covers it.
                self.journal.write_all_at(&self.frame, self.end).map_err(io)?;
            }
            self.end += self.frame.len() as u64;
        }
        self.tasks = tasks;
        let mut progress = self.shared.lock();
        if progress.idle && progress.written < self.end {
            progress.idle = false;
            self.shared.wake.notify_one();
        }
        progress.written = self.end;
        progress.error.clone().map_or(Ok(()), Err)
    }

    /// Where the next frame will be.
    #[cfg(test)]
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Waits until everything recorded is in the database, then removes the journal.
    ///
    /// # Errors
    ///
    /// The database cannot take the rest; the journal keeps it for the next [`super::Store::open`].
    pub fn finish(mut self) -> Result<(), StoreError> {
        if let Some(mut applier) = self.stop() {
            // On a disk that is nearly full the database needs the room.
            self.window.close(&self.journal, self.end);
            let mut db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
            applier.apply(&mut db, self.end)?;
            drop(db);
            if applier.applied() == self.end {
                return self.home.remove_journal(&self.run_id);
            }
        }
        Err(StoreError::Damaged {
            path: self.path.clone(),
            reason: "it does not hold what was written to it".to_owned(),
        })
    }

    /// How many tasks the run has after these events, each of which names one that it has by then.
    fn check_tasks(&self, events: &[Event]) -> Result<u32, StoreError> {
        let mut tasks = self.tasks;
        for event in events {
            if let EventKind::Grown(growth) = &event.kind {
                tasks = tasks.saturating_add(u32::try_from(growth.tasks.len()).unwrap_or(u32::MAX));
            } else if let Some(task) = codec::task_of(event).filter(|task| task.0 >= tasks) {
                return Err(StoreError::UnknownTask {
                    run_id: self.run_id.clone(),
                    task: task.0,
                    count: tasks,
                });
            }
        }
        Ok(tasks)
    }

    /// Ends the thread; `None` if it was ended already or panicked.
    fn stop(&mut self) -> Option<Applier> {
        let applying = self.applying.take()?;
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
        applying.join().ok()
    }
}

impl Drop for RunJournal {
    fn drop(&mut self) {
        self.stop();
        self.window.close(&self.journal, self.end);
        Self::forget_requests(&self.path);
        home::release(&self.journal);
    }
}

/// The background thread: hands back what [`RunJournal::finish`] needs to apply the rest.
fn apply_until_stopped(mut applier: Applier, db: &Mutex<Connection>, shared: &Shared) -> Applier {
    while let Some(written) = shared.next(applier.applied()) {
        let mut db = db.lock().unwrap_or_else(PoisonError::into_inner);
        match applier.apply(&mut db, written) {
            // Whoever holds the database will let go of it, and the journal can wait.
            Ok(()) | Err(StoreError::Busy { .. }) => {}
            Err(error) => {
                shared.lock().error = Some(error);
                break;
            }
        }
    }
    applier
}

impl Shared {
    /// Waits until there is more than `applied`, and a little longer for more of it; `None` to end.
    fn next(&self, applied: u64) -> Option<u64> {
        let mut progress = self.lock();
        while progress.written == applied && !progress.stop {
            progress.idle = true;
            progress = self.wake.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        progress.idle = false;
        let gathered = self.wake.wait_timeout_while(progress, GATHER, |progress| !progress.stop);
        let (progress, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        (!progress.stop).then_some(progress.written)
    }
}
