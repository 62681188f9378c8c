//! Whether a file that says what is run, or is run, can be changed by others than its owner.
//!
//! The file and its folder belong to the user or to root, and nobody else may write there, nor to a folder further above: who can
//! write a folder can put another file, or another folder, in the place of what is in it. Two groups are no others: the user's private
//! one, as many systems make it for each user, and that of root. Who the folders further above belong to is not asked: in a container
//! those of the host's users, and `/` itself, belong to numbers that nobody there has.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Its modes cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is another user's.
    #[error(
        "{what}{} belongs to the user with the number {owner}, who so decides what oxidag runs; make it your own, or say --allow-writable",
        path.display()
    )]
    Foreign {
        /// Nothing, or how the folder is told from a file.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Others can change it.
    #[error(
        "others can write {what}{} (mode {mode:04o}), and so decide what oxidag runs; run `chmod go-w {}`, or say --allow-writable",
        path.display(), path.display()
    )]
    Writable {
        /// Nothing, or how the folder is told from a file.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// Checks a file and the folders above it. Links are followed: what counts is where they lead.
///
/// # Errors
///
/// Any [`TrustError`].
pub fn check(path: &Path) -> Result<(), TrustError> {
    let failed = |source| TrustError::Read { path: path.to_owned(), source };
    check_opened(path, &fs::metadata(path).map_err(failed)?)
}

/// The same for a file that is open.
pub(crate) fn check_opened(path: &Path, metadata: &Metadata) -> Result<(), TrustError> {
    let failed = |source| TrustError::Read { path: path.to_owned(), source };
    let file = path.canonicalize().map_err(failed)?;
    owned("", path, metadata)?;
    closed("", path, metadata)?;
    if let Some(folder) = file.parent() {
        owned(FOLDER, folder, &fs::metadata(folder).map_err(failed)?)?;
    }
    // From the top: what is said of a folder above is true of all below.
    let folders: Vec<&Path> = file.ancestors().skip(1).collect();
    folders
        .into_iter()
        .rev()
        .try_for_each(|folder| closed(FOLDER, folder, &fs::metadata(folder).map_err(failed)?))
}

/// How messages tell a folder from a file.
const FOLDER: &str = "the folder ";

/// Nobody else owns it.
fn owned(what: &'static str, path: &Path, metadata: &Metadata) -> Result<(), TrustError> {
    match foreign_owner(metadata) {
        Some(owner) => Err(TrustError::Foreign { what, path: path.to_owned(), owner }),
        None => Ok(()),
    }
}

/// Nobody else can write it.
fn closed(what: &'static str, path: &Path, metadata: &Metadata) -> Result<(), TrustError> {
    match others_can_write(metadata) {
        Some(mode) => Err(TrustError::Writable { what, path: path.to_owned(), mode }),
        None => Ok(()),
    }
}

/// The number of the user and of the group.
#[cfg(unix)]
const ROOT: u32 = 0;

/// The permissions, if others can write there.
#[cfg(unix)]
fn others_can_write(metadata: &Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;

    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let own_group = (user == group).then_some(group);
    let mode = metadata.mode() & 0o7777;
    is_open(mode, metadata.is_dir(), metadata.gid(), own_group).then_some(mode)
}

/// The owner, if it is neither the user nor root.
#[cfg(unix)]
fn foreign_owner(metadata: &Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;

    let user = rustix::process::geteuid().as_raw();
    Some(metadata.uid()).filter(|&owner| is_foreign(owner, user))
}

#[cfg(unix)]
fn is_foreign(owner: u32, user: u32) -> bool {
    owner != ROOT && owner != user
}

#[cfg(not(unix))]
fn foreign_owner(_: &Metadata) -> Option<u32> {
    None
}

#[cfg(not(unix))]
fn others_can_write(_: &Metadata) -> Option<u32> {
    None
}

/// `own_group` is the group that only the user is in. In a folder with the sticky bit, nobody replaces what is another's.
#[cfg(unix)]
fn is_open(mode: u32, folder: bool, group: u32, own_group: Option<u32>) -> bool {
    if folder && mode & 0o1000 != 0 {
        return false;
    }
    let by_group = mode & 0o020 != 0 && group != ROOT && own_group != Some(group);
    by_group || mode & 0o002 != 0
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn others_are_everybody_and_groups_of_several() {
        for (mode, folder, group, open) in [
            (0o644, false, 1000, false),
            (0o664, false, 1000, false),
            (0o664, false, 0, false),
            (0o664, false, 100, true),
            (0o666, false, 1000, true),
            (0o757, true, 1000, true),
            (0o1777, true, 0, false),
            (0o1666, false, 1000, true),
        ] {
            assert_eq!(is_open(mode, folder, group, Some(1000)), open, "{mode:o} {group}");
        }
        assert!(is_open(0o664, false, 1000, None), "the user's group is not private");
    }

    #[test]
    fn only_the_user_and_root_are_no_others() {
        assert!(!is_foreign(1000, 1000) && !is_foreign(ROOT, 1000));
        assert!(is_foreign(1000, 1001) && is_foreign(1000, ROOT));
    }

    #[test]
    fn a_file_is_as_safe_as_the_folders_above_it() {
        let sandbox = tempfile::tempdir().unwrap();
        let above = sandbox.path().join("above");
        let folder = above.join("open");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("plugins.toml");
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(&folder, 0o755);
        set(&above, 0o755);
        assert!(check(&file).is_ok());
        // Who can write there puts another `open` in its place.
        set(&above, 0o777);
        let said = check(&file).unwrap_err().to_string();
        assert!(said.contains("the folder ") && said.contains("above (mode 0777)"), "{said}");
        // With the sticky bit, nobody but its owner does.
        set(&above, 0o1777);
        assert!(check(&file).is_ok());
        set(&file, 0o646);
        let said = check(&file).unwrap_err().to_string();
        assert!(said.contains("plugins.toml (mode 0646)") && said.contains("chmod go-w"), "{said}");
        set(&file, 0o644);
        set(&folder, 0o777);
        let said = check(&file).unwrap_err().to_string();
        assert!(said.contains("others can write the folder ") && said.contains("(mode 0777)"), "{said}");
        // Through a link from a safe place.
        let link = sandbox.path().join("link.toml");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(check(&link).is_err());
    }
}
