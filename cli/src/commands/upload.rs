//! `oxidag runs upload`: puts the logs of a run that has ended into the bucket, whether they are there already or not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use oxidag_core::logs::RunLogs;
use oxidag_core::state::RunState;

use super::runs;
use crate::args::EnvironmentArgs;
use crate::format::count;
use crate::{output, settings};

/// Nothing records what an earlier process has uploaded, so it is all of the run's logs.
pub(super) fn upload(run: &str, mut environment: EnvironmentArgs) -> anyhow::Result<()> {
    let (_, run) = runs::find(run)?;
    let run_id = &run.head.run_id;
    if run.head.state == RunState::Running {
        match run.head.interrupted {
            true => bail!("the run {run_id} was interrupted; `oxidag resume {run_id}` uploads its logs"),
            false => bail!("the run {run_id} is still going on and uploads its logs itself"),
        }
    }
    environment.env = environment.env.or_else(|| run.environment.clone());
    environment.plugins = environment.plugins.or_else(|| run.plugins.as_ref().map(PathBuf::from));
    let plugins = settings::plugins(&environment, Some(Path::new(&run.dag_path)))?;
    let uploader = plugins.uploader()?.context(
        "the environment says no place for logs: give plugins.toml an `upload` below [logs], such as gs://bucket/folder",
    )?;
    let uploads = uploader.of_run(RunLogs::new(&settings::home(), &run.head.dag_id, run_id));
    let all = uploads.all_of(run.tasks.iter().map(|task| task.task_id.as_str()));
    // Each upload has a time limit of its own.
    if let Some(missed) = uploads.finish(Duration::MAX) {
        bail!("{missed}");
    }
    output::print(&format!("uploaded {} of the run {run_id} to {}\n", count(all, "log"), uploader.folder()))
        .context("cannot print the answer")
}
