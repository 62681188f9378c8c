//! From the tables of the fifth schema, which had a row for each task and one for each attempt, into those of the sixth.

use rusqlite::{Row, Transaction};

use super::chunk;
use super::names::Name;
use super::progress::{Attempt, Progress};
use super::rows::{key, state};
use super::tables::{Naming, Tables};

/// Packs the tasks of every run, and removes the tables in which they were.
pub(super) fn pack(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let runs = {
        let mut runs = tx.prepare("SELECT run_key, started_at FROM runs ORDER BY run_key")?;
        let runs = runs.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        runs.collect::<rusqlite::Result<Vec<(i64, i64)>>>()?
    };
    for (run_key, started_at) in runs {
        pack_names(tx, run_key)?;
        pack_progress(tx, run_key, started_at)?;
    }
    tx.execute_batch("DROP TABLE attempts; DROP TABLE tasks;")
}

fn pack_names(tx: &Transaction<'_>, run_key: i64) -> rusqlite::Result<()> {
    let mut tasks =
        tx.prepare_cached("SELECT task_id, engine, grown_from FROM tasks WHERE run_key = ?1 ORDER BY task")?;
    let mut tasks = tasks.query([run_key])?;
    let mut naming = Naming::new(tx, run_key, 0)?;
    while let Some(row) = tasks.next()? {
        let (task_id, engine) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        naming.push(Name { task_id, engine, from: row.get(2)? })?;
    }
    naming.end().map(drop)
}

fn pack_progress(tx: &Transaction<'_>, run_key: i64, before: i64) -> rusqlite::Result<()> {
    let mut tasks = tx.prepare_cached(
        "SELECT task, state, scheduled_at, started_at, finished_at, error, result FROM tasks
         WHERE run_key = ?1 ORDER BY task",
    )?;
    let mut attempts = tx.prepare_cached(
        "SELECT attempt, state, scheduled_at, started_at, deferred_at, finished_at, error, metrics, checkpoint
         FROM attempts WHERE run_key = ?1 AND task = ?2 ORDER BY attempt",
    )?;
    let (mut tables, mut packed) = (Tables::new(tx, run_key)?, Vec::new());
    chunk::begin(&mut packed, before);
    let mut tasks = tasks.query([run_key])?;
    let mut next = 0_u32;
    while let Some(row) = tasks.next()? {
        let task: u32 = row.get(0)?;
        let old = attempts.query_map((run_key, task), OldAttempt::of)?;
        let old = old.collect::<rusqlite::Result<Vec<_>>>()?;
        let progress = Progress {
            state: state(row, 1)?,
            scheduled_at: row.get(2)?,
            started_at: row.get(3)?,
            finished_at: row.get(4)?,
            error: row.get_ref(5)?.as_str_or_null()?,
            result: row.get_ref(6)?.as_str_or_null()?,
            attempts: old.iter().map(OldAttempt::attempt).collect(),
        };
        tables.push(key(run_key, task), &progress, (before, false), &mut packed)?;
        next += 1;
        if next.is_multiple_of(chunk::TASKS) {
            tables.put(next - chunk::TASKS, &mut packed)?;
            chunk::begin(&mut packed, before);
        }
    }
    if !next.is_multiple_of(chunk::TASKS) {
        tables.put(next / chunk::TASKS * chunk::TASKS, &mut packed)?;
    }
    Ok(())
}

/// A row of an attempt.
struct OldAttempt {
    /// Without its texts.
    attempt: Attempt<'static>,
    error: Option<String>,
    metrics: Option<String>,
    checkpoint: Option<String>,
}

impl OldAttempt {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let attempt = Attempt {
            number: row.get(0)?,
            state: state(row, 1)?,
            scheduled_at: row.get(2)?,
            started_at: row.get(3)?,
            deferred_at: row.get(4)?,
            finished_at: row.get(5)?,
            error: None,
            metrics: None,
            checkpoint: None,
        };
        Ok(Self { attempt, error: row.get(6)?, metrics: row.get(7)?, checkpoint: row.get(8)? })
    }

    fn attempt(&self) -> Attempt<'_> {
        let (error, metrics) = (self.error.as_deref(), self.metrics.as_deref());
        Attempt { error, metrics, checkpoint: self.checkpoint.as_deref(), ..self.attempt.clone() }
    }
}
