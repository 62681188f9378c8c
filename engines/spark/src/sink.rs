//! What the engine needs of the host, so that tests can stand in for it.

use oxidag_plugin_api::{Host, Level, Result};
use serde_json::Value;

/// Where an attempt's log lines and checkpoint go, and from where its cancellation comes.
pub(crate) trait Sink: Send + Sync {
    /// Writes to the task's log, a line for each line of `text`.
    fn log(&self, level: Level, text: &str);

    /// Tells how far the job has come.
    fn progress(&self, fraction: Option<f64>, message: &str);

    /// Stores how to find the job again.
    ///
    /// # Errors
    ///
    /// When it could not be stored.
    fn checkpoint(&self, checkpoint: &Value) -> Result<()>;

    /// Whether the attempt is asked to stop.
    fn cancelled(&self) -> bool;

    /// Completes when the attempt is asked to stop.
    fn until_cancelled(&self) -> impl Future<Output = ()> + Send;
}

impl Sink for Host {
    fn log(&self, level: Level, text: &str) {
        Host::log(self, level, text);
    }

    fn progress(&self, fraction: Option<f64>, message: &str) {
        Host::progress(self, fraction, message);
    }

    fn checkpoint(&self, checkpoint: &Value) -> Result<()> {
        Host::checkpoint(self, checkpoint)
    }

    fn cancelled(&self) -> bool {
        Host::cancelled(self)
    }

    async fn until_cancelled(&self) {
        Host::until_cancelled(self).await;
    }
}
