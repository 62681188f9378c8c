//! Folders and files that are missing, read-only, foreign, damaged or from the future.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rusqlite::Connection;

use super::*;

#[test]
fn a_home_that_does_not_exist_is_made_to_write_and_left_out_to_read() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("some/where");
    assert!(Store::open_existing(&home).unwrap().is_none());
    assert!(!home.exists());
    begin(&Store::open(&home).unwrap(), "a", 1).finish().unwrap();
    let store = Store::open_existing(&home).unwrap().unwrap();
    assert_eq!(details(&store, "a").tasks.len(), 1);
}

#[test]
fn reading_recovers_what_a_dead_owner_left() {
    let (dir, store) = home();
    let mut owned = begin(&store, "a", 1);
    owned.record(&[task(1, 0, 1, TaskState::Running)]).unwrap();
    drop(owned);
    let store = Store::open_existing(dir.path()).unwrap().unwrap();
    assert_eq!(states(&store, "a"), [TaskState::Running]);
}

#[test]
fn what_is_not_ours_is_refused_and_left_as_it_is() {
    let (dir, store) = home();
    drop(store);
    let database = dir.path().join("oxidag.db");
    let refused = || message(&Store::open(dir.path()).unwrap_err(), dir.path());

    let db = Connection::open(&database).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    insta::assert_snapshot!(refused(), @"OXIDAG_HOME/oxidag.db was written by a newer oxidag (schema 99, this one knows 1); use that version, or choose another folder with OXIDAG_HOME");
    assert!(Store::open_existing(dir.path()).is_err());

    fs::remove_dir_all(dir.path()).unwrap();
    fs::create_dir(dir.path()).unwrap();
    let db = Connection::open(&database).unwrap();
    db.execute_batch("CREATE TABLE theirs (a)").unwrap();
    insta::assert_snapshot!(refused(), @"OXIDAG_HOME/oxidag.db is not a file of oxidag, or it is damaged: it is a database of another program; move it away, or choose another folder with OXIDAG_HOME");
    drop(db);

    fs::write(&database, "not a database at all, but text of some length".repeat(9)).unwrap();
    insta::assert_snapshot!(refused(), @"OXIDAG_HOME/oxidag.db is not a file of oxidag, or it is damaged: file is not a database; move it away, or choose another folder with OXIDAG_HOME");
    assert!(fs::read_to_string(&database).unwrap().starts_with("not a"));
}

#[test]
fn a_home_that_is_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("file");
    fs::write(&home, "").unwrap();
    insta::assert_snapshot!(message(&Store::open(&home).unwrap_err(), dir.path()), @"cannot write to OXIDAG_HOME/file/journal: Not a directory (os error 20); make it writable, or choose another folder with OXIDAG_HOME");
}

/// Makes the folder readable, and not more than that, for everyone.
fn make_read_only(home: &Path) {
    for (path, mode) in [(home.join("journal"), 0o555), (home.to_owned(), 0o555)] {
        for entry in fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::set_permissions(entry.path(), Permissions::from_mode(0o444)).unwrap();
            }
        }
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

/// What someone who may only read finds.
fn read_only(home: &Path) {
    let store = Store::open_existing(home).unwrap().unwrap();
    assert_eq!(states(&store, "a"), [TaskState::Success]);
    let interrupted = details(&store, "b").head;
    assert!(interrupted.interrupted);
    let refused = try_begin(&store, "c", "dag", 1, 1).unwrap_err();
    assert!(matches!(refused, StoreError::NotWritable { .. }), "{refused}");
    let refused = Store::open(home).unwrap_err();
    assert!(matches!(refused, StoreError::NotWritable { .. }), "{refused}");
}

#[test]
fn a_home_that_cannot_be_written_can_be_read() {
    if let Some(home) = as_child() {
        return read_only(&home);
    }
    for with_log in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home %41?#");
        let store = Store::open(&home).unwrap();
        let mut owned = begin(&store, "a", 1);
        owned.record(&[task(1, 0, 1, TaskState::Success)]).unwrap();
        owned.finish().unwrap();
        drop(begin(&store, "b", 1));
        drop(store);
        if !with_log {
            let db = Connection::open(home.join("oxidag.db")).unwrap();
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            drop(db);
            let _ = fs::remove_file(home.join("oxidag.db-wal"));
            let _ = fs::remove_file(home.join("oxidag.db-shm"));
        }
        make_read_only(&home);
        // Root may write anywhere; a copy of this program can be started by anyone. Another process makes it, for
        // a program cannot be started while a child that another test just forked has it open for writing.
        let program = dir.path().join("program");
        let mut copy = Command::new("cp");
        copy.arg(env::current_exe().unwrap()).arg(&program);
        assert!(copy.status().unwrap().success());
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let mut child = Command::new(&program);
        child
            .args(only("places::a_home_that_cannot_be_written_can_be_read"))
            .env(CHILD, &home)
            .current_dir(dir.path());
        if fs::metadata(&home).unwrap().uid() == 0 {
            child.uid(65_534).gid(65_534);
        }
        let output = child.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        fs::set_permissions(&home, Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(home.join("journal"), Permissions::from_mode(0o755)).unwrap();
    }
}
