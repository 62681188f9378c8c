//! Which database a URL names, and how a PostgreSQL server is reached. Passwords stay inside: nothing here shows one.
//!
//! What the `sql` engine and the location `database` have in common; a connection means the same to both.

mod server;
mod tls;

use std::path::{Path, PathBuf};

use oxidag_plugin_api::{Error, Result};

pub use server::Server;

/// A database, not opened yet.
#[derive(Debug)]
pub enum Database {
    /// A file, by its absolute path.
    File(PathBuf),
    /// One that exists for this task alone.
    Memory,
    /// On a PostgreSQL server.
    Postgres(Box<Server>),
}

impl Database {
    /// Reads a `sqlite:` or `postgres://` URL; paths in it are relative to `base`.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL, without the URL itself.
    pub fn parse(url: &str, base: &Path) -> Result<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(Box::new(Server::parse(url, base)?)));
        }
        let Some(path) = url.strip_prefix("sqlite:") else {
            return Err(Error::invalid(
                "the database's URL is of no known kind: it must begin with `sqlite:` or `postgres://`",
            ));
        };
        if path == ":memory:" {
            return Ok(Self::Memory);
        }
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.ends_with('/') {
            return Err(Error::invalid(
                "the database's URL names no file: write `sqlite:FILE`, or `sqlite::memory:` for none",
            ));
        }
        if path.contains(['?', '\0']) {
            return Err(Error::invalid(format!(
                "`sqlite:` is followed by the path of a file alone, without options: {path:?}"
            )));
        }
        Ok(Self::File(base.join(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(url: &str) -> PathBuf {
        match Database::parse(url, Path::new("/dags")).unwrap() {
            Database::File(path) => path,
            other => panic!("{url} is {other:?}"),
        }
    }

    #[test]
    fn a_sqlite_path_is_relative_to_the_dag_files_folder() {
        assert_eq!(file("sqlite:out/a.db"), Path::new("/dags/out/a.db"));
        assert_eq!(file("sqlite://a.db"), Path::new("/dags/a.db"));
        assert_eq!(file("sqlite:/var/a.db"), Path::new("/var/a.db"));
        assert_eq!(file("sqlite:///var/a.db"), Path::new("/var/a.db"));
        assert!(matches!(Database::parse("sqlite::memory:", Path::new("/")), Ok(Database::Memory)));
    }

    #[test]
    fn an_unknown_kind_is_refused_without_being_shown() {
        for url in ["mysql://u:secret@h/d", "u:secret@h", "", "SQLITE:a"] {
            let error = Database::parse(url, Path::new("/")).unwrap_err();
            assert!(error.message.contains("no known kind") && !error.message.contains("secret"), "{error}");
        }
        for url in ["sqlite:", "sqlite://", "sqlite:a/"] {
            assert!(Database::parse(url, Path::new("/")).unwrap_err().message.contains("names no file"));
        }
        let options = Database::parse("sqlite:a.db?mode=ro", Path::new("/")).unwrap_err();
        assert!(options.message.contains("without options"), "{options}");
    }
}
