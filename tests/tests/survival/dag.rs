//! Random DAGs of ledger jobs, scripts and `noop` tasks, some of them mapped, and what has to come of them. The same seed
//! makes the same DAG.

use std::ops::Range;

use fastrand::Rng;
use serde_json::{Value, json};

/// The items of mapped tasks, which are the keys of their instances too.
const ITEMS: [&str; 4] = ["a", "b", "c", "d"];

/// A DAG. The instances of a mapped task stand one after another, as tasks of their own.
pub(crate) struct Dag {
    pub(crate) tasks: Vec<Task>,
}

/// A task.
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) engine: Engine,
    /// Places of earlier tasks.
    pub(crate) upstream: Vec<usize>,
    /// So many attempts fail, from the first.
    pub(crate) failures: u32,
    pub(crate) retries: u32,
    /// The rest of its entry in the file: its script and parameters.
    pub(crate) work: Value,
}

/// Where a task leaves its traces: `noop` leaves none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Ledger,
    Shell,
    Noop,
}

/// What has to come of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) state: &'static str,
    pub(crate) attempts: u32,
}

impl Dag {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let count = rng.usize(20..=40);
        // In every other DAG something fails for good.
        let broken = if rng.bool() { count / 2 + rng.usize(..count / 2) } else { count };
        let mut tasks = Vec::new();
        // The tasks that each entry of the file stands for.
        let mut entries: Vec<Range<usize>> = Vec::new();
        for place in 0..count {
            let mut task = Task::random(rng, place, place == broken);
            task.upstream = task.upstream.iter().flat_map(|&place| entries[place].clone()).collect();
            let first = tasks.len();
            match rng.u8(..4) {
                0 => tasks.extend(ITEMS[..rng.usize(1..=ITEMS.len())].iter().map(|item| task.instance(item))),
                _ => tasks.push(task),
            }
            entries.push(first..tasks.len());
        }
        Self { tasks }
    }

    /// How many tasks have a state: instances, and the mapped tasks that they are of.
    pub(crate) fn states(&self) -> usize {
        self.entries().map(|tasks| tasks.len() + usize::from(tasks[0].is_instance())).sum()
    }

    /// The tasks of each entry of the file.
    fn entries(&self) -> impl Iterator<Item = &[Task]> {
        self.tasks.chunk_by(|one, next| one.entry() == next.entry())
    }

    /// The DAG file.
    pub(crate) fn file(&self) -> String {
        let entry = |tasks: &[Task]| {
            let task = &tasks[0];
            let mut upstream: Vec<&str> =
                task.upstream.iter().map(|&place| self.tasks[place].entry()).collect();
            upstream.dedup();
            let mut entry = task.work.clone();
            if task.is_instance() {
                entry["for_each"] = json!(ITEMS[..tasks.len()]);
            }
            entry["task_id"] = json!(task.entry());
            entry["dependencies"] = json!(upstream);
            entry["retries"] = json!(task.retries);
            entry["retry_delay"] = json!("5ms");
            entry
        };
        json!({"dag_id": "survival", "tasks": self.entries().map(entry).collect::<Vec<_>>()}).to_string()
    }

    /// What has to come of each task.
    pub(crate) fn expected(&self) -> Vec<Expected> {
        let mut all: Vec<Expected> = Vec::new();
        for task in &self.tasks {
            let runs = task.upstream.iter().all(|&place| all[place].state == "success");
            all.push(match runs {
                false => Expected { state: "upstream_failed", attempts: 0 },
                true if task.failures > task.retries => {
                    Expected { state: "failed", attempts: task.retries + 1 }
                }
                true => Expected { state: "success", attempts: task.failures + 1 },
            });
        }
        all
    }

    /// What has to come of the run.
    pub(crate) fn state(&self) -> &'static str {
        let failed = self.expected().iter().any(|task| task.state != "success");
        if failed { "failed" } else { "success" }
    }

    /// The nearest tasks before this one that leave traces.
    pub(crate) fn traces_before(&self, place: usize) -> Vec<usize> {
        let before = |&place: &usize| match self.tasks[place].engine {
            Engine::Noop => self.traces_before(place),
            Engine::Ledger | Engine::Shell => vec![place],
        };
        self.tasks[place].upstream.iter().flat_map(before).collect()
    }
}

impl Task {
    fn random(rng: &mut Rng, place: usize, broken: bool) -> Self {
        // Near ones: then the DAG is as deep as it is wide.
        let nearest = place.saturating_sub(8);
        let mut upstream: Vec<usize> = (0..rng.usize(..=3)).map(|_| rng.usize(nearest..=place)).collect();
        upstream.retain(|&other| other != place);
        upstream.sort_unstable();
        upstream.dedup();
        let retries = if rng.u8(..4) == 0 { rng.u32(1..=2) } else { 0 };
        let failures = if broken { retries + 1 } else { rng.u32(..=retries) };
        let (engine, name, work) = match rng.u8(..10) {
            0..4 => (Engine::Ledger, "ledger", ledger(rng, failures)),
            4..7 => (
                Engine::Shell,
                "shell",
                json!({"script": {"engine": "shell", "inline": script(rng, failures)}}),
            ),
            _ => (Engine::Noop, "noop", noop(rng, failures)),
        };
        Self { id: format!("{name}-{place}"), engine, upstream, failures, retries, work }
    }

    /// The instance of this task, if it is mapped, for an item.
    fn instance(&self, item: &str) -> Self {
        Self {
            id: format!("{}[{item}]", self.id),
            upstream: self.upstream.clone(),
            work: self.work.clone(),
            ..*self
        }
    }

    fn is_instance(&self) -> bool {
        self.id.ends_with(']')
    }

    /// The task's name in the file.
    pub(crate) fn entry(&self) -> &str {
        self.id.split('[').next().unwrap_or(&self.id)
    }
}

fn ledger(rng: &mut Rng, failures: u32) -> Value {
    // Often slow between the job's start and its checkpoint: kills are to fall in between.
    let pause = if rng.bool() { rng.u32(5..30) } else { 0 };
    let params = json!({"duration_ms": rng.u32(..60), "pause_ms": pause, "fail": failures});
    json!({"script": {"engine": "ledger", "inline": ""}, "params": params})
}

fn noop(rng: &mut Rng, failures: u32) -> Value {
    let params = json!({"delay_ms": rng.u32(..20), "async": rng.bool(), "fail": failures});
    json!({"script": {"engine": "noop", "inline": ""}, "params": params})
}

/// A script whose last act is its effect. As long as it or any process that it has started lives, it holds a lock
/// in the name of its attempt: two at once are seen.
fn script(rng: &mut Rng, failures: u32) -> String {
    let note = |what: &str| {
        format!(
            "echo \"{what} $OXIDAG_TASK_ID $OXIDAG_ATTEMPT $OXIDAG_IDEMPOTENCY_KEY $PROCESS -\" >> \"$LEDGER\""
        )
    };
    let mut lines = vec![
        "#!/bin/sh".to_owned(),
        "exec 9> \"$LEDGER.$OXIDAG_IDEMPOTENCY_KEY\"".to_owned(),
        format!("flock --nonblock 9 || {}", note("overlap")),
        note("begin"),
    ];
    let has_child = rng.u8(..4) == 0;
    if has_child {
        lines.push("sleep 600 & child=$!".to_owned());
    }
    if rng.bool() {
        lines.push("echo at work".to_owned());
    }
    if rng.bool() {
        lines.push(format!("sleep 0.0{}", rng.u32(10..=50)));
    }
    if has_child {
        lines.push("kill $child; wait $child".to_owned());
    }
    lines.push(format!("[ $OXIDAG_ATTEMPT -gt {failures} ] || exit 1"));
    lines.push(note("effect"));
    lines.join("\n") + "\n"
}
