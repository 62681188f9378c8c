//! What an oxidag engine is written against: the author's traits, and the stable ABI behind them.
//!
//! An author implements [`Engine`] (blocking, on one of the host's worker threads) or, with the feature
//! `async`, [`AsyncEngine`] (on the engine's own runtime; waiting costs no thread), and names the type in one
//! [`export_engine!`] or [`export_async_engine!`]. Nothing else of the ABI is met:
//!
//! ```
//! use oxidag_plugin_api::{Engine, Host, NoConfig, Outcome, Result, Task, export_engine};
//!
//! struct Echo;
//!
//! impl Engine for Echo {
//!     type Config = NoConfig;
//!     const SCRIPT_SUFFIX: &'static str = ".txt";
//!
//!     fn create(_config: NoConfig) -> Result<Self> {
//!         Ok(Echo)
//!     }
//!
//!     fn run(&self, task: Task, host: &Host) -> Result<Outcome> {
//!         host.info(&task.script.text);
//!         Ok(Outcome::default())
//!     }
//! }
//!
//! export_engine!(Echo, name = "echo");
//! # fn main() {}
//! ```
//!
//! Its unit tests run on a host that the feature `test` brings (`test::TestEngine`): it records what the engine tells it, moves the
//! time that the engine waits by, cancels, and lets the scheduler die.
//!
//! How the parts lie: [`abi`] is what crosses the boundary and is meant to freeze; the modules around it are
//! the author's side, compiled into the engine. A panic never crosses the boundary: it is caught on the
//! engine's side of every call and becomes an error.

#[cfg(panic = "abort")]
compile_error!(
    "an oxidag engine must not be compiled with panic = \"abort\": one panic would end the whole \
     scheduler instead of one attempt; remove the setting from the Cargo profile"
);

pub mod abi;
mod adapter;
mod engine;
mod host;
mod panics;
#[cfg(feature = "async")]
mod runtime;
mod stopped;
mod task;
#[cfg(feature = "test")]
pub mod test;

#[cfg(feature = "async")]
pub use engine::AsyncEngine;
pub use engine::{Engine, NoConfig};
pub use host::{Host, Level};
pub use task::{Error, ErrorKind, Finding, Outcome, Result, Script, Severity, Task};

/// What the export macros expand to; not for authors.
#[doc(hidden)]
pub mod __private {
    pub use crate::adapter::blocking_module;
    #[cfg(feature = "async")]
    pub use crate::runtime::async_module;
    pub use abi_stable;
}
