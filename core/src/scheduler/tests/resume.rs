//! What a scheduler makes of a run whose process died.

use super::*;

#[test]
fn a_resumed_run_repeats_what_was_in_flight_and_nothing_that_succeeded() {
    let tasks: [(&str, &[&str]); 4] =
        [("done", &[]), ("running", &[]), ("next", &["done"]), ("last", &["running"])];
    let mut env = env(&tasks, 1);
    let resumed = env.resume(&[
        begun(TaskState::Success, 1, &[]),
        begun(TaskState::Deferred, 2, &[FailureKind::Failed]),
        begun(TaskState::Waiting, 0, &[]),
        begun(TaskState::None, 0, &[]),
    ]);
    assert_eq!(resumed, "start running2 again", "before the one that waited longer");
    assert_eq!(env.succeeds("running"), "running2 success, start next1");
}

#[test]
fn a_resumed_run_decides_what_its_scheduler_had_no_time_to_decide() {
    let mut env = env(&[("a", &[]), ("b", &["a"]), ("c", &["b"])], 1);
    let none = begun(TaskState::None, 0, &[]);
    let failed = begun(TaskState::Failed, 1, &[FailureKind::Failed]);
    assert_eq!(
        env.resume(&[failed, none.clone(), none]),
        "b0 upstream_failed, c0 upstream_failed, run failed"
    );
}

#[test]
fn a_cancelled_run_still_takes_up_what_was_in_flight_to_stop_it() {
    let mut env = env(&[("a", &[]), ("b", &[]), ("c", &["a"])], 1);
    let running = begun(TaskState::Running, 1, &[]);
    env.resume(&[running.clone(), running, begun(TaskState::None, 0, &[])]);
    assert_eq!(env.step(&[Input::Cancel]), "stopping: Cancelled, stop a1 Cancelled, c0 cancelled");
    let next = env.ends("a", Some(FailureKind::Cancelled));
    assert_eq!(next, "a1 cancelled, start b1 again doomed, stop b1 Cancelled");
    assert_eq!(env.ends("b", Some(FailureKind::Cancelled)), "b1 cancelled, run cancelled");
}

#[test]
fn a_run_that_was_being_stopped_still_is_after_a_crash() {
    let tasks: [(&str, &[&str]); 3] = [("a", &[]), ("b", &["a"]), ("c", &[])];
    let resumed = [
        begun(TaskState::Running, 1, &[]),
        begun(TaskState::Cancelled, 0, &[]),
        begun(TaskState::Success, 1, &[]),
    ];
    let mut env = env(&tasks, 1);
    let doomed = env.resume_stopping(&resumed, Some(StopReason::RunDeadline));
    assert_eq!(doomed, "stopping: RunDeadline, start a1 again doomed, stop a1 RunDeadline");
    assert_eq!(env.ends("a", Some(FailureKind::Cancelled)), "a1 cancelled, run failed");
}

#[test]
fn a_task_that_was_cancelled_alone_does_not_stop_the_run_after_a_crash() {
    let retries = |_: &str, info: &mut TaskInfo| info.retries = 1;
    let mut env = Env::new(&[("a", &[]), ("b", &[])], limits(1), retries);
    let resumed = [begun(TaskState::Running, 1, &[]), begun(TaskState::Cancelled, 1, &[])];
    assert_eq!(env.resume(&resumed), "start a1 again");
    assert_eq!(env.step(&[Input::Cancel]), "stopping: Cancelled, stop a1 Cancelled");
    assert_eq!(env.ends("a", Some(FailureKind::Cancelled)), "a1 cancelled, run cancelled");
    let mut env = Env::new(&[("a", &[]), ("b", &[])], limits(1), retries);
    env.resume(&resumed);
    assert_eq!(env.fails("a"), "a1 up_for_retry", "as if nothing had happened");
}

#[test]
fn failures_before_a_crash_count_after_it() {
    let once = |_: &str, info: &mut TaskInfo| info.retries = 1;
    let mut env = Env::new(&[("a", &[])], limits(1), once);
    env.now = Timestamp(10_000_000);
    let waiting = Begun {
        ended_at: Some(Timestamp(9_500_000)),
        ..begun(TaskState::UpForRetry, 1, &[FailureKind::Failed])
    };
    assert_eq!(env.resume(&[waiting]), "");
    assert_eq!(env.after(Duration::from_millis(499)), "");
    assert_eq!(env.after(Duration::from_millis(101)), "start a2");
    assert_eq!(env.fails("a"), "a2 failed, run failed");
}
