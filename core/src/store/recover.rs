//! After a crash: what dead processes left in their journals goes into the tables.
//!
//! A run whose owner lives is never touched: whether it does is decided by its journal's lock alone. The caller holds the
//! home lock, so that nobody begins, resumes or recovers a run meanwhile. All of this may be cut short at any instant and
//! done again.

use rusqlite::{Connection, OptionalExtension};

use super::apply::Applier;
use super::error::StoreError;
use super::home::{Adopted, Home};
use super::journal::HEADER_LEN;

/// Recovers one run; returns its owner where that is alive.
pub(super) fn recover(home: &Home, db: &mut Connection, run_id: &str) -> Result<Option<u32>, StoreError> {
    let file = match home.adopt_journal(run_id)? {
        Adopted::Nothing => return Ok(None),
        Adopted::Owned(pid) => return Ok(Some(pid)),
        Adopted::Journal(file) => file,
    };
    let path = home.journal(run_id);
    let length = file.metadata().map_err(|error| StoreError::io(&path, &error))?;
    let length = length.len();
    let database = home.database();
    let row = "SELECT run_key, journal_applied FROM runs WHERE run_id = ?1";
    let row = db.query_row(row, [run_id], |row| Ok((row.get(0)?, row.get(1)?)));
    let row: Option<(i64, i64)> = row.optional().map_err(|error| StoreError::sqlite(&database, &error))?;
    // Without a row, or with less than a header, the owner died before the run began.
    if let Some((run_key, applied)) = row
        && length > HEADER_LEN
    {
        super::journal::owner(&file, &path)?;
        // The lock stays ours through `file` until the journal is gone.
        let for_applier = file.try_clone().map_err(|error| StoreError::io(&path, &error))?;
        let applied = u64::try_from(applied).unwrap_or(HEADER_LEN);
        Applier::new(run_key, (for_applier, path), database, applied).apply(db, length)?;
    }
    home.remove_journal(run_id)?;
    Ok(None)
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
