//! The arguments of `runs`, which looks at what ran and what runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use oxidag_core::state::RunState;

use super::common::TrustArgs;
use crate::since::{self, Since};

pub(super) const RUNS_EXAMPLES: &str = "\
RUN is a run's id, the beginning of one, or `latest`.

Examples:
  oxidag runs list --state failed
  oxidag runs show latest
  oxidag runs logs latest ingest_flights --attempt 1
  oxidag runs gantt latest --svg run.svg
  oxidag runs prune --older-than 90d --keep 20 --dry-run";

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, newest first
    List(ListArgs),
    /// Show a run with its tasks
    Show {
        /// The run: its id, the beginning of one, or `latest`
        run: String,
        /// Print the run as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the log of a task, or of the run itself
    Logs {
        /// The run: its id, the beginning of one, or `latest`
        run: String,
        /// The task; without it, the run's own log
        task: Option<String>,
        /// Which attempt of the task, from 1 [default: the last]
        #[arg(long, value_name = "N", requires = "task", value_parser = clap::value_parser!(u32).range(1..))]
        attempt: Option<u32>,
    },
    /// Draw when each task ran
    Gantt {
        /// The run: its id, the beginning of one, or `latest`
        run: String,
        /// Write an SVG to this file, or to standard output for `-`, instead of drawing in the terminal
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Remove runs that have ended, with their logs
    Prune(PruneArgs),
    /// Upload the logs of a run that has ended to where `[logs]` of plugins.toml says
    Upload {
        /// The run: its id, the beginning of one, or `latest`
        run: String,
        /// The plugins.toml to use [default: the run's own]
        #[arg(long, value_name = "FILE")]
        plugins: Option<PathBuf>,
        /// The environment [default: the run's own]
        #[arg(long, value_name = "NAME")]
        env: Option<String>,
        #[command(flatten)]
        trust: TrustArgs,
    },
    /// Cancel a run of another process, or some of its tasks, and wait until that is done
    Cancel {
        /// The run: its id, the beginning of one, or `latest`
        run: String,
        /// The tasks; without any, the whole run
        #[arg(value_name = "TASK")]
        tasks: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Only runs of this DAG
    #[arg(long, value_name = "DAG_ID")]
    pub(crate) dag: Option<String>,
    /// Only runs in this state
    #[arg(long, value_enum)]
    pub(crate) state: Option<ShownState>,
    /// Only runs that began since then: a duration (`2h`, `7d`), a date, or a time (RFC 3339; UTC without a zone)
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    pub(crate) since: Option<Since>,
    /// Print the runs as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).multiple(true).args(["keep", "older_than"])))]
pub(crate) struct PruneArgs {
    /// Keep the newest N runs of each DAG
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<u32>,
    /// Keep what ended less than so long ago; with --keep, a run is removed that neither keeps
    #[arg(long, value_name = "DURATION", value_parser = since::age)]
    pub(crate) older_than: Option<Duration>,
    /// Only runs of this DAG
    #[arg(long, value_name = "DAG_ID")]
    pub(crate) dag: Option<String>,
    /// Also runs that were interrupted, which could be resumed otherwise
    #[arg(long)]
    pub(crate) interrupted: bool,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print what was removed as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A run's state as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShownState {
    /// Some task has not ended
    Running,
    /// Its process died before it ended
    Interrupted,
    /// Every task that had to run succeeded
    Success,
    /// Some task failed
    Failed,
    /// Stopped on request
    Cancelled,
}

impl ShownState {
    /// The stored state that it is shown for.
    pub(crate) fn stored(self) -> RunState {
        match self {
            ShownState::Running | ShownState::Interrupted => RunState::Running,
            ShownState::Success => RunState::Success,
            ShownState::Failed => RunState::Failed,
            ShownState::Cancelled => RunState::Cancelled,
        }
    }
}
