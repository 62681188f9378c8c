//! The hot paths, each of them in one function that valgrind can tell from all around it: what is made ready for it is
//! not counted.
//!
//! All of them do the same to [`TASKS`] tasks, in layers of [`WIDTH`], each of which depends on three of the layer before.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oxidag_core::engine::Engine;
use oxidag_core::event::{Event, EventKind, TaskIdx, Timestamp};
use oxidag_core::graph::Graph;
use oxidag_core::plugins::Plugins;
use oxidag_core::scheduler::{Action, ExpectedFrom, Input, Limits, Places, Scheduler, Settings, TaskInfo};
use oxidag_core::spec::{Backoff, Dag, SourceFile, TriggerRule, parse};
use oxidag_core::state::{RunState, TaskState};
use oxidag_core::store::{NewRun, RunJournal, Store};
use serde_json::json;

use crate::Result;
use crate::calls::{Counting, task};

const TASKS: u32 = 1_000;
const WIDTH: u32 = 100;

/// Does it once.
pub(crate) fn count(what: &str, plugins: &Path, folder: &Path) -> Result {
    match what {
        "parse" => {
            let source = source();
            measured(|| parse(source)).map(drop)?;
        }
        "graph" => {
            let dag = dag()?;
            measured(|| Graph::new(&dag)).map_err(|_| "the graph has a cycle")?;
        }
        "schedule" => schedule(&dag()?)?,
        "call" => call(plugins)?,
        "begin" => {
            let names = names();
            let store = store(folder)?;
            measured(|| begin(&store, &names))?.finish()?;
        }
        "record" => {
            let (mut journal, events) = begun(folder)?;
            measured(|| events.chunks(4).try_for_each(|of_task| journal.record(of_task)))?;
        }
        "apply" => {
            let (mut journal, events) = begun(folder)?;
            journal.record(&events)?;
            measured(|| journal.finish())?;
        }
        _ => return Err(format!("nothing to count is called {what}").into()),
    }
    Ok(())
}

/// What happens in here is counted.
#[inline(never)]
fn measured<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

fn source() -> SourceFile {
    let mut text = String::from("{\"dag_id\": \"layers\", \"tasks\": [");
    for i in 0..TASKS {
        let above = i.saturating_sub(WIDTH) / WIDTH * WIDTH;
        let upstream = (0..3).filter(|_| i >= WIDTH).map(|n| format!("\"t{}\"", above + (i + n) % WIDTH));
        let upstream = upstream.collect::<Vec<_>>().join(", ");
        let comma = if i == 0 { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "{comma}\n{{\"task_id\": \"t{i}\", \"script\": {{\"engine\": \"noop\", \"inline\": \"nothing\"}}, \
             \"dependencies\": [{upstream}]}}"
        );
    }
    text.push_str("\n]}");
    SourceFile::new("layers.json".into(), text)
}

fn dag() -> Result<Dag> {
    Ok(parse(source())?.0)
}

/// Every task starts and ends, one at a time.
fn schedule(dag: &Dag) -> Result {
    let graph = Arc::new(Graph::new(dag).map_err(|_| "the graph has a cycle")?);
    let infos = vec![info(); graph.len()];
    let mut places = Places::new(Limits { workers: 2, engines: vec![None], pools: Vec::new() });
    let mut scheduler = Scheduler::new(graph, infos, Settings::default());
    let ended = measured(|| {
        let (mut now, mut out, mut running, mut ended) = (Timestamp(0), Vec::new(), Vec::new(), None);
        scheduler.start(&[], &[], now, &mut out)?;
        scheduler.dispatch(now, &mut places, &mut out)?;
        while ended.is_none() {
            for action in out.drain(..) {
                match action {
                    Action::Start { task, attempt, .. } => running.push((task, attempt)),
                    Action::RunEnded(state) => ended = Some(state),
                    _ => {}
                }
            }
            let Some((task, attempt)) = running.pop() else { break };
            now = now.after(Duration::from_millis(1));
            scheduler.handle(Input::Ended { task, attempt, failure: None }, now, &mut places, &mut out)?;
            scheduler.dispatch(now, &mut places, &mut out)?;
        }
        Ok::<_, Box<dyn std::error::Error>>(ended)
    })?;
    (ended == Some(RunState::Success)).then_some(()).ok_or_else(|| "the run does not end well".into())
}

fn info() -> TaskInfo {
    TaskInfo {
        priority: 0,
        expected: 1.0,
        expected_from: ExpectedFrom::Default,
        rule: TriggerRule::AllSuccess,
        retries: 0,
        retry_delay: Duration::ZERO,
        backoff: Backoff::Fixed,
        max_retry_delay: Duration::from_secs(60),
        timeout: None,
        engine: 0,
        pool: None,
        blocking: true,
        conditional: false,
        teardown: false,
        fails_run: true,
        mapped: false,
        max_active: None,
        follows: None,
        instance_of: None,
        sub: false,
    }
}

/// As many calls of the `noop` engine.
fn call(plugins: &Path) -> Result {
    let plugins = Plugins::load(Some(plugins), None, false)?;
    let config = plugins.engines.get("noop").ok_or("there is no engine `noop`")?;
    let engine = Engine::load("noop", config)?;
    let (task, attempt) = (task(), Arc::<Counting>::default());
    // The first one starts the engine's runtime.
    engine.run(&task, true, Arc::clone(&attempt));
    measured(|| (0..TASKS).for_each(|_| engine.run(&task, true, Arc::clone(&attempt))));
    let ended = attempt.successes.load(std::sync::atomic::Ordering::Relaxed);
    (ended == TASKS + 1).then_some(()).ok_or_else(|| format!("{ended} calls have ended well").into())
}

/// A store of its own.
fn store(folder: &Path) -> Result<Store> {
    let home = tempfile::tempdir_in(folder)?.keep();
    Ok(Store::open(&home)?)
}

fn names() -> Vec<String> {
    (0..TASKS).map(|i| format!("t{i}")).collect()
}

fn begin(store: &Store, names: &[String]) -> Result<RunJournal> {
    Ok(store.begin_run(NewRun {
        run_id: "run",
        dag_id: "layers",
        started_at: Timestamp(0),
        environment: None,
        plugins: None,
        dag_path: "layers.json",
        dag_source: "",
        params: &json!({}),
        script_cache: None,
        tasks: &mut names.iter().map(|name| (name.as_str(), "noop")),
    })?)
}

/// A run in a store, and what happens in it: four events for each of its tasks.
fn begun(folder: &Path) -> Result<(RunJournal, Vec<Event>)> {
    let journal = begin(&store(folder)?, &names())?;
    let states = [TaskState::Scheduled, TaskState::Waiting, TaskState::Running, TaskState::Success];
    let events = (0..TASKS).flat_map(|task| {
        states.into_iter().zip(0..).map(move |(state, at)| Event {
            ts: Timestamp(i64::from(task) * 10 + at),
            kind: EventKind::TaskState { task: TaskIdx(task), attempt: u32::from(at > 1), state, end: None },
        })
    });
    Ok((journal, events.collect()))
}
