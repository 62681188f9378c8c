//! What a notice says, as JSON. No I/O.

use oxidag_core::spec::NotifyOn;
use oxidag_core::state::{RunState, TaskState};
use oxidag_core::store::{RunDetails, TaskDetails};
use serde_json::{Value, json};

/// At most this many failed tasks are listed.
const LISTED: usize = 20;

/// What the end of a run in this state is called, if there are notices of it.
pub(crate) fn of_end(state: RunState) -> Option<NotifyOn> {
    match state {
        RunState::Success => Some(NotifyOn::Success),
        RunState::Failed => Some(NotifyOn::Failure),
        RunState::Running | RunState::Cancelled => None,
    }
}

/// In a word.
pub(super) fn word(on: NotifyOn) -> &'static str {
    match on {
        NotifyOn::Success => "success",
        NotifyOn::Failure => "failure",
        NotifyOn::Deadline => "deadline",
    }
}

/// What a target is told. Times and errors are written as `runs show --json` writes them.
///
/// Tasks that failed because of another one are not listed; those that were stopped come after those that failed.
pub(crate) fn payload(on: NotifyOn, run: &RunDetails) -> Value {
    let of = |state| run.tasks.iter().filter(move |task| task.state == state);
    let stopped = of(TaskState::Cancelled).filter(|task| task.error.is_some());
    let failed: Vec<&TaskDetails> = of(TaskState::Failed).chain(stopped).collect();
    let task =
        |task: &&TaskDetails| json!({"task_id": task.task_id, "state": task.state, "error": task.error});
    let listed: Vec<Value> = failed.iter().take(LISTED).map(task).collect();
    let head = json!(run.head);
    json!({
        "event": format!("run_{}", word(on)),
        "run_id": head["run_id"],
        "dag_id": head["dag_id"],
        "state": head["state"],
        "started_at": head["started_at"],
        "finished_at": head["finished_at"],
        "error": head["error"],
        "more": failed.len() - listed.len(),
        "failed_tasks": listed,
        "url": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxidag_core::event::{Failure, FailureKind, Timestamp};
    use oxidag_core::store::RunHead;

    fn failure(message: &str) -> Option<Failure> {
        Some(Failure { kind: FailureKind::Failed, message: message.to_owned() })
    }

    fn task(id: &str, state: TaskState, error: Option<Failure>) -> TaskDetails {
        TaskDetails {
            task_id: id.to_owned(),
            grown_from: None,
            engine: "shell".to_owned(),
            state,
            scheduled_at: None,
            started_at: None,
            finished_at: None,
            error,
            result: None,
            attempts: Vec::new(),
        }
    }

    fn run(state: RunState, tasks: Vec<TaskDetails>) -> RunDetails {
        RunDetails {
            growth: Vec::new(),
            head: RunHead {
                run_id: "r1".to_owned(),
                dag_id: "flights".to_owned(),
                state,
                started_at: Timestamp(1_795_373_045_123_456),
                finished_at: (state != RunState::Running).then_some(Timestamp(1_795_373_046_000_000)),
                interrupted: false,
                owner: None,
                error: None,
                unread: None,
            },
            environment: None,
            plugins: None,
            dag_path: "dag.yaml".to_owned(),
            dag_source: String::new(),
            params: Value::Null,
            script_cache: None,
            tasks,
        }
    }

    #[test]
    fn a_failure_names_the_tasks_that_failed_and_why() {
        let tasks = vec![
            task("stopped", TaskState::Cancelled, failure("cancelled: the script ended with SIGTERM")),
            task("never", TaskState::Cancelled, None),
            task("good", TaskState::Success, None),
            task("load", TaskState::Failed, failure("exit status 3: no such table")),
            task("after", TaskState::UpstreamFailed, None),
        ];
        let told = payload(NotifyOn::Failure, &run(RunState::Failed, tasks));
        insta::assert_snapshot!(format!("{told:#}"), @r#"
        {
          "dag_id": "flights",
          "error": null,
          "event": "run_failure",
          "failed_tasks": [
            {
              "error": {
                "kind": "failed",
                "message": "exit status 3: no such table"
              },
              "state": "failed",
              "task_id": "load"
            },
            {
              "error": {
                "kind": "failed",
                "message": "cancelled: the script ended with SIGTERM"
              },
              "state": "cancelled",
              "task_id": "stopped"
            }
          ],
          "finished_at": "2026-11-22T18:44:06.000000Z",
          "more": 0,
          "run_id": "r1",
          "started_at": "2026-11-22T18:44:05.123456Z",
          "state": "failed",
          "url": null
        }
        "#);
    }

    #[test]
    fn a_run_that_is_late_has_not_ended() {
        let told = payload(NotifyOn::Deadline, &run(RunState::Running, Vec::new()));
        insta::assert_snapshot!(format!("{told:#}"), @r#"
        {
          "dag_id": "flights",
          "error": null,
          "event": "run_deadline",
          "failed_tasks": [],
          "finished_at": null,
          "more": 0,
          "run_id": "r1",
          "started_at": "2026-11-22T18:44:05.123456Z",
          "state": "running",
          "url": null
        }
        "#);
    }

    #[test]
    fn of_many_failed_tasks_only_the_first_are_named() {
        let tasks = (0..25).map(|i| task(&format!("t{i}"), TaskState::Failed, failure("no")));
        let told = payload(NotifyOn::Failure, &run(RunState::Failed, tasks.collect()));
        assert_eq!((told["failed_tasks"].as_array().unwrap().len(), &told["more"]), (20, &json!(5)));
        assert_eq!(told["failed_tasks"][19]["task_id"], "t19");
    }

    #[test]
    fn there_is_no_notice_of_a_run_that_was_cancelled() {
        let told: Vec<_> = RunState::ALL.into_iter().map(of_end).collect();
        assert_eq!(told, [None, Some(NotifyOn::Success), Some(NotifyOn::Failure), None]);
    }
}
