//! What the kit and the process of a check tell each other: JSON, a value a line, over a socket in the place of standard input,
//! so that standard output is the engine's alone.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Cases, Check, Verdict};

/// What a process is to check.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) check: Check,
    /// The library's file, absolute.
    pub(super) library: PathBuf,
    pub(super) cases: Cases,
    /// The folder that tasks run in.
    pub(super) folder: PathBuf,
    /// So long the process has for the check.
    pub(super) timeout: Duration,
    /// So long an attempt has to end once its time is up.
    pub(super) grace: Duration,
    /// Different for each call of the kit, the same for both processes of a crash.
    pub(super) nonce: String,
    /// After a crash: the attempt is to be taken up.
    pub(super) resume: Option<Resume>,
}

/// What a scheduler that died had stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Resume {
    pub(super) checkpoint: Option<Value>,
}

/// What the process tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// It is where it wants to be killed, and this is stored.
    KillMe(Resume),
    /// It has made the check.
    Verdict(Verdict),
}

/// Sends a value.
pub(super) fn send(mut socket: &UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    socket.write_all(&line)
}
