//! The arguments of what starts runs: `run`, `resume` and `schedule`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use oxidag_core::spec::{Notify, NotifyOn, NotifyTarget, Span};

use super::common::{EnvironmentArgs, Param, ParamArgs, TrustArgs, WorkersArgs};

const RUN_EXAMPLES: &str = "\
Examples:
  oxidag run dags/quickstart.yaml
  oxidag run nightly.yaml --env prod -p day=2026-11-22 -p limit=100
  oxidag run nightly.yaml hourly.yaml --workers 8
  oxidag run --failed latest
  oxidag run nightly.yaml --env prod --dry-run
  oxidag run nightly.yaml --format json | jq 'select(.event == \"task_state\")'

The first Ctrl-C cancels what runs and waits for it; a second one ends at once.";

const RESUME_HELP: &str = "\
A task that succeeded is not run again. An attempt that was under way is taken up by its engine: a remote job is waited
for, and what is left of a local process is ended before it is started anew. A run that has ended is not resumed:
`oxidag run --failed RUN` runs what did not succeed once more, as a new run.";

const SCHEDULE_HELP: &str = "\
Times are UTC. Of several times that passed while a run was still going on, or while nobody was there, the latest counts. A
run that was interrupted goes on first. Ctrl-C cancels the runs and waits for them; a second one ends them at once.

Examples:
  oxidag schedule nightly.yaml hourly.yaml --env prod";

#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct RunArgs {
    /// DAG files, JSON or YAML; several share the workers [default for --failed: the file of that run]
    #[arg(required_unless_present = "failed", value_name = "DAG")]
    pub(crate) dags: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) part: PartArgs,
    /// Go on with the DAG's newest run if its process died, and begin a new one otherwise
    #[arg(long, conflicts_with_all = ["part", "run_id", "list"])]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
    #[command(flatten)]
    pub(crate) workers: WorkersArgs,
    /// The run's id: up to 128 letters, digits, `_`, `-` and `.` [default: the time and a random end]
    #[arg(long, value_name = "ID")]
    pub(crate) run_id: Option<String>,
    /// What to print while it runs
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) notify: NotifyArgs,
    /// Only say what would run, and what the engines find wrong with it
    #[arg(long, conflicts_with_all = ["run_id", "format", "resume"])]
    pub(crate) dry_run: bool,
    /// Print what a dry run finds as JSON
    #[arg(long, requires = "dry_run")]
    pub(crate) json: bool,
}

/// Which tasks of a DAG run; the others are skipped, and count as done.
#[derive(Debug, Args)]
#[group(id = "part", multiple = true)]
pub(crate) struct PartArgs {
    /// Run this task alone; may be given several times
    #[arg(long, value_name = "TASK")]
    pub(crate) only: Vec<String>,
    /// Run this task and all that follow from it; may be given several times
    #[arg(long, value_name = "TASK")]
    pub(crate) from: Vec<String>,
    /// Run what did not succeed in that run, and what follows from it
    #[arg(long, value_name = "RUN")]
    pub(crate) failed: Option<String>,
}

impl PartArgs {
    /// Whether the whole DAG is meant.
    pub(crate) fn is_whole(&self) -> bool {
        self.only.is_empty() && self.from.is_empty() && self.failed.is_none()
    }
}

#[derive(Debug, Args)]
#[command(after_help = RESUME_HELP)]
pub(crate) struct ResumeArgs {
    /// The run: its id, the beginning of one, or `latest`
    pub(crate) run: String,
    /// Use the DAG file as it is now, where it was changed since
    #[arg(long)]
    pub(crate) changed: bool,
    /// The plugins.toml to use [default: the run's own]
    #[arg(long, value_name = "FILE")]
    pub(crate) plugins: Option<PathBuf>,
    /// The environment [default: the run's own]
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    #[command(flatten)]
    pub(crate) workers: WorkersArgs,
    #[command(flatten)]
    pub(crate) notify: NotifyArgs,
    /// What to print while it runs
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = SCHEDULE_HELP)]
pub(crate) struct ScheduleArgs {
    /// DAG files, JSON or YAML, each with a `schedule_interval`
    #[arg(required = true, value_name = "DAG")]
    pub(crate) dags: Vec<PathBuf>,
    #[command(flatten)]
    params: ParamArgs,
    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
    #[command(flatten)]
    workers: WorkersArgs,
    /// What to print: for `human` a line for each start and end, for `json` the events of all runs
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

impl ScheduleArgs {
    /// The arguments of every run that is started; one that goes on has its parameters.
    pub(crate) fn passed_on(&self, is_new: bool) -> Vec<OsString> {
        let format = if self.format == Format::Json { "json" } else { "quiet" };
        let mut passed: Vec<OsString> = vec!["--format".into(), format.into()];
        let mut pass = |name: &str, value: OsString| passed.extend([name.into(), value]);
        for Param { key, value } in self.params.list.iter().filter(|_| is_new) {
            pass("--param", format!("{key}={value}").into());
        }
        if let Some(env) = &self.environment.env {
            pass("--env", env.into());
        }
        if let Some(plugins) = &self.environment.plugins {
            pass("--plugins", plugins.into());
        }
        if let Some(workers) = self.workers.asked {
            pass("--workers", workers.to_string().into());
        }
        if self.environment.trust.allow_writable {
            passed.push("--allow-writable".into());
        }
        passed
    }
}

#[derive(Debug, Args)]
pub(crate) struct NotifyArgs {
    /// Tell somebody how the run went, beside those that the DAG names: a URL is called, anything else is a command for
    /// the shell. ON is `success`, `failure`, `deadline` or several of them with commas [default: failure,deadline]
    #[arg(long = "notify", value_name = "[ON=]TARGET", value_parser = notice)]
    pub(crate) notices: Vec<Notify>,
}

/// One `--notify [ON=]TARGET`.
fn notice(text: &str) -> Result<Notify, String> {
    let named = |names: &str| -> Option<Vec<NotifyOn>> {
        let find = |name: &str| NotifyOn::NAMES.iter().find(|(known, _)| *known == name).map(|(_, on)| *on);
        names.split(',').map(find).collect()
    };
    // A command may hold a `=` too: only what is made of these words is taken for them.
    let split = text.split_once('=').and_then(|(on, target)| Some((named(on)?, target)));
    let (on, target) = split.unwrap_or_else(|| (NotifyOn::DEFAULT.to_vec(), text));
    if target.trim().is_empty() {
        return Err("name a URL or a command after `=`".to_owned());
    }
    let is_url = target.starts_with("http://") || target.starts_with("https://");
    let target = match is_url {
        true => NotifyTarget::Webhook(target.to_owned()),
        false => NotifyTarget::Command(["/bin/sh", "-c", target].map(str::to_owned).to_vec()),
    };
    Ok(Notify { on, target, span: Span::default() })
}

/// What `run` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Live progress on a terminal, else a line for each start and end
    Human,
    /// One event a line, as JSON
    Json,
    /// Nothing but errors
    Quiet,
}
