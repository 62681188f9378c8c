//! One call of a function: a request that takes as long as the function runs. It is made again when the function cannot have
//! run, and else only where the task says that it may run twice.

use std::time::{Duration, Instant};

use google_cloud_auth::credentials::idtoken::IDTokenCredentials;
use oxidag_google::Pace;
use oxidag_plugin_api::{Error, Host, Outcome, Result, Task};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Url, redirect};

use crate::reply::{KEPT, Reply};
use crate::request::shown;
use crate::stage::{Stage, Stages};
use crate::tokens;

/// So often a call is made, in one attempt.
const CALLS: u32 = 6;

/// What is said of a call that may have done its work, and is not made again for that.
pub(crate) const MAY_HAVE_RUN: &str = "the function may have run, so it is not called again: set the parameter `idempotent` if it may be \
                                       called twice with one Idempotency-Key, or give the task `retries` to run it anew";

/// What stands for a character that no header may hold.
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// A client of functions. Without HTTP/2, where all calls of one function would share one connection, and wait
/// for each other beyond a hundred.
///
/// # Errors
///
/// When the machine's certificates cannot be read.
pub(crate) fn client() -> Result<Client> {
    oxidag_google::install_cryptography();
    Client::builder()
        .user_agent(concat!("oxidag-cloud-function/", env!("CARGO_PKG_VERSION")))
        // A redirected POST would become a GET, or take its token elsewhere.
        .redirect(redirect::Policy::none())
        .connect_timeout(Duration::from_secs(15))
        // A function may be silent for an hour, and what lies between forgets silent connections.
        .tcp_keepalive(Duration::from_secs(30))
        // A kept connection may be closed at the other end just when it is used: nobody could tell whether the function ran.
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| Error::invalid(format!("no HTTP client can be made: {}", chain(&error))))
}

/// What is called, and with what.
pub(crate) struct Call<'a> {
    pub(crate) client: &'a Client,
    pub(crate) url: &'a Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) tokens: Option<IDTokenCredentials>,
    pub(crate) timeout: Duration,
    /// It may be made again when the function may have run.
    pub(crate) idempotent: bool,
    /// A scheduler that died may have made it already.
    pub(crate) may_run: bool,
}

/// Why there is no reply.
enum Failure {
    /// The function was not reached.
    Unreached(String),
    /// The connection broke: the function may have been called.
    Broken(String),
    /// The same would happen again.
    Final(Error),
}

impl Call<'_> {
    /// Calls until there is a reply that says something, or often enough.
    pub(crate) async fn run(&self, host: &Host, stages: &Stages) -> Result<Outcome> {
        let begun = Instant::now();
        let calling = Stage::Calling { url: shown(self.url) };
        let mut pace = Pace::new(Duration::from_millis(500), Duration::from_secs(15));
        let mut calls = 0;
        // What a call that was broken off has begun may go on, whatever becomes of the next one.
        let mut may_run = self.may_run;
        let reply = loop {
            calls += 1;
            stages.enter(calling.clone());
            let why = match self.once().await {
                Ok(reply) if !reply.again(self.idempotent) || calls == CALLS => break reply,
                Ok(reply) => {
                    may_run |= reply.may_have_run();
                    format!("was turned away with {}", reply.status)
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Broken(why)) if !self.idempotent => {
                    let url = shown(self.url);
                    return Err(Error::failed(format!(
                        "the call of {url} was broken off: {why}; {MAY_HAVE_RUN}"
                    )));
                }
                Err(Failure::Unreached(why) | Failure::Broken(why)) if calls == CALLS => {
                    return Err(Error::transient(format!("{} cannot be called: {why}", shown(self.url))));
                }
                Err(Failure::Unreached(why)) => format!("did not reach it: {why}"),
                Err(Failure::Broken(why)) => {
                    may_run = true;
                    format!("was broken off: {why}")
                }
            };
            if !may_run {
                stages.enter(Stage::Idle);
            }
            host.warn(&format!("call {calls} {why}; it is made again with the same idempotency key"));
            tokio::time::sleep(pace.pause()).await;
        };
        host.info(&format!("answered {} with {} bytes", reply.status, reply.length));
        let mut metrics = reply.metrics();
        metrics.insert("url".to_owned(), shown(self.url).into());
        metrics.insert("calls".to_owned(), calls.into());
        metrics.insert("request_bytes".to_owned(), self.body.len().into());
        metrics.insert("duration_seconds".to_owned(), begun.elapsed().as_secs_f64().into());
        match reply.end(host, self.idempotent) {
            Ok(outcome) => Ok(Outcome { metrics, ..outcome }),
            Err(error) => Err(Error { metrics, ..error }),
        }
    }

    async fn once(&self) -> Result<Reply, Failure> {
        let mut request = self.client.post(self.url.clone()).timeout(self.timeout);
        if let Some(source) = &self.tokens {
            request = request.bearer_auth(tokens::token(source).await.map_err(Failure::Final)?);
        }
        let request = request.headers(self.headers.clone()).body(self.body.clone());
        let mut response = request.send().await.map_err(|error| self.failure(&error))?;
        let text = |name: &HeaderName| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let mut reply = Reply {
            status: response.status().as_u16(),
            content_type: text(&CONTENT_TYPE).unwrap_or_default(),
            location: text(&LOCATION),
            execution: text(&HeaderName::from_static("function-execution-id")),
            ..Reply::default()
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failure(&error))? {
            reply.length += chunk.len() as u64;
            let room = KEPT - reply.body.len();
            reply.body.extend_from_slice(&chunk[..room.min(chunk.len())]);
        }
        Ok(reply)
    }

    fn failure(&self, error: &reqwest::Error) -> Failure {
        let why = chain(error);
        if error.is_connect() {
            return Failure::Unreached(why);
        }
        if error.is_timeout() {
            let limit = humantime::format_duration(self.timeout);
            return Failure::Final(Error::failed(format!(
                "{} did not answer within {limit}, the engine's `timeout`; the function may still run",
                shown(self.url)
            )));
        }
        if error.is_builder() {
            return Failure::Final(Error::invalid(format!("{} cannot be called: {why}", shown(self.url))));
        }
        Failure::Broken(why)
    }
}

/// What goes with a call: its type, and by what a function knows a call that it has had already.
pub(crate) fn headers(task: &Task) -> HeaderMap {
    let attempt = task.attempt.to_string();
    let texts = [
        ("idempotency-key", &task.idempotency_key),
        ("x-oxidag-dag", &task.dag_id),
        ("x-oxidag-run", &task.run_id),
        ("x-oxidag-task", &task.task_id),
        ("x-oxidag-attempt", &attempt),
    ];
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, text) in texts {
        // Every character is one that a header may hold.
        if let Ok(value) = HeaderValue::from_str(&printable(text)) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}

/// The text with what no header may hold, and `%`, written as in a URL.
fn printable(text: &str) -> String {
    let mut printable = String::new();
    for byte in text.bytes() {
        match byte {
            b'%' | 0..b' ' | 0x7f.. => {
                let [high, low] = [byte >> 4, byte & 15].map(|half| char::from(HEX[usize::from(half)]));
                printable.extend(['%', high, low]);
            }
            _ => printable.push(char::from(byte)),
        }
    }
    printable
}

/// An error with what caused it, without a URL in it that may hold secrets.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let text = text.split(" for url (").next().unwrap_or_default().trim_end_matches('.').to_owned();
        // Some errors tell what caused them themselves.
        if !texts.iter().any(|told| told.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::task_of;
    use serde_json::json;

    #[test]
    fn a_function_can_tell_a_call_that_it_has_had() {
        let mut task = task_of("inline", "f", json!({}));
        task.task_id = "load[über 100%\n]".to_owned();
        let headers = headers(&task);
        assert_eq!(headers["idempotency-key"], "oxidag-k");
        assert_eq!(headers["x-oxidag-task"], "load[%C3%BCber 100%25%0A]");
        assert_eq!(headers["x-oxidag-attempt"], "1");
        assert_eq!(headers["content-type"], "application/json");
    }
}
