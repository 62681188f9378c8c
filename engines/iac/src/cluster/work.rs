//! An attempt on a cluster: looks, decides, acts, waits, until the goal is reached.

use std::time::Duration;

use google_cloud_dataproc_v1::model::{Cluster, ClusterConfig};
use google_cloud_gax::error::Error as Gax;
use google_cloud_gax::error::rpc::Code;
use google_cloud_longrunning::model::Operation;
use oxidag_google::{Pace, from_gax, is_refusal, request_slot};
use oxidag_plugin_api::{Error, Host, Outcome, Result};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::calls::{self, Calls};
use super::decide::{Goal, Seen, Step, name, next};
use super::patience::{PATIENCE, Patience};
use super::place::{End, Flight, Memory, Verb, workers};
use super::wanted::Maker;
use crate::script::Sizes;

/// A cluster takes a minute or two.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(15);

/// So long a diagnosis may take before a cluster is replaced without it.
const DIAGNOSIS: Duration = Duration::from_secs(10 * 60);

/// So often an operation is refused since the cluster has changed meanwhile, before that is the error.
const REFUSALS: u32 = 5;

/// One attempt.
pub(crate) struct Work {
    pub(crate) host: Host,
    pub(crate) calls: Calls,
    pub(crate) maker: Maker,
    pub(crate) goal: Goal,
    /// What is to be made, for [`Goal::Create`].
    pub(crate) wanted: Cluster,
    /// What the script asks for of it.
    pub(crate) asked: Option<ClusterConfig>,
    pub(crate) memory: Memory,
    /// A request that is on its way; it goes on when the attempt stops waiting for it.
    pub(crate) request: Option<(Verb, JoinHandle<Result<Operation, Gax>>)>,
    pub(crate) told: String,
    pub(crate) pace: Pace,
    pub(crate) refused: u32,
    pub(crate) patience: Patience,
}

impl Work {
    pub(crate) fn new(
        host: Host,
        calls: Calls,
        maker: Maker,
        goal: Goal,
        wanted: Cluster,
        memory: Memory,
    ) -> Self {
        Self {
            host,
            calls,
            maker,
            goal,
            wanted,
            asked: None,
            memory,
            request: None,
            told: String::new(),
            pace: Pace::new(FIRST, LONGEST),
            refused: 0,
            patience: Patience::default(),
        }
    }

    /// Goes on until the goal is reached.
    ///
    /// # Errors
    ///
    /// When it cannot be.
    pub(crate) async fn converge(&mut self) -> Result<Outcome> {
        loop {
            if self.memory.flight.is_some() {
                self.land().await?;
            }
            let seen = self.look().await?;
            match next(&self.goal, seen.as_ref(), &self.memory) {
                Step::Done => return Ok(self.outcome(seen.as_ref())),
                Step::Wait => self.wait(seen.as_ref()).await?,
                Step::Do(verb) => self.act(verb, seen).await?,
                Step::AskWhoMadeIt => return self.gone_already().await,
                Step::Fail(error) => return Err(self.measured(error, seen.as_ref())),
            }
        }
    }

    /// Lets the cluster change by itself; one whose state is not told does that only for a while.
    async fn wait(&mut self, seen: Option<&Seen>) -> Result<()> {
        if self.patience.is_untold_too_long(seen, Instant::now()) {
            let place = &self.memory.place;
            let error = Error::failed(format!(
                "Dataproc has not told the state of {place} for {} min: look at it at {}",
                PATIENCE.as_secs() / 60,
                place.link()
            ));
            return Err(self.measured(error, seen));
        }
        self.pause().await;
        Ok(())
    }

    /// The cluster as it is; `None` when there is none.
    pub(crate) async fn look(&mut self) -> Result<Option<Seen>> {
        let calls = self.calls.clone();
        let doing = format!("cannot look at {}", self.memory.place);
        let cluster = self.patiently(&doing, || calls.clone().look()).await?;
        let seen = cluster.map(|cluster| self.maker.seen(cluster, self.asked.as_ref()));
        let state = seen.as_ref().map_or_else(|| "not there".to_owned(), |seen| name(&seen.state()));
        self.tell(&format!("{} is {state}", self.memory.place));
        Ok(seen)
    }

    /// Waits until the operation that is under way has ended.
    async fn land(&mut self) -> Result<()> {
        let since = Instant::now();
        while let Some(Flight { verb, id }) = self.memory.flight.clone() {
            let Some(operation) = self.operation(&id).await? else {
                self.host
                    .warn(&format!("operation {id} is not known any more: looking at the cluster itself"));
                self.memory.flight = None;
                return self.store();
            };
            if operation.done {
                return self.landed(verb, &operation);
            }
            if verb == Verb::Diagnose && since.elapsed() > DIAGNOSIS {
                let message = format!("it took longer than {} s", DIAGNOSIS.as_secs());
                return self.ended(verb, End::Failed { code: 4, message });
            }
            self.tell(&format!("{} waits for operation {id} ({})", self.memory.place, verb.name()));
            self.pause().await;
        }
        Ok(())
    }

    /// An operation; `None` when Dataproc does not know it any more.
    pub(crate) async fn operation(&mut self, id: &str) -> Result<Option<Operation>> {
        let calls = self.calls.clone();
        let doing = format!("cannot look at operation {id} of {}", self.memory.place);
        self.patiently(&doing, || calls.clone().operation(id.to_owned())).await
    }

    /// Takes note of how an operation ended.
    pub(crate) fn landed(&mut self, verb: Verb, operation: &Operation) -> Result<()> {
        if verb == Verb::Diagnose
            && let Some(uri) = calls::diagnosis(operation)
        {
            self.host.info(&format!("the diagnosis of the cluster is in {uri}"));
            self.memory.diagnosis = Some(uri);
        }
        let end = match operation.error() {
            Some(status) => End::Failed { code: status.code, message: status.message.clone() },
            None => End::Done,
        };
        self.ended(verb, end)
    }

    fn ended(&mut self, verb: Verb, end: End) -> Result<()> {
        if let End::Failed { message, .. } = &end {
            self.host.warn(&format!("to {} {} has failed: {message}", verb.name(), self.memory.place));
            if verb == Verb::Diagnose {
                self.host.warn("the cluster is replaced without its diagnosis");
            }
        }
        self.memory.ended.push((verb, end));
        self.memory.flight = None;
        self.quicken();
        self.store()
    }

    async fn act(&mut self, verb: Verb, seen: Option<Seen>) -> Result<()> {
        let uuid = seen.map(|seen| seen.cluster.cluster_uuid).unwrap_or_default();
        if verb == Verb::Delete {
            self.memory.deleting = Some(uuid.clone());
            self.store()?;
        }
        self.send(verb, uuid);
        self.sent().await
    }

    /// Sends a request, on a task of its own: a request that is dropped half-way might be carried out unseen.
    pub(crate) fn send(&mut self, verb: Verb, uuid: String) {
        let calls = self.calls.clone();
        let wanted = self.wanted.clone();
        let sizes = match self.goal {
            Goal::Scale(sizes) => sizes,
            _ => Sizes::default(),
        };
        let request = tokio::spawn(async move {
            match verb {
                Verb::Create => calls.create(wanted).await,
                Verb::Start => calls.start(uuid).await,
                Verb::Stop => calls.stop(uuid).await,
                Verb::Update => calls.scale(sizes).await,
                Verb::Diagnose => calls.diagnose().await,
                Verb::Delete => calls.delete(uuid).await,
            }
        });
        self.request = Some((verb, request));
    }

    /// Waits for the answer to the request that is on its way, if one is.
    pub(crate) async fn sent(&mut self) -> Result<()> {
        let Some((verb, request)) = &mut self.request else { return Ok(()) };
        let verb = *verb;
        let answer = request.await;
        self.request = None;
        let doing = format!("cannot {} {}", verb.name(), self.memory.place);
        match answer {
            Ok(Ok(operation)) => self.begun(verb, &operation),
            Ok(Err(error)) if verb == Verb::Diagnose => {
                let error = from_gax("cannot be begun", &error);
                self.ended(verb, End::Failed { code: 13, message: error.message })
            }
            // It has changed since it was looked at.
            Ok(Err(error)) if has_changed(&error) && self.refused < REFUSALS => {
                self.refused += 1;
                self.host.info(&format!("{}; looking again", from_gax(&doing, &error)));
                self.pause().await;
                Ok(())
            }
            Ok(Err(error)) => Err(from_gax(&doing, &error)),
            Err(error) => Err(Error::transient(format!("{doing}: the request broke off: {error}"))),
        }
    }

    fn begun(&mut self, verb: Verb, operation: &Operation) -> Result<()> {
        let id = calls::id(operation);
        let place = &self.memory.place;
        self.host.info(&format!("asked to {} {place}: operation {id}; {}", verb.name(), place.link()));
        self.memory.operation = Some(id.clone());
        self.memory.flight = Some(Flight { verb, id });
        self.quicken();
        self.store()
    }

    /// A cluster that is to be deleted is not there: well if this DAG had made it.
    async fn gone_already(&mut self) -> Result<Outcome> {
        let mut token = String::new();
        let mut last: Option<((i64, i32), String, bool)> = None;
        loop {
            let calls = self.calls.clone();
            let doing = format!("cannot look for who made {}", self.memory.place);
            let page = self.patiently(&doing, || calls.clone().operations(token.clone())).await?;
            let (operations, following) = page.unwrap_or_default();
            for operation in &operations {
                if let Some((when, metadata)) = calls::creation(operation, &self.memory.place.cluster)
                    && last.as_ref().is_none_or(|(before, ..)| when > *before)
                {
                    last = Some((when, calls::id(operation), self.maker.is_ours(&metadata.labels)));
                }
            }
            if following.is_empty() {
                break;
            }
            token = following;
        }
        let place = &self.memory.place;
        match last {
            Some((_, id, true)) => {
                self.host.info(&format!("{place} is gone already; this DAG had made it by operation {id}"));
                self.memory.operation = Some(id);
                Ok(self.outcome(None))
            }
            Some((_, id, false)) => Err(Error::failed(format!(
                "{place} is not there, and the one that was had not been made by this DAG in this environment \
                 (operation {id}): see whether the name, the region and the project are right"
            ))),
            None => Err(Error::failed(format!(
                "{place} is not there, and no operation that Dataproc remembers has made it: see whether the name, \
                 the region and the project are right"
            ))),
        }
    }

    /// Calls until there is an answer, through faults of the service; `None` for what is not there.
    async fn patiently<T, F, R>(&mut self, doing: &str, call: F) -> Result<Option<T>>
    where
        F: Fn() -> R,
        R: Future<Output = Result<T, Gax>>,
    {
        loop {
            let slot = request_slot().await;
            let answer = call().await;
            drop(slot);
            let (error, refused) = match answer {
                Ok(answer) => {
                    self.patience.answered();
                    return Ok(Some(answer));
                }
                Err(error) if error.http_status_code() == Some(404) => {
                    self.patience.answered();
                    return Ok(None);
                }
                Err(error) => (from_gax(doing, &error), is_refusal(&error)),
            };
            let is_news = self.patience.trouble().is_none();
            if self.patience.is_over(&error, refused, self.memory.flight.is_some(), Instant::now()) {
                return Err(error);
            }
            if is_news {
                self.host.warn(&format!("{error}; trying again"));
            }
            self.pause().await;
        }
    }

    /// Looks often again, as at first.
    pub(crate) fn quicken(&mut self) {
        self.pace = Pace::new(FIRST, LONGEST);
    }

    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.pace.pause()).await;
    }

    /// Says what has changed, once.
    fn tell(&mut self, text: &str) {
        if self.told != text {
            self.host.info(text);
            self.host.progress(None, text);
            text.clone_into(&mut self.told);
        }
    }

    pub(crate) fn store(&self) -> Result<()> {
        let json = serde_json::to_value(&self.memory);
        self.host.checkpoint(&json.map_err(|error| Error::transient(error.to_string()))?)
    }

    /// What a successful attempt leaves.
    pub(crate) fn outcome(&self, seen: Option<&Seen>) -> Outcome {
        let error = self.measured(Error::failed(""), seen);
        let result = json!({
            "cluster": self.memory.place.cluster,
            "region": self.memory.place.region,
            "project": self.memory.place.project,
            "state": error.metrics.get("state"),
            "uuid": error.metrics.get("uuid"),
        });
        Outcome { result: Some(result), metrics: error.metrics }
    }

    /// The same error with what is known of the cluster.
    pub(crate) fn measured(&self, error: Error, seen: Option<&Seen>) -> Error {
        let place = &self.memory.place;
        let mut error = error
            .with_metric("cluster", place.cluster.clone())
            .with_metric("region", place.region.clone())
            .with_metric("project", place.project.clone())
            .with_metric("state", seen.map_or_else(|| "DELETED".to_owned(), |seen| name(&seen.state())))
            .with_metric("link", place.link());
        if let Some(seen) = seen {
            let (primary, secondary) = workers(&seen.cluster);
            error = error
                .with_metric("uuid", seen.cluster.cluster_uuid.clone())
                .with_metric("workers", primary + secondary);
        }
        if let Some(operation) = &self.memory.operation {
            error = error.with_metric("operation", operation.clone());
        }
        if let Some(diagnosis) = &self.memory.diagnosis {
            error = error.with_metric("diagnosis", diagnosis.clone());
        }
        error
    }
}

/// Whether a request was refused for what has become of the cluster meanwhile.
fn has_changed(error: &Gax) -> bool {
    let code = error.status().map(|status| status.code);
    matches!(error.http_status_code(), Some(404 | 409)) || code == Some(Code::FailedPrecondition)
}
