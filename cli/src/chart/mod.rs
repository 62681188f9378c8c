//! Charts of tasks over time: one row for a task, with bars for what each of its attempts did.
//!
//! How a chart is drawn is in [`text`] and [`picture`]; neither reads a clock nor the store.

mod picture;
mod text;

use std::collections::{HashMap, HashSet};

use oxidag_core::event::Timestamp;
use oxidag_core::plan::Plan;
use oxidag_core::scheduler::ExpectedFrom;
use oxidag_core::state::TaskState;
use oxidag_core::store::{AttemptDetails, RunDetails, TaskDetails};

use crate::format;
use crate::phases::{Phases, Span};

/// A chart; times are in seconds from its start.
#[derive(Debug)]
pub(crate) struct Chart {
    /// What is drawn.
    pub(crate) title: String,
    /// When it ends.
    pub(crate) end: f64,
    /// What stands above the notes.
    pub(crate) head: &'static str,
    /// Its rows, from the top.
    pub(crate) rows: Vec<Row>,
    /// What its bars may mean; nothing where that is plain.
    pub(crate) legend: Vec<Meaning>,
}

/// One task.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) label: String,
    /// How it ended and how long it took.
    pub(crate) note: String,
    /// The state that `note` speaks of.
    pub(crate) state: TaskState,
    /// What its attempts did, from the first.
    pub(crate) bars: Vec<Bar>,
}

/// A phase of an attempt.
#[derive(Debug)]
pub(crate) struct Bar {
    /// When it began.
    pub(crate) from: f64,
    /// When it ended.
    pub(crate) to: f64,
    /// What the attempt did.
    pub(crate) part: Part,
    /// How the attempt ended, if it did.
    pub(crate) state: TaskState,
    /// The attempt, from 1.
    pub(crate) attempt: u32,
    /// Whether the attempt ended with it.
    pub(crate) is_last: bool,
}

/// What an attempt does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// It could start, but there is no place for it.
    Waiting,
    /// Its engine is busy with it.
    Running,
    /// Its engine waits for a remote job.
    Deferred,
}

/// An entry of the legend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// How a part is drawn.
    Part(Part),
    /// How an attempt is drawn that ended so.
    End(TaskState),
}

impl Chart {
    /// A run as it was stored; what has not ended is drawn up to `now`.
    pub(crate) fn of_run(run: &RunDetails, now: Timestamp) -> Self {
        let head = &run.head;
        // The owner of an interrupted run is gone; nobody knows how long what it ran went on.
        let now = if head.interrupted { last_sign(run) } else { now };
        let end = head.finished_at.unwrap_or(now);
        let mut tasks: Vec<&TaskDetails> = run.tasks.iter().collect();
        tasks.sort_by_key(|task| task.started_at.or(task.scheduled_at).map_or(i64::MAX, |at| at.0));
        let state = if head.interrupted { "interrupted" } else { head.state.name() };
        let took = format::between(head.started_at, end);
        let in_tree = in_tree(&tasks).into_iter();
        let rows: Vec<Row> = in_tree
            .map(|(depth, task)| {
                let row = row(task, head.started_at, end);
                Row { label: format!("{}{}", "  ".repeat(depth), row.label), ..row }
            })
            .collect();
        Self {
            title: format!("{} of {}: {state}, {}", head.run_id, head.dag_id, format::duration(took)),
            end: took.as_secs_f64(),
            head: "",
            legend: legend(&rows),
            rows,
        }
    }

    /// A plan.
    pub(crate) fn of_plan(title: String, plan: &Plan) -> Self {
        let row = |task: &oxidag_core::plan::PlannedTask| Row {
            label: task.task_id.clone(),
            note: format!(
                "{:>6} {:>6} {:<6}{}",
                format::seconds(task.start),
                format::seconds(task.finish),
                source(task.expected.expected_from),
                if task.expected.critical { " *" } else { "" },
            ),
            state: TaskState::None,
            bars: vec![Bar {
                from: task.start,
                to: task.finish,
                part: Part::Running,
                state: TaskState::Running,
                attempt: 1,
                is_last: false,
            }],
        };
        let rows = plan.tasks.iter().map(row).collect();
        Self { title, end: plan.makespan, head: " START FINISH FROM   * critical", rows, legend: Vec::new() }
    }
}

/// Where an expected duration is from, in a word.
fn source(from: ExpectedFrom) -> &'static str {
    match from {
        ExpectedFrom::History => "past",
        ExpectedFrom::File => "file",
        ExpectedFrom::Engine => "engine",
        ExpectedFrom::Default => "guess",
    }
}

/// Each task with those that grew from it below, and how deep below.
fn in_tree<'a>(tasks: &[&'a TaskDetails]) -> Vec<(usize, &'a TaskDetails)> {
    let names: HashSet<&str> = tasks.iter().map(|task| task.task_id.as_str()).collect();
    let from = |task: &'a TaskDetails| task.grown_from.as_deref().filter(|from| names.contains(from));
    let mut below: HashMap<&str, Vec<&'a TaskDetails>> = HashMap::new();
    for task in tasks.iter().rev() {
        if let Some(from) = from(task) {
            below.entry(from).or_default().push(task);
        }
    }
    let top = tasks.iter().rev().filter(|task| from(task).is_none());
    let mut open: Vec<(usize, &TaskDetails)> = top.map(|task| (0, *task)).collect();
    let mut ordered = Vec::with_capacity(tasks.len());
    while let Some((depth, task)) = open.pop() {
        ordered.push((depth, task));
        let grown = below.remove(task.task_id.as_str()).unwrap_or_default();
        open.extend(grown.into_iter().map(|task| (depth + 1, task)));
    }
    ordered
}

/// The last thing that is known of a run.
fn last_sign(run: &RunDetails) -> Timestamp {
    let of_attempt = |a: &AttemptDetails| [Some(a.started_at), a.deferred_at, a.finished_at];
    let attempts = run.tasks.iter().flat_map(|task| task.attempts.iter().flat_map(of_attempt));
    let tasks = run.tasks.iter().flat_map(|task| [task.scheduled_at, task.finished_at]);
    attempts.chain(tasks).flatten().max().unwrap_or(run.head.started_at)
}

fn row(task: &TaskDetails, start: Timestamp, end: Timestamp) -> Row {
    let mut bars: Vec<Bar> = task.attempts.iter().flat_map(|attempt| bars(attempt, start, end)).collect();
    if let Some(span) = Phases::pending(task, Some(end)) {
        let attempt = task.attempts.last().map_or(1, |last| last.attempt + 1);
        bars.push(bar(span, start, (Part::Waiting, task.state, attempt, false)));
    }
    let took = task.started_at.map(|began| format::between(began, task.finished_at.unwrap_or(end)));
    let note = match took {
        Some(took) => format!("{} {}", task.state, format::duration(took)),
        None => task.state.to_string(),
    };
    Row { label: task.task_id.clone(), note, state: task.state, bars }
}

/// What an attempt did.
fn bars(attempt: &AttemptDetails, start: Timestamp, end: Timestamp) -> impl Iterator<Item = Bar> {
    let Phases { waited, ran, deferred } = Phases::of(attempt, Some(end));
    let (state, number) = (attempt.state, attempt.attempt);
    let ended = attempt.finished_at.is_some();
    let parts = [
        (waited, Part::Waiting, false),
        (ran, Part::Running, ended && deferred.is_none()),
        (deferred, Part::Deferred, ended),
    ];
    let drawn = move |(span, part, is_last): (Option<Span>, Part, bool)| {
        Some(bar(span?, start, (part, state, number, is_last)))
    };
    parts.into_iter().filter_map(drawn)
}

fn bar(span: Span, start: Timestamp, (part, state, attempt, is_last): (Part, TaskState, u32, bool)) -> Bar {
    let since = |at: Timestamp| format::between(start, at).as_secs_f64();
    Bar { from: since(span.from), to: since(span.to), part, state, attempt, is_last }
}

/// What is to be explained: all that is drawn, unless that is nothing but attempts that ran and succeeded.
fn legend(rows: &[Row]) -> Vec<Meaning> {
    let bars = || rows.iter().flat_map(|row| &row.bars);
    let has_part = |part: &Part| bars().any(|bar| bar.part == *part);
    let has_end = |state: &TaskState| bars().any(|bar| bar.is_last && bar.state == *state);
    let parts = [Part::Waiting, Part::Running, Part::Deferred].into_iter().filter(has_part);
    let ends = [TaskState::Success, TaskState::Failed, TaskState::Cancelled].into_iter().filter(has_end);
    let legend: Vec<Meaning> = parts.map(Meaning::Part).chain(ends.map(Meaning::End)).collect();
    let plain = [Meaning::Part(Part::Running), Meaning::End(TaskState::Success)];
    if legend.iter().all(|meaning| plain.contains(meaning)) { Vec::new() } else { legend }
}

impl Part {
    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Waiting => "waiting",
            Part::Running => "running",
            Part::Deferred => "deferred",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::tests::{at, attempt, task};
    use TaskState as S;
    use oxidag_core::state::RunState;
    use oxidag_core::store::RunHead;

    /// A run that failed: `b` was tried twice and waited both times, `r` was deferred, `d` never began.
    pub(super) fn chart() -> Chart {
        Chart::of_run(&run(), at(99_000))
    }

    fn run() -> RunDetails {
        RunDetails {
            growth: Vec::new(),
            head: RunHead {
                run_id: "r1".to_owned(),
                dag_id: "nightly".to_owned(),
                state: RunState::Failed,
                started_at: at(0),
                finished_at: Some(at(4000)),
                interrupted: false,
                owner: None,
                error: None,
                unread: None,
            },
            environment: None,
            plugins: None,
            dag_path: "nightly.yaml".to_owned(),
            dag_source: String::new(),
            params: serde_json::json!({}),
            script_cache: None,
            tasks: vec![
                task("d_never", S::UpstreamFailed, vec![]),
                task("c", S::Success, vec![attempt(1, S::Success, (Some(1000), 1001, None, Some(4000)))]),
                task(
                    "b",
                    S::Failed,
                    vec![
                        attempt(1, S::Failed, (Some(500), 1000, None, Some(1500))),
                        attempt(2, S::Failed, (Some(2000), 2500, None, Some(3000))),
                    ],
                ),
                task("r", S::Cancelled, vec![attempt(1, S::Cancelled, (None, 1000, Some(1200), Some(3500)))]),
                task("a", S::Success, vec![attempt(1, S::Success, (Some(0), 0, None, Some(1000)))]),
            ],
        }
    }

    #[test]
    fn tasks_stand_in_the_order_in_which_they_began() {
        let labels: Vec<String> = chart().rows.into_iter().map(|row| row.label).collect();
        assert_eq!(labels, ["a", "b", "r", "c", "d_never"]);
    }

    #[test]
    fn each_attempt_has_a_bar_for_each_of_its_phases() {
        let chart = chart();
        let bars = |row: usize| -> Vec<(Part, u32, bool)> {
            chart.rows[row].bars.iter().map(|bar| (bar.part, bar.attempt, bar.is_last)).collect()
        };
        let tried_twice = [
            (Part::Waiting, 1, false),
            (Part::Running, 1, true),
            (Part::Waiting, 2, false),
            (Part::Running, 2, true),
        ];
        assert_eq!(bars(1), tried_twice);
        assert_eq!(bars(2), [(Part::Running, 1, false), (Part::Deferred, 1, true)]);
        let remote = &chart.rows[2].bars;
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(remote[0].to, 1.2) && near(remote[1].from, 1.2) && near(remote[1].to, 3.5));
    }

    #[test]
    fn only_what_is_drawn_is_explained() {
        use Meaning::{End, Part as P};
        let all = [
            P(Part::Waiting),
            P(Part::Running),
            P(Part::Deferred),
            End(S::Success),
            End(S::Failed),
            End(S::Cancelled),
        ];
        assert_eq!(chart().legend, all);
        let mut run = run();
        run.tasks.drain(..4);
        run.tasks[0].attempts[0].scheduled_at = None;
        assert_eq!(Chart::of_run(&run, at(99_000)).legend, []);
    }

    #[test]
    fn what_has_not_ended_is_drawn_up_to_now() {
        let mut run = run();
        run.head.finished_at = None;
        run.head.state = RunState::Running;
        run.tasks[4] = task("a", S::Running, vec![attempt(1, S::Running, (None, 0, None, None))]);
        run.tasks[0].state = S::Waiting;
        run.tasks[0].scheduled_at = Some(at(3000));
        let chart = Chart::of_run(&run, at(10_000));
        assert!((chart.end - 10.0).abs() < 1e-9 && (chart.rows[0].bars[0].to - 10.0).abs() < 1e-9);
        let waiting = &chart.rows[4].bars[0];
        assert_eq!((waiting.part, waiting.attempt), (Part::Waiting, 1));
        assert!((waiting.from - 3.0).abs() < 1e-9 && (waiting.to - 10.0).abs() < 1e-9);
        run.head.interrupted = true;
        let chart = Chart::of_run(&run, at(10_000));
        assert!((chart.end - 4.0).abs() < 1e-9, "the last sign of life");
        assert!(chart.title.contains("interrupted"));
    }
}
