//! The rows of a run's tasks, for reading: their names, and how far they have got.
//!
//! Every key is the run's and the number of the row's first task, so the rows of a run lie together and in order.

use rusqlite::{CachedStatement, Connection, ErrorCode, Row, ffi};

use super::chunk::{self, Chunk, Packed};
use super::names::{self, Name};
use super::pack;
use super::progress::Progress;
use crate::state::TaskState;

/// The key of the row that begins with this task.
pub(super) fn key(run_key: i64, task: u32) -> i64 {
    run_key << 32 | i64::from(task)
}

/// The first and the last key that rows of a run can have.
pub(super) fn keys(run_key: i64) -> [i64; 2] {
    [key(run_key, 0), key(run_key, u32::MAX)]
}

/// The first task of the row with this key.
pub(super) fn first(key: i64) -> u32 {
    key as u32
}

/// A row holds what was never written to it.
pub(super) fn damaged() -> rusqlite::Error {
    let code = ffi::Error { code: ErrorCode::DatabaseCorrupt, extended_code: ffi::SQLITE_CORRUPT };
    rusqlite::Error::SqliteFailure(code, Some("what it holds of a run's tasks was changed".to_owned()))
}

/// A column that holds a task's state.
pub(super) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskState> {
    code(row, column, &TaskState::ALL)
}

/// A column that holds a state's place among all of them.
pub(super) fn code<T: Copy>(row: &Row<'_>, column: usize, all: &[T]) -> rusqlite::Result<T> {
    let code: u8 = row.get(column)?;
    let unknown = || rusqlite::Error::IntegralValueOutOfRange(column, code.into());
    all.get(usize::from(code)).copied().ok_or_else(unknown)
}

/// Looks up how far tasks have got.
pub(super) struct Rows<'db> {
    chunk: CachedStatement<'db>,
    long: CachedStatement<'db>,
}

impl<'db> Rows<'db> {
    pub(super) fn new(db: &'db Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            chunk: db.prepare_cached("SELECT packed FROM task_progress WHERE task_key = ?1")?,
            long: db.prepare_cached("SELECT packed FROM long_progress WHERE task_key = ?1")?,
        })
    }

    /// Reads the row of many tasks; whether there is one.
    pub(super) fn chunk(&mut self, key: i64, chunk: &mut Chunk) -> rusqlite::Result<bool> {
        let mut rows = self.chunk.query([key])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        chunk.read(row.get_ref(0)?.as_blob()?).ok_or_else(damaged)?;
        Ok(true)
    }

    /// The progress of one task, as its row of many tells of it; what is in a row of its own is read from there.
    pub(super) fn progress<'a>(
        &mut self,
        key: i64,
        (packed, before): (Packed<'a>, i64),
        room: &'a mut Vec<u8>,
    ) -> rusqlite::Result<Progress<'a>> {
        let packed = match packed {
            Packed::Here(packed) => packed,
            Packed::Elsewhere => {
                let mut rows = self.long.query([key])?;
                let row = rows.next()?.ok_or_else(damaged)?;
                let found = pack::unseal(row.get_ref(0)?.as_blob()?).ok_or_else(damaged)?;
                room.clear();
                room.extend_from_slice(found);
                room
            }
        };
        Progress::unpack(packed, before).ok_or_else(damaged)
    }
}

/// Goes through the tasks of a run, in order, until there is enough.
pub(super) fn each_task(
    db: &Connection,
    run_key: i64,
    mut see: impl FnMut(Name<'_>, &Progress<'_>) -> rusqlite::Result<Enough>,
) -> rusqlite::Result<()> {
    let mut names = db.prepare_cached(
        "SELECT task_key, packed FROM task_names WHERE task_key BETWEEN ?1 AND ?2 ORDER BY task_key",
    )?;
    let mut names = names.query(keys(run_key))?;
    let (mut rows, mut chunk, mut room) = (Rows::new(db)?, Chunk::default(), Vec::new());
    let mut in_chunk = None;
    while let Some(row) = names.next()? {
        let first = first(row.get(0)?);
        for (name, task) in names::read(row.get_ref(1)?.as_blob()?).zip(first..) {
            let name = name.ok_or_else(damaged)?;
            let of_chunk = task / chunk::TASKS * chunk::TASKS;
            if in_chunk != Some(of_chunk) {
                in_chunk = Some(of_chunk);
                if !rows.chunk(key(run_key, of_chunk), &mut chunk)? {
                    chunk.clear(0);
                }
            }
            let packed = (chunk.get(task - of_chunk), chunk.before());
            let progress = rows.progress(key(run_key, task), packed, &mut room)?;
            if see(name, &progress)? == Enough::Yes {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Whether there is no need to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enough {
    Yes,
    No,
}
