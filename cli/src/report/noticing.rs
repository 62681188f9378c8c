//! Fires the notices of a run as its events say, whatever else is reported.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use oxidag_core::event::{Event, EventKind, Failure, FailureKind, Timestamp};
use oxidag_core::runner::Reporter;
use oxidag_core::spec::NotifyOn;
use oxidag_core::state::RunState;
use oxidag_core::store::RunDetails;

use crate::notice::{Notices, of_end, payload};
use crate::{output, settings};

/// How long the database may be behind the run: it is told what happened in the background.
const BEHIND: Duration = Duration::from_secs(10);

/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// Hands every event on, and fires notices.
pub(crate) struct Noticing {
    inner: Box<dyn Reporter>,
    notices: Arc<Notices>,
    run_id: String,
}

impl Noticing {
    pub(crate) fn new(inner: Box<dyn Reporter>, notices: Arc<Notices>, run_id: String) -> Self {
        Self { inner, notices, run_id }
    }

    fn fire(&self, on: NotifyOn, state: RunState, ended_at: Timestamp, why: Option<&Failure>) {
        if !self.notices.wants(on) {
            return;
        }
        let Some(mut run) = self.details(state) else { return self.say_unread() };
        // Where the database is behind for longer than that, this is known all the same.
        if run.head.state != state {
            (run.head.state, run.head.finished_at, run.head.error) = (state, Some(ended_at), why.cloned());
        }
        self.notices.fire(on, payload(on, &run));
    }

    fn say_unread(&self) {
        output::remark(format_args!("no notice of the run {}: it cannot be read", self.run_id));
    }

    /// The run as it is now: it may have ended by the time that the store is read.
    fn fire_deadline(&self, why: &Failure) {
        if !self.notices.wants(NotifyOn::Deadline) {
            return;
        }
        let store = settings::existing_store().ok().flatten();
        let Some(mut run) = store.and_then(|store| store.run(&self.run_id).ok().flatten()) else {
            return self.say_unread();
        };
        run.head.state = RunState::Running;
        run.head.finished_at = None;
        run.head.error = Some(why.clone());
        self.notices.fire(NotifyOn::Deadline, payload(NotifyOn::Deadline, &run));
    }

    /// The run as it is stored, once the store shows it in this state.
    fn details(&self, state: RunState) -> Option<RunDetails> {
        let until = Instant::now() + BEHIND;
        loop {
            let store = settings::existing_store().ok().flatten();
            let run = store.and_then(|store| store.run(&self.run_id).ok().flatten());
            if run.as_ref().is_some_and(|run| run.head.state == state) || Instant::now() >= until {
                return run;
            }
            thread::sleep(LOOK);
        }
    }
}

impl Reporter for Noticing {
    fn wants_logs(&self) -> bool {
        self.inner.wants_logs()
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let told = self.inner.event(event);
        match &event.kind {
            EventKind::RunState { state: RunState::Running, error: Some(why) }
                if why.kind == FailureKind::TimedOut =>
            {
                self.fire_deadline(why);
            }
            EventKind::RunState { state: RunState::Running, .. } => {}
            EventKind::RunState { state, error } => {
                self.notices.run_is_over();
                if let Some(on) = of_end(*state) {
                    // People see the end before anything waits for the store.
                    let _ = self.inner.idle();
                    self.fire(on, *state, event.ts, error.as_deref());
                }
            }
            _ => {}
        }
        told
    }

    fn idle(&mut self) -> io::Result<()> {
        self.inner.idle()
    }
}
