//! The scheduler under a simulated clock and simulated engines.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;
use crate::graph::tests::dag;

const GRACE: Duration = Duration::from_secs(10);

fn info() -> TaskInfo {
    TaskInfo {
        priority: 0,
        expected: 1.0,
        rule: TriggerRule::AllSuccess,
        retries: 0,
        retry_delay: Duration::from_secs(1),
        backoff: Backoff::Fixed,
        max_retry_delay: MAX_RETRY_DELAY,
        timeout: None,
        engine: 0,
        pool: None,
        blocking: true,
        conditional: false,
        teardown: false,
        fails_run: true,
    }
}

fn limits(workers: u32) -> Limits {
    Limits { workers, engines: vec![None], pools: vec![1] }
}

const SETTINGS: Settings = Settings { processors: None, timeout: None, grace: GRACE, seed: 7 };

/// A scheduler whose actions are read as text, and whose clock a test moves.
struct Env {
    scheduler: Scheduler,
    graph: Arc<Graph>,
    now: Timestamp,
}

impl Env {
    fn new(tasks: &[(&str, &[&str])], limits: Limits, change: impl Fn(&str, &mut TaskInfo)) -> Self {
        let graph = Arc::new(Graph::new(&dag(tasks)).unwrap());
        let infos = graph.tasks().map(|task| {
            let mut info = info();
            change(graph.name(task), &mut info);
            info
        });
        let scheduler = Scheduler::new(Arc::clone(&graph), infos.collect(), limits, GRACE);
        Self { scheduler, graph, now: Timestamp(0) }
    }

    /// All actions that follow, `start a1` or `a1 success` each; states before `running` are left out.
    fn step(&mut self, inputs: &[Input]) -> String {
        let mut out = Vec::new();
        if inputs.is_empty() {
            self.scheduler.start(&mut out).unwrap();
        }
        for &input in inputs {
            self.scheduler.handle(input, self.now, &mut out).unwrap();
        }
        self.scheduler.dispatch(self.now, &mut out).unwrap();
        out.iter().filter_map(|action| self.show(*action)).collect::<Vec<_>>().join(", ")
    }

    fn show(&self, action: Action) -> Option<String> {
        let name = |task| self.graph.name(task);
        Some(match action {
            Action::State {
                state: TaskState::Scheduled | TaskState::Waiting | TaskState::Running, ..
            } => return None,
            Action::State { task, attempt, state } => format!("{}{attempt} {state}", name(task)),
            Action::Start { task, attempt } => format!("start {}{attempt}", name(task)),
            Action::Stop { task, attempt, reason } => format!("stop {}{attempt} {reason:?}", name(task)),
            Action::Abandon { task, attempt } => format!("abandon {}{attempt}", name(task)),
            Action::RunEnded(state) => format!("run {state}"),
        })
    }

    fn start(&mut self) -> String {
        self.step(&[])
    }

    fn ends(&mut self, name: &str, failure: Option<FailureKind>) -> String {
        let task = self.graph.find(name).unwrap();
        let attempt = self.scheduler.tasks[task.get()].attempt;
        self.step(&[Input::Ended { task, attempt, failure }])
    }

    fn succeeds(&mut self, name: &str) -> String {
        self.ends(name, None)
    }

    fn fails(&mut self, name: &str) -> String {
        self.ends(name, Some(FailureKind::Failed))
    }

    fn defers(&mut self, name: &str) -> String {
        let task = self.graph.find(name).unwrap();
        let attempt = self.scheduler.tasks[task.get()].attempt;
        self.step(&[Input::Deferred { task, attempt }])
    }

    fn after(&mut self, duration: Duration) -> String {
        self.now = self.now.after(duration);
        self.step(&[Input::Tick])
    }
}

fn env(tasks: &[(&str, &[&str])], workers: u32) -> Env {
    Env::new(tasks, limits(workers), |_, _| {})
}

#[test]
fn a_task_starts_when_its_dependencies_have_succeeded() {
    let mut env = env(&[("a", &[]), ("b", &[]), ("c", &["a", "b"])], 4);
    assert_eq!(env.start(), "start a1, start b1");
    assert_eq!(env.succeeds("b"), "b1 success");
    assert_eq!(env.succeeds("a"), "a1 success, start c1");
    assert_eq!(env.succeeds("c"), "c1 success, run success");
}

#[test]
fn a_failed_task_stops_only_its_descendants() {
    let mut env = env(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("x", &[]), ("y", &["x"])], 4);
    env.start();
    assert_eq!(env.fails("a"), "a1 failed, b0 upstream_failed, c0 upstream_failed");
    assert_eq!(env.succeeds("x"), "x1 success, start y1");
    assert_eq!(env.succeeds("y"), "y1 success, run failed");
}

#[test]
fn a_newly_ready_task_starts_before_its_batch_has_ended() {
    let mut env = env(&[("slow", &[]), ("fast", &[]), ("next", &["fast"])], 2);
    assert_eq!(env.start(), "start fast1, start slow1");
    assert_eq!(env.succeeds("fast"), "fast1 success, start next1");
}

#[test]
fn the_longest_remaining_path_starts_first() {
    let mut env = env(&[("short", &[]), ("long", &[]), ("tail", &["long"])], 1);
    assert_eq!(env.start(), "start long1");
}

#[test]
fn priority_comes_before_the_longest_path() {
    let urgent = |name: &str, info: &mut TaskInfo| info.priority = i32::from(name == "short");
    let mut env = Env::new(&[("long", &[]), ("tail", &["long"]), ("short", &[])], limits(1), urgent);
    assert_eq!(env.start(), "start short1");
}

#[test]
fn a_reached_engine_limit_holds_back_only_that_engine() {
    let two = Limits { workers: 3, processors: None, engines: vec![Some(1), None] };
    let engines = |name: &str, info: &mut TaskInfo| info.engine = u32::from(name.starts_with('b'));
    let mut env = Env::new(&[("a1", &[]), ("a2", &[]), ("b1", &[]), ("b2", &[])], two, engines);
    assert_eq!(env.start(), "start a11, start b11, start b21");
    assert_eq!(env.succeeds("b1"), "b11 success");
    assert_eq!(env.succeeds("a1"), "a11 success, start a21");
}

#[test]
fn a_deferred_task_holds_no_worker_but_counts_for_the_dag() {
    let mut env = env(&[("a", &[]), ("b", &[]), ("c", &[])], 1);
    assert_eq!(env.start(), "start a1");
    assert_eq!(env.defers("a"), "a1 deferred, start b1");
    let limits = Limits { workers: 1, processors: Some(1), engines: vec![None] };
    let mut env = Env::new(&[("a", &[]), ("b", &[])], limits, |_, _| {});
    env.start();
    assert_eq!(env.defers("a"), "a1 deferred");
    assert_eq!(env.succeeds("a"), "a1 success, start b1");
}

#[test]
fn an_asynchronous_task_starts_while_all_workers_are_busy() {
    let kinds = |name: &str, info: &mut TaskInfo| info.blocking = name == "local";
    let mut env = Env::new(&[("local", &[]), ("remote", &[])], limits(1), kinds);
    assert_eq!(env.start(), "start local1, start remote1");
}

#[test]
fn retries_wait_and_then_give_up() {
    let twice = |_: &str, info: &mut TaskInfo| {
        info.retries = 2;
        info.backoff = Backoff::Exponential;
    };
    let mut env = Env::new(&[("a", &[]), ("b", &["a"])], limits(1), twice);
    env.start();
    assert_eq!(env.fails("a"), "a1 up_for_retry");
    assert_eq!(env.after(Duration::from_millis(999)), "");
    assert_eq!(env.after(Duration::from_millis(1)), "start a2");
    assert_eq!(env.fails("a"), "a2 up_for_retry");
    assert_eq!(env.after(Duration::from_millis(1999)), "");
    assert_eq!(env.after(Duration::from_millis(1)), "start a3");
    assert_eq!(env.fails("a"), "a3 failed, b0 upstream_failed, run failed");
}

#[test]
fn an_invalid_request_is_never_retried() {
    let mut env = Env::new(&[("a", &[])], limits(1), |_, info| info.retries = 9);
    env.start();
    assert_eq!(env.ends("a", Some(FailureKind::Invalid)), "a1 failed, run failed");
}

#[test]
fn a_transient_failure_leaves_the_retries_untouched() {
    let mut env = Env::new(&[("a", &[])], limits(1), |_, info| info.retries = 1);
    env.start();
    for n in 1..=TRANSIENT_RETRIES {
        assert_eq!(env.ends("a", Some(FailureKind::Transient)), format!("a{n} up_for_retry"));
        assert_eq!(env.after(Duration::from_secs(60)), format!("start a{}", n + 1));
    }
    assert_eq!(env.fails("a"), "a6 up_for_retry");
    env.after(Duration::from_secs(1));
    assert_eq!(env.fails("a"), "a7 failed, run failed");
}

#[test]
fn a_task_past_its_deadline_is_stopped_then_abandoned() {
    let timeout = |_: &str, info: &mut TaskInfo| info.timeout = Some(Duration::from_secs(5));
    let mut env = Env::new(&[("a", &[]), ("b", &[])], limits(1), timeout);
    env.start();
    assert_eq!(env.scheduler.next_tick(), Some(Timestamp(5_000_000)));
    assert_eq!(env.after(Duration::from_secs(5)), "stop a1 Deadline");
    assert_eq!(env.after(GRACE), "abandon a1, a1 failed, start b1");
    assert_eq!(env.succeeds("a"), "", "an abandoned attempt that ends late changes nothing");
}

#[test]
fn a_deadline_holds_while_the_task_is_deferred() {
    let timeout = |_: &str, info: &mut TaskInfo| info.timeout = Some(Duration::from_secs(5));
    let mut env = Env::new(&[("a", &[])], limits(1), timeout);
    env.start();
    env.defers("a");
    assert_eq!(env.after(Duration::from_secs(5)), "stop a1 Deadline");
    assert_eq!(env.ends("a", Some(FailureKind::TimedOut)), "a1 failed, run failed");
}

#[test]
fn cancelling_stops_what_runs_and_starts_nothing_more() {
    let mut env = env(&[("a", &[]), ("b", &["a"]), ("c", &[]), ("d", &[])], 2);
    env.start();
    assert_eq!(
        env.step(&[Input::Cancel]),
        "stop a1 Cancelled, b0 cancelled, stop c1 Cancelled, d0 cancelled"
    );
    assert_eq!(env.ends("a", Some(FailureKind::Cancelled)), "a1 cancelled");
    assert_eq!(env.succeeds("c"), "c1 success, run cancelled");
}

#[test]
fn a_rule_that_does_not_wait_starts_its_task_at_once() {
    let rules = |name: &str, info: &mut TaskInfo| {
        if name == "alert" {
            info.rule = TriggerRule::OneFailed;
        }
    };
    let mut env = Env::new(&[("a", &[]), ("b", &[]), ("alert", &["a", "b"])], limits(3), rules);
    env.start();
    assert_eq!(env.fails("a"), "a1 failed, start alert1");
    assert_eq!(env.succeeds("alert"), "alert1 success");
    assert_eq!(env.succeeds("b"), "b1 success, run failed");
}

#[test]
fn a_long_chain_of_failures_needs_no_stack() {
    let names: Vec<String> = (0..100_000).map(|i| format!("t{i}")).collect();
    let upstream: Vec<Vec<&str>> =
        (0..names.len()).map(|i| names[..i].last().map(String::as_str).into_iter().collect()).collect();
    let tasks: Vec<(&str, &[&str])> =
        names.iter().map(String::as_str).zip(upstream.iter().map(Vec::as_slice)).collect();
    let mut env = env(&tasks, 1);
    env.start();
    assert!(env.fails("t0").ends_with("run failed"));
}

/// A random DAG with random limits: for each task its dependencies among earlier ones, and what becomes of it.
#[derive(Debug, Clone)]
struct Case {
    upstream: Vec<Vec<usize>>,
    infos: Vec<TaskInfo>,
    durations: Vec<u64>,
    failing: Vec<bool>,
    limits: Limits,
}

impl Case {
    fn scheduler(&self) -> (Arc<Graph>, Scheduler) {
        let names: Vec<String> = (0..self.upstream.len()).map(|i| format!("t{i}")).collect();
        let upstream: Vec<Vec<&str>> =
            self.upstream.iter().map(|u| u.iter().map(|&i| names[i].as_str()).collect()).collect();
        let tasks: Vec<(&str, &[&str])> =
            names.iter().map(String::as_str).zip(upstream.iter().map(Vec::as_slice)).collect();
        let graph = Arc::new(Graph::new(&dag(&tasks)).unwrap());
        let scheduler = Scheduler::new(Arc::clone(&graph), self.infos.clone(), self.limits.clone(), GRACE);
        (graph, scheduler)
    }
}

fn case() -> impl Strategy<Value = Case> {
    let task = (
        proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        0..TriggerRule::NAMES.len(),
        (0..3_u32, 0..2_u32, any::<bool>(), -1..2_i32),
        (1..50_u64, proptest::bool::weighted(0.2)),
    );
    let limits = (1..5_u32, proptest::option::of(1..6_u32), proptest::option::of(1..3_u32));
    (proptest::collection::vec(task, 1..40), limits).prop_map(|(tasks, (workers, processors, engine))| Case {
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
            .map(|task| TaskInfo {
                rule: TriggerRule::NAMES[task.1].1,
                retries: task.2.0,
                engine: task.2.1,
                blocking: task.2.2,
                priority: task.2.3,
                ..info()
            })
            .collect(),
        durations: tasks.iter().map(|task| task.3.0).collect(),
        failing: tasks.iter().map(|task| task.3.1).collect(),
        limits: Limits { workers, processors, engines: vec![engine, None] },
    })
}

/// Runs a case to its end and checks, after every step, what must always hold.
fn simulate(case: &Case) -> Vec<TaskState> {
    let (graph, mut scheduler) = case.scheduler();
    let mut running: BinaryHeap<Reverse<(Timestamp, TaskIdx, u32)>> = BinaryHeap::new();
    let mut now = Timestamp(0);
    let mut out = Vec::new();
    let mut ended = false;
    scheduler.start(&mut out).unwrap();
    loop {
        scheduler.dispatch(now, &mut out).unwrap();
        for action in out.drain(..) {
            match action {
                Action::Start { task, attempt } => {
                    check_start(case, &graph, &scheduler, task);
                    let millis = Duration::from_millis(case.durations[task.get()]);
                    running.push(Reverse((now.after(millis), task, attempt)));
                }
                Action::RunEnded(_) => ended = true,
                _ => {}
            }
        }
        check_limits(case, &running, &scheduler);
        let done = running.peek().map(|Reverse((at, ..))| *at);
        match (done, scheduler.next_tick()) {
            (Some(done), tick) if tick.is_none_or(|tick| done <= tick) => {
                let Some(Reverse((at, task, attempt))) = running.pop() else { unreachable!() };
                now = at;
                let failure = case.failing[task.get()].then_some(FailureKind::Failed);
                scheduler.handle(Input::Ended { task, attempt, failure }, now, &mut out).unwrap();
            }
            (_, Some(tick)) => {
                now = tick;
                scheduler.handle(Input::Tick, now, &mut out).unwrap();
            }
            (_, None) => break,
        }
    }
    assert!(ended, "the run has no way to go on");
    graph.tasks().map(|task| scheduler.state(task)).collect()
}

fn check_start(case: &Case, graph: &Graph, scheduler: &Scheduler, task: TaskIdx) {
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
    let all = running.len() as u32;
    let limits = &case.limits;
    assert!(workers <= limits.workers);
    assert!(limits.processors.is_none_or(|limit| all <= limit));
    assert!(limits.engines[0].is_none_or(|limit| engine <= limit));
    // It finds work whenever there is some: whoever waits is held back by a limit that is reached.
    let full = limits.processors == Some(all);
    for (task, info) in case.infos.iter().enumerate() {
        if scheduler.tasks[task].state == TaskState::Waiting {
            let held = full
                || (info.blocking && workers == limits.workers)
                || (info.engine == 0 && limits.engines[0] == Some(engine));
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
        let wide = Case { limits: Limits { workers: 1000, processors: None, engines: vec![None, None] }, ..case.clone() };
        prop_assert_eq!(simulate(&case), simulate(&wide));
    }

    #[test]
    fn a_cancelled_run_ends_at_any_moment(case in case(), steps in 0..30_usize) {
        cancelled_after(&case, steps);
    }
}

fn started(action: Action) -> Option<(TaskIdx, u32)> {
    if let Action::Start { task, attempt } = action { Some((task, attempt)) } else { None }
}

/// Cancels after so many ends of attempts; every attempt then ends as cancelled, and the run with them.
fn cancelled_after(case: &Case, steps: usize) {
    let (graph, mut scheduler) = case.scheduler();
    let (mut out, now) = (Vec::new(), Timestamp(0));
    scheduler.start(&mut out).unwrap();
    scheduler.dispatch(now, &mut out).unwrap();
    let mut running = Vec::new();
    for _ in 0..steps {
        running.extend(out.drain(..).filter_map(started));
        let Some((task, attempt)) = running.pop() else { break };
        scheduler.handle(Input::Ended { task, attempt, failure: None }, now, &mut out).unwrap();
        scheduler.dispatch(now, &mut out).unwrap();
    }
    scheduler.handle(Input::Cancel, now, &mut out).unwrap();
    scheduler.dispatch(now, &mut out).unwrap();
    running.extend(out.drain(..).filter_map(started));
    for (task, attempt) in running {
        let failure = Some(FailureKind::Cancelled);
        scheduler.handle(Input::Ended { task, attempt, failure }, now, &mut out).unwrap();
        scheduler.dispatch(now, &mut out).unwrap();
    }
    assert!(
        !out.iter().any(|action| matches!(action, Action::Start { .. })),
        "started after the cancellation"
    );
    assert!(graph.tasks().all(|task| scheduler.state(task).is_terminal()));
}
