//! What can go wrong with the store, in words that say what to do. Nothing here touches a file.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_WRITE;

/// Why the store could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The folder or a file in it cannot be written.
    #[error("cannot write to {}: {reason}; make it writable, or choose another folder with OXIDAG_HOME", path.display())]
    NotWritable {
        /// What could not be written.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The disk, a quota or a limit on file sizes is used up.
    #[error("cannot write to {}: {reason}; free some space; what was stored before is kept", path.display())]
    DiskFull {
        /// What could not be written.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Another process holds the database for longer than anyone should.
    #[error("another process keeps {} locked; try again, and if that persists see who has it open", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// The database has a schema that this version does not know.
    #[error("{} was written by a newer oxidag (schema {found}, this one knows {known}); use that version, or choose another folder with OXIDAG_HOME", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// A file is not what oxidag writes, or it is damaged.
    #[error("{} is not a file of oxidag, or it is damaged: {reason}; move it away, or choose another folder with OXIDAG_HOME", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another file or database error.
    #[error("{}: {reason}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A run id that could not be a file's name.
    #[error(
        "the run id `{0}` cannot be used: take 1 to 128 letters, digits, `_`, `-` and `.`, the first a letter or digit"
    )]
    InvalidRunId(String),
    /// The word by which commands ask for the newest run.
    #[error("the run id `latest` stands for the newest run; choose another")]
    ReservedRunId,
    /// The run id is taken by a run that has ended or was interrupted.
    #[error("the run id `{0}` is already used; choose another")]
    RunIdUsed(String),
    /// A live process owns the run.
    #[error(
        "process {pid} owns the run `{run_id}`; wait until it ends, or stop it with `oxidag runs cancel {run_id}`"
    )]
    RunOwned {
        /// The run.
        run_id: String,
        /// Its owner.
        pid: u32,
    },
    /// No run has this id or a beginning like this.
    #[error("there is no run `{0}`; `oxidag runs list` shows those there are")]
    UnknownRun(String),
    /// No run of this DAG is stored.
    #[error("there is no run of the DAG `{0}`; `oxidag runs list` shows those there are")]
    UnknownDag(String),
    /// Several runs begin like this.
    #[error("several runs begin with `{prefix}`: {candidates}; give more of the id")]
    AmbiguousRun {
        /// What was asked for.
        prefix: String,
        /// Some of the runs.
        candidates: String,
    },
    /// The newest run was asked for where none is stored.
    #[error("there is no run yet; `oxidag run` starts one")]
    NoRuns,
    /// An event names a task that the run was not begun with.
    #[error("run `{run_id}` has no task number {task}: it was begun with {count}")]
    UnknownTask {
        /// The run.
        run_id: String,
        /// The task's place.
        task: u32,
        /// How many tasks the run has.
        count: u32,
    },
}

impl StoreError {
    /// Says which file an I/O error concerns and what it means for the user.
    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        let (path, reason) = (path.to_owned(), error.to_string());
        match error.kind() {
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem | Kind::NotADirectory => {
                Self::NotWritable { path, reason }
            }
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Self::DiskFull { path, reason },
            _ => Self::Failed { path, reason },
        }
    }

    /// The same for an error of SQLite.
    pub(super) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, reason) = (path.to_owned(), error.to_string());
        let rusqlite::Error::SqliteFailure(failure, _) = error else {
            return Self::Failed { path, reason };
        };
        match failure.code {
            ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                Self::NotWritable { path, reason }
            }
            // SQLite says "full" for a full disk alone; a quota or a size limit is a failed write.
            ErrorCode::DiskFull => Self::DiskFull { path, reason },
            ErrorCode::SystemIoFailure if failure.extended_code == SQLITE_IOERR_WRITE => {
                Self::DiskFull { path, reason }
            }
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy { path },
            ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => Self::Damaged { path, reason },
            _ => Self::Failed { path, reason },
        }
    }

    /// Whether the place rather than its content is at fault, so that what is there can still be read.
    pub(super) fn is_about_writing(&self) -> bool {
        matches!(self, Self::NotWritable { .. } | Self::DiskFull { .. })
    }
}
