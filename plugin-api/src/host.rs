//! The host as a running task sees it.

use abi_stable::std_types::{RResult, RStr};
use serde_json::Value;

use crate::abi::{Callback, End, HostHandle};
use crate::task::{Error, Result};

/// What the scheduler offers to a running task. Cheap to clone; may be used from any thread.
pub struct Host(HostHandle);

// SAFETY: the host's functions may be called from any thread (see `HostVtable`).
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

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
        Self(handle)
    }

    /// Writes to the task's log, a line for each line of `text`.
    pub fn log(&self, level: Level, text: &str) {
        (self.0.vtable.log())(self.0.context, level as u8, RStr::from_str(text));
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
        let fraction = fraction.unwrap_or(f64::NAN);
        (self.0.vtable.progress())(self.0.context, fraction, RStr::from_str(message));
    }

    /// Whether the task is asked to stop: by the user, or since its time is up.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        (self.0.vtable.cancelled())(self.0.context)
    }

    /// Calls `callback` once when the task is asked to stop, at once if it was already.
    ///
    /// It runs on a thread of the host and must not block.
    pub fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) {
        let boxed: Boxed = Box::new(callback);
        let data = Box::into_raw(Box::new(boxed)).cast_const();
        let callback = Callback { data: data.cast(), call: call_boxed, drop: drop_boxed };
        (self.0.vtable.on_cancel())(self.0.context, callback);
    }

    /// Completes when the task is asked to stop.
    #[cfg(feature = "async")]
    pub async fn until_cancelled(&self) {
        let notify = std::sync::Arc::new(tokio::sync::Notify::new());
        let waker = std::sync::Arc::clone(&notify);
        self.on_cancel(move || waker.notify_one());
        notify.notified().await;
    }

    /// Stores how to find the remote job again; returns once it is stored. After a crash, `run` is called
    /// again for the same attempt with it in [`Task::checkpoint`](crate::Task::checkpoint).
    ///
    /// # Errors
    ///
    /// When it could not be stored; the run is then about to fail.
    pub fn checkpoint(&self, checkpoint: &Value) -> Result<()> {
        let json = checkpoint.to_string();
        match (self.0.vtable.checkpoint())(self.0.context, RStr::from_str(&json)) {
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
        let json = addition.to_string();
        match (self.0.vtable.append())(self.0.context, RStr::from_str(&json)) {
            RResult::ROk(()) => Ok(()),
            RResult::RErr(message) => Err(Error::invalid(message.into_string())),
        }
    }

    pub(crate) fn complete(&self, end: &End) {
        // A map with string keys and no custom serializer: writing it cannot fail.
        let json = serde_json::to_string(end).unwrap_or_default();
        (self.0.vtable.complete())(self.0.context, RStr::from_str(&json));
    }
}

impl Clone for Host {
    fn clone(&self) -> Self {
        (self.0.vtable.retain())(self.0.context);
        Self(HostHandle { context: self.0.context, vtable: self.0.vtable })
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Host").field(&self.0.context).finish()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        (self.0.vtable.release())(self.0.context);
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
    drop(unsafe { Box::from_raw(data.cast_mut().cast::<Boxed>()) });
}
