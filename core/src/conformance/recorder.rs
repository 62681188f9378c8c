//! The host's side of an attempt, for checks: it keeps what the engine does, and wakes who waits for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use oxidag_plugin_api::Level;
use oxidag_plugin_api::abi::End;
use serde_json::{Value, json};

use super::wire::Resume;
use crate::engine::{Attempt, OnCancel};

/// Called in a call of `checkpoint`, on the engine's thread.
type Hook = Box<dyn Fn(Resume) + Send + Sync>;

/// What is done besides recording.
#[derive(Default)]
pub(super) struct Habits {
    /// Callbacks are kept after the end, as those are that a cancellation has in hand while the attempt ends.
    pub(super) keeps_callbacks: bool,
    /// Called with a checkpoint before it is stored.
    pub(super) before_checkpoint: Option<Hook>,
    /// Called with a checkpoint that is stored, before the engine knows.
    pub(super) after_checkpoint: Option<Hook>,
}

/// An attempt, as checks look at it.
pub(super) struct Recorder {
    habits: Habits,
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// What was seen of an attempt so far.
#[derive(Default)]
pub(super) struct Seen {
    /// How it ended; more than one is a fault.
    pub(super) ends: Vec<End>,
    /// How many checkpoints were stored.
    pub(super) checkpoints: usize,
    /// The call of `run` has returned.
    pub(super) returned: bool,
    /// The engine has let go of the attempt.
    pub(super) released: bool,
    /// A progress that is none.
    pub(super) wrong_progress: Option<f64>,
    asked: bool,
    callbacks: Vec<OnCancel>,
}

impl Recorder {
    pub(super) fn new(habits: Habits) -> Arc<Self> {
        Arc::new(Self { habits, seen: Mutex::default(), changed: Condvar::new() })
    }

    /// What the engine is given.
    pub(super) fn hand_out(self: &Arc<Self>) -> Arc<Handed> {
        Arc::new(Handed(Arc::clone(self)))
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen());
        self.changed.notify_all();
    }

    /// The call of `run` has returned.
    pub(super) fn returned(&self) {
        self.change(|seen| seen.returned = true);
    }

    /// Waits for something to be seen; `None` when it was not by then.
    pub(super) fn wait(
        &self,
        until: Instant,
        is_there: impl Fn(&Seen) -> bool,
    ) -> Option<MutexGuard<'_, Seen>> {
        let time = until.saturating_duration_since(Instant::now());
        let waited = self.changed.wait_timeout_while(self.seen(), time, |seen| !is_there(seen));
        let (seen, _) = waited.unwrap_or_else(PoisonError::into_inner);
        is_there(&seen).then_some(seen)
    }

    /// Asks the engine to stop; whether the attempt had ended before.
    pub(super) fn stop(&self) -> bool {
        let (callbacks, ended) = {
            let mut seen = self.seen();
            seen.asked = true;
            (std::mem::take(&mut seen.callbacks), !seen.ends.is_empty())
        };
        callbacks.into_iter().for_each(|callback| callback());
        ended
    }
}

/// What the engine is given: told apart from the recorder, so that it is seen when the engine lets go of it.
pub(super) struct Handed(Arc<Recorder>);

impl Drop for Handed {
    fn drop(&mut self) {
        self.0.change(|seen| seen.released = true);
    }
}

impl Attempt for Handed {
    fn log(&self, _level: Level, _text: &str) {}

    fn progress(&self, fraction: f64, _message: &str) {
        if !fraction.is_nan() && !(0.0..=1.0).contains(&fraction) {
            self.0.change(|seen| seen.wrong_progress = Some(fraction));
        }
    }

    fn cancelled(&self) -> bool {
        self.0.seen().asked
    }

    fn on_cancel(&self, callback: OnCancel) {
        let mut seen = self.0.seen();
        if seen.asked {
            drop(seen);
            callback();
        } else if seen.ends.is_empty() || self.0.habits.keeps_callbacks {
            seen.callbacks.push(callback);
        } else {
            drop(seen);
            drop(callback);
        }
    }

    fn checkpoint(&self, checkpoint: Value) -> Result<(), String> {
        let resume = Resume { checkpoint: Some(checkpoint) };
        if let Some(hook) = &self.0.habits.before_checkpoint {
            hook(Resume { checkpoint: None });
        }
        self.0.change(|seen| seen.checkpoints += 1);
        if let Some(hook) = &self.0.habits.after_checkpoint {
            hook(resume);
        }
        Ok(())
    }

    /// There is no graph; what a real one takes, it takes.
    fn append(&self, _addition: Value) -> Result<(), String> {
        Ok(())
    }

    fn query(&self, _question: Value) -> Result<Value, String> {
        Ok(json!([{"task_id": "conformance", "state": "running", "upstream": []}]))
    }

    fn complete(&self, end: End) {
        let mut callbacks = Vec::new();
        self.0.change(|seen| {
            seen.ends.push(end);
            if !self.0.habits.keeps_callbacks {
                callbacks = std::mem::take(&mut seen.callbacks);
            }
        });
        // They may hold what calls the host when it goes.
        drop(callbacks);
    }
}
