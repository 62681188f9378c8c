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

use crate::args::{CacheCommand, Command, EnginesCommand, RunsCommand};
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
        Command::Runs(RunsCommand::Upload { run, plugins, env }) => {
            upload::upload(&run, plugins.as_ref(), env.as_ref())?;
        }
        Command::Engines(EnginesCommand::List { environment, json }) => engines::list(&environment, json)?,
        Command::Engines(EnginesCommand::Inspect { engine, environment, json }) => {
            engines::inspect(&engine, &environment, json)?;
        }
        Command::Engines(EnginesCommand::New(args)) => engines::new::new(&args)?,
        Command::Engines(EnginesCommand::Test(args)) => return engines::test::test(&args),
        Command::Engines(EnginesCommand::TestChild) => engines::test::child()?,
        Command::Schedule(args) => return schedule::schedule(&args),
        Command::Cache(CacheCommand::Clear { environment, json }) => cache::clear(&environment, json)?,
        Command::Schema { file } => schema::schema(file)?,
        Command::Completions { shell } => completions::completions(shell)?,
        Command::EngineHost { .. } => match oxidag_core::engine::child::serve()? {},
    }
    Ok(Exit::Success)
}
