//! The commands: each lowers its arguments, asks the library, and prints the answer.

mod cache;
mod cancel;
mod completions;
mod dry_run;
mod engines;
mod gantt;
mod graph;
mod launch;
mod logs;
mod part;
mod plan;
mod prune;
mod resume;
mod run;
mod runs;
mod schedule;
mod schema;
mod show;
mod upload;
mod validate;

use crate::args::{CacheCommand, Command, EnvironmentArgs, RunsCommand};
use crate::exit::Exit;

/// Does what was asked for. An error means that the request was refused.
pub(crate) fn execute(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Run(args) => return run::run(&args),
        Command::Resume(args) => return resume::resume(&args),
        Command::Validate(args) => return validate::validate(&args),
        Command::Plan(args) => plan::plan(&args)?,
        Command::Graph(args) => graph::graph(&args)?,
        Command::Runs(RunsCommand::List(args)) => runs::list(&args)?,
        Command::Runs(RunsCommand::Show { run, json }) => show::show(&run, json)?,
        Command::Runs(RunsCommand::Logs { run, task, attempt }) => {
            logs::logs(&run, task.as_deref(), attempt)?
        }
        Command::Runs(RunsCommand::Gantt { run, svg }) => gantt::gantt(&run, svg.as_deref())?,
        Command::Runs(RunsCommand::Cancel { run, tasks }) => return cancel::cancel(&run, &tasks),
        Command::Runs(RunsCommand::Prune(args)) => prune::prune(&args)?,
        Command::Runs(RunsCommand::Upload { run, plugins, env, trust }) => {
            upload::upload(&run, EnvironmentArgs { env, plugins, trust })?;
        }
        Command::Engines(command) => return engines::engines(command),
        Command::Schedule(args) => return schedule::schedule(&args),
        Command::Cache(CacheCommand::Clear { environment, json }) => cache::clear(&environment, json)?,
        Command::Schema { file } => schema::schema(file)?,
        Command::Completions { shell } => completions::completions(shell)?,
        Command::EngineHost { .. } => match oxidag_core::engine::child::serve()? {},
    }
    Ok(Exit::Success)
}
