//! Cloud functions by Google's `functions-framework`.

use std::path::Path;
use std::process::Command;

use super::http::answers;
use super::kept::Kept;
use super::python_program;

/// A function that is served; it ends when dropped.
#[derive(Debug)]
pub struct Functions {
    server: Kept,
}

/// Serves a function of a Python source: a file, or a folder with a `main.py`.
///
/// # Panics
///
/// When it does not start.
#[must_use]
pub fn start(source: &Path, target: &str) -> Functions {
    let source = if source.is_dir() { source.join("main.py") } else { source.to_path_buf() };
    let command = |_: &_, port: u16| {
        let mut command = Command::new(python_program("functions-framework"));
        command.arg("--source").arg(&source).args(["--target", target, "--host", "127.0.0.1"]);
        command.args(["--port", &port.to_string()]).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    // Answered by the framework itself, without a call of the function.
    let ready = |server: &Kept| answers(&format!("{}/robots.txt", url(server)));
    Functions { server: Kept::start("functions-framework", command, ready) }
}

impl Functions {
    /// Where it is called, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        url(&self.server)
    }

    /// Ends it.
    pub fn stop(&self) {
        self.server.stop();
    }
}

fn url(server: &Kept) -> String {
    format!("http://127.0.0.1:{}", server.port())
}
