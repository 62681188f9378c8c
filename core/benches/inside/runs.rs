//! Very many runs, one after the other, in one process.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use oxidag_core::event::{Event, EventKind, Timestamp};
use oxidag_core::plugins::Plugins;
use oxidag_core::prepare::{Engines, Prepared, prepare};
use oxidag_core::runner::{self, Mailbox, Reporter, RunRequest, Session, Start};
use oxidag_core::spec::{SourceFile, parse};
use oxidag_core::state::RunState;
use oxidag_core::store::{NewRun, PruneRule, RunFilter, Store};
use serde_json::{Map, json};

use crate::Result;

/// How often it is looked what the process holds.
const LOOKS: u32 = 10;

const DAG: &str = r#"{"dag_id": "again", "tasks": [
    {"task_id": "a", "script": {"engine": "noop", "inline": "nothing"}},
    {"task_id": "b", "script": {"engine": "noop", "inline": "nothing"}, "params": {"async": true}, "dependencies": ["a"]},
    {"task_id": "c", "script": {"engine": "noop", "inline": "nothing"}, "dependencies": ["b"]}]}"#;

/// Nobody looks.
struct Nobody;

impl Reporter for Nobody {
    fn event(&mut self, _: &Event) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a small DAG so many times, and prints ten times what the process holds: a line of JSON each. Old runs are removed
/// meanwhile, as who runs so many does: else the database grows, and with it what SQLite keeps of it.
pub(crate) fn print(plugins: &Path, home: &Path, count: u32) -> Result {
    let plugins = Plugins::load(Some(plugins), None, false)?;
    let (dag, source) = parse(SourceFile::new("again.json".into(), DAG.to_owned()))?;
    let mut engines = Engines::default();
    let prepared = Arc::new(prepare(dag, source, &plugins, &mut engines, Map::new(), &mut |_| {})?);
    let store = Store::open(home)?;
    for number in 1..=count {
        run(&store, home, &prepared, format!("run-{number}"))?;
        if number % (count / LOOKS).max(1) == 0 {
            store.prune(&PruneRule { keep: Some(count / LOOKS), ..PruneRule::default() })?;
            println!("{}", held(number)?);
        }
    }
    Ok(())
}

fn run(store: &Store, home: &Path, prepared: &Arc<Prepared>, run_id: String) -> Result {
    let session = Session {
        store,
        home: home.to_owned(),
        environment: None,
        plugins: None,
        workers: 2,
        mailbox: Mailbox::new(),
    };
    let prepared = Arc::clone(prepared);
    let request = RunRequest { prepared, run_id, reporter: Box::new(Nobody), start: Start::whole() };
    let ends = runner::run(session, vec![request])?;
    let is_well = ends.iter().all(|end| end.state == RunState::Success && end.error.is_none());
    is_well.then_some(()).ok_or_else(|| format!("a run has not ended well: {ends:?}").into())
}

/// What the process holds of the system's, as Linux tells it.
fn held(runs: u32) -> Result<serde_json::Value> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let fields: HashMap<&str, &str> = status.lines().filter_map(|line| line.split_once(':')).collect();
    let number = |name: &str| -> Result<u64> {
        let text = fields.get(name).and_then(|value| value.split_whitespace().next());
        Ok(text.ok_or_else(|| format!("the system does not tell {name}"))?.parse()?)
    };
    let descriptors = std::fs::read_dir("/proc/self/fd")?.count();
    Ok(json!({
        "runs": runs, "kilobytes": number("VmRSS")?, "threads": number("Threads")?, "descriptors": descriptors,
    }))
}

/// Stores so many more runs.
pub(crate) fn store(home: &Path, count: u32) -> Result {
    let store = Store::open(home)?;
    for number in 1..=count {
        let mut tasks = ["a", "b", "c"].iter().map(|task| (*task, "noop"));
        let mut journal = store.begin_run(NewRun {
            run_id: &format!("stored-{number}"),
            dag_id: "again",
            started_at: Timestamp(i64::from(number) * 1_000_000),
            environment: None,
            plugins: None,
            dag_path: "again.json",
            dag_source: DAG,
            params: &json!({}),
            script_cache: None,
            tasks: &mut tasks,
        })?;
        let end = EventKind::RunState { state: RunState::Success, error: None };
        journal.record(&[Event { ts: Timestamp(i64::from(number) * 1_000_000 + 500), kind: end }])?;
        journal.finish()?;
    }
    let newest = store.list_runs(&RunFilter { limit: 1, ..RunFilter::default() })?;
    println!("{}", json!({"stored": count, "newest": newest.first().map(|head| &head.run_id)}));
    Ok(())
}
