//! The folder of the store: where its files are, and who owns which journal.
//!
//! A journal's lock says that its run has a living owner. Two rules keep that answer true, and nothing may go round
//! them: a journal's lock is taken only under the home lock held exclusively, and only probed under it held shared.
//! Locks are the kernel's, so a killed process leaves none behind.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::error::StoreError;
use super::journal::{self, HEADER_LEN};

const SUFFIX: &str = ".journal";

/// How long what is left of a dead owner is waited for.
const GOING: Duration = Duration::from_millis(500);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(1);

/// Paths and locks of one `OXIDAG_HOME`.
#[derive(Debug, Clone)]
pub(super) struct Home {
    root: PathBuf,
}

impl Home {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folders.
    pub(super) fn create(&self) -> Result<(), StoreError> {
        let journals = self.journals();
        fs::create_dir_all(&journals).map_err(|error| StoreError::io(&journals, &error))
    }

    pub(super) fn database(&self) -> PathBuf {
        self.root.join("oxidag.db")
    }

    /// Whether the database's write-ahead log holds anything.
    pub(super) fn has_log(&self) -> bool {
        let log = fs::metadata(self.root.join("oxidag.db-wal"));
        log.is_ok_and(|log| log.len() > 0)
    }

    fn journals(&self) -> PathBuf {
        self.root.join("journal")
    }

    pub(super) fn journal(&self, run_id: &str) -> PathBuf {
        self.journals().join(format!("{run_id}{SUFFIX}"))
    }

    /// Waits for the exclusive home lock; it is held until the file is dropped.
    pub(super) fn lock(&self) -> Result<File, StoreError> {
        let path = self.root.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = options.open(&path).and_then(|file| {
            file.lock()?;
            Ok(file)
        });
        file.map_err(|error| StoreError::io(&path, &error))
    }

    /// The shared home lock; `None` where there is no lock file, and so no journal was ever written.
    pub(super) fn lock_shared(&self) -> Result<Option<File>, StoreError> {
        let path = self.root.join("lock");
        match File::open(&path).and_then(|file| file.lock_shared().map(|()| file)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(&path, &error)),
        }
    }

    /// The runs that have a journal.
    pub(super) fn runs_with_journal(&self) -> Result<Vec<String>, StoreError> {
        let path = self.journals();
        let names = match fs::read_dir(&path) {
            Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>(),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let names = names.map_err(|error| StoreError::io(&path, &error))?;
        let ids = names.iter().filter_map(|name| name.to_str()?.strip_suffix(SUFFIX));
        Ok(ids.map(str::to_owned).collect())
    }

    /// The living process that owns the run.
    pub(super) fn owner(&self, run_id: &str) -> Result<Option<u32>, StoreError> {
        let _home = self.lock_shared()?;
        self.owner_under_lock(run_id)
    }

    /// The same for a caller that holds the home lock.
    pub(super) fn owner_under_lock(&self, run_id: &str) -> Result<Option<u32>, StoreError> {
        let path = self.journal(run_id);
        let Some(file) = self.open_journal(run_id)? else { return Ok(None) };
        if is_owned(&file, &path)? { journal::owner(&file, &path).map(Some) } else { Ok(None) }
    }

    /// The journal of a dead owner, for reading, if it holds anything; the caller holds the home lock, at least shared.
    pub(super) fn read_dead_journal(&self, run_id: &str) -> Result<Option<File>, StoreError> {
        let path = self.journal(run_id);
        let Some(file) = self.open_journal(run_id)? else { return Ok(None) };
        let length = file.metadata().map_err(|error| StoreError::io(&path, &error))?.len();
        Ok(if length > HEADER_LEN && !is_owned(&file, &path)? { Some(file) } else { None })
    }

    fn open_journal(&self, run_id: &str) -> Result<Option<File>, StoreError> {
        let path = self.journal(run_id);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            // Whatever it is, it is not about writing.
            Err(error) => Err(StoreError::Failed { path, reason: error.to_string() }),
        }
    }

    /// Creates a run's journal and takes its lock. The caller holds the home lock and has recovered a dead owner's journal.
    pub(super) fn create_journal(&self, run_id: &str) -> Result<File, StoreError> {
        let path = self.journal(run_id);
        let mut options = OpenOptions::new();
        let opened = options.create_new(true).read(true).write(true).open(&path);
        let file = opened.map_err(|error| StoreError::io(&path, &error))?;
        let claimed = match file.try_lock() {
            Ok(()) => journal::claim(&file),
            Err(TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        };
        match claimed {
            Ok(()) => Ok(file),
            Err(error) => {
                self.remove_journal(run_id)?;
                Err(StoreError::io(&path, &error))
            }
        }
    }

    /// The journal of a dead owner, now locked by us; the caller holds the home lock.
    pub(super) fn adopt_journal(&self, run_id: &str) -> Result<Adopted, StoreError> {
        let path = self.journal(run_id);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Adopted::Nothing),
            Err(error) => return Err(StoreError::io(&path, &error)),
        };
        if lock_unless_owned(&file, &path, File::try_lock)? {
            Ok(Adopted::Journal(file))
        } else {
            Ok(Adopted::Owned(journal::owner(&file, &path)?))
        }
    }

    /// Removes a journal that holds nothing more than the database; its lock must be ours.
    pub(super) fn remove_journal(&self, run_id: &str) -> Result<(), StoreError> {
        let path = self.journal(run_id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::io(&path, &error)),
            _ => Ok(()),
        }
    }
}

/// Whether a living process has the journal's lock.
fn is_owned(journal: &File, path: &Path) -> Result<bool, StoreError> {
    let is_free = lock_unless_owned(journal, path, File::try_lock_shared)?;
    if is_free {
        release(journal);
    }
    Ok(!is_free)
}

/// Takes the journal's lock, unless a living process has it.
///
/// A process that was killed while it started a program leaves a copy of itself for a moment, which still has the lock:
/// until that has become the program, it is waited for. A process of another container cannot be seen, so not for long.
fn lock_unless_owned(
    journal: &File,
    path: &Path,
    try_lock: impl Fn(&File) -> Result<(), TryLockError>,
) -> Result<bool, StoreError> {
    let until = Instant::now() + GOING;
    loop {
        match try_lock(journal) {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(StoreError::io(path, &error)),
            Err(TryLockError::WouldBlock) => {}
        }
        if is_alive(journal::owner(journal, path)?) || Instant::now() >= until {
            return Ok(false);
        }
        thread::sleep(LOOK);
    }
}

/// Whether the process can be seen. One that has ended and is not reaped has closed its files.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// Gives up a journal's lock at once. Closing the file is not enough where another thread is about to start a program:
/// until that has replaced the copy of this process, the copy has the file open, too.
pub(super) fn release(journal: &File) {
    // It fails only for a file that has no lock.
    let _ = journal.unlock();
}

/// What became of an attempt to take over a journal.
pub(super) enum Adopted {
    /// There is none.
    Nothing,
    /// Its owner, this process, lives.
    Owned(u32),
    /// Its owner is dead, and its lock is ours as long as the file is open.
    Journal(File),
}
