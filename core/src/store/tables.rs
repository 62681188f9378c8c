//! The rows of a run's tasks and attempts: what a stretch of events leaves of them, written as seldom as can be.
//!
//! The result is the same as if each event were written by itself, in whatever order events come.

use rusqlite::{CachedStatement, Transaction, params};

use super::codec::{End, GrownChange, TaskChange, What};
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
                     error = ?6, result = ?7, scheduled_at = coalesce(?8, scheduled_at)
                 WHERE run_key = ?1 AND task = ?2",
            )?,
            // The row of the task still says when it became ready in an earlier stretch.
            open: tx.prepare_cached(
                "INSERT INTO attempts (run_key, task, attempt, state, finished_at, error, metrics, started_at,
                     deferred_at, scheduled_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
                     coalesce(?10, (SELECT scheduled_at FROM tasks WHERE run_key = ?1 AND task = ?2)))
                 ON CONFLICT DO UPDATE SET state = excluded.state, finished_at = excluded.finished_at,
                     error = excluded.error, metrics = excluded.metrics,
                     deferred_at = coalesce(deferred_at, excluded.deferred_at)
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
            let task = Task::of(of_task);
            of_task.sort_by_key(|change| change.attempt);
            for of_attempt in of_task.chunk_by(|a, b| a.attempt == b.attempt) {
                // 0: no attempt was made yet.
                if of_attempt[0].attempt > 0 {
                    self.write_attempts(of_attempt)?;
                }
            }
            // After its attempts, which look into its row.
            if let Some(task) = task {
                self.write_task(of_task[0].task, &task)?;
            }
        }
        Ok(())
    }

    fn write_task(&mut self, number: u32, left: &Task<'_>) -> rusqlite::Result<()> {
        self.task.execute(params![
            self.run_key,
            number,
            left.state as u8,
            left.started_at,
            left.finished_at,
            left.end.error,
            left.end.result,
            left.scheduled_at,
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
                        attempt.open(change, state);
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
            let (deferred_at, ready_at) = (left.deferred_at, left.ready_at);
            let row = params![
                key,
                task,
                number,
                state,
                at,
                end.error,
                end.metrics,
                opened_at,
                deferred_at,
                ready_at
            ];
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

/// Adds the rows of tasks by which a run has grown, and notes why it has.
pub(super) fn add_tasks(tx: &Transaction<'_>, run_key: i64, grown: &GrownChange<'_>) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO growth (run_key, number, ts, first, count, cause)
         VALUES (?1, (SELECT coalesce(max(number) + 1, 0) FROM growth WHERE run_key = ?1), ?2, ?3, ?4, ?5)",
    )?
    .execute(params![run_key, grown.ts, grown.first, grown.count, grown.cause])?;
    let mut insert = tx.prepare_cached(
        "INSERT INTO tasks (run_key, task, task_id, engine, state, grown_from) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (task, number) in grown.tasks().zip(grown.first..) {
        let state = TaskState::None as u8;
        insert.execute(params![run_key, number, task.task_id, task.engine, state, task.from])?;
    }
    Ok(())
}

/// What is left of a task.
struct Task<'a> {
    state: TaskState,
    /// When it last became ready to start.
    scheduled_at: Option<i64>,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    end: End<'a>,
}

impl<'a> Task<'a> {
    /// Goes through what happened to one task, and notes with each change when the task had become ready by then.
    fn of(changes: &mut [TaskChange<'a>]) -> Option<Self> {
        let (mut scheduled_at, mut started_at, mut last) = (None, None, None);
        for change in changes {
            if let What::State(state, end) = change.what {
                match state {
                    TaskState::Scheduled => scheduled_at = Some(change.ts),
                    TaskState::Running => started_at = started_at.or(Some(change.ts)),
                    _ => {}
                }
                last = Some((change.ts, state, end));
            }
            change.ready_at = scheduled_at;
        }
        let (ts, state, end) = last?;
        let finished_at = state.is_terminal().then_some(ts);
        Some(Self { state, scheduled_at, started_at, finished_at, end })
    }
}

/// What is left of an attempt: at most one opening, then at most one closing.
#[derive(Default)]
struct Attempt<'a> {
    ready_at: Option<i64>,
    opened_at: Option<i64>,
    deferred_at: Option<i64>,
    state: Option<TaskState>,
    finished_at: Option<i64>,
    end: End<'a>,
    checkpoint: Option<&'a str>,
}

impl<'a> Attempt<'a> {
    /// The first opening counts: an attempt that is handed to its engine again is still the same.
    fn open(&mut self, change: &TaskChange<'_>, state: TaskState) {
        if self.opened_at.is_none() {
            self.opened_at = Some(change.ts);
            self.ready_at = change.ready_at;
        }
        if state == TaskState::Deferred {
            self.deferred_at = self.deferred_at.or(Some(change.ts));
        }
        self.state = Some(state);
    }

    /// The first closing counts: a task cancelled between two attempts leaves the one before as it ended.
    fn close(&mut self, state: TaskState, ts: i64, end: End<'a>) {
        if self.finished_at.is_none() {
            self.state = Some(state);
            self.finished_at = Some(ts);
            self.end = end;
        }
    }
}
