//! Rules, and the tasks that they add.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::dag::{Addition, Each, Rule};
use super::super::diagnostic::{Mistakes, quote};
use super::super::keys::{AdditionKey, EachKey, RuleKey};
use super::super::source::SourceFile;
use super::super::task::{Dependency, Task};
use super::super::tree::{Node, Parsed, Value};
use super::task::{Defaults, Plain};
use super::{Found, Lower};
use crate::condition::Vocabulary;

/// What a rule says of itself before it is numbered.
#[derive(Default)]
struct Parts<'a> {
    name: Option<String>,
    each: Option<Each>,
    when: Option<Node<'a>>,
    add: Option<Node<'a>>,
}

/// What an engine adds. Its tasks know the one that adds them as `{task}`.
pub(in super::super) fn addition(
    source: &SourceFile,
    parsed: Parsed<'_>,
    first: u32,
) -> Result<Addition, Mistakes> {
    let mut lower = Lower::new(source, parsed.mistakes);
    lower.templates = first;
    let mut addition = Addition::default();
    let span = parsed.root.span;
    match parsed.root.value {
        Value::Map(entries) => {
            for entry in entries {
                let Some(key) = lower.key::<AdditionKey>(&entry) else { continue };
                match key {
                    AdditionKey::Tasks => {
                        addition.tasks = lower.added_tasks(&Defaults::default(), entry.value, true);
                    }
                    AdditionKey::Rules => {
                        addition.rules = lower.rules(&Defaults::default(), entry.value, "", false);
                    }
                }
            }
            if addition.tasks.is_empty() && addition.rules.is_empty() {
                lower.mistake(span, "nothing is added");
            }
        }
        value => lower.expected("a mapping with `tasks`, `rules` or both", "addition", &Node { span, value }),
    }
    let mistakes = lower.into_mistakes();
    if mistakes.is_empty() { Ok(addition) } else { Err(mistakes) }
}

impl Lower<'_> {
    /// Whether what is read now is added by a rule.
    pub(super) fn is_addition(&self) -> bool {
        self.vocabulary != Vocabulary::Task
    }

    /// Rules; `of` is the name of the rule that adds them, and `bound` says whether that is applied task by task.
    pub(super) fn rules(
        &mut self,
        defaults: &Defaults,
        node: Node<'_>,
        of: &str,
        bound: bool,
    ) -> Vec<Arc<Rule>> {
        let list = self.list("rules", "a list of rules", node);
        let rules = list.zip(1..).filter_map(|(node, number)| {
            let name = if of.is_empty() { number.to_string() } else { format!("{of}.{number}") };
            self.rule(defaults, node, name, bound).map(Arc::new)
        });
        rules.collect()
    }

    fn rule(&mut self, defaults: &Defaults, node: Node<'_>, number: String, bound: bool) -> Option<Rule> {
        let span = node.span;
        let Value::Map(entries) = node.value else {
            self.expected("a mapping with the keys of a rule", "rules", &node);
            return None;
        };
        let (mut parts, mut found) = (Parts::default(), Found::none());
        for entry in entries {
            let Some(key) = self.key::<RuleKey>(&entry) else { continue };
            found.add(key);
            match key {
                RuleKey::RuleId => parts.name = self.id(&entry.key, entry.value),
                RuleKey::Each => {
                    if bound {
                        let message = "`each` stands in a rule that is added by one with `each`";
                        let help = "the rule is added once for each task, and is applied once itself; it knows the task as `task`";
                        self.mistake_with_help(entry.key_span, message, help);
                    }
                    parts.each = self.each(&entry.key, entry.value);
                }
                RuleKey::When => parts.when = Some(entry.value),
                RuleKey::Add => parts.add = Some(entry.value),
            }
        }
        self.require(&found, span);
        if !found.has(RuleKey::When) && !found.has(RuleKey::Each) {
            let help = "say when it is applied, or to which tasks; `when: true` applies it at once";
            self.mistake_with_help(span, "a rule has `when` or `each`", help);
        }
        let bound = bound || found.has(RuleKey::Each);
        let around = std::mem::replace(&mut self.vocabulary, Vocabulary::Rule { bound });
        let when = parts.when.and_then(|node| match node.value {
            Value::Bool(flag) => self.expression(&flag.to_string(), node.span),
            _ => self.when("when", node),
        });
        let name: Arc<str> = parts.name.unwrap_or(number).into();
        let mut rule = Rule { name, each: parts.each, when, tasks: Vec::new(), rules: Vec::new(), span };
        if let Some(add) = parts.add {
            self.addition(defaults, &mut rule, add, bound);
        }
        self.vocabulary = around;
        Some(rule)
    }

    fn each(&mut self, name: &str, node: Node<'_>) -> Option<Each> {
        let span = node.span;
        let Value::Map(entries) = node.value else {
            self.expected("`{type: name}` or `{instances_of: task}`", name, &node);
            return None;
        };
        let mut each = Vec::new();
        for entry in entries {
            let Some(key) = self.key::<EachKey>(&entry) else { continue };
            let span = entry.value.span;
            let id = self.id(&entry.key, entry.value).map(|id| Dependency { task_id: id.into(), span });
            each.extend(id.map(|id| match key {
                EachKey::Type => Each::Type(id),
                EachKey::InstancesOf => Each::InstancesOf(id),
            }));
        }
        if each.len() != 1 {
            self.mistake(span, "`each` has one key: `type` or `instances_of`");
        }
        each.pop()
    }

    fn addition(&mut self, defaults: &Defaults, rule: &mut Rule, node: Node<'_>, bound: bool) {
        let span = node.span;
        let Value::Map(entries) = node.value else {
            return self.expected("a mapping with `tasks`, `rules` or both", "add", &node);
        };
        for entry in entries {
            let Some(key) = self.key::<AdditionKey>(&entry) else { continue };
            match key {
                AdditionKey::Tasks => rule.tasks = self.added_tasks(defaults, entry.value, bound),
                AdditionKey::Rules => {
                    let name = Arc::clone(&rule.name);
                    rule.rules = self.rules(defaults, entry.value, &name, bound);
                }
            }
        }
        if rule.tasks.is_empty() && rule.rules.is_empty() {
            self.mistake(span, "nothing is added");
        }
    }

    pub(super) fn added_tasks(&mut self, defaults: &Defaults, node: Node<'_>, bound: bool) -> Vec<Arc<Task>> {
        let around = std::mem::replace(&mut self.vocabulary, Vocabulary::Added { bound });
        let list = self.list("tasks", "a list of tasks", node);
        let mut tasks = Vec::with_capacity(list.len());
        let plain = Plain::new(defaults);
        for node in list {
            let Some(mut task) = self.task(&plain, node) else { continue };
            if task.teardown {
                let help = "a teardown stands in the DAG itself; it waits for tasks that are added behind its setups";
                self.mistake_with_help(
                    task.span,
                    format!("task {} is a teardown", quote(&task.task_id)),
                    help,
                );
            }
            task.template = self.templates;
            self.templates += 1;
            tasks.push(task);
        }
        self.vocabulary = around;
        self.in_order(tasks).into_iter().map(Arc::new).collect()
    }

    /// The tasks, each after those of them that it depends on.
    fn in_order(&mut self, tasks: Vec<Task>) -> Vec<Task> {
        let places: HashMap<&str, usize> = tasks.iter().map(|task| &*task.task_id).zip(0..).collect();
        let (mut left, mut after) = (vec![0_usize; tasks.len()], vec![Vec::new(); tasks.len()]);
        for (place, task) in tasks.iter().enumerate() {
            for upstream in task.upstream().filter_map(|d| places.get(&*d.task_id)) {
                left[place] += 1;
                after[*upstream].push(place);
            }
        }
        let mut order: Vec<usize> = (0..tasks.len()).filter(|&place| left[place] == 0).collect();
        let mut next = 0;
        while let Some(&place) = order.get(next) {
            next += 1;
            for &waiting in &after[place] {
                left[waiting] -= 1;
                if left[waiting] == 0 {
                    order.push(waiting);
                }
            }
        }
        if order.len() < tasks.len() {
            let stuck: Vec<&Task> =
                tasks.iter().zip(&left).filter(|(_, left)| **left > 0).map(|(t, _)| t).collect();
            let names: Vec<String> = stuck.iter().map(|task| quote(&task.task_id)).collect();
            let message =
                format!("tasks that are added depend on each other in a cycle: {}", names.join(", "));
            self.mistake_with_help(stuck[0].span, message, "take one of these dependencies out");
        }
        let mut tasks: Vec<Option<Task>> = tasks.into_iter().map(Some).collect();
        let mut ordered: Vec<Task> = order.into_iter().filter_map(|place| tasks[place].take()).collect();
        // Those of a cycle too: what names them is not wrong.
        ordered.extend(tasks.into_iter().flatten());
        ordered
    }

    /// `{type: name}` among dependencies.
    pub(super) fn task_type(&mut self, node: Node<'_>) -> Option<Dependency> {
        match self.each("dependencies", node)? {
            Each::Type(of) => Some(of),
            Each::InstancesOf(task) => {
                let help = "a dependency on the mapped task itself waits for all of its instances";
                self.mistake_with_help(task.span, "`instances_of` is no dependency", help);
                None
            }
        }
    }
}
