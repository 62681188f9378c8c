//! The scheduler under a simulated clock and simulated engines: what it does, step by step.

mod growing;
mod random;
mod resume;
mod teardown;

use std::time::Duration;

use super::*;
use crate::event::FailureKind;
use crate::graph::tests::dag;
use crate::spec::{Backoff, TriggerRule};

const GRACE: Duration = Duration::from_secs(10);

/// A task of one second, with no limit of its own.
pub(crate) fn info() -> TaskInfo {
    TaskInfo {
        priority: 0,
        expected: 1.0,
        expected_from: ExpectedFrom::Default,
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
        mapped: false,
        sub: false,
        max_active: None,
        follows: None,
        instance_of: None,
    }
}

fn limits(workers: u32) -> Limits {
    Limits { workers, engines: vec![None], pools: vec![1] }
}

const SETTINGS: Settings = Settings { processors: None, timeout: None, grace: GRACE, seed: 7 };

/// A scheduler whose actions are read as text, and whose clock a test moves.
struct Env {
    scheduler: Scheduler,
    places: Places,
    graph: Arc<Graph>,
    now: Timestamp,
}

impl Env {
    fn new(tasks: &[(&str, &[&str])], limits: Limits, change: impl Fn(&str, &mut TaskInfo)) -> Self {
        Self::with(tasks, limits, SETTINGS, change)
    }

    fn with(
        tasks: &[(&str, &[&str])],
        limits: Limits,
        settings: Settings,
        change: impl Fn(&str, &mut TaskInfo),
    ) -> Self {
        let graph = Arc::new(Graph::new(&dag(tasks)).unwrap());
        let infos = graph.tasks().map(|task| {
            let mut info = info();
            change(graph.name(task), &mut info);
            info
        });
        let scheduler = Scheduler::new(Arc::clone(&graph), infos.collect(), settings);
        Self { scheduler, places: Places::new(limits), graph, now: Timestamp(0) }
    }

    /// All actions that follow, `start a1` or `a1 success` each; states before `running` are left out.
    fn step(&mut self, inputs: &[Input]) -> String {
        let mut out = Vec::new();
        for &input in inputs {
            self.scheduler.handle(input, self.now, &mut self.places, &mut out).unwrap();
        }
        self.shown(out)
    }

    /// These actions and what the scheduler then starts.
    fn shown(&mut self, mut out: Vec<Action>) -> String {
        self.scheduler.dispatch(self.now, &mut self.places, &mut out).unwrap();
        out.iter().filter_map(|action| self.show(*action)).collect::<Vec<_>>().join(", ")
    }

    fn show(&self, action: Action) -> Option<String> {
        let name = |task| self.scheduler.graph().name(task);
        Some(match action {
            Action::State {
                state: TaskState::Scheduled | TaskState::Waiting | TaskState::Running, ..
            } => return None,
            Action::State { task, attempt, state } => format!("{}{attempt} {state}", name(task)),
            Action::Start { task, attempt, again, doomed } => {
                let (again, doomed) =
                    (if again { " again" } else { "" }, if doomed { " doomed" } else { "" });
                format!("start {}{attempt}{again}{doomed}", name(task))
            }
            Action::Evaluate { task } => format!("evaluate {}", name(task)),
            Action::Expand { task } => format!("expand {}", name(task)),
            Action::Stopping(reason) => format!("stopping: {reason:?}"),
            Action::Stop { task, attempt, reason } => format!("stop {}{attempt} {reason:?}", name(task)),
            Action::Abandon { task, attempt } => format!("abandon {}{attempt}", name(task)),
            Action::RunEnded(state) => format!("run {state}"),
        })
    }

    fn start(&mut self) -> String {
        self.start_without(&[])
    }

    fn start_without(&mut self, left_out: &[&str]) -> String {
        let left_out: Vec<TaskIdx> = left_out.iter().map(|name| self.task(name)).collect();
        let mut out = Vec::new();
        self.scheduler.start(&left_out, &[], self.now, &mut out).unwrap();
        self.shown(out)
    }

    fn resume(&mut self, begun: &[Begun]) -> String {
        self.resume_stopping(begun, None)
    }

    fn resume_stopping(&mut self, begun: &[Begun], stopping: Option<StopReason>) -> String {
        let mut out = Vec::new();
        self.scheduler.resume(begun, stopping, self.now, &mut out).unwrap();
        self.shown(out)
    }

    fn task(&self, name: &str) -> TaskIdx {
        self.graph.find(name).unwrap()
    }

    fn finds(&mut self, name: &str, met: Option<bool>) -> String {
        let task = self.task(name);
        self.step(&[Input::Condition { task, met }])
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

/// A task that had got so far.
fn begun(state: TaskState, attempt: u32, failures: &[FailureKind]) -> Begun {
    Begun { state, attempt, failures: failures.to_vec(), ..Begun::default() }
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
    let two = Limits { workers: 3, engines: vec![Some(1), None], pools: vec![] };
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
    let one = Settings { processors: Some(1), ..SETTINGS };
    let mut env = Env::with(&[("a", &[]), ("b", &[])], limits(1), one, |_, _| {});
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
    assert_eq!(env.after(Duration::from_millis(101)), "start a2", "a tenth more at most");
    assert_eq!(env.fails("a"), "a2 up_for_retry");
    assert_eq!(env.after(Duration::from_millis(1999)), "");
    assert_eq!(env.after(Duration::from_millis(201)), "start a3");
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
    env.after(Duration::from_secs(2));
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
        "stopping: Cancelled, stop a1 Cancelled, b0 cancelled, stop c1 Cancelled, d0 cancelled"
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

#[test]
fn a_pool_has_so_many_slots_whatever_the_engine() {
    let pooled = |name: &str, info: &mut TaskInfo| info.pool = (name != "free").then_some(0);
    let mut env = Env::new(&[("a", &[]), ("b", &[]), ("free", &[])], limits(3), pooled);
    assert_eq!(env.start(), "start a1, start free1");
    assert_eq!(env.defers("a"), "a1 deferred", "a remote job keeps its slot");
    assert_eq!(env.succeeds("a"), "a1 success, start b1");
}

#[test]
fn a_condition_is_evaluated_after_the_rule_and_its_skip_travels() {
    let change = |name: &str, info: &mut TaskInfo| {
        info.conditional = name == "left" || name == "right";
        if name == "join" {
            info.rule = TriggerRule::NoneFailedMinOneSuccess;
        }
    };
    let tasks: [(&str, &[&str]); 5] = [
        ("decide", &[]),
        ("left", &["decide"]),
        ("right", &["decide"]),
        ("after_right", &["right"]),
        ("join", &["left", "after_right"]),
    ];
    let mut env = Env::new(&tasks, limits(2), change);
    env.start();
    assert_eq!(env.succeeds("decide"), "decide1 success, evaluate right, evaluate left");
    assert_eq!(env.finds("left", Some(true)), "start left1");
    assert_eq!(env.finds("right", Some(false)), "right0 skipped, after_right0 skipped");
    assert_eq!(env.succeeds("left"), "left1 success, start join1");
    assert_eq!(env.succeeds("join"), "join1 success, run success");
}

#[test]
fn a_condition_that_cannot_be_evaluated_fails_its_task() {
    let change = |name: &str, info: &mut TaskInfo| info.conditional = name == "a";
    let mut env = Env::new(&[("a", &[]), ("b", &["a"])], limits(1), change);
    assert_eq!(env.start(), "evaluate a");
    assert_eq!(env.finds("a", None), "a0 failed, b0 upstream_failed, run failed");
}

#[test]
fn a_run_past_its_deadline_is_stopped_and_has_failed() {
    let late = Settings { timeout: Some(Duration::from_secs(5)), ..SETTINGS };
    let mut env = Env::with(&[("a", &[]), ("b", &["a"])], limits(1), late, |_, _| {});
    env.start();
    assert_eq!(env.scheduler.next_tick(), Some(Timestamp(5_000_000)));
    assert_eq!(env.after(Duration::from_secs(5)), "stopping: RunDeadline, stop a1 RunDeadline, b0 cancelled");
    assert_eq!(env.ends("a", Some(FailureKind::Cancelled)), "a1 cancelled, run failed");
}

#[test]
fn one_task_can_be_cancelled_and_counts_as_failed() {
    let mut env = env(&[("a", &[]), ("b", &["a"]), ("x", &[])], 2);
    env.start();
    let (a, b) = (env.task("a"), env.task("b"));
    assert_eq!(env.step(&[Input::CancelTask(a)]), "stop a1 Cancelled");
    assert_eq!(env.ends("a", Some(FailureKind::Cancelled)), "a1 cancelled, b0 upstream_failed");
    assert_eq!(env.step(&[Input::CancelTask(b)]), "", "it has ended");
    assert_eq!(env.succeeds("x"), "x1 success, run failed");
}

#[test]
fn a_wait_never_grows_beyond_its_cap() {
    let often = |_: &str, info: &mut TaskInfo| {
        info.retries = 20;
        info.backoff = Backoff::Exponential;
        info.max_retry_delay = Duration::from_secs(3);
    };
    let mut env = Env::new(&[("a", &[])], limits(1), often);
    env.start();
    for attempt in 1..=20 {
        env.fails("a");
        assert_eq!(env.after(Duration::from_secs(3)), format!("start a{}", attempt + 1));
    }
}

#[test]
fn tasks_that_failed_together_do_not_come_back_together() {
    let once = |_: &str, info: &mut TaskInfo| info.retries = 1;
    let tasks: Vec<(String, &[&str])> = (0..50).map(|i| (format!("t{i}"), [].as_slice())).collect();
    let tasks: Vec<(&str, &[&str])> =
        tasks.iter().map(|(name, upstream)| (name.as_str(), *upstream)).collect();
    let mut env = Env::new(&tasks, limits(50), once);
    env.start();
    tasks.iter().for_each(|(name, _)| drop(env.fails(name)));
    env.after(Duration::from_millis(1050));
    let back = env.graph.tasks().filter(|&task| env.scheduler.state(task) == TaskState::Running).count();
    assert!((10..40).contains(&back), "{back} of 50 came back in the first half of the spread");
}

#[test]
fn what_is_left_out_counts_as_done() {
    let mut env = env(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("x", &["a"])], 1);
    assert_eq!(env.start_without(&["a", "x"]), "a0 skipped, x0 skipped, start b1");
    assert_eq!(env.succeeds("b"), "b1 success, start c1");
    assert_eq!(env.succeeds("c"), "c1 success, run success");
}

#[test]
fn what_was_skipped_before_is_skipped_again() {
    let mut env = env(&[("full", &[]), ("part", &[]), ("after", &["full", "part"])], 1);
    let (full, mut out) = (env.task("full"), Vec::new());
    env.scheduler.start(&[], &[full], env.now, &mut out).unwrap();
    assert_eq!(env.shown(out), "full0 skipped, start part1");
    assert_eq!(env.succeeds("part"), "part1 success, after0 skipped, run success");
}

#[test]
fn what_is_left_out_in_between_still_orders_the_others() {
    let tasks: [(&str, &[&str]); 4] = [("setup", &[]), ("a", &["setup"]), ("b", &["a"]), ("work", &["b"])];
    let mut env = env(&tasks, 2);
    assert_eq!(env.start_without(&["a", "b"]), "a0 skipped, b0 skipped, start setup1");
    assert_eq!(env.succeeds("setup"), "setup1 success, start work1");
    let mut env = self::env(&tasks, 2);
    env.start_without(&["a", "b"]);
    assert_eq!(env.fails("setup"), "setup1 failed, work0 upstream_failed, run failed");
    let mut env = self::env(&tasks, 2);
    let left_out = Begun { excluded: true, ..begun(TaskState::Skipped, 0, &[]) };
    let resumed =
        [begun(TaskState::Running, 1, &[]), left_out.clone(), left_out, begun(TaskState::None, 0, &[])];
    assert_eq!(env.resume(&resumed), "start setup1 again");
    assert_eq!(env.succeeds("setup"), "setup1 success, start work1");
}

#[test]
fn runs_that_share_workers_get_equal_shares_and_leave_none_idle() {
    let many: Vec<String> = (0..20).map(|i| format!("t{i}")).collect();
    let many: Vec<(&str, &[&str])> = many.iter().map(|name| (name.as_str(), [].as_slice())).collect();
    let mut places = Places::new(limits(4));
    let mut runs: Vec<Scheduler> =
        [&many[..], &many[..1], &many[..]].map(|tasks| env(tasks, 4).scheduler).into();
    let (mut out, now) = (Vec::new(), Timestamp(0));
    for run in &mut runs {
        run.start(&[], &[], now, &mut out).unwrap();
    }
    out.clear();
    let mut started = vec![0; runs.len()];
    while let Some(next) = next_to_start(&runs, &places) {
        runs[next].start_next(now, &mut places, &mut out).unwrap();
        started[next] += 1;
    }
    assert_eq!(started, [2, 1, 1]);
    let ended = Input::Ended { task: TaskIdx(0), attempt: 1, failure: None };
    runs[1].handle(ended, now, &mut places, &mut out).unwrap();
    assert_eq!(next_to_start(&runs, &places), Some(2), "the one with fewer workers gets the free one");
}
