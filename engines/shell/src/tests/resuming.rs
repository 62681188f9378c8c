//! Attempts that a scheduler began which has died.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Pid;
use serde_json::json;

use super::*;
use crate::leftover::{self, Checkpoint};

/// A script that a dead scheduler has left; killed with its group when dropped.
struct Orphan {
    leader: Child,
    checkpoint: Value,
}

impl Orphan {
    /// Starts a script as the engine does, and returns when it has printed a line.
    fn start(key: &str, text: &str) -> (Self, String) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]).env("OXIDAG_IDEMPOTENCY_KEY", key).process_group(0);
        let mut leader = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let checkpoint = Checkpoint::of(Pid::from_child(&leader)).unwrap().to_json();
        let mut line = String::new();
        let out = leader.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        (Self { leader, checkpoint }, line.trim().to_owned())
    }

    fn id(&self) -> String {
        self.leader.id().to_string()
    }

    /// The signal that ended it.
    fn signal(mut self) -> Option<i32> {
        self.leader.wait().unwrap().signal()
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.leader);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.leader.wait();
    }
}

/// A key that no other test has.
fn new_key() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("resuming-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A task that a dead scheduler has begun; its script prints `anew`.
fn begun(key: &str, checkpoint: Option<Value>) -> Task {
    Task { idempotency_key: key.to_owned(), checkpoint, resumed: true, ..task("echo anew") }
}

/// Runs it to its success and gives what the engine logged before the script's summary.
fn resume(task: &Task) -> Vec<String> {
    let (ended, host) = run_task(task);
    let mut log = host.lines(Level::Info);
    ended.unwrap_or_else(|error| panic!("{error}: {log:?}"));
    assert_eq!(host.stdout(), ["anew"]);
    log.pop();
    log
}

const TERM: Option<i32> = Some(15);
const KILL: Option<i32> = Some(9);

#[test]
fn a_script_is_ended_before_it_runs_anew() {
    let key = new_key();
    let (orphan, _) = Orphan::start(&key, "echo; exec sleep 1000");
    let name = format!("/proc/{}/comm", orphan.id());
    until("it has become `sleep`", || std::fs::read_to_string(&name).unwrap() == "sleep\n");
    let log = resume(&begun(&key, Some(orphan.checkpoint.clone()))).join("\n").replace(&orphan.id(), "ID");
    assert_eq!(orphan.signal(), TERM);
    insta::assert_snapshot!(log, @r"
    an earlier scheduler left process ID (sleep) of this attempt running: sending SIGTERM
    all of it has ended: running the script anew
    ");
}

#[test]
fn a_script_whose_checkpoint_was_not_stored_is_found_by_its_key() {
    for checkpoint in [None, Some(json!({"process_group": "***", "started": 1, "boot_id": "2"}))] {
        let key = new_key();
        let (orphan, _) = Orphan::start(&key, "echo; sleep 1000; true");
        resume(&begun(&key, checkpoint));
        assert_eq!(orphan.signal(), TERM);
    }
}

#[test]
fn a_checkpoint_alone_says_that_the_attempt_was_begun() {
    let key = new_key();
    let (orphan, _) = Orphan::start(&key, "echo; sleep 1000; true");
    resume(&Task { resumed: false, ..begun(&key, Some(orphan.checkpoint.clone())) });
    assert_eq!(orphan.signal(), TERM);
}

#[test]
fn where_nothing_is_left_the_log_says_so() {
    let log = resume(&begun(&new_key(), None)).join("\n");
    insta::assert_snapshot!(log, @"nothing runs any more of what an earlier scheduler had started for this attempt");
}

#[test]
fn children_without_the_key_end_with_their_group() {
    for text in ["env -i sleep 1000 & echo $!; wait", "env -i sleep 1000 & echo $!; exit 0"] {
        let key = new_key();
        let (orphan, child) = Orphan::start(&key, text);
        resume(&begun(&key, Some(orphan.checkpoint.clone())));
        assert!(has_ended(&child), "{text}");
    }
}

#[test]
fn a_child_with_the_key_ends_also_outside_of_the_group() {
    let key = new_key();
    // The `-f` leaves its own child behind as the leader of a session.
    let (orphan, child) = Orphan::start(&key, "setsid -f sh -c 'echo $$; exec sleep 1000'; exec sleep 1000");
    resume(&begun(&key, Some(orphan.checkpoint.clone())));
    assert!(has_ended(&child));
    assert_eq!(orphan.signal(), TERM);
}

#[test]
fn a_child_with_the_key_in_a_strangers_group_ends_alone() {
    let key = new_key();
    let text = format!("OXIDAG_IDEMPOTENCY_KEY={key} sleep 1000 & echo $!; exec sleep 1000");
    let (mut stranger, child) = Orphan::start(&new_key(), &text);
    until("the child carries its key", || {
        let environment = std::fs::read(format!("/proc/{child}/environ")).unwrap();
        environment.windows(key.len()).any(|part| part == key.as_bytes())
    });
    resume(&begun(&key, None));
    assert!(has_ended(&child));
    assert_eq!(stranger.leader.try_wait().unwrap(), None);
}

#[test]
fn a_process_that_has_got_the_same_number_is_spared() {
    let (key, strangers) = (new_key(), new_key());
    let (mut stranger, _) = Orphan::start(&strangers, "echo; exec sleep 1000");
    let with = |name: &str, value: Value| {
        let mut checkpoint = stranger.checkpoint.clone();
        checkpoint[name] = value;
        Some(checkpoint)
    };
    let started = stranger.checkpoint["started"].as_u64().unwrap();
    resume(&begun(&key, with("started", json!(started + 1))));
    resume(&begun(&key, with("started", json!(started - 1))));
    resume(&begun(&key, with("boot_id", json!("before"))));
    assert_eq!(stranger.leader.try_wait().unwrap(), None);
    // Unchanged it is the script's.
    resume(&begun(&key, Some(stranger.checkpoint.clone())));
    assert_eq!(stranger.signal(), TERM);
}

#[test]
fn a_process_with_another_key_is_spared() {
    let key = new_key();
    let (mut longer, _) = Orphan::start(&format!("{key}0"), "echo; exec sleep 1000");
    let other = format!("export COPY=OXIDAG_IDEMPOTENCY_KEY={key}; echo; exec sleep 1000");
    let (mut inside, _) = Orphan::start(&new_key(), &other);
    resume(&begun(&key, None));
    assert_eq!(longer.leader.try_wait().unwrap(), None);
    assert_eq!(inside.leader.try_wait().unwrap(), None);
}

#[test]
fn a_task_that_is_begun_for_the_first_time_looks_for_nothing() {
    let key = new_key();
    let (mut orphan, _) = Orphan::start(&key, "echo; exec sleep 1000");
    resume(&Task { resumed: false, ..begun(&key, None) });
    assert_eq!(orphan.leader.try_wait().unwrap(), None);
}

#[test]
fn what_ignores_the_request_is_killed_after_the_grace_period() {
    let key = new_key();
    let (orphan, _) = Orphan::start(&key, "trap '' TERM; echo; while :; do sleep 1000; done");
    let config = Config { grace_period: 0.2, ..Config::default() };
    let host = Recorder::default();
    run_with(&config, &begun(&key, Some(orphan.checkpoint.clone())), &host).unwrap();
    assert_eq!(orphan.signal(), KILL);
    let log = host.lines(Level::Info);
    assert!(log[1].ends_with(" lived on after the grace period of 0.2 s: sending SIGKILL"), "{log:?}");
}

#[test]
fn what_is_stopped_ends_too() {
    let key = new_key();
    let (orphan, _) = Orphan::start(&key, "echo; kill -STOP $$; sleep 1000");
    until("the script is stopped", || state(&orphan.id()) == Some('T'));
    resume(&begun(&key, None));
    assert_eq!(orphan.signal(), TERM);
}

#[test]
fn the_script_does_not_run_beside_what_cannot_be_ended() {
    let key = new_key();
    let (orphan, _) = Orphan::start(&key, "trap '' TERM; echo; while :; do sleep 1000; done");
    let host = Recorder::default();
    // Nothing ends within no time.
    let ended = leftover::end(&begun(&key, None), Duration::ZERO, Duration::ZERO, &host);
    let error = ended.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient);
    let start = format!("an earlier scheduler left processes {} (sh), ", orphan.id());
    assert!(error.message.starts_with(&start), "{error}");
    assert!(error.message.contains("SIGKILL did not end it"), "{error}");
}

#[test]
fn a_cancelled_attempt_ends_what_is_left_too() {
    let key = new_key();
    let (orphan, _) = Orphan::start(&key, "echo; exec sleep 1000");
    let host = Recorder::default();
    host.cancel();
    let error = run_with(&Config::default(), &begun(&key, None), &host).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert_eq!(orphan.signal(), TERM);
}

#[test]
fn while_a_script_runs_it_can_be_found_again() {
    let host = Recorder::default();
    let key = new_key();
    let text = "echo $$; until [ -e $OXIDAG_RESULT ]; do sleep 0.01; done";
    let running = Task { idempotency_key: key.clone(), ..task(text) };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| run_with(&Config::default(), &running, &host).unwrap_err());
        let id = host.wait_for("");
        let state = host.state.lock().unwrap();
        let state = host.changed.wait_timeout_while(state, PATIENCE, |s| s.checkpoints.is_empty()).unwrap().0;
        let [checkpoint] = &state.checkpoints[..] else { panic!("{:?}", state.checkpoints) };
        assert_eq!(checkpoint["process_group"].to_string(), id);
        let checkpoint = checkpoint.clone();
        drop(state);
        resume(&begun(&new_key(), Some(checkpoint)));
        assert_eq!(first.join().unwrap().metrics["signal"], "SIGTERM");
    });
}

#[test]
fn a_script_that_could_not_be_found_again_is_not_left_running() {
    let host = Recorder::default();
    host.state.lock().unwrap().refuses_checkpoints = true;
    let key = new_key();
    let running = Task { idempotency_key: key.clone(), ..task("sleep 1000 & sleep 1000") };
    let error = run_with(&Config::default(), &running, &host).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient);
    insta::assert_snapshot!(error, @"cannot watch the script: cannot store how it is found again, so it was ended: the run has ended");
    let log = resume(&begun(&key, None));
    assert!(log[0].starts_with("nothing runs any more"), "{log:?}");
}
