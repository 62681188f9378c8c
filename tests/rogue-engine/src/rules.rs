//! Which rule of engines is broken, and how. A library whose `OXIDAG_ROGUE` names a rule breaks just that one, and keeps all others.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{process, thread};

use oxidag_plugin_api::{Error, ErrorKind, Finding, Host, Outcome, Result, Severity, Task};
use serde_json::{Value, json};

/// What a long task takes, in steps that it can be stopped after.
const LONG: (u32, Duration) = (100, Duration::from_millis(20));

/// Whether this rule is broken.
pub(crate) fn breaks(rule: &str) -> bool {
    std::env::var("OXIDAG_ROGUE").is_ok_and(|broken| broken == rule)
}

/// So many tasks run.
static RUNNING: AtomicU32 = AtomicU32::new(0);
/// What a panic leaves behind.
static POISONED: Mutex<()> = Mutex::new(());
static CREATE_PANICKED: AtomicBool = AtomicBool::new(false);

pub(crate) fn created() -> Result<()> {
    if breaks("create") {
        return Err(Error::invalid("told not to be created"));
    }
    if CREATE_PANICKED.load(Ordering::Relaxed) && breaks("panic_create") {
        return Err(Error::failed("a creation before this one panicked"));
    }
    Ok(())
}

/// As `create` panics.
pub(crate) fn create_panics() {
    CREATE_PANICKED.store(true, Ordering::Relaxed);
}

pub(crate) fn validate(task: &Task) -> Vec<Finding> {
    assert!(task.script.text != "panic", "told to panic");
    let wrong = breaks("validate");
    let finding = Finding {
        severity: Severity::Error,
        message: "told to see mistakes".to_owned(),
        line: None,
        column: None,
    };
    if wrong { vec![finding] } else { Vec::new() }
}

/// A task of the kit's cases.
pub(crate) fn run(task: &Task, host: &Host) -> Result<Outcome> {
    let _running = Running::new()?;
    if breaks("panic_task") {
        // As those do who do not think of panics: after one, no task succeeds.
        drop(POISONED.lock().map_err(|_| Error::failed("a lock is poisoned"))?);
    }
    whatever_the_task(task, host)?;
    match task.script.text.as_str() {
        "fail" if breaks("failure") => Err(Error::transient("told to call a script's fault the service's")),
        "fail" => Err(Error::failed("told to fail")),
        "panic" => {
            let _poisoned = POISONED.lock().unwrap_or_else(PoisonError::into_inner);
            panic!("told to panic")
        }
        "long" => long(task, host),
        "succeed" if breaks("exit") => process::exit(0),
        "succeed" if breaks("endless") => loop {
            thread::park();
        },
        _ if breaks("success") => Err(Error::failed("told to fail a task that should succeed")),
        _ => Ok(Outcome::default().with_result(1)),
    }
}

fn whatever_the_task(task: &Task, host: &Host) -> Result<()> {
    let extra = task.params.get("conformance").and_then(Value::as_str).unwrap_or_default();
    assert!(extra.len() < 1024 || !breaks("large_parameters"), "told to have no room");
    if breaks("non_ascii") && !extra.is_ascii() {
        // In the middle of a character.
        let _ = &extra[..1];
    }
    if breaks("same_key") && task.resumed && task.script.text != "long" {
        return Err(Error::failed("the job is there already"));
    }
    if breaks("stdout") {
        print_line();
    }
    if breaks("threads") {
        thread::spawn(|| {
            loop {
                thread::park();
            }
        });
    }
    if breaks("cancel_after") && task.script.text == "succeed" {
        host.on_cancel(|| process::abort());
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the rule that is broken")]
fn print_line() {
    println!("told to print");
}

/// Stores a checkpoint, then waits.
fn long(task: &Task, host: &Host) -> Result<Outcome> {
    if task.resumed && task.checkpoint.is_none() && breaks("crash_before_checkpoint") {
        return Err(Error::failed("the job is there already"));
    }
    match &task.checkpoint {
        Some(_) if breaks("crash_after_checkpoint") => return Err(Error::invalid("whose job is this?")),
        Some(_) => {}
        None if host.cancelled() && !breaks("cancel_before") => {
            return Err(Error::cancelled("before it began"));
        }
        None if host.cancelled() => return Ok(Outcome::default()),
        None => host.checkpoint(&json!({"job": task.idempotency_key}))?,
    }
    for _ in 0..LONG.0 {
        if host.cancelled() && !breaks("deaf") {
            return stopped(host);
        }
        thread::sleep(LONG.1);
    }
    Ok(Outcome::default())
}

fn stopped(host: &Host) -> Result<Outcome> {
    if breaks("cancel_during") {
        return Ok(Outcome::default());
    }
    if breaks("deadline") {
        // Tidies up for longer than the kit is told to wait, however long that takes here.
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_secs(4) {
            thread::sleep(LONG.1);
        }
    }
    host.info("stopped");
    Err(Error::new(ErrorKind::Cancelled, "stopped on request"))
}

/// A task that runs; with the rule broken, one at a time can.
struct Running;

impl Running {
    fn new() -> Result<Self> {
        let others = RUNNING.fetch_add(1, Ordering::SeqCst);
        let running = Self;
        if breaks("concurrent") {
            // Long enough for the others to come.
            thread::sleep(Duration::from_millis(100));
            if others > 0 {
                return Err(Error::failed("busy with another task"));
            }
        }
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}
