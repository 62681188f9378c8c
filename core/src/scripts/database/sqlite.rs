//! Scripts in a SQLite file.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags};

use super::super::remote::Row;
use super::{Found, RowError, only, query};
use crate::buckets::RETRY_TIME;
use crate::plugins::Columns;

/// The scripts of these rows.
pub(super) fn read(path: &Path, columns: &Columns, rows: &[Row]) -> Result<Vec<Found>, RowError> {
    if !path.exists() {
        return Err(RowError::of_database(format!("the database {} does not exist", path.display())));
    }
    let failed = |error: &rusqlite::Error| {
        RowError::of_database(format!("the database {} cannot be opened: {error}", path.display()))
    };
    // Without SQLITE_OPEN_URI: a path is a path, whatever characters it has.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|error| failed(&error))?;
    db.busy_timeout(RETRY_TIME).map_err(|error| failed(&error))?;
    rows.iter()
        .map(|row| match read_row(&db, columns, row) {
            Ok(texts) => Ok(only(texts, row)),
            Err(error) if is_of_database(&error) => Err(failed(&error)),
            Err(Error::InvalidColumnType(..)) => Ok(Err(RowError::of_row("it is no text"))),
            Err(error) => Ok(Err(RowError::of_row(error.to_string()))),
        })
        .collect()
}

fn read_row(db: &Connection, columns: &Columns, row: &Row) -> rusqlite::Result<Vec<Option<Vec<u8>>>> {
    let mut statement = db.prepare_cached(&query(&row.table, columns, "?1", ["", ""]))?;
    let texts = statement.query_map([&row.name], |row| match row.get_ref(0)? {
        ValueRef::Null => Ok(None),
        ValueRef::Text(text) | ValueRef::Blob(text) => Ok(Some(text.to_vec())),
        value => Err(Error::InvalidColumnType(0, columns.script.clone(), value.data_type())),
    })?;
    texts.collect()
}

/// Not of a table or a row in it: no other row can be read, either.
fn is_of_database(error: &rusqlite::Error) -> bool {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, NotADatabase, PermissionDenied,
    };
    let codes = [CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, NotADatabase, PermissionDenied];
    error.sqlite_error_code().is_some_and(|code| codes.contains(&code))
}
