//! `oxidag resume`: goes on with a run whose process died.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use oxidag_core::prepare::Engines;
use oxidag_core::runner::{Resumed, Start};
use oxidag_core::spec::{self, Dag, SourceFile};
use oxidag_core::state::RunState;
use oxidag_core::store::{RunDetails, Store, StoreError};

use super::launch::{self, Manner, Planned, launch};
use super::runs;
use crate::args::{EnvironmentArgs, Format, NotifyArgs, ResumeArgs, RunArgs};
use crate::exit::Exit;
use crate::{output, settings};

/// What is asked of a resumed run.
struct Request<'a> {
    environment: EnvironmentArgs,
    workers: u32,
    format: Format,
    /// The DAG file as it is now.
    changed: bool,
    notify: &'a NotifyArgs,
    run: &'a str,
}

pub(super) fn resume(args: &ResumeArgs) -> anyhow::Result<Exit> {
    go_on(Request {
        environment: EnvironmentArgs {
            env: args.env.clone(),
            plugins: args.plugins.clone(),
            trust: args.trust,
        },
        workers: args.workers.count(),
        format: args.format,
        changed: args.changed,
        notify: &args.notify,
        run: &args.run,
    })
}

/// For `run --resume`.
pub(super) fn latest(run_id: &str, args: &RunArgs) -> anyhow::Result<Exit> {
    let environment = args.environment.clone();
    let (workers, format) = (args.workers.count(), args.format);
    go_on(Request { environment, workers, format, changed: false, notify: &args.notify, run: run_id })
}

fn go_on(mut request: Request<'_>) -> anyhow::Result<Exit> {
    let (_, found) = runs::find(request.run)?;
    let store = Store::open(&settings::home())?;
    // Only its owner knows where a run has got to.
    let journal = store.resume_run(&found.head.run_id)?;
    let run =
        store.run(&found.head.run_id)?.ok_or_else(|| StoreError::UnknownRun(found.head.run_id.clone()))?;
    let head = &run.head;
    if head.state != RunState::Running {
        journal.finish()?;
        return Ok(ended(&run));
    }
    request.environment.env = request.environment.env.or_else(|| run.environment.clone());
    request.environment.plugins =
        request.environment.plugins.or_else(|| run.plugins.as_ref().map(PathBuf::from));
    let plugins = settings::plugins(&request.environment, Some(Path::new(&run.dag_path)))?;
    let (dag, source) = dag(&run, request.changed)?;
    let overrides = run.params.as_object().cloned().unwrap_or_default();
    let prepared = launch::prepare(dag, source, &plugins, &mut Engines::default(), overrides)?;
    let from = Box::new(Resumed::new(&run, &prepared).context("the DAG is not the run's as it is stored")?);
    let start = Start::Resume { from, journal };
    let planned = Planned { prepared: Arc::new(prepared), run_id: head.run_id.clone(), start };
    let uploader = plugins.uploader()?;
    let manner = Manner {
        plugins: request.environment.plugins.as_deref(),
        environment: request.environment.env.as_deref(),
        workers: request.workers,
        format: request.format,
        notify: request.notify,
        uploader: uploader.as_ref(),
    };
    launch(&store, vec![planned], &manner)
}

/// A run that has ended is not resumed.
fn ended(run: &RunDetails) -> Exit {
    let (run_id, state) = (&run.head.run_id, run.head.state);
    let next = match state {
        RunState::Success => String::new(),
        _ => format!("; `oxidag run --failed {run_id}` runs what did not succeed once more"),
    };
    output::remark(format_args!("the run {run_id} has ended already: {state}{next}"));
    state.into()
}

/// The DAG as it was when the run began, or as it is now.
fn dag(run: &RunDetails, changed: bool) -> anyhow::Result<(Dag, SourceFile)> {
    let path = Path::new(&run.dag_path);
    let then = SourceFile::new(path.to_owned(), run.dag_source.clone());
    let is_as_it_was = std::fs::read_to_string(path)
        .is_ok_and(|text| SourceFile::new(path.to_owned(), text).text() == run.dag_source);
    if changed {
        let (dag, source) = spec::load(path)?;
        return Ok((in_order(dag, run)?, source));
    }
    if !is_as_it_was {
        output::remark(format_args!(
            "{} was changed since the run {} began; the run goes on with the DAG as it was, `--changed` takes the new one",
            path.display(),
            run.head.run_id
        ));
    }
    let (dag, source) = spec::parse(then)?;
    Ok(spec::with_subs(dag, source)?)
}

/// The changed DAG with its tasks in the order in which they are stored.
fn in_order(mut dag: Dag, run: &RunDetails) -> anyhow::Result<Dag> {
    // What was added since follows from these.
    let base = run.growth.first().map_or(run.tasks.len(), |growth| growth.first as usize);
    let tasks = &run.tasks[..base];
    let place: HashMap<&str, usize> = tasks.iter().map(|task| task.task_id.as_str()).zip(0..).collect();
    let named: HashMap<&str, ()> = dag.tasks.iter().map(|task| (&*task.task_id, ())).collect();
    if let Some(gone) = tasks.iter().find(|task| !named.contains_key(task.task_id.as_str())) {
        bail!(
            "the changed DAG has no task `{}`, which the run {} has; begin a new run",
            gone.task_id,
            run.head.run_id
        );
    }
    if let Some(new) = dag.tasks.iter().find(|task| !place.contains_key(&*task.task_id)) {
        bail!(
            "the changed DAG has a task `{}`, which the run {} has not; begin a new run",
            new.task_id,
            run.head.run_id
        );
    }
    dag.tasks.sort_by_key(|task| place.get(&*task.task_id).copied());
    Ok(dag)
}
