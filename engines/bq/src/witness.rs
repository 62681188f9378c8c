//! Whoever is told how a job goes, and asks for its end: the host, or a test.

use oxidag_plugin_api::{Host, Level};

/// The part of the host that waiting needs.
pub(crate) trait Witness: Sync {
    /// Writes to the task's log.
    fn log(&self, level: Level, text: &str);

    /// Tells how far the job has come.
    fn progress(&self, fraction: f64, message: &str);

    /// Completes when the task is asked to stop.
    fn until_cancelled(&self) -> impl Future<Output = ()> + Send;
}

impl Witness for Host {
    fn log(&self, level: Level, text: &str) {
        Host::log(self, level, text);
    }

    fn progress(&self, fraction: f64, message: &str) {
        Host::progress(self, Some(fraction), message);
    }

    fn until_cancelled(&self) -> impl Future<Output = ()> + Send {
        Host::until_cancelled(self)
    }
}
