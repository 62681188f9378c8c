//! Opening the database: its settings, its schema, and what stands in the way.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;
use super::home::Home;
use super::migrate;

/// Marks the file as ours: "oxdg".
const APPLICATION_ID: i64 = 0x6f78_6467;
/// The newest schema.
const SCHEMA: &str = include_str!("schema.sql");
/// What takes the schema from each version to the next, from the first; only ever appended to.
const MIGRATIONS: [&str; 6] = [
    include_str!("older/2.sql"),
    include_str!("older/3.sql"),
    include_str!("older/4.sql"),
    include_str!("older/5.sql"),
    include_str!("older/6.sql"),
    include_str!("older/7.sql"),
];
/// Commits survive the process; the disk is only synced when the log is copied back.
const SYNCHRONOUS: &str = "NORMAL";
/// The version since which many tasks are in one row: SQL alone cannot pack them.
const PACKED: i64 = 6;
/// How many pages are copied at once.
const PAGES: i32 = 4096;
/// How long others may hold the database.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the database for writing, makes it where there is none, and brings its schema up to date.
pub(super) fn writable(home: &Home) -> Result<Connection, StoreError> {
    let path = home.database();
    check_length(home)?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = connect(&path, flags)?;
    if version(&db, &path)? < newest() {
        let _lock = home.lock()?;
        migrate(&mut db, &path)?;
    }
    Ok(db)
}

/// Opens a database that may be on a read-only disk or belong to someone else; `None` where it holds nothing yet.
pub(super) fn readable(home: &Home) -> Result<Option<Connection>, StoreError> {
    let path = home.database();
    check_length(home)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = |path: &Path, flags| {
        let db = connect(path, flags)?;
        Ok((version(&db, path)? > 0).then_some(db))
    };
    match open(&path, flags) {
        // Reading goes through an index of the log, which cannot be made here; without a log none is needed.
        Err(StoreError::NotWritable { .. }) if !home.has_log() => {
            let uri = format!("file:{}?immutable=1", escaped(&path));
            open(Path::new(&uri), flags | OpenFlags::SQLITE_OPEN_URI)
        }
        other => other,
    }
}

/// A file that was cut off is refused: SQLite takes what is missing for zeros, and a row may be in it.
///
/// The header says how long the file is (SQLite's "Database File Format", 1.3). With a log it may be behind.
fn check_length(home: &Home) -> Result<(), StoreError> {
    let path = home.database();
    let mut header = [0; 32];
    let read = File::open(&path).and_then(|file| {
        file.read_exact_at(&mut header, 0)?;
        file.metadata()
    });
    // What is no database is SQLite's to refuse.
    let Ok(metadata) = read else { return Ok(()) };
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let page = match number(16) >> 16 {
        1 => 65536,
        page => u64::from(page),
    };
    let length = page * u64::from(number(28));
    if header.starts_with(b"SQLite format 3\0") && metadata.len() < length && !home.has_log() {
        let reason = format!("it was cut off: {} of {length} bytes are left", metadata.len());
        return Err(StoreError::Damaged { path, reason });
    }
    Ok(())
}

/// Whether the schema is the newest.
pub(super) fn is_up_to_date(db: &Connection, path: &Path) -> Result<bool, StoreError> {
    Ok(version(db, path)? == newest())
}

/// A copy of a database that may only be read, brought up to date. Nobody else sees it, and it is gone with the connection.
pub(super) fn copy(db: &Connection, path: &Path) -> Result<Connection, StoreError> {
    // Without a name it is a temporary file, of which most is kept in memory.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = connect(Path::new(""), flags)?;
    let copied = Backup::new(db, &mut copy).and_then(|b| b.run_to_completion(PAGES, Duration::ZERO, None));
    copied.map_err(|error| StoreError::sqlite(path, &error))?;
    migrate(&mut copy, path)?;
    Ok(copy)
}

/// What has a meaning in a URI is spelled out.
fn escaped(path: &Path) -> String {
    let path = path.to_string_lossy();
    path.replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let db = Connection::open_with_flags(path, flags).and_then(|db| {
        db.busy_timeout(PATIENCE)?;
        // The next one to write copies the log back; nobody waits for that at exit.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        db.pragma_update(None, "synchronous", SYNCHRONOUS)?;
        // 16 MiB: a transaction over 100,000 tasks takes some 3.
        db.pragma_update(None, "cache_size", -16_384)?;
        Ok(db)
    });
    db.map_err(|error| StoreError::sqlite(path, &error))
}

const fn newest() -> i64 {
    MIGRATIONS.len() as i64 + 1
}

/// The schema's version, 0 in an empty file.
fn version(db: &Connection, path: &Path) -> Result<i64, StoreError> {
    let marks = marks(db).map_err(|error| StoreError::sqlite(path, &error))?;
    let (found, application, _) = marks;
    if application != APPLICATION_ID && marks != (0, 0, 0) {
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            reason: "it is a database of another program".to_owned(),
        });
    }
    if found > newest() {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: newest() });
    }
    Ok(found)
}

/// Schema version, application and number of tables, as of one instant: another process may be making them.
fn marks(db: &Connection) -> rusqlite::Result<(i64, i64, i64)> {
    let snapshot = db.unchecked_transaction()?;
    let number = |pragma| snapshot.pragma_query_value(None, pragma, |row| row.get(0));
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables = snapshot.query_row(tables, [], |row| row.get(0))?;
    Ok((number("user_version")?, number("application_id")?, tables))
}

/// The caller holds the home lock, unless nobody else sees the database; another process may have been faster.
fn migrate(db: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let found = version(db, path)?;
    let sqlite = |error: rusqlite::Error| StoreError::sqlite(path, &error);
    if found == newest() {
        return Ok(());
    }
    if found > 0 {
        return take_steps(db, found).map_err(sqlite);
    }
    // SQLite syncs the disk five times for a new database. It holds nothing yet that could be lost: where the power fails, the
    // log is not whole and passed over, and an empty database is left, as long as its first page is there.
    db.pragma_update(None, "synchronous", "OFF").map_err(sqlite)?;
    take_steps(db, found).map_err(sqlite)?;
    File::open(path).and_then(|file| file.sync_data()).map_err(|error| StoreError::io(path, &error))?;
    db.pragma_update(None, "synchronous", SYNCHRONOUS).map_err(sqlite)
}

/// Brings the schema up to date from the version that was found.
fn take_steps(db: &mut Connection, found: i64) -> rusqlite::Result<()> {
    // Kept in the file; cannot be set within a transaction.
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    let tx = db.transaction()?;
    if found == 0 {
        tx.execute_batch(SCHEMA)?;
    }
    for (step, version) in MIGRATIONS.iter().zip(2..).filter(|(_, version)| (1..*version).contains(&found)) {
        tx.execute_batch(step)?;
        if version == PACKED {
            migrate::pack(&tx)?;
        }
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", newest())?;
    tx.commit()
}
