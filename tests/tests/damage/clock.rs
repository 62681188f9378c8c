//! The system's clock is set back: between two processes of a run, and under a running one.
//!
//! The program is told another time than the system's by a library that is laid before the system's own.

use std::path::PathBuf;
use std::process::Command;

use oxidag_tests::Sandbox;
use oxidag_tests::running::{Running, in_time};
use serde_json::{Value, json};

use super::{all_succeeded, dag, gate, noop, shown};

/// Adds to the real time so many seconds as stand in a file.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    const char *path = getenv("CLOCK");
    if (result == 0 && clock == CLOCK_REALTIME && path) {
        char text[32] = "";
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file >= 0 && read(file, text, sizeof text - 1) > 0)
            time->tv_sec += atol(text);
        if (file >= 0)
            close(file);
    }
    return result;
}
"#;

const DAY: i64 = 24 * 3600;

/// A sandbox in which the clock can be set.
struct Clock {
    sandbox: Sandbox,
    library: PathBuf,
}

impl Clock {
    /// A DAG with a gate between two tasks.
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let (code, library) = (sandbox.write("clock.c", LIBRARY), sandbox.path().join("clock.so"));
        // The tests need a C compiler as the build does.
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &code]).status();
        assert!(compiled.unwrap().success());
        let tasks = [noop("first", &[], &json!({})), gate(&["first"]), noop("last", &["gate"], &json!({}))];
        sandbox.write("dag.json", &dag(&tasks));
        Self { sandbox, library }
    }

    /// Sets the clock to so many seconds from the system's.
    fn set(&self, seconds: i64) {
        // In one step: the program may be reading it.
        let new = self.sandbox.write("clock.new", &seconds.to_string());
        std::fs::rename(new, self.sandbox.path().join("clock")).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(arguments);
        command.env("LD_PRELOAD", &self.library).env("CLOCK", self.sandbox.path().join("clock"));
        command
    }

    /// Begins a run and waits until it is at its gate.
    fn begin(&self) -> Running {
        let mut run = Running::start(self.command(&["run", "dag.json", "--run-id", "r", "--format", "json"]));
        run.until_task("gate", "running");
        run
    }

    /// Looks at the run in every way; no time that it took is less than none.
    #[track_caller]
    fn look(&self) -> Value {
        let all: [&[&str]; 4] = [
            &["runs", "list"],
            &["runs", "show", "r"],
            &["runs", "gantt", "r"],
            &["runs", "logs", "r", "first"],
        ];
        for arguments in all {
            let ended = in_time(self.command(arguments)).expect_status(0);
            let negative = ended.stdout.split_whitespace().find(|word| {
                word.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            });
            assert_eq!(negative, None, "{arguments:?}: {}", ended.stdout);
            // Nor a difference that went below zero and became huge.
            assert!(ended.stdout.len() < 10_000, "{arguments:?}: {}", ended.stdout);
        }
        let run = in_time(self.command(&["runs", "show", "r", "--json"])).expect_status(0).json();
        let tasks = run["tasks"].as_array().unwrap();
        let attempts = tasks.iter().flat_map(|task| task["attempts"].as_array().unwrap());
        for span in [&run].into_iter().chain(tasks).chain(attempts) {
            let (start, finish) = (span["started_at"].as_str(), span["finished_at"].as_str());
            assert!(finish.is_none() || start <= finish, "it ended before it began: {span:#}");
        }
        run
    }
}

#[test]
fn a_clock_set_back_under_a_run_does_not_reach_it() {
    let clock = Clock::new();
    clock.set(0);
    let mut run = clock.begin();
    clock.set(-DAY);
    clock.look();
    clock.sandbox.write("go", "");
    run.end().expect_status(0);
    all_succeeded(&clock.look());
}

#[test]
fn a_run_from_the_future_can_be_looked_at() {
    let clock = Clock::new();
    clock.set(DAY);
    clock.begin().kill();
    clock.set(0);
    let run = clock.look();
    assert_eq!(run["interrupted"], true);
    let now = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S"]).output().unwrap().stdout;
    assert!(run["started_at"].as_str() > str::from_utf8(&now).ok(), "the clock was not set: {run}");
    let list = in_time(clock.command(&["runs", "list", "--json"])).expect_status(0).json();
    assert_eq!(list[0]["run_id"], "r");
}

#[test]
fn a_run_from_the_future_is_resumed() {
    let clock = Clock::new();
    clock.set(DAY);
    clock.begin().kill();
    clock.set(0);
    clock.sandbox.write("go", "");
    in_time(clock.command(&["resume", "r"])).expect_status(0);
    all_succeeded(&clock.look());
    // Without the library, too.
    all_succeeded(&shown(&clock.sandbox, "r"));
}

#[test]
fn a_clock_before_1970_stops_nothing() {
    let clock = Clock::new();
    clock.set(-100 * 365 * DAY);
    let mut run = clock.begin();
    clock.sandbox.write("go", "");
    run.end().expect_status(0);
    all_succeeded(&clock.look());
}
