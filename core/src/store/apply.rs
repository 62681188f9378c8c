//! From a journal into the tables: the only way by which an event gets there, live or after a crash.
//!
//! A stretch of the journal becomes one transaction, which also notes how far it went, so a frame is applied exactly
//! once. Within a stretch only what is left of each task in the end is written.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rusqlite::{Connection, TransactionBehavior, params};

use super::codec::{self, Change, GrownChange, RunChange, TaskChange};
use super::error::StoreError;
use super::journal::{self, Next};
use super::tables::{self, Tables};
use crate::state::RunState;

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
        let Some(mut changes) = changes(frames) else {
            return Err(StoreError::Damaged {
                path: self.journal_path.clone(),
                reason: format!("it is not understood after byte {}", self.applied),
            });
        };
        write_changes(db, self.run_key, &mut changes, applied)
            .map_err(|error| StoreError::sqlite(&self.database_path, &error))
    }
}

/// What whole frames change.
#[derive(Default)]
struct Changes<'a> {
    grown: Vec<GrownChange<'a>>,
    /// In order.
    tasks: Vec<TaskChange<'a>>,
    /// The run's last one.
    run: Option<RunChange<'a>>,
}

/// The changes in whole frames; `None` where something is not understood.
fn changes(frames: &[u8]) -> Option<Changes<'_>> {
    let mut changes = Changes::default();
    let mut rest = frames;
    while let Next::Frame(payload, next) = journal::next_frame(rest) {
        rest = next;
        for change in codec::decode(payload) {
            match change? {
                Change::Grown(change) => changes.grown.push(change),
                Change::Task(change) => changes.tasks.push(change),
                Change::Run(change) => changes.run = Some(change),
            }
        }
    }
    Some(changes)
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
    changes: &mut Changes<'_>,
    applied: u64,
) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // What happened to new tasks happened after they had been added.
    for grown in &changes.grown {
        tables::add_tasks(&tx, run_key, grown)?;
    }
    Tables::new(&tx, run_key)?.write_tasks(&mut changes.tasks)?;
    if let Some(change) = changes.run {
        let finished_at = (change.state != RunState::Running).then_some(change.ts);
        tx.prepare_cached("UPDATE runs SET state = ?2, finished_at = ?3, error = ?4 WHERE run_key = ?1")?
            .execute(params![run_key, change.state as u8, finished_at, change.error])?;
    }
    tx.prepare_cached("UPDATE runs SET journal_applied = ?2 WHERE run_key = ?1")?
        .execute(params![run_key, applied.cast_signed()])?;
    tx.commit()
}
