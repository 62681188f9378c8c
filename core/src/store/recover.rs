//! After a crash: what dead processes left in their journals goes into the tables.
//!
//! A run whose owner lives is never touched: whether it does is decided by its journal's lock alone. The caller holds the
//! home lock, so that nobody begins, resumes or recovers a run meanwhile. All of this may be cut short at any instant and
//! done again.

use std::fs::File;

use rusqlite::{Connection, OptionalExtension};

use super::apply::Applier;
use super::error::StoreError;
use super::home::{self, Adopted, Home};
use super::journal::{self, HEADER_LEN};

/// Recovers one run; returns its owner where that is alive.
pub(super) fn recover(home: &Home, db: &mut Connection, run_id: &str) -> Result<Option<u32>, StoreError> {
    match home.adopt_journal(run_id)? {
        Adopted::Nothing => Ok(None),
        Adopted::Owned(pid) => Ok(Some(pid)),
        Adopted::Journal(journal) => {
            let replayed = replay(home, db, run_id, &journal);
            let removed = replayed.and_then(|()| home.remove_journal(run_id));
            home::release(&journal);
            removed.map(|()| None)
        }
    }
}

/// Brings the rest of a journal into the tables.
fn replay(home: &Home, db: &mut Connection, run_id: &str, journal: &File) -> Result<(), StoreError> {
    let (path, database) = (home.journal(run_id), home.database());
    let io = |error| StoreError::io(&path, &error);
    let length = journal.metadata().map_err(io)?.len();
    let row = "SELECT run_key, journal_applied FROM runs WHERE run_id = ?1";
    let row = db.query_row(row, [run_id], |row| Ok((row.get(0)?, row.get(1)?)));
    let row: Option<(i64, i64)> = row.optional().map_err(|error| StoreError::sqlite(&database, &error))?;
    // Without a row, or without an event, the owner died before the run began.
    let Some((run_key, applied)) = row.filter(|_| length > HEADER_LEN) else {
        return Ok(());
    };
    journal::owner(journal, &path)?;
    let journal = (journal.try_clone().map_err(io)?, path.clone());
    let applied = applied.cast_unsigned();
    Applier::new(run_key, journal, database, applied).apply(db, length)
}

/// Recovers every run whose owner is dead.
pub(super) fn recover_all(home: &Home, db: &mut Connection) -> Result<(), StoreError> {
    // Most of the time there is no journal at all, and then no lock to wait for.
    if home.runs_with_journal()?.is_empty() {
        return Ok(());
    }
    let _lock = home.lock()?;
    for run_id in home.runs_with_journal()? {
        recover(home, db, &run_id)?;
    }
    Ok(())
}
