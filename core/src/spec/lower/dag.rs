//! The top of a DAG file: pyDag's wrapper, and the keys of the DAG itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::dag::{Backoff, Dag};
use super::super::diagnostic::{Mistakes, quote};
use super::super::json;
use super::super::keys::DagKey;
use super::super::links;
use super::super::source::{SourceFile, Span};
use super::super::tree::{Entry, Node, Parsed, Value};
use super::task::{Defaults, Early, Plain};
use super::{Found, LONGEST_ID, Lower, is_id_character};

/// The key around a DAG in pyDag's files.
const WRAPPER: &str = "dag";

/// Where a file has its tasks: below the wrapper or without it.
const PLACES: json::Places = json::Places { wrapper: WRAPPER, list: "tasks" };

/// Everything a file says, or everything that is wrong with it.
pub(in super::super) fn dag(source: &SourceFile, parsed: Parsed<'_>) -> Result<Dag, Mistakes> {
    finish(Lower::new(source, parsed.mistakes), parsed.root)
}

/// The same of a file in JSON, whose tasks are lowered one by one as it is read: there is no tree of all of it. `None`
/// where only the whole tree tells what it says, or what is wrong.
pub(in super::super) fn json_dag(source: &SourceFile) -> Option<Result<Dag, Mistakes>> {
    let mut lower = Lower::new(source, Mistakes::default());
    let mut early = Early::new();
    let parsed =
        json::parse_by_elements(source.text(), &PLACES, &mut |task| lower.early_task(&mut early, task))?;
    lower.early = Some(early);
    let of_tasks = std::mem::replace(&mut lower.mistakes, parsed.mistakes);
    lower.mistakes.append(of_tasks);
    Some(finish(lower, parsed.root))
}

fn finish(mut lower: Lower<'_>, root: Node<'_>) -> Result<Dag, Mistakes> {
    let source = lower.source;
    let mut dag = Dag::named(default_id(source));
    if let Some((entries, span)) = lower.top(root) {
        lower.dag(&mut dag, entries, span);
    }
    let Lower { mut mistakes, mut names, .. } = lower;
    let links = names.take_links().filter(|_| mistakes.is_empty());
    links::check(&dag, source, &names, links.is_some(), &mut mistakes);
    dag.links = links.unwrap_or_default();
    if mistakes.is_empty() { Ok(dag) } else { Err(mistakes) }
}

/// The file's stem, with `_` for what an id may not hold.
fn default_id(source: &SourceFile) -> String {
    let stem = source.path().file_stem().map(|stem| stem.to_string_lossy());
    let stem = stem.as_deref().unwrap_or_default();
    let valid = |c| if is_id_character(c) { c } else { '_' };
    let id: String = stem.chars().take(LONGEST_ID).map(valid).collect();
    if matches!(&*id, "" | "." | "..") { WRAPPER.to_owned() } else { id }
}

impl Lower<'_> {
    /// The keys of the DAG, out of pyDag's wrapper if it is there.
    fn top<'a>(&mut self, root: Node<'a>) -> Option<(Box<[Entry<'a>]>, Span)> {
        let span = root.span;
        let mut entries = self.dag_entries(root)?;
        let Some(at) = entries.iter().position(|entry| entry.key == WRAPPER) else {
            return Some((entries, span));
        };
        for (beside, entry) in entries.iter().enumerate() {
            if beside != at {
                let message = format!("{} stands beside `{WRAPPER}`", quote(&entry.key));
                self.mistake_with_help(entry.key_span, message, format!("move it into `{WRAPPER}`"));
            }
        }
        let wrapped = std::mem::replace(&mut entries[at].value.value, Value::Null);
        let span = entries[at].value.span;
        let entries = self.dag_entries(Node { span, value: wrapped })?;
        Some((entries, span))
    }

    fn dag_entries<'a>(&mut self, node: Node<'a>) -> Option<Box<[Entry<'a>]>> {
        match node.value {
            Value::Map(entries) => Some(entries),
            Value::Invalid => None,
            other => {
                let message = format!("expected a mapping with the keys of a DAG, found {}", other.found());
                let help =
                    "a DAG file is JSON or YAML and holds at least `tasks`; `oxidag schema dag` describes it";
                self.mistake_with_help(node.span, message, help);
                None
            }
        }
    }

    fn dag(&mut self, dag: &mut Dag, entries: Box<[Entry<'_>]>, span: Span) {
        let mut defaults = Defaults::default();
        let (mut tasks, mut rules) = (None, None);
        let mut found = Found::none();
        for entry in entries {
            let Some(key) = self.key::<DagKey>(&entry) else {
                continue;
            };
            found.add(key);
            if key == DagKey::Tasks {
                // Read last: the defaults of tasks may stand behind them.
                tasks = Some(entry.value);
            } else if key == DagKey::Rules {
                rules = Some(entry.value);
            } else {
                self.dag_value(dag, &mut defaults, key, &entry.key, entry.value);
            }
        }
        self.require(&found, span);
        if let Some(tasks) = tasks {
            self.tasks(dag, &defaults, tasks);
            self.names.end_file();
        }
        if let Some(rules) = rules {
            dag.rules = self.rules(&defaults, rules, "", false);
        }
    }

    fn dag_value(&mut self, dag: &mut Dag, defaults: &mut Defaults, key: DagKey, name: &str, node: Node<'_>) {
        match key {
            DagKey::DagId => {
                if let Some(id) = self.id(name, node) {
                    dag.dag_id = id;
                }
            }
            DagKey::Description => dag.description = self.text_or_none(name, node),
            DagKey::Owner => dag.owner = self.text_or_none(name, node),
            DagKey::Tags => dag.tags = self.texts(name, node),
            DagKey::ScheduleInterval => dag.schedule_interval = self.schedule(name, node),
            DagKey::StartDate => dag.start_date = self.date(name, node),
            DagKey::Processors => dag.processors = self.count(name, &node, 1),
            DagKey::Retries => defaults.retries = self.count(name, &node, 0).unwrap_or_default(),
            DagKey::RetryDelay => {
                if let Some(delay) = self.duration(name, &node) {
                    defaults.retry_delay = delay;
                }
            }
            DagKey::RetryBackoff => {
                defaults.retry_backoff = self.choice(name, node, &Backoff::NAMES).unwrap_or_default();
            }
            DagKey::MaxRetryDelay => defaults.max_retry_delay = self.max_delay(name, &node),
            DagKey::Timeout => dag.timeout = self.timeout(name, &node),
            DagKey::Pools => dag.pools = self.pools(name, node),
            DagKey::Notify => dag.notify = self.notices(name, node),
            DagKey::ScriptCache => dag.script_cache = self.flag(name, &node).unwrap_or_default(),
            DagKey::ExpireCache => dag.expire_cache = self.duration(name, &node),
            DagKey::Params => dag.params = self.params(name, node),
            DagKey::MaxTasks => {
                if let Some(most) = self.count(name, &node, 1) {
                    dag.max_tasks = most;
                }
            }
            DagKey::Tasks | DagKey::Rules => {}
        }
    }

    fn pools(&mut self, name: &str, node: Node<'_>) -> BTreeMap<Arc<str>, u32> {
        let Value::Map(entries) = node.value else {
            self.expected("a mapping of pools to their slots", name, &node);
            return BTreeMap::new();
        };
        let mut pools = BTreeMap::new();
        for Entry { key, key_span, value } in entries {
            if self.check_id("pool", &key, key_span)
                && let Some(slots) = self.count(&key, &value, 1)
            {
                pools.insert(key.into(), slots);
            }
        }
        pools
    }

    fn tasks(&mut self, dag: &mut Dag, defaults: &Defaults, node: Node<'_>) {
        if let Some(early) = self.early.take() {
            dag.tasks = early.with(defaults);
            return;
        }
        if let Value::List(tasks) = &node.value
            && tasks.is_empty()
        {
            self.mistake(node.span, "a DAG has at least one task");
        }
        let tasks = self.list("tasks", "a list of tasks", node);
        dag.tasks = Vec::with_capacity(tasks.len());
        let plain = Plain::new(defaults);
        for task in tasks {
            let task = self.task(&plain, task);
            dag.tasks.extend(task);
        }
    }
}
