//! An engine in the process of a check, and the attempts that are made with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use oxidag_plugin_api::abi::{End, Mode};
use oxidag_plugin_api::{Error, ErrorKind, Outcome, Task};

use super::cases::Case;
use super::recorder::{Habits, Recorder, Seen};
use super::wire::Request;
use super::{Grade, Verdict};
use crate::engine::{self, Engine, EngineError};
use crate::plugins::{EngineConfig, LibraryPath};
use crate::secrets::Masker;

/// So long a task is left alone before something happens to it, if it stores no checkpoint: nothing else tells from the
/// outside that an engine is at work.
const SETTLED: Duration = Duration::from_millis(500);

/// A call has so long to return, once its attempt has ended, also where the check has no time left.
const RETURNS: Duration = Duration::from_millis(200);

/// The engine's section of a `plugins.toml` that there is not.
pub(super) fn section(request: &Request) -> EngineConfig {
    EngineConfig {
        // Whoever names a file to be tested means it.
        allow_writable: true,
        config: request.cases.config(),
        ..EngineConfig::new(LibraryPath::File(request.library.clone()))
    }
}

/// An engine, ready to run tasks.
pub(super) struct Session<'r> {
    pub(super) request: &'r Request,
    engine: Arc<Engine>,
    masker: Masker,
    began: Instant,
    patience: Instant,
    /// How many attempts have ended.
    ended: AtomicUsize,
}

/// When the process gives up itself, while there is still time to say why.
pub(super) fn patience(request: &Request) -> Instant {
    Instant::now() + request.timeout.mul_f64(0.75)
}

impl<'r> Session<'r> {
    /// Loads the engine. Whether that works is what the check `create` is about; the others cannot be made then.
    pub(super) fn new(request: &'r Request) -> Result<Self, Verdict> {
        let (began, patience) = (Instant::now(), patience(request));
        let engine = Engine::load("conformance", &section(request)).map_err(|error| {
            Verdict::not_tested(format!("there is no engine to test ({error}); see the check `create`"))
        })?;
        let masker = Masker::new(request.cases.connections.values().map(String::as_str));
        Ok(Self { request, engine: Arc::new(engine), masker, began, patience, ended: AtomicUsize::new(0) })
    }

    /// The engine.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// An attempt's task under this key.
    pub(super) fn task(&self, case: &Case, key: &str) -> Task {
        task(self.request, case, key)
    }

    /// Starts an attempt on a thread of its own, as a worker does.
    pub(super) fn start(&self, task: &Task, habits: Habits) -> Result<Started<'_>, Verdict> {
        self.start_with(task, Recorder::new(habits))
    }

    /// Starts an attempt that was asked to stop already.
    pub(super) fn start_stopped(&self, task: &Task) -> Result<Started<'_>, Verdict> {
        let recorder = Recorder::new(Habits::default());
        recorder.stop();
        self.start_with(task, recorder)
    }

    fn start_with(&self, task: &Task, recorder: Arc<Recorder>) -> Result<Started<'_>, Verdict> {
        let text = serde_json::to_string(task).map_err(|e| Verdict::not_tested(e.to_string()))?;
        let began = Instant::now();
        // What a runner asks before it knows where the attempt runs. Here each has a thread.
        let _ = self.engine.blocks(&task.params);
        let (engine, seen_by) = (Arc::clone(&self.engine), Arc::clone(&recorder));
        let call = move || {
            engine.run(&text, true, seen_by.hand_out());
            drop(engine);
            seen_by.returned();
        };
        let worker = std::thread::Builder::new()
            .spawn(call)
            .map_err(|e| Verdict::not_tested(format!("no thread for an attempt: {e}")))?;
        let before = self.ended.load(Ordering::Relaxed);
        Ok(Started { session: self, recorder, worker, began, before })
    }

    /// Runs an attempt to its end.
    pub(super) fn run(&self, task: &Task) -> Result<End, Verdict> {
        self.start(task, Habits::default())?.end()
    }

    /// Runs the task that succeeds, which must do so.
    pub(super) fn succeed(&self, key: &str) -> Result<Outcome, Verdict> {
        let case = self.request.cases.success();
        let end = self.run(&self.task(&case, key))?;
        self.expect_success(&case, end)
    }

    /// Runs it as what another check begins with: where it does not succeed, that is another check's affair.
    pub(super) fn works(&self) -> Result<(), Verdict> {
        self.succeed("before").map(drop).map_err(|verdict| match verdict.grade {
            Grade::Failed => Verdict::not_tested(format!("{}; see the check `success`", verdict.seen)),
            _ => verdict,
        })
    }

    /// The end must be a success, with the case's result.
    pub(super) fn expect_success(&self, case: &Case, end: End) -> Result<Outcome, Verdict> {
        let outcome = match end {
            End::Outcome(outcome) => outcome,
            End::Error(error) if self.is_assumed(case) && error.kind != ErrorKind::Panicked => {
                return Err(Verdict::not_tested(format!(
                    "an empty script ends {}; say in `tasks.success` of the cases what succeeds",
                    self.say(&error)
                )));
            }
            End::Error(error) => {
                return Err(Verdict::failed(
                    format!("a task that should succeed ended {}", self.say(&error)),
                    "mend the engine, or the case if it asks for something else",
                ));
            }
        };
        let size = outcome.result.as_ref().map_or(0, |result| result.to_string().len());
        if size > Outcome::MAX_RESULT {
            return Err(Verdict::failed(
                format!(
                    "the result is {size} bytes of JSON; oxidag refuses more than {}",
                    Outcome::MAX_RESULT
                ),
                "leave data where it is, and only its place in the result",
            ));
        }
        match &case.result {
            Some(wanted) if outcome.result.as_ref() != Some(wanted) => Err(Verdict::failed(
                format!("the result is not the case's but {}", self.mask(&shown(&outcome))),
                "mend the engine, or `result` in the cases",
            )),
            _ => Ok(outcome),
        }
    }

    /// Whether the case is only tried, and not the author's word.
    fn is_assumed(&self, case: &Case) -> bool {
        self.request.cases.success.is_none() && case.script.is_empty()
    }

    /// An error with its kind, for people.
    pub(super) fn say(&self, error: &Error) -> String {
        let kind = kind(error.kind);
        format!("{kind}: {}", self.mask(&error.message))
    }

    /// For people: short, and without secrets.
    pub(super) fn mask(&self, text: &str) -> String {
        short(&self.masker.mask(text))
    }

    /// How `run` treats its thread.
    pub(super) fn mode(&self) -> Result<Mode, Verdict> {
        let described = engine::describe(&section(self.request));
        let (_, _, description) = described.map_err(|e: EngineError| Verdict::not_tested(e.to_string()))?;
        Ok(description.mode)
    }

    /// Until when something is waited for.
    pub(super) fn patience(&self) -> Instant {
        self.patience
    }
}

/// An attempt's task under this key.
pub(super) fn task(request: &Request, case: &Case, key: &str) -> Task {
    let mut params = case.params.clone();
    let connections = &request.cases.connections;
    params.extend(connections.iter().map(|(name, value)| (name.clone(), value.clone().into())));
    Task {
        dag_id: "conformance".to_owned(),
        run_id: "conformance-run".to_owned(),
        task_id: "conformance".to_owned(),
        attempt: 1,
        // Of this check and this time: an engine may ask a service that remembers.
        idempotency_key: format!("{key}-{}-{}", request.check.name(), request.nonce),
        script: oxidag_plugin_api::Script {
            text: case.script.clone(),
            name: "inline".to_owned(),
            path: None,
            uri: case.uri.clone(),
        },
        params,
        connections: connections.keys().cloned().collect(),
        working_dir: request.folder.clone(),
        checkpoint: request.resume.as_ref().and_then(|resume| resume.checkpoint.clone()),
        resumed: request.resume.is_some(),
    }
}

/// An attempt that was started.
pub(super) struct Started<'s> {
    session: &'s Session<'s>,
    pub(super) recorder: Arc<Recorder>,
    worker: JoinHandle<()>,
    began: Instant,
    /// How many attempts had ended then.
    before: usize,
}

impl Started<'_> {
    /// Waits for its end.
    pub(super) fn end(&self) -> Result<End, Verdict> {
        let end = self.end_by(self.session.patience).ok_or_else(|| {
            Verdict::failed(
                format!("the attempt has not ended after {}{}", seconds(self.began.elapsed()), self.slow()),
                "see that `run` ends in every case; a longer --timeout if it only needs more",
            )
        })?;
        self.session.ended.fetch_add(1, Ordering::Relaxed);
        end
    }

    /// Where the time of the check went, if not to this attempt.
    fn slow(&self) -> String {
        let Self { session, began, before, .. } = self;
        if *before == 0 {
            return String::new();
        }
        let (all, spent) = (session.patience - session.began, *began - session.began);
        let (all, spent) = (seconds(all), seconds(spent));
        format!("; of the {all} that the check has for its attempts, {spent} went to the {before} before it")
    }

    /// Waits for its end; `None` when it has not come by then.
    pub(super) fn end_by(&self, until: Instant) -> Option<Result<End, Verdict>> {
        let over = |seen: &Seen| !seen.ends.is_empty() || (seen.returned && seen.released);
        let seen = self.recorder.wait(until, over)?;
        // The first one counts, as it does for the runner.
        Some(match seen.ends.first() {
            Some(end) => Ok(copy(end)),
            None => Err(Verdict::failed(
                "the engine has let go of the attempt without ending it: the task would run for ever",
                "call `complete` in every case; plugin-api does it, so look at what goes around it",
            )),
        })
    }

    /// Waits until nothing is left of the attempt: its end is told, its call has returned, the engine has let go of it.
    pub(super) fn over(self) -> Result<Vec<End>, Verdict> {
        self.end()?;
        let over = |seen: &Seen| seen.returned && seen.released;
        // It may have ended just in time.
        let until = self.session.patience.max(Instant::now() + RETURNS);
        let Some(mut seen) = self.recorder.wait(until, over) else {
            let what = if self.recorder.seen().returned {
                "the engine still holds the host of an attempt that has ended"
            } else {
                "the attempt has ended, and the call of `run` has not returned"
            };
            return Err(Verdict::failed(
                format!("{what}{}", self.slow()),
                "let go of the host where the attempt ends, and return: a worker waits, and memory grows",
            ));
        };
        let ends = std::mem::take(&mut seen.ends);
        drop(seen);
        // A panic of it was ours; the end is there.
        let _ = self.worker.join();
        Ok(ends)
    }

    /// Waits until the engine is at work, as far as that can be told; how it ended if it has.
    pub(super) fn settle(&self, case: &str) -> Result<(), Verdict> {
        let until = Instant::now() + SETTLED;
        let at_work = |seen: &Seen| seen.checkpoints > 0 || !seen.ends.is_empty();
        let _ = self.recorder.wait(until, at_work);
        match self.end_by(Instant::now()) {
            None => Ok(()),
            Some(end) => Err(self.too_short(&end?, case)),
        }
    }

    /// The verdict on a case that ended before anything could be done to it.
    pub(super) fn too_short(&self, end: &End, case: &str) -> Verdict {
        let time = self.began.elapsed().as_secs_f64();
        match end {
            End::Outcome(_) => Verdict::not_tested(format!(
                "`tasks.{case}` succeeded after {time:.1} s, before anything could be done to it; let it take some seconds"
            )),
            End::Error(error) => Verdict::failed(
                format!("`tasks.{case}` ended after {time:.1} s, {}", self.session.say(error)),
                "mend the engine, or the case: it should take some seconds and succeed",
            ),
        }
    }
}

/// `End` is a message of the ABI, which nobody else needs a copy of.
fn copy(end: &End) -> End {
    match end {
        End::Outcome(outcome) => End::Outcome(outcome.clone()),
        End::Error(error) => End::Error(error.clone()),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// A kind of error as a word.
fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "invalid",
        ErrorKind::Failed => "failed",
        ErrorKind::Transient => "transient",
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::Panicked => "panicked",
    }
}

fn shown(outcome: &Outcome) -> String {
    outcome.result.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
}

/// Of a long text the beginning.
pub(super) fn short(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
