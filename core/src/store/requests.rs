//! What other processes ask of a live run's owner: a file beside the run's journal, a line for each task that is to be
//! cancelled, or `*` for the whole run.
//!
//! Whoever asks adds lines and then sends the owner a signal; the owner reads the whole file each time.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::{RunJournal, Store};

/// Stands for the whole run; no task is called so.
const ALL: &str = "*";

/// What is to be cancelled of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ToCancel {
    /// All of it.
    pub run: bool,
    /// These tasks.
    pub tasks: HashSet<String>,
}

impl Store {
    /// Asks the owner of a live run to cancel tasks, or without any the run; it looks once it is sent SIGUSR1.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub fn ask_to_cancel(&self, run_id: &str, tasks: &[String]) -> Result<(), StoreError> {
        let path = path(&self.home.journal(run_id));
        let lines: String = match tasks {
            [] => format!("{ALL}\n"),
            tasks => tasks.iter().map(|task| format!("{task}\n")).collect(),
        };
        let file = OpenOptions::new().create(true).append(true).open(&path);
        // In one write: of two that ask at once, neither cuts the other's line.
        file.and_then(|mut file| file.write_all(lines.as_bytes()))
            .map_err(|error| StoreError::io(&path, &error))
    }
}

impl RunJournal {
    /// What other processes want cancelled, by earlier requests too.
    ///
    /// # Errors
    ///
    /// The requests cannot be read.
    pub fn to_cancel(&self) -> Result<ToCancel, StoreError> {
        let path = path(&self.path);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let tasks: HashSet<String> = text.lines().map(str::to_owned).collect();
                Ok(ToCancel { run: tasks.contains(ALL), tasks })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(ToCancel::default()),
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

#[cfg(test)]
mod tests {
    use super::super::tests::{begin, home};
    use super::*;

    #[test]
    fn requests_reach_the_owner_and_go_with_its_journal() {
        let (_dir, store) = home();
        let journal = begin(&store, "r", 1);
        assert_eq!(journal.to_cancel().unwrap(), ToCancel::default());
        store.ask_to_cancel("r", &["a".to_owned(), "b".to_owned()]).unwrap();
        let asked = journal.to_cancel().unwrap();
        assert!(!asked.run && asked.tasks.contains("a") && asked.tasks.contains("b"));
        store.ask_to_cancel("r", &[]).unwrap();
        assert!(journal.to_cancel().unwrap().run);
        let path = path(&journal.path);
        assert!(path.exists());
        drop(journal);
        assert!(!path.exists());
    }
}
