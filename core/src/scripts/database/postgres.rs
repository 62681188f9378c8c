//! Scripts in a table on a PostgreSQL server.

use std::collections::HashMap;
use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::time::Instant;

use oxidag_database::Server;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Statement};

use super::super::remote::Row;
use super::{CONNECT, Found, RowError, only, query};
use crate::buckets::{FIRST_WAIT, LONGEST_WAIT, RETRY_TIME, root_cause};
use crate::plugins::Columns;

/// Why no row can be had.
struct Fault {
    error: RowError,
    may_pass: bool,
}

/// The scripts of these rows, over one connection; what may pass is tried again.
pub(super) async fn read(server: &Server, columns: &Columns, rows: &[Row]) -> Result<Vec<Found>, RowError> {
    let (begun, mut wait) = (Instant::now(), FIRST_WAIT);
    loop {
        match read_once(server, columns, rows).await {
            Ok(found) => return Ok(found),
            Err(fault) if !fault.may_pass || begun.elapsed() >= RETRY_TIME => return Err(fault.error),
            Err(_) => tokio::time::sleep(wait).await,
        }
        wait = LONGEST_WAIT.min(wait * 2);
    }
}

async fn read_once(server: &Server, columns: &Columns, rows: &[Row]) -> Result<Vec<Found>, Fault> {
    let fault = |reason, may_pass| {
        let error = RowError::of_database(format!("no connection to {server}: {reason}"));
        Fault { error, may_pass }
    };
    let failed = |error: Error| fault(root_cause(&error), may_pass(&error));
    let tls = server.connector().map_err(|error| fault(error.message, false))?;
    let mut config = server.config.clone();
    config.connect_timeout(config.get_connect_timeout().copied().unwrap_or(CONNECT).min(CONNECT));
    let (client, connection) = config.connect(tls).await.map_err(failed)?;
    // It ends when the client is dropped.
    tokio::spawn(connection);
    let mut statements = HashMap::new();
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        found.push(match read_row(&client, &mut statements, columns, row).await {
            Ok(texts) => only(texts, row),
            Err(error) if error.is_closed() || may_pass(&error) => return Err(failed(error)),
            Err(error) => Err(RowError::of_row(root_cause(&error))),
        });
    }
    Ok(found)
}

/// Whether the server may soon be there: nobody listens yet, it is starting or stopping, or has too much to do.
fn may_pass(error: &Error) -> bool {
    let away = [
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
    ];
    if let Some(code) = error.code() {
        return away.contains(code);
    }
    let io = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    error.is_closed()
        || matches!(
            io,
            Some(
                // A socket in the file system is not there before its server is.
                ErrorKind::NotFound
                    | ErrorKind::ConnectionRefused
                    | ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe
                    | ErrorKind::UnexpectedEof
                    | ErrorKind::TimedOut
                    | ErrorKind::HostUnreachable
                    | ErrorKind::NetworkUnreachable
            )
        )
}

async fn read_row<'a>(
    client: &Client,
    statements: &mut HashMap<&'a str, Statement>,
    columns: &Columns,
    row: &'a Row,
) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let table = row.table.as_str();
    let statement = match statements.get(table) {
        Some(statement) => statement.clone(),
        None => {
            let statement = prepare(client, columns, table).await?;
            statements.insert(table, statement.clone());
            statement
        }
    };
    let rows = client.query(&statement, &[&row.name]).await?;
    let is_bytes = is_bytes(&statement);
    let text = |row: &tokio_postgres::Row| match is_bytes {
        true => row.try_get(0),
        false => row.try_get::<_, Option<String>>(0).map(|text| text.map(String::into_bytes)),
    };
    rows.iter().map(text).collect()
}

/// Bytes are taken as they are; what is neither text nor bytes, and a name that is no text, by how it is written.
async fn prepare(client: &Client, columns: &Columns, table: &str) -> Result<Statement, Error> {
    let plain = client.prepare(&query(table, columns, "$1", ["", ""])).await?;
    let named_by_text = plain.params().first().is_some_and(<&str as ToSql>::accepts);
    let as_text = |is_right| if is_right { "" } else { "::text" };
    match [is_bytes(&plain), named_by_text] {
        [true, true] => Ok(plain),
        casts => client.prepare(&query(table, columns, "$1", casts.map(as_text))).await,
    }
}

fn is_bytes(statement: &Statement) -> bool {
    statement.columns().first().is_some_and(|column| *column.type_() == Type::BYTEA)
}
