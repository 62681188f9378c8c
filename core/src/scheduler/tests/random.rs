//! Random DAGs under random limits: what holds for all of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

/// A random DAG with random limits: for each task its dependencies among earlier ones, and what becomes of it.
#[derive(Debug, Clone)]
struct Case {
    upstream: Vec<Vec<usize>>,
    infos: Vec<TaskInfo>,
    durations: Vec<u64>,
    failing: Vec<bool>,
    limits: Limits,
    settings: Settings,
}

impl Case {
    fn scheduler(&self) -> (Arc<Graph>, Scheduler) {
        let names: Vec<String> = (0..self.upstream.len()).map(|i| format!("t{i}")).collect();
        let upstream: Vec<Vec<&str>> =
            self.upstream.iter().map(|u| u.iter().map(|&i| names[i].as_str()).collect()).collect();
        let tasks: Vec<(&str, &[&str])> =
            names.iter().map(String::as_str).zip(upstream.iter().map(Vec::as_slice)).collect();
        let graph = Arc::new(Graph::new(&dag(&tasks)).unwrap());
        let scheduler = Scheduler::new(Arc::clone(&graph), self.infos.clone(), self.settings);
        (graph, scheduler)
    }
}

fn case() -> impl Strategy<Value = Case> {
    let task = (
        proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        0..TriggerRule::NAMES.len(),
        (0..3_u32, 0..2_u32, any::<bool>(), -1..2_i32),
        (1..50_u64, proptest::bool::weighted(0.2)),
        (proptest::option::of(Just(0_u32)), any::<bool>(), proptest::bool::weighted(0.2)),
    );
    let limits = (1..5_u32, proptest::option::of(1..6_u32), proptest::option::of(1..3_u32), 1..3_u32);
    let tasks = proptest::collection::vec(task, 1..40);
    (tasks, limits).prop_map(|(tasks, (workers, processors, engine, pool))| Case {
        upstream: tasks
            .iter()
            .enumerate()
            .map(|(i, task)| {
                let mut upstream: Vec<usize> =
                    if i == 0 { vec![] } else { task.0.iter().map(|x| x.index(i)).collect() };
                upstream.sort_unstable();
                upstream.dedup();
                upstream
            })
            .collect(),
        infos: tasks
            .iter()
            .enumerate()
            .map(|(i, task)| TaskInfo {
                rule: TriggerRule::NAMES[task.1].1,
                retries: task.2.0,
                engine: task.2.1,
                blocking: task.2.2,
                priority: task.2.3,
                pool: task.4.0,
                conditional: task.4.1,
                teardown: task.4.2 && i > 0 && !task.0.is_empty(),
                ..info()
            })
            .collect(),
        durations: tasks.iter().map(|task| task.3.0).collect(),
        failing: tasks.iter().map(|task| task.3.1).collect(),
        limits: Limits { workers, engines: vec![engine, None], pools: vec![pool] },
        settings: Settings { processors, ..SETTINGS },
    })
}

/// Runs a case to its end and checks, after every step, what must always hold.
fn simulate(case: &Case) -> Vec<TaskState> {
    let (graph, mut scheduler) = case.scheduler();
    let mut running: BinaryHeap<Reverse<(Timestamp, TaskIdx, u32)>> = BinaryHeap::new();
    let mut now = Timestamp(0);
    let mut out = Vec::new();
    let mut ended = false;
    let mut places = Places::new(case.limits.clone());
    scheduler.start(&[], &[], now, &mut out).unwrap();
    loop {
        scheduler.dispatch(now, &mut places, &mut out).unwrap();
        let mut conditions = Vec::new();
        for action in out.drain(..) {
            match action {
                Action::Evaluate { task } => {
                    // Every third condition is not met.
                    conditions.push(Input::Condition { task, met: Some(!task.0.is_multiple_of(3)) });
                }
                Action::Start { task, attempt, .. } => {
                    check_start(case, &graph, &scheduler, task);
                    let millis = Duration::from_millis(case.durations[task.get()]);
                    running.push(Reverse((now.after(millis), task, attempt)));
                }
                Action::RunEnded(_) => ended = true,
                _ => {}
            }
        }
        if !conditions.is_empty() {
            for met in conditions {
                scheduler.handle(met, now, &mut places, &mut out).unwrap();
            }
            continue;
        }
        check_limits(case, &running, &scheduler);
        let done = running.peek().map(|Reverse((at, ..))| *at);
        match (done, scheduler.next_tick()) {
            (Some(done), tick) if tick.is_none_or(|tick| done <= tick) => {
                let Some(Reverse((at, task, attempt))) = running.pop() else { unreachable!() };
                now = at;
                let failure = case.failing[task.get()].then_some(FailureKind::Failed);
                scheduler
                    .handle(Input::Ended { task, attempt, failure }, now, &mut places, &mut out)
                    .unwrap();
            }
            (_, Some(tick)) => {
                now = tick;
                scheduler.handle(Input::Tick, now, &mut places, &mut out).unwrap();
            }
            (_, None) => break,
        }
    }
    assert!(ended, "the run has no way to go on");
    graph.tasks().map(|task| scheduler.state(task)).collect()
}

fn check_start(case: &Case, graph: &Graph, scheduler: &Scheduler, task: TaskIdx) {
    if case.infos[task.get()].teardown {
        let of_it = scopes(graph, |task| case.infos[task.get()].teardown);
        let scope = of_it.into_iter().find(|(teardown, _)| *teardown == task).unwrap().1;
        assert!(scope.iter().all(|&t| scheduler.state(t).is_terminal()), "torn down too early");
        assert!(graph.upstream(task).any(|t| scheduler.tasks[t.get()].attempt > 0), "nothing to tear down");
        return;
    }
    let early = match case.infos[task.get()].rule {
        TriggerRule::Always => true,
        TriggerRule::OneSuccess => graph.upstream(task).any(|t| scheduler.state(t) == TaskState::Success),
        TriggerRule::OneFailed | TriggerRule::OneDone => {
            graph.upstream(task).any(|t| scheduler.state(t).is_terminal())
        }
        _ => false,
    };
    assert!(early || graph.upstream(task).all(|t| scheduler.state(t).is_terminal()), "started too early");
}

fn check_limits(
    case: &Case,
    running: &BinaryHeap<Reverse<(Timestamp, TaskIdx, u32)>>,
    scheduler: &Scheduler,
) {
    let count = |f: &dyn Fn(&TaskInfo) -> bool| {
        running.iter().filter(|Reverse((_, t, _))| f(&case.infos[t.get()])).count() as u32
    };
    let workers = count(&|info| info.blocking);
    let engine = count(&|info| info.engine == 0);
    let pool = count(&|info| info.pool.is_some());
    let all = running.len() as u32;
    let limits = &case.limits;
    assert!(workers <= limits.workers);
    assert!(case.settings.processors.is_none_or(|limit| all <= limit));
    assert!(pool <= limits.pools[0]);
    assert!(limits.engines[0].is_none_or(|limit| engine <= limit));
    // It finds work whenever there is some: whoever waits is held back by a limit that is reached.
    let full = case.settings.processors == Some(all);
    for (task, info) in case.infos.iter().enumerate() {
        if scheduler.tasks[task].state == TaskState::Waiting {
            let held = full
                || (info.blocking && workers == limits.workers)
                || (info.engine == 0 && limits.engines[0] == Some(engine))
                || (info.pool.is_some() && limits.pools[0] == pool);
            assert!(held, "task {task} waits while there is a place for it");
        }
    }
}

proptest! {
    #[test]
    fn any_dag_ends_within_its_limits_and_in_order(case in case()) {
        let states = simulate(&case);
        prop_assert!(states.iter().all(|state| state.is_terminal()));
    }

    #[test]
    fn how_a_task_ends_does_not_depend_on_the_limits(case in case()) {
        let limits = Limits { workers: 1000, engines: vec![None, None], pools: vec![1000] };
        let wide = Case { limits, settings: SETTINGS, ..case.clone() };
        prop_assert_eq!(simulate(&case), simulate(&wide));
    }

    #[test]
    fn a_cancelled_run_ends_at_any_moment(case in case(), steps in 0..30_usize) {
        cancelled_after(&case, steps);
    }
}

fn started(action: Action) -> Option<(TaskIdx, u32)> {
    if let Action::Start { task, attempt, .. } = action { Some((task, attempt)) } else { None }
}

/// Cancels after so many ends of attempts; every attempt then ends as cancelled, and the run with them.
fn cancelled_after(case: &Case, steps: usize) {
    let (graph, mut scheduler) = case.scheduler();
    let mut places = Places::new(case.limits.clone());
    let (mut out, mut now) = (Vec::new(), Timestamp(0));
    let (mut running, mut ends, mut cancelled) = (Vec::new(), 0, false);
    scheduler.start(&[], &[], now, &mut out).unwrap();
    loop {
        scheduler.dispatch(now, &mut places, &mut out).unwrap();
        let mut next = Vec::new();
        for action in out.drain(..) {
            if let Action::Evaluate { task } = action {
                next.push(Input::Condition { task, met: Some(true) });
            }
            if let Some((task, attempt)) = started(action) {
                assert!(!cancelled || case.infos[task.get()].teardown, "started after the cancellation");
                running.push((task, attempt));
            }
        }
        if next.is_empty() {
            if !cancelled && (ends == steps || running.is_empty()) {
                cancelled = true;
                next.push(Input::Cancel);
            } else if let Some((task, attempt)) = running.pop() {
                ends += 1;
                next.push(Input::Ended {
                    task,
                    attempt,
                    failure: cancelled.then_some(FailureKind::Cancelled),
                });
            } else if let Some(tick) = scheduler.next_tick() {
                now = now.max(tick);
                next.push(Input::Tick);
            } else {
                break;
            }
        }
        for input in next {
            scheduler.handle(input, now, &mut places, &mut out).unwrap();
        }
    }
    assert!(graph.tasks().all(|task| scheduler.state(task).is_terminal()));
}
