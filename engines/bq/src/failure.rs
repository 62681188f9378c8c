//! From BigQuery's reasons to the kinds of errors that the host knows.

use google_cloud_bigquery_v2::model::{ErrorProto, Job, ListFormatJob};
use oxidag_plugin_api::{Error, ErrorKind};

use crate::remote::Handle;

/// The service is at fault, and the same job may succeed later
/// (<https://cloud.google.com/bigquery/docs/error-messages>).
const TRANSIENT: [&str; 8] = [
    "backendError",
    "backendException",
    "internalError",
    "jobBackendError",
    "jobInternalError",
    "jobRateLimitExceeded",
    "rateLimitExceeded",
    "tableUnavailable",
];

/// No attempt of the same task can succeed until somebody changes something.
const INVALID: [&str; 9] = [
    "accessDenied",
    "billingNotEnabled",
    "billingTierLimitExceeded",
    "blocked",
    "bytesBilledLimitExceeded",
    "invalid",
    "invalidUser",
    "notImplemented",
    "required",
];

/// What `invalidQuery` says of a script that cannot be understood. The same reason stands for what goes wrong
/// while a script runs (a division by zero, an `ASSERT`), and then a retry may do.
const NOT_UNDERSTOOD: [&str; 5] =
    ["Syntax error", "Unrecognized name", "Function not found", "No matching signature", "Query parameter"];

/// Why BigQuery ended a job that has ended, if it failed.
pub(crate) fn of(job: &Job) -> Option<&ErrorProto> {
    job.status.as_ref()?.error_result.as_ref()
}

/// The error of a failed job; `statement` is where in a script it failed, if that is known.
pub(crate) fn error(failure: &ErrorProto, statement: Option<&str>, handle: &Handle) -> Error {
    let message = failure.message.trim_end_matches('.');
    let statement = statement.map(|place| format!(", in the statement at {place}")).unwrap_or_default();
    Error::new(
        kind(&failure.reason, message),
        format!("{message}{statement} ({}); job {handle}: {}", failure.reason, handle.link()),
    )
}

/// The kind of error that a reason stands for.
pub(crate) fn kind(reason: &str, message: &str) -> ErrorKind {
    if TRANSIENT.contains(&reason) {
        ErrorKind::Transient
    } else if INVALID.contains(&reason)
        || (reason == "invalidQuery" && NOT_UNDERSTOOD.iter().any(|start| message.starts_with(start)))
    {
        ErrorKind::Invalid
    } else {
        ErrorKind::Failed
    }
}

/// What becomes of a submission that is refused for a reason that may pass: it may come with any status.
pub(crate) fn may_pass(reason: &str) -> Option<ErrorKind> {
    let kind = kind(reason, "");
    (kind == ErrorKind::Transient || reason == "quotaExceeded").then_some(kind)
}

/// The line and column that BigQuery's message names, as in "… at [2:5]".
pub(crate) fn place(message: &str) -> Option<(u32, u32)> {
    let (_, rest) = message.rsplit_once("at [")?;
    let (line, column) = rest.split_once(']')?.0.split_once(':')?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

/// Where in a script the statement stands whose job failed, among the jobs of its statements.
pub(crate) fn statement(children: &[ListFormatJob]) -> Option<String> {
    let failed = children.iter().find(|child| child.error_result.is_some())?;
    let frames = &failed.statistics.as_ref()?.script_statistics.as_ref()?.stack_frames;
    // The leaf comes first; the last frame is the script itself.
    let frame = frames.last()?;
    Some(format!("[{}:{}]", frame.start_line, frame.start_column))
}

#[cfg(test)]
mod tests {
    use google_cloud_bigquery_v2::model::script_statistics::ScriptStackFrame;
    use google_cloud_bigquery_v2::model::{JobStatistics, ScriptStatistics};

    use super::*;

    fn told(reason: &str, message: &str) -> Error {
        let handle = Handle { project: "p".into(), job: "j".into(), location: Some("US".into()) };
        error(&ErrorProto::new().set_reason(reason).set_message(message), None, &handle)
    }

    #[test]
    fn reasons_say_whose_fault_it_is() {
        for (reason, message, kind) in [
            ("invalidQuery", "Syntax error: Unexpected end of script at [1:7]", ErrorKind::Invalid),
            ("invalidQuery", "Division by zero: 1 / 0", ErrorKind::Failed),
            ("accessDenied", "Access Denied", ErrorKind::Invalid),
            ("notFound", "Not found: Table p:d.t", ErrorKind::Failed),
            ("duplicate", "Already Exists: Table p:d.t", ErrorKind::Failed),
            ("resourcesExceeded", "too much", ErrorKind::Failed),
            ("timeout", "too long", ErrorKind::Failed),
            ("quotaExceeded", "too often", ErrorKind::Failed),
            ("stopped", "Job execution was cancelled", ErrorKind::Failed),
            ("bytesBilledLimitExceeded", "Query exceeded limit for bytes billed: 1", ErrorKind::Invalid),
            ("backendError", "", ErrorKind::Transient),
            ("jobRateLimitExceeded", "", ErrorKind::Transient),
            ("tableUnavailable", "", ErrorKind::Transient),
        ] {
            assert_eq!(told(reason, message).kind, kind, "{reason}: {message}");
        }
    }

    #[test]
    fn a_refusal_that_may_pass_is_told_by_its_reason() {
        assert_eq!(may_pass("backendError"), Some(ErrorKind::Transient));
        assert_eq!(may_pass("quotaExceeded"), Some(ErrorKind::Failed));
        assert_eq!(may_pass("accessDenied"), None);
        assert_eq!(may_pass("SERVICE_DISABLED"), None);
    }

    #[test]
    fn a_failure_says_what_where_and_where_to_look() {
        insta::assert_snapshot!(told("invalidQuery", "Division by zero: 1 / 0 at [2:5]."), @"Division by zero: 1 / 0 at [2:5] (invalidQuery); job p:US.j: https://console.cloud.google.com/bigquery?project=p&j=bq:US:j&page=queryresults");
    }

    #[test]
    fn places_are_read_from_messages() {
        assert_eq!(place("Syntax error: Expected \"]\" at [2:5]"), Some((2, 5)));
        assert_eq!(place("look at [this], at [12:1]; and so on"), Some((12, 1)));
        assert_eq!(place("at [x:1]"), None);
        assert_eq!(place("no place"), None);
    }

    #[test]
    fn the_failing_statement_of_a_script_is_found() {
        let frames = [
            ScriptStackFrame::new().set_start_line(1),
            ScriptStackFrame::new().set_start_line(7).set_start_column(3),
        ];
        let statistics =
            JobStatistics::new().set_script_statistics(ScriptStatistics::new().set_stack_frames(frames));
        let child = ListFormatJob::new().set_statistics(statistics);
        assert_eq!(statement(std::slice::from_ref(&child)), None);
        let failed = child.set_error_result(ErrorProto::new());
        assert_eq!(statement(&[ListFormatJob::new(), failed]).as_deref(), Some("[7:3]"));
    }
}
