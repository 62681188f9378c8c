//! Looks at a script without running it: what BigQuery says of it, and how much it would read.

use google_cloud_bigquery_v2::model::Job;
use google_cloud_gax::error::Error as Gax;
use oxidag_plugin_api::{Finding, Severity};

use crate::failure;

/// Reasons for which the script would fail as well if it ran.
const WRONG: [&str; 5] =
    ["invalidQuery", "invalid", "bytesBilledLimitExceeded", "required", "notImplemented"];

/// Reasons that an earlier task may take away: it makes what is not there, or drops what is.
const MAY_CHANGE: [&str; 2] = ["notFound", "duplicate"];

/// What a dry run has found.
pub(crate) fn findings(answer: Result<Job, Gax>) -> Vec<Finding> {
    vec![match answer {
        Ok(job) => estimate(&job),
        Err(error) => refusal(&error),
    }]
}

/// A mistake that needs no service to be found.
pub(crate) fn mistake(message: String) -> Finding {
    Finding { severity: Severity::Error, message, line: None, column: None }
}

/// That BigQuery could not be asked says nothing of the script.
pub(crate) fn unchecked(why: &str) -> Finding {
    Finding {
        severity: Severity::Warning,
        message: format!("the script was not checked: {why}"),
        line: None,
        column: None,
    }
}

fn estimate(job: &Job) -> Finding {
    let statistics = job.statistics.clone().unwrap_or_default();
    let kind = statistics.query.clone().map(|query| query.statement_type).unwrap_or_default();
    let message = match statistics.total_bytes_processed {
        // What a later statement reads depends on the earlier ones.
        _ if kind == "SCRIPT" => {
            "a script of several statements, for which BigQuery estimates nothing".to_owned()
        }
        Some(bytes) => format!("would process {bytes} bytes{}", readable(bytes)),
        None => "BigQuery estimates nothing for it".to_owned(),
    };
    Finding { severity: Severity::Info, message, line: None, column: None }
}

fn refusal(error: &Gax) -> Finding {
    let reason = oxidag_google::reason(error).unwrap_or_default();
    let message = error.status().map(|status| status.message.trim_end_matches('.')).unwrap_or_default();
    let place = failure::place(message);
    let placed = |severity, message| Finding {
        severity,
        message,
        line: place.map(|(line, _)| line),
        column: place.map(|(_, column)| column),
    };
    if WRONG.contains(&reason) {
        placed(Severity::Error, message.to_owned())
    } else if MAY_CHANGE.contains(&reason) {
        placed(Severity::Warning, format!("{message}; an earlier task may change that"))
    } else {
        unchecked(&oxidag_google::from_gax("BigQuery refuses a dry run", error).message)
    }
}

/// The same in larger units, where there are enough of them.
fn readable(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = None;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let mut amount = bytes as f64;
    for name in UNITS {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = Some(name);
    }
    unit.map(|name| format!(" ({amount:.1} {name})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use google_cloud_bigquery_v2::model::{JobStatistics, JobStatistics2};
    use google_cloud_gax::error::rpc::{Code, Status};

    use super::*;
    use crate::testing::refused;

    #[test]
    fn an_estimate_is_readable() {
        let job = |bytes: i64, kind: &str| {
            let query = JobStatistics2::new().set_statement_type(kind);
            Job::new().set_statistics(JobStatistics::new().set_total_bytes_processed(bytes).set_query(query))
        };
        let told = |job: Job| findings(Ok(job)).remove(0).message;
        insta::assert_snapshot!(told(job(1000, "SELECT")), @"would process 1000 bytes");
        insta::assert_snapshot!(told(job(5_368_709_120, "SELECT")), @"would process 5368709120 bytes (5.0 GiB)");
        insta::assert_snapshot!(told(job(0, "SCRIPT")), @"a script of several statements, for which BigQuery estimates nothing");
    }

    #[test]
    fn a_mistake_has_its_place_and_what_is_missing_may_come() {
        let finding = |reason, message| findings(Err(refused(400, reason, message))).remove(0);
        let wrong = finding("invalidQuery", "Syntax error: Unexpected end of script at [2:5]");
        assert_eq!((wrong.severity, wrong.line, wrong.column), (Severity::Error, Some(2), Some(5)));
        let missing = finding("notFound", "Not found: Table p:d.t was not found in location US");
        assert_eq!((missing.severity, missing.line), (Severity::Warning, None));
    }

    #[test]
    fn a_service_that_is_away_makes_no_script_wrong() {
        let away = Gax::service(Status::default().set_code(Code::Unavailable).set_message("away"));
        let finding = findings(Err(away)).remove(0);
        assert_eq!(finding.severity, Severity::Warning);
        insta::assert_snapshot!(finding.message, @"the script was not checked: BigQuery refuses a dry run: away (UNAVAILABLE)");
    }
}
