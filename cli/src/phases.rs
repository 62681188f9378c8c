//! What an attempt did when: it waited for a place, ran, and was deferred. No clock: until when something that has not
//! ended went on is an argument.

use std::time::Duration;

use oxidag_core::event::Timestamp;
use oxidag_core::state::TaskState;
use oxidag_core::store::{AttemptDetails, TaskDetails};

use crate::format::between;

/// From one time to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Its beginning.
    pub(crate) from: Timestamp,
    /// Its end.
    pub(crate) to: Timestamp,
}

impl Span {
    /// How long it is.
    pub(crate) fn took(self) -> Duration {
        between(self.from, self.to)
    }
}

/// The phases of an attempt, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Phases {
    /// It could have started, but there was no place for it.
    pub(crate) waited: Option<Span>,
    /// Its engine was busy with it.
    pub(crate) ran: Option<Span>,
    /// Its engine waited for a remote job.
    pub(crate) deferred: Option<Span>,
}

impl Phases {
    /// Those of an attempt. `now` is the end of what has not ended; without it, nobody knows that end.
    pub(crate) fn of(attempt: &AttemptDetails, now: Option<Timestamp>) -> Self {
        let span = |from: Option<Timestamp>, to: Option<Timestamp>| Some(Span { from: from?, to: to? });
        let end = attempt.finished_at.or(now);
        Self {
            waited: span(attempt.scheduled_at, Some(attempt.started_at)),
            ran: span(Some(attempt.started_at), attempt.deferred_at.or(end)),
            deferred: span(attempt.deferred_at, end),
        }
    }

    /// What a task waits, or waited, without an attempt that followed.
    pub(crate) fn pending(task: &TaskDetails, now: Option<Timestamp>) -> Option<Span> {
        let from = task.scheduled_at?;
        // What became of the others is told by their attempts.
        let waits = matches!(task.state, TaskState::Scheduled | TaskState::Waiting | TaskState::Cancelled);
        let started = task.attempts.last().is_some_and(|attempt| attempt.started_at >= from);
        let to = task.finished_at.or(now).filter(|_| waits && !started)?;
        Some(Span { from, to })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An attempt with its times in milliseconds: ready, started, deferred, ended.
    pub(crate) fn attempt(
        number: u32,
        state: TaskState,
        (ready, started, deferred, ended): (Option<i64>, i64, Option<i64>, Option<i64>),
    ) -> AttemptDetails {
        AttemptDetails {
            attempt: number,
            state,
            scheduled_at: ready.map(at),
            started_at: at(started),
            deferred_at: deferred.map(at),
            finished_at: ended.map(at),
            error: None,
            metrics: None,
            checkpoint: None,
        }
    }

    /// A task that these attempts left in this state.
    pub(crate) fn task(id: &str, state: TaskState, attempts: Vec<AttemptDetails>) -> TaskDetails {
        let finished_at = attempts.last().and_then(|attempt| attempt.finished_at);
        TaskDetails {
            task_id: id.to_owned(),
            grown_from: None,
            engine: "noop".to_owned(),
            state,
            scheduled_at: attempts.last().and_then(|attempt| attempt.scheduled_at),
            started_at: attempts.first().map(|attempt| attempt.started_at),
            finished_at: finished_at.filter(|_| state.is_terminal()),
            error: None,
            result: None,
            attempts,
        }
    }

    /// So many milliseconds after the run began.
    pub(crate) fn at(ms: i64) -> Timestamp {
        Timestamp(1_000_000_000 + ms * 1000)
    }

    fn span(from: i64, to: i64) -> Option<Span> {
        Some(Span { from: at(from), to: at(to) })
    }

    #[test]
    fn waiting_running_and_being_deferred_are_told_apart() {
        let ended = attempt(1, TaskState::Success, (Some(1), 3, Some(7), Some(20)));
        let expected = Phases { waited: span(1, 3), ran: span(3, 7), deferred: span(7, 20) };
        assert_eq!(Phases::of(&ended, None), expected);
        assert_eq!(Phases::of(&ended, Some(at(99))), expected);
        let local = attempt(1, TaskState::Failed, (None, 3, None, Some(20)));
        assert_eq!(Phases::of(&local, None), Phases { ran: span(3, 20), ..Phases::default() });
    }

    #[test]
    fn what_has_not_ended_goes_on_until_now_if_anything_does() {
        let deferred = attempt(1, TaskState::Deferred, (Some(1), 3, Some(7), None));
        assert_eq!(Phases::of(&deferred, Some(at(30))).deferred, span(7, 30));
        let interrupted = Phases::of(&deferred, None);
        assert_eq!((interrupted.ran, interrupted.deferred), (span(3, 7), None));
    }

    #[test]
    fn a_task_that_waits_again_is_not_taken_for_its_last_attempt() {
        let failed = attempt(1, TaskState::Failed, (Some(1), 3, None, Some(20)));
        let mut task = task("a", TaskState::Waiting, vec![failed]);
        assert_eq!(Phases::pending(&task, Some(at(30))), None);
        task.scheduled_at = Some(at(25));
        assert_eq!(Phases::pending(&task, Some(at(30))), span(25, 30));
        assert_eq!(Phases::pending(&task, None), None);
        task.state = TaskState::Cancelled;
        task.finished_at = Some(at(27));
        assert_eq!(Phases::pending(&task, Some(at(30))), span(25, 27));
        task.state = TaskState::Running;
        assert_eq!(Phases::pending(&task, Some(at(30))), None);
    }
}
