//! The engine `iac` with Terraform's own program, on its built-in `terraform_data`, which needs no provider.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use oxidag_tests::running::{Running, in_time};
use oxidag_tests::{Ended, Sandbox, engine};
use serde_json::{Value, json};

/// So long nothing takes that a test waits for, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looked for in the command lines of all processes: no other test may have the same.
const SECRET: &str = "terraform-s3cret-pass";

const RUN: [&str; 6] = ["run", "dag.json", "--run-id", "r", "--format", "json"];

const MODULE: &str = r#"
variable "size" { type = number }
variable "password" {
  type      = string
  default   = "none"
  sensitive = true
}
resource "terraform_data" "one" {
  input = var.size
}
output "size" { value = terraform_data.one.output }
output "password" {
  value     = var.password
  sensitive = true
}
"#;

/// A module whose making does not end before there is a file `go`.
const SLOW: &str = r#"
resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "touch begun; trap 'touch interrupted; exit 1' INT; while [ ! -e go ] && [ -e main.tf ]; do sleep 0.05; done; echo x >> made"
  }
}
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let plugins =
        format!("[engines.iac]\npath = {:?}\n[connections.DB]\npassword = {SECRET:?}\n", engine("iac"));
    sandbox.write("plugins.toml", &plugins);
    sandbox
}

/// A task about the module in the folder `m`.
fn task(id: &str, upstream: &[&str], action: &str, more: &str) -> Value {
    let script = format!("resource: terraform\naction: {action}\n{more}");
    json!({"task_id": id, "script": {"engine": "iac", "inline": script}, "dependencies": upstream})
}

fn write_dag(sandbox: &Sandbox, tasks: &[Value]) {
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": tasks}).to_string());
}

#[track_caller]
fn end_of(ended: &Ended, task: &str) -> Value {
    let of_task = |event: &Value| event["event"] == "task_state" && event["task_id"] == task;
    ended.json_lines().into_iter().rfind(of_task).unwrap()
}

fn log_of(sandbox: &Sandbox, task: &str) -> String {
    fs::read_to_string(sandbox.home().join(format!("logs/d/{task}/r.1.log"))).unwrap()
}

#[track_caller]
fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} does not come");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Processes whose environment has this in it.
fn carrying(text: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let has = |path: &Path| {
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(text)
    };
    processes.filter(|process| has(&process.path())).count()
}

#[test]
fn a_module_is_planned_applied_and_destroyed() {
    let sandbox = sandbox();
    sandbox.write("m/main.tf", MODULE);
    let mut apply =
        task("apply", &[], "apply", "module: m\nvariables:\n  size: 3\n  password: \"{DB_password}\"\n");
    apply["params"] = json!({"**DB_password": ""});
    let destroy = task("destroy", &["apply"], "destroy", "module: m\nvariables: {{size: 3}}\n");
    write_dag(&sandbox, &[apply, destroy]);
    let ended = in_time(sandbox.command(&RUN)).expect_status(0);
    let applied = end_of(&ended, "apply");
    assert_eq!((&applied["metrics"]["added"], &applied["metrics"]["destroyed"]), (&json!(1), &json!(0)));
    assert_eq!(applied["result"], json!({"size": 3}), "{applied:#}");
    assert_eq!(end_of(&ended, "destroy")["metrics"]["destroyed"], 1);
    let log = log_of(&sandbox, "apply");
    assert!(log.contains("# terraform_data.one will be created"), "{log}");
    assert!(log.contains("Apply complete! Resources: 1 added"), "{log}");
    for file in ["apply", "destroy"] {
        assert!(!log_of(&sandbox, file).contains(SECRET));
    }
    assert!(!ended.stdout.contains(SECRET) && !ended.stderr.contains(SECRET));
}

#[test]
fn text_in_the_script_is_a_module_too_and_a_workspace_has_a_state_of_its_own() {
    let sandbox = sandbox();
    let main =
        "main: |\n  resource \"terraform_data\" \"a\" {{}}\n  output \"id\" {{\n    value = \"x\"\n  }}\n";
    let apply = task("apply", &[], "apply", &format!("name: n\nworkspace: dev\n{main}"));
    write_dag(&sandbox, &[apply, task("destroy", &["apply"], "destroy", "name: n\nworkspace: dev\n")]);
    let ended = in_time(sandbox.command(&RUN)).expect_status(0);
    assert_eq!(end_of(&ended, "apply")["result"], json!({"id": "x"}));
    assert_eq!(end_of(&ended, "destroy")["metrics"]["destroyed"], 1);
    assert!(sandbox.path().join(".oxidag-terraform/d/n/terraform.tfstate.d/dev/terraform.tfstate").is_file());
}

#[test]
fn a_module_that_is_wrong_fails_with_what_terraform_says() {
    let sandbox = sandbox();
    sandbox.write("m/main.tf", MODULE);
    write_dag(
        &sandbox,
        &[task("apply", &[], "apply", "module: m\n"), task("none", &[], "apply", "module: n\n")],
    );
    let ended = in_time(sandbox.command(&RUN)).expect_status(1);
    let end = end_of(&ended, "apply");
    let message = end["error"]["message"].as_str().unwrap();
    assert_eq!(end["error"]["kind"], "failed");
    assert!(
        message
            .starts_with("`terraform plan` ended with exit status 1: Error: No value for required variable"),
        "{message}"
    );
    assert_eq!(end_of(&ended, "none")["error"]["kind"], "invalid");
}

#[test]
fn a_program_that_is_not_there_is_asked_for() {
    let sandbox = sandbox();
    sandbox.write("m/main.tf", MODULE);
    write_dag(&sandbox, &[task("apply", &[], "apply", "module: m\n")]);
    let mut command = sandbox.command(&RUN);
    command.env("PATH", "/nowhere");
    let end = end_of(&in_time(command).expect_status(1), "apply");
    assert_eq!(
        end["error"]["message"],
        "`terraform` or `tofu` is not on PATH: install it, or set `program` in the engine's config to where it is"
    );
}

/// A folder with nothing but a program `tofu` in it, which is Terraform's: OpenTofu's is called the same way.
fn tofu(sandbox: &Sandbox) -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap();
    let mut programs = std::env::split_paths(&folders).map(|folder| folder.join("terraform"));
    let terraform = programs.find(|path| path.is_file()).unwrap();
    let folder = sandbox.path().join("bin");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(terraform, folder.join("tofu")).unwrap();
    folder
}

#[test]
fn tofu_is_found_where_there_is_no_terraform() {
    let sandbox = sandbox();
    sandbox.write("m/main.tf", MODULE);
    let apply = task("apply", &[], "apply", "module: m\nvariables: {{size: 3}}\n");
    write_dag(&sandbox, &[apply, task("wrong", &["apply"], "apply", "module: m\n")]);
    let folder = tofu(&sandbox);
    let mut command = sandbox.command(&RUN);
    command.env("PATH", &folder);
    let ended = in_time(command).expect_status(1);
    assert_eq!(end_of(&ended, "apply")["result"], json!({"size": 3}));
    let program = folder.join("tofu").display().to_string();
    assert!(log_of(&sandbox, "apply").contains(&format!("{program} in ")), "{}", log_of(&sandbox, "apply"));
    let wrong = end_of(&ended, "wrong");
    let message = wrong["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("`tofu plan` ended with exit status 1"), "{message}");
}

#[test]
fn tofu_is_taken_where_the_script_or_the_config_says_so() {
    let sandbox = sandbox();
    sandbox.write("m/main.tf", MODULE);
    let folder = tofu(&sandbox);
    let program = folder.join("tofu").display().to_string();
    // Terraform is there, too, and comes first.
    let path = format!("{}:{}", std::env::var("PATH").unwrap(), folder.display());
    let module = "module: m\nvariables: {{size: 3}}\n";
    let run = |id: &str, more: &str| {
        write_dag(&sandbox, &[task("apply", &[], "apply", &format!("{module}{more}"))]);
        let mut command = sandbox.command(&["run", "dag.json", "--run-id", id, "--format", "json"]);
        command.env("PATH", &path);
        in_time(command).expect_status(0).stdout
    };
    assert!(run("script", "program: tofu\n").contains(&format!("{program} in ")));
    let plugins = fs::read_to_string(sandbox.path().join("plugins.toml")).unwrap();
    sandbox.write("plugins.toml", &format!("{plugins}[engines.iac.config]\nprogram = \"tofu\"\n"));
    assert!(run("config", "").contains(&format!("{program} in ")));
    assert!(!run("other", "program: terraform\n").contains(&program), "the script's word counts");
}

#[test]
fn a_state_that_is_locked_is_waited_for_and_then_a_passing_fault() {
    let sandbox = sandbox();
    sandbox.write("m/main.tf", SLOW);
    write_dag(&sandbox, &[task("apply", &[], "apply", "module: m\nlock_timeout: 1s\n")]);
    let mut first = Running::start(sandbox.command(&RUN));
    until("its begin", || sandbox.path().join("m/begun").exists());
    let other = ["run", "dag.json", "--run-id", "other", "--format", "json"];
    let mut second = Running::start(sandbox.command(&other));
    let failed =
        second.until(|event| event["event"] == "task_state" && event["error"]["kind"] == "transient");
    assert!(
        failed["error"]["message"].as_str().unwrap().contains("Error acquiring the state lock"),
        "{failed:#}"
    );
    sandbox.write("m/go", "");
    first.end().expect_status(0);
}

#[test]
fn a_task_that_is_cancelled_interrupts_terraform_which_stops() {
    let sandbox = sandbox();
    sandbox.write("m/main.tf", SLOW);
    write_dag(&sandbox, &[task("apply", &[], "apply", "module: m\n")]);
    let mut run = Running::start(sandbox.command(&RUN));
    until("its begin", || sandbox.path().join("m/begun").exists());
    in_time(sandbox.command(&["runs", "cancel", "r"])).expect_status(0);
    let ended = run.end().expect_status(130);
    let end = end_of(&ended, "apply");
    let message = end["error"]["message"].as_str().unwrap_or_else(|| panic!("{end:#}"));
    assert!(message.contains("`terraform apply` was interrupted and has stopped"), "{message}");
    assert!(!sandbox.path().join("m/.terraform.tfstate.lock.info").exists(), "the state is locked");
    assert!(!sandbox.path().join("m/made").exists());
}

#[test]
fn a_deadline_interrupts_terraform() {
    let sandbox = sandbox();
    sandbox.write("m/main.tf", SLOW);
    let mut apply = task("apply", &[], "apply", "module: m\n");
    // Long enough for its plan on a busy machine; the apply never ends by itself.
    apply["timeout"] = "30s".into();
    write_dag(&sandbox, &[apply]);
    let ended = in_time(sandbox.command(&RUN)).expect_status(1);
    let end = end_of(&ended, "apply");
    assert_eq!(end["state"], "failed");
    assert!(end["error"]["message"].as_str().unwrap().contains("timeout"), "{end:#}");
    assert!(sandbox.path().join("m/begun").exists(), "it was not applied in time");
    assert!(!sandbox.path().join("m/made").exists());
    assert!(!sandbox.path().join("m/.terraform.tfstate.lock.info").exists(), "the state is locked");
}

#[test]
fn terraform_outlives_a_scheduler_that_is_killed_and_is_waited_for() {
    let sandbox = sandbox();
    sandbox.write("m/main.tf", SLOW);
    write_dag(&sandbox, &[task("apply", &[], "apply", "module: m\n")]);
    let run = Running::start(sandbox.command(&RUN));
    until("its begin", || sandbox.path().join("m/begun").exists());
    run.kill();
    let data = format!("TF_DATA_DIR={}/m/", sandbox.path().canonicalize().unwrap().display());
    assert!(carrying(&data) > 0, "terraform ended as well");
    let mut resumed = Running::start(sandbox.command(&["resume", "r", "--format", "json"]));
    resumed.until(|event| event.to_string().contains("an earlier scheduler left the program running"));
    sandbox.write("m/go", "");
    let ended = resumed.end().expect_status(0);
    assert_eq!(fs::read_to_string(sandbox.path().join("m/made")).unwrap(), "x\n", "made twice");
    assert_eq!(end_of(&ended, "apply")["metrics"]["added"], 0, "a second plan finds it made");
}

#[test]
fn what_outlived_its_scheduler_is_interrupted_when_the_resumed_run_is_cancelled() {
    let sandbox = sandbox();
    sandbox.write("m/main.tf", SLOW);
    write_dag(&sandbox, &[task("apply", &[], "apply", "module: m\n")]);
    let run = Running::start(sandbox.command(&RUN));
    until("its begin", || sandbox.path().join("m/begun").exists());
    run.kill();
    let mut resumed = Running::start(sandbox.command(&["resume", "r", "--format", "json"]));
    resumed.until(|event| event.to_string().contains("an earlier scheduler left the program running"));
    in_time(sandbox.command(&["runs", "cancel", "r"])).expect_status(0);
    let end = end_of(&resumed.end().expect_status(130), "apply");
    let message = end["error"]["message"].as_str().unwrap_or_else(|| panic!("{end:#}"));
    assert!(message.contains("was interrupted and has stopped"), "{message}");
    assert!(!sandbox.path().join("m/.terraform.tfstate.lock.info").exists(), "the state is locked");
}

#[test]
fn a_secret_variable_is_in_no_command_line_log_or_store_and_its_file_goes_even_after_a_crash() {
    let sandbox = sandbox();
    let variable = "variable \"password\" {\n  type      = string\n  sensitive = true\n}\n";
    sandbox.write("m/main.tf", &format!("{variable}{SLOW}"));
    let more = "module: m\nvariables:\n  password: \"{DB_password}\"\n";
    let mut apply = task("apply", &[], "apply", more);
    apply["params"] = json!({"**DB_password": ""});
    write_dag(&sandbox, &[apply]);
    let scratch = sandbox.path().join("tmp");
    fs::create_dir(&scratch).unwrap();
    let command = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("TMPDIR", &scratch);
        command
    };
    let run = Running::start(command(&RUN));
    until("its begin", || sandbox.path().join("m/begun").exists());
    for process in fs::read_dir("/proc").unwrap().flatten() {
        // A process that has ended meanwhile shows nothing.
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(SECRET), "{}", process.path().display());
    }
    run.kill();
    let left = || fs::read_dir(&scratch).unwrap().flatten().filter(|left| left.path().is_dir()).count();
    assert_eq!(left(), 1, "the folder of the attempt, which the crash left");
    sandbox.write("m/go", "");
    let ended = in_time(command(&["resume", "r", "--format", "json"])).expect_status(0);
    assert_eq!(left(), 0);
    assert!(!ended.stdout.contains(SECRET) && !ended.stderr.contains(SECRET));
    assert_clean(&sandbox.home());
}

#[track_caller]
fn assert_clean(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            assert_clean(&entry.path());
        } else {
            let content = fs::read(entry.path()).unwrap();
            let text = String::from_utf8_lossy(&content);
            assert!(!text.contains(SECRET), "{}", entry.path().display());
        }
    }
}

#[test]
fn a_program_that_does_not_stop_is_ended_and_what_that_may_mean_is_told() {
    let sandbox = sandbox();
    // In the program's place, for the program itself does stop.
    let stubborn = "#!/bin/sh\n[ \"$1\" = apply ] || exit 0\ntrap '' INT\ntouch begun\n\
                    while [ -e main.tf ]; do sleep 0.05; done\n";
    let program = sandbox.write("stubborn", stubborn);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let plugins = fs::read_to_string(sandbox.path().join("plugins.toml")).unwrap();
    sandbox.write("plugins.toml", &format!("{plugins}[engines.iac.config]\nprogram = {program:?}\n"));
    sandbox.write("m/main.tf", "");
    write_dag(&sandbox, &[task("apply", &[], "apply", "module: m\n")]);
    let mut run = Running::start(sandbox.command(&RUN));
    until("its begin", || sandbox.path().join("m/begun").exists());
    in_time(sandbox.command(&["runs", "cancel", "r"])).expect_status(0);
    let end = end_of(&run.end().expect_status(130), "apply");
    let message = end["error"]["message"].as_str().unwrap_or_else(|| panic!("{end:#}"));
    assert!(message.contains("`stubborn apply` did not stop when it was interrupted"), "{message}");
    assert!(message.contains("`force-unlock`"), "{message}");
}
