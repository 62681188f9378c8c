//! What the engines of Google's services share: who a task acts as, clients, retries, pacing, labels, errors.
//!
//! A plain library, linked into each engine; it knows no engine and runs no task. Authentication is Application
//! Default Credentials, or a service-account key through a task's connection, either impersonating another
//! account or not; nothing else is read from the DAG.

mod account;
mod client;
mod config;
mod error;
mod labels;
mod pace;
mod retry;
mod storage;

/// What the host writes in place of a secret, into checkpoints too: a name that is also the value of a connection is
/// not stored there.
pub const MASK: &str = "***";

pub use account::Account;
pub use client::{Clients, connected, install_cryptography};
pub use config::{GoogleConfig, text_param};
pub use error::{from_builder, from_gax, is_refusal, reason};
pub use labels::{label_value, labels};
pub use pace::{Pace, request_slot};
pub use retry::{backoff, pause_after, retry_policy};
pub use storage::{Bucket, ObjectPlace};
