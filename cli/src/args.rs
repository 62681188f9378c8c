//! The command line as types. Values are checked and lowered while they are parsed; nothing is read from disk.

mod conformance;
mod engines;

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use oxidag_core::spec::{Notify, NotifyOn, NotifyTarget, Span};
use oxidag_core::state::RunState;
use serde_json::{Map, Value};

pub(crate) use self::conformance::TestArgs;
pub(crate) use self::engines::{EnginesCommand, InspectArgs, NewArgs};
use crate::since::{self, Since};

const EXAMPLES: &str = "\
Examples:
  oxidag validate dags/quickstart.yaml
  oxidag run dags/quickstart.yaml --workers 4
  oxidag runs logs latest report

Exit status:
  0    success
  1    the run failed
  2    the request was wrong, and nothing ran
  130  interrupted; the run's state is then `cancelled`

Environment:
  OXIDAG_HOME         where state and logs are kept [default: .oxidag]
  OXIDAG_PLUGINS      the plugins.toml to use, as --plugins
  OXIDAG_ENGINE_PATH  more folders with engines, separated by colons";

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

const PLAN_EXAMPLES: &str = "\
Examples:
  oxidag plan dags/quickstart.yaml --workers 4
  oxidag plan dags/quickstart.yaml --workers 1,2,4,8,16";

const GRAPH_EXAMPLES: &str = "\
Examples:
  oxidag graph dags/quickstart.yaml --format svg > quickstart.svg
  oxidag graph dags/quickstart.yaml | dot -Tpng > quickstart.png";

const RUNS_EXAMPLES: &str = "\
RUN is a run's id, the beginning of one, or `latest`.

Examples:
  oxidag runs list --state failed
  oxidag runs show latest
  oxidag runs logs latest ingest_flights --attempt 1
  oxidag runs gantt latest --svg run.svg
  oxidag runs prune --older-than 90d --keep 20 --dry-run";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  oxidag completions bash > ~/.local/share/bash-completion/completions/oxidag
  oxidag completions zsh > \"${fpath[1]}/_oxidag\"
  oxidag completions fish > ~/.config/fish/completions/oxidag.fish";

/// Runs DAGs of scripts on engines that are loaded as plugins.
#[derive(Debug, Parser)]
#[command(name = "oxidag", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a DAG, or several on one set of workers
    Run(RunArgs),
    /// Go on with a run whose process died
    Resume(ResumeArgs),
    /// Stay, and run DAGs when their schedules say so
    Schedule(ScheduleArgs),
    /// Check DAG files without running them
    Validate(ValidateArgs),
    /// Show when each task would start, and what bounds the run
    Plan(PlanArgs),
    /// Print a DAG's graph
    Graph(GraphArgs),
    /// Show what ran and what runs
    #[command(subcommand, after_help = RUNS_EXAMPLES)]
    Runs(RunsCommand),
    /// Show which engines there are
    #[command(subcommand)]
    Engines(EnginesCommand),
    /// Look after the script cache
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Print the JSON Schema of a file, for editors
    Schema {
        /// Which file
        #[arg(value_enum)]
        file: SchemaFile,
    },
    /// Print completions for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// The process of an engine with isolation = "process"; oxidag starts it
    #[command(name = oxidag_core::engine::child::HOST_COMMAND, hide = true)]
    EngineHost {
        /// Its name, for people who look at processes
        engine: Option<String>,
    },
}

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
pub(crate) struct ValidateArgs {
    /// DAG files, JSON or YAML
    #[arg(required = true, value_name = "DAG")]
    pub(crate) dags: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
    /// Print a list of what was found, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = PLAN_EXAMPLES)]
pub(crate) struct PlanArgs {
    /// The DAG file, JSON or YAML
    pub(crate) dag: PathBuf,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
    /// How many tasks may block a thread at once; several numbers, as in 1,2,4,8, are compared [default: as many as the
    /// machine runs threads]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=4096))]
    workers: Vec<u32>,
    /// Print the plan as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl PlanArgs {
    /// For how many workers plans are made: one number, or several different ones.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let mut workers = self.workers.clone();
        workers.sort_unstable();
        workers.dedup();
        if workers.is_empty() { vec![crate::settings::default_workers()] } else { workers }
    }
}

#[derive(Debug, Args)]
#[command(after_help = GRAPH_EXAMPLES)]
pub(crate) struct GraphArgs {
    /// The DAG file, JSON or YAML; or a run: its id, the beginning of one, or `latest`
    pub(crate) dag: PathBuf,
    /// The language of the graph
    #[arg(long, value_enum, default_value_t = GraphFormat::Dot)]
    pub(crate) format: GraphFormat,
    /// Write a run's growth into this folder, as a series of SVGs
    #[arg(long, value_name = "DIR", conflicts_with = "format")]
    pub(crate) frames: Option<PathBuf>,
}

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

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Remove the scripts that oxidag keeps in the Redis of plugins.toml
    Clear {
        #[command(flatten)]
        environment: EnvironmentArgs,
        /// Print what was removed as JSON
        #[arg(long)]
        json: bool,
    },
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

#[derive(Debug, Clone, Args)]
pub(crate) struct EnvironmentArgs {
    /// The environment: lays plugins.NAME.toml over plugins.toml
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// The plugins.toml to use [default: $OXIDAG_PLUGINS, ./plugins.toml, the one beside the DAG file, or,
    /// without any, the engines shell, sql and noop]
    #[arg(long, value_name = "FILE")]
    pub(crate) plugins: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct TrustArgs {
    /// Use configuration files and engines that others can write too
    #[arg(long)]
    pub(crate) allow_writable: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WorkersArgs {
    /// How many tasks may block a thread at once [default: as many as the machine runs threads]
    #[arg(long = "workers", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    asked: Option<u32>,
}

impl WorkersArgs {
    /// How many workers there are.
    pub(crate) fn count(&self) -> u32 {
        self.asked.unwrap_or_else(crate::settings::default_workers)
    }
}

#[derive(Debug, Args)]
pub(crate) struct ParamArgs {
    /// A parameter of the run, before those of the DAG file; VALUE is JSON where it is JSON, else text
    #[arg(short = 'p', long = "param", value_name = "KEY=VALUE")]
    list: Vec<Param>,
}

impl ParamArgs {
    /// By name; of two with one name, the last.
    pub(crate) fn map(&self) -> Map<String, Value> {
        self.list.iter().map(|param| (param.key.clone(), param.value.clone())).collect()
    }
}

/// One `-p KEY=VALUE`.
#[derive(Debug, Clone, PartialEq)]
struct Param {
    key: String,
    value: Value,
}

impl FromStr for Param {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
        if key.is_empty() {
            return Err("there is no key before `=`");
        }
        if key.starts_with("**") {
            return Err("a connection's value comes from plugins.toml, not from the command line");
        }
        // A number that would print in another way (`1.10`, an id of 20 digits) is kept as it was written.
        let as_written = |json: &Value| {
            let printed = json.to_string();
            !json.is_number() || printed == value
        };
        let json = serde_json::from_str(value).ok().filter(as_written);
        let value = json.unwrap_or_else(|| Value::String(value.to_owned()));
        Ok(Self { key: key.to_owned(), value })
    }
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

/// What `graph` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
    /// A picture
    Svg,
}

/// The files that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaFile {
    /// A DAG file
    Dag,
    /// plugins.toml
    Plugins,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use serde_json::json;

    fn run(arguments: &[&str]) -> Result<RunArgs, String> {
        let words = ["oxidag", "run", "a.yaml"].iter().chain(arguments);
        match Cli::try_parse_from(words).map_err(|e| e.to_string())?.command {
            Command::Run(args) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    fn params(list: &[&str]) -> Result<Value, String> {
        let words: Vec<&str> = list.iter().flat_map(|param| ["-p", param]).collect();
        run(&words).map(|args| Value::Object(args.params.map()))
    }

    #[test]
    fn the_declared_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_parameter_is_json_where_it_is_json() {
        let read = params(&[
            "n=1",
            "t=day one",
            "l=[1, \"x\"]",
            "q=\"1\"",
            "d=2026-11-22",
            "e=",
            "u=a=b",
            "*v=null",
        ]);
        let expected = json!({
            "n": 1, "t": "day one", "l": [1, "x"], "q": "1", "d": "2026-11-22", "e": "", "u": "a=b", "*v": null,
        });
        assert_eq!(read.unwrap(), expected);
    }

    #[test]
    fn of_two_parameters_with_one_name_the_last_counts() {
        assert_eq!(params(&["a=1", "a=2"]).unwrap(), json!({"a": 2}));
    }

    #[test]
    fn a_parameter_without_a_key_or_for_a_connection_is_refused() {
        let first_line =
            |text: &str| params(&[text]).unwrap_err().lines().next().unwrap_or_default().to_owned();
        insta::assert_snapshot!(first_line("day"), @"error: invalid value 'day' for '--param <KEY=VALUE>': write it as KEY=VALUE");
        insta::assert_snapshot!(first_line("=1"), @"error: invalid value '=1' for '--param <KEY=VALUE>': there is no key before `=`");
        insta::assert_snapshot!(first_line("**GCP_key=1"), @"error: invalid value '**GCP_key=1' for '--param <KEY=VALUE>': a connection's value comes from plugins.toml, not from the command line");
    }

    #[test]
    fn a_run_has_at_least_one_worker() {
        assert_eq!(run(&["--workers", "3"]).unwrap().workers.count(), 3);
        assert!(run(&[]).unwrap().workers.count() >= 1);
        assert!(run(&["--workers", "0"]).is_err());
        assert!(run(&["--workers", "many"]).is_err());
    }

    #[test]
    fn only_a_task_has_attempts() {
        assert!(Cli::try_parse_from(["oxidag", "runs", "logs", "latest", "--attempt", "1"]).is_err());
        assert!(Cli::try_parse_from(["oxidag", "runs", "logs", "latest", "a", "--attempt", "1"]).is_ok());
    }
}
