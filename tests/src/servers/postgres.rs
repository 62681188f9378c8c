//! PostgreSQL by the system's programs.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::INSTALL;
use super::kept::{Kept, Manner};

/// Part of the server's URL, so that a test can look whether it is told anywhere.
pub const PASSWORD: &str = "s3cret-pass";

/// Makes the database in `$1` by the programs in `$0`, and becomes the server at port `$2`.
const START: &str = r#"
umask 077
printf '%s' "$PGPASSWORD" >"$1/password" &&
"$0/initdb" -D "$1/data" -U tester --pwfile "$1/password" --no-sync -E UTF8 --locale C --auth scram-sha-256 >&2 &&
exec "$0/postgres" -D "$1/data" -p "$2" -k "$1" -c listen_addresses=127.0.0.1 -c fsync=off -c lc_messages=C
"#;

/// The server.
#[derive(Debug)]
pub struct Postgres {
    server: Kept,
}

impl Postgres {
    /// The one that all tests of this process share.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let programs = programs();
        let command = |folder: &Path, port: u16| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", START]).arg(&programs).arg(folder).arg(port.to_string());
            command.env("PGPASSWORD", PASSWORD);
            // It refuses to run as root. The folder is the test's own.
            let root = std::fs::metadata(folder).is_ok_and(|folder| folder.uid() == 0);
            Manner { command, signal: "QUIT", user: root.then_some("postgres") }
        };
        let ready = |server: &Kept| execute(&programs, server, "select 1").is_ok();
        let server = Kept::start("PostgreSQL", command, ready);
        Self { server }
    }

    /// The URL of its database, with user and password.
    #[must_use]
    pub fn url(&self) -> String {
        url(&self.server)
    }

    /// Runs statements; returns the rows, one a line, values apart by `|`.
    ///
    /// # Panics
    ///
    /// When one fails.
    #[track_caller]
    pub fn execute(&self, sql: &str) -> String {
        execute(&programs(), &self.server, sql).unwrap_or_else(|why| panic!("{sql}: {why}"))
    }
}

fn url(server: &Kept) -> String {
    format!("postgres://tester:{PASSWORD}@127.0.0.1:{}/postgres", server.port())
}

fn execute(programs: &Path, server: &Kept, sql: &str) -> Result<String, String> {
    let mut psql = Command::new(programs.join("psql"));
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &url(server), "-c", sql]);
    let output = psql.output().map_err(|e| e.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The folder of the newest server that is installed.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    installed
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).exists()))
        .max_by_key(|folder| {
            let version = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
            version.and_then(|version| version.parse::<u32>().ok())
        })
        .unwrap_or_else(|| panic!("there is no PostgreSQL server; {INSTALL}"))
}
