//! The conformance kit: whether a library keeps what the ABI and its author's side promise, seen by calling it as the
//! scheduler does.
//!
//! ```text
//! kit ── one process a check ──▶ child ─▶ checks ─▶ session ─▶ the engine
//!  ▲                               │                   ▲
//!  └────────── wire ◀──────────────┘        recorder ──┘
//! ```
//!
//! `kit` starts the processes, kills them, and judges how they ended; whatever the library does, it goes on; `leftover` kills what
//! the library has started. `child` is the other side: it makes one check and tells what it saw. Nothing here prints, and the library is only opened by
//! [`loader`](crate::loader).

mod cases;
mod checks;
mod child;
mod kit;
mod leftover;
mod list;
mod recorder;
mod session;
mod wire;

use serde::{Deserialize, Serialize};

pub use cases::{Cases, CasesError};
pub use child::serve;
pub use kit::{Kit, KitError};
pub use list::Check;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// The engine keeps the rule.
    Passed,
    /// It does not.
    Failed,
    /// The rule has no meaning for this engine.
    NotApplicable,
    /// The engine could not be made to show it, for want of a case.
    NotTested,
}

/// What a check came to, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What it came to.
    #[serde(rename = "result")]
    pub grade: Grade,
    /// What was seen; where nothing was tried, why.
    pub seen: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// A check that was made, or why not: a public shape.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Which one.
    pub check: Check,
    /// What it came to.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How long it took.
    pub seconds: f64,
}

impl Verdict {
    fn new(grade: Grade, seen: impl Into<String>) -> Self {
        Self { grade, seen: seen.into(), advice: None }
    }

    fn passed(seen: impl Into<String>) -> Self {
        Self::new(Grade::Passed, seen)
    }

    fn failed(seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..Self::new(Grade::Failed, seen) }
    }

    fn not_applicable(why: impl Into<String>) -> Self {
        Self::new(Grade::NotApplicable, why)
    }

    fn not_tested(why: impl Into<String>) -> Self {
        Self::new(Grade::NotTested, why)
    }
}
