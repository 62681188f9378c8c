//! The command line as types. Values are checked and lowered while they are parsed; nothing is read from disk.

mod common;
mod conformance;
mod engines;
mod run;
mod runs;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::common::{EnvironmentArgs, ParamArgs};
pub(crate) use self::conformance::TestArgs;
pub(crate) use self::engines::{EnginesCommand, InspectArgs, NewArgs};
pub(crate) use self::run::{Format, NotifyArgs, PartArgs, ResumeArgs, RunArgs, ScheduleArgs};
use self::runs::RUNS_EXAMPLES;
pub(crate) use self::runs::{ListArgs, PruneArgs, RunsCommand, ShownState};

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

const PLAN_EXAMPLES: &str = "\
Examples:
  oxidag plan dags/quickstart.yaml --workers 4
  oxidag plan dags/quickstart.yaml --workers 1,2,4,8,16";

const GRAPH_EXAMPLES: &str = "\
Examples:
  oxidag graph dags/quickstart.yaml --format svg > quickstart.svg
  oxidag graph dags/quickstart.yaml | dot -Tpng > quickstart.png";

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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use serde_json::{Value, json};

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
