//! Calls to a server of Livy.

use std::time::Duration;

use oxidag_google::pause_after;
use oxidag_plugin_api::{Error, ErrorKind, Result, Task};
use reqwest::{Client, Method};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::sleep;

/// How long a call may take; a batch's submission uploads nothing, but Livy may be slow.
const LONGEST: Duration = Duration::from_secs(60);

/// How often a call is made that changes nothing.
const TRIES: u32 = 6;

/// A server, and who talks to it. Holds a secret, which its `Debug` does not show.
pub(crate) struct Http {
    client: Client,
    url: String,
    user: Option<(String, String)>,
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// A client, whose connections tasks share.
///
/// # Errors
///
/// When it cannot be made.
pub(crate) fn client() -> Result<Client> {
    oxidag_google::install_cryptography();
    let client = Client::builder().timeout(LONGEST).build();
    client.map_err(|e| Error::invalid(format!("cannot make a client for Livy: {e}")))
}

impl Http {
    /// For the task: its connections `LIVY_user` and `LIVY_password` say who asks.
    ///
    /// # Errors
    ///
    /// When one of the two is missing.
    pub(crate) fn new(client: Client, url: &str, task: &Task) -> Result<Self> {
        Ok(Self { client, url: url.to_owned(), user: user(task)? })
    }

    /// Makes a call once. A fault of the server is an error; other answers are the caller's to judge.
    ///
    /// # Errors
    ///
    /// Transient, when there is no answer or it is the server's fault; invalid, when the user is refused.
    pub(crate) async fn once(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut call = self.client.request(method, format!("{}{path}", self.url));
        // Livy asks for it of whatever changes something, when it is protected from forged requests.
        call = call.header("X-Requested-By", "oxidag");
        if let Some((user, password)) = &self.user {
            call = call.basic_auth(user, Some(password));
        }
        if let Some(body) = body {
            call = call.json(body);
        }
        let answer = call.send().await.map_err(|error| unanswered(&error))?;
        let status = answer.status().as_u16();
        let body = answer.text().await.map_err(|error| unanswered(&error))?;
        let answer = Answer { status, body };
        match status {
            408 | 429 | 500.. => Err(Error::transient(answer.told())),
            401 | 403 => Err(Error::invalid(format!(
                "{}; check the connections `**LIVY_user` and `**LIVY_password`",
                answer.told()
            ))),
            _ => Ok(answer),
        }
    }

    /// Makes a call that may be made twice, again and again for some seconds when the server is at fault.
    ///
    /// # Errors
    ///
    /// As [`Http::once`].
    pub(crate) async fn patiently(&self, method: Method, path: &str) -> Result<Answer> {
        for attempt in 1..TRIES {
            match self.once(method.clone(), path, None).await {
                Err(error) if error.kind == ErrorKind::Transient => {
                    sleep(pause_after(attempt)).await;
                }
                answered => return answered,
            }
        }
        self.once(method, path, None).await
    }
}

impl Answer {
    /// What it holds.
    ///
    /// # Errors
    ///
    /// When it says no, or is not what was expected.
    pub(crate) fn read<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        if !(200..300).contains(&self.status) {
            let kind = if self.status == 400 { ErrorKind::Invalid } else { ErrorKind::Failed };
            return Err(Error::new(kind, self.told()));
        }
        serde_json::from_str(&self.body).map_err(|e| {
            Error::failed(format!("{what} is not as Livy writes it: {e}; is `url` that of a Livy?"))
        })
    }

    /// The server's own words, if it has some.
    pub(crate) fn told(&self) -> String {
        let json: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let message = json["msg"].as_str().unwrap_or_else(|| json.as_str().unwrap_or_default());
        match message.trim_end_matches('.') {
            "" => format!("Livy answered {}", self.status),
            message => format!("{message} ({})", self.status),
        }
    }
}

/// The address is in other messages, and the innermost cause says most.
fn unanswered(error: &reqwest::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.is_builder() {
        return Error::invalid(format!("the call to Livy cannot be made: {cause}"));
    }
    Error::transient(format!("Livy does not answer: {cause}"))
}

/// User and password, from the task's connections of these names and no others: a password goes nowhere by chance.
fn user(task: &Task) -> Result<Option<(String, String)>> {
    let of = |wanted: &str| -> Result<Option<String>> {
        let Some(name) = task.connections.iter().find(|name| name.eq_ignore_ascii_case(wanted)) else {
            return Ok(None);
        };
        match task.params.get(name) {
            Some(Value::String(text)) => Ok(Some(text.trim_end_matches('\n').to_owned())),
            _ => Err(Error::invalid(format!("the connection `**{name}` must be text"))),
        }
    };
    match (of("LIVY_user")?, of("LIVY_password")?) {
        (Some(user), Some(password)) => Ok(Some((user, password))),
        (None, None) => Ok(None),
        _ => Err(Error::invalid(
            "a user of Livy is two connections, `**LIVY_user` and `**LIVY_password`: one of them is missing",
        )),
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::tests::task;
    use serde_json::json;

    #[test]
    fn a_user_is_two_connections() {
        let with = |names: &[&str]| {
            let mut task = task(names.iter().map(|name| ((*name).to_owned(), json!("v"))).collect());
            task.connections = names.iter().map(|name| (*name).to_owned()).collect();
            user(&task)
        };
        assert_eq!(with(&[]).unwrap(), None);
        assert!(with(&["LIVY_user", "LIVY_password", "GCP_service-account"]).unwrap().is_some());
        insta::assert_snapshot!(with(&["LIVY_user"]).unwrap_err(), @"a user of Livy is two connections, `**LIVY_user` and `**LIVY_password`: one of them is missing");
        assert_eq!(with(&["DB_user", "DB_password"]).unwrap(), None, "a database's are not sent to Livy");
    }

    #[test]
    fn an_answer_that_says_no_is_told_in_the_servers_words() {
        let answer = |status, body: &str| Answer { status, body: body.to_owned() };
        let error =
            answer(400, r#"{"msg":"requirement failed: Local path"}"#).read::<Value>("x").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        insta::assert_snapshot!(error, @"requirement failed: Local path (400)");
        insta::assert_snapshot!(answer(404, "").read::<Value>("x").unwrap_err(), @"Livy answered 404");
        let page = answer(200, "<html>").read::<Value>("the list").unwrap_err();
        assert!(page.message.contains("is `url` that of a Livy?"), "{page}");
    }
}
