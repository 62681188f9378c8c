//! How long a run will still take, guessed from what its tasks took before. Pure: time is an argument.

use std::sync::Arc;
use std::time::Duration;

use oxidag_core::event::Timestamp;
use oxidag_core::graph::Graph;
use oxidag_core::prepare::Prepared;
use oxidag_core::store::Durations;

use super::record::Record;
use crate::format::between;

/// What is expected of each task, by its place in the graph.
#[derive(Debug)]
pub(crate) struct Forecast {
    expected: Vec<f64>,
    blocking: Vec<bool>,
    workers: u32,
    graph: Arc<Graph>,
    /// The longest way from each task to the end, its own duration included; found when first asked for.
    levels: Option<Vec<f64>>,
}

impl Forecast {
    /// Unless most tasks are unknown: a guess from nothing is worse than none.
    pub(crate) fn new(prepared: &Prepared, history: &Durations, workers: u32) -> Option<Self> {
        let known = prepared.dag.tasks.iter().filter(|task| {
            history.by_task.contains_key(&*task.task_id)
                || history.by_engine.contains_key(&*task.script.engine)
                || task.expected_duration.is_some()
        });
        if known.count() * 2 < prepared.dag.tasks.len() {
            return None;
        }
        let infos = prepared.infos(history);
        Some(Self {
            expected: infos.iter().map(|info| info.expected).collect(),
            blocking: infos.iter().map(|info| info.blocking).collect(),
            workers,
            graph: Arc::clone(&prepared.graph),
            levels: None,
        })
    }

    /// No less than the longest way that is left, and no less than the work that is left, shared out evenly.
    pub(super) fn remaining(&mut self, record: &Record, now: Timestamp) -> Duration {
        let levels = self.levels.get_or_insert_with(|| self.graph.b_levels(&self.expected));
        let (mut longest, mut work) = (0.0_f64, 0.0);
        for task in self.graph.tasks() {
            let place = task.get();
            if record.states[place].is_terminal() {
                continue;
            }
            let expected = self.expected[place];
            let done = record.in_flight.get(&task).map_or(0.0, |live| between(live.since, now).as_secs_f64());
            let done = done.min(expected);
            longest = longest.max(levels[place] - done);
            if self.blocking[place] {
                work += expected - done;
            }
        }
        let seconds = longest.max(work / f64::from(self.workers.max(1)));
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::report::record::tests::{at, run, task, watched};
    use oxidag_core::state::{RunState, TaskState};

    pub(in crate::report) fn forecast(expected: [f64; 4], workers: u32) -> Forecast {
        Forecast {
            expected: expected.into(),
            blocking: vec![true; 4],
            workers,
            graph: watched().names.graph,
            levels: None,
        }
    }

    fn remaining(forecast: &mut Forecast, record: &Record, ms: i64) -> f64 {
        forecast.remaining(record, at(ms)).as_secs_f64()
    }

    #[test]
    fn the_longest_way_counts_where_there_are_workers_enough() {
        let mut forecast = forecast([1.0, 2.0, 8.0, 1.0], 4);
        let mut record = Record::new(&[TaskState::None; 4]);
        assert!((remaining(&mut forecast, &record, 0) - 10.0).abs() < 1e-9);
        let events = [
            run(0, RunState::Running),
            task(0, 0, 1, TaskState::Running),
            task(1000, 0, 1, TaskState::Success),
            task(1000, 2, 1, TaskState::Running),
        ];
        events.iter().for_each(|event| drop(record.note(event)));
        assert!((remaining(&mut forecast, &record, 3000) - 7.0).abs() < 1e-9);
        // A task that takes longer than expected is expected to end any moment.
        let late = remaining(&mut forecast, &record, 60_000);
        assert!((late - 3.0).abs() < 1e-9, "{late}");
    }

    #[test]
    fn the_work_counts_where_there_are_few_workers() {
        let mut forecast = forecast([1.0, 2.0, 8.0, 1.0], 1);
        assert!((remaining(&mut forecast, &Record::new(&[TaskState::None; 4]), 0) - 12.0).abs() < 1e-9);
    }
}
