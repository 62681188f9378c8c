//! Plain HTTP to the servers.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

/// So long no answer takes, unless the server hangs.
const PATIENCE: Duration = Duration::from_secs(60);

static AGENT: LazyLock<Agent> = LazyLock::new(|| {
    let config = Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
    config.proxy(None).build().into()
});

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Its body, if it is a success.
    #[track_caller]
    pub(super) fn success(self) -> Vec<u8> {
        let said = String::from_utf8_lossy(&self.body);
        assert!((200..300).contains(&self.status), "the server answered {}: {said}", self.status);
        self.body
    }

    /// Its body, if it is a success; `None` if there is no such thing.
    #[track_caller]
    pub(super) fn found(self) -> Option<Vec<u8>> {
        (self.status != 404).then(|| self.success())
    }

    /// Its body as JSON, if it is a success.
    #[track_caller]
    pub(super) fn json(self) -> Value {
        let body = self.success();
        let said = String::from_utf8_lossy(&body);
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("not JSON: {e}: {said}"))
    }
}

/// Sends a request; the error says why there is no answer.
pub(super) fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, String> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let sent = match method {
        "GET" => request.body(()).map_err(|e| e.to_string()).map(|request| AGENT.run(request)),
        _ => request.body(body).map_err(|e| e.to_string()).map(|request| AGENT.run(request)),
    };
    let mut response = sent?.map_err(|e| e.to_string())?;
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec().map_err(|e| e.to_string())?;
    Ok(Answer { status, body })
}

/// The same, where a server answers.
///
/// # Panics
///
/// When it does not.
#[track_caller]
pub(super) fn call(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    send(method, url, headers, body).unwrap_or_else(|why| panic!("{method} {url}: {why}"))
}

/// Whether a server answers at all.
pub(super) fn answers(url: &str) -> bool {
    send("GET", url, &[], &[]).is_ok()
}

/// The text as part of a path or query; a slash stays where `slash` says so.
pub(super) fn encoded(text: &str, slash: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'/' if slash => encoded.push('/'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// Posts JSON and returns the JSON that is answered.
///
/// # Panics
///
/// When the answer is no success.
#[track_caller]
pub(super) fn post_json(url: &str, body: &Value) -> Value {
    call("POST", url, &[JSON], body.to_string().as_bytes()).json()
}
