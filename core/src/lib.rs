//! The scheduler of oxidag, as a library.
//!
//! ```text
//! DAG file ─▶ spec ─▶ graph ─▶ scheduler ─▶ runner ─▶ engine (a .so)
//!                               (pure)        │
//!                                             ▼
//!                                   events ─▶ store, task logs, terminal, JSON
//! ```
//!
//! What is deliberately absent is as important as what is here:
//!
//! - [`condition`], [`graph`], [`schedule`], [`state`] and [`scheduler`] do no I/O, read no clock, start no thread and print nothing.
//! - Only [`runner`] has engines run tasks and emits events; every event is stored before anyone else sees it.
//! - Only [`loader`] opens a shared library. Only [`store`] speaks SQL to the metadata database.
//! - Nothing here prints: what people read is made in the `oxidag` command.

pub mod background;
pub mod buckets;
pub mod cache;
pub mod condition;
pub mod conformance;
pub mod dry_run;
pub mod engine;
pub mod event;
pub mod graph;
pub mod growth;
pub mod loader;
pub mod logs;
pub mod params;
pub mod plan;
pub mod plugins;
pub mod prepare;
pub mod runner;
pub mod schedule;
pub mod scheduler;
pub mod scripts;
pub mod secrets;
mod signals;
pub mod spec;
pub mod state;
mod stdin_socket;
pub mod store;
pub mod trust;
