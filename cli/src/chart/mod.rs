//! Charts of tasks over time: one row for a task, one bar for each of its attempts.
//!
//! How a chart is drawn is in [`text`] and [`picture`]; neither reads a clock nor the store.

mod picture;
mod text;

use oxidag_core::event::Timestamp;
use oxidag_core::plan::Plan;
use oxidag_core::state::TaskState;
use oxidag_core::store::{RunDetails, TaskDetails};

use crate::format;

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
    /// Its attempts, from the first.
    pub(crate) bars: Vec<Bar>,
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Bar {
    /// When it began.
    pub(crate) from: f64,
    /// When it ended.
    pub(crate) to: f64,
    /// How.
    pub(crate) state: TaskState,
}

impl Chart {
    /// A run as it was stored; what has not ended is drawn up to `now`.
    pub(crate) fn of_run(run: &RunDetails, now: Timestamp) -> Self {
        let head = &run.head;
        let last = run
            .tasks
            .iter()
            .flat_map(|task| &task.attempts)
            .map(|a| a.finished_at.unwrap_or(a.started_at))
            .max();
        // The owner of an interrupted run is gone; nobody knows how long what it ran went on.
        let now = if head.interrupted { last.unwrap_or(head.started_at) } else { now };
        let end = head.finished_at.unwrap_or(now);
        let mut tasks: Vec<&TaskDetails> = run.tasks.iter().collect();
        tasks.sort_by_key(|task| task.started_at.map_or(i64::MAX, |at| at.0));
        let state = if head.interrupted { "interrupted" } else { head.state.name() };
        let took = format::between(head.started_at, end);
        Self {
            title: format!("{} of {}: {state}, {}", head.run_id, head.dag_id, format::duration(took)),
            end: took.as_secs_f64(),
            head: "",
            rows: tasks.into_iter().map(|task| row(task, head.started_at, end)).collect(),
        }
    }

    /// A plan.
    pub(crate) fn of_plan(title: String, plan: &Plan) -> Self {
        let row = |task: &oxidag_core::plan::PlannedTask| Row {
            label: task.task_id.clone(),
            note: format!("{:>6} {:>6}", format::seconds(task.start), format::seconds(task.finish)),
            state: TaskState::None,
            bars: vec![Bar { from: task.start, to: task.finish, state: TaskState::Running }],
        };
        Self { title, end: plan.makespan, head: " START FINISH", rows: plan.tasks.iter().map(row).collect() }
    }
}

fn row(task: &TaskDetails, start: Timestamp, end: Timestamp) -> Row {
    let since = |at: Timestamp| format::between(start, at).as_secs_f64();
    let bars = task.attempts.iter().map(|attempt| Bar {
        from: since(attempt.started_at),
        to: since(attempt.finished_at.unwrap_or(end)),
        state: attempt.state,
    });
    let took = task.started_at.map(|began| format::between(began, task.finished_at.unwrap_or(end)));
    let note = match took {
        Some(took) => format!("{} {}", task.state, format::duration(took)),
        None => task.state.to_string(),
    };
    Row { label: task.task_id.clone(), note, state: task.state, bars: bars.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxidag_core::state::RunState;
    use oxidag_core::store::{AttemptDetails, RunHead};

    fn at(ms: i64) -> Timestamp {
        Timestamp(1_000_000_000 + ms * 1000)
    }

    fn attempt(number: u32, state: TaskState, from: i64, to: Option<i64>) -> AttemptDetails {
        AttemptDetails {
            attempt: number,
            state,
            started_at: at(from),
            finished_at: to.map(at),
            error: None,
            metrics: None,
            checkpoint: None,
        }
    }

    fn task(id: &str, state: TaskState, attempts: Vec<AttemptDetails>) -> TaskDetails {
        TaskDetails {
            task_id: id.to_owned(),
            engine: "noop".to_owned(),
            state,
            started_at: attempts.first().map(|a| a.started_at),
            finished_at: attempts.last().and_then(|a| a.finished_at),
            error: None,
            result: None,
            attempts,
        }
    }

    /// A run that failed: `b` was tried twice, `d` never began.
    pub(super) fn chart() -> Chart {
        Chart::of_run(&run(), at(99_000))
    }

    fn run() -> RunDetails {
        RunDetails {
            head: RunHead {
                run_id: "r1".to_owned(),
                dag_id: "nightly".to_owned(),
                state: RunState::Failed,
                started_at: at(0),
                finished_at: Some(at(4000)),
                interrupted: false,
                owner: None,
                error: None,
            },
            environment: None,
            dag_path: "nightly.yaml".to_owned(),
            dag_source: String::new(),
            params: serde_json::json!({}),
            tasks: vec![
                task("d_never", TaskState::UpstreamFailed, vec![]),
                task("c", TaskState::Success, vec![attempt(1, TaskState::Success, 1000, Some(4000))]),
                task(
                    "b",
                    TaskState::Failed,
                    vec![
                        attempt(1, TaskState::Failed, 1000, Some(1500)),
                        attempt(2, TaskState::Failed, 2500, Some(3000)),
                    ],
                ),
                task("a", TaskState::Success, vec![attempt(1, TaskState::Success, 0, Some(1000))]),
            ],
        }
    }

    #[test]
    fn tasks_stand_in_the_order_in_which_they_began() {
        let labels: Vec<String> = chart().rows.into_iter().map(|row| row.label).collect();
        assert_eq!(labels, ["a", "c", "b", "d_never"]);
    }

    #[test]
    fn what_has_not_ended_is_drawn_up_to_now() {
        let mut run = run();
        run.head.finished_at = None;
        run.head.state = RunState::Running;
        run.tasks[3] = task("a", TaskState::Running, vec![attempt(1, TaskState::Running, 0, None)]);
        let chart = Chart::of_run(&run, at(10_000));
        assert!((chart.end - 10.0).abs() < 1e-9 && (chart.rows[0].bars[0].to - 10.0).abs() < 1e-9);
        run.head.interrupted = true;
        let chart = Chart::of_run(&run, at(10_000));
        assert!((chart.end - 4.0).abs() < 1e-9, "the last sign of life");
        assert!(chart.title.contains("interrupted"));
    }
}
