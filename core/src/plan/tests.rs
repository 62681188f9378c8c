//! What a plan says of small DAGs, and the bound of list scheduling on random ones.

use super::*;

use proptest::prelude::*;

use crate::graph::tests::dag;
use crate::scheduler;
use crate::spec::TriggerRule;

/// A task of so many seconds, which are known from past runs.
pub(super) fn info(expected: f64) -> TaskInfo {
    TaskInfo { expected, expected_from: ExpectedFrom::History, ..scheduler::tests::info() }
}

/// So many workers, and no other limit.
pub(super) fn workers(workers: u32) -> Limits {
    Limits { workers, engines: vec![None], pools: Vec::new() }
}

fn graph(tasks: &[(&str, &[&str])]) -> Arc<Graph> {
    Arc::new(Graph::new(&dag(tasks)).unwrap())
}

fn planned(tasks: &[(&str, &[&str])], durations: &[f64], count: u32) -> Plan {
    let infos = durations.iter().map(|&expected| info(expected)).collect();
    Work::new(&graph(tasks), infos, None).plan(&workers(count)).unwrap()
}

/// Two tasks of 3 s and three of 2 s: the longest first leaves the third of the short ones over.
const PACKED: &[(&str, &[&str])] = &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[]), ("e", &[])];
const SECONDS: [f64; 5] = [3.0, 3.0, 2.0, 2.0, 2.0];

#[test]
fn a_better_order_than_that_of_the_b_levels_is_found_and_told() {
    let graph = graph(PACKED);
    let infos: Vec<TaskInfo> = SECONDS.map(info).into();
    let plan = Work::new(&graph, infos.clone(), None).plan(&workers(2)).unwrap();
    assert_eq!((plan.lower_bound, plan.makespan), (6.0, 6.0));
    let levels = levels(&graph, &infos, &workers(2), None, (&[], &[])).unwrap().unwrap();
    // Three of 2 s on one worker, two of 3 s on the other.
    let start = |name| 6.0 - levels[graph.find(name).unwrap().get()];
    let starts: Vec<f64> = ["a", "b", "c", "d", "e"].map(start).into();
    let mut sorted = starts.clone();
    sorted.sort_by(f64::total_cmp);
    assert_eq!(sorted, [0.0, 0.0, 2.0, 3.0, 4.0], "{starts:?}");
}

#[test]
fn an_order_is_not_made_from_guesses() {
    let guess = |&seconds: &f64| TaskInfo { expected_from: ExpectedFrom::Default, ..info(seconds) };
    let infos: Vec<TaskInfo> = SECONDS.iter().map(guess).collect();
    let graph = graph(PACKED);
    assert_eq!(levels(&graph, &infos, &workers(2), None, (&[], &[])).unwrap(), None);
    assert_eq!(Work::new(&graph, infos, None).plan(&workers(2)).unwrap().makespan, 7.0);
}

#[test]
fn an_order_is_not_made_for_tasks_that_stand_for_others() {
    let mut infos: Vec<TaskInfo> = SECONDS.map(info).into();
    infos[4].mapped = true;
    let graph = graph(PACKED);
    assert_eq!(levels(&graph, &infos, &workers(2), None, (&[], &[])).unwrap(), None);
    assert_eq!(Work::new(&graph, infos, None).plan(&workers(2)).unwrap().makespan, 7.0);
}

#[test]
fn no_order_is_looked_for_when_that_takes_longer_than_it_saves() {
    let infos: Vec<TaskInfo> = SECONDS.iter().map(|seconds| info(seconds / 1e6)).collect();
    assert_eq!(levels(&graph(PACKED), &infos, &workers(2), None, (&[], &[])).unwrap(), None);
}

#[test]
fn a_task_of_greater_priority_starts_first_in_a_better_order_too() {
    let mut infos: Vec<TaskInfo> = SECONDS.map(info).into();
    infos[0].priority = 1;
    infos[2].priority = 1;
    let plan = Work::new(&graph(PACKED), infos, None).plan(&workers(2)).unwrap();
    let first: Vec<&str> = plan.tasks[..2].iter().map(|task| task.task_id.as_str()).collect();
    assert_eq!((first, plan.makespan), (vec!["a", "c"], 6.0));
}

#[test]
fn what_is_left_out_takes_no_time() {
    let graph = graph(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]);
    let infos = [1.0, 2.0, 4.0].map(info).into();
    let left_out = [graph.find("b").unwrap()];
    let plan = Work::new(&graph, infos, None).without(&left_out, &[]).plan(&workers(2)).unwrap();
    assert_eq!((plan.lower_bound, plan.makespan), (5.0, 5.0));
    assert_eq!(plan.tasks.iter().map(|task| task.task_id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn the_order_is_compared_with_that_of_arrival() {
    let tasks: &[(&str, &[&str])] = &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &["c"])];
    let plan = planned(tasks, &[2.0, 2.0, 2.0, 2.0], 2);
    assert_eq!((plan.makespan, plan.fifo_makespan), (4.0, 6.0));
    assert!((plan.gain - 1.0 / 3.0).abs() < 1e-9 && (plan.utilisation - 1.0).abs() < 1e-9);
    let critical = plan.tasks.iter().filter(|task| task.expected.critical).map(|task| task.task_id.as_str());
    assert_eq!(critical.collect::<Vec<_>>(), ["c", "d"]);
}

#[test]
fn arrival_knows_no_priorities() {
    let infos = [0, 0, 1].map(|priority| TaskInfo { priority, ..info(1.0) }).into();
    let graph = graph(&[("a", &[]), ("b", &[]), ("c", &[])]);
    let work = Work::new(&graph, infos, None);
    let order = |order| {
        let simulated = work.simulate(&workers(1), order).unwrap();
        simulated.tasks.iter().map(|(task, ..)| graph.name(*task).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(order(Order::ByArrival), ["a", "b", "c"]);
    assert_eq!(order(Order::ByLevel), ["c", "a", "b"]);
}

#[test]
fn what_comes_before_and_after_shared_work_is_part_of_the_bound() {
    let ends: &[(&str, &[&str])] = &[
        ("first", &[]),
        ("a", &["first"]),
        ("b", &["first"]),
        ("c", &["first"]),
        ("last", &["a", "b", "c"]),
    ];
    let plan = planned(ends, &[1.0, 2.0, 2.0, 2.0, 1.0], 2);
    assert_eq!((plan.lower_bound, plan.makespan), (5.0, 6.0));
}

#[test]
fn every_limit_bounds_the_plan() {
    let graph = graph(&[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])]);
    let bound = |limits: Limits, processors, change: fn(&mut TaskInfo)| {
        let mut infos: Vec<TaskInfo> = [2.0; 4].map(info).into();
        infos.iter_mut().for_each(change);
        let plan = Work::new(&graph, infos, processors).plan(&limits).unwrap();
        assert_eq!(plan.makespan, plan.lower_bound);
        plan.lower_bound
    };
    assert_eq!(bound(workers(4), None, |_| ()), 2.0);
    assert_eq!(bound(workers(4), Some(2), |_| ()), 4.0);
    assert_eq!(bound(Limits { engines: vec![Some(1)], ..workers(4) }, None, |_| ()), 8.0);
    assert_eq!(bound(Limits { pools: vec![2], ..workers(4) }, None, |info| info.pool = Some(0)), 4.0);
    assert_eq!(bound(workers(1), None, |info| info.blocking = false), 2.0);
}

#[test]
fn a_task_that_does_not_wait_for_all_is_not_bound_by_all() {
    let graph = graph(&[("short", &[]), ("long", &[]), ("any", &["short", "long"])]);
    let mut infos: Vec<TaskInfo> = [1.0, 5.0, 3.0].map(info).into();
    infos[2].rule = TriggerRule::OneSuccess;
    let plan = Work::new(&graph, infos, None).plan(&workers(2)).unwrap();
    assert_eq!((plan.lower_bound, plan.makespan), (5.0, 5.0));
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
