//! What a DAG file says, as types: names rather than ids, and not yet known to be a valid graph.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::source::Span;
use super::task::{Dependency, Task};
use crate::condition::Condition;
use crate::growth::MAX_TASKS;

/// A DAG file, read and checked by itself. [`crate::graph`] checks what holds between tasks.
#[derive(Debug, Clone)]
pub struct Dag {
    /// The DAG's name; without `dag_id` in the file, the file's stem.
    pub dag_id: String,
    /// Free text for people.
    pub description: Option<String>,
    /// Who to ask about this DAG.
    pub owner: Option<String>,
    /// Labels for filtering.
    pub tags: Vec<String>,
    /// When the DAG should run: a cron expression or one of Airflow's presets (`@daily`); kept as written.
    pub schedule_interval: Option<String>,
    /// The date before which the DAG does not run; kept as written.
    pub start_date: Option<String>,
    /// At most this many tasks in flight; `None` is no limit of its own.
    pub processors: Option<u32>,
    /// How long a whole run may take.
    pub timeout: Option<Duration>,
    /// Pools by name, each with its slots: a task of a pool is in flight only with a slot of it.
    pub pools: BTreeMap<Arc<str>, u32>,
    /// Who is told how a run went.
    pub notify: Vec<Notify>,
    /// Whether scripts are kept in the script cache.
    pub script_cache: bool,
    /// How long a cached script stays valid.
    pub expire_cache: Option<Duration>,
    /// Values for placeholders of every task; a task's own `params` come first.
    pub params: Map<String, Value>,
    /// No more tasks than this, however its graph grows.
    pub max_tasks: u32,
    /// The DAG files that tasks stand for, by the paths as tasks name them; read with the file.
    pub subs: BTreeMap<String, Arc<SubDag>>,
    /// What is added to the graph once something is so.
    pub rules: Vec<Arc<Rule>>,
    /// The tasks, in the file's order.
    pub tasks: Vec<Task>,
    /// The place of the task that each dependency of each task names, one after the other, where all of them were seen as
    /// the file was read; the tasks may have come into another order since.
    pub(crate) links: Box<[u32]>,
}

impl Dag {
    /// A DAG of this name that says nothing else.
    pub(super) fn named(dag_id: String) -> Self {
        Self {
            dag_id,
            description: None,
            owner: None,
            tags: Vec::new(),
            schedule_interval: None,
            start_date: None,
            processors: None,
            timeout: None,
            pools: BTreeMap::new(),
            notify: Vec::new(),
            script_cache: false,
            expire_cache: None,
            params: Map::new(),
            max_tasks: MAX_TASKS,
            subs: BTreeMap::new(),
            rules: Vec::new(),
            tasks: Vec::new(),
            links: Box::default(),
        }
    }

    /// What it says for all of its tasks, with these tasks and rules in place of its own.
    pub(crate) fn around(&self, tasks: Vec<Task>, rules: Vec<Arc<Rule>>) -> Self {
        Self {
            params: self.params.clone(),
            pools: self.pools.clone(),
            script_cache: self.script_cache,
            expire_cache: self.expire_cache,
            tasks,
            rules,
            ..Self::named(self.dag_id.clone())
        }
    }
}

/// A DAG file that a task of another one stands for.
#[derive(Debug, Clone)]
pub struct SubDag {
    /// What it says.
    pub dag: Dag,
    /// Its tasks, each after those that it depends on.
    pub tasks: Vec<Arc<Task>>,
    /// The folder of the file.
    pub folder: PathBuf,
}

impl SubDag {
    /// The types of all its tasks, of those that their engines may add, and of those of DAGs in it.
    #[must_use]
    pub fn kinds(&self) -> Vec<Dependency> {
        let own = self.tasks.iter().flat_map(|task| {
            let kind =
                task.kind.as_ref().map(|kind| Dependency { task_id: Arc::clone(kind), span: task.span });
            kind.into_iter().chain(task.adds.iter().cloned())
        });
        own.chain(self.dag.subs.values().flat_map(|sub| sub.kinds())).collect()
    }
}

/// What an engine adds to the graph.
#[derive(Debug, Clone, Default)]
pub struct Addition {
    /// The tasks, each after those of them that it depends on.
    pub tasks: Vec<Arc<Task>>,
    /// The rules.
    pub rules: Vec<Arc<Rule>>,
}

/// What is added to the graph, and when.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What messages call it.
    pub name: Arc<str>,
    /// It is applied once for each of these tasks; without, once.
    pub each: Option<Each>,
    /// It is applied when this is true; without, as soon as there is a task to apply it to.
    pub when: Option<When>,
    /// The tasks that are added, each after those of them that it depends on.
    pub tasks: Vec<Arc<Task>>,
    /// The rules that are added.
    pub rules: Vec<Arc<Rule>>,
    /// Where it stands.
    pub span: Span,
}

/// The tasks to which a rule is applied one by one.
#[derive(Debug, Clone)]
pub enum Each {
    /// Those of a kind.
    Type(Dependency),
    /// The instances of a mapped task.
    InstancesOf(Dependency),
}

impl Rule {
    /// It and all the rules that it adds, one way or another.
    pub fn with_nested(&self) -> Vec<&Rule> {
        let mut all = vec![self];
        let mut next = 0;
        while let Some(&rule) = all.get(next) {
            all.extend(rule.rules.iter().map(|rule| &**rule));
            next += 1;
        }
        all
    }
}

impl Dag {
    /// All tasks that rules may add, by [`Task::template`].
    #[must_use]
    pub fn templates(&self) -> Vec<&Arc<Task>> {
        let rules = self.rules.iter().flat_map(|rule| rule.with_nested());
        let mut templates: Vec<&Arc<Task>> = rules.flat_map(|rule| &rule.tasks).collect();
        templates.sort_by_key(|task| task.template);
        templates
    }
}

/// What a mapped task is run for, and the place in the file.
#[derive(Debug, Clone)]
pub struct ForEach {
    /// What the items are.
    pub over: Over,
    /// Where it stands.
    pub span: Span,
}

/// Where the items of a mapped task come from.
#[derive(Debug, Clone)]
pub enum Over {
    /// One list or object.
    List(List),
    /// Several lists of one length by name: the first items together, then the second ones, and so on.
    Zip(Vec<(String, List)>),
    /// Several lists by name: every combination of their items, the last list the fastest.
    Cross(Vec<(String, List)>),
    /// The items of another mapped task; each instance waits for that one's of the same key alone.
    InstancesOf(Dependency),
}

impl Over {
    /// The lists that it is made of.
    pub fn lists(&self) -> impl Iterator<Item = &List> {
        let (one, named) = match self {
            Self::List(list) => (Some(list), &[][..]),
            Self::Zip(lists) | Self::Cross(lists) => (None, &lists[..]),
            Self::InstancesOf(_) => (None, &[][..]),
        };
        one.into_iter().chain(named.iter().map(|(_, list)| list))
    }
}

/// A list as written, or an expression in CEL that gives one.
#[derive(Debug, Clone)]
pub enum List {
    /// A list or an object.
    Literal(Arc<Value>),
    /// What is evaluated when the task starts.
    Expression(When),
}

/// A task's condition and its place in the file.
#[derive(Debug, Clone)]
pub struct When {
    /// As written, in CEL.
    pub text: Arc<str>,
    /// The same, compiled.
    pub condition: Arc<Condition>,
    /// Where it stands.
    pub span: Span,
}

/// Somebody who is told how a run went.
#[derive(Debug, Clone)]
pub struct Notify {
    /// What they are told of; at least one, each once.
    pub on: Vec<NotifyOn>,
    /// How they are told.
    pub target: NotifyTarget,
    /// Where the notice stands in the file.
    pub span: Span,
}

/// What a notice may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotifyOn {
    /// The run succeeded.
    Success,
    /// The run failed.
    Failure,
    /// The run took longer than it may.
    Deadline,
}

impl NotifyOn {
    /// All of them with the names used in DAG files.
    pub const NAMES: [(&'static str, NotifyOn); 3] =
        [("success", NotifyOn::Success), ("failure", NotifyOn::Failure), ("deadline", NotifyOn::Deadline)];

    /// What a notice is about that does not say.
    pub const DEFAULT: [NotifyOn; 2] = [NotifyOn::Failure, NotifyOn::Deadline];
}

/// How a notice is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifyTarget {
    /// A program and its arguments.
    Command(Vec<String>),
    /// An `http://` or `https://` URL.
    Webhook(String),
}

/// A script, with the engine that runs it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Script {
    /// The engine's name in `plugins.toml`.
    pub engine: Arc<str>,
    /// Where its text is.
    pub source: ScriptSource,
}

/// Where a script's text is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ScriptSource {
    /// In the DAG file itself.
    Inline(Arc<str>),
    /// At a location.
    Stored {
        /// The kind of place.
        location: Location,
        /// The bucket, or the top folder of the `local` location.
        bucket: String,
        /// The folder in it; may be nested (`a/b`) or empty in the spelled-out form.
        folder: String,
        /// The script's name without the engine's suffix.
        name: String,
    },
}

impl ScriptSource {
    /// The location, where the script is not in the DAG itself.
    #[must_use]
    pub fn location(&self) -> Option<Location> {
        match self {
            Self::Inline(_) => None,
            Self::Stored { location, .. } => Some(*location),
        }
    }
}

/// Where a script's text lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Location {
    /// The file system.
    Local,
    /// Google Cloud Storage.
    Gcs,
    /// S3 or a service that speaks its protocol.
    S3,
    /// A table of a database.
    Database,
}

impl Location {
    /// All of them, in the order in which messages list them.
    pub const ALL: [Location; 4] = [Location::Local, Location::Gcs, Location::S3, Location::Database];

    /// The name used in DAG files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Location::Local => "local",
            Location::Gcs => "gcs",
            Location::S3 => "s3",
            Location::Database => "database",
        }
    }
}

/// How the wait before a retry grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backoff {
    /// The same wait before every retry.
    #[default]
    Fixed,
    /// Twice the wait of the retry before.
    Exponential,
}

impl Backoff {
    /// All of them with the names used in DAG files.
    pub const NAMES: [(&'static str, Backoff); 2] =
        [("fixed", Backoff::Fixed), ("exponential", Backoff::Exponential)];
}

/// Which states of its dependencies let a task start; names and meanings are Airflow's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TriggerRule {
    /// All succeeded.
    #[default]
    AllSuccess,
    /// All failed or are `upstream_failed`.
    AllFailed,
    /// All ended, however.
    AllDone,
    /// All were skipped.
    AllSkipped,
    /// At least one succeeded; does not wait for the others.
    OneSuccess,
    /// At least one failed or is `upstream_failed`; does not wait for the others.
    OneFailed,
    /// At least one succeeded or failed; does not wait for the others.
    OneDone,
    /// None failed or is `upstream_failed`: all succeeded or were skipped.
    NoneFailed,
    /// None was skipped.
    NoneSkipped,
    /// None failed, and at least one succeeded.
    NoneFailedMinOneSuccess,
    /// At once, without waiting for any.
    Always,
}

impl TriggerRule {
    /// All of them with the names used in DAG files.
    pub const NAMES: [(&'static str, TriggerRule); 11] = [
        ("all_success", TriggerRule::AllSuccess),
        ("all_failed", TriggerRule::AllFailed),
        ("all_done", TriggerRule::AllDone),
        ("all_skipped", TriggerRule::AllSkipped),
        ("one_success", TriggerRule::OneSuccess),
        ("one_failed", TriggerRule::OneFailed),
        ("one_done", TriggerRule::OneDone),
        ("none_failed", TriggerRule::NoneFailed),
        ("none_skipped", TriggerRule::NoneSkipped),
        ("none_failed_min_one_success", TriggerRule::NoneFailedMinOneSuccess),
        ("always", TriggerRule::Always),
    ];

    /// Whether a task with it starts only when all of its dependencies have ended.
    #[must_use]
    pub fn waits_for_all(self) -> bool {
        !matches!(self, Self::Always | Self::OneSuccess | Self::OneFailed | Self::OneDone)
    }
}
