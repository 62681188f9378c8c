//! Which rule of engines is broken, and how. A library whose `OXIDAG_ROGUE` names a rule breaks just that one, and keeps all others.

use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use oxidag_plugin_api::{Error, ErrorKind, Finding, Host, Outcome, Result, Severity, Task};
use schemars::{JsonSchema as _, Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::deadly::forked;

/// What a long task takes, in steps that it can be stopped after.
const LONG: (u32, Duration) = (100, Duration::from_millis(20));

/// Whether this rule is broken.
pub(crate) fn breaks(rule: &str) -> bool {
    env::var("OXIDAG_ROGUE").is_ok_and(|broken| broken == rule)
}

/// So many tasks run.
static RUNNING: AtomicU32 = AtomicU32::new(0);
/// So many were refused since another ran, and as many are there beside one where the kit runs many at once.
static REFUSED: AtomicU32 = AtomicU32::new(0);
const OTHERS: u32 = 31;
/// What a panic leaves behind.
static POISONED: Mutex<()> = Mutex::new(());
static CREATE_PANICKED: AtomicBool = AtomicBool::new(false);
static DESTROY_PANICKED: AtomicBool = AtomicBool::new(false);
/// How many tasks were run.
static TASKS: AtomicU32 = AtomicU32::new(0);
/// Threads that are kept for later tasks.
static POOL: Mutex<Vec<Sender<()>>> = Mutex::new(Vec::new());

/// The schema of the configuration's number.
pub(crate) fn number_schema(generator: &mut SchemaGenerator) -> Schema {
    assert!(!breaks("panic_schema"), "told to panic");
    u32::json_schema(generator)
}

pub(crate) fn created() -> Result<()> {
    if breaks("create") {
        return Err(Error::invalid("told not to be created"));
    }
    if CREATE_PANICKED.load(Ordering::Relaxed) && breaks("panic_create") {
        return Err(Error::failed("a creation before this one panicked"));
    }
    if DESTROY_PANICKED.load(Ordering::Relaxed) && breaks("panic_destroy") {
        return Err(Error::failed("the engine before this one panicked at its end"));
    }
    Ok(())
}

/// As an engine goes.
pub(crate) fn destroyed(panics: bool) {
    POOL.lock().unwrap_or_else(PoisonError::into_inner).clear();
    if panics {
        DESTROY_PANICKED.store(true, Ordering::Relaxed);
        panic!("told to panic")
    }
}

/// As `create` panics.
pub(crate) fn create_panics() {
    CREATE_PANICKED.store(true, Ordering::Relaxed);
}

pub(crate) fn validate(task: &Task) -> Vec<Finding> {
    if task.script.text == "panic at a look" {
        poison();
    }
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
    if ["panic_validate", "panic_task", "panic_cancel"].into_iter().any(breaks) {
        // As those do who do not think of panics: after one, no task succeeds.
        drop(POISONED.lock().map_err(|_| Error::failed("a lock is poisoned"))?);
    }
    whatever_the_task(task, host)?;
    match task.script.text.as_str() {
        "fail" if breaks("failure") => Err(Error::transient("told to call a script's fault the service's")),
        "fail" => Err(Error::failed("told to fail")),
        "panic" => {
            // What a callback holds goes with the attempt, and may panic too.
            let bomb = Bomb;
            host.on_cancel(move || drop(bomb));
            poison()
        }
        "panic when stopped" => {
            host.on_cancel(|| poison());
            wait(host)
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

/// Panics with a lock in hand.
fn poison() -> ! {
    let _poisoned = POISONED.lock().unwrap_or_else(PoisonError::into_inner);
    panic!("told to panic")
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(thread::panicking(), "told to panic");
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
    if breaks("slow") {
        thread::sleep(Duration::from_secs(1));
    }
    if breaks("stdout") {
        print_line();
    }
    let number = TASKS.fetch_add(1, Ordering::Relaxed);
    if breaks("threads") || (breaks("most_threads") && !number.is_multiple_of(8)) {
        thread::spawn(|| {
            loop {
                thread::park();
            }
        });
    }
    if breaks("pool") {
        grow_pool();
    }
    if breaks("wire") {
        write_to_sockets();
    }
    if breaks("leaves") {
        tell_left(leave());
    }
    if breaks("forks") {
        tell_left(forked().to_string());
    }
    if breaks("cancel_after") && task.script.text == "succeed" {
        host.on_cancel(|| process::abort());
    }
    Ok(())
}

/// One thread more for each task, up to some.
fn grow_pool() {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if pool.len() < 6 {
        let (keep, kept) = channel();
        thread::spawn(move || kept.recv());
        pool.push(keep);
    }
}

/// To each that this process has.
fn write_to_sockets() {
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let is_socket =
            fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
        if let (true, Ok(number)) = (is_socket, entry.file_name().to_string_lossy().parse()) {
            // SAFETY: it is open, and stays so: the stream is never dropped.
            let mut socket = ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(number) });
            // What is refused is not written.
            let _ = socket.write_all(b"told to write\n");
        }
    }
}

/// A program in a group of its own; its number.
fn leave() -> String {
    let left = process::Command::new("sleep").arg("600").process_group(0).spawn();
    left.map(|child| child.id()).unwrap_or_default().to_string()
}

/// The test is told the number.
fn tell_left(pid: String) {
    let _ = env::var_os("OXIDAG_ROGUE_LEFT").map(|file| fs::write(file, pid));
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
    wait(host)
}

/// For a while, or until it is stopped.
fn wait(host: &Host) -> Result<Outcome> {
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
            if others > 0 {
                REFUSED.fetch_add(1, Ordering::SeqCst);
                return Err(Error::failed("busy with another task"));
            }
            // All others come meanwhile, or a task alone waits in vain.
            let until = Instant::now() + Duration::from_secs(10);
            while REFUSED.load(Ordering::SeqCst) < OTHERS && Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
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
