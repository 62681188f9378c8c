//! Counts the tasks that engines have, whatever else is reported, and lets a reporter fail alone.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oxidag_core::event::{Event, EventKind, TaskIdx};
use oxidag_core::runner::Reporter;

use crate::output;

/// How many tasks engines have, of all runs together.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    /// The number as of the last event.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts, and hands every event on.
pub(super) struct Counting {
    /// None once it failed.
    inner: Option<Box<dyn Reporter>>,
    wants_logs: bool,
    tasks: HashSet<TaskIdx>,
    count: InFlight,
}

impl Counting {
    pub(super) fn new(inner: Box<dyn Reporter>, count: InFlight) -> Self {
        Self { wants_logs: inner.wants_logs(), inner: Some(inner), tasks: HashSet::new(), count }
    }

    fn tell(&mut self, tell: impl FnOnce(&mut Box<dyn Reporter>) -> io::Result<()>) {
        let Some(Err(error)) = self.inner.as_mut().map(tell) else { return };
        self.inner = None;
        if error.kind() != io::ErrorKind::BrokenPipe {
            output::remark(format_args!("cannot report any longer, but the run goes on: {error}"));
        }
    }
}

impl Reporter for Counting {
    fn wants_logs(&self) -> bool {
        self.wants_logs
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        // No engine has what no attempt was made of.
        if let EventKind::TaskState { task, attempt: 1.., state, .. } = event.kind {
            if state.is_in_flight() {
                self.count.0.fetch_add(usize::from(self.tasks.insert(task)), Ordering::Relaxed);
            } else {
                self.count.0.fetch_sub(usize::from(self.tasks.remove(&task)), Ordering::Relaxed);
            }
        }
        self.tell(|inner| inner.event(event));
        Ok(())
    }

    fn idle(&mut self) -> io::Result<()> {
        self.tell(|inner| inner.idle());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxidag_core::event::Timestamp;
    use oxidag_core::state::TaskState;

    struct Broken;

    impl Reporter for Broken {
        fn event(&mut self, _: &Event) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    fn event(task: u32, state: TaskState) -> Event {
        let kind = EventKind::TaskState { task: TaskIdx(task), attempt: 1, state, end: None };
        Event { ts: Timestamp(0), kind }
    }

    #[test]
    fn tasks_in_flight_are_counted_even_when_nobody_can_be_told() {
        let count = InFlight::default();
        let mut counting = Counting::new(Box::new(Broken), count.clone());
        let mut counted = |task, state| {
            counting.event(&event(task, state)).unwrap();
            counting.idle().unwrap();
            count.count()
        };
        assert_eq!(counted(0, TaskState::Running), 1);
        assert_eq!(counted(1, TaskState::Running), 2);
        assert_eq!(counted(1, TaskState::Deferred), 2);
        assert_eq!(counted(2, TaskState::Waiting), 2);
        assert_eq!(counted(1, TaskState::UpForRetry), 1);
        assert_eq!(counted(0, TaskState::Success), 0);
    }
}
