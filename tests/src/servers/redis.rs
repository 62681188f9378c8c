//! Redis by `redis-server`.

use std::process::Command;

use super::kept::Kept;
use super::on_path;

/// A server of a test's own; it ends when dropped.
#[derive(Debug)]
pub struct Redis {
    server: Kept,
}

impl Redis {
    /// Starts one that keeps nothing on disk.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let command = |_: &_, port: u16| {
            let mut command = Command::new(on_path("redis-server"));
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
            command
        };
        let ready = |server: &Kept| cli(server, &["ping"]).is_ok_and(|said| said.trim() == "PONG");
        Self { server: Kept::start("redis-server", command, ready) }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.server.port())
    }

    /// What it answers to a command.
    ///
    /// # Panics
    ///
    /// When it cannot be reached.
    #[track_caller]
    pub fn cli(&self, words: &[&str]) -> String {
        cli(&self.server, words).unwrap_or_else(|why| panic!("redis-cli {words:?}: {why}"))
    }

    /// Ends it; its address stays its own.
    pub fn stop(&self) {
        self.server.stop();
    }
}

fn cli(server: &Kept, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new(on_path("redis-cli"));
    command.args(["-h", "127.0.0.1", "-p", &server.port().to_string()]).args(words);
    let output = command.output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(said) } else { Err(format!("{said}{wrong}")) }
}
