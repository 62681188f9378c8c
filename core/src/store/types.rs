//! What the store tells about runs, and the JSON that `runs list` and `runs show` print: a public shape.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::cache::CacheCounts;
use crate::event::{Failure, Timestamp};
use crate::growth::Cause;
use crate::state::{RunState, TaskState};

/// A run that begins.
pub struct NewRun<'a> {
    /// 1 to 128 letters, digits, `_`, `-` and `.`.
    pub run_id: &'a str,
    /// The DAG's name.
    pub dag_id: &'a str,
    /// When.
    pub started_at: Timestamp,
    /// The `--env` that was chosen.
    pub environment: Option<&'a str>,
    /// Its `plugins.toml`, if there is one.
    pub plugins: Option<&'a str>,
    /// The DAG file's path.
    pub dag_path: &'a str,
    /// The DAG file's text, for a later resume.
    pub dag_source: &'a str,
    /// The run's parameters; secrets do not belong here.
    pub params: &'a Value,
    /// How often it found its scripts in the script cache, where it asked.
    pub script_cache: Option<CacheCounts>,
    /// Task id and engine of every task, in the graph's order.
    pub tasks: &'a mut dyn Iterator<Item = (&'a str, &'a str)>,
}

/// Which runs to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFilter {
    /// Only runs of this DAG.
    pub dag_id: Option<String>,
    /// Only runs in this state.
    pub state: Option<RunState>,
    /// Only runs that started at that time or later.
    pub since: Option<Timestamp>,
    /// At most this many.
    pub limit: u32,
}

impl Default for RunFilter {
    fn default() -> Self {
        Self { dag_id: None, state: None, since: None, limit: 50 }
    }
}

/// A run in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunHead {
    /// The run.
    pub run_id: String,
    /// The DAG it executes.
    pub dag_id: String,
    /// `running` also where the owner died.
    pub state: RunState,
    /// When it began.
    #[serde(serialize_with = "time")]
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(serialize_with = "optional_time")]
    pub finished_at: Option<Timestamp>,
    /// It was not ended, and no living process owns it.
    pub interrupted: bool,
    /// The living process that owns it.
    pub owner: Option<u32>,
    /// Why the run itself could not go on.
    pub error: Option<Failure>,
    /// Why its last events are not known here: they are in its journal, which could not be brought into the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// All there is to know about a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunDetails {
    /// The run.
    #[serde(flatten)]
    pub head: RunHead,
    /// The `--env` that was chosen.
    pub environment: Option<String>,
    /// The `plugins.toml` that it began with.
    pub plugins: Option<String>,
    /// The DAG file's path.
    pub dag_path: String,
    /// The DAG file's text; not part of the JSON.
    #[serde(skip)]
    pub dag_source: String,
    /// The run's parameters.
    pub params: Value,
    /// How often it found its scripts in the script cache, where it asked.
    pub script_cache: Option<CacheCounts>,
    /// The tasks, in the graph's order: those of the DAG file, then those that were added.
    pub tasks: Vec<TaskDetails>,
    /// How the graph has grown, in order; not part of the JSON, which says of each task from which it grew.
    #[serde(skip)]
    pub growth: Vec<StoredGrowth>,
}

/// What was added to a run at once.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredGrowth {
    /// When.
    pub ts: Timestamp,
    /// The number of the first new task.
    pub first: u32,
    /// How many there are.
    pub count: u32,
    /// Why.
    pub cause: Cause,
}

impl RunDetails {
    /// How many tasks are in each state, without the states in which there are none.
    #[must_use]
    pub fn counts(&self) -> Vec<(TaskState, usize)> {
        let mut counts = TaskState::ALL.map(|state| (state, 0));
        for task in &self.tasks {
            counts[task.state as usize].1 += 1;
        }
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

/// A task of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskDetails {
    /// The task.
    pub task_id: String,
    /// The task from which it grew, where it was added while the run went on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grown_from: Option<String>,
    /// The engine that runs it.
    pub engine: String,
    /// Its state.
    pub state: TaskState,
    /// When it last became ready to start; not known of runs of older versions.
    #[serde(serialize_with = "optional_time")]
    pub scheduled_at: Option<Timestamp>,
    /// When its first attempt began.
    #[serde(serialize_with = "optional_time")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(serialize_with = "optional_time")]
    pub finished_at: Option<Timestamp>,
    /// Why it is not a success, or why it is tried again.
    pub error: Option<Failure>,
    /// Its small JSON result.
    pub result: Option<Value>,
    /// Its attempts, from the first.
    pub attempts: Vec<AttemptDetails>,
}

/// An attempt of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptDetails {
    /// From 1.
    pub attempt: u32,
    /// `running` or `deferred`, then how it ended; `failed` also where another attempt follows.
    pub state: TaskState,
    /// When its task became ready to start: from then on it waited. Not known of runs of older versions.
    #[serde(serialize_with = "optional_time")]
    pub scheduled_at: Option<Timestamp>,
    /// When it began.
    #[serde(serialize_with = "time")]
    pub started_at: Timestamp,
    /// When it first went on without a worker, waiting for a remote job.
    #[serde(serialize_with = "optional_time")]
    pub deferred_at: Option<Timestamp>,
    /// When it ended.
    #[serde(serialize_with = "optional_time")]
    pub finished_at: Option<Timestamp>,
    /// Why it did not succeed.
    pub error: Option<Failure>,
    /// What the engine measured.
    pub metrics: Option<Value>,
    /// How the engine finds its remote job again.
    pub checkpoint: Option<Value>,
}

/// How long tasks of a DAG took in the past, in seconds: medians of successful attempts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Durations {
    /// By task id.
    pub by_task: HashMap<String, f64>,
    /// By engine, over all of its tasks in this DAG.
    pub by_engine: HashMap<String, f64>,
}

/// 9999-12-31T23:59:59.999999Z: later, as earlier than 1970, RFC 3339 knows no time.
const LAST: u64 = 253_402_300_799_999_999;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn time<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    let micros = u64::try_from(time.0).unwrap_or(0).min(LAST);
    let time = UNIX_EPOCH + Duration::from_micros(micros);
    to.collect_str(&humantime::format_rfc3339_micros(time))
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
fn optional_time<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => time(at, to),
        None => to.serialize_none(),
    }
}
