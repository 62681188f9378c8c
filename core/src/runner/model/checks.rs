//! What must hold whatever crashes, while the run goes on and once it has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::{Attempt, Ended, Process, World, number, number_of};
use crate::event::{FailureKind, TaskIdx};
use crate::graph::Graph;
use crate::runner::grown;
use crate::spec::{SourceFile, TriggerRule, parse};
use crate::state::{RunState, TaskState};
use crate::store::{RunDetails, Store, TaskDetails};

impl World {
    /// A task starts when its dependencies let it, once at a time, and never again after its success.
    pub(super) fn check_start(&self, process: &Process, task: TaskIdx, attempt: u32) {
        let run = &process.runs.runs[0];
        let entry = run.live.entry(task);
        let rule = entry.task.trigger_rule;
        assert!(!run.scheduler.is_excluded(task), "task {} is left out", task.0);
        for upstream in run.scheduler.graph().upstream(task) {
            let state = run.scheduler.state(upstream);
            if run.scheduler.is_excluded(upstream) {
                continue;
            }
            assert!(state.is_terminal() || rule == TriggerRule::OneFailed, "task {} started early", task.0);
            if rule == TriggerRule::AllSuccess && !entry.task.teardown && !run.scheduler.is_mapped(upstream) {
                let effects = self.effects(upstream);
                assert_eq!((state, effects), (TaskState::Success, 1), "task {} started early", task.0);
            }
        }
        for other in self.service.values().filter(|job| job.task == task && job.attempt != attempt) {
            assert!(!other.done, "task {} is repeated after its success", task.0);
            let is_over = other.cancelled || other.ends_at.0 <= self.clock.load(Ordering::Relaxed);
            let is_deaf = self.fates[number(entry.task_id)].deaf;
            assert!(is_over || is_deaf, "task {} runs twice at once", task.0);
        }
    }

    fn effects(&self, task: TaskIdx) -> usize {
        self.service.values().filter(|job| job.task == task && job.done).count()
    }

    pub(super) fn check_limits(&self, process: &Process) {
        let count = |counts: &dyn Fn(&Attempt) -> bool| process.attempts.iter().filter(|a| counts(a)).count();
        let held = |attempt: &Attempt| {
            let state = process.runs.runs.first().map(|run| run.scheduler.state(attempt.job.task));
            state.is_some_and(TaskState::is_in_flight)
        };
        let workers = count(&|a| held(a) && a.job.entry().blocks());
        assert!(workers <= self.limits.workers as usize, "too many workers");
        assert!(
            self.limits.engines[0].is_none_or(|limit| count(&held) <= limit as usize),
            "too many in flight"
        );
        let Some(run) = process.runs.runs.first() else { return };
        let pooled = count(&|a| held(a) && a.job.entry().task.pool.is_some());
        assert!(pooled <= 1, "the pool has one slot");
        for attempt in process.attempts.iter().filter(|attempt| held(attempt)) {
            let task = attempt.job.entry().task;
            let most = task.max_active.map_or(usize::MAX, |most| most as usize);
            let active = count(&|a| held(a) && a.job.entry().task.task_id == task.task_id);
            assert!(active <= most, "{active} instances of {} at once", task.task_id);
        }
        if let Some(early) = run.scheduler.out_of_order().filter(|_| run.ended.is_some()) {
            panic!("{early:?} are out of order");
        }
    }

    /// What is stored in the end is what happened and what was told.
    pub(super) fn finish(self, mut process: Process) -> Ended {
        let (_, ends) = process.runs.finish();
        // What may be remarked is that a rule never came to anything.
        let remark = ends[0].remark.as_deref().unwrap_or_default();
        assert!(remark.lines().all(|line| line.contains("never applied")), "{remark}");
        let store = Store::open(&self.home).unwrap();
        let run = store.run("r").unwrap().unwrap();
        assert_eq!(run.head.state, ends[0].state);
        let states: Vec<TaskState> = run.tasks.iter().map(|task| task.state).collect();
        for (task, &state) in (0..).map(TaskIdx).zip(&states) {
            assert!(state.is_terminal(), "task {} is left {state}", task.0);
            let effects = self.effects(task);
            let name = &run.tasks[task.get()].task_id;
            if self.mapped.contains(&number(name)) && !name.contains('[') {
                // Its instances have effects.
                assert_eq!(effects, 0, "task {} is mapped", task.0);
                continue;
            }
            if state == TaskState::Success {
                assert_eq!(effects, 1, "task {} succeeded", task.0);
            } else if !self.fates[number(name)].deaf {
                assert_eq!(effects, 0, "task {} is {state}", task.0);
            }
        }
        for (task, told) in self.told.lock().unwrap().iter() {
            assert_eq!(states[task.get()], *told, "task {} was told to be otherwise", task.0);
        }
        let good = |state: &TaskState| matches!(state, TaskState::Success | TaskState::Skipped);
        let all_good =
            states.iter().zip(&run.tasks).all(|(state, task)| good(state) || task.task_id.starts_with("d"));
        assert_eq!(run.head.state == RunState::Success, all_good, "{states:?}");
        for (fate, number) in self.fates.iter().zip(0_usize..) {
            let Some(new) = fate.adds.filter(|_| !self.disturbed) else { continue };
            let adds = run.tasks.iter().find(|task| number_of(&task.task_id) == Some(number));
            let ran = adds.is_some_and(|task| !task.attempts.is_empty());
            let added = run.tasks.iter().filter(|task| number_of(&task.task_id) == Some(new)).count();
            assert_eq!(added, usize::from(ran), "t{number} adds t{new}");
        }
        if !self.disturbed {
            self.check_rules(&run);
        }
        let edges = self.edges(&run);
        let states = run.tasks.iter().map(|task| (task.task_id.clone(), task.state)).collect();
        Ended { states, edges, disturbed: self.disturbed || self.fates.iter().any(|fate| fate.deaf) }
    }

    /// The final graph. Nothing was added to what there was: every edge of a new task comes from one that is older.
    fn edges(&self, run: &RunDetails) -> BTreeMap<String, BTreeSet<String>> {
        let source = SourceFile::new("dag.json".into(), self.dag.clone());
        let (dag, _) = parse(source).map_err(|e| e.render(false)).unwrap();
        let file = Arc::new(Graph::new(&dag).unwrap());
        let (graph, _) = grown(run, &dag, &file).unwrap();
        let upstream = |graph: &Graph, task| -> BTreeSet<TaskIdx> { graph.upstream(task).collect() };
        let named = |task: TaskIdx| {
            let before = upstream(&graph, task);
            if task.get() < file.len() {
                assert_eq!(before, upstream(&file, task), "something was added before {}", graph.name(task));
            } else {
                assert!(before.iter().all(|before| *before < task), "{} is older", graph.name(task));
            }
            let names = before.into_iter().map(|before| graph.name(before).to_owned());
            (graph.name(task).to_owned(), names.collect())
        };
        graph.tasks().map(named).collect()
    }

    /// Each rule was applied as often as it should have been, and never later than what asks for its end.
    fn check_rules(&self, run: &RunDetails) {
        let dag: Value = serde_json::from_str(&self.dag).unwrap();
        let Some(rules) = dag["rules"].as_array() else { return };
        let named = |name: &Value| {
            let name = name.as_str().unwrap().to_owned();
            run.tasks.iter().filter(move |task| task.task_id == name)
        };
        let left_out = |task: &TaskDetails| {
            task.state == TaskState::Skipped
                && task.error.as_ref().is_some_and(|e| e.kind == FailureKind::LeftOut)
        };
        let done = |task: &TaskDetails| task.state == TaskState::Success || left_out(task);
        let adds = |rule: usize| &rules[rule]["add"]["tasks"][0];
        let first = &adds(0)["dependencies"][0];
        let applied = named(first).filter(|task| done(task)).count();
        assert_eq!(named(&adds(0)["task_id"]).count(), applied, "the rule for {first}");
        // The instances of a mapped task are of its type, and stand for it.
        let of_kind = |task: &&TaskDetails| {
            let of_rule = |name: &str| number(name) == number(adds(0)["task_id"].as_str().unwrap());
            let of_file = dag["tasks"].as_array().unwrap().iter();
            let kinds: Vec<usize> = of_file
                .filter(|t| t["type"] == "k")
                .map(|t| number(t["task_id"].as_str().unwrap()))
                .collect();
            let is_mapped = self.mapped.contains(&number(&task.task_id)) && !task.task_id.contains('[');
            (kinds.contains(&number(&task.task_id)) || of_rule(&task.task_id)) && !is_mapped
        };
        let matches = run.tasks.iter().filter(of_kind).filter(|task| done(task)).count();
        let each = adds(1)["task_id"].as_str().unwrap();
        let prefix = format!("{each}[");
        assert_eq!(run.tasks.iter().filter(|t| t.task_id.starts_with(&prefix)).count(), matches, "rule each");
        assert_eq!(named(&adds(2)["task_id"]).count(), 1, "rule closed");
        for rule in &rules[3..] {
            let name = rule["add"]["tasks"][0]["task_id"].as_str().unwrap();
            let applied = run.tasks.iter().filter(|task| number(&task.task_id) == number(name)).count();
            let wanted = if let Some(of) = rule["each"]["instances_of"].as_str() {
                let is_one = |task: &&TaskDetails| task.task_id.starts_with(&format!("{of}[")) && done(task);
                run.tasks.iter().filter(is_one).count()
            } else {
                usize::from(run.tasks.iter().any(|task| of_kind(&task) && task.state == TaskState::Failed))
            };
            assert_eq!(applied, wanted, "rule {}", rule["rule_id"]);
        }
        let last = run.tasks.iter().position(|task| task.task_id == adds(2)["task_id"].as_str().unwrap());
        let late =
            run.tasks.iter().skip(last.unwrap()).filter(|t| of_kind(t) || t.task_id.starts_with(&prefix));
        assert_eq!(late.count(), 0, "something was added to what was closed");
    }
}
