//! Livy, by the stand-in in `tests/livy`.

use std::process::Command;

use serde_json::{Value, json};

use super::gcs::Gcs;
use super::http::{answers, call, post_json};
use super::kept::Kept;
use super::python;

/// The server.
#[derive(Debug)]
pub struct Livy {
    server: Kept,
}

impl Livy {
    /// One of a test's own. It asks for this user, `name:password`, or lets everybody in.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start(user: Option<&str>) -> Self {
        let storage = Gcs::shared().url();
        let command = |_: &_, port: u16| {
            let mut command = Command::new(python());
            command.arg(crate::root().join("tests/livy/livy.py"));
            command.args(["--port", &port.to_string(), "--storage", &storage]);
            command.args(user.iter().flat_map(|user| ["--user", user]));
            command
        };
        let ready = |server: &Kept| answers(&format!("{}/_fake/ledger", url(server)));
        Self { server: Kept::start("the stand-in for Livy", command, ready) }
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        url(&self.server)
    }

    /// Has the next calls of a method (`POST /batches`, `GET /batches/ID`) fail: `429`, `503`, `reset`, `lost_reply`.
    ///
    /// # Panics
    ///
    /// When it refuses.
    #[track_caller]
    pub fn fault(&self, method: &str, fault: &str, times: u32) {
        let told = json!({"method": method, "fault": fault, "times": times});
        post_json(&format!("{}/_fake/faults", self.url()), &told);
    }

    /// No call fails any more.
    ///
    /// # Panics
    ///
    /// When it refuses.
    #[track_caller]
    pub fn mend(&self) {
        post_json(&format!("{}/_fake/mend", self.url()), &json!({}));
    }

    /// Whether batches that run go on after their script has ended.
    ///
    /// # Panics
    ///
    /// When it refuses.
    #[track_caller]
    pub fn hold(&self, hold: bool) {
        post_json(&format!("{}/_fake/settings", self.url()), &json!({"hold": hold}));
    }

    /// All that was asked of it, and what there is.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn ledger(&self) -> Value {
        call("GET", &format!("{}/_fake/ledger", self.url()), &[], &[]).json()
    }
}

fn url(server: &Kept) -> String {
    format!("http://127.0.0.1:{}", server.port())
}
