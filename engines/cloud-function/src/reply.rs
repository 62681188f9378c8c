//! What a function answered, and what that makes of the attempt.

use oxidag_plugin_api::{Error, ErrorKind, Host, Level, Outcome, Result};
use serde_json::{Map, Value};

use crate::call::MAY_HAVE_RUN;

/// So much of a reply is kept; more can be no result.
pub(crate) const KEPT: usize = Outcome::MAX_RESULT;

/// So many characters of a reply stand in an error.
const IN_ERROR: usize = 2048;

/// What a function answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Its type, as the function says.
    pub(crate) content_type: String,
    /// Where a redirection leads.
    pub(crate) location: Option<String>,
    /// Google's name for the execution.
    pub(crate) execution: Option<String>,
    /// The body, up to [`KEPT`].
    pub(crate) body: Vec<u8>,
    /// How long the whole body is.
    pub(crate) length: u64,
}

impl Reply {
    /// Whether the same call may do a little later: it was turned away before the function was asked or, where the function
    /// may run twice, what stands before it is at fault.
    pub(crate) fn again(&self, idempotent: bool) -> bool {
        self.status == 429 || idempotent && matches!(self.status, 502 | 503)
    }

    /// Whether what stands before the function is at fault, and does not know what became of it.
    pub(crate) fn may_have_run(&self) -> bool {
        matches!(self.status, 408 | 502..=504)
    }

    /// How the attempt ends, besides what was measured.
    pub(crate) fn end(&self, host: &Host, idempotent: bool) -> Result<Outcome> {
        if !(200..300).contains(&self.status) {
            let error = self.error();
            if idempotent || !self.may_have_run() {
                return Err(error);
            }
            return Err(Error::failed(format!("{}; {MAY_HAVE_RUN}", error.message)));
        }
        let mut outcome = Outcome::default();
        match self.result() {
            Some(Value::Null) => {}
            Some(result) => outcome.result = Some(result),
            None => self.log(host),
        }
        Ok(outcome)
    }

    /// Facts about it.
    pub(crate) fn metrics(&self) -> Map<String, Value> {
        let mut metrics = Map::new();
        metrics.insert("status".to_owned(), self.status.into());
        metrics.insert("response_bytes".to_owned(), self.length.into());
        if let Some(execution) = &self.execution {
            metrics.insert("execution_id".to_owned(), execution.as_str().into());
        }
        metrics
    }

    /// The body as a result: JSON as it is, other text as text; `None` for what is too long or no text.
    fn result(&self) -> Option<Value> {
        let text = self.text()?;
        if text.trim().is_empty() {
            return Some(Value::Null);
        }
        let json: Option<Value> = serde_json::from_str(text).ok();
        // Functions often say `text/html` of JSON that they made themselves; a bare word or number stays text then.
        let as_json = json.filter(|json| self.says_json() || json.is_object() || json.is_array());
        let result = as_json.unwrap_or_else(|| text.into());
        (result.to_string().len() <= Outcome::MAX_RESULT).then_some(result)
    }

    /// The body, if it is whole and text.
    fn text(&self) -> Option<&str> {
        let whole = self.length == self.body.len() as u64;
        std::str::from_utf8(&self.body).ok().filter(|_| whole)
    }

    fn says_json(&self) -> bool {
        let kind = self.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        kind == "application/json" || kind.ends_with("+json")
    }

    /// Writes what is no result to the log, as far as it is text.
    fn log(&self, host: &Host) {
        let kind = if self.content_type.is_empty() { "no type" } else { &self.content_type };
        host.info(&format!(
            "the reply of {} bytes ({kind}) is too long or no text to be the task's result",
            self.length
        ));
        if let Some(text) = beginning(&self.body) {
            host.log(Level::Stdout, &text);
        }
    }

    fn error(&self) -> Error {
        let status = self.status;
        let why = match (status, &self.location) {
            (300..=399, Some(place)) => {
                // What follows is often a key.
                let place = place.split(['?', '#']).next().unwrap_or_default();
                format!("the function answered {status} and points to {place}; call it there")
            }
            (401 | 403, _) => format!(
                "the call was refused with {status}: the account must be allowed to call the function (roles/run.invoker, \
                 or roles/cloudfunctions.invoker for the first generation)"
            ),
            (404, _) => "the function answered 404: there is nothing at its URL".to_owned(),
            (429, _) => {
                "the call was turned away with 429: there are too many, or no instance is free".to_owned()
            }
            (502..=504, _) => format!("the function's service answered {status}"),
            _ => format!("the function answered {status}"),
        };
        let execution = self.execution.as_ref().map_or(String::new(), |id| format!(" (execution {id})"));
        let body = match beginning(&self.body).as_deref().map(str::trim) {
            Some("") => String::new(),
            Some(text) => format!(": {text}"),
            None => format!(": {} bytes that are no text", self.length),
        };
        Error::new(kind_of(status), format!("{why}{execution}{body}"))
    }
}

/// Who is at fault. What the function would answer to the same request again is not tried again.
fn kind_of(status: u16) -> ErrorKind {
    match status {
        408 | 425 | 429 | 502..=504 => ErrorKind::Transient,
        409 | 423 => ErrorKind::Failed,
        400..=499 => ErrorKind::Invalid,
        _ => ErrorKind::Failed,
    }
}

/// The first characters of a text; `None` for what is no text.
fn beginning(body: &[u8]) -> Option<String> {
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        // The last character may be cut off.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&body[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let mut chars = text.chars();
    let mut beginning: String = chars.by_ref().take(IN_ERROR).collect();
    if chars.next().is_some() {
        beginning.push('…');
    }
    Some(beginning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reply(status: u16, content_type: &str, body: &[u8]) -> Reply {
        let (content_type, length) = (content_type.to_owned(), body.len() as u64);
        Reply { status, content_type, body: body.to_vec(), length, ..Reply::default() }
    }

    #[test]
    fn a_reply_is_the_result_as_what_it_is() {
        let result = |content_type: &str, body: &str| reply(200, content_type, body.as_bytes()).result();
        assert_eq!(result("application/json", r#"{"a": 1}"#), Some(json!({"a": 1})));
        assert_eq!(result("application/problem+json; charset=utf-8", "5"), Some(json!(5)));
        assert_eq!(result("text/html; charset=utf-8", r#"{"a": 1}"#), Some(json!({"a": 1})));
        assert_eq!(result("text/html; charset=utf-8", "5"), Some(json!("5")));
        assert_eq!(result("text/plain", "done"), Some(json!("done")));
        assert_eq!(result("application/json", "{not json"), Some(json!("{not json")));
        assert_eq!(result("", ""), Some(json!(null)));
    }

    #[test]
    fn what_is_too_long_or_no_text_is_no_result() {
        assert_eq!(reply(200, "image/png", b"\x89PNG\xff").result(), None);
        // Its quotes take it over the limit.
        assert_eq!(reply(200, "text/plain", &[b'x'; KEPT]).result(), None);
        let cut = Reply { length: KEPT as u64 + 1, ..reply(200, "text/plain", b"x") };
        assert_eq!(cut.result(), None);
    }

    #[test]
    fn kinds_follow_from_the_status() {
        let kind = |status| reply(status, "", b"").error().kind;
        for status in [400, 401, 403, 404, 405, 413, 422] {
            assert_eq!(kind(status), ErrorKind::Invalid, "{status}");
        }
        for status in [302, 409, 500, 501, 505] {
            assert_eq!(kind(status), ErrorKind::Failed, "{status}");
        }
        for status in [408, 429, 502, 503, 504] {
            assert_eq!(kind(status), ErrorKind::Transient, "{status}");
        }
    }

    #[test]
    fn an_error_tells_the_status_and_the_body() {
        let mut failed = reply(500, "text/plain", b"boom\n");
        failed.execution = Some("e1".to_owned());
        insta::assert_snapshot!(failed.error(), @"the function answered 500 (execution e1): boom");
        insta::assert_snapshot!(reply(403, "", b"").error(), @"the call was refused with 403: the account must be allowed to call the function (roles/run.invoker, or roles/cloudfunctions.invoker for the first generation)");
        insta::assert_snapshot!(reply(500, "", b"\xff\xfe").error(), @"the function answered 500: 2 bytes that are no text");
        let mut moved = reply(302, "", b"");
        moved.location = Some("https://a.b/c?key=s3cret#d".to_owned());
        insta::assert_snapshot!(moved.error(), @"the function answered 302 and points to https://a.b/c; call it there");
        let long = "ü".repeat(3000);
        // Cut off in the middle of a character.
        let message = reply(500, "", &long.as_bytes()[..5999]).error().message;
        assert!(message.ends_with("ü…"), "{message}");
        assert_eq!(message.chars().filter(|&c| c == 'ü').count(), IN_ERROR);
    }
}
