//! A host for the unit tests of engines: it records what an engine tells it, moves the time that the engine waits by, cancels,
//! and lets the scheduler die. It runs nothing outside the test's process, and is no part of an engine that ships.
//!
//! With the feature `test`, among an engine's `dev-dependencies`:
//!
//! ```toml
//! [dev-dependencies]
//! oxidag-plugin-api = { version = "1.2", features = ["test"] }
//! ```
//!
//! What is tested is what ships: the engine is called through the functions of its ABI module, so payloads go through JSON and
//! panics become errors, as in oxidag.
//!
//! ```
//! use std::time::Duration;
//!
//! use oxidag_plugin_api::test::{TestEngine, task};
//! use oxidag_plugin_api::{Engine, ErrorKind, Host, NoConfig, Outcome, Result, Task};
//! use serde_json::json;
//!
//! /// Looks once a minute whether a job has ended; it takes three minutes.
//! struct Patient;
//!
//! impl Engine for Patient {
//!     type Config = NoConfig;
//!
//!     fn create(_: NoConfig) -> Result<Self> {
//!         Ok(Self)
//!     }
//!
//!     fn run(&self, task: Task, host: &Host) -> Result<Outcome> {
//!         if task.checkpoint.is_none() {
//!             host.checkpoint(&json!({"job": task.idempotency_key}))?;
//!         }
//!         for minute in 1..=3 {
//!             host.wait(Duration::from_secs(60))?;
//!             host.info(&format!("minute {minute}"));
//!         }
//!         Ok(Outcome::default())
//!     }
//! }
//!
//! let engine = TestEngine::new::<Patient>(json!({}))?;
//!
//! // Three minutes pass, and no time does.
//! let ended = engine.attempt(&task("")).run();
//! assert!(ended.result.is_ok());
//! assert_eq!(ended.seen.lines(), ["minute 1", "minute 2", "minute 3"]);
//!
//! // Step by step.
//! let attempt = engine.attempt(&task("")).start();
//! engine.advance(Duration::from_secs(60));
//! assert_eq!(attempt.seen().lines(), ["minute 1"]);
//! attempt.cancel();
//! assert_eq!(attempt.end().result.unwrap_err().kind, ErrorKind::Cancelled);
//!
//! // The scheduler dies once the checkpoint is stored; the next one goes on with it.
//! let resumed = engine.attempt(&task("")).crash_after_checkpoint(1).start().until_crash();
//! assert!(resumed.resumed);
//! let ended = engine.attempt(&resumed).run();
//! assert!(ended.seen.checkpoints.is_empty(), "it has a job already");
//! # Ok::<(), oxidag_plugin_api::Error>(())
//! ```
//!
//! # Time
//!
//! It stands still until the test moves it: by [`TestEngine::advance`], or to whatever the engine waits for in
//! [`Attempt::end`] and [`Start::run`]. It is the time of [`Host::wait`](crate::Host::wait) and, for asynchronous engines, of
//! `tokio::time`; the clocks of `std` are the machine's, and no test can move them. A clock that moves passes by what is under
//! way on a socket: an engine that talks to a server of the test, and gives its requests a time limit, is better moved from one
//! wait to the next, with [`Attempt::wait_for`] between.
//!
//! A thread that waits for something else than time (a channel, a child process) keeps a test that moves the time from knowing
//! when it is done. [`Attempt::cancel`] and [`Attempt::time_out`] need no time; [`TestEngine::advance`] says so and fails.
//!
//! # Crashes
//!
//! Everything in the engine ends: its asynchronous tasks, and each of its threads at its next call of [`Host`](crate::Host).
//! Unlike in a real crash, destructors run and what stands in a `static` stays.

mod attempt;
#[cfg(feature = "async")]
mod driver;
mod engine;
mod vtable;
mod world;

pub use attempt::{Attempt, Ended, Progress, Seen, Start};
pub use engine::TestEngine;
pub(crate) use vtable::{Context, context_of};

use crate::task::{Script, Task};

/// A task with this script, to be changed as the test needs it: attempt 1 of `task` in a run of the DAG `test`, without parameters.
#[must_use]
pub fn task(script: &str) -> Task {
    Task {
        dag_id: "test".to_owned(),
        run_id: "test-run".to_owned(),
        task_id: "task".to_owned(),
        attempt: 1,
        idempotency_key: "test-key".to_owned(),
        script: Script { text: script.to_owned(), name: "inline".to_owned(), path: None, uri: None },
        params: serde_json::Map::new(),
        connections: Vec::new(),
        working_dir: std::env::temp_dir(),
        checkpoint: None,
        resumed: false,
    }
}
