//! From a DAG file and an environment to a run that can start: every check that needs the file system or an
//! engine, before anything runs.
//!
//! All mistakes are told at once. What is right but not to be had in this environment (an engine without a
//! library, a connection) is told apart from them: it refuses a run, but a DAG with it is still valid.

mod check;
mod conditions;
mod entry;
mod extend;
mod handed;
mod places;
mod subs;
#[cfg(test)]
mod tests;
mod unfold;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::cache::CacheCounts;
use crate::engine::{Engine, EngineError};
use crate::event::TaskIdx;
use crate::graph::{Cycle, Graph};
use crate::params::Connections;
use crate::plugins::Plugins;
use crate::scheduler::{Limits, Settings, TaskInfo};
use crate::scripts::{LoadedScript, Progress};
use crate::secrets::Masker;
use crate::spec::{Dag, Diagnostic, Diagnostics, SourceFile, Task};
use crate::store::Durations;

use check::{Check, Found};
use conditions::Watched;
pub(crate) use entry::{Entry, Look};
use places::{follow, info, pools};
use subs::Subs;
pub use unfold::Unfolded;

/// Engines that DAG files may name whether or not this environment has them: those that the design knows.
pub const KNOWN_ENGINES: [&str; 8] =
    ["bq", "cloud-function", "duckdb", "iac", "noop", "shell", "spark", "sql"];

/// A DAG with all that its run needs.
#[derive(Debug)]
pub struct Prepared {
    /// The DAG as written.
    pub dag: Dag,
    /// The DAG file.
    pub source: SourceFile,
    /// Its graph.
    pub graph: Arc<Graph>,
    /// The engines that its tasks name; [`TaskInfo::engine`] is an index into this.
    pub engines: Vec<Arc<Engine>>,
    /// Hides the values of its connections.
    pub masker: Masker,
    /// The pools that its tasks name; [`TaskInfo::pool`] is an index into this.
    pub pools: Vec<Pool>,
    tasks: Vec<PreparedTask>,
    /// What rules may add, by [`Task::template`].
    templates: Vec<PreparedTask>,
    /// The tasks of DAGs that tasks stand for.
    subs: Subs<PreparedTask>,
    watched: Watched,
    overrides: Map<String, Value>,
    connections: Connections,
    /// For what engines add.
    environment: Plugins,
    working_dir: PathBuf,
    /// How often the script cache had a script, where it was asked.
    pub script_cache: Option<CacheCounts>,
    /// Something that the user should know before it runs.
    pub remark: Option<String>,
}

/// A pool: so many slots for the tasks that name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: Arc<str>,
    /// How many of its tasks may be in flight.
    pub slots: u32,
    /// It belongs to the environment, and all DAGs that run together share it.
    pub shared: bool,
}

/// The engines that were loaded, by name: several DAGs that run together share them.
#[derive(Debug, Default)]
pub struct Engines(HashMap<Arc<str>, Result<Arc<Engine>, Arc<EngineError>>>);

/// What a task needs besides its entry in the DAG file.
#[derive(Debug, Clone)]
pub(crate) struct PreparedTask {
    engine: u32,
    blocking: bool,
    script: Arc<LoadedScript>,
    is_formatted: bool,
    /// The folder in which it runs, where that is not the DAG file's.
    folder: Option<Arc<PathBuf>>,
}

/// What was found about a DAG in an environment.
#[derive(Debug)]
pub struct Checked {
    /// The graph; DAG files with a cycle get no further.
    pub graph: Arc<Graph>,
    /// What is wrong.
    pub mistakes: Vec<Diagnostic>,
    /// What this environment lacks.
    pub missing: Vec<Diagnostic>,
    /// What is wrong with `plugins.toml`, so that no scripts could be fetched.
    elsewhere: Vec<String>,
    engines: Vec<Arc<Engine>>,
    pools: Vec<Pool>,
    tasks: Vec<Option<PreparedTask>>,
    templates: Vec<Option<PreparedTask>>,
    subs: Subs<Option<PreparedTask>>,
    watched: Watched,
    connections: Connections,
    masker: Masker,
    counts: Option<CacheCounts>,
    remark: Option<String>,
}

/// Makes a DAG ready to run. Scripts of remote locations are fetched, and `progress` is told how far that is.
///
/// # Errors
///
/// All mistakes, and all that the environment lacks.
pub fn prepare(
    dag: Dag,
    source: SourceFile,
    plugins: &Plugins,
    loaded: &mut Engines,
    overrides: Map<String, Value>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Prepared, Diagnostics> {
    let checked = match checked(&dag, source.path(), plugins, loaded, &overrides, Some(progress)) {
        Ok(checked) => checked,
        Err(cycles) => return Err(Diagnostics::new(source, cycles)),
    };
    let problems: Vec<Diagnostic> = checked.mistakes.into_iter().chain(checked.missing).collect();
    let all_ready = checked.subs.values().flatten().all(Option::is_some);
    // The tasks stay in the memory that they are in.
    let tasks: Option<Vec<PreparedTask>> = checked.tasks.into_iter().collect();
    let templates: Option<Vec<PreparedTask>> = checked.templates.into_iter().collect();
    match tasks.zip(templates) {
        Some((tasks, templates)) if problems.is_empty() && checked.elsewhere.is_empty() && all_ready => {
            Ok(Prepared {
                environment: plugins.clone(),
                templates,
                subs: checked
                    .subs
                    .into_iter()
                    .map(|(sub, tasks)| (sub, tasks.into_iter().flatten().collect()))
                    .collect(),
                masker: checked.masker,
                script_cache: checked.counts,
                remark: checked.remark,
                working_dir: working_dir(source.path()),
                connections: checked.connections,
                engines: checked.engines,
                pools: checked.pools,
                graph: checked.graph,
                watched: checked.watched,
                // The graph has them now.
                dag: Dag { links: Box::default(), ..dag },
                source,
                tasks,
                overrides,
            })
        }
        _ => Err(Diagnostics::new(source, problems).with_elsewhere(checked.elsewhere)),
    }
}

/// Checks a DAG without making it ready to run. No service is asked: scripts of remote locations are not looked at, and
/// count as missing.
///
/// # Errors
///
/// The cycles of the graph.
pub fn check(
    dag: &Dag,
    path: &Path,
    plugins: &Plugins,
    loaded: &mut Engines,
    overrides: &Map<String, Value>,
) -> Result<Checked, Vec<Diagnostic>> {
    checked(dag, path, plugins, loaded, overrides, None)
}

/// With `fetching`, scripts of remote locations are fetched.
fn checked(
    dag: &Dag,
    path: &Path,
    plugins: &Plugins,
    loaded: &mut Engines,
    overrides: &Map<String, Value>,
    mut fetching: Option<&mut dyn FnMut(Progress)>,
) -> Result<Checked, Vec<Diagnostic>> {
    let graph = Graph::new(dag).map_err(|cycles| cycles.iter().map(Cycle::diagnostic).collect::<Vec<_>>())?;
    let base = working_dir(path);
    let mut check = Check::new(dag, &base, plugins, loaded, overrides);
    let all: Vec<&Task> = dag.tasks.iter().chain(dag.templates().into_iter().map(|task| &**task)).collect();
    let places: Vec<_> = all.iter().map(|task| check.place(task)).collect();
    let tasks = all.iter().zip(&places);
    let mut tasks: Vec<Option<PreparedTask>> = match &mut fetching {
        Some(progress) => {
            check.fetch(&all, &places, &mut **progress);
            tasks.map(|(task, place)| check.task(task, place)).collect()
        }
        None => tasks.map(|(task, place)| check.look(task, place)).collect(),
    };
    check.rules();
    let templates = tasks.split_off(dag.tasks.len());
    let mut found = check.found();
    let mut subs = Subs::new();
    subs::check(dag, (plugins, loaded, overrides), &mut fetching, &mut found, &mut subs);
    let Found { mut mistakes, missing, elsewhere, engines, connections, masker, counts, remark } =
        found.finish();
    let watched = conditions::watched(dag, &graph, &mut mistakes);
    let (graph, mut pools) = (Arc::new(graph), pools(dag, plugins));
    subs::add_pools(dag, plugins, &mut pools);
    Ok(Checked {
        graph,
        mistakes,
        missing,
        elsewhere,
        engines,
        pools,
        tasks,
        templates,
        subs,
        watched,
        connections,
        masker,
        counts,
        remark,
    })
}

/// The folder of the DAG file, absolute.
fn working_dir(dag_file: &Path) -> PathBuf {
    let folder = dag_file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

#[cfg(test)]
impl Prepared {
    /// Without engines: nothing can be run by it.
    pub(crate) fn without_engines(dag: Dag, source: SourceFile, blocks: impl Fn(&Task) -> bool) -> Self {
        let graph = Graph::new(&dag).unwrap();
        let text = Arc::from("");
        let script = Arc::new(LoadedScript { name: String::new(), text, path: None, uri: None });
        let task = |task: &Task| PreparedTask {
            engine: 0,
            blocking: blocks(task),
            script: Arc::clone(&script),
            is_formatted: true,
            folder: None,
        };
        let tasks = dag.tasks.iter().map(task).collect();
        Self {
            watched: conditions::watched(&dag, &graph, &mut Vec::new()),
            graph: Arc::new(graph),
            pools: pools(&dag, &Plugins::default()),
            source,
            engines: Vec::new(),
            masker: Masker::default(),
            templates: dag.templates().into_iter().map(|t| task(t)).collect(),
            subs: Subs::new(),
            tasks,
            dag,
            overrides: Map::new(),
            connections: Connections::new(),
            environment: Plugins::default(),
            working_dir: PathBuf::new(),
            script_cache: None,
            remark: None,
        }
    }
}

impl Prepared {
    /// What the scheduler needs to know of every task, in the graph's order.
    #[must_use]
    pub fn infos(&self, history: &Durations) -> Vec<TaskInfo> {
        let mut infos: Vec<TaskInfo> =
            self.graph.tasks().map(|task| self.info_of(self.entry(task), history)).collect();
        follow(&self.dag, &mut infos);
        infos
    }

    /// The limits of an environment that runs nothing else on so many workers.
    #[must_use]
    pub fn limits(&self, workers: u32) -> Limits {
        let engines = self.engines.iter().map(|engine| engine.max_concurrent()).collect();
        Limits { workers, engines, pools: self.pools.iter().map(|pool| pool.slots).collect() }
    }

    /// The folder of the DAG file, absolute.
    #[must_use]
    pub fn working_dir(&self) -> &Path {
        &self.working_dir
    }

    /// What holds for a run as a whole.
    #[must_use]
    pub fn settings(&self, grace: Duration, seed: u64) -> Settings {
        Settings { processors: self.dag.processors, timeout: self.dag.timeout, grace, seed }
    }

    /// The engine of any task of the run.
    pub(crate) fn engine_of(&self, entry: Entry<'_>) -> &Arc<Engine> {
        &self.engines[entry.ready.engine as usize]
    }

    /// A task's engine.
    #[must_use]
    pub fn engine(&self, task: TaskIdx) -> &Arc<Engine> {
        &self.engines[self.tasks[task.get()].engine as usize]
    }

    /// A task's entry in the DAG file.
    #[must_use]
    pub fn task(&self, task: TaskIdx) -> &Task {
        &self.dag.tasks[task.get()]
    }

    /// Whether a task needs a worker.
    #[must_use]
    pub fn blocks(&self, task: TaskIdx) -> bool {
        self.tasks[task.get()].blocking
    }

    /// The run's parameters of the command line.
    #[must_use]
    pub fn overrides(&self) -> &Map<String, Value> {
        &self.overrides
    }
}

impl Checked {
    /// As [`Prepared::infos`]; a task whose engine is missing is taken to need a worker.
    #[must_use]
    pub fn infos(&self, dag: &Dag, history: &Durations) -> Vec<TaskInfo> {
        let spare = u32::try_from(self.engines.len()).unwrap_or(u32::MAX);
        let one = |(task, prepared): (&Task, &Option<PreparedTask>)| {
            let (engine, blocking) = prepared.as_ref().map_or((spare, true), |p| (p.engine, p.blocking));
            info((&task.task_id, task), engine, blocking, &self.pools, history)
        };
        let mut infos: Vec<TaskInfo> = dag.tasks.iter().zip(&self.tasks).map(one).collect();
        follow(dag, &mut infos);
        infos
    }

    /// As [`Prepared::limits`]; an engine that is missing has none.
    #[must_use]
    pub fn limits(&self, workers: u32) -> Limits {
        let engines = self.engines.iter().map(|engine| engine.max_concurrent()).chain([None]).collect();
        Limits { workers, engines, pools: self.pools.iter().map(|pool| pool.slots).collect() }
    }
}
