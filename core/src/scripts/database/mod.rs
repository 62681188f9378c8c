//! Scripts in tables of databases: a row for each, found by its name.
//!
//! Databases are only read. Identifiers are quoted and values are parameters, so that no name can be more than a name.

mod postgres;
mod sqlite;

use std::path::{Path, PathBuf};
use std::time::Duration;

use oxidag_database::Database;
use sha2::{Digest as _, Sha256};

use super::remote::Row;
use crate::plugins::Columns;

/// How long a database may keep scripts waiting, all tries included.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Why a row cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowError {
    pub(super) reason: String,
    /// The reason is the database's, and the same for all of its rows.
    pub(super) is_common: bool,
}

impl RowError {
    fn of_row(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_common: false }
    }

    fn of_database(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_common: true }
    }
}

/// What was found of a row.
pub(super) type Found = Result<Vec<u8>, RowError>;

/// Where a database is, for the keys of the cache: the same for all who mean the same scripts, and without a secret.
///
/// What else decides which scripts are found (who asks, in which schemas, in which columns) follows as a hash.
pub(super) fn place(url: &str, base: &Path, columns: &Columns) -> String {
    let (place, server) = match Database::parse(url, base) {
        Ok(Database::File(path)) => (format!("sqlite:{}", path.display()), None),
        Ok(Database::Postgres(server)) => (server.to_string(), Some(server)),
        Ok(Database::Memory) | Err(_) => return String::new(),
    };
    let asking = server.map(|server| {
        let config = &server.config;
        let user = config.get_user().map(str::to_owned).or_else(|| whoami::username().ok());
        format!("{user:?} {:?} {:?}", config.get_options(), config.get_hostaddrs())
    });
    let deciding = format!("{asking:?} {:?} {:?}", columns.name, columns.script);
    let hash: [u8; 32] = Sha256::digest(deciding).into();
    let short: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{place}#{short}")
}

/// The scripts of rows of one database, in their order.
pub(super) async fn read(url: String, base: PathBuf, columns: Columns, rows: Vec<Row>) -> Vec<Found> {
    let count = rows.len();
    let all = |error: RowError| vec![Err(error); count];
    let database = match Database::parse(&url, &base) {
        Ok(database) => database,
        Err(error) => return all(RowError::of_database(error.message)),
    };
    let work = async {
        match database {
            Database::File(path) => {
                // SQLite knows no waiting but that of a thread.
                let reading = tokio::task::spawn_blocking(move || sqlite::read(&path, &columns, &rows));
                reading.await.unwrap_or_else(|_| Err(RowError::of_database("the reading was broken off")))
            }
            Database::Postgres(server) => postgres::read(&server, &columns, &rows).await,
            Database::Memory => Err(RowError::of_database("a database in memory holds no scripts")),
        }
    };
    let silent = || {
        let reason = format!("the database did not answer within {} s", PATIENCE.as_secs());
        Err(RowError::of_database(reason))
    };
    let found = tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| silent());
    found.unwrap_or_else(all)
}

/// The text of the one row that there has to be.
fn only(mut texts: Vec<Option<Vec<u8>>>, row: &Row) -> Found {
    match (texts.pop(), texts.is_empty()) {
        (None, _) => Err(RowError::of_row(format!("the table {} has no script of this name", row.table))),
        (Some(_), false) => {
            Err(RowError::of_row(format!("the table {} has more than one script of this name", row.table)))
        }
        (Some(None), true) => Err(RowError::of_row("it is NULL")),
        (Some(Some(text)), true) if text.len() as u64 > super::LARGEST => {
            Err(RowError::of_row(format!("it is larger than {} MiB", super::LARGEST >> 20)))
        }
        (Some(Some(text)), true) => Ok(text),
    }
}

/// What asks for a row by its name. The columns of the script and of the name may be cast.
fn query(table: &str, columns: &Columns, parameter: &str, [script_cast, name_cast]: [&str; 2]) -> String {
    let table: Vec<String> = table.split('.').map(quoted).collect();
    let (script, name) = (quoted(&columns.script), quoted(&columns.name));
    let table = table.join(".");
    format!("SELECT {script}{script_cast} FROM {table} WHERE {name}{name_cast} = {parameter} LIMIT 2")
}

/// An identifier, whatever characters it has.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        Columns { name: "na\"me".to_owned(), script: "script".to_owned() }
    }

    #[test]
    fn identifiers_are_quoted() {
        let sql = query("etl.scr\"ipts", &columns(), "$1", ["::text", ""]);
        assert_eq!(sql, r#"SELECT "script"::text FROM "etl"."scr""ipts" WHERE "na""me" = $1 LIMIT 2"#);
    }

    #[test]
    fn who_may_see_other_scripts_has_other_keys() {
        let place = |url: &str, columns: &Columns| place(url, Path::new("/dags"), columns);
        let scripts = |url: &str| place(url, &columns());
        let one = scripts("postgres://ann:s3cret@h/d?options=-c%20search_path%3Done");
        let (server, hash) = one.split_once('#').unwrap();
        assert_eq!((server, hash.len()), ("postgres://h:5432/d", 16));
        assert_eq!(one, scripts("postgres://ann:other@h/d?connect_timeout=3&options=-c%20search_path%3Done"));
        let others = [
            scripts("postgres://bob:s3cret@h/d?options=-c%20search_path%3Done"),
            scripts("postgres://ann:s3cret@h/d?options=-c%20search_path%3Dtwo"),
            scripts("postgres://ann:s3cret@h/d"),
            scripts("postgres://h/d"),
        ];
        for (n, other) in others.iter().enumerate() {
            assert!(other != &one && !others[..n].contains(other), "{others:?}");
        }
        let other = Columns { name: "name".to_owned(), script: "script".to_owned() };
        assert_ne!(scripts("sqlite:a.db"), place("sqlite:a.db", &other));
        assert!(scripts("sqlite:a.db").starts_with("sqlite:/dags/a.db#"));
    }

    #[test]
    fn a_file_of_scripts_is_read_and_what_is_wrong_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let db = rusqlite::Connection::open(folder.path().join("a.db")).unwrap();
        db.execute_batch(
            "CREATE TABLE scripts (name TEXT, script);
             INSERT INTO scripts VALUES ('one', 'select 1'), ('two', 'a'), ('two', 'b'), ('none', NULL);
             INSERT INTO scripts VALUES ('latin', CAST(X'63616665e9' AS TEXT)), ('blob', X'73'), ('number', 1);",
        )
        .unwrap();
        let row = |table: &str, name: &str| Row {
            bucket: "A".to_owned(),
            table: table.to_owned(),
            name: name.to_owned(),
        };
        let columns = || Columns { name: "name".to_owned(), script: "script".to_owned() };
        let read = |url: &str, rows: &[Row]| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let work = read(url.to_owned(), folder.path().to_owned(), columns(), rows.to_vec());
            let found = runtime.block_on(work).into_iter();
            let shown = |found: Found| {
                found.map_or_else(
                    |error| format!("({}) {}", error.is_common, error.reason),
                    |text| String::from_utf8_lossy(&text).into_owned(),
                )
            };
            found.map(shown).collect::<Vec<_>>().join("\n").replace(folder.path().to_str().unwrap(), "DIR")
        };
        let rows = ["one", "two", "none", "latin", "blob", "number", "x' OR 'a'='a"]
            .map(|name| row("scripts", name));
        let missing = row("nowhere", "one");
        insta::assert_snapshot!(read("sqlite:a.db", &[rows.as_slice(), &[missing]].concat()), @"
        select 1
        (false) the table scripts has more than one script of this name
        (false) it is NULL
        cafe�
        s
        (false) it is no text
        (false) the table scripts has no script of this name
        (false) no such table: nowhere
        ");
        insta::assert_snapshot!(read("sqlite:b.db", &rows[..2]), @"
        (true) the database DIR/b.db does not exist
        (true) the database DIR/b.db does not exist
        ");
        assert!(!folder.path().join("b.db").exists(), "what is only read is not made");
        insta::assert_snapshot!(read("mysql://s3cret@h", &rows[..1]), @"(true) the database's URL is of no known kind: it must begin with `sqlite:` or `postgres://`");
        insta::assert_snapshot!(read("sqlite::memory:", &rows[..1]), @"(true) a database in memory holds no scripts");
    }
}
