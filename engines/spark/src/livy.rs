//! Jobs on a server of Livy: its REST interface for batches.
//!
//! Livy gives ids of its own; ours is the batch's name, which Livy lets only one session have. Before a batch is
//! asked for a second time it is looked for by its name, so that a lost reply makes no second one.

use oxidag_google::{Account, Bucket, pause_after};
use oxidag_plugin_api::{Error, ErrorKind, Result, Task};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use crate::config::Config;
use crate::google::{Shared, copy, stored};
use crate::livy_http::{Answer, Http};
use crate::livy_log::Log;
use crate::remote::{End, Look, Remote, Tell};
use crate::source::{Placed, Source};
use crate::work::{Kind, Work, tagged};

/// What a cluster of Livy's reads scripts from; whether it has what it takes for each is its own affair.
const READS: [&str; 9] =
    ["gs://", "hdfs://", "s3a://", "abfs://", "abfss://", "wasbs://", "viewfs://", "http://", "https://"];

/// How often a batch is asked for.
const TRIES: u32 = 7;

/// So many batches a page of the list has, and so many pages are looked through.
const PAGE: u64 = 200;
const PAGES: u64 = 500;

/// A batch, and how it is found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Handle {
    url: String,
    name: String,
    /// Livy's own, once it is known.
    id: Option<u64>,
}

/// A batch of Livy.
pub(crate) struct LivyBatch {
    http: Http,
    handle: Handle,
    script: Placed,
    /// Where the script is copied to, if it is.
    bucket: Option<Bucket>,
    request: Value,
    log: Log,
    /// It was killed by this attempt: that it is gone is then how it ended.
    killed: bool,
}

/// The server's URL. The environment's alone: with it goes a password.
///
/// # Errors
///
/// When there is none.
pub(crate) fn url(config: &Config) -> Result<String> {
    let url = config
        .livy
        .url
        .as_deref()
        .ok_or_else(|| Error::invalid("no server of Livy: set `url` in `[engines.spark.config.livy]`"))?;
    Ok(url.trim_end_matches('/').to_owned())
}

/// Where Livy reads the script.
///
/// # Errors
///
/// When it cannot run or read it.
pub(crate) fn placed(task: &Task, work: &Work, config: &Config) -> Result<Placed> {
    if work.kind == Kind::Sql {
        return Err(Error::invalid(format!(
            "Livy runs no SQL scripts: run {} on another backend, or from a PySpark script",
            task.script.name
        )));
    }
    let source = match Source::of(task, work.kind)? {
        // Hadoop's name for the same place.
        Source::At(uri) => {
            Source::At(uri.strip_prefix("s3://").map_or(uri.clone(), |rest| format!("s3a://{rest}")))
        }
        other => other,
    };
    source.placed(task, work.kind, "Livy", &READS, config.staging.as_deref())
}

impl LivyBatch {
    /// The task's batch; nothing is asked of the server yet.
    ///
    /// # Errors
    ///
    /// When the task is wrong.
    pub(crate) async fn of(task: &Task, work: &Work, config: &Config, shared: &Shared) -> Result<Box<Self>> {
        let handle = match stored(task) {
            Some(handle) => handle,
            // A number is never masked but as a whole.
            None => {
                let id = task.checkpoint.as_ref().and_then(|stored| stored["id"].as_u64());
                Handle { url: url(config)?, name: task.idempotency_key.clone(), id }
            }
        };
        let script = placed(task, work, config)?;
        let bucket = match &script.copy {
            Some(_) => {
                let account = Account::of(task, &config.google)?;
                Some(shared.storage(&account, config).await?)
            }
            None => None,
        };
        let http = Http::new(shared.livy().await?, &handle.url, task)?;
        let request = request(&handle.name, work, task, &script.uri, config);
        Ok(Box::new(Self { http, handle, script, bucket, request, log: Log::default(), killed: false }))
    }

    /// The batch's place below the server's URL, once its id is known.
    fn path(&self) -> Option<String> {
        self.handle.id.map(|id| format!("/batches/{id}"))
    }

    /// The batch by its id: `None` when it is gone. After a restart Livy may give the id to another one.
    async fn get(&self) -> Result<Option<Batch>> {
        let Some(path) = self.path() else { return Ok(None) };
        let answer = self.http.patiently(Method::GET, &path).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let batch: Batch = answer.read("the batch")?;
        Ok(batch.name.as_ref().is_none_or(|name| *name == self.handle.name).then_some(batch))
    }

    /// Looks through the list for the batch's name.
    async fn search(&mut self) -> Result<bool> {
        for page in 0..PAGES {
            let path = format!("/batches?from={}&size={PAGE}", page * PAGE);
            let list: List = self.http.patiently(Method::GET, &path).await?.read("the list of batches")?;
            if let Some(batch) = list.sessions.iter().find(|one| one.name.as_ref() == Some(&self.handle.name))
            {
                self.handle.id = Some(batch.id);
                return Ok(true);
            }
            if list.sessions.is_empty() || (page + 1) * PAGE >= list.total {
                break;
            }
        }
        Ok(false)
    }

    /// Asks for the batch once; `None` when its name is taken.
    async fn ask(&mut self) -> Result<Option<()>> {
        let answer = self.http.once(Method::POST, "/batches", Some(&self.request)).await?;
        if is_taken(&answer, &self.handle.name) {
            return Ok(None);
        }
        if answer.status == 400 && answer.body.contains("too many sessions") {
            return Err(Error::transient(answer.told()));
        }
        let batch: Batch = answer.read("the new batch")?;
        self.handle.id = Some(batch.id);
        Ok(Some(()))
    }
}

impl Remote for LivyBatch {
    fn title(&self) -> String {
        match self.handle.id {
            Some(id) => format!("the batch {id} ({}) of Livy", self.handle.name),
            None => format!("the batch {} of Livy", self.handle.name),
        }
    }

    fn link(&self) -> String {
        match self.handle.id {
            Some(id) => format!("{}/ui/batch/{id}/log", self.handle.url),
            None => format!("{}/ui", self.handle.url),
        }
    }

    fn checkpoint(&self) -> Value {
        let Handle { url, name, id } = &self.handle;
        json!({"backend": "livy", "url": url, "name": name, "id": id})
    }

    async fn find(&mut self) -> Result<bool> {
        // One whose id is known was made; should it be gone, looking at it says so, and no second one is made.
        if self.handle.id.is_some() { Ok(true) } else { self.search().await }
    }

    async fn submit(&mut self) -> Result<bool> {
        if let Some(bucket) = &self.bucket {
            copy(&self.script, bucket).await?;
        }
        for attempt in 1..=TRIES {
            match self.ask().await {
                Ok(Some(())) => return Ok(true),
                Ok(None) if self.search().await? => return Ok(false),
                Ok(None) => {
                    return Err(Error::transient(format!(
                        "Livy says that {} exists, and does not list it",
                        self.title()
                    )));
                }
                Err(error) if error.kind == ErrorKind::Transient && attempt < TRIES => {
                    sleep(pause_after(attempt)).await;
                    if self.search().await? {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(prefixed("cannot submit", &self.title(), error)),
            }
        }
        Err(Error::transient(format!("cannot submit {}", self.title())))
    }

    async fn look(&mut self) -> Result<Look> {
        match self.get().await {
            Ok(Some(batch)) => Ok(look(&batch)),
            Ok(None) if self.killed => Ok(killed()),
            Ok(None) => Ok(gone()),
            Err(error) => Err(prefixed("cannot look at", &self.title(), error)),
        }
    }

    async fn output(&mut self, _ended: bool, tell: Tell<'_>) -> Result<()> {
        let Some(path) = self.path() else { return Ok(()) };
        let answer = self.http.patiently(Method::GET, &format!("{path}/log?from=0&size=100000")).await?;
        if answer.status != 404 {
            tell(self.log.new_lines(answer.read::<Logged>("the log")?.log));
        }
        Ok(())
    }

    /// Livy forgets what it has killed.
    async fn cancel(&mut self) -> Result<bool> {
        if self.handle.id.is_none() && !self.search().await? {
            return Ok(false);
        }
        match self.get().await? {
            None => return Ok(false),
            Some(batch) if look(&batch).end.is_some() => return Ok(true),
            Some(_) => {}
        }
        let path = self.path().unwrap_or_default();
        let answer = self.http.patiently(Method::DELETE, &path).await?;
        if answer.status != 404 {
            answer.read::<Value>("the deletion")?;
        }
        self.killed = true;
        Ok(true)
    }
}

fn prefixed(doing: &str, title: &str, error: Error) -> Error {
    Error { message: format!("{doing} {title}: {}", error.message), ..error }
}

/// A batch as Livy tells of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    id: u64,
    name: Option<String>,
    state: String,
    app_id: Option<String>,
    app_info: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
struct List {
    total: u64,
    sessions: Vec<Batch>,
}

#[derive(Debug, Deserialize)]
struct Logged {
    log: Vec<String>,
}

/// The batch as Livy takes it.
fn request(name: &str, work: &Work, task: &Task, uri: &str, config: &Config) -> Value {
    let mut request = json!({
        "name": name, "file": uri, "args": work.args, "jars": work.jars, "conf": tagged(work, task),
    });
    let more = [
        ("className", &work.main_class),
        ("queue", &config.livy.queue),
        ("proxyUser", &config.livy.proxy_user),
    ];
    for (key, value) in more {
        if let Some(value) = value {
            request[key] = value.as_str().into();
        }
    }
    request
}

/// Whether Livy refuses the batch since there is one of the name.
fn is_taken(answer: &Answer, name: &str) -> bool {
    let says_so =
        ["already exists", "Duplicate session name"].iter().any(|words| answer.body.contains(words));
    matches!(answer.status, 400 | 409) && says_so && answer.body.contains(name)
}

/// Where a batch stands.
fn look(batch: &Batch) -> Look {
    let end = match batch.state.as_str() {
        "success" => Some(End::Succeeded),
        "killed" => Some(End::Cancelled),
        "dead" | "error" => Some(End::Failed(ErrorKind::Failed, format!("its state is `{}`", batch.state))),
        _ => None,
    };
    let mut metrics = Map::new();
    metrics.insert("backend".to_owned(), "livy".into());
    metrics.insert("job_id".to_owned(), batch.id.into());
    if let Some(id) = &batch.app_id {
        metrics.insert("application_id".to_owned(), id.as_str().into());
    }
    let ui = batch.app_info.as_ref().and_then(|info| info.get("sparkUiUrl"));
    if let Some(ui) = ui.filter(|ui| ui.is_string()) {
        metrics.insert("spark_ui".to_owned(), ui.clone());
    }
    Look { state: batch.state.clone(), end, progress: None, metrics }
}

/// A batch that Livy does not know any more: killed, or it ended long ago.
fn gone() -> Look {
    let why = "Livy does not know it any more, and whether it succeeded is unknown";
    let end = Some(End::Failed(ErrorKind::Failed, why.to_owned()));
    Look { state: "gone".to_owned(), end, ..Look::default() }
}

/// A batch that was killed and is gone.
fn killed() -> Look {
    Look { state: "killed".to_owned(), end: Some(End::Cancelled), ..Look::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::tests::{config, task};

    #[test]
    fn a_batch_has_what_the_task_and_the_config_say() {
        let config = config(json!({"livy": {"queue": "etl", "proxy_user": "me"}}));
        let mut task = task(json!({"main_class": "a.B", "spark.jars": "s3a://j.jar", "spark.x": 1}));
        task.script.uri = Some("s3://b/x.jar".to_owned());
        let work = Work::of(&task, &config).unwrap();
        let script = placed(&task, &work, &config).unwrap();
        let request = request("key", &work, &task, &script.uri, &config);
        assert_eq!(
            request,
            json!({
                "name": "key", "file": "s3a://b/x.jar", "args": work.args, "jars": ["s3a://j.jar"],
                "conf": {"spark.x": "1", "spark.yarn.tags": "oxidag-dag=d,oxidag-run=r,oxidag-task=t"}, "className": "a.B", "queue": "etl", "proxyUser": "me",
            })
        );
        assert_eq!(work.args[0], "--params");
    }

    #[test]
    fn what_livy_cannot_do_is_refused() {
        let mut sql = task(json!({}));
        "x.sql".clone_into(&mut sql.script.name);
        let work = Work::of(&sql, &Config::default()).unwrap();
        insta::assert_snapshot!(placed(&sql, &work, &Config::default()).unwrap_err(), @"Livy runs no SQL scripts: run x.sql on another backend, or from a PySpark script");
        insta::assert_snapshot!(url(&Config::default()).unwrap_err(), @"no server of Livy: set `url` in `[engines.spark.config.livy]`");
    }

    #[test]
    fn states_become_ends() {
        let at = |state: &str| {
            let batch = json!({"id": 3, "state": state, "appInfo": {"sparkUiUrl": "http://ui"}});
            look(&serde_json::from_value(batch).unwrap())
        };
        assert_eq!(at("success").end, Some(End::Succeeded));
        assert_eq!(at("killed").end, Some(End::Cancelled));
        for state in ["not_started", "starting", "recovering", "idle", "running", "busy", "shutting_down"] {
            assert_eq!(at(state).end, None, "{state}");
        }
        assert!(matches!(at("dead").end, Some(End::Failed(ErrorKind::Failed, _))));
        assert_eq!(at("running").metrics["spark_ui"], "http://ui");
    }
}
