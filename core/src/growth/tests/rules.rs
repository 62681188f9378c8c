//! Which rules are looked at, and which could still come to something.

use super::*;

/// Rules over tasks that a test adds and changes.
struct Env {
    dag: Dag,
    rules: Rules,
    names: Vec<String>,
}

impl Env {
    fn new(rules: &str) -> Self {
        let file = format!(
            "tasks:\n- {{task_id: a, type: x, {{script}}}}\n- {{task_id: b, type: y, {{script}}}}\n- {{task_id: c, {{script}}}}\n- {{task_id: m, for_each: [], {{script}}}}\nrules:\n{rules}"
        );
        let dag = dag(&file);
        let mut env = Self { dag, rules: Rules::default(), names: Vec::new() };
        for task in env.dag.tasks.clone() {
            env.add(&task.task_id, task.kind.as_deref(), None, task.for_each.is_some());
        }
        for rule in env.dag.rules.clone() {
            let names = env.names.clone();
            env.rules.add_rule(&rule, None, &env.dag.subs, |name| place(&names, name));
        }
        env
    }

    fn add(&mut self, name: &str, kind: Option<&str>, group: Option<TaskIdx>, mapped: bool) {
        self.names.push(name.to_owned());
        let kind = kind.map(Arc::from);
        self.rules.add_task(NewTask {
            name,
            kind: kind.as_ref(),
            adds: &[],
            group,
            mapped,
            state: TaskState::None,
        });
    }

    fn take(&mut self, name: &str, state: TaskState) {
        self.rules.changed(place(&self.names, name).unwrap(), state);
    }

    fn end(&mut self, name: &str) {
        self.take(name, TaskState::Success);
    }

    /// What is looked at now; nothing of it is applied.
    fn looked_at(&mut self) -> Vec<String> {
        let mut looked = Vec::new();
        while let Some((number, task)) = self.rules.next_look() {
            let about = task.map(|task| format!(" {}", self.names[task.get()])).unwrap_or_default();
            looked.push(format!("{number}{about}"));
            self.rules.not_yet(number);
        }
        looked
    }
}

fn place(names: &[String], name: &str) -> Option<TaskIdx> {
    names.iter().position(|known| known == name).map(|place| TaskIdx(place as u32))
}

const ADD: &str = "add: {tasks: [{task_id: NEW, type: KIND, {script}}]}";

/// A rule that asks of these kinds whether they are closed.
fn asks(kinds: &[&str], name: &str) -> String {
    let when: Vec<String> = kinds.iter().map(|kind| format!("closed('{kind}')")).collect();
    format!("- {{when: {}, {}}}\n", when.join(" && "), add(name, name))
}

fn add(name: &str, kind: &str) -> String {
    ADD.replace("NEW", name).replace("KIND", kind)
}

#[test]
fn a_rule_is_looked_at_when_it_comes_and_when_what_it_looks_at_changes() {
    let rules = format!(
        "- {{when: tasks.a.state == 'success', {}}}\n- {{when: types.y.count > 3, {}}}\n- {{when: groups.m.count > 3, {}}}\n",
        add("n1", "n"),
        add("n2", "n"),
        add("n3", "n")
    );
    let mut env = Env::new(&rules);
    assert_eq!(env.looked_at(), ["0", "1", "2"]);
    env.end("c");
    assert!(env.looked_at().is_empty());
    env.take("a", TaskState::Scheduled);
    env.take("a", TaskState::Running);
    assert_eq!(env.looked_at(), ["0"]);
    env.add("m[1]", None, Some(TaskIdx(3)), false);
    env.add("d", Some("y"), None, false);
    assert_eq!(env.looked_at(), ["2", "1"]);
    assert_eq!(env.rules.of_group(TaskIdx(3)).1, [TaskIdx(4)]);
}

#[test]
fn a_rule_for_each_looks_at_the_one_task_that_changed() {
    let mut env =
        Env::new(&format!("- {{each: {{type: x}}, when: task.state == 'success', {}}}\n", add("n", "n")));
    env.add("d", Some("x"), None, false);
    assert_eq!(env.looked_at(), ["0 d", "0 a"]);
    env.end("d");
    assert_eq!(env.looked_at(), ["0 d"]);
    env.rules.applied(0, Some(TaskIdx(4)));
    env.end("a");
    assert_eq!(env.looked_at(), ["0 a"]);
}

#[test]
fn a_kind_is_closed_once_nothing_can_add_to_it() {
    let rules = format!(
        "- {{when: tasks.c.state == 'failed', {}}}\n- {{each: {{type: x}}, when: task.state == 'success', {}}}\n- {{when: tasks.z.state == 'success', {}}}\n",
        add("z", "z"),
        add("w", "w"),
        add("v", "v")
    );
    let mut env = Env::new(&(rules + &asks(&["x", "z", "w", "v"], "merge")));
    env.looked_at();
    assert!(!env.rules.is_closed("x") && !env.rules.is_closed("z"));
    env.end("c");
    env.looked_at();
    // The one rule has come to nothing, and so has the one that waits for what it would have added.
    assert!(env.rules.is_closed("z") && env.rules.is_closed("v"));
    assert!(!env.rules.is_closed("w"));
    env.end("a");
    env.looked_at();
    assert!(env.rules.is_closed("x") && env.rules.is_closed("w"));
}

#[test]
fn rules_that_wait_for_each_other_never_close_anything() {
    let rules =
        format!("- {{when: closed('p'), {}}}\n- {{when: closed('q'), {}}}\n", add("q1", "q"), add("p1", "p"));
    let mut env = Env::new(&rules);
    for task in ["a", "b", "c", "m"] {
        env.end(task);
    }
    env.looked_at();
    assert!(!env.rules.is_closed("p") && !env.rules.is_closed("q"));
    assert_eq!(env.rules.left().count(), 2);
}

#[test]
fn a_rule_that_asks_is_looked_at_again_when_the_last_one_ends() {
    let mut env = Env::new(
        &format!("- {{when: closed('x') && params.go, {}}}\n", add("n", "n")).replace("params.go", "true"),
    );
    assert_eq!(env.looked_at(), ["0"]);
    env.take("a", TaskState::Running);
    assert!(env.looked_at().is_empty());
    env.end("a");
    assert_eq!(env.looked_at(), ["0"]);
    assert!(env.rules.is_closed("x"));
}

#[test]
fn a_rule_may_add_what_its_tasks_may_add() {
    let rule = "- {when: tasks.c.state == 'success', add: {tasks: [{task_id: n, adds: [p], {script}}]}}\n";
    let mut env = Env::new(&(rule.to_owned() + &asks(&["p"], "merge")));
    assert_eq!(env.looked_at(), ["0", "1"]);
    assert!(!env.rules.is_closed("p"));
    env.take("c", TaskState::Failed);
    assert_eq!(env.looked_at(), ["0", "1"]);
    assert!(env.rules.is_closed("p"));
}

#[test]
fn a_rule_that_is_not_true_of_what_is_closed_adds_nothing_any_more() {
    let rule = "- {when: closed('x') && types.x.states.failed > 0, add: {tasks: [{task_id: n, type: p, {script}}]}}\n";
    let mut env = Env::new(&(rule.to_owned() + &asks(&["p"], "merge")));
    assert_eq!(env.looked_at(), ["0", "1"]);
    env.end("a");
    assert_eq!(env.looked_at(), ["0", "0", "1"]);
    assert!(env.rules.is_closed("p"));
}

#[test]
fn what_a_rule_does_not_look_at_wakes_none_that_ask() {
    let each = format!("- {{each: {{type: y}}, when: task.state == 'success', {}}}\n", add("n", "n"));
    let waiting: String = (0..3).map(|i| asks(&["x"], &format!("m{i}"))).collect();
    let mut env = Env::new(&(each + &waiting));
    assert_eq!(env.looked_at().len(), 4);
    env.take("b", TaskState::Scheduled);
    env.take("b", TaskState::Running);
    assert_eq!(env.looked_at(), ["0 b"]);
    env.end("b");
    assert_eq!(env.looked_at(), ["0 b"]);
    env.end("a");
    assert_eq!(env.looked_at(), ["1", "2", "3"]);
}
