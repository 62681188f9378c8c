//! The same work on several numbers of workers.

use std::collections::BTreeSet;

use serde::Serialize;

use super::bound::Paths;
use super::{Expectation, Plan, Work, seconds};
use crate::scheduler::Limits;
use crate::state::IllegalTransition;

/// What more workers have to save to pay, as a part of the shortest makespan.
const PAYS: f64 = 0.01;

/// Plans for several numbers of workers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The tasks of a path that no number of workers makes shorter.
    pub critical_path: Vec<String>,
    /// One plan for each number of workers, from the least.
    pub plans: Vec<OnWorkers>,
    /// The least of these numbers beyond which no more workers make the run shorter by more than a hundredth; nothing if even
    /// the greatest of them may be too few.
    pub enough_workers: Option<u32>,
    /// What is expected of each task.
    pub tasks: Vec<ExpectedTask>,
    /// See [`Plan::counted_once`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counted_once: Vec<String>,
}

/// A task of a [`Comparison`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExpectedTask {
    /// The task's name.
    pub task_id: String,
    /// What it is expected to take.
    #[serde(flatten)]
    pub expected: Expectation,
}

/// What a [`Plan`] comes to. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OnWorkers {
    /// How many workers there are.
    pub workers: u32,
    /// How long the simulated run takes.
    pub makespan: f64,
    /// No schedule is shorter.
    pub lower_bound: f64,
    /// How long it would take if tasks started in the order in which they become ready.
    pub fifo_makespan: f64,
    /// The part of that which the order saves.
    pub gain: f64,
    /// The part of the workers' time in which they are busy.
    pub utilisation: f64,
}

impl From<&Plan> for OnWorkers {
    fn from(plan: &Plan) -> Self {
        let &Plan { workers, makespan, lower_bound, fifo_makespan, gain, utilisation, .. } = plan;
        Self { workers, makespan, lower_bound, fifo_makespan, gain, utilisation }
    }
}

impl Work<'_> {
    /// Simulates a run for each of these numbers of workers; all other limits are these.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan).
    pub fn compare(&self, limits: &Limits, workers: &[u32]) -> Result<Comparison, IllegalTransition> {
        let on = |workers| Limits { workers, ..limits.clone() };
        let counts: BTreeSet<u32> = workers.iter().copied().collect();
        let plans = counts.into_iter().map(|count| self.plan(&on(count)));
        let mut plans: Vec<Plan> = plans.collect::<Result<_, _>>()?;
        let totals: Vec<OnWorkers> = plans.iter().map(OnWorkers::from).collect();
        let last = plans.pop();
        let (critical_path, tasks) = last.map(|plan| (plan.critical_path, plan.tasks)).unwrap_or_default();
        let paths = Paths::new(self.graph, &self.infos, &self.micros);
        let least = seconds(paths.lower_bound(&self.infos, &on(u32::MAX), self.processors));
        Ok(Comparison {
            critical_path,
            enough_workers: enough(&totals, least),
            plans: totals,
            tasks: tasks
                .into_iter()
                .map(|task| ExpectedTask { task_id: task.task_id, expected: task.expected })
                .collect(),
            counted_once: Vec::new(),
        })
    }
}

/// From how many workers on more do not pay; `least` is what the run takes on any number.
fn enough(plans: &[OnWorkers], least: f64) -> Option<u32> {
    let shortest = plans.iter().map(|plan| plan.makespan).fold(f64::INFINITY, f64::min);
    let near = |makespan: f64, of: f64| makespan <= of * (1.0 + PAYS);
    let first = plans.iter().find(|plan| near(plan.makespan, shortest))?;
    let is_last = plans.last().is_some_and(|last| last.workers == first.workers);
    (!is_last || near(first.makespan, least)).then_some(first.workers)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::graph::Graph;
    use crate::graph::tests::dag;
    use crate::plan::tests::{info, workers};

    /// Four tasks of 2 s, one after which another one of 2 s comes.
    fn compared(counts: &[u32]) -> Comparison {
        let tasks: &[(&str, &[&str])] = &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[]), ("e", &["d"])];
        let graph = Arc::new(Graph::new(&dag(tasks)).unwrap());
        Work::new(&graph, vec![info(2.0); 5], None).compare(&workers(1), counts).unwrap()
    }

    #[test]
    fn each_number_of_workers_has_its_plan_and_the_least_that_is_enough_is_told() {
        let compared = compared(&[8, 1, 2, 4, 2]);
        let makespans: Vec<(u32, f64)> = compared.plans.iter().map(|p| (p.workers, p.makespan)).collect();
        assert_eq!(makespans, [(1, 10.0), (2, 6.0), (4, 4.0), (8, 4.0)]);
        assert_eq!(compared.enough_workers, Some(4));
        assert_eq!(compared.critical_path, ["d", "e"]);
        let critical = compared.tasks.iter().filter(|task| task.expected.critical);
        assert_eq!(critical.map(|task| &*task.task_id).collect::<Vec<_>>(), ["d", "e"]);
        let two = compared.plans[1];
        assert!((two.utilisation - 5.0 / 6.0).abs() < 1e-9 && two.lower_bound == 5.0, "{two:?}");
    }

    #[test]
    fn the_greatest_number_is_enough_only_if_nothing_is_shorter() {
        assert_eq!(compared(&[1, 2]).enough_workers, None);
        assert_eq!(compared(&[1, 4]).enough_workers, Some(4));
        // More of them do not help where another limit holds.
        let graph = Arc::new(Graph::new(&dag(&[("a", &[]), ("b", &[])])).unwrap());
        let work = Work::new(&graph, vec![info(2.0); 2], Some(1));
        assert_eq!(work.compare(&workers(1), &[1, 2]).unwrap().enough_workers, Some(1));
    }
}
