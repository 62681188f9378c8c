//! From a journal into the tables: the only way by which an event gets there, live or after a crash.
//!
//! A stretch of the journal becomes one transaction, which also notes how far it went, so a frame is applied exactly
//! once. Within a stretch only what is left of each task in the end is written.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rusqlite::{CachedStatement, Connection, Transaction, TransactionBehavior, params};

use super::codec::{self, Change, End, RunChange, TaskChange, What};
use super::error::StoreError;
use super::journal::{self, Next};
use crate::state::{RunState, TaskState};

/// How much of the journal one transaction takes: some ten thousand events.
const STRETCH: u64 = 1 << 20;

/// Applies one run's journal.
#[derive(Debug)]
pub(super) struct Applier {
    run_key: i64,
    journal: File,
    journal_path: PathBuf,
    database_path: PathBuf,
    applied: u64,
    bytes: Vec<u8>,
}

impl Applier {
    /// Goes on from `applied`, an offset into the journal.
    pub(super) fn new(
        run_key: i64,
        (journal, journal_path): (File, PathBuf),
        database_path: PathBuf,
        applied: u64,
    ) -> Self {
        Self { run_key, journal, journal_path, database_path, applied, bytes: Vec::new() }
    }

    /// How much of the journal is in the tables.
    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    /// Applies whole frames up to an offset, and stops early only at a torn one.
    pub(super) fn apply(&mut self, db: &mut Connection, to: u64) -> Result<(), StoreError> {
        while self.applied < to {
            let frames = self.read(to)?;
            if frames == 0 {
                break;
            }
            let applied = self.applied + frames as u64;
            self.write(db, &self.bytes[..frames], applied)?;
            self.applied = applied;
        }
        Ok(())
    }

    /// Reads the next stretch; returns the length of the whole frames in it, 0 where none follows.
    fn read(&mut self, to: u64) -> Result<usize, StoreError> {
        let left = to - self.applied;
        let mut wanted = left.min(STRETCH);
        loop {
            self.bytes.resize(wanted as usize, 0);
            self.journal
                .read_exact_at(&mut self.bytes, self.applied)
                .map_err(|error| StoreError::io(&self.journal_path, &error))?;
            match whole_frames(&self.bytes) {
                // A frame greater than a stretch; a torn one may claim any length.
                (0, Next::Cut(length)) if wanted < length as u64 && length as u64 <= left => {
                    wanted = length as u64;
                }
                (length, _) => return Ok(length),
            }
        }
    }

    fn write(&self, db: &mut Connection, frames: &[u8], applied: u64) -> Result<(), StoreError> {
        let Some((mut tasks, run)) = changes(frames) else {
            return Err(StoreError::Damaged {
                path: self.journal_path.clone(),
                reason: format!("it is not understood after byte {}", self.applied),
            });
        };
        write_changes(db, self.run_key, &mut tasks, run, applied)
            .map_err(|error| StoreError::sqlite(&self.database_path, &error))
    }
}

/// The changes of tasks in whole frames, in order, and the run's last one; `None` where something is not understood.
fn changes(frames: &[u8]) -> Option<(Vec<TaskChange<'_>>, Option<RunChange<'_>>)> {
    let (mut tasks, mut run) = (Vec::new(), None);
    let mut rest = frames;
    while let Next::Frame(payload, next) = journal::next_frame(rest) {
        rest = next;
        for change in codec::decode(payload) {
            match change? {
                Change::Task(change) => tasks.push(change),
                Change::Run(change) => run = Some(change),
            }
        }
    }
    Some((tasks, run))
}

/// The length of the whole frames at the beginning, and what follows them.
fn whole_frames(bytes: &[u8]) -> (usize, Next<'_>) {
    let mut rest = bytes;
    loop {
        match journal::next_frame(rest) {
            Next::Frame(_, next) => rest = next,
            other => return (bytes.len() - rest.len(), other),
        }
    }
}

fn write_changes(
    db: &mut Connection,
    run_key: i64,
    tasks: &mut [TaskChange<'_>],
    run: Option<RunChange<'_>>,
    applied: u64,
) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    Tables::new(&tx, run_key)?.write_tasks(tasks)?;
    if let Some(change) = run {
        let finished_at = (change.state != RunState::Running).then_some(change.ts);
        tx.prepare_cached("UPDATE runs SET state = ?2, finished_at = ?3, error = ?4 WHERE run_key = ?1")?
            .execute(params![run_key, change.state as u8, finished_at, change.error])?;
    }
    tx.prepare_cached("UPDATE runs SET journal_applied = ?2 WHERE run_key = ?1")?
        .execute(params![run_key, applied.cast_signed()])?;
    tx.commit()
}

/// The rows of a run's tasks and attempts, for writing.
struct Tables<'tx> {
    run_key: i64,
    task: CachedStatement<'tx>,
    open: CachedStatement<'tx>,
    close: CachedStatement<'tx>,
    checkpoint: CachedStatement<'tx>,
}

impl<'tx> Tables<'tx> {
    fn new(tx: &'tx Transaction<'_>, run_key: i64) -> rusqlite::Result<Self> {
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
    fn write_tasks(&mut self, changes: &mut [TaskChange<'_>]) -> rusqlite::Result<()> {
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
