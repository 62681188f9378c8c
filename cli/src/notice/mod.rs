//! Notices: tells a DAG's targets, commands and webhooks, how a run ended or that it is late.
//!
//! ```text
//! run ─ fire ─▶ one thread for each target ─▶ command, webhook
//!  └─ finish: what did not get through, in words
//! ```
//!
//! Whoever fires a notice never waits for it, and a notice that does not get through changes nothing about the run.
//! No word that is given back holds a URL's password, path or query, or a command's arguments: they may be secrets.

mod command;
mod payload;
#[cfg(test)]
mod tests;
mod webhook;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use oxidag_core::spec::{Notify, NotifyOn, NotifyTarget};
use serde_json::Value;

use self::command::Command;
use self::webhook::Webhook;

pub(crate) use self::payload::{of_end, payload};

/// How long a run's end waits for its notices, for [`Notices::finish`]: as long as a webhook that never answers may
/// take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// How often a target is tried.
const TRIES: u32 = 3;

/// How long commands that are given up have to be killed in.
const KILLING: Duration = Duration::from_millis(200);

/// How long one thing may take.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Between the first try and the second; twice as long before the third.
    pause: Duration,
    /// One call of a webhook.
    webhook: Duration,
    /// One run of a command.
    command: Duration,
}

const PACE: Pace = Pace {
    pause: Duration::from_secs(1),
    webhook: Duration::from_secs(10),
    command: Duration::from_secs(30),
};

/// The targets of one run.
pub(crate) struct Notices {
    targets: Vec<Target>,
    shared: Arc<Shared>,
    pace: Pace,
}

/// One target, and the thread that serves it once there is something to tell.
struct Target {
    on: Vec<NotifyOn>,
    name: String,
    way: Arc<Way>,
    queue: OnceLock<Sender<Job>>,
}

/// How a target is told.
enum Way {
    Command(Command),
    Webhook(Webhook),
}

/// One notice on its way to one target.
struct Job {
    id: u64,
    /// Who is told about what, for a message.
    title: String,
    notice: Arc<Notice>,
}

/// What is told.
struct Notice {
    payload: Value,
    json: String,
}

/// Why a try did not get through.
#[derive(Debug, PartialEq, Eq)]
enum Miss {
    /// The next one may.
    Again(String),
    /// None will.
    Final(String),
}

/// What the threads have in common.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What has not ended, by its job's id.
    under_way: BTreeMap<u64, String>,
    next: u64,
    failures: Vec<String>,
    /// Nobody waits any longer.
    given_up: bool,
    /// Nobody wants to wait.
    unwanted: bool,
    run_is_over: bool,
}

impl Notices {
    /// The notices of a DAG file; commands run in `folder`, which is the file's. Starts nothing yet.
    pub(crate) fn new(notices: &[Notify], folder: PathBuf) -> Self {
        Self::with_pace(notices, folder, PACE)
    }

    fn with_pace(notices: &[Notify], folder: PathBuf, pace: Pace) -> Self {
        let folder = Arc::new(folder);
        let target = |(place, notify): (usize, &Notify)| {
            let way = match &notify.target {
                NotifyTarget::Command(words) => Way::Command(Command::new(words, Arc::clone(&folder))),
                NotifyTarget::Webhook(url) => Way::Webhook(Webhook::new(url)),
            };
            let name = format!("notice {} ({way})", place + 1);
            Target { on: notify.on.clone(), name, way: Arc::new(way), queue: OnceLock::new() }
        };
        let targets = notices.iter().enumerate().map(target).collect();
        Self { targets, shared: Arc::default(), pace }
    }

    /// Whether anyone is to be told about this.
    pub(crate) fn wants(&self, on: NotifyOn) -> bool {
        self.targets.iter().any(|target| target.on.contains(&on))
    }

    /// Tells every target that is to be told about this; returns at once. After [`Notices::finish`] it tells nobody.
    ///
    /// `payload` is what [`payload()`] makes.
    pub(crate) fn fire(&self, on: NotifyOn, payload: Value) {
        let json = payload.to_string();
        let notice = Arc::new(Notice { payload, json });
        for target in self.targets.iter().filter(|target| target.on.contains(&on)) {
            let title = format!("{} of the run's {}", target.name, payload::word(on));
            let Some(job) = self.shared.begin(title, Arc::clone(&notice)) else {
                return;
            };
            let queue = target.queue.get_or_init(|| self.start(&target.way));
            if let Err(unsent) = queue.send(job) {
                let job = unsent.0;
                let failure = format!("{} was not given: no thread could be started for it", job.title);
                self.shared.end(job.id, Some(failure));
            }
        }
    }

    /// Starts the thread of a target. Where there is none to be had, the queue has no other end.
    fn start(&self, way: &Arc<Way>) -> Sender<Job> {
        let (queue, jobs) = channel();
        let (way, shared, pace) = (Arc::clone(way), Arc::clone(&self.shared), self.pace);
        let serve = move || serve(&way, &jobs, &shared, pace);
        // Its failure shows in the queue.
        let _ = thread::Builder::new().name("notice".to_owned()).spawn(serve);
        queue
    }

    /// The run that they are about has ended.
    pub(crate) fn run_is_over(&self) {
        self.shared.lock().run_is_over = true;
    }

    /// Whether it has.
    pub(crate) fn is_run_over(&self) -> bool {
        self.shared.lock().run_is_over
    }

    /// Ends the waiting of [`Notices::finish`].
    pub(crate) fn give_up(&self) {
        self.shared.lock().unwanted = true;
        self.shared.changed.notify_all();
    }

    /// Waits until no notice is under way, at most for `timeout`, then gives up those that are. Says of each
    /// notice that did not get through which it was and why; nothing when it was asked before.
    pub(crate) fn finish(&self, timeout: Duration) -> Vec<String> {
        let state = self.shared.lock();
        if state.given_up {
            return Vec::new();
        }
        let mut state =
            self.shared.wait_while(state, timeout, |state| !state.under_way.is_empty() && !state.unwanted);
        state.given_up = true;
        self.shared.changed.notify_all();
        let mut failures = std::mem::take(&mut state.failures);
        let late = state.under_way.values();
        let waited = match state.unwanted {
            true => "when it was interrupted".to_owned(),
            false => format!("after {}", humantime::format_duration(timeout)),
        };
        failures.extend(late.map(|title| format!("{title} had not got through {waited} and was given up")));
        drop(self.shared.wait_while(state, KILLING, |state| !state.under_way.is_empty()));
        failures
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, State>,
        timeout: Duration,
        condition: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout_while(state, timeout, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// A job for a notice, unless nobody waits for it any longer.
    fn begin(&self, title: String, notice: Arc<Notice>) -> Option<Job> {
        let mut state = self.lock();
        if state.given_up {
            return None;
        }
        let id = state.next;
        state.next += 1;
        state.under_way.insert(id, title.clone());
        Some(Job { id, title, notice })
    }

    fn end(&self, id: u64, failure: Option<String>) {
        let mut state = self.lock();
        state.under_way.remove(&id);
        state.failures.extend(failure);
        self.changed.notify_all();
    }

    /// Lets this time go by; whether nobody waits any longer.
    fn pause(&self, pause: Duration) -> bool {
        self.wait_while(self.lock(), pause, |state| !state.given_up).given_up
    }
}

/// Tells one target all that comes, one after another.
fn serve(way: &Way, jobs: &Receiver<Job>, shared: &Shared, pace: Pace) {
    for job in jobs {
        let failure = give(way, &job, shared, pace).err();
        shared.end(job.id, failure);
    }
}

/// Tries until it gets through.
///
/// # Errors
///
/// When it did not, in words.
fn give(way: &Way, job: &Job, shared: &Shared, pace: Pace) -> Result<(), String> {
    let mut tries = 1;
    loop {
        let tried = match way {
            Way::Command(command) => command.tell(&job.notice, pace.command, shared),
            Way::Webhook(webhook) => webhook.tell(&job.notice, pace.webhook),
        };
        match tried {
            Ok(()) => return Ok(()),
            Err(Miss::Final(why)) => return Err(format!("{} did not get through: {why}", job.title)),
            Err(Miss::Again(why)) => {
                // Not all that failed together come back together.
                let pause = pace.pause.mul_f64(f64::from(tries) * (1.0 + fastrand::f64() / 2.0));
                if tries == TRIES || shared.pause(pause) {
                    return Err(format!("{} did not get through in {tries} tries: {why}", job.title));
                }
                tries += 1;
            }
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Command(command) => command.fmt(f),
            Way::Webhook(webhook) => webhook.fmt(f),
        }
    }
}
