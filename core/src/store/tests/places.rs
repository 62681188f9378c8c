//! Folders and files that are missing, read-only, foreign, damaged or from the future.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rusqlite::Connection;

use super::*;
use crate::store::{RunFilter, codec, journal as format};

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
    insta::assert_snapshot!(refused(), @"OXIDAG_HOME/oxidag.db was written by a newer oxidag (schema 99, this one knows 7); use that version, or choose another folder with OXIDAG_HOME");
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
    // Its journal is read, too.
    assert_eq!(states(&store, "b"), [TaskState::Success, TaskState::Running]);
    let head = details(&store, "b").head;
    assert!(head.interrupted && head.unread.is_none());
    let unread = details(&store, "c").head;
    assert!(!unread.interrupted, "nobody knows");
    let reason = unread.unread.unwrap().replace(home.to_str().unwrap(), "OXIDAG_HOME");
    insta::allow_duplicates! {
        insta::assert_snapshot!(reason, @"OXIDAG_HOME/journal/c.journal: Permission denied (os error 13)");
    }
    let ids: Vec<String> =
        store.list_runs(&RunFilter::default()).unwrap().into_iter().map(|h| h.run_id).collect();
    assert_eq!(ids, ["c", "b", "a"]);
    let refused = try_begin(&store, "d", "dag", 1, 1).unwrap_err();
    assert!(matches!(refused, StoreError::NotWritable { .. }), "{refused}");
    let refused = Store::open(home).unwrap_err();
    assert!(matches!(refused, StoreError::NotWritable { .. }), "{refused}");
}

/// Runs a test of this program as somebody who may not write to the home, which is in `dir`.
///
/// Root may write anywhere; a copy of this program can be started by anyone. Another process makes it, for a program
/// cannot be started while a child that another test just forked has it open for writing.
fn as_someone_else(dir: &Path, test: &str, home: &Path) {
    let program = dir.join("program");
    let mut copy = Command::new("cp");
    copy.arg(env::current_exe().unwrap()).arg(&program);
    assert!(copy.status().unwrap().success());
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    let mut child = Command::new(&program);
    child.args(only(test)).env(CHILD, home).current_dir(dir);
    if fs::metadata(home).unwrap().uid() == 0 {
        child.uid(65_534).gid(65_534);
    }
    let output = child.output().unwrap();
    assert!(output.status.success(), "{output:?}");
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
        for run_id in ["b", "c"] {
            let mut left = begin(&store, run_id, 2);
            left.record(&[task(1, 0, 1, TaskState::Success), task(2, 1, 1, TaskState::Running)]).unwrap();
        }
        drop(store);
        if !with_log {
            let db = Connection::open(home.join("oxidag.db")).unwrap();
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            drop(db);
            let _ = fs::remove_file(home.join("oxidag.db-wal"));
            let _ = fs::remove_file(home.join("oxidag.db-shm"));
        }
        make_read_only(&home);
        fs::set_permissions(journal(&home, "c"), Permissions::from_mode(0o000)).unwrap();
        as_someone_else(dir.path(), "places::a_home_that_cannot_be_written_can_be_read", &home);
        fs::set_permissions(&home, Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(home.join("journal"), Permissions::from_mode(0o755)).unwrap();
    }
}

/// A store as the first version of the schema had it: a run that ended, and one whose owner left a journal.
fn old_home(home: &Path) {
    let store = Store::open(home).unwrap();
    drop(begin(&store, "b", 1));
    drop(store);
    let database = home.join("oxidag.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(home.join(format!("oxidag.db{suffix}")));
    }
    let db = Connection::open(&database).unwrap();
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    db.execute_batch(include_str!("../older/1.sql")).unwrap();
    db.execute_batch(
        "PRAGMA application_id = 0x6f786467; PRAGMA user_version = 1;
         INSERT INTO sources VALUES (1, 'dag: text');
         INSERT INTO runs VALUES (1, 'a', 'dag', 1, 5, 9, NULL, NULL, 'dag.yaml', '{}', 1, 16);
         INSERT INTO runs VALUES (2, 'b', 'dag', 0, 6, NULL, NULL, NULL, 'dag.yaml', '{}', 1, 16);
         INSERT INTO tasks VALUES (1, 0, 't0', 'noop', 6, 6, 8, NULL, NULL);
         INSERT INTO tasks VALUES (2, 0, 't0', 'noop', 0, NULL, NULL, NULL, NULL);
         INSERT INTO attempts VALUES (1, 0, 1, 6, 6, 8, NULL, NULL, NULL);
         PRAGMA wal_checkpoint(TRUNCATE);",
    )
    .unwrap();
    let events = [task(7, 0, 0, TaskState::Scheduled), task(8, 0, 1, TaskState::Running)];
    let file = fs::File::create(journal(home, "b")).unwrap();
    format::claim(&file).unwrap();
    let mut frame = Vec::new();
    format::begin_frame(&mut frame);
    events.iter().for_each(|event| codec::encode(event, &mut frame).unwrap());
    assert!(format::end_frame(&mut frame).unwrap());
    std::os::unix::fs::FileExt::write_all_at(&file, &frame, format::HEADER_LEN).unwrap();
}

/// What everyone finds in it.
fn check_old(store: &Store) {
    let run = details(store, "a");
    let attempt = &run.tasks[0].attempts[0];
    assert_eq!((attempt.scheduled_at, attempt.started_at, attempt.deferred_at), (None, Timestamp(6), None));
    assert_eq!(run.script_cache, None);
    let attempt = &details(store, "b").tasks[0].attempts[0];
    assert_eq!((attempt.scheduled_at, attempt.started_at), (Some(Timestamp(7)), Timestamp(8)));
}

#[test]
fn an_older_database_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    old_home(dir.path());
    for _ in 0..2 {
        check_old(&Store::open(dir.path()).unwrap());
    }
    let db = Connection::open(dir.path().join("oxidag.db")).unwrap();
    let version: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 7);
}

#[test]
fn an_older_database_that_cannot_be_written_can_be_read() {
    if let Some(home) = as_child() {
        return check_old(&Store::open_existing(&home).unwrap().unwrap());
    }
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    old_home(&home);
    make_read_only(&home);
    as_someone_else(dir.path(), "places::an_older_database_that_cannot_be_written_can_be_read", &home);
    fs::set_permissions(&home, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(home.join("journal"), Permissions::from_mode(0o755)).unwrap();
}
