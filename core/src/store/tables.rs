//! The rows of a run's tasks, for writing: their names once, and how far they have got as seldom as can be.
//!
//! The result is the same as if each event were written by itself, in whatever order events come.

use rusqlite::{CachedStatement, Transaction, params};

use super::chunk::{self, Chunk, Packed};
use super::codec::{GrownChange, TaskChange};
use super::names::{self, Name};
use super::pack;
use super::progress::Progress;
use super::rows::{Rows, key};

/// The progress of a run's tasks, for writing.
pub(super) struct Tables<'tx> {
    run_key: i64,
    rows: Rows<'tx>,
    put: CachedStatement<'tx>,
    put_long: CachedStatement<'tx>,
    drop_long: CachedStatement<'tx>,
    /// One task's progress.
    packed: Vec<u8>,
}

impl<'tx> Tables<'tx> {
    pub(super) fn new(tx: &'tx Transaction<'_>, run_key: i64) -> rusqlite::Result<Self> {
        Ok(Self {
            run_key,
            rows: Rows::new(tx)?,
            put: tx.prepare_cached("REPLACE INTO task_progress (task_key, packed) VALUES (?1, ?2)")?,
            put_long: tx.prepare_cached("REPLACE INTO long_progress (task_key, packed) VALUES (?1, ?2)")?,
            drop_long: tx.prepare_cached("DELETE FROM long_progress WHERE task_key = ?1")?,
            packed: Vec::new(),
        })
    }

    /// Writes what happened to tasks, each row of them once.
    pub(super) fn write_tasks(&mut self, changes: &mut [TaskChange<'_>]) -> rusqlite::Result<()> {
        // It is stable: what concerns one task stays in the order in which it happened.
        changes.sort_by_key(|change| change.task);
        let (mut chunk, mut row) = (Chunk::default(), Vec::new());
        for of_row in changes.chunk_by(|a, b| a.task / chunk::TASKS == b.task / chunk::TASKS) {
            self.write_row(of_row, &mut chunk, &mut row)?;
        }
        Ok(())
    }

    fn write_row(
        &mut self,
        changes: &[TaskChange<'_>],
        chunk: &mut Chunk,
        row: &mut Vec<u8>,
    ) -> rusqlite::Result<()> {
        let (start, end) = (&changes[0], &changes[changes.len() - 1]);
        let first = start.task / chunk::TASKS * chunk::TASKS;
        if !self.rows.chunk(key(self.run_key, first), chunk)? {
            chunk.clear(start.ts);
        }
        chunk::begin(row, chunk.before());
        let mut changed = changes.chunk_by(|a, b| a.task == b.task).peekable();
        for number in 0..chunk.len().max(end.task - first + 1) {
            match changed.next_if(|of_task| of_task[0].task == first + number) {
                Some(of_task) => self.write_task(of_task, (chunk.get(number), chunk.before()), row)?,
                None => chunk::push(row, chunk.get(number)),
            }
        }
        self.put(first, row)
    }

    /// Writes a row that is complete but for its checksum.
    pub(super) fn put(&mut self, first: u32, row: &mut Vec<u8>) -> rusqlite::Result<()> {
        pack::seal(row);
        self.put.execute(params![key(self.run_key, first), &*row]).map(drop)
    }

    /// Appends a task to its row after these changes.
    fn write_task(
        &mut self,
        changes: &[TaskChange<'_>],
        (packed, before): (Packed<'_>, i64),
        row: &mut Vec<u8>,
    ) -> rusqlite::Result<()> {
        let (key, mut room) = (key(self.run_key, changes[0].task), Vec::new());
        let mut progress = self.rows.progress(key, (packed, before), &mut room)?;
        changes.iter().for_each(|change| progress.apply(change));
        self.push(key, &progress, (before, packed == Packed::Elsewhere), row)
    }

    /// Appends a task to its row, and keeps a row of its own where it needs one; `has_own` where it had one.
    pub(super) fn push(
        &mut self,
        key: i64,
        progress: &Progress<'_>,
        (before, has_own): (i64, bool),
        row: &mut Vec<u8>,
    ) -> rusqlite::Result<()> {
        self.packed.clear();
        progress.pack(before, &mut self.packed);
        if self.packed.len() > chunk::LONG {
            pack::seal(&mut self.packed);
            self.put_long.execute(params![key, self.packed])?;
            chunk::push(row, Packed::Elsewhere);
            return Ok(());
        }
        if has_own {
            self.drop_long.execute([key])?;
        }
        chunk::push(row, Packed::Here(&self.packed));
        Ok(())
    }
}

/// Adds the tasks by which a run has grown, and notes why it has.
pub(super) fn add_tasks(tx: &Transaction<'_>, run_key: i64, grown: &GrownChange<'_>) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO growth (run_key, number, ts, first, count, cause)
         VALUES (?1, (SELECT coalesce(max(number) + 1, 0) FROM growth WHERE run_key = ?1), ?2, ?3, ?4, ?5)",
    )?
    .execute(params![run_key, grown.ts, grown.first, grown.count, grown.cause])?;
    let mut naming = Naming::new(tx, run_key, grown.first)?;
    grown.tasks().try_for_each(|task| naming.push(task))?;
    naming.end().map(drop)
}

/// Names tasks to which nothing has happened yet, one after the other.
pub(super) struct Naming<'tx> {
    insert: CachedStatement<'tx>,
    run_key: i64,
    /// The first one of the row.
    first: u32,
    row: names::Row,
}

impl<'tx> Naming<'tx> {
    /// `first` is the number of the first task.
    pub(super) fn new(tx: &'tx Transaction<'_>, run_key: i64, first: u32) -> rusqlite::Result<Self> {
        let insert = "INSERT INTO task_names (task_key, count, packed) VALUES (?1, ?2, ?3)";
        Ok(Self { insert: tx.prepare_cached(insert)?, run_key, first, row: names::Row::default() })
    }

    pub(super) fn push(&mut self, name: Name<'_>) -> rusqlite::Result<()> {
        self.row.push(name);
        if self.row.is_full() { self.write() } else { Ok(()) }
    }

    /// Writes what is left; returns the number after the last task.
    pub(super) fn end(mut self) -> rusqlite::Result<u32> {
        if self.row.count > 0 {
            self.write()?;
        }
        Ok(self.first)
    }

    fn write(&mut self) -> rusqlite::Result<()> {
        let (key, count) = (key(self.run_key, self.first), self.row.count);
        self.insert.execute(params![key, count, self.row.seal()])?;
        self.first += count;
        self.row.clear();
        Ok(())
    }
}
