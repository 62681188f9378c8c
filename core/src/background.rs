//! The one runtime on which core talks to services: buckets, databases of scripts, the script cache, log upload.
//!
//! It is started when it is first needed, so that a run that needs no service pays nothing.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads for what waits on the network; the work between two waits is small.
const THREADS: usize = 2;

/// Files and names are looked up on threads of their own; no more of them than that.
const BLOCKING_THREADS: usize = 8;

/// A runtime that is not there until it is asked for.
#[derive(Debug, Default)]
pub struct Background(Mutex<Option<Runtime>>);

impl Background {
    /// The runtime, started if it was not yet.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn handle(&self) -> io::Result<Handle> {
        let mut runtime = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*runtime {
            return Ok(runtime.handle().clone());
        }
        // Before the first client: without a provider they panic. It fails only where another one was installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let started = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("oxidag-io")
            .enable_all()
            .build()?;
        Ok(runtime.insert(started).handle().clone())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // The last owner may be a task of the runtime itself; and what still waits must not hold up the end.
        if let Some(runtime) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            runtime.shutdown_background();
        }
    }
}
