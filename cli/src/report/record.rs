//! What people are told of a run, gathered from its events: who runs, how many are in each state, what failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use oxidag_core::event::{AttemptEnd, Event, EventKind, Failure, FailureKind, TaskIdx, Timestamp};
use oxidag_core::growth::Growth;
use oxidag_core::state::{RunState, TaskState};

use crate::format::between;

/// Failures that are kept; of those beyond, only the number.
const MOST_FAILURES: usize = 100;

/// A run as its events tell it.
#[derive(Debug)]
pub(super) struct Record {
    /// Each task's state.
    pub(super) states: Vec<TaskState>,
    /// Each task that an engine has.
    pub(super) in_flight: BTreeMap<TaskIdx, Attempt>,
    /// The first tasks that failed.
    pub(super) failures: Vec<FailedTask>,
    /// The first tasks that could not be stopped.
    pub(super) abandoned: Vec<TaskIdx>,
    /// When the run began.
    pub(super) started_at: Timestamp,
    counts: [usize; TaskState::ALL.len()],
}

/// An attempt that an engine has.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    /// From 1.
    pub(super) number: u32,
    /// When it began.
    pub(super) since: Timestamp,
    /// Whether the engine waits for a remote job.
    pub(super) is_deferred: bool,
    /// What the engine last said of its progress.
    pub(super) progress: Option<String>,
}

/// A task that failed.
#[derive(Debug)]
pub(super) struct FailedTask {
    pub(super) task: TaskIdx,
    pub(super) attempt: u32,
    pub(super) took: Duration,
    pub(super) why: String,
}

/// What an event means to people.
#[derive(Debug)]
pub(super) enum News {
    /// The run began.
    Began,
    /// An engine was handed an attempt.
    Started { task: TaskIdx, attempt: u32 },
    /// A task ended, or is tried again; with what its attempt took, if it made one.
    Ended { task: TaskIdx, attempt: u32, state: TaskState, took: Option<Duration>, why: Option<String> },
    /// Tasks were added to the graph.
    Grown(Arc<Growth>),
    /// The run ended.
    RunEnded { state: RunState, error: Option<Arc<Failure>> },
}

impl Record {
    /// These states are what the run begins with.
    pub(super) fn new(states: &[TaskState]) -> Self {
        let mut counts = [0; TaskState::ALL.len()];
        states.iter().for_each(|&state| counts[state as usize] += 1);
        Self {
            states: states.to_vec(),
            in_flight: BTreeMap::new(),
            failures: Vec::new(),
            abandoned: Vec::new(),
            started_at: Timestamp::default(),
            counts,
        }
    }

    /// How many tasks are in a state.
    pub(super) fn count(&self, state: TaskState) -> usize {
        self.counts[state as usize]
    }

    /// How many tasks have ended.
    pub(super) fn ended(&self) -> usize {
        TaskState::ALL.into_iter().filter(|state| state.is_terminal()).map(|state| self.count(state)).sum()
    }

    /// Takes note of an event; what people should hear of it.
    pub(super) fn note(&mut self, event: &Event) -> Option<News> {
        match &event.kind {
            // It goes on until everything has stopped; its end says why.
            EventKind::RunState { state: RunState::Running, error: Some(_) } => None,
            EventKind::RunState { state: RunState::Running, error: None } => {
                self.started_at = event.ts;
                Some(News::Began)
            }
            EventKind::RunState { state, error } => {
                Some(News::RunEnded { state: *state, error: error.clone() })
            }
            EventKind::TaskState { task, attempt, state, end } => {
                self.task(*task, *attempt, *state, end.as_deref(), event.ts)
            }
            EventKind::Progress { task, attempt, fraction, message } => {
                if let Some(live) = self.in_flight.get_mut(task).filter(|live| live.number == *attempt) {
                    live.progress = Some(progress(*fraction, message));
                }
                None
            }
            EventKind::Grown(growth) => {
                self.states.resize(self.states.len() + growth.tasks.len(), TaskState::None);
                self.counts[TaskState::None as usize] += growth.tasks.len();
                Some(News::Grown(Arc::clone(growth)))
            }
            EventKind::Log { .. } | EventKind::Checkpoint { .. } => None,
        }
    }

    fn task(
        &mut self,
        task: TaskIdx,
        attempt: u32,
        state: TaskState,
        end: Option<&AttemptEnd>,
        now: Timestamp,
    ) -> Option<News> {
        let before = std::mem::replace(&mut self.states[task.get()], state);
        self.counts[before as usize] -= 1;
        self.counts[state as usize] += 1;
        match state {
            // A mapped task, whose instances run in its place.
            TaskState::Running if attempt == 0 => return None,
            TaskState::Running => {
                let live = Attempt { number: attempt, since: now, is_deferred: false, progress: None };
                self.in_flight.insert(task, live);
                return Some(News::Started { task, attempt });
            }
            TaskState::Deferred => {
                if let Some(live) = self.in_flight.get_mut(&task) {
                    live.is_deferred = true;
                }
                return None;
            }
            TaskState::None | TaskState::Scheduled | TaskState::Waiting => return None,
            _ => {}
        }
        let took = self.in_flight.remove(&task).map(|live| between(live.since, now));
        let why = end.and_then(|end| end.error.as_ref()).map(|error| error.message.clone());
        let kind = end.and_then(|end| end.error.as_ref()).map(|error| error.kind);
        if kind == Some(FailureKind::Abandoned) && self.abandoned.len() < MOST_FAILURES {
            self.abandoned.push(task);
        }
        if state == TaskState::Failed && self.failures.len() < MOST_FAILURES {
            let (took, why) = (took.unwrap_or_default(), why.clone().unwrap_or_default());
            self.failures.push(FailedTask { task, attempt, took, why });
        }
        Some(News::Ended { task, attempt, state, took, why })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a hundred")]
fn progress(fraction: Option<f64>, message: &str) -> String {
    let percent = fraction.map(|fraction| format!("{}%", (fraction.clamp(0.0, 1.0) * 100.0) as u32));
    let message = Some(message.to_owned()).filter(|message| !message.is_empty());
    percent.into_iter().chain(message).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::names::Names;
    use crate::report::Watched;
    use oxidag_core::graph::Graph;
    use oxidag_core::spec::{SourceFile, parse};

    /// A run of four tasks: `load`, then `clean` and `count`, then `report`.
    pub(in crate::report) fn watched() -> Watched {
        let text = "tasks:
- {task_id: load, script: {engine: noop, inline: ''}}
- {task_id: clean, dependencies: [load], script: {engine: noop, inline: ''}}
- {task_id: count, dependencies: [load], script: {engine: noop, inline: ''}}
- {task_id: report, dependencies: [clean, count], script: {engine: noop, inline: ''}}
";
        let (dag, _) = parse(SourceFile::new("nightly.yaml".into(), text.to_owned())).unwrap();
        Watched {
            run_id: "r1".to_owned(),
            names: Names::new(Arc::new(Graph::new(&dag).unwrap())),
            dag_id: dag.dag_id,
            home: "home".into(),
            workers: 2,
            begun: vec![TaskState::None; 4],
            among_others: false,
        }
    }

    pub(in crate::report) fn at(ms: i64) -> Timestamp {
        Timestamp(1_795_373_045_000_000 + ms * 1000)
    }

    pub(in crate::report) fn run(ms: i64, state: RunState) -> Event {
        Event { ts: at(ms), kind: EventKind::RunState { state, error: None } }
    }

    pub(in crate::report) fn task(ms: i64, task: u32, attempt: u32, state: TaskState) -> Event {
        Event { ts: at(ms), kind: EventKind::TaskState { task: TaskIdx(task), attempt, state, end: None } }
    }

    /// The same, with how the attempt ended.
    pub(in crate::report) fn ended(
        ms: i64,
        number: u32,
        attempt: u32,
        state: TaskState,
        end: AttemptEnd,
    ) -> Event {
        let mut event = task(ms, number, attempt, state);
        if let EventKind::TaskState { end: place, .. } = &mut event.kind {
            *place = Some(Arc::new(end));
        }
        event
    }

    pub(in crate::report) fn failed(message: &str) -> AttemptEnd {
        let error = Failure { kind: FailureKind::Failed, message: message.to_owned() };
        AttemptEnd { error: Some(error), ..AttemptEnd::default() }
    }

    /// A run in which `count` fails twice and takes `report` with it.
    pub(in crate::report) fn events() -> Vec<Event> {
        let (task_1, attempt) = (TaskIdx(1), 1);
        let loaded = AttemptEnd {
            result: Some(serde_json::json!({"rows": 7})),
            metrics: Some(serde_json::json!({"cpu_s": 0.5})),
            ..AttemptEnd::default()
        };
        let log = EventKind::Log { task: task_1, attempt, level: "stdout", line: "a \"line\"".into() };
        let progress =
            EventKind::Progress { task: task_1, attempt, fraction: Some(0.5), message: "half".into() };
        vec![
            run(0, RunState::Running),
            task(0, 0, 0, TaskState::Scheduled),
            task(0, 0, 1, TaskState::Running),
            ended(1500, 0, 1, TaskState::Success, loaded),
            task(1500, 1, 0, TaskState::Scheduled),
            task(1500, 2, 0, TaskState::Scheduled),
            task(1500, 1, 1, TaskState::Running),
            task(1500, 2, 1, TaskState::Running),
            Event { ts: at(1600), kind: log },
            Event { ts: at(1600), kind: progress },
            ended(2000, 2, 1, TaskState::UpForRetry, failed("exit status 1")),
            task(3000, 2, 1, TaskState::Scheduled),
            task(3000, 2, 2, TaskState::Running),
            task(3100, 1, 1, TaskState::Deferred),
            ended(3250, 2, 2, TaskState::Failed, failed("no such table\n  near \"x\"")),
            task(3250, 3, 0, TaskState::UpstreamFailed),
            ended(4000, 1, 1, TaskState::Success, AttemptEnd::default()),
            run(4000, RunState::Failed),
        ]
    }

    #[test]
    fn counts_follow_the_tasks() {
        let mut record = Record::new(&[TaskState::None; 4]);
        let events = events();
        let (before, after) = events.split_at(14);
        before.iter().for_each(|event| drop(record.note(event)));
        assert_eq!(
            (record.ended(), record.count(TaskState::Running), record.count(TaskState::Deferred)),
            (1, 1, 1)
        );
        assert_eq!(record.in_flight[&TaskIdx(1)].progress.as_deref(), Some("50% half"));
        after.iter().for_each(|event| drop(record.note(event)));
        assert_eq!((record.ended(), record.in_flight.len()), (4, 0));
        assert_eq!(record.count(TaskState::None), 0);
    }

    #[test]
    fn a_failed_task_is_kept_with_its_last_attempt() {
        let mut record = Record::new(&[TaskState::None; 4]);
        events().iter().for_each(|event| drop(record.note(event)));
        let [failed] = record.failures.as_slice() else { panic!("{:?}", record.failures) };
        assert_eq!((failed.task, failed.attempt, failed.took), (TaskIdx(2), 2, Duration::from_millis(250)));
    }
}
