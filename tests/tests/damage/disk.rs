//! The disk is full.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use oxidag_tests::running::{Running, in_time};
use oxidag_tests::{Ended, Sandbox};
use serde_json::{Value, json};

use super::{dag, gate, noop, shown, sound, states};

/// Room for what a run needs at its start, and not for the results of [`large_results`].
const KIB: u32 = 1536;

/// How space runs out.
#[derive(Debug, Clone, Copy)]
enum Limit {
    /// A small file system of its own; needs the right to mount one.
    Disk,
    /// A limit on the size of files: the system refuses a write in the same way.
    FileSize,
}

/// A sandbox whose state has little space.
struct Small {
    /// Goes first: the sandbox's folder could not be removed before.
    mounted: Option<Mounted>,
    sandbox: Sandbox,
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // At once, whoever still has a file open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(place: &Path, arguments: &[&str]) -> bool {
    Command::new("mount").args(arguments).arg(place).output().is_ok_and(|output| output.status.success())
}

impl Small {
    /// `None` where nobody may mount a file system.
    fn new(limit: Limit) -> Option<Self> {
        let sandbox = Sandbox::new();
        let home = sandbox.home();
        fs::create_dir(&home).unwrap();
        let mounted = match limit {
            Limit::FileSize => None,
            Limit::Disk if mount(&home, &["-t", "tmpfs", "-o", &format!("size={KIB}k"), "tmpfs"]) => {
                Some(Mounted(home))
            }
            Limit::Disk => return None,
        };
        Some(Self { mounted, sandbox })
    }

    /// Runs the program where it feels the limit.
    #[track_caller]
    fn oxidag(&self, arguments: &[&str]) -> Ended {
        let program = self.sandbox.command(arguments);
        if self.mounted.is_some() {
            return in_time(program);
        }
        let mut command = Command::new("bash");
        let limited = format!("ulimit -f {}; exec \"$@\"", KIB / 2);
        command.args(["-c", &limited, "bash"]).arg(program.get_program()).args(program.get_args());
        command.current_dir(self.sandbox.path());
        program.get_envs().for_each(|(name, value)| match value {
            Some(value) => _ = command.env(name, value),
            None => _ = command.env_remove(name),
        });
        in_time(command)
    }

    /// From now on there is space.
    fn grow(&self) -> &Sandbox {
        if let Some(Mounted(home)) = &self.mounted {
            assert!(mount(home, &["-o", "remount,size=64m"]));
        }
        &self.sandbox
    }
}

/// A chain of tasks, each with a result of 60 KB.
fn large_results() -> String {
    let script = "#!/bin/sh\nprintf '\"%060000d\"' 7 > \"$OXIDAG_RESULT\"\n";
    let task = |i: u32| {
        let upstream = i.checked_sub(1).map(|before| format!("t{before}"));
        json!({"task_id": format!("t{i}"), "script": {"engine": "shell", "inline": script},
            "dependencies": upstream.into_iter().collect::<Vec<_>>()})
    };
    dag(&(0..40).map(task).collect::<Vec<_>>())
}

/// Runs it until space runs out; gives what it told.
fn fill(small: &Small) -> Ended {
    small.sandbox.write("dag.json", &large_results());
    let ended = small.oxidag(&["run", "dag.json", "--run-id", "r", "--format", "json"]).expect_status(1);
    let last = ended.json_lines().pop().unwrap();
    assert_eq!(last["state"], "failed");
    let why = last["error"]["message"].as_str().unwrap();
    assert!(why.starts_with("cannot write"), "{why}");
    ended
}

/// Everything that was told to be a success is shown so, and an ended run has nothing left on its way.
#[track_caller]
fn kept(told: &Ended, run: &Value) {
    let states = states(run);
    for event in told.json_lines() {
        if event["event"] == "task_state" && event["state"] == "success" {
            let task = event["task_id"].as_str().unwrap();
            assert_eq!(states[task], "success", "{task} was told to be a success");
        }
    }
    let left = states.iter().find(|(_, state)| ["running", "deferred"].contains(state));
    assert!(
        run["state"] == "running" || left.is_none(),
        "the run has ended as {}, and {left:?}",
        run["state"]
    );
}

/// The way on that the program itself names: to resume the run, or where it has ended, to run what did not succeed.
#[track_caller]
fn the_rest_is_done(sandbox: &Sandbox) {
    let mut before = shown(sandbox, "r");
    if states(&before).values().all(|state| *state == "success") {
        // It was all done when the last of its logs could not be written.
        return;
    }
    let resumed = sound(sandbox, &["resume", "r"]);
    let run = if before["state"] == "running" && resumed.status == Some(0) {
        "r"
    } else {
        // It has ended, or goes on to its end, where some tasks were cancelled before the store failed, too.
        let is_told = resumed.stderr.contains("oxidag run --failed r");
        let remark = resumed.expect_status(1);
        assert!(is_told || before["error"]["kind"] == "failed", "{remark:?}");
        before = shown(sandbox, "r");
        sound(sandbox, &["run", "--failed", "r", "--run-id", "rest"]).expect_status(0);
        "rest"
    };
    let after = shown(sandbox, run);
    let (before, now) = (states(&before), states(&after));
    for (task, state) in before {
        let done = if state == "success" { &state } else { &"" };
        assert!(
            *done == "success" || now.get(task) == Some(&"success"),
            "{task} was {state}, and is {now:?}"
        );
    }
}

#[test]
fn a_disk_that_fills_up_fails_the_run_and_what_was_told_is_kept() {
    for limit in [Limit::Disk, Limit::FileSize] {
        let Some(small) = Small::new(limit) else { continue };
        let told = fill(&small);
        small.oxidag(&["runs", "list"]).expect_status(0);
        small.oxidag(&["runs", "show", "r"]).expect_status(0);
        kept(&told, &shown(small.grow(), "r"));
    }
}

#[test]
fn the_rest_of_a_run_that_a_full_disk_has_stopped_is_done_when_there_is_space() {
    for limit in [Limit::Disk, Limit::FileSize] {
        let Some(small) = Small::new(limit) else { continue };
        fill(&small);
        let sandbox = small.grow();
        the_rest_is_done(sandbox);
    }
}

/// Fills the disk to its last byte while a run is at a gate; gives what the run told.
fn fill_under_a_run(small: &Small) -> Ended {
    let sandbox = &small.sandbox;
    let after = (0..20).map(|i| noop(&format!("t{i}"), &["gate"], &json!({})));
    let tasks = [noop("first", &[], &json!({})), gate(&["first"])].into_iter().chain(after);
    sandbox.write("dag.json", &dag(&tasks.collect::<Vec<_>>()));
    let mut run = Running::start(sandbox.command(&["run", "dag.json", "--run-id", "r", "--format", "json"]));
    run.until_task("gate", "running");
    let mut filler = File::create(sandbox.home().join("filler")).unwrap();
    for size in [4096, 1] {
        while filler.write(&vec![0; size]).is_ok() {}
    }
    sandbox.write("go", "");
    run.end().expect_status(1)
}

#[test]
fn a_disk_without_a_byte_left_still_shows_what_it_holds() {
    let Some(small) = Small::new(Limit::Disk) else { return };
    let told = fill_under_a_run(&small);
    let sandbox = &small.sandbox;
    sound(sandbox, &["runs", "list"]).expect_status(0);
    sound(sandbox, &["runs", "gantt", "r"]).expect_status(0);
    sound(sandbox, &["runs", "show", "r"]).expect_status(0);
    let refused = sound(sandbox, &["run", "dag.json", "--run-id", "new"]).expect_status(2);
    assert!(refused.stderr.contains("free some space"), "{}", refused.stderr);
    fs::remove_file(sandbox.home().join("filler")).unwrap();
    kept(&told, &shown(sandbox, "r"));
}

#[test]
fn the_rest_of_a_run_under_which_the_disk_filled_up_is_done_when_there_is_space() {
    let Some(small) = Small::new(Limit::Disk) else { return };
    fill_under_a_run(&small);
    fs::remove_file(small.sandbox.home().join("filler")).unwrap();
    the_rest_is_done(&small.sandbox);
}
