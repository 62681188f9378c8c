//! `oxidag runs logs`.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use oxidag_core::logs::RunLogs;
use oxidag_core::store::{RunDetails, TaskDetails};

use super::runs;
use crate::format::count;
use crate::{output, settings};

pub(super) fn logs(run: &str, task: Option<&str>, attempt: Option<u32>) -> anyhow::Result<()> {
    let (_, run) = runs::find(run)?;
    let logs = RunLogs::new(&settings::home(), &run.head.dag_id, &run.head.run_id);
    let Some(task) = task else {
        let what = format!("the run {} has no log", run.head.run_id);
        return print(&logs.run(), &what);
    };
    let task = find(&run, task)?;
    let Some(last) = task.attempts.last() else {
        output::remark(format_args!("task {} was not started (state {})", task.task_id, task.state));
        return Ok(());
    };
    let attempt = attempt.unwrap_or(last.attempt);
    if !task.attempts.iter().any(|known| known.attempt == attempt) {
        bail!(
            "task {} has no attempt {attempt}: it made {}",
            task.task_id,
            count(task.attempts.len(), "attempt")
        );
    }
    let what = format!("task {} left no log in attempt {attempt}", task.task_id);
    print(&logs.attempt(&task.task_id, attempt), &what)
}

fn find<'a>(run: &'a RunDetails, task_id: &str) -> anyhow::Result<&'a TaskDetails> {
    let found = run.tasks.iter().find(|task| task.task_id == task_id);
    found.with_context(|| {
        format!(
            "run {0} has no task {1}; `oxidag runs show {0}` lists its tasks",
            run.head.run_id,
            oxidag_core::spec::quote(task_id)
        )
    })
}

/// Copies a log as it is.
fn print(path: &Path, without: &str) -> anyhow::Result<()> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            output::remark(without);
            return Ok(());
        }
        opened => opened.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let mut stdout = io::stdout().lock();
    io::copy(&mut file, &mut stdout).with_context(|| format!("cannot print {}", path.display()))?;
    stdout.flush().context("cannot print the log")
}
