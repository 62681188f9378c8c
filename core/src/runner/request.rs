//! What a run is asked for, and what comes of it.

use std::io;
use std::path::PathBuf;

use serde_json::Value;

use super::message::Mailbox;
use super::report::Reporter;
use crate::event::{Failure, FailureKind, Timestamp};
use crate::prepare::Prepared;
use crate::state::RunState;
use crate::store::{NewRun, RunJournal, Store, StoreError};

/// What a run needs besides the prepared DAG.
pub struct RunRequest<'a> {
    /// Where the run is stored.
    pub store: &'a Store,
    /// `OXIDAG_HOME`, for the logs.
    pub home: PathBuf,
    /// The run's id.
    pub run_id: String,
    /// The environment's name, if one was chosen.
    pub environment: Option<&'a str>,
    /// How many blocking tasks run at once.
    pub workers: u32,
    /// Where the run is told to stop.
    pub mailbox: Mailbox,
    /// Who looks at it.
    pub reporter: Box<dyn Reporter>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// The run's final state.
    pub state: RunState,
    /// Why the run itself could not go on.
    pub error: Option<Failure>,
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

impl RunEnd {
    /// The run could not be brought to its end as it should; the first reason is kept.
    pub(super) fn fail(&mut self, message: String) {
        self.state = RunState::Failed;
        self.error.get_or_insert(Failure { kind: FailureKind::Failed, message });
    }
}

/// The run's entry in the store, and the right to write to it.
pub(super) fn begin(
    prepared: &Prepared,
    request: &RunRequest<'_>,
    started_at: Timestamp,
) -> Result<RunJournal, StoreError> {
    let params = Value::Object(prepared.overrides().clone());
    let dag = &prepared.dag;
    request.store.begin_run(NewRun {
        run_id: &request.run_id,
        dag_id: &dag.dag_id,
        started_at,
        environment: request.environment,
        dag_path: &prepared.source.path().display().to_string(),
        dag_source: prepared.source.text(),
        params: &params,
        tasks: &mut dag.tasks.iter().map(|task| (task.task_id.as_str(), &*task.script.engine)),
    })
}
