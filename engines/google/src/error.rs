//! From Google's errors to the kinds that the host knows.

use google_cloud_gax::client_builder::Error as BuilderError;
use google_cloud_gax::error::Error as Gax;
use google_cloud_gax::error::rpc::{Code, StatusDetails};
use oxidag_plugin_api::{Error, ErrorKind};

/// The error of a call, with what was about to be done: "cannot start the job: …".
#[must_use]
pub fn from_gax(doing: &str, error: &Gax) -> Error {
    Error::new(kind(error), format!("{doing}: {}", message(error)))
}

/// Why a client could not be built.
#[must_use]
pub fn from_builder(error: &BuilderError) -> Error {
    Error::invalid(format!("no client can be made: {error}; check the credentials and the endpoint"))
}

/// The service's own word for what went wrong, such as `duplicate` or `notFound`.
#[must_use]
pub fn reason(error: &Gax) -> Option<&str> {
    error.status()?.details.iter().find_map(|detail| match detail {
        StatusDetails::ErrorInfo(info) => Some(info.reason.as_str()),
        _ => None,
    })
}

/// Whether the account is not taken, or may not do this. That may pass, since rights and keys take time to spread, and
/// whoever changed them may change them back.
#[must_use]
pub fn is_refusal(error: &Gax) -> bool {
    let code = error.status().map(|status| status.code);
    let refused = matches!(error.http_status_code(), Some(401 | 403))
        || matches!(code, Some(Code::Unauthenticated | Code::PermissionDenied))
        || error.is_authentication();
    refused && kind(error) == ErrorKind::Invalid
}

/// Whether the service, or what lies between, is at fault: the same call may do later.
pub(crate) fn is_fault(error: &Gax) -> bool {
    // The older APIs, BigQuery's among them, say with a 403 what the newer ones say with a 429.
    if reason(error).is_some_and(|reason| matches!(reason, "rateLimitExceeded" | "userRateLimitExceeded")) {
        return true;
    }
    match (error.http_status_code(), error.status()) {
        (Some(status), _) if status == 408 || status == 429 || status >= 500 => true,
        (_, Some(status)) => matches!(
            status.code,
            Code::Unavailable
                | Code::ResourceExhausted
                | Code::Internal
                | Code::Aborted
                | Code::DeadlineExceeded
        ),
        (Some(_), None) => false,
        // No answer at all: a broken connection or a timeout, unless the call never left.
        (None, None) => {
            !(error.is_authentication()
                || error.is_binding()
                || error.is_serialization()
                || error.is_deserialization())
        }
    }
}

fn kind(error: &Gax) -> ErrorKind {
    if is_fault(error) || error.is_transient_and_before_rpc() {
        return ErrorKind::Transient;
    }
    let code = error.status().map(|status| status.code);
    match (error.http_status_code(), code) {
        // A 400 too, but what is asked for is right, and may be possible later: a cluster that is stopped takes no jobs.
        (_, Some(Code::FailedPrecondition)) => ErrorKind::Failed,
        (Some(400 | 401 | 403), _)
        | (_, Some(Code::InvalidArgument | Code::Unauthenticated | Code::PermissionDenied)) => {
            ErrorKind::Invalid
        }
        _ if error.is_authentication() || error.is_binding() || error.is_serialization() => {
            ErrorKind::Invalid
        }
        _ => ErrorKind::Failed,
    }
}

fn message(error: &Gax) -> String {
    let text = match (error.status(), error.http_status_code()) {
        (Some(status), code) if !status.message.is_empty() => {
            let code = code.map_or_else(|| status.code.to_string(), |code| code.to_string());
            format!("{} ({code})", status.message.trim_end_matches('.'))
        }
        (_, Some(code)) => format!("the service answered {code}"),
        _ => error.to_string(),
    };
    let help = match error.http_status_code() {
        Some(401) => "; check the credentials",
        Some(403) => "; the account may not do this",
        _ => "",
    };
    text + help
}

#[cfg(test)]
mod tests {
    use super::*;
    use google_cloud_gax::error::CredentialsError;
    use google_cloud_gax::error::rpc::Status;
    use serde_json::json;

    #[test]
    fn kinds_follow_from_who_is_at_fault() {
        let http = |status| {
            from_gax("cannot start the job", &Gax::http(status, Default::default(), Default::default()))
        };
        for (status, kind) in [
            (400, ErrorKind::Invalid),
            (401, ErrorKind::Invalid),
            (403, ErrorKind::Invalid),
            (404, ErrorKind::Failed),
            (409, ErrorKind::Failed),
            (429, ErrorKind::Transient),
            (503, ErrorKind::Transient),
        ] {
            assert_eq!(http(status).kind, kind, "{status}");
        }
        let refused = |reason| {
            let info = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason});
            let status =
                Status::default().set_details([serde_json::from_value::<StatusDetails>(info).unwrap()]);
            from_gax("x", &Gax::service_with_http_metadata(status, Some(403), None)).kind
        };
        let is_refusal =
            |status| super::is_refusal(&Gax::http(status, Default::default(), Default::default()));
        assert_eq!([400, 401, 403, 404, 503].map(is_refusal), [false, true, true, false, false]);
        assert!(super::is_refusal(&Gax::authentication(CredentialsError::from_msg(false, "no key"))));
        let stopped = Status::default().set_code(Code::FailedPrecondition);
        let stopped = Gax::service_with_http_metadata(stopped, Some(400), None);
        assert_eq!(from_gax("x", &stopped).kind, ErrorKind::Failed);
        assert_eq!(refused("accessDenied"), ErrorKind::Invalid);
        assert_eq!(refused("rateLimitExceeded"), ErrorKind::Transient);
        assert_eq!(from_gax("x", &Gax::timeout("late")).kind, ErrorKind::Transient);
        assert_eq!(from_gax("x", &Gax::ser("odd")).kind, ErrorKind::Invalid);
        insta::assert_snapshot!(http(401), @"cannot start the job: the service answered 401; check the credentials");
        let status = Status::default().set_code(Code::NotFound).set_message("Not found: Dataset a:b.");
        insta::assert_snapshot!(from_gax("cannot look at the job", &Gax::service(status)), @"cannot look at the job: Not found: Dataset a:b (NOT_FOUND)");
    }
}
