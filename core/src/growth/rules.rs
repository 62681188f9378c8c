//! Which rules have to be looked at, and which can still come to something.
//!
//! A rule is looked at when it comes, and then when something has changed that it looks at: a task that it names, a task
//! of a kind or group that it names, a task to which it may be applied. What nothing looks at costs one comparison.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::event::TaskIdx;
use crate::spec::{Dependency, Each, Rule, SubDag};
use crate::state::TaskState;

/// How many tasks are in each state.
pub type Counts = [u32; TaskState::ALL.len()];

type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;

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
    /// The tasks that rules name, once they are there.
    named: HashMap<Arc<str>, TaskIdx>,
    /// The kinds of which rules ask whether they are closed.
    asked: HashMap<Arc<str>, Asked>,
    /// One of those may have been closed since they were last looked at.
    unsettled: bool,
}

/// A kind of which rules ask whether it is closed.
#[derive(Debug, Default)]
struct Asked {
    rules: Vec<u32>,
    /// It is, and stays so.
    closed: bool,
}

/// What is known of a task.
#[derive(Debug)]
struct Facts {
    state: TaskState,
    /// Where rules may look at it, or it may add to what they look at.
    more: Option<Box<More>>,
}

/// What most tasks do not have.
#[derive(Debug, Default, PartialEq)]
struct More {
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
    pub name: &'a str,
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
    /// The tasks to which it may be applied, as far as they have to be looked at.
    waiting: Vec<TaskIdx>,
    applied: HashSet<TaskIdx>,
    /// What it may add, by itself, by the rules that it adds and by what its tasks add.
    adds: HashSet<Arc<str>>,
    adds_kinds: HashSet<Arc<str>>,
}

impl Open {
    /// The kinds of tasks that it looks at.
    fn kinds(&self) -> impl Iterator<Item = &str> {
        let each = match &self.rule.each {
            Some(Each::Type(kind)) => Some(&*kind.task_id),
            _ => None,
        };
        let types = self.rule.when.iter().flat_map(|when| &when.condition.references().types);
        each.into_iter().chain(types.map(|kind| &*kind.name))
    }

    /// The mapped tasks at whose instances it looks.
    fn groups(&self) -> impl Iterator<Item = &str> {
        let each = match &self.rule.each {
            Some(Each::InstancesOf(mapped)) => Some(&*mapped.task_id),
            _ => None,
        };
        let groups = self.rule.when.iter().flat_map(|when| &when.condition.references().groups);
        each.into_iter().chain(groups.map(|group| &*group.name))
    }

    /// The tasks that it names.
    fn tasks(&self) -> impl Iterator<Item = &str> {
        let tasks = self.rule.when.iter().flat_map(|when| &when.condition.references().tasks);
        tasks.map(|task| &*task.name)
    }
}

impl Rules {
    /// A task that is there, in this state.
    pub fn add_task(&mut self, new: NewTask<'_>) {
        let NewTask { name, kind, adds, group, mapped, state } = new;
        let task = TaskIdx(u32::try_from(self.tasks.len()).unwrap_or(u32::MAX));
        let watchers = self.by_name.remove(name);
        let adds: Vec<Arc<str>> = adds.iter().map(|kind| Arc::clone(&kind.task_id)).collect();
        if !state.is_terminal() {
            adds.iter().for_each(|kind| self.kinds.entry(Arc::clone(kind)).or_default().adders += 1);
        }
        let more = More { kind: kind.cloned(), group, adds, mapped, watched: watchers.is_some() };
        let more = (more != More::default()).then(|| Box::new(more));
        self.tasks.push(Facts { state, more });
        let mut look: Vec<u32> = watchers.iter().flatten().copied().collect();
        if let Some(watchers) = watchers {
            watchers.iter().for_each(|&number| self.join_group(number, name, task));
            self.by_task.insert(task, watchers);
            self.named.insert(name.into(), task);
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
        let Some(more) = &facts.more else { return };
        let (mapped, watched, ended) = (more.mapped, more.watched, state.is_terminal());
        // Of a mapped task's instances none can come any more.
        self.unsettled |= mapped && ended;
        if before == state {
            return;
        }
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
        if let Some(more) = self.tasks[task.get()].more.as_mut().filter(|_| ended) {
            for kind in std::mem::take(&mut more.adds) {
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
        self.unsettled |= last;
    }

    /// The tables that a task is in.
    fn tables(&mut self, task: TaskIdx) -> impl Iterator<Item = &mut Table> {
        let more = self.tasks[task.get()].more.as_deref();
        let kind = more.and_then(|more| more.kind.clone());
        let group = more.and_then(|more| more.group);
        let of_kind = kind.map(|kind| self.kinds.entry(kind).or_default());
        of_kind.into_iter().chain(group.map(|group| self.groups.entry(group).or_default()))
    }

    /// One more rule; `find` knows the tasks that are there, and `subs` are the DAGs that tasks may stand for.
    pub fn add_rule(
        &mut self,
        rule: &Arc<Rule>,
        bound: Option<TaskIdx>,
        subs: &BTreeMap<String, Arc<SubDag>>,
        find: impl Fn(&str) -> Option<TaskIdx>,
    ) {
        let number = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        let mut waiting = Vec::new();
        let table = match &rule.each {
            Some(Each::Type(kind)) => Some(self.kinds.entry(Arc::clone(&kind.task_id)).or_default()),
            Some(Each::InstancesOf(mapped)) => self.group(&mapped.task_id, number, &find),
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
                if let Some(table) = self.group(&group.name, number, &find) {
                    table.watchers.push(number);
                }
            }
            for kind in &references.closed {
                let asked = self.asked.entry(kind.name.as_str().into()).or_default();
                if asked.rules.last() != Some(&number) {
                    asked.rules.push(number);
                }
            }
        }
        let mut adds = HashSet::new();
        let mut adds_kinds: HashSet<Arc<str>> = HashSet::new();
        for task in rule.with_nested().into_iter().flat_map(|rule| &rule.tasks) {
            adds.insert(Arc::clone(&task.task_id));
            adds_kinds.extend(task.kind.clone());
            let of_sub = task.dag.as_ref().and_then(|name| subs.get(&**name)).map(|sub| sub.kinds());
            let by_it = task.adds.iter().chain(of_sub.iter().flatten());
            adds_kinds.extend(by_it.map(|kind| Arc::clone(&kind.task_id)));
        }
        let (rule, applied) = (Arc::clone(rule), HashSet::new());
        self.rules.push(Open { rule, bound, done: false, dirty: false, waiting, applied, adds, adds_kinds });
        self.unsettled = true;
        self.look_again(&[number]);
    }

    /// The instances of a mapped task; until that is there, the rule waits for it.
    fn group(
        &mut self,
        name: &str,
        number: u32,
        find: impl Fn(&str) -> Option<TaskIdx>,
    ) -> Option<&mut Table> {
        let Some(mapped) = find(name) else {
            self.watch(name, number, find);
            return None;
        };
        self.named.insert(name.into(), mapped);
        Some(self.groups.entry(mapped).or_default())
    }

    /// A mapped task whose instances a rule looks at has come.
    fn join_group(&mut self, number: u32, name: &str, mapped: TaskIdx) {
        let rule = Arc::clone(&self.rules[number as usize].rule);
        let table = self.groups.entry(mapped).or_default();
        if matches!(&rule.each, Some(Each::InstancesOf(each)) if *each.task_id == *name) {
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
                self.named.insert(name.into(), task);
                if let Some(facts) = self.tasks.get_mut(task.get()) {
                    facts.more.get_or_insert_default().watched = true;
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
                        self.named.get(&*mapped.task_id).and_then(|task| self.groups.get(task))
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

    /// Finds the kinds that are closed by now; whether there are any for which a rule waits.
    fn close(&mut self) -> bool {
        if !std::mem::take(&mut self.unsettled) || self.asked.values().all(|asked| asked.closed) {
            return false;
        }
        let possible = self.possible();
        let open: HashSet<&str> = self
            .rules
            .iter()
            .zip(possible)
            .filter(|(_, possible)| *possible)
            .flat_map(|(rule, _)| rule.adds_kinds.iter().map(|kind| &**kind))
            .collect();
        let mut look = Vec::new();
        for (kind, asked) in &mut self.asked {
            if !asked.closed && !open.contains(&**kind) && !self.kinds.get(kind).is_some_and(Table::lives) {
                asked.closed = true;
                look.extend_from_slice(&asked.rules);
            }
        }
        // In the order in which the rules came, whatever that of the kinds is.
        look.sort_unstable();
        // A rule that asks of what is closed now may be one that comes to nothing, and closes others by that.
        self.unsettled = !look.is_empty();
        self.look_again(&look);
        !look.is_empty()
    }

    /// How many rules there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rules.len()
    }

    /// The next rule to be looked at, with the task that it is about.
    pub fn next_look(&mut self) -> Option<(u32, Option<TaskIdx>)> {
        loop {
            let Some(&number) = self.dirty.front() else {
                if self.close() {
                    continue;
                }
                return None;
            };
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
        // What it might have added may be what others ask for.
        self.unsettled |= !self.can_change(&self.rules[number as usize]);
    }

    /// The rule was applied.
    pub fn applied(&mut self, number: u32, task: Option<TaskIdx>) {
        let rule = &mut self.rules[number as usize];
        match task.filter(|_| rule.rule.each.is_some()) {
            Some(task) => drop(rule.applied.insert(task)),
            None => {
                rule.done = true;
                self.unsettled = true;
            }
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
        self.tasks[task.get()].more.as_ref()?.kind.as_ref()
    }

    /// Whether it is known of this kind, of which a rule asks, that no task of it is under way and none can come any more.
    #[must_use]
    pub fn is_closed(&self, kind: &str) -> bool {
        self.asked.get(kind).is_some_and(|asked| asked.closed)
    }

    /// Which rules may still be applied: those that look at something that can still change, by itself or by what other
    /// such rules add.
    fn possible(&self) -> Vec<bool> {
        let mut possible: Vec<bool> =
            self.rules.iter().map(|rule| !rule.done && (rule.dirty || self.can_change(rule))).collect();
        let mut by_kind = HashMap::<&str, Vec<usize>>::default();
        let mut by_name = HashMap::<&str, Vec<usize>>::default();
        for (number, rule) in self.rules.iter().enumerate().filter(|(n, rule)| !rule.done && !possible[*n]) {
            rule.kinds().for_each(|kind| by_kind.entry(kind).or_default().push(number));
            let names = rule.groups().chain(rule.tasks());
            names.for_each(|name| by_name.entry(name).or_default().push(number));
        }
        let mut next: Vec<usize> = (0..possible.len()).filter(|&number| possible[number]).collect();
        while let Some(number) = next.pop() {
            let rule = &self.rules[number];
            let by_kind = rule.adds_kinds.iter().filter_map(|kind| by_kind.remove(&**kind));
            let by_name = rule.adds.iter().filter_map(|name| by_name.remove(&**name));
            for number in by_kind.chain(by_name).flatten().collect::<Vec<_>>() {
                if !std::mem::replace(&mut possible[number], true) {
                    next.push(number);
                }
            }
        }
        possible
    }

    /// Whether what a rule looks at can change without another rule.
    fn can_change(&self, rule: &Open) -> bool {
        let kind_lives = |kind: &str| self.kinds.get(kind).is_some_and(Table::lives);
        let task_lives =
            |name: &str| self.named.get(name).is_some_and(|task| !self.tasks[task.get()].state.is_terminal());
        let mut closed = rule.rule.when.iter().flat_map(|when| &when.condition.references().closed);
        closed.any(|kind| !self.is_closed(&kind.name))
            || rule.tasks().chain(rule.groups()).any(task_lives)
            || rule.kinds().any(kind_lives)
    }

    /// The rules that were never applied, and whether they are applied to tasks.
    pub fn left(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter().filter(|rule| !rule.done && rule.applied.is_empty()).map(|rule| &rule.rule)
    }
}
