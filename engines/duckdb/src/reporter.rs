//! What the engine needs of its host, so that tests can take the host's place.

use std::pin::Pin;

use oxidag_plugin_api::{Host, Level};

/// The task's log, and word that it is to stop.
pub(crate) trait Reporter: Send + Sync {
    fn log(&self, level: Level, text: &str);

    /// Completes when the task is asked to stop.
    fn until_cancelled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl Reporter for Host {
    fn log(&self, level: Level, text: &str) {
        Host::log(self, level, text);
    }

    fn until_cancelled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Host::until_cancelled(self))
    }
}
