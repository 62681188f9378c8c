//! What an engine can do with the attempt that it was handed.

use oxidag_plugin_api::Level;
use oxidag_plugin_api::abi::End;
use serde_json::Value;

/// Called once when the attempt is asked to stop (or abandoned), dropped otherwise. It may do anything but wait long.
pub type OnCancel = Box<dyn FnOnce() + Send>;

/// The host's side of one attempt, whatever stands between it and the engine. The engine may hold it on any thread, and after
/// the attempt was abandoned.
pub trait Attempt: Send + Sync + 'static {
    /// Lines for the task's log.
    fn log(&self, level: Level, text: &str);

    /// How far the task has come, from 0 to 1; NaN when the engine cannot tell.
    fn progress(&self, fraction: f64, message: &str);

    /// Whether the attempt is asked to stop.
    fn cancelled(&self) -> bool;

    /// Calls back when the attempt is asked to stop, at once if it was already.
    fn on_cancel(&self, callback: OnCancel);

    /// Calls back, at once if it was already, when the attempt is not waited for any longer though it goes on; dropped once it
    /// has ended. Engines in this process are not told: nothing can end them. Without a scheduler nothing is abandoned.
    fn on_abandon(&self, callback: OnCancel) {
        drop(callback);
    }

    /// Stores how to find the remote job again; returns once it is stored.
    ///
    /// # Errors
    ///
    /// When it is not, with the reason.
    fn checkpoint(&self, checkpoint: Value) -> Result<(), String>;

    /// Adds tasks and rules to the run's graph.
    ///
    /// # Errors
    ///
    /// When any of it is wrong; nothing is added then.
    fn append(&self, addition: Value) -> Result<(), String>;

    /// Looks at the run's graph; see [`oxidag_plugin_api::Host::query`].
    ///
    /// # Errors
    ///
    /// When the question is not understood or the run has ended.
    fn query(&self, question: Value) -> Result<Value, String>;

    /// Ends the attempt. A second call is ignored.
    fn complete(&self, end: End);
}
