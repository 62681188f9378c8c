//! Tasks on one database file queue, since DuckDB lets one process at a time write to it.
//!
//! Within this process they wait for each other here, in the order in which they came. Other processes are
//! only met by trying.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

/// A turn on a database file; it ends when this is dropped.
pub(crate) struct Turn {
    _guard: OwnedMutexGuard<()>,
}

/// Waits for a turn on the file.
pub(crate) async fn turn(file: &Path) -> Turn {
    static QUEUES: LazyLock<Mutex<HashMap<PathBuf, Arc<Queue<()>>>>> = LazyLock::new(Mutex::default);
    // Two ways to one file are one file, once its folder is there.
    let folder = file.parent().and_then(|folder| folder.canonicalize().ok());
    let file =
        folder.zip(file.file_name()).map_or_else(|| file.to_owned(), |(folder, name)| folder.join(name));
    let queue = {
        let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(queues.entry(file).or_default())
    };
    Turn { _guard: queue.lock_owned().await }
}
