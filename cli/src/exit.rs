//! Exit statuses: how a script tells a failed run from a wrong file.

use std::process::ExitCode;

use oxidag_core::state::RunState;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// What was asked for was done.
    Success = 0,
    /// The run failed, or there was nothing to cancel.
    Failed = 1,
    /// The request was wrong, and nothing ran; also what clap says of wrong usage.
    Refused = 2,
    /// The run was stopped on request, as a shell says it of a program that Ctrl-C ended.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl From<RunState> for Exit {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Success => Exit::Success,
            RunState::Cancelled => Exit::Interrupted,
            // A run that ended is not running any more; whoever says so has not seen it succeed.
            RunState::Failed | RunState::Running => Exit::Failed,
        }
    }
}
