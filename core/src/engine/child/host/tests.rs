//! A child that says what the test has it say; its process does nothing.

use std::sync::mpsc;

use super::*;
use crate::engine::OnCancel;
use crate::engine::child::protocol::{ToHost, read_frame};

fn child() -> (Arc<Child>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let process = Command::new("true").spawn().unwrap();
    let about = About { engine: "x".into(), limits: ChildLimits::default(), masker: Masker::default() };
    (Child::of(about, process, ours, Vec::new()), theirs)
}

/// Each of its lines waits for the gate; its end is told.
struct Gated {
    gate: Mutex<mpsc::Receiver<()>>,
    ended: mpsc::Sender<()>,
}

impl Attempt for Gated {
    fn log(&self, _: Level, _: &str) {
        // Once the gate is gone, nobody waits.
        let _ = lock(&self.gate).recv();
    }
    fn progress(&self, _: f64, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
    fn on_cancel(&self, callback: OnCancel) {
        drop(callback);
    }
    fn checkpoint(&self, _: Value) -> Result<(), String> {
        Ok(())
    }
    fn append(&self, _: Value) -> Result<(), String> {
        Ok(())
    }
    fn query(&self, _: Value) -> Result<Value, String> {
        Ok(Value::Null)
    }
    fn complete(&self, _: End) {
        self.ended.send(()).unwrap();
    }
}

fn attempt() -> (Arc<Gated>, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let ((open, gate), (ended, seen)) = (mpsc::channel(), mpsc::channel());
    (Arc::new(Gated { gate: Mutex::new(gate), ended }), open, seen)
}

/// How many lines the child is told were taken, in this message.
fn taken(socket: &mut UnixStream) -> Option<u64> {
    let mut payload = Vec::new();
    assert!(read_frame(socket, &mut payload).unwrap());
    match serde_json::from_slice(&payload).unwrap() {
        ToChild::Taken { lines, .. } => lines,
        _ => None,
    }
}

#[test]
fn an_attempt_whose_log_is_slow_holds_up_no_other() {
    const LINES: u64 = 500;
    let (child, mut theirs) = child();
    let task = RawValue::from_string("{}".to_owned()).unwrap();
    let (slow, gate, slow_ended) = attempt();
    let (worker, of_worker) = (Arc::clone(&child), task.clone());
    let worker = thread::spawn(move || worker.run(&of_worker, true, slow).is_ok());
    assert_eq!(taken(&mut theirs), None, "it begins");
    let (other, _gate, ended) = attempt();
    assert!(child.run(&task, false, other).is_ok());
    assert_eq!(taken(&mut theirs), None, "it begins");

    let end = || Said::Ended(End::Outcome(oxidag_plugin_api::Outcome::default()));
    let listener = Arc::clone(&child);
    let listener = thread::spawn(move || {
        let say = |attempt, said| listener.take(ToHost::Attempt { attempt, said });
        (0..LINES).for_each(|_| say(1, Said::Log { level: 1, text: "line".to_owned() }));
        say(2, end());
        say(1, end());
    });
    // Nothing takes so long but what waits for the gate.
    let other = ended.recv_timeout(Duration::from_secs(60));
    drop(gate);
    assert_eq!(other, Ok(()), "the other attempt ends");
    listener.join().unwrap();
    assert!(worker.join().unwrap());
    assert_eq!(slow_ended.recv(), Ok(()));
    for _ in 0..LINES / TAKEN_AT_ONCE {
        assert_eq!(taken(&mut theirs), Some(TAKEN_AT_ONCE));
    }
    lock(&child.state).process.wait().unwrap();
}
