//! The rows of a run's tasks and attempts: what a stretch of events leaves of them, written as seldom as can be.
//!
//! The result is the same as if each event were written by itself, in whatever order events come.

use rusqlite::{CachedStatement, Transaction, params};

use super::codec::{End, TaskChange, What};
use crate::state::TaskState;

/// The rows of a run's tasks and attempts, for writing.
pub(super) struct Tables<'tx> {
    run_key: i64,
    task: CachedStatement<'tx>,
    open: CachedStatement<'tx>,
    close: CachedStatement<'tx>,
    checkpoint: CachedStatement<'tx>,
}

impl<'tx> Tables<'tx> {
    pub(super) fn new(tx: &'tx Transaction<'_>, run_key: i64) -> rusqlite::Result<Self> {
        Ok(Self {
            run_key,
            task: tx.prepare_cached(
                "UPDATE tasks SET state = ?3, started_at = coalesce(started_at, ?4), finished_at = ?5,
                     error = ?6, result = ?7
                 WHERE run_key = ?1 AND task = ?2",
            )?,
            open: tx.prepare_cached(
                "INSERT INTO attempts (run_key, task, attempt, state, finished_at, error, metrics, started_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT DO UPDATE SET state = excluded.state, finished_at = excluded.finished_at,
                     error = excluded.error, metrics = excluded.metrics
                 WHERE finished_at IS NULL",
            )?,
            close: tx.prepare_cached(
                "UPDATE attempts SET state = ?4, finished_at = ?5, error = ?6, metrics = ?7
                 WHERE run_key = ?1 AND task = ?2 AND attempt = ?3 AND finished_at IS NULL",
            )?,
            checkpoint: tx.prepare_cached(
                "UPDATE attempts SET checkpoint = ?4 WHERE run_key = ?1 AND task = ?2 AND attempt = ?3",
            )?,
        })
    }

    /// Writes what is left of each task and each attempt.
    pub(super) fn write_tasks(&mut self, changes: &mut [TaskChange<'_>]) -> rusqlite::Result<()> {
        // Both sorts are stable: what concerns one task, or one attempt, stays in the order in which it happened.
        changes.sort_by_key(|change| change.task);
        for of_task in changes.chunk_by_mut(|a, b| a.task == b.task) {
            self.write_task(of_task)?;
            of_task.sort_by_key(|change| change.attempt);
            for of_attempt in of_task.chunk_by(|a, b| a.attempt == b.attempt) {
                // 0: no attempt was made yet.
                if of_attempt[0].attempt > 0 {
                    self.write_attempts(of_attempt)?;
                }
            }
        }
        Ok(())
    }

    fn write_task(&mut self, changes: &[TaskChange<'_>]) -> rusqlite::Result<()> {
        let mut started_at = None;
        let mut last = None;
        for change in changes {
            if let What::State(state, end) = change.what {
                if state == TaskState::Running {
                    started_at = started_at.or(Some(change.ts));
                }
                last = Some((change, state, end));
            }
        }
        let Some((change, state, end)) = last else {
            return Ok(());
        };
        let finished_at = state.is_terminal().then_some(change.ts);
        self.task.execute(params![
            self.run_key,
            change.task,
            state as u8,
            started_at,
            finished_at,
            end.error,
            end.result
        ])?;
        Ok(())
    }

    /// Goes through what happened to one attempt, and writes as seldom as that can be said at once.
    fn write_attempts(&mut self, changes: &[TaskChange<'_>]) -> rusqlite::Result<()> {
        let mut attempt = Attempt::default();
        for change in changes {
            match change.what {
                What::Checkpoint(checkpoint) => attempt.checkpoint = Some(checkpoint),
                What::State(state, end) => match state {
                    TaskState::Running | TaskState::Deferred => {
                        // What came before an opening may concern a row that is there already.
                        if attempt.opened_at.is_none() || attempt.finished_at.is_some() {
                            self.write_attempt(change, &std::mem::take(&mut attempt))?;
                        }
                        attempt.opened_at = attempt.opened_at.or(Some(change.ts));
                        attempt.state = Some(state);
                    }
                    TaskState::UpForRetry => attempt.close(TaskState::Failed, change.ts, end),
                    TaskState::Success | TaskState::Failed | TaskState::Skipped | TaskState::Cancelled => {
                        attempt.close(state, change.ts, end)
                    }
                    TaskState::None
                    | TaskState::Scheduled
                    | TaskState::Waiting
                    | TaskState::UpstreamFailed => {}
                },
            }
        }
        self.write_attempt(&changes[0], &attempt)
    }

    /// `of` says which attempt it is.
    fn write_attempt(&mut self, of: &TaskChange<'_>, left: &Attempt<'_>) -> rusqlite::Result<()> {
        let (key, task, number) = (self.run_key, of.task, of.attempt);
        let state = left.state.map(|state| state as u8);
        let (at, end) = (left.finished_at, left.end);
        if let Some(opened_at) = left.opened_at {
            let row = params![key, task, number, state, at, end.error, end.metrics, opened_at];
            self.open.execute(row)?;
        } else if state.is_some() {
            let row = params![key, task, number, state, at, end.error, end.metrics];
            self.close.execute(row)?;
        }
        if let Some(checkpoint) = left.checkpoint {
            self.checkpoint.execute(params![key, task, number, checkpoint])?;
        }
        Ok(())
    }
}

/// What is left of an attempt: at most one opening, then at most one closing.
#[derive(Default)]
struct Attempt<'a> {
    opened_at: Option<i64>,
    state: Option<TaskState>,
    finished_at: Option<i64>,
    end: End<'a>,
    checkpoint: Option<&'a str>,
}

impl<'a> Attempt<'a> {
    /// The first closing counts: a task cancelled between two attempts leaves the one before as it ended.
    fn close(&mut self, state: TaskState, ts: i64, end: End<'a>) {
        if self.finished_at.is_none() {
            self.state = Some(state);
            self.finished_at = Some(ts);
            self.end = end;
        }
    }
}
