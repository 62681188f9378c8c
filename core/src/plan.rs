//! What a run would look like: the scheduler under a simulated clock.
//!
//! Pure: no engine is called. Every task takes its expected duration and succeeds, and every condition is met.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::event::{TaskIdx, Timestamp};
use crate::graph::Graph;
use crate::scheduler::{Action, Input, Limits, Places, Scheduler, Settings, TaskInfo};
use crate::state::IllegalTransition;

/// A simulated run. Times are in seconds from its start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The tasks of a path that no number of workers makes shorter.
    pub critical_path: Vec<String>,
    /// No schedule on these workers is shorter: the critical path's length, or the work that blocks workers shared out evenly.
    pub lower_bound: f64,
    /// How long the simulated run takes.
    pub makespan: f64,
    /// The tasks in the order in which they start.
    pub tasks: Vec<PlannedTask>,
    /// Mapped tasks of which only the run tells how many instances they have: each is planned as one task.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counted_once: Vec<String>,
}

/// One task of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedTask {
    /// The task's name.
    pub task_id: String,
    /// When it starts.
    pub start: f64,
    /// When it ends.
    pub finish: f64,
}

/// Simulates a run.
///
/// # Errors
///
/// [`IllegalTransition`] is a bug in the scheduler.
pub fn plan(
    graph: &Arc<Graph>,
    infos: Vec<TaskInfo>,
    limits: Limits,
    processors: Option<u32>,
) -> Result<Plan, IllegalTransition> {
    let expected: Vec<f64> = infos.iter().map(|info| info.expected).collect();
    let blocking: f64 = infos.iter().filter(|info| info.blocking).map(|info| info.expected).sum();
    let work_bound = blocking / f64::from(limits.workers.max(1));
    let mut scheduler = scheduler(graph, infos, processors);
    let critical = graph.critical_path(scheduler.b_levels());
    let path_bound: f64 = critical.iter().map(|task| expected[task.get()]).sum();
    let mut tasks = simulate(graph, &mut scheduler, &mut Places::new(limits), &expected, &[])?;
    // What only waits has no name.
    tasks.retain(|task| !task.task_id.is_empty());
    let critical = critical.into_iter().map(|task| graph.name(task).to_owned());
    Ok(Plan {
        critical_path: critical.filter(|name| !name.is_empty()).collect(),
        lower_bound: path_bound.max(work_bound),
        makespan: tasks.iter().map(|task| task.finish).fold(0.0, f64::max),
        tasks,
        counted_once: Vec::new(),
    })
}

/// The tasks in the order in which they would start if some are left out; without those that run only where others do
/// not succeed.
///
/// # Errors
///
/// As [`plan`].
pub fn order(
    graph: &Arc<Graph>,
    infos: Vec<TaskInfo>,
    limits: Limits,
    processors: Option<u32>,
    left_out: &[TaskIdx],
) -> Result<Vec<String>, IllegalTransition> {
    let expected: Vec<f64> = infos.iter().map(|info| info.expected).collect();
    let mut scheduler = scheduler(graph, infos, processors);
    let tasks = simulate(graph, &mut scheduler, &mut Places::new(limits), &expected, left_out)?;
    Ok(tasks.into_iter().map(|task| task.task_id).collect())
}

/// A scheduler of tasks that always end: a deadline stops one that never does.
fn scheduler(graph: &Arc<Graph>, infos: Vec<TaskInfo>, processors: Option<u32>) -> Scheduler {
    let infos = infos
        .into_iter()
        .map(|info| TaskInfo { timeout: None, mapped: false, follows: None, ..info })
        .collect();
    Scheduler::new(Arc::clone(graph), infos, Settings { processors, ..Settings::default() })
}

/// Sums of seconds, kept exact enough by counting microseconds as the run itself does.
fn simulate(
    graph: &Graph,
    scheduler: &mut Scheduler,
    places: &mut Places,
    expected: &[f64],
    left_out: &[TaskIdx],
) -> Result<Vec<PlannedTask>, IllegalTransition> {
    let mut running: BinaryHeap<Reverse<(Timestamp, TaskIdx, u32)>> = BinaryHeap::new();
    let (mut now, mut out, mut tasks) = (Timestamp(0), Vec::new(), Vec::new());
    scheduler.start(left_out, &[], now, &mut out)?;
    loop {
        scheduler.dispatch(now, places, &mut out)?;
        let mut conditions = Vec::new();
        for action in out.drain(..) {
            if let Action::Evaluate { task } = action {
                conditions.push(Input::Condition { task, met: Some(true) });
            }
            let Action::Start { task, attempt, .. } = action else { continue };
            let finish = now.after(Duration::from_secs_f64(expected[task.get()]));
            running.push(Reverse((finish, task, attempt)));
            tasks.push(PlannedTask {
                task_id: graph.name(task).to_owned(),
                start: seconds(now),
                finish: seconds(finish),
            });
        }
        if !conditions.is_empty() {
            conditions.into_iter().try_for_each(|met| scheduler.handle(met, now, places, &mut out))?;
            continue;
        }
        let Some(Reverse((finish, task, attempt))) = running.pop() else { return Ok(tasks) };
        now = finish;
        scheduler.handle(Input::Ended { task, attempt, failure: None }, now, places, &mut out)?;
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a plan stay far below 2^53")]
fn seconds(time: Timestamp) -> f64 {
    time.0 as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    use crate::graph::tests::dag;
    use crate::spec::{Backoff, TriggerRule};

    fn planned(tasks: &[(&str, &[&str])], durations: &[f64], workers: u32) -> Plan {
        let graph = Arc::new(Graph::new(&dag(tasks)).unwrap());
        let infos = durations.iter().map(|&expected| TaskInfo {
            priority: 0,
            expected,
            rule: TriggerRule::AllSuccess,
            retries: 0,
            retry_delay: Duration::ZERO,
            backoff: Backoff::Fixed,
            max_retry_delay: Duration::ZERO,
            timeout: None,
            engine: 0,
            pool: None,
            blocking: true,
            conditional: false,
            teardown: false,
            fails_run: true,
            mapped: false,
            sub: false,
            max_active: None,
            follows: None,
            instance_of: None,
        });
        let limits = Limits { workers, engines: vec![None], pools: Vec::new() };
        plan(&graph, infos.collect(), limits, None).unwrap()
    }

    #[test]
    fn the_critical_path_bounds_the_plan() {
        let tasks: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &[]), ("d", &["b", "c"])];
        let plan = planned(tasks, &[1.0, 2.0, 2.5, 1.0], 2);
        assert_eq!(plan.critical_path, ["a", "b", "d"]);
        assert_eq!((plan.lower_bound, plan.makespan), (4.0, 4.0));
    }

    #[test]
    fn the_work_bounds_the_plan_on_few_workers() {
        let plan = planned(&[("a", &[]), ("b", &[]), ("c", &[])], &[2.0, 2.0, 2.0], 2);
        assert_eq!((plan.lower_bound, plan.makespan), (3.0, 4.0));
    }

    proptest! {
        /// Graphs of known optimum: each worker is filled without a gap to the same end, and dependencies
        /// are only added that this schedule keeps. R. L. Graham, "Bounds on Multiprocessing Timing
        /// Anomalies", SIAM J. Appl. Math. 17(2), 1969, gives the bound for every list schedule.
        #[test]
        fn a_plan_stays_within_the_bound_of_list_scheduling(
            cuts in proptest::collection::vec(proptest::collection::btree_set(1..1000_u32, 0..8), 2..7),
            edges in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40),
        ) {
            let workers = u32::try_from(cuts.len()).unwrap();
            let mut slots: Vec<(u32, u32)> = Vec::new();
            for cuts in &cuts {
                let ends: Vec<u32> = cuts.iter().copied().chain([1000]).collect();
                slots.extend(std::iter::once(0).chain(ends.iter().copied()).zip(ends.iter().copied()));
            }
            let names: Vec<String> = (0..slots.len()).map(|i| format!("t{i}")).collect();
            let mut upstream: Vec<Vec<&str>> = vec![Vec::new(); slots.len()];
            for (a, b) in edges {
                let (a, b) = (a.index(slots.len()), b.index(slots.len()));
                if slots[a].1 <= slots[b].0 && !upstream[b].contains(&names[a].as_str()) {
                    upstream[b].push(&names[a]);
                }
            }
            let tasks: Vec<(&str, &[&str])> = names.iter().map(String::as_str).zip(upstream.iter().map(Vec::as_slice)).collect();
            let durations: Vec<f64> = slots.iter().map(|(from, to)| f64::from(to - from)).collect();
            let plan = planned(&tasks, &durations, workers);
            let bound = 1000.0 * (2.0 - 1.0 / f64::from(workers));
            prop_assert!(plan.makespan <= bound + 1e-6, "{} > {bound}", plan.makespan);
            prop_assert!(plan.makespan >= 1000.0 - 1e-6 && plan.lower_bound <= 1000.0 + 1e-6);
        }
    }
}
