//! What a run is asked for, and what comes of it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::message::Mailbox;
use super::report::Reporter;
use super::resumed::Resumed;
use crate::event::{Failure, TaskIdx, Timestamp};
use crate::prepare::Prepared;
use crate::state::RunState;
use crate::store::{NewRun, RunJournal, Store, StoreError};

/// What the runs of one process share.
pub struct Session<'a> {
    /// Where they are stored.
    pub store: &'a Store,
    /// `OXIDAG_HOME`, for the logs.
    pub home: PathBuf,
    /// The environment's name, if one was chosen.
    pub environment: Option<&'a str>,
    /// Its `plugins.toml`, if there is one.
    pub plugins: Option<&'a Path>,
    /// How many blocking tasks run at once.
    pub workers: u32,
    /// Where the runs are told to stop.
    pub mailbox: Mailbox,
}

/// One run.
pub struct RunRequest {
    /// What runs.
    pub prepared: Arc<Prepared>,
    /// The run's id.
    pub run_id: String,
    /// Who looks at it.
    pub reporter: Box<dyn Reporter>,
    /// Where it begins.
    pub start: Start,
}

/// Where a run begins.
#[derive(Debug)]
pub enum Start {
    /// At its beginning.
    New {
        /// Tasks that are skipped, and count as successes for what depends on them.
        left_out: Vec<TaskIdx>,
        /// Tasks that are skipped, as they were in an earlier run.
        skipped: Vec<TaskIdx>,
        /// What the tasks that are left out had left in an earlier run.
        results: HashMap<TaskIdx, Value>,
    },
    /// Where a scheduler that died left it.
    Resume {
        /// What that one had stored, read by the run's present owner.
        from: Box<Resumed>,
        /// The run's journal, which makes this process its owner.
        journal: RunJournal,
    },
}

impl Start {
    /// A run of all tasks.
    #[must_use]
    pub fn whole() -> Self {
        Self::New { left_out: Vec::new(), skipped: Vec::new(), results: HashMap::new() }
    }

    /// Nothing that follows may be earlier.
    pub(super) fn not_before(&self) -> Timestamp {
        match self {
            Self::New { .. } => Timestamp::default(),
            Self::Resume { from, .. } => from.latest,
        }
    }

    /// When the run began; the time is now unless it began earlier.
    pub(super) fn started_at(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::New { .. } => now,
            Self::Resume { from, .. } => from.started_at,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// The run's final state.
    pub state: RunState,
    /// Why the run itself could not go on, or was stopped.
    pub error: Option<Failure>,
    /// Something else that the user should know.
    pub remark: Option<String>,
}

/// Why a run could not begin. Nothing ran.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store refuses it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// What a run begins with, once it has its journal.
#[derive(Debug)]
pub(super) enum Opening {
    /// Nothing has run.
    New { left_out: Vec<TaskIdx>, skipped: Vec<TaskIdx>, results: HashMap<TaskIdx, Value> },
    /// Another scheduler has died over it.
    Resume(Box<Resumed>),
}

impl Start {
    /// The run's entry in the store, and the right to write to it.
    pub(super) fn begin(
        self,
        session: &Session<'_>,
        prepared: &Prepared,
        run_id: &str,
        started_at: Timestamp,
    ) -> Result<(RunJournal, Opening), StoreError> {
        let (left_out, skipped, results) = match self {
            Self::Resume { from, journal } => {
                if let Some(counts) = prepared.script_cache {
                    session.store.add_script_cache(run_id, counts)?;
                }
                return Ok((journal, Opening::Resume(from)));
            }
            Self::New { left_out, skipped, results } => (left_out, skipped, results),
        };
        let params = Value::Object(prepared.overrides().clone());
        let dag = &prepared.dag;
        // A run may be resumed from another folder.
        let absolute = |path: &Path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            path.display().to_string()
        };
        let journal = session.store.begin_run(NewRun {
            run_id,
            dag_id: &dag.dag_id,
            started_at,
            environment: session.environment,
            plugins: session.plugins.map(absolute).as_deref(),
            dag_path: &absolute(prepared.source.path()),
            dag_source: prepared.source.text(),
            params: &params,
            script_cache: prepared.script_cache,
            tasks: &mut dag.tasks.iter().map(|task| (&*task.task_id, &*task.script.engine)),
        })?;
        Ok((journal, Opening::New { left_out, skipped, results }))
    }
}
