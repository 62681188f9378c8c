//! What the engine needs of its host, so that tests can take the host's place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oxidag_plugin_api::{Error, Host, Level};

/// The task's log, and word that it is to stop.
pub(crate) trait Reporter: Send + Sync + 'static {
    fn log(&self, level: Level, text: &str);

    /// As [`Host::on_cancel`]: the callback must not block.
    fn on_cancel(&self, callback: Box<dyn FnOnce() + Send>);
}

impl Reporter for Host {
    fn log(&self, level: Level, text: &str) {
        Host::log(self, level, text);
    }

    fn on_cancel(&self, callback: Box<dyn FnOnce() + Send>) {
        Host::on_cancel(self, callback);
    }
}

/// Whether the task was asked to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Remembers the request, then calls `also`.
    pub(crate) fn watch(&self, reporter: &dyn Reporter, also: impl FnOnce() + Send + 'static) {
        let flag = Arc::clone(&self.0);
        reporter.on_cancel(Box::new(move || {
            flag.store(true, Ordering::SeqCst);
            also();
        }));
    }

    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// An error once the task is to stop.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.requested() { Err(cancelled()) } else { Ok(()) }
    }
}

pub(crate) fn cancelled() -> Error {
    Error::cancelled("stopped on request before the script was through")
}
