//! What a run's graph has grown by, and what a cause adds to it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::fill::fill_all;
use super::{Cause, Grown, Growth, Items};
use crate::event::TaskIdx;
use crate::spec::{Dag, Dependency, MATCHED, Rule, SubDag, Task};

/// The tasks that were added to a DAG since its run began.
#[derive(Debug, Default)]
pub struct Growing {
    /// How many tasks the DAG file has.
    pub(super) base: u32,
    pub(super) grown: Vec<Arc<Grown>>,
    /// The mapped tasks that have their instances.
    mapped: HashMap<TaskIdx, Instances>,
    /// Every rule, in the order in which they came.
    rules: Vec<ActiveRule>,
    /// By name; only where something is looked for by its name.
    names: HashMap<Arc<str>, TaskIdx, RandomState>,
    /// The tasks of each kind, but for instances: a mapped task stands for them.
    kinds: HashMap<Arc<str>, Vec<TaskIdx>>,
    /// How many templates of tasks rules and engines have brought.
    pub(super) templates: u32,
    /// Marks of what engines have added, by their tasks.
    pub(super) appended: HashSet<(TaskIdx, [u8; 32])>,
    /// The names of the tasks that rules add.
    pub(super) reserved: HashSet<Arc<str>>,
    /// All types that tasks have or may get; only where something is looked for by its name.
    pub(super) types: HashSet<Arc<str>>,
}

/// A rule that waits or was applied.
#[derive(Debug, Clone)]
pub struct ActiveRule {
    /// What it says.
    pub rule: Arc<Rule>,
    /// The task to which the rule that added it was applied.
    pub bound: Option<TaskIdx>,
}

/// The instances of a mapped task: one for each item, in order.
#[derive(Debug, Clone)]
struct Instances {
    first: TaskIdx,
    items: Arc<Items>,
}

impl Growing {
    /// Nothing has been added yet.
    #[must_use]
    pub fn new(dag: &Dag) -> Self {
        // Tasks are numbered by `u32` in the graph.
        let mut this = Self { base: u32::try_from(dag.tasks.len()).unwrap_or(u32::MAX), ..Self::default() };
        if !dag.rules.is_empty() {
            this.know_names(dag);
            this.templates = u32::try_from(dag.templates().len()).unwrap_or(u32::MAX);
        }
        let active = |rule: &Arc<Rule>| ActiveRule { rule: Arc::clone(rule), bound: None };
        this.rules = dag.rules.iter().map(active).collect();
        this.reserve(&dag.rules);
        this
    }

    /// Takes note of the names that rules may give to tasks.
    fn reserve<'r>(&mut self, rules: impl IntoIterator<Item = &'r Arc<Rule>>) {
        let all = rules.into_iter().flat_map(|rule| rule.with_nested());
        self.reserved.extend(all.flat_map(|rule| &rule.tasks).map(|task| Arc::clone(&task.task_id)));
    }

    /// From here on tasks are found by their names.
    pub fn know_names(&mut self, dag: &Dag) {
        if !self.names.is_empty() {
            return;
        }
        let templates = dag.templates();
        self.learn_types(dag.tasks.iter().chain(templates.iter().map(|task| &***task)));
        let of_subs = dag.subs.values().flat_map(|sub| sub.kinds());
        self.types.extend(of_subs.map(|kind| Arc::clone(&kind.task_id)));
        self.names.reserve(dag.tasks.len() + self.grown.len());
        for (task, number) in dag.tasks.iter().zip(0..) {
            self.names.insert(Arc::clone(&task.task_id), TaskIdx(number));
            if let Some(kind) = &task.kind {
                self.kinds.entry(Arc::clone(kind)).or_default().push(TaskIdx(number));
            }
        }
        for (task, number) in self.grown.clone().iter().zip(self.base..) {
            self.know(task, TaskIdx(number));
        }
    }

    fn learn_types<'t>(&mut self, tasks: impl IntoIterator<Item = &'t Task>) {
        for task in tasks {
            self.types.extend(task.kind.clone());
            self.types.extend(task.adds.iter().map(|kind| Arc::clone(&kind.task_id)));
        }
    }

    fn know(&mut self, task: &Grown, number: TaskIdx) {
        self.names.insert(Arc::clone(&task.task_id), number);
        if let Some(kind) = task.template.kind.as_ref().filter(|_| !task.is_instance) {
            self.kinds.entry(Arc::clone(kind)).or_default().push(number);
        }
    }

    /// Every rule, in the order in which they came.
    #[must_use]
    pub fn rules(&self) -> &[ActiveRule] {
        &self.rules
    }

    /// A task by its name, in a DAG with rules.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<TaskIdx> {
        self.names.get(name).copied()
    }

    /// A task that was added; `None` for one of the DAG file.
    #[must_use]
    pub fn get(&self, task: TaskIdx) -> Option<&Arc<Grown>> {
        self.grown.get(task.0.checked_sub(self.base)? as usize)
    }

    /// The tasks that were added, in order.
    #[must_use]
    pub fn grown(&self) -> &[Arc<Grown>] {
        &self.grown
    }

    /// The instances of a mapped task that has them.
    pub fn instances(&self, task: TaskIdx) -> Option<impl Iterator<Item = TaskIdx> + use<>> {
        let instances = self.mapped.get(&task)?;
        let count = u32::try_from(instances.items.len()).unwrap_or(u32::MAX);
        Some((instances.first.0..instances.first.0 + count).map(TaskIdx))
    }

    /// What this adds to the graph. Nothing is added before [`commit`](Self::commit).
    ///
    /// # Errors
    ///
    /// Why nothing can be added, for people.
    pub fn derive(&mut self, dag: &Dag, cause: Cause) -> Result<Growth, String> {
        let (mut rules, mut templates) = (Vec::new(), 0);
        let tasks = match &cause {
            Cause::Mapped { task, items } => self.instances_of(dag, *task, items.as_ref())?,
            Cause::SubDag { task } => {
                self.know_names(dag);
                self.tasks_of(dag, *task)?
            }
            Cause::Rule { rule, task, result, .. } => {
                let active = self.rules.get(*rule as usize).ok_or("there is no such rule")?;
                let nested = active.rule.rules.iter();
                rules.extend(nested.map(|rule| ActiveRule { rule: Arc::clone(rule), bound: *task }));
                let about = About { matched: *task, result: result.as_deref(), named_after: true };
                self.added(dag, &active.rule.tasks, &about)?
            }
            Cause::Engine { task, addition } => {
                self.know_names(dag);
                let addition = self.checked(dag, *task, addition)?;
                templates = addition.templates();
                rules.extend(
                    addition.rules.iter().map(|rule| ActiveRule { rule: Arc::clone(rule), bound: None }),
                );
                self.added(
                    dag,
                    &addition.tasks,
                    &About { matched: Some(*task), result: None, named_after: false },
                )?
            }
        };
        let count = self.base as usize + self.grown.len() + tasks.len();
        if count > dag.max_tasks as usize {
            return Err(format!(
                "the graph would grow to {count} tasks, and `max_tasks` is {}; raise it in the DAG if that is meant",
                dag.max_tasks
            ));
        }
        let first = TaskIdx(self.base + u32::try_from(self.grown.len()).unwrap_or(u32::MAX));
        Ok(Growth { cause, first, tasks: tasks.into_iter().map(Arc::new).collect(), rules, templates })
    }

    /// Takes note of what was added.
    pub fn commit(&mut self, dag: &Dag, growth: &Growth) {
        if matches!(growth.cause, Cause::Engine { .. } | Cause::SubDag { .. }) {
            self.know_names(dag);
        }
        if let Cause::Mapped { task, items } = &growth.cause
            && let Some(items) = items.as_ref().or_else(|| self.followed(dag, *task).map(|f| &f.items))
        {
            let instances = Instances { first: growth.first, items: Arc::clone(items) };
            self.mapped.insert(*task, instances);
        }
        if !self.names.is_empty() {
            for (task, number) in growth.tasks.iter().zip(growth.first.0..) {
                self.know(task, TaskIdx(number));
            }
        }
        self.rules.extend(growth.rules.iter().cloned());
        self.templates += growth.templates;
        if let Cause::Engine { task, addition } = &growth.cause {
            self.appended.insert((*task, mark(addition)));
            self.reserve(growth.rules.iter().map(|active| &active.rule));
            let rules = growth.rules.iter().flat_map(|active| active.rule.with_nested());
            self.learn_types(rules.flat_map(|rule| &rule.tasks).map(|task| &**task));
            self.learn_types(growth.tasks.iter().map(|task| &*task.template));
        }
        self.grown.extend(growth.tasks.iter().cloned());
    }

    /// The DAG that a task stands for.
    #[must_use]
    pub fn sub<'d>(&'d self, dag: &'d Dag, task: TaskIdx) -> Option<&'d Arc<SubDag>> {
        match self.get(task) {
            Some(grown) => {
                let subs = grown.home.as_ref().map_or(&dag.subs, |home| &home.dag.subs);
                subs.get(&**grown.template.dag.as_ref()?)
            }
            None => dag.subs.get(&**dag.tasks.get(task.get())?.dag.as_ref()?),
        }
    }

    /// The tasks of a DAG, called after the task that stands for it.
    fn tasks_of(&self, dag: &Dag, task: TaskIdx) -> Result<Vec<Grown>, String> {
        let sub = self.sub(dag, task).ok_or("the DAG that it stands for was not read")?;
        let file = dag.tasks.get(task.get());
        let (parent, given, own) = match (self.get(task), file) {
            (Some(grown), _) => (&*grown.task_id, &grown.params, &grown.template.params),
            (None, Some(file)) => (&*file.task_id, &file.params, &file.params),
            (None, None) => return Err(format!("there is no task number {}", task.0)),
        };
        let first = self.base as usize + self.grown.len();
        let places: HashMap<&str, TaskIdx> =
            sub.tasks.iter().zip(first..).map(|(task, place)| (&*task.task_id, idx(place))).collect();
        let place = |dependency: &Dependency| places.get(&*dependency.task_id).copied();
        let grown = sub.tasks.iter().map(|template| {
            // Those of the task that stands for the DAG replace those of the same names, as `-p` does.
            let written = given.iter().filter(|(name, _)| own.contains_key(*name));
            let all = given.iter().chain(&sub.dag.params).chain(&template.params).chain(written);
            let params = all.map(|(name, value)| (name.clone(), value.clone()));
            Grown {
                task_id: format!("{parent}/{}", template.task_id).into(),
                template: Arc::clone(template),
                params: params.collect(),
                upstream: template.upstream().filter_map(place).collect(),
                instance_of: Some(task),
                is_instance: false,
                home: Some(Arc::clone(sub)),
                from: Some(task),
                follows: template.follows().and_then(place),
                matched: None,
            }
        });
        Ok(grown.collect())
    }

    /// The tasks that a rule or an engine adds.
    fn added(&self, dag: &Dag, templates: &[Arc<Task>], about: &About<'_>) -> Result<Vec<Grown>, String> {
        let About { matched, result, named_after } = *about;
        let first = self.base as usize + self.grown.len();
        let about = matched.map(|task| {
            let id = self.name(dag, task);
            (id.to_owned(), json!({"id": id, "result": result}))
        });
        let mut added: Vec<Grown> = Vec::with_capacity(templates.len());
        let mut siblings: HashMap<&str, TaskIdx> = HashMap::with_capacity(templates.len());
        for template in templates {
            let (task_id, params) = match &about {
                None => (Arc::clone(&template.task_id), template.params.clone()),
                Some((id, task)) => {
                    let name = match named_after {
                        true => named(&template.task_id, id).into(),
                        false => Arc::clone(&template.task_id),
                    };
                    (name, fill_all(&template.params, &[("task", task)])?)
                }
            };
            if self.names.contains_key(&*task_id) {
                return Err(format!("there is a task `{task_id}` already"));
            }
            // Siblings come first: they are what the rule's author sees.
            let find = |name: &str| {
                if name == MATCHED {
                    return matched;
                }
                siblings.get(name).copied().or_else(|| self.find(name))
            };
            let lookup = |name: &str| {
                find(name).ok_or_else(|| format!("`{task_id}` depends on `{name}`, which is not there yet"))
            };
            let mut upstream = Vec::new();
            for dependency in template.upstream() {
                upstream.push(lookup(&dependency.task_id)?);
            }
            for kind in &template.after_types {
                let before = templates.iter().take(added.len()).zip(first..);
                let siblings = before.filter(|(s, _)| s.kind.as_deref() == Some(&*kind.task_id));
                upstream.extend(self.kinds.get(&*kind.task_id).into_iter().flatten().copied());
                upstream.extend(siblings.map(|(_, place)| idx(place)));
            }
            upstream.sort_unstable();
            upstream.dedup();
            let follows = template.follows().map(|followed| lookup(&followed.task_id)).transpose()?;
            siblings.insert(&*template.task_id, idx(first + added.len()));
            added.push(Grown {
                task_id,
                template: Arc::clone(template),
                params,
                upstream: upstream.into(),
                instance_of: None,
                is_instance: false,
                home: None,
                from: matched,
                follows,
                matched,
            });
        }
        Ok(added)
    }

    /// What a task is called.
    pub(super) fn name<'s>(&'s self, dag: &'s Dag, task: TaskIdx) -> &'s str {
        self.get(task).map_or_else(|| &*dag.tasks[task.get()].task_id, |grown| &grown.task_id)
    }

    fn instances_of(
        &self,
        dag: &Dag,
        task: TaskIdx,
        items: Option<&Arc<Items>>,
    ) -> Result<Vec<Grown>, String> {
        let followed = self.followed(dag, task);
        let items = items.or(followed.map(|followed| &followed.items));
        let items = items.ok_or("the task that it follows has no instances")?;
        let grown = self.get(task);
        let template = match grown {
            Some(grown) => Arc::clone(&grown.template),
            None => Arc::new(self.of_file(dag, task)?.clone()),
        };
        let (name, params) = match grown {
            Some(grown) => (&*grown.task_id, &grown.params),
            None => (&*template.task_id, &template.params),
        };
        let mut instances = Vec::with_capacity(items.len());
        for ((key, item), index) in items.iter().zip(0_u32..) {
            let (index_value, key_value) = (Value::from(index), Value::from(key));
            let bindings = [("item", &*item), ("index", &index_value), ("key", &key_value)];
            let params = fill_all(params, &bindings).map_err(|why| format!("instance [{key}]: {why}"))?;
            let upstream = followed.iter().map(|followed| TaskIdx(followed.first.0 + index)).collect();
            instances.push(Grown {
                task_id: format!("{name}[{key}]").into(),
                template: Arc::clone(&template),
                params,
                upstream,
                instance_of: Some(task),
                is_instance: true,
                home: grown.and_then(|grown| grown.home.clone()),
                from: Some(task),
                follows: None,
                matched: grown.and_then(|grown| grown.matched),
            });
        }
        Ok(instances)
    }

    /// The instances that those of a task follow one by one.
    fn followed(&self, dag: &Dag, task: TaskIdx) -> Option<&Instances> {
        self.mapped.get(&self.follows(dag, task)?)
    }

    /// The mapped task that a mapped task follows.
    #[must_use]
    pub fn follows(&self, dag: &Dag, task: TaskIdx) -> Option<TaskIdx> {
        if let Some(grown) = self.get(task) {
            return grown.follows;
        }
        let name = &dag.tasks.get(task.get())?.follows()?.task_id;
        let place = dag.tasks.iter().position(|task| task.task_id == *name)?;
        u32::try_from(place).ok().map(TaskIdx)
    }

    fn of_file<'d>(&self, dag: &'d Dag, task: TaskIdx) -> Result<&'d Task, String> {
        dag.tasks.get(task.get()).ok_or_else(|| format!("there is no task number {}", task.0))
    }
}

/// For what tasks are added.
struct About<'a> {
    /// The task to which a rule is applied, or whose engine adds them.
    matched: Option<TaskIdx>,
    /// What it left.
    result: Option<&'a Value>,
    /// They are called after it.
    named_after: bool,
}

/// The longest name of a task: it is the name of a folder for its logs.
const LONGEST_NAME: usize = 250;

/// What a task is called that a rule adds for another one; where that would be too long, by a short mark of the other's name.
fn named(template: &str, matched: &str) -> String {
    let name = format!("{template}[{matched}]");
    if name.len() <= LONGEST_NAME {
        return name;
    }
    let digest = Sha256::digest(matched.as_bytes());
    let mark: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{template}[{mark}]")
}

/// Tells one addition from others, in a fraction of its place.
pub(super) fn mark(addition: &Value) -> [u8; 32] {
    Sha256::digest(addition.to_string().as_bytes()).into()
}

fn idx(place: usize) -> TaskIdx {
    TaskIdx(u32::try_from(place).unwrap_or(u32::MAX))
}
