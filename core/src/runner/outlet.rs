//! Where the events of a run go: into its journal, and once they are there to its reporter.
//!
//! A worker puts the events of its turn after the turn, while others may have theirs. It takes the outlet before it gives
//! up the turn, so events come in the order of their turns.

use super::report::Reports;
use crate::event::Event;
use crate::store::{RunJournal, StoreError, ToCancel};

/// The journal and the reporter of a run.
pub(super) struct Outlet {
    /// Until the run has ended.
    journal: Option<RunJournal>,
    reports: Reports,
    /// Why an event could not be stored. None is from then on, or what is stored would have a gap.
    unstored: Option<String>,
    /// The attempts whose beginning is stored.
    #[cfg(test)]
    begun: std::collections::HashSet<(crate::event::TaskIdx, u32)>,
}

impl Outlet {
    pub(super) fn new(journal: RunJournal, reports: Reports) -> Self {
        Self {
            journal: Some(journal),
            reports,
            unstored: None,
            #[cfg(test)]
            begun: std::collections::HashSet::new(),
        }
    }

    /// Stores these events, and tells them. What cannot be stored is not told. None are left.
    pub(super) fn put(&mut self, events: &mut Vec<Event>) -> Result<(), String> {
        let stored = self.store(events);
        if stored.is_ok() {
            self.reports.send(events);
        }
        events.clear();
        stored
    }

    /// Stores these events.
    pub(super) fn store(&mut self, events: &[Event]) -> Result<(), String> {
        if let Some(reason) = &self.unstored {
            return Err(reason.clone());
        }
        let Some(journal) = &mut self.journal else { return Err("the run has ended".to_owned()) };
        let stored = journal.record(events).map_err(|error| error.to_string());
        self.unstored = stored.as_ref().err().cloned();
        #[cfg(test)]
        self.begun.extend(events.iter().filter_map(|event| match event.kind {
            crate::event::EventKind::TaskState {
                task,
                attempt,
                state: crate::state::TaskState::Running,
                ..
            } => Some((task, attempt)),
            _ => None,
        }));
        stored
    }

    /// Tells events whether they are stored or not.
    pub(super) fn tell(&self, events: &mut Vec<Event>) {
        self.reports.send(events);
    }

    /// Whether an event could not be stored.
    pub(super) fn has_failed(&self) -> bool {
        self.unstored.is_some()
    }

    /// Whether the reporter can be told more lines.
    pub(super) fn keeps_up(&self) -> bool {
        self.reports.keeps_up()
    }

    /// What other processes want cancelled.
    pub(super) fn to_cancel(&self) -> Result<ToCancel, StoreError> {
        self.journal.as_ref().map_or_else(|| Ok(ToCancel::default()), RunJournal::to_cancel)
    }

    /// Brings the store to its end.
    pub(super) fn finish_journal(&mut self) -> Result<(), StoreError> {
        self.journal.take().map_or(Ok(()), RunJournal::finish)
    }

    /// Waits until everything is shown.
    pub(super) fn finish_reports(&mut self) {
        self.reports.finish();
    }

    #[cfg(test)]
    pub(super) fn has_stored(&self, task: crate::event::TaskIdx, attempt: u32) -> bool {
        self.begun.contains(&(task, attempt))
    }
}
