//! A job that a service runs: submitted or found again, waited for, cancelled. The same for every service.

use std::time::Duration;

use oxidag_google::{Pace, request_slot};
use oxidag_plugin_api::{Error, ErrorKind, Level, Outcome, Result};
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};

use crate::lines::Tail;
use crate::sink::Sink;

/// How soon a job is looked at again: at first, and later. Jobs of Spark take half a minute at least on a cluster.
const PACE: (Duration, Duration) = (Duration::from_millis(700), Duration::from_secs(30));

/// How long nothing but errors may come while a job is waited for: it goes on meanwhile.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long a cancelled job's end is waited for; the host waits for 30 s.
const CANCEL: Duration = Duration::from_secs(20);

/// So many calls end jobs at once: apart from those that look, which may all be waiting for an answer.
static ENDING: Semaphore = Semaphore::const_new(64);

/// How soon a cancelled job is looked at again.
const CANCEL_PAUSE: Duration = Duration::from_millis(500);

/// How long a submission may go on that was cancelled on its way.
const SUBMISSION: Duration = Duration::from_secs(5);

/// How long the last of the output is read, once the job has ended.
const OUTPUT: Duration = Duration::from_secs(60);
const OUTPUT_CANCELLED: Duration = Duration::from_secs(3);

/// Where a job stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Look {
    /// In the service's words.
    pub(crate) state: String,
    /// How it ended, once it has.
    pub(crate) end: Option<End>,
    /// How far it has come, where the service tells.
    pub(crate) progress: Option<(f64, String)>,
    /// For the outcome.
    pub(crate) metrics: Map<String, Value>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    Succeeded,
    Cancelled,
    /// With the service's words for why; whose fault it was.
    Failed(ErrorKind, String),
}

/// Who is told lines of output, some at a time.
pub(crate) type Tell<'a> = &'a mut (dyn FnMut(Vec<String>) + Send);

/// A job of a service, under an id that is the attempt's own.
pub(crate) trait Remote: Send {
    /// What messages call it: `the job oxidag-… on the cluster c`.
    fn title(&self) -> String;

    /// Where people can look at it.
    fn link(&self) -> String;

    /// How it is found again. Nothing secret.
    fn checkpoint(&self) -> Value;

    /// Whether there is such a job.
    fn find(&mut self) -> impl Future<Output = Result<bool>> + Send;

    /// Makes it; where the service says that it is there, whatever its state, takes that one (and gives `false`).
    fn submit(&mut self) -> impl Future<Output = Result<bool>> + Send;

    /// Where it stands.
    fn look(&mut self) -> impl Future<Output = Result<Look>> + Send;

    /// Tells the lines of output that are new. `ended`: there will be no more.
    fn output(&mut self, ended: bool, tell: Tell<'_>) -> impl Future<Output = Result<()>> + Send;

    /// Asks the service to end it; `false` when there is none.
    fn cancel(&mut self) -> impl Future<Output = Result<bool>> + Send;
}

/// Leave to submit a job. What a submission needs is not made before: thousands of tasks wait here at once. `None` when
/// the attempt is asked to stop, and there may be a job to be ended.
///
/// # Errors
///
/// When the attempt is asked to stop, and there is none.
pub(crate) async fn turn(resumed: bool, sink: &impl Sink) -> Result<Turn> {
    tokio::select! {
        biased;
        () = sink.until_cancelled() => {
            if resumed { Ok(None) } else { Err(Error::cancelled("cancelled before the job was submitted")) }
        }
        slot = request_slot() => Ok(slot),
    }
}

/// Runs a job to its end.
///
/// # Errors
///
/// When it could not be submitted, did not succeed, was cancelled or could not be watched.
pub(crate) async fn run(
    remote: &mut impl Remote,
    resumed: bool,
    slot: Turn,
    sink: &impl Sink,
) -> Result<Outcome> {
    let began = Instant::now();
    let mut watch = Watch { remote, sink, told: Look::default(), tail: Tail::default(), silent: false };
    // What a step takes is on the heap, from when it is its turn until it is done: thousands of jobs are waited for at
    // once.
    let look = match Box::pin(watch.begin(resumed, slot)).await? {
        Begun::Goes => watch.until_end().await?,
        Begun::IsToStop => Box::pin(watch.stop(false)).await?,
        Begun::CutOff => Box::pin(watch.stop(true)).await?,
    };
    watch.verdict(look, began.elapsed())
}

/// Leave to make a call.
type Turn = Option<SemaphorePermit<'static>>;

/// How a job began.
enum Begun {
    /// There is one.
    Goes,
    /// The attempt was asked to stop while it was not known whether there is one.
    IsToStop,
    /// It was, and the submission has not been answered: the job may come yet.
    CutOff,
}

/// A job on its way.
struct Watch<'a, R, S> {
    remote: &'a mut R,
    sink: &'a S,
    /// What was last said of it.
    told: Look,
    tail: Tail,
    /// The output could not be read, which was said.
    silent: bool,
}

impl<R: Remote, S: Sink> Watch<'_, R, S> {
    /// Submits the job, or finds the one that there is.
    async fn begin(&mut self, resumed: bool, mut slot: Turn) -> Result<Begun> {
        let sink = self.sink;
        if resumed {
            drop(slot.take());
            match self.found().await? {
                Some(true) => {
                    // Again: what was found may say more than what was known before.
                    sink.checkpoint(&self.remote.checkpoint())?;
                    self.introduce("going on with");
                    return Ok(Begun::Goes);
                }
                Some(false) => {}
                None => return Ok(Begun::IsToStop),
            }
        }
        let slot = match slot {
            Some(slot) => Some(slot),
            None => turn(false, sink).await?,
        };
        let known = self.remote.checkpoint();
        sink.checkpoint(&known)?;
        let submitted = Box::pin(self.submit()).await;
        drop(slot);
        let made = match submitted {
            None => return Ok(Begun::CutOff),
            // The service may have made the job, and only its answer have got lost.
            Some(Err(error)) if error.kind == ErrorKind::Transient => match self.found().await? {
                Some(true) => false,
                Some(false) => return Err(error),
                None => return Ok(Begun::IsToStop),
            },
            Some(made) => made?,
        };
        if self.remote.checkpoint() != known
            && let Err(error) = sink.checkpoint(&self.remote.checkpoint())
        {
            // Nobody would know of it.
            return Err(self.give_up(error).await);
        }
        self.introduce(if made { "submitted" } else { "found, since it had been submitted already," });
        Ok(Begun::Goes)
    }

    fn introduce(&self, how: &str) {
        self.sink.log(Level::Info, &format!("{how} {}: {}", self.remote.title(), self.remote.link()));
    }

    /// Whether there is such a job, asked until the service says so: it may go on, and another attempt would make a
    /// second one. `None` when the attempt is asked to stop.
    async fn found(&mut self) -> Result<Option<bool>> {
        let (mut pace, began, sink) = (Pace::new(PACE.0, PACE.1), Instant::now(), self.sink);
        loop {
            let found = tokio::select! {
                found = async {
                    let _slot = request_slot().await;
                    Box::pin(self.remote.find()).await
                } => found,
                () = sink.until_cancelled() => return Ok(None),
            };
            match found {
                Ok(found) => return Ok(Some(found)),
                Err(error) if error.kind == ErrorKind::Transient && began.elapsed() < PATIENCE => {}
                Err(error) => return Err(self.give_up(error).await),
            }
            tokio::select! {
                () = sleep(pace.pause()) => {}
                () = sink.until_cancelled() => return Ok(None),
            }
        }
    }

    /// The submission's end; `None` when the attempt is asked to stop and it does not end soon.
    async fn submit(&mut self) -> Option<Result<bool>> {
        let mut submission = std::pin::pin!(self.remote.submit());
        tokio::select! {
            made = &mut submission => Some(made),
            () = self.sink.until_cancelled() => timeout(SUBMISSION, submission).await.ok(),
        }
    }

    /// Looks at the job until it has ended; cancels it when asked to.
    async fn until_end(&mut self) -> Result<Look> {
        let mut pace = Pace::new(PACE.0, PACE.1);
        // Since when nothing but errors came.
        let mut faulty = None;
        let sink = self.sink;
        loop {
            let looked = tokio::select! {
                looked = self.step() => looked,
                () = sink.until_cancelled() => return Box::pin(self.stop(false)).await,
            };
            match looked {
                Ok(look) if look.end.is_some() => {
                    Box::pin(self.drain()).await;
                    return Ok(look);
                }
                Ok(_) => faulty = None,
                Err(error) => {
                    let since = *faulty.get_or_insert_with(Instant::now);
                    // Before the service has ever told of the job, an error that time does not mend is the answer.
                    let hopeless = error.kind != ErrorKind::Transient && self.told.state.is_empty();
                    if hopeless || since.elapsed() > PATIENCE {
                        return Err(Box::pin(self.give_up(error)).await);
                    }
                }
            }
            tokio::select! {
                () = sleep(pace.pause()) => {}
                () = sink.until_cancelled() => return Box::pin(self.stop(false)).await,
            }
        }
    }

    /// Looks once, when it is this job's turn, and passes on what is new.
    async fn step(&mut self) -> Result<Look> {
        let _slot = request_slot().await;
        Box::pin(self.look()).await
    }

    async fn look(&mut self) -> Result<Look> {
        let look = self.remote.look().await?;
        self.tell(&look);
        if look.end.is_none() {
            self.output(false).await;
        }
        Ok(look)
    }

    /// Says what has changed.
    fn tell(&mut self, look: &Look) {
        if look.state != self.told.state {
            self.sink.log(Level::Info, &format!("state: {}", look.state));
        }
        if let Some((fraction, message)) = &look.progress
            && look.progress != self.told.progress
        {
            self.sink.progress(Some(*fraction), message);
        }
        let (state, progress) = (look.state.clone(), look.progress.clone());
        self.told = Look { state, progress, ..Look::default() };
    }

    /// Logs what is new of the output; that it cannot be read is said once.
    async fn output(&mut self, ended: bool) {
        let (sink, tail) = (self.sink, &mut self.tail);
        let mut tell = |lines: Vec<String>| {
            if !lines.is_empty() {
                lines.iter().for_each(|line| tail.add(line));
                sink.log(Level::Stdout, &lines.join("\n"));
            }
        };
        if let Err(error) = self.remote.output(ended, &mut tell).await
            && !self.silent
        {
            self.silent = true;
            sink.log(Level::Warn, &format!("the job's output cannot be read: {}", error.message));
        }
    }

    /// Logs the last of the output; the host waits less for an attempt that is asked to stop.
    async fn drain(&mut self) {
        let sink = self.sink;
        let too_late = async {
            let stopped = async {
                sink.until_cancelled().await;
                sleep(OUTPUT_CANCELLED).await;
            };
            // That it takes too long is what matters, not which of them says so.
            let _ = timeout(OUTPUT, stopped).await;
        };
        tokio::select! {
            biased;
            () = self.output(true) => {}
            () = too_late => sink.log(Level::Warn, "the end of the job's output could not be read in time"),
        }
    }

    /// Cancels the job and waits until the service says that it has ended. One that had ended by itself is reported
    /// as it ended, and one that `may_come` yet is waited for.
    async fn stop(&mut self, may_come: bool) -> Result<Look> {
        self.sink.log(Level::Info, &format!("cancelling {}", self.remote.title()));
        let mut trouble = "the service does not answer".to_owned();
        match timeout(CANCEL, self.ending(may_come, &mut trouble)).await {
            Ok(Some(look)) => {
                self.drain().await;
                Ok(look)
            }
            Ok(None) => {
                Err(Error::cancelled(format!("cancelled: the service does not know {}", self.remote.title())))
            }
            Err(_) => {
                let text = format!(
                    "{} may still run and be billed ({trouble}): cancel it at {}",
                    self.remote.title(),
                    self.remote.link()
                );
                self.sink.log(Level::Warn, &text);
                Err(Error::cancelled(format!("cancelled, but {text}")))
            }
        }
    }

    /// Asks until the service takes it, then looks until the job has ended; `None` when there is none.
    async fn ending(&mut self, may_come: bool, trouble: &mut String) -> Option<Look> {
        loop {
            let slot = ENDING.acquire().await;
            let asked = self.remote.cancel().await;
            drop(slot);
            match asked {
                Ok(true) => break,
                Ok(false) if may_come => "its submission was not answered".clone_into(trouble),
                Ok(false) => return None,
                Err(error) => *trouble = error.message,
            }
            sleep(CANCEL_PAUSE).await;
        }
        "it was asked to end and has not yet".clone_into(trouble);
        loop {
            let slot = ENDING.acquire().await;
            let looked = self.remote.look().await;
            drop(slot);
            match looked {
                Ok(look) => {
                    self.tell(&look);
                    if look.end.is_some() {
                        return Some(look);
                    }
                }
                Err(error) => *trouble = error.message,
            }
            sleep(CANCEL_PAUSE).await;
        }
    }

    /// The attempt ends without word of the job, which another attempt must not meet: it is asked to end.
    async fn give_up(&mut self, error: Error) -> Error {
        let cancel = async {
            let _slot = ENDING.acquire().await;
            self.remote.cancel().await
        };
        let what = match timeout(CANCEL, cancel).await {
            Ok(Ok(true)) => "it was asked to end".to_owned(),
            Ok(Ok(false)) => "the service does not know it".to_owned(),
            _ => {
                let text = format!("it may still run and be billed: cancel it at {}", self.remote.link());
                self.sink.log(Level::Warn, &format!("{}: {text}", self.remote.title()));
                text
            }
        };
        let message = format!("lost sight of {}: {}; {what}", self.remote.title(), error.message);
        Error { message, ..error }
    }

    /// What the job's end means for the attempt.
    fn verdict(&self, look: Look, elapsed: Duration) -> Result<Outcome> {
        let (title, link) = (self.remote.title(), self.remote.link());
        let mut metrics = look.metrics;
        metrics.insert("link".to_owned(), link.clone().into());
        metrics.insert("state".to_owned(), look.state.into());
        metrics.insert("elapsed_seconds".to_owned(), elapsed.as_secs_f64().into());
        let error = match look.end {
            Some(End::Succeeded) => return Ok(Outcome { result: None, metrics }),
            Some(End::Cancelled) if self.sink.cancelled() => {
                Error::cancelled(format!("cancelled: {title} was ended"))
            }
            Some(End::Cancelled) => {
                Error::failed(format!("{title} was cancelled, though not by oxidag; see {link}"))
            }
            Some(End::Failed(kind, why)) => {
                let why = if why.is_empty() { why } else { format!(": {why}") };
                Error::new(kind, format!("{title} failed{why}; see {link}{}", self.tail.told()))
            }
            None => Error::transient(format!("{title} has no end; see {link}")),
        };
        Err(Error { metrics, ..error })
    }
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;
