//! Deeds that no other part of a process survives. Only for `isolation = "process"`.
//!
//! Each is done in the first attempt, or in so many as the parameter `attempts` says; later ones succeed.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;
use std::{process, ptr, thread};

use oxidag_plugin_api::{Host, Outcome, Result, Task};
use serde_json::Value;

const DEEDS: [&str; 10] = [
    "abort",
    "segfault",
    "exit",
    "overflow the stack",
    "hog memory",
    "spin",
    "print",
    "leave a program",
    "leave a fork",
    "wait, then abort",
];

pub(crate) fn knows(deed: &str) -> bool {
    DEEDS.contains(&deed)
}

pub(crate) fn run(deed: &str, task: &Task, host: &Host) -> Result<Outcome> {
    let attempts = task.params.get("attempts").and_then(Value::as_u64).unwrap_or(1);
    if u64::from(task.attempt) <= attempts {
        match deed {
            "abort" => abort(task),
            "segfault" => segfault(),
            "exit" => process::exit(3),
            "overflow the stack" => _ = overflow(1),
            "hog memory" => hog(),
            "spin" => spin(),
            "print" => print(),
            "leave a program" => leave(),
            "leave a fork" => leave_fork(),
            _ => wait_then_abort(task, host),
        }
    }
    Ok(Outcome::default().with_metric("pid", process::id()))
}

#[expect(clippy::print_stderr, reason = "that is the deed")]
fn abort(task: &Task) {
    eprintln!("last words of {} with {}", task.task_id, Value::Object(task.params.clone()));
    process::abort()
}

fn segfault() {
    // SAFETY: there is none: nothing is at this address.
    unsafe { ptr::without_provenance_mut::<u8>(16).write_volatile(1) }
}

fn overflow(depth: u64) -> u64 {
    let page = black_box([depth; 64]);
    if black_box(depth) == 0 { 0 } else { overflow(depth + 1) + page[0] }
}

/// 8 GB, so that a mistake does not take the machine's.
fn hog() {
    let mut all = Vec::new();
    for _ in 0..128 {
        all.push(vec![1_u8; 64 << 20]);
    }
    black_box(all);
}

fn spin() {
    let mut turns = 0_u64;
    while black_box(true) {
        turns = black_box(turns.wrapping_add(1));
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "that is the deed")]
fn print() {
    println!("printed to stdout");
    eprintln!("printed to stderr");
}

/// A program that outlives its parent and keeps its standard error open.
fn leave() {
    let left = process::Command::new("sleep").arg("600").spawn();
    let pid = left.map(|child| child.id()).unwrap_or_default();
    // The test ends it.
    let _ = std::fs::write("left.pid", pid.to_string());
    process::abort()
}

unsafe extern "C" {
    fn fork() -> i32;
    fn pause() -> i32;
}

/// A copy of this process, which has all that this one has open; its number.
pub(crate) fn forked() -> i32 {
    // SAFETY: the copy calls nothing but `pause`, which may be called there.
    let pid = unsafe { fork() };
    if pid == 0 {
        loop {
            // SAFETY: it takes nothing and waits for a signal.
            unsafe { pause() };
        }
    }
    pid
}

fn leave_fork() {
    // The test ends it.
    let _ = std::fs::write("left.pid", forked().to_string());
    process::abort()
}

/// Once the file `until` is there.
fn wait_then_abort(task: &Task, host: &Host) {
    host.info("waits");
    let until = task.params.get("until").and_then(Value::as_str).unwrap_or_default();
    while !Path::new(until).exists() {
        thread::sleep(Duration::from_millis(5));
    }
    process::abort()
}
