//! Which rules have to be looked at, and which can still come to something.
//!
//! A rule is looked at when it comes, and then when something has changed that it looks at: a task that it names, a task
//! of a kind or group that it names, a task to which it may be applied. What nothing looks at costs one comparison.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::event::TaskIdx;
use crate::spec::{Dependency, Each, Rule};
use crate::state::TaskState;

/// How many tasks are in each state.
pub type Counts = [u32; TaskState::ALL.len()];

/// All rules of a run, and what they look at.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Open>,
    dirty: VecDeque<u32>,
    /// What is known of each task.
    tasks: Vec<Facts>,
    kinds: HashMap<Arc<str>, Table>,
    groups: HashMap<TaskIdx, Table>,
    /// The rules that look at a task, by its number once it is there.
    by_task: HashMap<TaskIdx, Vec<u32>>,
    by_name: HashMap<Arc<str>, Vec<u32>>,
    /// The open rules that ask whether a kind of tasks is closed.
    asking: Vec<u32>,
    /// Nothing has changed since all of those were looked at.
    settled: bool,
}

/// What is known of a task.
#[derive(Debug)]
struct Facts {
    name: Arc<str>,
    state: TaskState,
    kind: Option<Arc<str>>,
    group: Option<TaskIdx>,
    /// The kinds of tasks that its engine may add.
    adds: Vec<Arc<str>>,
    /// It stands for its instances.
    mapped: bool,
    watched: bool,
}

/// Tasks of a kind, or the instances of a mapped task.
#[derive(Debug, Default)]
struct Table {
    tasks: Vec<TaskIdx>,
    counts: Counts,
    /// Those that have not ended, mapped tasks included.
    unended: u32,
    /// Tasks that may add one and have not ended.
    adders: u32,
    watchers: Vec<u32>,
    /// Rules that are applied to each of them.
    each: Vec<u32>,
}

impl Table {
    /// Whether one of them is under way, or may be added by one that is.
    fn lives(&self) -> bool {
        self.unended + self.adders > 0
    }
}

/// A task that rules learn of.
#[derive(Debug, Clone, Copy)]
pub struct NewTask<'a> {
    /// Its name.
    pub name: &'a Arc<str>,
    /// Its type.
    pub kind: Option<&'a Arc<str>>,
    /// The types of the tasks that its engine may add.
    pub adds: &'a [Dependency],
    /// The mapped task of which it is an instance.
    pub group: Option<TaskIdx>,
    /// Whether it stands for its instances.
    pub mapped: bool,
    /// The state it is in.
    pub state: TaskState,
}

/// A rule.
#[derive(Debug)]
struct Open {
    rule: Arc<Rule>,
    bound: Option<TaskIdx>,
    done: bool,
    dirty: bool,
    /// It was looked at in vain.
    seen: bool,
    /// The tasks to which it may be applied, as far as they have to be looked at.
    waiting: Vec<TaskIdx>,
    applied: HashSet<TaskIdx>,
    /// What it may add, by itself and by the rules that it adds.
    adds: HashSet<Arc<str>>,
    adds_kinds: HashSet<Arc<str>>,
}

impl Rules {
    /// A task that is there, in this state.
    pub fn add_task(&mut self, new: NewTask<'_>) {
        let NewTask { name, kind, adds, group, mapped, state } = new;
        let task = TaskIdx(u32::try_from(self.tasks.len()).unwrap_or(u32::MAX));
        let watchers = self.by_name.remove(name);
        let watched = watchers.is_some();
        let adds: Vec<Arc<str>> = adds.iter().map(|kind| kind.task_id.as_str().into()).collect();
        if !state.is_terminal() {
            adds.iter().for_each(|kind| self.kinds.entry(Arc::clone(kind)).or_default().adders += 1);
        }
        self.tasks.push(Facts {
            name: Arc::clone(name),
            state,
            kind: kind.cloned(),
            group,
            adds,
            mapped,
            watched,
        });
        let mut look: Vec<u32> = watchers.iter().flatten().copied().collect();
        if let Some(watchers) = watchers {
            watchers.iter().for_each(|&number| self.join_group(number, name, task));
            self.by_task.insert(task, watchers);
        }
        let mut to_each = Vec::new();
        for table in self.tables(task) {
            table.unended += u32::from(!state.is_terminal());
            if !mapped {
                table.tasks.push(task);
                table.counts[state as usize] += 1;
                to_each.extend_from_slice(&table.each);
            }
            look.extend_from_slice(&table.watchers);
        }
        self.look_again(&look);
        self.look_at(task, &to_each);
    }

    /// A task has taken a state.
    pub fn changed(&mut self, task: TaskIdx, state: TaskState) {
        let facts = &mut self.tasks[task.get()];
        let before = std::mem::replace(&mut facts.state, state);
        let is_plain =
            facts.kind.is_none() && facts.group.is_none() && !facts.watched && facts.adds.is_empty();
        if before == state || is_plain {
            return;
        }
        let (mapped, watched, ended) = (facts.mapped, facts.watched, state.is_terminal());
        let (mut look, mut to_each, mut last) = (Vec::new(), Vec::new(), false);
        for table in self.tables(task) {
            if !mapped {
                table.counts[before as usize] -= 1;
                table.counts[state as usize] += 1;
                to_each.extend_from_slice(&table.each);
            }
            table.unended -= u32::from(ended);
            last |= ended && !table.lives();
            look.extend_from_slice(&table.watchers);
        }
        if ended {
            for kind in std::mem::take(&mut self.tasks[task.get()].adds) {
                let table = self.kinds.entry(kind).or_default();
                table.adders -= 1;
                last |= !table.lives();
            }
        }
        if watched {
            look.extend(self.by_task.get(&task).into_iter().flatten());
        }
        self.look_again(&look);
        self.look_at(task, &to_each);
        if last {
            self.ask_again();
        }
        self.settled = false;
    }

    /// The tables that a task is in.
    fn tables(&mut self, task: TaskIdx) -> impl Iterator<Item = &mut Table> {
        let facts = &self.tasks[task.get()];
        let kind = facts.kind.clone().map(|kind| self.kinds.entry(kind).or_default());
        kind.into_iter().chain(facts.group.map(|group| self.groups.entry(group).or_default()))
    }

    /// One more rule; `find` knows the tasks that are there.
    pub fn add_rule(
        &mut self,
        rule: &Arc<Rule>,
        bound: Option<TaskIdx>,
        find: impl Fn(&str) -> Option<TaskIdx>,
    ) {
        let number = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        let mut waiting = Vec::new();
        let table = match &rule.each {
            Some(Each::Type(kind)) => Some(self.kinds.entry(kind.task_id.as_str().into()).or_default()),
            Some(Each::InstancesOf(mapped)) => {
                let there = find(&mapped.task_id);
                if there.is_none() {
                    self.watch(&mapped.task_id, number, &find);
                }
                there.map(|mapped| self.groups.entry(mapped).or_default())
            }
            None => None,
        };
        if let Some(table) = table {
            table.each.push(number);
            waiting.clone_from(&table.tasks);
        }
        if let Some(when) = &rule.when {
            let references = when.condition.references();
            for task in &references.tasks {
                self.watch(&task.name, number, &find);
            }
            for kind in &references.types {
                self.kinds.entry(kind.name.as_str().into()).or_default().watchers.push(number);
            }
            for group in &references.groups {
                match find(&group.name) {
                    Some(mapped) => self.groups.entry(mapped).or_default().watchers.push(number),
                    None => self.watch(&group.name, number, &find),
                }
            }
            if !references.closed.is_empty() {
                self.asking.push(number);
            }
        }
        let added = || rule.with_nested().into_iter().flat_map(|rule| &rule.tasks);
        let adds = added().map(|task| task.task_id.as_str().into()).collect();
        let adds_kinds = added().filter_map(|task| task.kind.clone()).collect();
        let (rule, applied) = (Arc::clone(rule), HashSet::new());
        self.rules.push(Open {
            rule,
            bound,
            done: false,
            dirty: false,
            seen: false,
            waiting,
            applied,
            adds,
            adds_kinds,
        });
        self.look_again(&[number]);
    }

    /// A mapped task whose instances a rule looks at has come.
    fn join_group(&mut self, number: u32, name: &str, mapped: TaskIdx) {
        let rule = Arc::clone(&self.rules[number as usize].rule);
        let table = self.groups.entry(mapped).or_default();
        if matches!(&rule.each, Some(Each::InstancesOf(each)) if each.task_id == name) {
            table.each.push(number);
        }
        let groups = rule.when.iter().flat_map(|when| &when.condition.references().groups);
        if groups.into_iter().any(|group| group.name == name) {
            table.watchers.push(number);
        }
    }

    fn watch(&mut self, name: &str, number: u32, find: impl Fn(&str) -> Option<TaskIdx>) {
        match find(name) {
            Some(task) => {
                self.by_task.entry(task).or_default().push(number);
                if let Some(facts) = self.tasks.get_mut(task.get()) {
                    facts.watched = true;
                }
            }
            None => self.by_name.entry(name.into()).or_default().push(number),
        }
    }

    /// What these rules look at has changed: those that are applied task by task look at every task again.
    fn look_again(&mut self, rules: &[u32]) {
        for &number in rules {
            let rule = &mut self.rules[number as usize];
            if let Some(each) = &rule.rule.each {
                let table = match each {
                    Each::Type(kind) => self.kinds.get(&*kind.task_id),
                    Each::InstancesOf(mapped) => {
                        let mut groups = self.groups.iter();
                        groups
                            .find(|(task, _)| *self.tasks[task.get()].name == *mapped.task_id)
                            .map(|(_, table)| table)
                    }
                };
                let tasks = table.into_iter().flat_map(|table| &table.tasks);
                rule.waiting = tasks.filter(|task| !rule.applied.contains(task)).copied().collect();
            }
            self.mark(number);
        }
    }

    /// One task to which these rules may be applied has changed.
    fn look_at(&mut self, task: TaskIdx, rules: &[u32]) {
        for &number in rules {
            let rule = &mut self.rules[number as usize];
            if !rule.applied.contains(&task) && rule.waiting.last() != Some(&task) {
                rule.waiting.push(task);
            }
            self.mark(number);
        }
    }

    fn mark(&mut self, number: u32) {
        let rule = &mut self.rules[number as usize];
        if !rule.done && !std::mem::replace(&mut rule.dirty, true) {
            self.dirty.push_back(number);
        }
    }

    /// Those that ask whether a kind is closed, where it may be.
    fn ask_again(&mut self) {
        for number in self.asking.clone() {
            let rule = &self.rules[number as usize];
            let Some(when) = rule.rule.when.as_ref().filter(|_| !rule.done) else { continue };
            let mut closed = when.condition.references().closed.iter();
            let may_be = closed.all(|kind| self.kinds.get(&*kind.name).is_none_or(|table| !table.lives()));
            if may_be {
                self.look_again(&[number]);
            }
        }
    }

    /// How many rules there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rules.len()
    }

    /// The next rule to be looked at, with the task that it is about.
    pub fn next_look(&mut self) -> Option<(u32, Option<TaskIdx>)> {
        loop {
            let number = *self.dirty.front()?;
            let rule = &mut self.rules[number as usize];
            if !rule.done && rule.rule.each.is_none() {
                self.dirty.pop_front();
                rule.dirty = false;
                return Some((number, rule.bound));
            }
            while let Some(task) = rule.waiting.pop().filter(|_| !rule.done) {
                if !rule.applied.contains(&task) {
                    return Some((number, Some(task)));
                }
            }
            self.dirty.pop_front();
            rule.dirty = false;
        }
    }

    /// The rule is not to be applied now.
    pub fn not_yet(&mut self, number: u32) {
        let rule = &mut self.rules[number as usize];
        // What it might have added is looked for by those that ask whether a kind is closed.
        let is_news = !std::mem::replace(&mut rule.seen, true) || !self.settled;
        if is_news && !self.asking.contains(&number) {
            self.ask_again();
        }
    }

    /// The rule was applied.
    pub fn applied(&mut self, number: u32, task: Option<TaskIdx>) {
        let rule = &mut self.rules[number as usize];
        match task.filter(|_| rule.rule.each.is_some()) {
            Some(task) => drop(rule.applied.insert(task)),
            None => rule.done = true,
        }
        self.settled = false;
        self.ask_again();
    }

    /// Nothing runs any more: rules that ask whether a kind is closed are looked at for the last time.
    pub fn look_for_the_last_time(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            self.ask_again();
        }
    }

    /// How many tasks of a kind are in each state, and which they are.
    #[must_use]
    pub fn of_kind(&self, kind: &str) -> (Counts, &[TaskIdx]) {
        self.kinds.get(kind).map_or_else(Default::default, |table| (table.counts, table.tasks.as_slice()))
    }

    /// The same for the instances of a mapped task.
    #[must_use]
    pub fn of_group(&self, mapped: TaskIdx) -> (Counts, &[TaskIdx]) {
        self.groups.get(&mapped).map_or_else(Default::default, |table| (table.counts, table.tasks.as_slice()))
    }

    /// A task's type.
    #[must_use]
    pub fn kind(&self, task: TaskIdx) -> Option<&Arc<str>> {
        self.tasks[task.get()].kind.as_ref()
    }

    /// Whether no task of this kind is under way, and none can come any more.
    #[must_use]
    pub fn is_closed(&self, kind: &str) -> bool {
        let unended = self.kinds.get(kind).is_some_and(Table::lives);
        let mut possible = self.rules.iter().zip(self.possible());
        !unended && !possible.any(|(rule, possible)| possible && rule.adds_kinds.contains(kind))
    }

    /// Which rules may still be applied: those that look at something that can still change, by itself or by what other
    /// such rules add.
    fn possible(&self) -> Vec<bool> {
        let mut possible: Vec<bool> =
            self.rules.iter().map(|rule| !rule.done && self.can_change(rule)).collect();
        loop {
            let before = possible.iter().filter(|possible| **possible).count();
            for number in 0..self.rules.len() {
                let rule = &self.rules[number];
                if !rule.done && !possible[number] {
                    let mut others = self.rules.iter().zip(&possible).filter(|(_, possible)| **possible);
                    possible[number] = others.any(|(other, _)| looks_at_what_is_added(&rule.rule, other));
                }
            }
            if possible.iter().filter(|possible| **possible).count() == before {
                return possible;
            }
        }
    }

    /// Whether what a rule looks at can change without another rule.
    fn can_change(&self, rule: &Open) -> bool {
        let kind_lives = |kind: &str| self.kinds.get(kind).is_some_and(Table::lives);
        let task_lives = |name: &str| {
            // The few that are named are looked for among those that are watched.
            let mut watched = self.by_task.keys().map(|task| &self.tasks[task.get()]);
            watched.any(|facts| *facts.name == *name && !facts.state.is_terminal())
        };
        let each_lives = match &rule.rule.each {
            Some(Each::Type(kind)) => kind_lives(&kind.task_id),
            Some(Each::InstancesOf(mapped)) => self.group_lives(&mapped.task_id),
            None => false,
        };
        rule.dirty
            || each_lives
            || rule.rule.when.as_ref().is_some_and(|when| {
                let references = when.condition.references();
                !references.closed.is_empty()
                    || references.tasks.iter().any(|task| task_lives(&task.name))
                    || references.types.iter().any(|kind| kind_lives(&kind.name))
                    || references.groups.iter().any(|group| self.group_lives(&group.name))
            })
    }

    fn group_lives(&self, mapped: &str) -> bool {
        let mut groups = self.groups.keys().map(|task| &self.tasks[task.get()]);
        groups.any(|facts| *facts.name == *mapped && !facts.state.is_terminal())
    }

    /// The rules that were never applied, and whether they are applied to tasks.
    pub fn left(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter().filter(|rule| !rule.done && rule.applied.is_empty()).map(|rule| &rule.rule)
    }
}

/// Whether a rule looks at tasks that another one may add.
fn looks_at_what_is_added(rule: &Rule, other: &Open) -> bool {
    let each = match &rule.each {
        Some(Each::Type(kind)) => other.adds_kinds.contains(&*kind.task_id),
        Some(Each::InstancesOf(mapped)) => other.adds.contains(&*mapped.task_id),
        None => false,
    };
    each || rule.when.as_ref().is_some_and(|when| {
        let references = when.condition.references();
        references.tasks.iter().chain(&references.groups).any(|task| other.adds.contains(&*task.name))
            || references.types.iter().any(|kind| other.adds_kinds.contains(&*kind.name))
    })
}
