//! Scripts that run to their end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::*;
use crate::lines::LONGEST;

#[test]
fn a_script_runs_by_its_line() {
    assert_eq!(output("#!/usr/bin/awk -f\nBEGIN { print 6 * 7 }"), ["42"]);
    assert_eq!(output("#!/usr/bin/env bash\na=(x y); echo ${a[1]} $#"), ["y 0"]);
}

#[test]
fn a_script_without_the_line_runs_by_the_configured_interpreter() {
    let config = Config { interpreter: vec!["awk".into(), "-f".into()], ..Config::default() };
    let host = Recorder::default();
    run_with(&config, &task("BEGIN { print 6 * 7 }"), &host).unwrap();
    assert_eq!(host.stdout(), ["42"]);
}

#[test]
fn by_default_a_script_ends_where_a_command_fails() {
    let (ended, host) = run("echo one\nfalse\necho two");
    assert_eq!(ended.unwrap_err().message, "exit status 1");
    assert_eq!(host.stdout(), ["one"]);
}

#[test]
fn a_script_runs_in_the_dags_folder() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let (_, host) = run_task(&Task { working_dir: dir.clone(), ..task("/bin/pwd\necho $PWD") });
    assert_eq!(host.stdout(), [dir.to_str().unwrap(); 2]);
}

#[test]
fn a_script_in_a_file_is_run_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("load.sh");
    let mut task = task("echo $0");
    fs::write(&path, &task.script.text).unwrap();
    task.script.path = Some(path.clone());
    assert_eq!(run_task(&task).1.stdout(), [path.to_str().unwrap()]);
}

#[test]
fn a_script_in_no_file_gets_a_private_one_and_stands_on_no_command_line() {
    let mut task = task("echo $0\nstat -c %a $0\ntr '\\0' ' ' < /proc/$$/cmdline # hunter2");
    task.script.name = "local.b.f.shell.load".to_owned();
    let host = run_task(&task).1;
    let [path, mode, command_line] = &host.stdout()[..] else { panic!("{:?}", host.stdout()) };
    assert!(path.ends_with("-local.b.f.shell.load"), "{path}");
    assert_eq!(mode, "600");
    assert_eq!(command_line, &format!("/bin/sh -e {path} "));
    assert!(!fs::exists(path).unwrap());
}

#[test]
fn a_single_plain_command_runs_without_a_shell() {
    let stat = output("/bin/cat /proc/self/stat").remove(0);
    let parent = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(parent, std::process::id().to_string());
}

#[test]
fn a_single_plain_command_that_cannot_start_is_left_to_the_shell() {
    let (ended, host) = run("/no/such/program now");
    let error = ended.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed);
    assert_eq!(error.metrics["exit_status"], 127);
    assert!(host.lines(Level::Stderr)[0].contains("not found"));
}

#[test]
fn parameters_and_the_attempts_names_are_in_the_environment() {
    let mut task = task("env");
    task.params = json!({"table": "a b", "n": 3, "*v": [1]}).as_object().unwrap().clone();
    let config = Config { env: [("REGION".to_owned(), "eu".to_owned())].into(), ..Config::default() };
    let host = Recorder::default();
    run_with(&config, &task, &host).unwrap();
    let lines = host.stdout();
    for line in [
        "table=a b",
        "n=3",
        "REGION=eu",
        "OXIDAG_DAG_ID=flights",
        "OXIDAG_RUN_ID=run 1",
        "OXIDAG_TASK_ID=load",
        "OXIDAG_ATTEMPT=2",
        "OXIDAG_IDEMPOTENCY_KEY=key",
        &format!("PATH={}", std::env::var("PATH").unwrap()),
    ] {
        assert!(lines.iter().any(|found| found == line), "{line} is not in {lines:?}");
    }
    // Shells drop what is no name in their language; programs that are run directly get it.
    task.script.text = "/usr/bin/env".to_owned();
    assert!(run_task(&task).1.stdout().contains(&"*v=[1]".to_owned()));
}

#[test]
fn each_stream_goes_to_the_log_as_what_it_is_and_a_summary_follows() {
    let (_, host) = run("echo out; echo err >&2; printf '\\377 no line end'");
    assert_eq!(host.stdout(), ["out", "\u{fffd} no line end"]);
    assert_eq!(host.lines(Level::Stderr), ["err"]);
    let log = &host.state.lock().unwrap().log;
    let (level, last) = log.last().unwrap();
    assert_eq!(*level, Level::Info);
    assert!(last.starts_with("ended with exit status 0 after "), "{last}");
}

#[test]
fn a_script_that_says_nothing_has_no_log_unless_it_fails() {
    let log = |text| run(text).1.state.lock().unwrap().log.clone();
    assert_eq!(log("true"), []);
    assert!(log("exit 3").iter().any(|(_, line)| line.starts_with("ended with exit status 3 after ")));
    assert!(
        log("echo").last().unwrap().1.starts_with("ended with exit status 0 after "),
        "an empty line is one"
    );
}

#[test]
fn output_arrives_while_the_script_runs() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let text = format!("echo first; until [ -e {} ]; do sleep 0.01; done", go.display());
    let host = Recorder::default();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run_with(&Config::default(), &task(&text), &host));
        host.wait_for("first");
        fs::write(&go, "").unwrap();
        running.join().unwrap().unwrap();
    });
}

#[test]
fn a_script_reads_nothing_and_leads_its_own_group() {
    assert_eq!(
        output("cat; cut -d ' ' -f 5 /proc/$$/stat | grep -x $$ > /dev/null && echo leads"),
        ["leads"]
    );
}

#[test]
fn a_million_lines_stream_in_pieces_of_bounded_size() {
    #[derive(Default)]
    struct Counter(AtomicUsize, AtomicUsize);
    impl Sink for Counter {
        fn log(&self, level: Level, text: &str) {
            if level == Level::Stdout {
                self.0.fetch_add(text.lines().count(), Ordering::Relaxed);
                self.1.fetch_max(text.len(), Ordering::Relaxed);
            }
        }
        fn cancelled(&self) -> bool {
            false
        }
        fn on_cancel(&self, _: impl FnOnce() + Send + 'static) {}
        fn checkpoint(&self, _: &Value) -> Result<()> {
            Ok(())
        }
    }
    let host = Counter::default();
    crate::attempt::run(&Config::default(), &Scratch::default(), &task("seq 1000000"), &host).unwrap();
    assert_eq!(host.0.into_inner(), 1_000_000);
    assert!(host.1.into_inner() <= 2 * LONGEST);
}

#[test]
fn exit_status_and_signal_are_in_the_error() {
    let error = error("echo one >&2; echo ' last words ' >&2; echo >&2; exit 3");
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Failed, "exit status 3: last words"));
    assert_eq!(error.metrics["exit_status"], 3);

    let error = super::error("kill -USR1 $$");
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Failed, "killed by SIGUSR1"));
    assert_eq!(error.metrics["signal"], "SIGUSR1");
    assert!(!error.metrics.contains_key("exit_status"));
}

#[test]
fn the_outcome_has_the_figures_of_the_script_and_its_children() {
    let text = "head -c 200000000 /dev/zero | tail -c 200000000 > /dev/null
        sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done'";
    let metrics = run(text).0.unwrap().metrics;
    assert_eq!(metrics["exit_status"], 0);
    assert!(metrics["cpu_seconds"].as_f64().unwrap() > 0.01, "{metrics:?}");
    let memory = metrics["peak_memory_bytes"].as_u64().unwrap();
    assert!((200_000_000..1_000_000_000).contains(&memory), "{metrics:?}");
}

#[test]
fn a_result_is_read_after_a_success_alone() {
    let outcome = run("echo '{\"rows\": 3}' > $OXIDAG_RESULT").0.unwrap();
    assert_eq!(outcome.result, Some(json!({"rows": 3})));
    assert_eq!(run("true; true").0.unwrap().result, None::<Value>);
    assert_eq!(error("echo '{' > $OXIDAG_RESULT; exit 3").message, "exit status 3");

    let error = error("echo '{' > $OXIDAG_RESULT");
    assert_eq!(error.kind, ErrorKind::Failed);
    assert_eq!(error.metrics["exit_status"], 0);
    assert!(error.message.contains("line 2 column 0"), "{error}");
}

#[test]
fn no_file_of_an_attempt_outlives_it() {
    let scratch = Scratch::default();
    let host = Recorder::default();
    let text = "echo 1 > $OXIDAG_RESULT; echo $OXIDAG_RESULT";
    crate::attempt::run(&Config::default(), &scratch, &task(text), &host).unwrap();
    let dir = PathBuf::from(&host.stdout()[0]).parent().unwrap().to_owned();
    let left: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn what_a_script_leaves_behind_neither_holds_the_task_nor_is_killed() {
    let host = run("sleep 1000 & echo $!").1;
    let pid = host.stdout().remove(0);
    assert!(!has_ended(&pid));
    kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn the_last_lines_may_come_from_a_process_that_outlives_the_script() {
    let text = "#!/bin/bash\nexec > >(until grep -q ') Z ' /proc/$$/stat; do :; done; cat)\necho last";
    assert_eq!(output(text), ["last"]);
}

#[test]
fn a_background_process_that_never_stops_writing_does_not_hold_the_task() {
    let pid = run("yes & echo $! >&2").1.lines(Level::Stderr).remove(0);
    // Its pipe is gone.
    until("yes has ended", || has_ended(&pid));
}

#[test]
fn a_script_that_closes_its_output_is_waited_for_still() {
    assert_eq!(error("exec > /dev/null 2>&1; sleep 0.05; exit 4").message, "exit status 4");
}

#[test]
fn an_interpreter_that_cannot_run_is_never_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let refused = |program: &str| {
        let error = error(&format!("#!{program}\n"));
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        error.message.replace(dir.path().to_str().unwrap(), "DIR")
    };
    insta::assert_snapshot!(refused("/no/such/program"), @"cannot run `/no/such/program`, which the script's `#!` line names: it does not exist; install it, or name another interpreter");
    insta::assert_snapshot!(refused(&write("data", "x", 0o644)), @"cannot run `DIR/data`, which the script's `#!` line names: Permission denied (os error 13); is it a program, and may this user run it?");
    insta::assert_snapshot!(refused(&write("dangling", "#!/no/such/program\n", 0o755)), @"cannot run `DIR/dangling`, which the script's `#!` line names: the file exists, but a program that it needs in turn does not (its own `#!` line, or the loader of another system)");

    let config = Config { interpreter: vec!["no-such-program".into()], ..Config::default() };
    let error = run_with(&config, &task("echo"), &Recorder::default()).unwrap_err();
    insta::assert_snapshot!(error, @"cannot run the configured interpreter `no-such-program`: it does not exist; install it, or name another interpreter");
}

#[test]
fn a_missing_working_directory_is_named() {
    for text in ["/bin/true", "echo"] {
        let error = run_task(&Task { working_dir: "/no/such/dir".into(), ..task(text) }).0.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        insta::allow_duplicates! {
            insta::assert_snapshot!(error, @"the working directory /no/such/dir does not exist");
        }
    }
}

#[test]
fn an_interpreter_that_is_being_written_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("program");
    fs::copy("/bin/true", &path).unwrap();
    let writing = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let error = error(&format!("#!{}\n", path.display()));
    assert_eq!(error.kind, ErrorKind::Transient, "{error}");
    drop(writing);
}

#[test]
fn a_parameter_that_is_too_large_is_named_without_its_value() {
    let mut task = task("echo");
    task.params = json!({"small": 1, "large": "secret".repeat(50_000)}).as_object().unwrap().clone();
    let error = run_task(&task).0.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    insta::assert_snapshot!(error, @"the task's parameters are too large to be environment variables (on Linux, 128 KiB each); the largest parameter, `large`, has 300000 bytes: put it into a file and pass the file's name");
}
