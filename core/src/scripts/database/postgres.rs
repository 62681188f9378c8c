//! Scripts in a table on a PostgreSQL server.

use oxidag_database::Server;
use tokio_postgres::{Client, Error};

use super::super::remote::Row;
use super::{CONNECT, Found, RowError, only, query};
use crate::buckets::root_cause;
use crate::plugins::Columns;

/// The scripts of these rows, over one connection.
pub(super) async fn read(server: &Server, columns: &Columns, rows: &[Row]) -> Result<Vec<Found>, RowError> {
    let failed = |reason| RowError::of_database(format!("no connection to {server}: {reason}"));
    let tls = server.connector().map_err(|error| failed(error.message))?;
    let mut config = server.config.clone();
    config.connect_timeout(config.get_connect_timeout().copied().unwrap_or(CONNECT).min(CONNECT));
    let (client, connection) = config.connect(tls).await.map_err(|error| failed(root_cause(&error)))?;
    // It ends when the client is dropped.
    tokio::spawn(connection);
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        found.push(match read_row(&client, columns, row).await {
            Ok(texts) => only(texts, row),
            Err(error) if error.is_closed() => return Err(failed(root_cause(&error))),
            Err(error) => Err(RowError::of_row(root_cause(&error))),
        });
    }
    Ok(found)
}

async fn read_row(client: &Client, columns: &Columns, row: &Row) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let rows = client.query(&query(&row.table, columns, "$1", "::text"), &[&row.name]).await?;
    let text = |row: &tokio_postgres::Row| row.try_get::<_, Option<String>>(0);
    rows.iter().map(|row| Ok(text(row)?.map(String::into_bytes))).collect()
}
