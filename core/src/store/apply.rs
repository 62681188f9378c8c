//! From a journal into the tables: the only way by which an event gets there, live or after a crash.
//!
//! A stretch of the journal becomes one transaction, which also notes how far it went, so a frame is applied exactly
//! once. What happened to many tasks in a stretch is written at once.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::codec::{self, Change, RunChange, TaskChange};
use super::error::StoreError;
use super::journal::{self, Next};
use super::tables::{self, Tables};
use crate::state::RunState;

/// How much of the journal one transaction takes: some ten thousand events.
const STRETCH: u64 = 1 << 20;
/// So many changes of tasks are gathered, so that a row of many tasks is written as seldom as can be. A run of a million tasks
/// begins with a frame of two million changes.
const AT_ONCE: usize = if cfg!(test) { 64 } else { 32 * 1024 };

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
        let written = self.write_all(db, frames, applied);
        let understood = written.map_err(|error| StoreError::sqlite(&self.database_path, &error))?;
        understood.ok_or_else(|| StoreError::Damaged {
            path: self.journal_path.clone(),
            reason: format!("it is not understood after byte {}", self.applied),
        })
    }

    /// Writes what whole frames change, all of it or nothing; `None` where something is not understood.
    fn write_all(&self, db: &mut Connection, frames: &[u8], applied: u64) -> rusqlite::Result<Option<()>> {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut writing = Writing { tx: &tx, run_key: self.run_key, tasks: Vec::new(), run: None };
        let mut rest = frames;
        while let Next::Frame(payload, next) = journal::next_frame(rest) {
            rest = next;
            for change in codec::decode(payload) {
                let Some(change) = change else { return Ok(None) };
                writing.take(change)?;
            }
        }
        writing.end(applied)?;
        tx.commit()?;
        Ok(Some(()))
    }
}

/// Changes on their way into the tables, in one transaction.
struct Writing<'tx, 'a> {
    tx: &'tx Transaction<'tx>,
    run_key: i64,
    /// Of tasks, in order, which are not written yet.
    tasks: Vec<TaskChange<'a>>,
    /// The run's last one.
    run: Option<RunChange<'a>>,
}

impl<'a> Writing<'_, 'a> {
    fn take(&mut self, change: Change<'a>) -> rusqlite::Result<()> {
        match change {
            // What happened to new tasks happened after they had been added.
            Change::Grown(grown) => tables::add_tasks(self.tx, self.run_key, &grown)?,
            Change::Task(change) => self.tasks.push(change),
            Change::Run(change) => self.run = Some(change),
        }
        if self.tasks.len() >= AT_ONCE { self.write_tasks() } else { Ok(()) }
    }

    fn write_tasks(&mut self) -> rusqlite::Result<()> {
        Tables::new(self.tx, self.run_key)?.write_tasks(&mut self.tasks)?;
        self.tasks.clear();
        Ok(())
    }

    fn end(mut self, applied: u64) -> rusqlite::Result<()> {
        self.write_tasks()?;
        let (tx, run_key) = (self.tx, self.run_key);
        if let Some(change) = self.run {
            let finished_at = (change.state != RunState::Running).then_some(change.ts);
            tx.prepare_cached("UPDATE runs SET state = ?2, finished_at = ?3, error = ?4 WHERE run_key = ?1")?
                .execute(params![run_key, change.state as u8, finished_at, change.error])?;
        }
        tx.prepare_cached("UPDATE runs SET journal_applied = ?2 WHERE run_key = ?1")?
            .execute(params![run_key, applied.cast_signed()])?;
        Ok(())
    }
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
