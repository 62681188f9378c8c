//! The host as a running task sees it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use abi_stable::std_types::{RResult, RStr};
use serde_json::Value;

use crate::abi::{ANSWER, Callback, End, HostHandle};
use crate::stopped::Stopped;
use crate::task::{Error, Result};

/// What the scheduler offers to a running task. Cheap to clone; may be used from any thread.
pub struct Host {
    handle: HostHandle,
    /// From when somebody waits for it, or has a clone.
    stopped: OnceLock<Arc<Stopped>>,
}

// SAFETY: the host's functions may be called from any thread (see `HostVtable`).
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

/// Why [`Host::wait`] ends an attempt.
pub(crate) const STOPPED: &str = "stopped while it waited";

/// How important a log line is, or which stream of a script it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// For the engine's author.
    Debug = 0,
    /// What happens.
    Info = 1,
    /// Something to look at.
    Warn = 2,
    /// Something that failed.
    Error = 3,
    /// The script's standard output.
    Stdout = 4,
    /// The script's standard error.
    Stderr = 5,
}

impl Host {
    /// Takes over the handle's reference to the context.
    pub(crate) fn new(handle: HostHandle) -> Self {
        Self { handle, stopped: OnceLock::new() }
    }

    /// Writes to the task's log, a line for each line of `text`.
    pub fn log(&self, level: Level, text: &str) {
        self.alive();
        (self.handle.vtable.log())(self.handle.context, level as u8, RStr::from_str(text));
    }

    /// Writes to the task's log.
    pub fn info(&self, text: &str) {
        self.log(Level::Info, text);
    }

    /// Writes a warning to the task's log.
    pub fn warn(&self, text: &str) {
        self.log(Level::Warn, text);
    }

    /// Tells how far the task has come: from 0 to 1, or `None` where that is not known.
    pub fn progress(&self, fraction: Option<f64>, message: &str) {
        self.alive();
        let fraction = fraction.unwrap_or(f64::NAN);
        (self.handle.vtable.progress())(self.handle.context, fraction, RStr::from_str(message));
    }

    /// Whether the task is asked to stop: by the user, or since its time is up.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.alive();
        (self.handle.vtable.cancelled())(self.handle.context)
    }

    /// Calls `callback` once when the task is asked to stop, at once if it was already.
    ///
    /// It runs on a thread of the host that stops all tasks: it must not block.
    pub fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) {
        self.alive();
        let boxed: Boxed = Box::new(callback);
        let data = Box::into_raw(Box::new(boxed)).cast_const();
        let callback = Callback { data: data.cast(), call: call_boxed, drop: drop_boxed };
        (self.handle.vtable.on_cancel())(self.handle.context, callback);
    }

    /// Waits so long on this thread, or until the task is asked to stop. For blocking engines: a test on the crate's test
    /// host moves the time that is waited for.
    ///
    /// # Errors
    ///
    /// Of kind `Cancelled`, at once, when the task is asked to stop.
    pub fn wait(&self, time: Duration) -> Result<()> {
        #[cfg(feature = "test")]
        if let Some(attempt) = self.test() {
            return attempt.wait(time);
        }
        if self.stopped().within(time) { Err(Error::cancelled(STOPPED)) } else { Ok(()) }
    }

    /// Completes when the task is asked to stop.
    #[cfg(feature = "async")]
    pub async fn until_cancelled(&self) {
        self.stopped().asked().await;
    }

    fn stopped(&self) -> &Stopped {
        let stopped = self.shared_stopped();
        stopped.when_first_waited_for(|| {
            let ask = Arc::clone(stopped);
            self.on_cancel(move || ask.ask());
        });
        stopped
    }

    fn shared_stopped(&self) -> &Arc<Stopped> {
        self.stopped.get_or_init(Arc::default)
    }

    /// Stores how to find the remote job again; returns once it is stored. After a crash, `run` is called
    /// again for the same attempt with it in [`Task::checkpoint`](crate::Task::checkpoint).
    ///
    /// # Errors
    ///
    /// When it could not be stored; the run is then about to fail.
    pub fn checkpoint(&self, checkpoint: &Value) -> Result<()> {
        self.alive();
        let json = checkpoint.to_string();
        let stored = (self.handle.vtable.checkpoint())(self.handle.context, RStr::from_str(&json));
        // The scheduler may have died of just this.
        self.alive();
        match stored {
            RResult::ROk(()) => Ok(()),
            RResult::RErr(message) => Err(Error::transient(message.into_string())),
        }
    }

    /// Adds tasks and rules to the run's graph: an object with `tasks` and `rules`, written as in a DAG file.
    ///
    /// # Errors
    ///
    /// When any of it is wrong; nothing is added then.
    pub fn append(&self, addition: &Value) -> Result<()> {
        self.alive();
        let json = addition.to_string();
        match (self.handle.vtable.append())(self.handle.context, RStr::from_str(&json)) {
            RResult::ROk(()) => Ok(()),
            RResult::RErr(message) => Err(Error::invalid(message.into_string())),
        }
    }

    /// Looks at the graph around the task. The question is an object with any of `tasks` (a list of ids), `type` and
    /// `instances_of` (the id of a mapped task); without any, it is about the task itself. The answer is a list of
    /// objects with `task_id`, `state`, `type`, `result` and `upstream`, the ids of what comes before.
    ///
    /// # Errors
    ///
    /// When the question is not understood, the run has ended, or the host is older than this function.
    pub fn query(&self, question: &Value) -> Result<Value> {
        self.alive();
        let asked = serde_json::json!({ "query": question }).to_string();
        match (self.handle.vtable.append())(self.handle.context, RStr::from_str(&asked)) {
            RResult::ROk(()) => Err(Error::failed("the host does not answer")),
            RResult::RErr(said) => match said.strip_prefix(ANSWER) {
                Some(answer) => {
                    serde_json::from_str(answer).map_err(|error| Error::failed(error.to_string()))
                }
                None => Err(Error::invalid(said.into_string())),
            },
        }
    }

    /// The attempt on the test host, if this is one.
    #[cfg(feature = "test")]
    pub(crate) fn test(&self) -> Option<&crate::test::Context> {
        crate::test::context_of(&self.handle)
    }

    /// On the test host, ends the engine's thread where the test has let the scheduler die.
    fn alive(&self) {
        #[cfg(feature = "test")]
        if let Some(attempt) = self.test() {
            attempt.alive();
        }
    }

    pub(crate) fn complete(&self, end: &End) {
        // A map with string keys and no custom serializer: writing it cannot fail.
        let json = serde_json::to_string(end).unwrap_or_default();
        (self.handle.vtable.complete())(self.handle.context, RStr::from_str(&json));
    }
}

impl Clone for Host {
    fn clone(&self) -> Self {
        (self.handle.vtable.retain())(self.handle.context);
        Self {
            handle: HostHandle { context: self.handle.context, vtable: self.handle.vtable },
            stopped: OnceLock::from(Arc::clone(self.shared_stopped())),
        }
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Host").field(&self.handle.context).finish()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        (self.handle.vtable.release())(self.handle.context);
    }
}

type Boxed = Box<dyn FnOnce() + Send>;

extern "C" fn call_boxed(data: *const ()) {
    // SAFETY: `data` was made from a `Box<Boxed>` in `on_cancel`, and the host gives it back once.
    let callback = unsafe { Box::from_raw(data.cast_mut().cast::<Boxed>()) };
    // A panic here has no attempt to fail: the attempt sees the cancellation by its flag as well.
    drop(crate::panics::catch(callback));
}

extern "C" fn drop_boxed(data: *const ()) {
    // SAFETY: as in `call_boxed`.
    let callback = unsafe { Box::from_raw(data.cast_mut().cast::<Boxed>()) };
    // What it holds is the author's, and may panic as it goes.
    drop(crate::panics::catch(|| drop(callback)));
}
