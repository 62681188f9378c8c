//! DAG files: JSON or YAML in, a [`Dag`] or every mistake out.
//!
//! ```text
//! JSON ─▶ json ─┐
//!               ├─▶ tree (values with places) ─▶ lower ─▶ links ─▶ Dag
//! YAML ─▶ yaml ─┘                                  │
//!                                                  └─ keys ─▶ schema
//! ```
//!
//! JSON skips the tree but for one task at a time: each is lowered as soon as it is read.
//!
//! What holds between tasks beyond their names, such as that there is no cycle, is [`crate::graph`]'s.

mod dag;
mod diagnostic;
mod json;
mod keys;
mod links;
mod load;
mod lower;
mod names;
mod scalar;
mod schema;
pub mod source;
mod subs;
pub mod suggest;
mod task;
#[cfg(test)]
mod tests;
mod tree;
mod yaml;

pub use dag::{
    Addition, Backoff, Dag, Each, ForEach, List, Location, Notify, NotifyOn, NotifyTarget, Over, Rule,
    Script, ScriptSource, SubDag, TriggerRule, When,
};
pub use diagnostic::{Diagnostic, Diagnostics, quote};
pub(crate) use links::MATCHED;
pub use load::{SpecError, load, parse, parse_addition};
pub use lower::{PRESETS as SCHEDULE_PRESETS, is_id};
pub use schema::schema;
pub use source::{SourceFile, Span};
pub use subs::attach as with_subs;
pub use task::{Dependency, Task, TaskOptions};
