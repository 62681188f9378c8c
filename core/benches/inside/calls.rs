//! What a call of an engine costs beyond its own work: from the task as JSON, through the ABI and back, to its end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use oxidag_core::engine::{Attempt, Engine, OnCancel};
use oxidag_core::plugins::Plugins;
use oxidag_plugin_api::Level;
use oxidag_plugin_api::abi::End;
use serde_json::{Value, json};

const CALLS: u32 = 200_000;

/// Counts ends, and does nothing else.
#[derive(Default)]
pub(crate) struct Counting {
    pub(crate) successes: AtomicU32,
}

impl Attempt for Counting {
    fn log(&self, _: Level, _: &str) {}
    fn progress(&self, _: f64, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
    fn on_cancel(&self, _: OnCancel) {}
    fn checkpoint(&self, _: Value) -> Result<(), String> {
        Ok(())
    }
    fn append(&self, _: Value) -> Result<(), String> {
        Ok(())
    }
    fn query(&self, _: Value) -> Result<Value, String> {
        Ok(Value::Null)
    }
    fn complete(&self, end: End) {
        if matches!(end, End::Outcome(_)) {
            self.successes.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A task as a run has it.
pub(crate) fn task() -> String {
    json!({
        "dag_id": "nightly", "run_id": "nightly-20261126T020000Z", "task_id": "load", "attempt": 1,
        "idempotency_key": "oxidag-0123456789abcdef0123456789abcdef",
        "script": {"text": "nothing", "name": "inline"}, "params": {}, "working_dir": "/srv/dags",
    })
    .to_string()
}

/// The nanoseconds of a call.
fn round(engine: &Engine, task: &str) -> Result<f64, String> {
    let attempt = Arc::<Counting>::default();
    let started = Instant::now();
    for _ in 0..CALLS {
        engine.run(task, true, Arc::clone(&attempt));
    }
    let took = started.elapsed();
    let successes = attempt.successes.load(Ordering::Relaxed);
    if successes != CALLS {
        return Err(format!("{} has ended {successes} of {CALLS} attempts well", engine.name()));
    }
    Ok(took.as_secs_f64() * 1e9 / f64::from(CALLS))
}

/// Takes engines whose `run` does nothing and prints, for each of them, a line of JSON with the nanoseconds of a call in each
/// round.
pub(crate) fn print(plugins: &Path, rounds: u32) -> Result<(), Box<dyn std::error::Error>> {
    let plugins = Plugins::load(Some(plugins), None, false)?;
    let task = task();
    for (name, config) in &plugins.engines {
        let engine = Engine::load(name, config)?;
        let nanoseconds: Result<Vec<f64>, String> = (0..rounds).map(|_| round(&engine, &task)).collect();
        println!("{}", json!({"engine": name, "nanoseconds": nanoseconds?}));
    }
    Ok(())
}
