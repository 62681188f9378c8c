//! The tasks of DAGs that tasks stand for: checked as those of the outermost one are, each beside its own file.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::check::{Check, Findings};
use super::places::pools;
use super::{Engines, Pool, PreparedTask, working_dir};
use crate::engine::Engine;
use crate::plugins::Plugins;
use crate::scripts::{LoadedScript, Progress};
use crate::spec::{Dag, Diagnostic, SubDag, Task};

/// The tasks of each DAG, in its order; the DAG by its address.
pub(super) type Subs<T> = HashMap<usize, Vec<T>>;

/// What the checks are made in.
type Around<'a> = (&'a Plugins, &'a mut Engines, &'a Map<String, Value>);

/// Tells one DAG from others; it is alive as long as the DAG around it.
pub(super) fn address(sub: &Arc<SubDag>) -> usize {
    Arc::as_ptr(sub).addr()
}

impl PreparedTask {
    /// What a task needs that stands for a DAG: no engine ever sees it.
    pub(super) fn nothing() -> Self {
        let script = Arc::new(LoadedScript { name: String::new(), text: "".into(), path: None, uri: None });
        Self { engine: 0, blocking: false, script, is_formatted: false, folder: None }
    }
}

/// Checks the tasks of all DAGs in this one.
pub(super) fn check(
    dag: &Dag,
    (plugins, loaded, overrides): Around<'_>,
    fetching: &mut Option<&mut dyn FnMut(Progress)>,
    found: &mut Findings,
    subs: &mut Subs<Option<PreparedTask>>,
) {
    for (name, sub) in &dag.subs {
        let templates = dag.templates();
        let all = dag.tasks.iter().chain(templates.iter().map(|task| &***task));
        let users: Vec<&Task> = all.filter(|task| task.dag.as_deref() == Some(name)).collect();
        // Every parameter that the DAG may get; which values they have is not known yet.
        let mut inner = sub.dag.clone();
        let mut params = dag.params.clone();
        let own = inner.params.iter();
        params.extend(
            own.chain(users.iter().flat_map(|task| &task.params)).map(|(k, v)| (k.clone(), v.clone())),
        );
        inner.params = params;
        let place = users.first().map(|task| task.script_span).unwrap_or_default();
        let folder = working_dir(&sub.folder.join("dag"));
        let tasks: Vec<&Task> = sub.tasks.iter().map(|task| &**task).collect();
        let mut check = Check::new(&inner, &folder, plugins, loaded, overrides);
        let places: Vec<_> = tasks.iter().map(|task| check.place(task)).collect();
        let tasks = tasks.iter().zip(&places);
        let mut ready: Vec<Option<PreparedTask>> = match fetching {
            Some(progress) => {
                let tasks: Vec<&Task> = tasks.clone().map(|(task, _)| *task).collect();
                check.fetch(&tasks, &places, &mut **progress);
                tasks.iter().zip(&places).map(|(task, place)| check.task(task, place)).collect()
            }
            None => tasks.map(|(task, place)| check.look(task, place)).collect(),
        };
        let findings = check.found();
        let folder = Arc::new(folder);
        for task in ready.iter_mut().flatten() {
            task.engine =
                findings.engines.get(task.engine as usize).map_or(0, |e| number(e, &mut found.engines));
            task.folder = Some(Arc::clone(&folder));
        }
        // Places in the inner file mean nothing in this one: they are told at the task that stands for it.
        let at = |told: Diagnostic| Diagnostic::new(place, format!("in {name}: {}", told.message));
        found.mistakes.extend(findings.mistakes.into_iter().map(at));
        found.missing.extend(findings.missing.into_iter().map(at));
        let known = found.elsewhere.clone();
        found.elsewhere.extend(findings.elsewhere.into_iter().filter(|told| !known.contains(told)));
        found.connections.extend(findings.connections);
        found.secrets.extend(findings.secrets);
        subs.insert(address(sub), ready);
        self::check(&inner, (plugins, &mut *loaded, overrides), fetching, found, subs);
    }
}

/// An engine's place among those of the run.
fn number(engine: &Arc<Engine>, engines: &mut Vec<Arc<Engine>>) -> u32 {
    let known = engines.iter().position(|known| known.name() == engine.name());
    let place = known.unwrap_or_else(|| {
        engines.push(Arc::clone(engine));
        engines.len() - 1
    });
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// The pools of all DAGs in this one; of two of one name, that of the outer DAG counts.
pub(super) fn add_pools(dag: &Dag, plugins: &Plugins, known: &mut Vec<Pool>) {
    for sub in dag.subs.values() {
        for pool in pools(&sub.dag, plugins) {
            if known.iter().all(|other| other.name != pool.name) {
                known.push(pool);
            }
        }
        add_pools(&sub.dag, plugins, known);
    }
}
