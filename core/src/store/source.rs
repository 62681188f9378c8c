//! The texts of DAG files: packed by LZ4, since they are long and repeat themselves, each once for all runs of it.
//!
//! A packed text is its length in bytes (4, little-endian) and one LZ4 block. Databases that are older than the seventh schema
//! have texts as they are.

use lz4_flex::block::{compress_prepend_size, decompress_size_prepended};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Error, OptionalExtension, Row, Transaction, params};

/// Packs a text. That takes a while: do it before the database is locked.
pub(super) fn pack(text: &str) -> Vec<u8> {
    compress_prepend_size(text.as_bytes())
}

/// The key of the DAG file's packed text; the DAG's newest run most often has the same.
pub(super) fn key(tx: &Transaction<'_>, dag_id: &str, packed: &[u8]) -> rusqlite::Result<i64> {
    let newest = "SELECT source_key FROM sources WHERE text = ?2 AND source_key =
        (SELECT source_key FROM runs WHERE dag_id = ?1 ORDER BY started_at DESC, run_key DESC LIMIT 1)";
    let newest = tx.query_row(newest, params![dag_id, packed], |row| row.get(0));
    if let Some(key) = newest.optional()? {
        return Ok(key);
    }
    tx.execute("INSERT INTO sources (text) VALUES (?1)", [packed])?;
    Ok(tx.last_insert_rowid())
}

/// The text in a column.
pub(super) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    let wrong = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::FromSqlConversionFailure(column, Type::Blob, error)
    };
    match row.get_ref(column)? {
        ValueRef::Blob(packed) => {
            let text = decompress_size_prepended(packed).map_err(|error| wrong(error.into()))?;
            String::from_utf8(text).map_err(|error| wrong(error.into()))
        }
        _ => row.get(column),
    }
}
