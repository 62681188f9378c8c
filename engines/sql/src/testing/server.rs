//! One real PostgreSQL server for all tests of this binary, made from the system's programs.
//!
//! It lives in a folder of its own and ends with the tests, however they end: its shell reads from a pipe
//! that closes with this process, then stops the server and removes the folder.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

const START_TIMEOUT: Duration = Duration::from_secs(60);
pub(crate) const PASSWORD: &str = "s3cret-pass";

/// Runs the server named by `$1` and the rest until the pipe closes, then cleans up `$0`; what ends the tests must not end it before.
const KEEPER: &str =
    r#"trap '' HUP INT TERM; "$@" >"$0/log" 2>&1 & read -r _; kill -QUIT $!; wait $!; rm -rf "$0""#;

pub(crate) struct Server {
    /// Holds the certificates, the socket and the log.
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    /// Its end of the pipe stays open as long as this process lives.
    _keeper: Child,
}

static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

/// The server, ready to be connected to.
pub(crate) fn server() -> &'static Server {
    &SERVER
}

impl Server {
    fn start() -> Self {
        let programs = programs();
        let folder = tempfile::Builder::new().prefix("oxidag-postgres-").tempdir().unwrap().keep();
        // The server refuses to run as root.
        let root = std::fs::metadata(&folder).unwrap().uid() == 0;
        std::fs::write(folder.join("password"), PASSWORD).unwrap();
        write_certificates(&folder);
        if root {
            run(Command::new("chown").args(["-R", "postgres:postgres"]).arg(&folder));
        }
        let as_server = |program: &str| {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "QUIT"]);
            if root {
                command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
            }
            command.arg(programs.join(program)).current_dir(&folder);
            command
        };
        run(as_server("initdb")
            .args(["-D", "data", "-U", "tester", "--pwfile", "password", "--no-sync", "-E", "UTF8"])
            .args(["--locale", "C", "--auth-local", "trust", "--auth-host", "scram-sha-256"]));
        let port = free_port();
        let mut postgres = as_server("postgres");
        postgres.args(["-D", "data", "-p", &port.to_string(), "-k"]).arg(&folder);
        for setting in [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "ssl=on",
            "ssl_cert_file=../server.pem",
            "ssl_key_file=../server.key",
            "deadlock_timeout=100ms",
            "lc_messages=C",
        ] {
            postgres.args(["-c", setting]);
        }
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER]).arg(&folder).arg(postgres.get_program()).args(postgres.get_args());
        let keeper = keeper.current_dir(&folder).stdin(Stdio::piped()).spawn().unwrap();
        let server = Self { folder, port, _keeper: keeper };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let started = Instant::now();
        loop {
            match crate::testing::run(
                &self.folder,
                "select 1",
                serde_json::json!({"url": self.url("postgres")}),
            ) {
                Ok(_) => return,
                Err(error) if started.elapsed() > START_TIMEOUT => {
                    let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                    panic!("the server does not start: {error}\n{log}")
                }
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// The URL of a database, through the socket and without a password.
    pub(crate) fn url(&self, database: &str) -> String {
        let folder = self.folder.to_str().unwrap().replace('/', "%2F");
        format!("postgres://tester@{folder}:{}/{database}", self.port)
    }

    /// The URL of a database, through the network and with a password.
    pub(crate) fn tcp_url(&self, options: &str) -> String {
        format!("postgres://tester:{PASSWORD}@127.0.0.1:{}/postgres{options}", self.port)
    }

    /// A database of one test's own, by its URL.
    pub(crate) fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let params = serde_json::json!({"url": self.url("postgres"), "transaction": false});
        crate::testing::run(&self.folder, &format!("create database {name}"), params).unwrap();
        self.url(&name)
    }
}

/// The folder of the newest server that is installed.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    installed
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
        .max_by_key(|folder| {
            let version = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
            version.and_then(|version| version.parse::<u32>().ok())
        })
        .expect("these tests need a PostgreSQL server; install with: apt-get install postgresql")
}

/// An authority, and a certificate of it for the host `db.test`.
fn write_certificates(folder: &Path) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(folder.join("ca.pem"), authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["db.test".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    run(Command::new("chmod").arg("600").arg(folder.join("server.key")));
}

/// A port that nothing listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
