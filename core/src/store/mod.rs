//! What is known about runs, on disk: the only place that speaks SQL to the metadata database.
//!
//! ```text
//! OXIDAG_HOME/oxidag.db                SQLite, write-ahead log; read by every command
//! OXIDAG_HOME/journal/<run_id>.journal the events of a live run; its lock says that its owner lives
//! OXIDAG_HOME/journal/<run_id>.cancel  what of it other processes want cancelled
//! OXIDAG_HOME/lock                     held while journals are created, probed and recovered
//! ```
//!
//! An event is stored once [`RunJournal::record`] returns: it is in the journal, where killing the process cannot reach
//! it. A thread brings it from there into the database, many events in one transaction. When a run ends its journal is
//! removed; when its owner dies, whoever opens the store next does what the thread could not. Neither is synced to the
//! disk at each step: a power failure may cost the last seconds, never the database.
//!
//! Nothing here changes what happened: no state is made up for a run whose owner died.

mod apply;
mod begin;
mod chunk;
mod codec;
mod error;
mod home;
mod journal;
mod migrate;
mod names;
mod open;
mod pack;
mod progress;
mod prune;
mod query;
mod recover;
mod requests;
mod rows;
mod run_journal;
mod source;
mod tables;
mod types;
mod window;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

pub use error::StoreError;
pub use prune::{PruneRule, Pruned, PrunedRun};
pub use requests::ToCancel;
pub use run_journal::RunJournal;
pub use types::{
    AttemptDetails, Durations, NewRun, RunDetails, RunFilter, RunHead, StoredGrowth, TaskDetails,
};

use crate::state::RunState;
use begin::{LATEST, check_run_id};
use home::Home;
use recover::Unread;

/// The runs of one `OXIDAG_HOME`.
#[derive(Debug)]
pub struct Store {
    home: Home,
    db: Arc<Mutex<Connection>>,
    unread: Unread,
}

impl Store {
    /// Opens the store for writing, makes it where there is none, and recovers runs whose owners died.
    ///
    /// # Errors
    ///
    /// The folder cannot be written, the disk is full, or a file in it is damaged, foreign or of a newer version.
    pub fn open(home: &Path) -> Result<Self, StoreError> {
        let home = Home::new(home);
        home.create()?;
        let mut db = open::writable(&home)?;
        recover::recover_all(&home, &mut db)?;
        Ok(Self::new(home, db, Unread::new()))
    }

    /// Opens a store for reading; `None` where there is none yet.
    ///
    /// Runs whose owners died are recovered where the folder can be written; where it cannot, in a copy of the database
    /// that is gone with this store. What cannot be read even so, [`RunHead::unread`] tells.
    ///
    /// # Errors
    ///
    /// A file in the folder is damaged, foreign or of a newer version, or cannot be read.
    pub fn open_existing(home: &Path) -> Result<Option<Self>, StoreError> {
        match Self::open_if_there(home) {
            Err(error) if error.is_about_writing() => {
                let home = Home::new(home);
                let Some(db) = open::readable(&home)? else { return Ok(None) };
                let (db, unread) = recover::recover_aside(&home, db)?;
                Ok(Some(Self::new(home, db, unread)))
            }
            other => other,
        }
    }

    /// Opens a store for writing; `None` where there is none yet.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn open_if_there(home: &Path) -> Result<Option<Self>, StoreError> {
        let database = Home::new(home).database();
        match database.try_exists() {
            Ok(true) => Self::open(home).map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(StoreError::io(&database, &error)),
        }
    }

    fn new(home: Home, db: Connection, unread: Unread) -> Self {
        Self { home, db: Arc::new(Mutex::new(db)), unread }
    }

    /// Runs that match, newest first.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn list_runs(&self, filter: &RunFilter) -> Result<Vec<RunHead>, StoreError> {
        let db = self.db();
        let mut heads = query::heads(&db, filter).map_err(|error| self.sqlite(&error))?;
        for head in &mut heads {
            if self.is_dead(head)? {
                // It may have ended between the two looks; then its last state is in the database by now.
                let again = query::head_of(&db, &head.run_id);
                if let Some(again) = again.map_err(|error| self.sqlite(&error))? {
                    *head = self.ended_or_interrupted(again);
                }
            }
        }
        Ok(heads)
    }

    /// A run with all its tasks and attempts; `None` where there is none with this id.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn run(&self, run_id: &str) -> Result<Option<RunDetails>, StoreError> {
        let mut db = self.db();
        let mut read = || query::details(&mut db, run_id).map_err(|error| self.sqlite(&error));
        let Some(mut run) = read()? else {
            return Ok(None);
        };
        if self.is_dead(&mut run.head)? {
            let Some(again) = read()? else {
                return Ok(None);
            };
            run = RunDetails { head: self.ended_or_interrupted(again.head), ..again };
        }
        Ok(Some(run))
    }

    /// Finds out who owns a running run; whether nobody does.
    fn is_dead(&self, head: &mut RunHead) -> Result<bool, StoreError> {
        if head.state != RunState::Running {
            return Ok(false);
        }
        match self.home.owner(&head.run_id) {
            Ok(owner) => head.owner = owner,
            // A journal that could not be read when the store was opened tells nothing of an owner, either.
            Err(error) if self.unread.contains_key(&head.run_id) => {
                head.unread = Some(error.to_string());
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        Ok(head.owner.is_none())
    }

    /// What is said of a run that nobody owns.
    fn ended_or_interrupted(&self, mut head: RunHead) -> RunHead {
        head.interrupted = head.state == RunState::Running;
        head.unread = self.unread.get(&head.run_id).map(ToString::to_string);
        head
    }

    /// The run that is meant by an id, the beginning of one, or `latest`.
    ///
    /// # Errors
    ///
    /// No run is meant, or more than one, or the database cannot be read.
    pub fn resolve_run(&self, prefix: &str) -> Result<String, StoreError> {
        let db = self.db();
        let sqlite = |error| self.sqlite(&error);
        if prefix == LATEST {
            return query::latest(&db).map_err(sqlite)?.ok_or(StoreError::NoRuns);
        }
        let unknown = || StoreError::UnknownRun(prefix.to_owned());
        check_run_id(prefix).map_err(|_| unknown())?;
        let mut ids = query::beginning_with(&db, prefix).map_err(sqlite)?;
        if ids.len() > 1 && ids[0] != prefix {
            let more = if ids.len() > 3 { ", …" } else { "" };
            ids.truncate(3);
            return Err(StoreError::AmbiguousRun {
                prefix: prefix.to_owned(),
                candidates: ids.join(", ") + more,
            });
        }
        ids.into_iter().next().ok_or_else(unknown)
    }

    /// How long the DAG's tasks took in its last runs; bounded, and empty where it never ran.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn durations(&self, dag_id: &str) -> Result<Durations, StoreError> {
        query::durations(&self.db(), dag_id).map_err(|error| self.sqlite(&error))
    }

    /// The living process that owns the run.
    ///
    /// # Errors
    ///
    /// The journal cannot be read.
    pub fn owner_pid(&self, run_id: &str) -> Result<Option<u32>, StoreError> {
        self.home.owner(run_id)
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sqlite(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::sqlite(&self.home.database(), error)
    }
}

#[cfg(test)]
mod tests;
