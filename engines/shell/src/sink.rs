//! What the engine needs of the host, so that tests can stand in for it.

use oxidag_plugin_api::{Host, Level, Result};
use serde_json::Value;

/// Where an attempt's log lines and checkpoint go, and from where its cancellation comes.
pub(crate) trait Sink {
    /// Writes a log line for each line of `text`.
    fn log(&self, level: Level, text: &str);

    /// Whether the attempt is asked to stop.
    fn cancelled(&self) -> bool;

    /// Calls back once when the attempt is asked to stop, at once if it was already.
    fn on_cancel(&self, callback: impl FnOnce() + Send + 'static);

    /// Stores how to find the script again should the scheduler die.
    ///
    /// # Errors
    ///
    /// When it could not be stored.
    fn checkpoint(&self, checkpoint: &Value) -> Result<()>;
}

impl Sink for Host {
    fn log(&self, level: Level, text: &str) {
        Host::log(self, level, text);
    }

    fn cancelled(&self) -> bool {
        Host::cancelled(self)
    }

    fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) {
        Host::on_cancel(self, callback);
    }

    fn checkpoint(&self, checkpoint: &Value) -> Result<()> {
        Host::checkpoint(self, checkpoint)
    }
}
