//! What has to be true of a run however often its scheduler was killed, in the light of the ledger, of everything that
//! was told while it ran, and of what is shown of it in the end. Each breach becomes a sentence.

use std::collections::{BTreeMap, BTreeSet};

use oxidag_tests::ledger::Entry;
use serde_json::Value;

use crate::dag::{Dag, Engine, Expected};

/// States in which a task stays.
const ENDS: [&str; 5] = ["success", "failed", "skipped", "upstream_failed", "cancelled"];

/// Everything that is wrong.
pub(crate) fn breaches(dag: &Dag, shown: &Value, ledger: &[Entry]) -> Vec<String> {
    let mut found = Vec::new();
    if shown["state"] != dag.state() {
        found.push(format!("the run is shown as {}, not {}", shown["state"], dag.state()));
    }
    let mut told = RunTold { state: shown["state"].as_str().unwrap_or_default(), ended: None };
    for entry in ledger {
        told.check(entry, &mut found);
    }
    for (place, expected) in dag.expected().into_iter().enumerate() {
        // The instances of a mapped task come into being once it could start.
        let id = if expected.attempts > 0 { &dag.tasks[place].id } else { dag.tasks[place].entry() };
        let mut task = TaskCheck {
            id,
            expected,
            traces: ledger.iter().filter(|entry| entry.task == id).collect(),
            found: Vec::new(),
        };
        task.is_shown_as_it_ended(shown);
        task.is_never_undone();
        match dag.tasks[place].engine {
            Engine::Ledger => task.has_one_job_an_attempt(),
            Engine::Shell => task.has_one_script_at_a_time(),
            Engine::Noop => {}
        }
        if dag.tasks[place].engine != Engine::Noop {
            task.has_one_key_an_attempt();
            task.has_one_effect();
        }
        task.waits_for(&dag.traces_before(place).into_iter().map(|at| &*dag.tasks[at].id).collect(), ledger);
        found.extend(task.found.into_iter().map(|what| format!("{id}: {what}")));
    }
    found
}

/// Everything that was told to have ended, and is not shown so while the run is interrupted.
pub(crate) fn lost(shown: &Value, ledger: &[Entry]) -> Vec<String> {
    let told = ledger.iter().filter(|entry| entry.what == "task_state");
    let is_shown = |entry: &Entry| {
        let mut tasks = shown["tasks"].as_array().into_iter().flatten();
        let task = tasks.find(|task| task["task_id"] == *entry.task).unwrap_or(&Value::Null);
        match entry.detail.as_str() {
            "up_for_retry" => task["attempts"][entry.attempt as usize - 1]["state"] == "failed",
            end if ENDS.contains(&end) => task["state"] == end,
            _ => true,
        }
    };
    told.filter(|entry| !is_shown(entry))
        .map(|entry| format!("{}: {entry} is not shown", entry.task))
        .collect()
}

/// Whether the run was told to have ended.
struct RunTold<'a> {
    state: &'a str,
    ended: Option<&'a Entry>,
}

impl<'a> RunTold<'a> {
    fn check(&mut self, entry: &'a Entry, found: &mut Vec<String>) {
        if let Some(told) = self.ended
            && (is_start_after(entry, told) || entry.what == "task_state")
        {
            found.push(format!("after the run was told to be a {} came {entry}", told.detail));
        }
        if entry.what == "run_state" && entry.detail != "running" {
            self.ended = Some(entry);
            if entry.detail != self.state {
                found.push(format!("the run was told to be {} and is shown as {}", entry.detail, self.state));
            }
        }
    }
}

/// An attempt is under way.
fn is_start(entry: &Entry) -> bool {
    matches!(entry.what.as_str(), "begin" | "submitted" | "adopted")
}

/// An attempt is begun after this was told. A request that a killed process made before may reach the service later;
/// a script may not.
fn is_start_after(entry: &Entry, told: &Entry) -> bool {
    is_start(entry) && (entry.what == "begin" || entry.by >= told.by)
}

/// One task's traces, in their order.
struct TaskCheck<'a> {
    id: &'a str,
    expected: Expected,
    traces: Vec<&'a Entry>,
    found: Vec<String>,
}

impl TaskCheck<'_> {
    fn is_shown_as_it_ended(&mut self, shown: &Value) {
        let tasks = shown["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let Some(task) = tasks.iter().find(|task| task["task_id"] == self.id) else {
            return self.found.push("it is not shown".to_owned());
        };
        let Expected { state, attempts } = self.expected;
        if task["state"] != state {
            self.found.push(format!("it is shown as {}, not {state}", task["state"]));
        }
        let shown = task["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let shown: Vec<(u64, &str)> = shown
            .iter()
            .map(|it| (it["attempt"].as_u64().unwrap_or(0), it["state"].as_str().unwrap_or("-")))
            .collect();
        let right = |number| (u64::from(number), if number < attempts { "failed" } else { state });
        let right: Vec<(u64, &str)> = (1..=attempts).map(right).collect();
        if shown != right {
            self.found.push(format!("its attempts are shown as {shown:?}, not {right:?}"));
        }
    }

    /// What was told to have ended is not begun again, and is not told to be anything else.
    fn is_never_undone(&mut self) {
        let mut over: Option<&Entry> = None;
        for &entry in &self.traces {
            if entry.what == "task_state" {
                if let Some(over) = over.filter(|over| ENDS.contains(&&*over.detail)) {
                    self.found.push(format!("after it was told to be {} came {entry}", over.detail));
                }
                if ENDS.contains(&&*entry.detail) || entry.detail == "up_for_retry" {
                    if ENDS.contains(&&*entry.detail) && entry.detail != self.expected.state {
                        self.found.push(format!("it was told to be {}", entry.detail));
                    }
                    over = Some(entry);
                }
            } else if let Some(over) = over
                && is_start_after(entry, over)
                && entry.attempt <= over.attempt
            {
                self.found.push(format!("after {over} came {entry}"));
            }
        }
    }

    fn has_one_job_an_attempt(&mut self) {
        // Which process was the first to store a key's checkpoint.
        let mut stored = BTreeMap::new();
        for &entry in &self.traces {
            match entry.what.as_str() {
                "stored" => _ = stored.entry(&entry.key).or_insert(entry.by),
                "adopted" if stored.get(&entry.key).is_some_and(|by| entry.by >= *by) => {
                    self.found.push(format!("its stored checkpoint was not handed back: {entry}"));
                }
                "cancelled" => self.found.push(format!("nobody asked to cancel it: {entry}")),
                _ => {}
            }
        }
        let effects = self.traces.iter().filter(|entry| entry.what == "effect").count();
        if effects > 1 {
            self.found.push(format!("its jobs took effect {effects} times"));
        }
    }

    fn has_one_script_at_a_time(&mut self) {
        let mut begun = BTreeSet::new();
        for &entry in &self.traces {
            if entry.what == "overlap" {
                self.found.push(format!("a process of this attempt was still alive: {entry}"));
            }
            if entry.what == "begin" && !begun.insert((&entry.key, entry.by)) {
                self.found.push(format!("one process started it twice: {entry}"));
            }
        }
    }

    /// An attempt that is repeated after a kill is the same attempt, and no other one has its key.
    fn has_one_key_an_attempt(&mut self) {
        let mut keys: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
        for entry in self.traces.iter().filter(|entry| is_start(entry)) {
            keys.entry(entry.attempt).or_default().insert(&entry.key);
        }
        let all: BTreeSet<&str> = keys.values().flatten().copied().collect();
        let right = keys.keys().copied().eq(1..=self.expected.attempts)
            && keys.values().all(|keys| keys.len() == 1)
            && all.len() == keys.len();
        if !right {
            self.found
                .push(format!("{} attempts were to have one key each: {keys:?}", self.expected.attempts));
        }
    }

    /// A script that was killed after its last act is repeated with the same key: that counts as one effect.
    fn has_one_effect(&mut self) {
        let effects = self.traces.iter().filter(|entry| entry.what == "effect");
        let keys: BTreeSet<&str> = effects.map(|entry| entry.key.as_str()).collect();
        if keys.len() != usize::from(self.expected.state == "success") {
            self.found.push(format!("it is a {}, and its effects are {keys:?}", self.expected.state));
        }
    }

    /// It starts after the first effect of each of these.
    fn waits_for(&mut self, upstream: &BTreeSet<&str>, ledger: &[Entry]) {
        let mut missing = upstream.clone();
        for entry in ledger {
            if entry.what == "effect" {
                missing.remove(entry.task.as_str());
            }
            if entry.task == self.id && is_start(entry) {
                if !missing.is_empty() {
                    self.found.push(format!("it started before the effects of {missing:?}"));
                }
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dag::Task;
    use serde_json::json;

    /// `first`, a job, and `second`, a script whose first attempt fails.
    fn dag() -> Dag {
        let task = |id: &str, engine, upstream, failures| Task {
            id: id.to_owned(),
            engine,
            upstream,
            failures,
            retries: 1,
            work: json!({}),
        };
        Dag {
            tasks: vec![task("first", Engine::Ledger, vec![], 0), task("second", Engine::Shell, vec![0], 1)],
        }
    }

    const RIGHT: &str = "\
        submitted first 1 a 2 -
        stored first 1 a 2 -
        adopted first 1 a 1 -
        effect first 1 a 0 -
        task_state first 1 - 2 success
        begin second 1 b 2 -
        task_state second 1 - 2 up_for_retry
        begin second 2 c 2 -
        begin second 2 c 3 -
        effect second 2 c 2 -
        effect second 2 c 3 -
        task_state second 2 - 3 success
        run_state - 0 - 3 success";

    fn shown() -> Value {
        json!({"state": "success", "tasks": [
            {"task_id": "first", "state": "success", "attempts": [{"attempt": 1, "state": "success"}]},
            {"task_id": "second", "state": "success", "attempts": [
                {"attempt": 1, "state": "failed"}, {"attempt": 2, "state": "success"},
            ]},
        ]})
    }

    fn found(ledger: &str, shown: &Value) -> Vec<String> {
        let entries = ledger.lines().map(|line| Entry::parse(line.trim()).unwrap());
        breaches(&dag(), shown, &entries.collect::<Vec<_>>())
    }

    /// The right ledger with this line put in after that one, or in its place where it begins with `!`.
    #[track_caller]
    fn refused(after: &str, line: &str, what: &str) {
        let with = match line.strip_prefix('!') {
            Some(line) => RIGHT.replace(after, line),
            None => RIGHT.replace(after, &format!("{after}\n{line}")),
        };
        assert_ne!(with, RIGHT);
        let found = found(&with, &shown());
        assert!(found.iter().any(|it| it.contains(what)), "{what:?} is not in {found:#?}");
    }

    #[test]
    fn what_is_right_is_accepted() {
        assert_eq!(found(RIGHT, &shown()), [] as [String; 0]);
    }

    #[test]
    fn every_breach_is_found() {
        refused("stored first 1 a 2 -", "adopted first 1 a 3 -", "checkpoint was not handed back");
        refused("stored first 1 a 2 -", "cancelled first 1 a 3 -", "nobody asked");
        refused("effect first 1 a 0 -", "effect first 1 a 0 -", "took effect 2 times");
        refused("submitted first 1 a 2 -", "submitted first 1 x 2 -", "one key each");
        refused("submitted first 1 a 2 -", "submitted first 2 x 2 -", "one key each");
        refused("effect second 2 c 3 -", "effect second 2 x 3 -", "its effects are");
        refused("effect first 1 a 0 -", "!stored first 1 a 2 -", "its effects are");
        refused("begin second 2 c 3 -", "!begin second 2 c 2 -", "started it twice");
        refused("begin second 2 c 3 -", "overlap second 2 c 3 -", "still alive");
        refused("submitted first 1 a 2 -", "begin second 1 b 1 -", "before the effects of");
        refused("task_state first 1 - 2 success", "adopted first 1 a 3 -", "success came adopted");
        refused(
            "task_state first 1 - 2 success",
            "task_state first 1 - 3 running",
            "success came task_state",
        );
        refused("task_state second 1 - 2 up_for_retry", "begin second 1 b 1 -", "up_for_retry came begin");
        refused(
            "task_state first 1 - 2 success",
            "!task_state first 1 - 2 failed",
            "it was told to be failed",
        );
        refused("run_state - 0 - 3 success", "begin second 2 c 2 -", "after the run was told");
        refused("run_state - 0 - 3 success", "!run_state - 0 - 3 failed", "the run was told to be failed");
    }

    #[test]
    fn what_was_told_to_have_ended_is_shown_so_from_then_on() {
        let entries: Vec<Entry> = RIGHT.lines().map(|line| Entry::parse(line.trim()).unwrap()).collect();
        assert_eq!(lost(&shown(), &entries), [] as [String; 0]);
        for pointer in ["/tasks/0/state", "/tasks/1/attempts/0/state"] {
            let mut shown = shown();
            *shown.pointer_mut(pointer).unwrap() = json!("running");
            assert_eq!(lost(&shown, &entries).len(), 1, "{pointer}");
        }
    }

    #[test]
    fn what_is_shown_must_be_what_happened() {
        let without = |pointer: &str, value: Value| {
            let mut shown = shown();
            *shown.pointer_mut(pointer).unwrap() = value;
            found(RIGHT, &shown).join("\n")
        };
        assert!(without("/state", json!("running")).contains("the run is shown as \"running\""));
        assert!(without("/tasks/0/state", json!("running")).contains("first: it is shown as \"running\""));
        assert!(
            without("/tasks/1/attempts/0/attempt", json!(3)).contains("second: its attempts are shown as")
        );
        assert!(without("/tasks/1/task_id", json!("third")).contains("second: it is not shown"));
    }
}
