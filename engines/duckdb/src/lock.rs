//! Tasks on one database file queue, since DuckDB lets one process at a time write to it.
//!
//! Within this process they wait for each other here, in the order in which they came and for as long as it takes.
//! Other processes are only met by trying.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

/// A turn on a database file; it ends when this is dropped.
pub(crate) struct Turn {
    _guard: OwnedMutexGuard<()>,
}

/// Waits for a turn on the file; calls `waits` if it is another's.
pub(crate) async fn turn(file: &Path, waits: impl FnOnce()) -> Turn {
    static QUEUES: LazyLock<Mutex<HashMap<PathBuf, Arc<Queue<()>>>>> = LazyLock::new(Mutex::default);
    let queue = {
        let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(queues.entry(one_name(file)).or_default())
    };
    let guard = match Arc::clone(&queue).try_lock_owned() {
        Ok(guard) => guard,
        Err(_) => {
            waits();
            queue.lock_owned().await
        }
    };
    Turn { _guard: guard }
}

/// Two ways to one file are one file, once its folder is there.
fn one_name(file: &Path) -> PathBuf {
    let in_folder = || Some(file.parent()?.canonicalize().ok()?.join(file.file_name()?));
    file.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| file.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_name_before_it_is_made_and_after_and_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let before = one_name(&link.join("a.db"));
        std::fs::write(real.join("a.db"), "").unwrap();
        std::os::unix::fs::symlink(real.join("a.db"), folder.path().join("b.db")).unwrap();
        for way in [real.join("a.db"), link.join("a.db"), folder.path().join("b.db")] {
            assert_eq!(one_name(&way), before);
        }
    }
}
