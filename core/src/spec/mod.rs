//! DAG files: JSON or YAML in, a [`Dag`] or every mistake out.

mod dag;
pub mod source;

pub use dag::{Backoff, Dag, Dependency, Location, Script, ScriptSource, Task, TriggerRule};
