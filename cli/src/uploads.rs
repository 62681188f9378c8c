//! Logs that are uploaded while runs go on: told of by the runs' events, and waited for at the end.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oxidag_core::event::{Event, EventKind};
use oxidag_core::logs::{RunLogs, RunUploads, Uploader};
use oxidag_core::runner::Reporter;
use oxidag_core::state::RunState;

use crate::args::Format;
use crate::names::Names;
use crate::{report, settings};

/// How long the end of the process waits for them.
const PATIENCE: Duration = Duration::from_secs(45);

/// The logs of all runs of this process.
pub(crate) struct Uploads<'a> {
    /// `None` where logs stay on disk.
    uploader: Option<&'a Uploader>,
    runs: Vec<Arc<RunUploads>>,
}

impl<'a> Uploads<'a> {
    pub(crate) fn new(uploader: Option<&'a Uploader>) -> Self {
        Self { uploader, runs: Vec::new() }
    }

    /// The reporter of a run, which has its logs uploaded besides; `goes_on` after a process of it has died.
    pub(crate) fn watch(
        &mut self,
        inner: Box<dyn Reporter>,
        (dag_id, run_id): (&str, &str),
        names: Names,
        goes_on: bool,
    ) -> Box<dyn Reporter> {
        let Some(uploader) = self.uploader else { return inner };
        let logs = Arc::new(uploader.of_run(RunLogs::new(&settings::home(), dag_id, run_id)));
        self.runs.push(Arc::clone(&logs));
        Box::new(Watching { inner, logs, names, goes_on })
    }

    /// Each run's, for whoever ends the waiting.
    pub(crate) fn of_runs(&self) -> Vec<Arc<RunUploads>> {
        self.runs.clone()
    }

    /// Waits for what is under way, and tells what was not uploaded.
    pub(crate) fn finish(self, format: Format) {
        let until = Instant::now() + PATIENCE;
        for logs in self.runs {
            if let Some(missed) = logs.finish(until.saturating_duration_since(Instant::now())) {
                report::missed_logs(format, &missed);
            }
        }
    }
}

/// Hands every event on, and has logs uploaded that are whole.
struct Watching {
    inner: Box<dyn Reporter>,
    logs: Arc<RunUploads>,
    names: Names,
    goes_on: bool,
}

impl Reporter for Watching {
    fn wants_logs(&self) -> bool {
        self.inner.wants_logs()
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        match &event.kind {
            EventKind::TaskState { task, attempt, end: Some(_), .. } if *attempt > 0 => {
                self.logs.attempt(self.names.get(*task), *attempt);
            }
            // What the process that died had not uploaded.
            EventKind::RunState { state: RunState::Running, .. } if std::mem::take(&mut self.goes_on) => {
                let graph = &self.names.graph;
                _ = self.logs.all_of(graph.tasks().map(|task| graph.name(task)));
            }
            EventKind::Grown(growth) => self.names.grow(growth),
            EventKind::RunState { state: RunState::Running, .. } => {}
            EventKind::RunState { .. } => self.logs.run(),
            _ => {}
        }
        self.inner.event(event)
    }

    fn idle(&mut self) -> io::Result<()> {
        self.inner.idle()
    }
}
