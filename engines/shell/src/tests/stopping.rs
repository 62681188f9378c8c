//! Scripts that are cancelled.

use super::*;

/// Runs a script and cancels it as soon as `ready` returns.
fn cancel_when(grace: f64, text: &str, ready: impl FnOnce(&Recorder)) -> (Error, Recorder) {
    let host = Recorder::default();
    let config = Config { grace_period: grace, ..Config::default() };
    let error = std::thread::scope(|scope| {
        let running = scope.spawn(|| run_with(&config, &task(text), &host).unwrap_err());
        ready(&host);
        host.cancel();
        running.join().unwrap()
    });
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    (error, host)
}

/// Runs a script and cancels it when it has printed `ready`.
fn cancel(grace: f64, text: &str) -> (Error, Recorder) {
    cancel_when(grace, text, |host| drop(host.wait_for("ready")))
}

/// A grace period that a test never waits for.
const LONG: f64 = 60.0;

#[test]
fn a_script_that_does_not_care_ends_at_once_with_its_children() {
    let (error, host) = cancel(LONG, "sleep 1000 & echo child $!; echo script $$; echo ready; wait");
    insta::assert_snapshot!(error, @"cancelled: the script ended with SIGTERM");
    assert_eq!(error.metrics["signal"], "SIGTERM");
    assert!(has_ended(&host.wait_for("child")));
    assert_eq!(state(&host.wait_for("script")), None, "a zombie is left");
    let log = host.lines(Level::Info);
    assert_eq!(log[0], "asked to stop: sending SIGTERM to the script's process group");
    assert!(log[1].starts_with("ended with SIGTERM"), "{log:?}");
}

#[test]
fn a_script_may_tidy_up_within_the_grace_period() {
    let text = "trap 'echo tidied; exit 0' TERM; echo ready; while :; do sleep 0.01 || :; done";
    let (error, host) = cancel(LONG, text);
    insta::assert_snapshot!(error, @"cancelled: the script ended with exit status 0");
    host.wait_for("tidied");
}

#[test]
fn so_may_its_children_when_the_script_itself_is_gone() {
    let text = "sh -c 'trap \"sleep 0.05; echo tidied; exit\" TERM; echo ready; while :; do sleep 0.01; done' & wait";
    let (error, host) = cancel(LONG, text);
    insta::assert_snapshot!(error, @"cancelled: the script ended with SIGTERM");
    host.wait_for("tidied");
}

#[test]
fn a_script_that_ignores_the_request_is_killed_after_the_grace_period() {
    let (error, host) = cancel(0.2, "trap '' TERM; echo script $$; echo ready; sleep 1000");
    insta::assert_snapshot!(error, @"cancelled: the script did not end within the grace period of 0.2 s and was killed");
    assert_eq!(error.metrics["signal"], "SIGKILL");
    assert_eq!(state(&host.wait_for("script")), None);
}

#[test]
fn so_are_its_children_when_the_script_itself_has_gone() {
    // The child keeps none of the script's output open.
    let text = "sh -c 'trap \"\" TERM; echo child $$; echo ready; exec sleep 1000 > /dev/null 2>&1' & wait";
    let (error, host) = cancel(1.0, text);
    insta::assert_snapshot!(error, @"cancelled: the script ended with SIGTERM; processes that it had started did not end within the grace period of 1 s and were killed");
    let child = host.wait_for("child");
    until("the child has ended", || has_ended(&child));
}

#[test]
fn a_child_in_a_session_of_its_own_does_not_hold_the_task() {
    // It is out of reach, and keeps the output open.
    let text = "setsid sh -c 'echo child $$; echo ready; exec sleep 1000' & trap '' TERM; sleep 1000";
    let (_, host) = cancel(0.2, text);
    let child = rustix::process::Pid::from_raw(host.wait_for("child").parse().unwrap()).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_stopped_script_ends_too() {
    let (error, _) = cancel_when(LONG, "echo script $$; kill -STOP $$; sleep 1000", |host| {
        let script = host.wait_for("script");
        until("the script is stopped", || state(&script) == Some('T'));
    });
    insta::assert_snapshot!(error, @"cancelled: the script ended with SIGTERM");
}

#[test]
fn a_grace_period_of_nothing_kills_at_once() {
    cancel(0.0, "trap '' TERM; echo ready; sleep 1000");
}

#[test]
fn a_task_that_is_cancelled_already_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("ran");
    let host = Recorder::default();
    host.cancel();
    let text = format!("echo > {}", trace.display());
    let error = run_with(&Config::default(), &task(&text), &host).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert!(!trace.exists());
}

#[test]
fn a_request_that_comes_too_late_changes_nothing() {
    let (ended, host) = run("echo done");
    host.cancel();
    assert!(ended.is_ok());
    assert_eq!(host.lines(Level::Info).len(), 1);
}

#[test]
fn a_request_that_comes_too_late_does_not_stop_the_threads_next_script() {
    run("true").1.cancel();
    let (ended, host) = run("sleep 0.05; echo done");
    ended.unwrap();
    assert_eq!(host.stdout(), ["done"]);

    run("true").1.cancel();
    let host = Recorder::default();
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            host.wait_for("ready");
            host.cancel();
        });
        run_with(&Config::default(), &task("echo ready; sleep 1000"), &host).unwrap_err()
    });
    insta::assert_snapshot!(error, @"cancelled: the script ended with SIGTERM");
}
