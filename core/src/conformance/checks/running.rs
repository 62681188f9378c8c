//! Tasks that run to their end.

use oxidag_plugin_api::abi::End;
use oxidag_plugin_api::{ErrorKind, Severity};
use serde_json::Value;

use super::Checked;
use crate::conformance::Verdict;
use crate::conformance::recorder::Habits;
use crate::conformance::session::Session;

pub(super) fn validate(session: &Session<'_>) -> Checked {
    // Whether it does succeed; an assumed case may not.
    session.works()?;
    let task = session.task(&session.request.cases.success(), "validate");
    let text = serde_json::to_string(&task).unwrap_or_default();
    let findings = session.engine().validate(&text).map_err(|error| {
        Verdict::failed(
            format!("the dry run could not be made, {}", session.say(&error)),
            "return what is wrong with a task as findings; an error only if nothing could be found out",
        )
    })?;
    match findings.iter().find(|finding| finding.severity == Severity::Error) {
        Some(finding) => Err(Verdict::failed(
            format!("a task that succeeds is said to be wrong: {}", session.mask(&finding.message)),
            "let the dry run find only what makes a task fail",
        )),
        None => Ok(format!("{} findings, none of them an error", findings.len())),
    }
}

pub(super) fn success(session: &Session<'_>) -> Checked {
    let case = session.request.cases.success();
    let started = session.start(&session.task(&case, "success"), Habits::default())?;
    let end = started.end()?;
    let outcome = session.expect_success(&case, end)?;
    if let Some(fraction) = started.recorder.seen().wrong_progress {
        return Err(Verdict::failed(
            format!("a progress of {fraction} was told"),
            "tell a fraction from 0 to 1, or none where it is not known",
        ));
    }
    let result = outcome
        .result
        .as_ref()
        .map_or_else(String::new, |result| format!(", with a result of {} bytes", result.to_string().len()));
    Ok(format!("it succeeded{result}"))
}

pub(super) fn failure(session: &Session<'_>) -> Checked {
    let case = session.request.cases.failure.as_ref();
    let case = case.ok_or_else(|| Verdict::not_tested("the cases have no `tasks.failure`"))?;
    match session.run(&session.task(case, "failure"))? {
        End::Outcome(_) => {
            Err(Verdict::failed("a task that should fail succeeded", "mend the engine, or the case"))
        }
        End::Error(error) if !matches!(error.kind, ErrorKind::Failed | ErrorKind::Invalid) => {
            Err(Verdict::failed(
                format!("it ended {}", session.say(&error)),
                "a script's fault is of kind `failed` (or `invalid`, where no retry can help): others are tried again, or not, in vain",
            ))
        }
        End::Error(error) if error.message.trim().is_empty() => {
            Err(Verdict::failed("it failed without a message", "say what is wrong, and what to do"))
        }
        End::Error(error) => Ok(format!("it ended {}", session.say(&error))),
    }
}

pub(super) fn same_key(session: &Session<'_>) -> Checked {
    session.works()?;
    session.succeed("key")?;
    let case = session.request.cases.success();
    let mut again = session.task(&case, "key");
    // As after a crash just before the end was stored.
    again.resumed = true;
    match session.run(&again)? {
        end @ End::Outcome(_) => session.expect_success(&case, end).map(|_| "it succeeded twice".to_owned()),
        End::Error(error) => Err(Verdict::failed(
            format!("the second call under the same key ended {}", session.say(&error)),
            "take up the job that has this key already; a refused second job is the first one, found again",
        )),
    }
}

pub(super) fn completion(session: &Session<'_>) -> Checked {
    session.works()?;
    let cases = &session.request.cases;
    let success = cases.success();
    let all = [Some(&success), cases.failure.as_ref(), cases.panic.as_ref()];
    let mut attempts = 0;
    for (number, case) in all.into_iter().flatten().enumerate() {
        let task = session.task(case, &format!("completion-{number}"));
        let ends = session.start(&task, Habits::default())?.over()?;
        if ends.len() > 1 {
            let seen = format!("an attempt was ended {} times", ends.len());
            return Err(Verdict::failed(seen, "end each attempt once: only the first end counts"));
        }
        attempts += 1;
    }
    Ok(format!("{attempts} attempts, each ended once and let go of"))
}

/// A parameter more.
pub(super) fn with_param(session: &Session<'_>, value: Value, key: &str) -> oxidag_plugin_api::Task {
    let mut task = session.task(&session.request.cases.success(), key);
    task.params.insert("conformance".to_owned(), value);
    task
}
