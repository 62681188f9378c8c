//! Beginning a run and taking one over: first the journal, whose lock makes this process the owner, then the rows.
//!
//! In that order, a row that says `running` without a living owner's journal is always that of an interrupted run.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::error::StoreError;
use super::journal::HEADER_LEN;
use super::names::Name;
use super::run_journal::{Owned, RunJournal};
use super::tables::Naming;
use super::types::NewRun;
use super::{Store, query, recover, rows, source};
use crate::cache::CacheCounts;
use crate::state::RunState;

/// The word for the newest run.
pub(super) const LATEST: &str = "latest";

/// A run's key, and how many tasks it has.
type Row = (i64, u32);

impl Store {
    /// Begins a run, which this process owns until the journal is dropped.
    ///
    /// # Errors
    ///
    /// The run id is taken or cannot be used, or the store cannot be written.
    pub fn begin_run(&self, run: NewRun<'_>) -> Result<RunJournal, StoreError> {
        check_run_id(run.run_id)?;
        let source = source::pack(run.dag_source);
        self.own(run.run_id, |tx| {
            let known = query::key_of(tx, run.run_id).map_err(|error| self.sqlite(&error))?;
            if known.is_some() {
                return Err(StoreError::RunIdUsed(run.run_id.to_owned()));
            }
            insert(tx, run, &source).map_err(|error| self.sqlite(&error))
        })
    }

    /// Takes over a run that ended or whose owner died, to record more of it.
    ///
    /// # Errors
    ///
    /// There is no such run, another process owns it, or the store cannot be written.
    pub fn resume_run(&self, run_id: &str) -> Result<RunJournal, StoreError> {
        let unknown = || StoreError::UnknownRun(run_id.to_owned());
        check_run_id(run_id).map_err(|_| unknown())?;
        self.own(run_id, |tx| {
            let row = restart(tx, run_id).map_err(|error| self.sqlite(&error))?;
            row.ok_or_else(unknown)
        })
    }

    /// Adds to how often a run found its scripts in the script cache: it fetches them again when it goes on.
    ///
    /// # Errors
    ///
    /// The database cannot be written.
    pub fn add_script_cache(&self, run_id: &str, counts: CacheCounts) -> Result<(), StoreError> {
        let add = "UPDATE runs SET cache_hits = coalesce(cache_hits, 0) + ?2,
            cache_misses = coalesce(cache_misses, 0) + ?3 WHERE run_id = ?1";
        let counts = params![run_id, counts.hits.cast_signed(), counts.misses.cast_signed()];
        self.db().execute(add, counts).map(drop).map_err(|error| self.sqlite(&error))
    }

    /// Takes a run's journal, then has its rows written in one transaction.
    fn own(
        &self,
        run_id: &str,
        rows: impl FnOnce(&Transaction<'_>) -> Result<Row, StoreError>,
    ) -> Result<RunJournal, StoreError> {
        let mut db = self.db();
        let journal = {
            let _lock = self.home.lock()?;
            if let Some(pid) = recover::recover(&self.home, &mut db, run_id)? {
                let run_id = run_id.to_owned();
                return Err(StoreError::RunOwned { run_id, pid });
            }
            // From when there is a journal, its owner is asked.
            RunJournal::forget_requests(&self.home.journal(run_id));
            self.home.create_journal(run_id)?
        };
        match self.in_transaction(&mut db, rows) {
            Ok((run_key, tasks)) => {
                let run = Owned { run_id: run_id.to_owned(), run_key, tasks, journal };
                RunJournal::start(self.home.clone(), Arc::clone(&self.db), run)
            }
            Err(error) => {
                // While the lock is ours: later it could be another process's journal.
                self.home.remove_journal(run_id)?;
                Err(error)
            }
        }
    }

    fn in_transaction<T>(
        &self,
        db: &mut Connection,
        write: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let sqlite = |error| self.sqlite(&error);
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate);
        let tx = tx.map_err(sqlite)?;
        let written = write(&tx)?;
        tx.commit().map_err(sqlite)?;
        Ok(written)
    }
}

/// A run id is a file's name and a word on the command line.
pub(super) fn check_run_id(run_id: &str) -> Result<(), StoreError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if run_id == LATEST {
        return Err(StoreError::ReservedRunId);
    }
    // A first `-` would be an option, a first `.` a hidden file.
    let begins_well = run_id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if run_id.len() > 128 || !begins_well || !run_id.bytes().all(allowed) {
        return Err(StoreError::InvalidRunId(run_id.to_owned()));
    }
    Ok(())
}

/// Writes the rows of a run and of its tasks.
fn insert(tx: &Transaction<'_>, run: NewRun<'_>, source: &[u8]) -> rusqlite::Result<Row> {
    let source_key = source::key(tx, run.dag_id, source)?;
    tx.execute(
        "INSERT INTO runs (run_id, dag_id, state, started_at, environment, dag_path, params, source_key, journal_applied, plugins,
             cache_hits, cache_misses)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            run.run_id,
            run.dag_id,
            RunState::Running as u8,
            run.started_at.0,
            run.environment,
            run.dag_path,
            run.params.to_string(),
            source_key,
            HEADER_LEN.cast_signed(),
            run.plugins,
            run.script_cache.map(|counts| counts.hits.cast_signed()),
            run.script_cache.map(|counts| counts.misses.cast_signed()),
        ],
    )?;
    let run_key = tx.last_insert_rowid();
    // The key may be that of a run that was removed. And what cannot be read is told now rather than once it is needed.
    tx.execute("DELETE FROM growth WHERE run_key = ?1", [run_key])?;
    let mut naming = Naming::new(tx, run_key, 0)?;
    for (task_id, engine) in run.tasks {
        naming.push(Name { task_id, engine, from: None })?;
    }
    Ok((run_key, naming.end()?))
}

/// Makes ready for a new journal: all of the old one is in the tables.
fn restart(tx: &Transaction<'_>, run_id: &str) -> rusqlite::Result<Option<Row>> {
    let Some(run_key) = query::key_of(tx, run_id)? else {
        return Ok(None);
    };
    let applied = "UPDATE runs SET journal_applied = ?2 WHERE run_key = ?1";
    tx.execute(applied, params![run_key, HEADER_LEN.cast_signed()])?;
    let last = "SELECT task_key, count FROM task_names WHERE task_key BETWEEN ?1 AND ?2
        ORDER BY task_key DESC LIMIT 1";
    let last =
        tx.query_row(last, rows::keys(run_key), |row| Ok(rows::first(row.get(0)?) + row.get::<_, u32>(1)?));
    Ok(Some((run_key, last.optional()?.unwrap_or(0))))
}
