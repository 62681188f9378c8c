//! Removing runs with their logs.
//!
//! Logs go before the rows that name them, so whatever is cut short is finished by pruning again. A batch is removed
//! under the home lock: nobody begins or resumes a run meanwhile, and a run with a living owner is left alone.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use super::error::StoreError;
use super::types::RunHead;
use super::{Store, query, recover, requests, rows};
use crate::event::Timestamp;
use crate::logs::RunLogs;
use crate::state::RunState;

/// So many runs, or runs with so many attempts, are removed at once; others have to wait that long to begin a run.
const RUNS: usize = 100;
const ATTEMPTS: usize = 2000;

/// The database is made smaller where so much of it is unused, in bytes and as one part in so many.
const UNUSED: u64 = 1 << 20;
const PART: u64 = 4;

/// Which runs to remove: those for which all of this holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PruneRule {
    /// So many newer ones of the same DAG are there.
    pub keep: Option<u32>,
    /// They ended before that; those that did not end began before it.
    pub before: Option<Timestamp>,
    /// They are of this DAG.
    pub dag_id: Option<String>,
    /// Also those that were interrupted, and so could be resumed.
    pub interrupted: bool,
}

/// What was removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Pruned {
    /// The runs, from the oldest.
    pub runs: Vec<PrunedRun>,
    /// How many logs they had.
    pub log_files: u64,
    /// How many bytes those took.
    pub log_bytes: u64,
    /// By how many bytes the database became smaller.
    pub database_bytes: u64,
    /// Runs that are kept only since they were interrupted.
    pub kept_interrupted: Vec<String>,
    /// Runs that are kept only since a process owns them.
    pub kept_owned: Vec<String>,
    /// Why the database could not be made smaller. What it does not use, it uses for the next runs.
    pub not_compacted: Option<String>,
}

/// A run that was removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrunedRun {
    /// The run.
    #[serde(flatten)]
    pub head: RunHead,
    /// How many logs it had.
    pub log_files: u64,
    /// How many bytes those took.
    pub log_bytes: u64,
}

impl Store {
    /// Says what [`Store::prune`] would remove.
    ///
    /// # Errors
    ///
    /// No run of the DAG is stored, or the database or a log's folder cannot be read.
    pub fn would_prune(&self, rule: &PruneRule) -> Result<Pruned, StoreError> {
        let db = self.db();
        let mut pruned = Pruned::default();
        for head in self.candidates(&db, rule)? {
            let owned = self.home.owner(&head.run_id)?.is_some();
            if let Some(head) = pruned.unless_kept(head, owned, rule) {
                let logs = self.logs(&db, &head)?;
                pruned.add(head, measure(&logs, |_| Ok(()))?);
            }
        }
        Ok(pruned)
    }

    /// Removes runs with their logs, and gives back what the database no longer uses.
    ///
    /// # Errors
    ///
    /// No run of the DAG is stored, or something cannot be written. What was removed until then stays so, and pruning
    /// again removes the rest.
    pub fn prune(&self, rule: &PruneRule) -> Result<Pruned, StoreError> {
        let mut db = self.db();
        let mut pruned = Pruned::default();
        let mut candidates = self.candidates(&db, rule)?.into_iter().peekable();
        while candidates.peek().is_some() {
            self.prune_batch(&mut db, rule, &mut candidates, &mut pruned)?;
        }
        self.drop_sources(&db)?;
        match compact(&db) {
            Ok(bytes) => pruned.database_bytes = bytes,
            Err(error) => pruned.not_compacted = Some(self.sqlite(&error).to_string()),
        }
        Ok(pruned)
    }

    fn candidates(&self, db: &Connection, rule: &PruneRule) -> Result<Vec<RunHead>, StoreError> {
        let sqlite = |error| self.sqlite(&error);
        if let Some(dag_id) = &rule.dag_id {
            let known = "SELECT 1 FROM runs WHERE dag_id = ?1 LIMIT 1";
            let known = db.query_row(known, [dag_id], |_| Ok(())).optional().map_err(sqlite)?;
            known.ok_or_else(|| StoreError::UnknownDag(dag_id.clone()))?;
        }
        query::prunable(db, rule).map_err(sqlite)
    }

    /// Removes some of the candidates.
    fn prune_batch(
        &self,
        db: &mut Connection,
        rule: &PruneRule,
        candidates: &mut impl Iterator<Item = RunHead>,
        pruned: &mut Pruned,
    ) -> Result<(), StoreError> {
        let _lock = self.home.lock()?;
        let live = self.live_dags(db)?;
        let (mut removed, mut files) = (Vec::new(), 0);
        while removed.len() < RUNS && files < ATTEMPTS {
            let Some(head) = candidates.next() else { break };
            let owned = recover::recover(&self.home, db, &head.run_id)?.is_some();
            let Some(head) = pruned.unless_kept(head, owned, rule) else { continue };
            let now = query::head_of(db, &head.run_id).map_err(|error| self.sqlite(&error))?;
            // It was removed or resumed since it was looked up, and what was asked may not hold any longer.
            if now.as_ref() != Some(&RunHead { interrupted: false, ..head.clone() }) {
                continue;
            }
            let logs = self.logs(db, &head)?;
            let found = measure(&logs, |path| fs::remove_file(path))?;
            if live.as_ref().is_some_and(|live| !live.contains(&head.dag_id)) {
                remove_empty_folders(&logs)?;
            }
            // What its dead owner was asked for, if anything.
            let requests = requests::path(&self.home.journal(&head.run_id));
            measure(&[requests], |path| fs::remove_file(path))?;
            files += logs.len();
            removed.push(head.run_id.clone());
            pruned.add(head, found);
        }
        drop_rows(db, &removed).map_err(|error| self.sqlite(&error))
    }

    /// The DAGs of runs with a living owner, which may be about to log something into a folder that is still empty;
    /// `None` where a run begins whose DAG is not known yet. The caller holds the home lock.
    fn live_dags(&self, db: &Connection) -> Result<Option<HashSet<String>>, StoreError> {
        let mut live = HashSet::new();
        for run_id in self.home.runs_with_journal()? {
            if self.home.owner_under_lock(&run_id)?.is_none() {
                continue;
            }
            match query::head_of(db, &run_id).map_err(|error| self.sqlite(&error))? {
                Some(head) => drop(live.insert(head.dag_id)),
                None => return Ok(None),
            }
        }
        Ok(Some(live))
    }

    /// Where logs of the run may be: that of each attempt, and its own.
    fn logs(&self, db: &Connection, head: &RunHead) -> Result<Vec<PathBuf>, StoreError> {
        let logs = RunLogs::new(self.home.root(), &head.dag_id, &head.run_id);
        let attempts = query::attempts(db, &head.run_id).map_err(|error| self.sqlite(&error))?;
        let attempts = attempts.into_iter().map(|(task_id, attempt)| logs.attempt(&task_id, attempt));
        Ok(attempts.chain([logs.run()]).collect())
    }

    /// Removes the texts of DAG files that no run was begun with any more.
    fn drop_sources(&self, db: &Connection) -> Result<(), StoreError> {
        let unused = "DELETE FROM sources WHERE source_key NOT IN (SELECT source_key FROM runs)";
        db.execute(unused, []).map(drop).map_err(|error| self.sqlite(&error))
    }
}

impl Pruned {
    /// The run, unless it is kept; notes it then.
    fn unless_kept(&mut self, mut head: RunHead, owned: bool, rule: &PruneRule) -> Option<RunHead> {
        if owned {
            self.kept_owned.push(head.run_id);
            return None;
        }
        head.interrupted = head.state == RunState::Running;
        if head.interrupted && !rule.interrupted {
            self.kept_interrupted.push(head.run_id);
            return None;
        }
        Some(head)
    }

    fn add(&mut self, head: RunHead, (log_files, log_bytes): (u64, u64)) {
        self.log_files += log_files;
        self.log_bytes += log_bytes;
        self.runs.push(PrunedRun { head, log_files, log_bytes });
    }
}

/// Does something to each log that is there; how many there are, and their bytes.
fn measure(logs: &[PathBuf], act: impl Fn(&Path) -> io::Result<()>) -> Result<(u64, u64), StoreError> {
    let (mut files, mut bytes) = (0, 0);
    for path in logs {
        match fs::symlink_metadata(path).and_then(|found| act(path).map(|()| found.len())) {
            Ok(length) => {
                files += 1;
                bytes += length;
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(StoreError::io(path, &error)),
        }
    }
    Ok((files, bytes))
}

/// Removes the folders of the logs where nothing is left in them.
fn remove_empty_folders(logs: &[PathBuf]) -> Result<(), StoreError> {
    let folders: BTreeSet<&Path> = logs.iter().filter_map(|path| path.parent()).collect();
    // What is inside comes after what it is in.
    for folder in folders.into_iter().rev() {
        match fs::remove_dir(folder) {
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory
                ) =>
            {
                return Err(StoreError::io(folder, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn drop_rows(db: &mut Connection, run_ids: &[String]) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for run_id in run_ids {
        let Some(run_key) = query::key_of(&tx, run_id)? else { continue };
        for table in ["task_names", "task_progress", "long_progress"] {
            tx.prepare_cached(&format!("DELETE FROM {table} WHERE task_key BETWEEN ?1 AND ?2"))?
                .execute(rows::keys(run_key))?;
        }
        for table in ["growth", "runs"] {
            tx.prepare_cached(&format!("DELETE FROM {table} WHERE run_key = ?1"))?.execute([run_key])?;
        }
    }
    tx.commit()
}

/// Gives back what the database no longer uses, if that is worth the work; how much that was.
fn compact(db: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma| {
        db.pragma_query_value(None, pragma, |row| row.get(0)).map(|number: i64| number.unsigned_abs())
    };
    let (page, pages) = (number("page_size")?, number("page_count")?);
    let unused = number("freelist_count")?;
    if unused * page < UNUSED || unused < pages / PART {
        return Ok(0);
    }
    db.execute_batch("VACUUM")?;
    // Until then it is the log that has the smaller database. Where somebody reads, the next one to write does this.
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(pages.saturating_sub(number("page_count")?) * page)
}
