//! After a crash: what dead processes left in their journals goes into the tables.
//!
//! A run whose owner lives is never touched: whether it does is decided by its journal's lock alone. The caller holds the
//! home lock, so that nobody begins, resumes or recovers a run meanwhile. All of this may be cut short at any instant and
//! done again.

use std::collections::HashMap;
use std::fs::File;

use rusqlite::{Connection, OptionalExtension};

use super::apply::Applier;
use super::error::StoreError;
use super::home::{self, Adopted, Home};
use super::journal::{self, HEADER_LEN};
use super::open;

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
    if journal::is_blank(journal).map_err(io)? {
        return Ok(());
    }
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

/// Why the last events of some runs are not in the database that is read, by run.
pub(super) type Unread = HashMap<String, StoreError>;

/// For a home that cannot be written: what dead owners left goes into a copy of the database. Where they left nothing,
/// the database itself is read.
pub(super) fn recover_aside(home: &Home, db: Connection) -> Result<(Connection, Unread), StoreError> {
    // Nobody takes a journal over meanwhile.
    let _lock = home.lock_shared()?;
    let database = home.database();
    let (dead, mut unread) = left_behind(home)?;
    let up_to_date = open::is_up_to_date(&db, &database)?;
    if up_to_date && dead.is_empty() {
        return Ok((db, unread));
    }
    let mut copy = match open::copy(&db, &database) {
        Ok(copy) => copy,
        Err(error) if up_to_date => {
            unread.extend(dead.into_iter().map(|(run_id, _)| (run_id, error.clone())));
            return Ok((db, unread));
        }
        Err(error) => return Err(error),
    };
    for (run_id, journal) in dead {
        if let Err(error) = replay(home, &mut copy, &run_id, &journal) {
            unread.insert(run_id, error);
        }
    }
    // What were written here would be lost.
    copy.pragma_update(None, "query_only", true).map_err(|error| StoreError::sqlite(&database, &error))?;
    Ok((copy, unread))
}

/// The journals of dead owners that hold an event, and those that cannot be read.
fn left_behind(home: &Home) -> Result<(Vec<(String, File)>, Unread), StoreError> {
    let (mut dead, mut unread) = (Vec::new(), Unread::new());
    for run_id in home.runs_with_journal()? {
        match home.read_dead_journal(&run_id) {
            Ok(Some(journal)) => dead.push((run_id, journal)),
            Ok(None) => {}
            Err(error) => drop(unread.insert(run_id, error)),
        }
    }
    Ok((dead, unread))
}
