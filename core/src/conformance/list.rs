//! The checks by name. What each of them does is in `checks`.

use serde::{Deserialize, Serialize};

/// A check of the kit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The library is one of an engine, with an ABI that this oxidag has.
    Handshake,
    /// It describes itself, and the schema of its configuration is a JSON Schema.
    Schema,
    /// Engines are created from its configuration, several side by side, and destroyed.
    Create,
    /// Values that the schema refuses are refused by the engine too, with a message.
    ConfigRefused,
    /// Text that is not what the ABI says harms no call, and an attempt with it ends.
    Malformed,
    /// A dry run of a task that succeeds finds nothing wrong.
    Validate,
    /// A task succeeds.
    Success,
    /// A task fails, by the script's fault, with a message.
    Failure,
    /// An attempt that was made before is taken up under its idempotency key.
    SameKey,
    /// The scheduler is killed before a checkpoint is stored, and the attempt goes on.
    CrashBeforeCheckpoint,
    /// The scheduler is killed after a checkpoint was stored, and the attempt goes on from it.
    CrashAfterCheckpoint,
    /// A task that is cancelled before the engine sees it does not run.
    CancelBefore,
    /// A task that runs is cancelled.
    CancelDuring,
    /// A cancellation that comes after the end does nothing.
    CancelAfter,
    /// A task whose time is up ends within the grace period.
    Deadline,
    /// `create` panics, and it is an error.
    PanicCreate,
    /// `blocks` panics, and the engine goes on.
    PanicBlocks,
    /// A dry run panics; it is an error, and the engine goes on.
    PanicValidate,
    /// A task panics; it is an error, and the engine goes on.
    PanicTask,
    /// A task panics as it is asked to stop; it ends, and the engine goes on.
    PanicCancel,
    /// The engine panics as it is destroyed, and the next one is created.
    PanicDestroy,
    /// Each attempt is ended once, and its host is let go of.
    Completion,
    /// A parameter of a megabyte.
    LargeParameters,
    /// Characters beyond ASCII, in parameters, paths and scripts.
    NonAscii,
    /// Many tasks at once.
    Concurrent,
    /// Attempts leave no thread behind.
    Threads,
    /// Nothing is written to standard output, in any check.
    Stdout,
}

impl Check {
    /// All, in the order in which they are made.
    pub const ALL: [Self; 27] = [
        Self::Handshake,
        Self::Schema,
        Self::Create,
        Self::ConfigRefused,
        Self::Malformed,
        Self::Validate,
        Self::Success,
        Self::Failure,
        Self::SameKey,
        Self::CrashBeforeCheckpoint,
        Self::CrashAfterCheckpoint,
        Self::CancelBefore,
        Self::CancelDuring,
        Self::CancelAfter,
        Self::Deadline,
        Self::PanicCreate,
        Self::PanicBlocks,
        Self::PanicValidate,
        Self::PanicTask,
        Self::PanicCancel,
        Self::PanicDestroy,
        Self::Completion,
        Self::LargeParameters,
        Self::NonAscii,
        Self::Concurrent,
        Self::Threads,
        Self::Stdout,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Schema => "schema",
            Self::Create => "create",
            Self::ConfigRefused => "config_refused",
            Self::Malformed => "malformed",
            Self::Validate => "validate",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::SameKey => "same_key",
            Self::CrashBeforeCheckpoint => "crash_before_checkpoint",
            Self::CrashAfterCheckpoint => "crash_after_checkpoint",
            Self::CancelBefore => "cancel_before",
            Self::CancelDuring => "cancel_during",
            Self::CancelAfter => "cancel_after",
            Self::Deadline => "deadline",
            Self::PanicCreate => "panic_create",
            Self::PanicBlocks => "panic_blocks",
            Self::PanicValidate => "panic_validate",
            Self::PanicTask => "panic_task",
            Self::PanicCancel => "panic_cancel",
            Self::PanicDestroy => "panic_destroy",
            Self::Completion => "completion",
            Self::LargeParameters => "large_parameters",
            Self::NonAscii => "non_ascii",
            Self::Concurrent => "concurrent",
            Self::Threads => "threads",
            Self::Stdout => "stdout",
        }
    }

    /// The check of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_there_once_under_the_name_that_json_has() {
        for check in Check::ALL {
            assert_eq!(Check::named(check.name()), Some(check));
            assert_eq!(serde_json::to_value(check).unwrap(), check.name());
        }
    }
}
