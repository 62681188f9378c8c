//! What is read from the tables: runs, their tasks, and how long tasks took. Nothing here writes.

use std::collections::HashMap;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

use super::names::Name;
use super::progress::{Attempt, Progress};
use super::prune::PruneRule;
use super::rows::{self, Enough, code};
use super::source;
use super::types::{AttemptDetails, Durations, RunDetails, RunFilter, RunHead, StoredGrowth, TaskDetails};
use crate::cache::CacheCounts;
use crate::event::Timestamp;
use crate::growth::Cause;
use crate::state::{RunState, TaskState};

/// How far back durations are looked up: runs, and attempts in all of them.
const PAST_RUNS: u32 = 20;
const PAST_ATTEMPTS: u32 = 100_000;

macro_rules! select_heads {
    ($rest:literal) => {
        concat!("SELECT run_id, dag_id, state, started_at, finished_at, error FROM runs ", $rest)
    };
}

/// Runs that match, newest first; who owns them is not known here.
pub(super) fn heads(db: &Connection, filter: &RunFilter) -> rusqlite::Result<Vec<RunHead>> {
    let since = filter.since.map_or(i64::MIN, |since| since.0);
    let state = filter.state.map(|state| state as u8);
    let mut statement = db.prepare_cached(&select(filter))?;
    let rows = statement.query_map(params![since, filter.dag_id, state, filter.limit], head)?;
    rows.collect()
}

/// A condition that is not asked for must not be in the text: it would keep the others from their index.
pub(super) fn select(filter: &RunFilter) -> String {
    let mut sql = select_heads!("WHERE started_at >= ?1").to_owned();
    if filter.dag_id.is_some() {
        sql.push_str(" AND dag_id = ?2");
    }
    if filter.state.is_some() {
        sql.push_str(" AND state = ?3");
    }
    sql.push_str(" ORDER BY started_at DESC, run_key DESC LIMIT ?4");
    sql
}

/// Runs that may be removed as far as the tables say, from the oldest.
pub(super) fn prunable(db: &Connection, rule: &PruneRule) -> rusqlite::Result<Vec<RunHead>> {
    let mut statement = db.prepare_cached(
        "WITH placed AS (
             SELECT *, row_number() OVER (PARTITION BY dag_id ORDER BY started_at DESC, run_key DESC) AS place
             FROM runs WHERE ?1 IS NULL OR dag_id = ?1)
         SELECT run_id, dag_id, state, started_at, finished_at, error FROM placed
         WHERE place > ?2 AND coalesce(finished_at, started_at) < ?3 ORDER BY started_at, run_key",
    )?;
    let before = rule.before.map_or(i64::MAX, |before| before.0);
    let heads = statement.query_map(params![rule.dag_id, rule.keep.unwrap_or(0), before], head)?;
    heads.collect()
}

/// The run's key.
pub(super) fn key_of(db: &Connection, run_id: &str) -> rusqlite::Result<Option<i64>> {
    let key = "SELECT run_key FROM runs WHERE run_id = ?1";
    db.query_row(key, [run_id], |row| row.get(0)).optional()
}

/// The attempts of a run, each with its task's id.
pub(super) fn attempts(db: &Connection, run_id: &str) -> rusqlite::Result<Vec<(String, u32)>> {
    let mut attempts = Vec::new();
    let Some(run_key) = key_of(db, run_id)? else { return Ok(attempts) };
    rows::each_task(db, run_key, |name, progress| {
        let of_task = progress.attempts.iter();
        attempts.extend(of_task.map(|attempt| (name.task_id.to_owned(), attempt.number)));
        Ok(Enough::No)
    })?;
    Ok(attempts)
}

/// One run's head.
pub(super) fn head_of(db: &Connection, run_id: &str) -> rusqlite::Result<Option<RunHead>> {
    let mut statement = db.prepare_cached(select_heads!("WHERE run_id = ?1"))?;
    statement.query_row([run_id], head).optional()
}

fn head(row: &Row<'_>) -> rusqlite::Result<RunHead> {
    Ok(RunHead {
        run_id: row.get(0)?,
        dag_id: row.get(1)?,
        state: code(row, 2, &RunState::ALL)?,
        started_at: Timestamp(row.get(3)?),
        finished_at: time(row, 4)?,
        interrupted: false,
        owner: None,
        error: json(row, 5)?,
        unread: None,
    })
}

/// A run with its tasks, as of one instant.
pub(super) fn details(db: &mut Connection, run_id: &str) -> rusqlite::Result<Option<RunDetails>> {
    let snapshot = db.transaction()?;
    let Some(head) = head_of(&snapshot, run_id)? else {
        return Ok(None);
    };
    let mut statement = snapshot.prepare_cached(
        "SELECT run_key, environment, dag_path, params, text, plugins, cache_hits, cache_misses
         FROM runs JOIN sources USING (source_key)
         WHERE run_id = ?1",
    )?;
    let (run_key, mut run) = statement.query_row([run_id], |row| {
        let run = RunDetails {
            head,
            environment: row.get(1)?,
            dag_path: row.get(2)?,
            params: json(row, 3)?.unwrap_or_default(),
            dag_source: source::text(row, 4)?,
            plugins: row.get(5)?,
            script_cache: cache_counts(row)?,
            tasks: Vec::new(),
            growth: Vec::new(),
        };
        Ok((row.get(0)?, run))
    })?;
    run.tasks = tasks(&snapshot, run_key)?;
    run.growth = growth(&snapshot, run_key)?;
    for StoredGrowth { first, count, cause, .. } in &run.growth {
        let Cause::Rule { name, task: None, .. } = cause else { continue };
        for task in run.tasks.iter_mut().skip(*first as usize).take(*count as usize) {
            task.grown_from = Some(format!("rule {name}"));
        }
    }
    Ok(Some(run))
}

fn cache_counts(row: &Row<'_>) -> rusqlite::Result<Option<CacheCounts>> {
    let (hits, misses): (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
    let counts = |(hits, misses): (i64, i64)| CacheCounts {
        hits: hits.cast_unsigned(),
        misses: misses.cast_unsigned(),
    };
    Ok(hits.zip(misses).map(counts))
}

fn growth(db: &Connection, run_key: i64) -> rusqlite::Result<Vec<StoredGrowth>> {
    let mut statement =
        db.prepare_cached("SELECT ts, first, count, cause FROM growth WHERE run_key = ?1 ORDER BY number")?;
    let growth = statement.query_map([run_key], |row| {
        let cause = json(row, 3)?.ok_or_else(|| rusqlite::Error::InvalidColumnName("cause".to_owned()))?;
        Ok(StoredGrowth { ts: Timestamp(row.get(0)?), first: row.get(1)?, count: row.get(2)?, cause })
    })?;
    growth.collect()
}

fn tasks(db: &Connection, run_key: i64) -> rusqlite::Result<Vec<TaskDetails>> {
    let (mut tasks, mut from) = (Vec::<TaskDetails>::new(), Vec::new());
    rows::each_task(db, run_key, |name, progress| {
        from.push(name.from);
        tasks.push(task(name, progress)?);
        Ok(Enough::No)
    })?;
    for (task, from) in from.into_iter().enumerate() {
        tasks[task].grown_from =
            from.and_then(|from| tasks.get(from as usize)).map(|from| from.task_id.clone());
    }
    Ok(tasks)
}

fn task(name: Name<'_>, progress: &Progress<'_>) -> rusqlite::Result<TaskDetails> {
    Ok(TaskDetails {
        task_id: name.task_id.to_owned(),
        grown_from: None,
        engine: name.engine.to_owned(),
        state: progress.state,
        scheduled_at: progress.scheduled_at.map(Timestamp),
        started_at: progress.started_at.map(Timestamp),
        finished_at: progress.finished_at.map(Timestamp),
        error: parsed(progress.error)?,
        result: parsed(progress.result)?,
        attempts: progress.attempts.iter().map(attempt).collect::<rusqlite::Result<_>>()?,
    })
}

fn attempt(attempt: &Attempt<'_>) -> rusqlite::Result<AttemptDetails> {
    Ok(AttemptDetails {
        attempt: attempt.number,
        state: attempt.state,
        scheduled_at: attempt.scheduled_at.map(Timestamp),
        started_at: Timestamp(attempt.started_at),
        deferred_at: attempt.deferred_at.map(Timestamp),
        finished_at: attempt.finished_at.map(Timestamp),
        error: parsed(attempt.error)?,
        metrics: parsed(attempt.metrics)?,
        checkpoint: parsed(attempt.checkpoint)?,
    })
}

/// The newest run.
pub(super) fn latest(db: &Connection) -> rusqlite::Result<Option<String>> {
    let newest = "SELECT run_id FROM runs ORDER BY started_at DESC, run_key DESC LIMIT 1";
    db.query_row(newest, [], |row| row.get(0)).optional()
}

/// Some of the runs whose ids begin like this, the one that is just this first.
pub(super) fn beginning_with(db: &Connection, prefix: &str) -> rusqlite::Result<Vec<String>> {
    // `{` comes after every character of a run id.
    let mut statement = db.prepare_cached(
        "SELECT run_id FROM runs WHERE run_id >= ?1 AND run_id < ?1 || '{' ORDER BY run_id LIMIT 4",
    )?;
    let ids = statement.query_map([prefix], |row| row.get(0))?;
    ids.collect()
}

/// How long successful attempts of a DAG's tasks took in its last runs.
pub(super) fn durations(db: &Connection, dag_id: &str) -> rusqlite::Result<Durations> {
    let mut runs =
        db.prepare_cached("SELECT run_key FROM runs WHERE dag_id = ?1 ORDER BY started_at DESC LIMIT ?2")?;
    let (mut by_task, mut by_engine) = (HashMap::new(), HashMap::new());
    let mut left = PAST_ATTEMPTS;
    let run_keys = runs.query_map(params![dag_id, PAST_RUNS], |row| row.get::<_, i64>(0))?;
    for run_key in run_keys {
        rows::each_task(db, run_key?, |name, progress| {
            for micros in progress.attempts.iter().filter_map(duration) {
                if left == 0 {
                    return Ok(Enough::Yes);
                }
                add(&mut by_task, name.task_id, micros);
                add(&mut by_engine, name.engine, micros);
                left -= 1;
            }
            Ok(Enough::No)
        })?;
        if left == 0 {
            break;
        }
    }
    Ok(Durations { by_task: medians(by_task), by_engine: medians(by_engine) })
}

/// How long it took, if it succeeded.
fn duration(attempt: &Attempt<'_>) -> Option<i64> {
    let finished_at = attempt.finished_at.filter(|_| attempt.state == TaskState::Success)?;
    Some(finished_at.saturating_sub(attempt.started_at))
}

fn add(samples: &mut HashMap<String, Vec<i64>>, name: &str, micros: i64) {
    match samples.get_mut(name) {
        Some(samples) => samples.push(micros),
        None => drop(samples.insert(name.to_owned(), vec![micros])),
    }
}

/// In seconds.
fn medians(samples: HashMap<String, Vec<i64>>) -> HashMap<String, f64> {
    let medians = samples.into_iter().map(|(name, mut micros)| {
        let even = micros.len() % 2 == 0;
        let middle = micros.len() / 2;
        let (below, &mut upper, _) = micros.select_nth_unstable(middle);
        let below = below.iter().max().filter(|_| even);
        let lower = below.copied().unwrap_or(upper);
        (name, (lower + upper) as f64 / 2e6)
    });
    medians.collect()
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp))
}

/// A column that holds JSON.
fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    parsed(row.get_ref(column)?.as_str_or_null()?)
}

fn parsed<T: DeserializeOwned>(text: Option<&str>) -> rusqlite::Result<Option<T>> {
    let parsed = text.map(serde_json::from_str).transpose();
    parsed.map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}
