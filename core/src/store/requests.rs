//! What other processes ask of a live run's owner: a file beside the run's journal, a task id a line.
//!
//! Whoever asks adds lines and then sends the owner a signal; the owner reads the whole file each time.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::{RunJournal, Store};

impl Store {
    /// Asks the owner of a live run to cancel tasks; it looks once it is sent SIGUSR1.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub fn ask_to_cancel(&self, run_id: &str, tasks: &[String]) -> Result<(), StoreError> {
        let path = path(&self.home.journal(run_id));
        let lines: String = tasks.iter().map(|task| format!("{task}\n")).collect();
        let file = OpenOptions::new().create(true).append(true).open(&path);
        // In one write: of two that ask at once, neither cuts the other's line.
        file.and_then(|mut file| file.write_all(lines.as_bytes()))
            .map_err(|error| StoreError::io(&path, &error))
    }
}

impl RunJournal {
    /// The tasks that other processes want cancelled, those of earlier requests included.
    ///
    /// # Errors
    ///
    /// The requests cannot be read.
    pub fn tasks_to_cancel(&self) -> Result<HashSet<String>, StoreError> {
        let path = path(&self.path);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(HashSet::new()),
            Err(error) => Err(StoreError::io(&path, &error)),
        }
    }

    /// Removes what was asked of this run, or of a run of the same id before.
    pub(super) fn forget_requests(journal: &Path) {
        // Mostly there is none. One that stays would only cancel what was cancelled.
        let _ = fs::remove_file(path(journal));
    }
}

/// Where requests to the owner of a journal are.
pub(super) fn path(journal: &Path) -> PathBuf {
    journal.with_extension("cancel")
}
