//! What is under way, so that a cancellation can say what goes on without the task.

use std::sync::{Mutex, PoisonError};

use oxidag_plugin_api::Error;

use crate::request::Function;

/// What goes on elsewhere if the task stops now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    /// Nothing.
    #[default]
    Idle,
    /// Google makes the function ready.
    Deploying,
    /// The function runs, or may run.
    Calling {
        /// Where it was called, as it may be shown.
        url: String,
    },
}

/// The stage of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    now: Mutex<Stage>,
}

impl Stages {
    /// The attempt has come to this stage.
    pub(crate) fn enter(&self, stage: Stage) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// The end of an attempt that is asked to stop here, and whether something may go on without it.
    pub(crate) fn cancelled(&self, function: Option<&Function>) -> (Error, bool) {
        let see = function.map_or(String::new(), |function| format!("; see {}", function.link()));
        match &*self.now.lock().unwrap_or_else(PoisonError::into_inner) {
            Stage::Idle => (Error::cancelled("stopped before the function was called"), false),
            Stage::Deploying => {
                let what = function.map_or("the function".to_owned(), ToString::to_string);
                let message = format!(
                    "stopped, but a deployment cannot be cancelled: that of {what} may still go on{see}"
                );
                (Error::cancelled(message), true)
            }
            Stage::Calling { url } => {
                let message = format!(
                    "the connection to {url} was closed, but a call cannot be cancelled: the function may still \
                     run, and be billed, until its own time limit{see}"
                );
                (Error::cancelled(message), true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxidag_plugin_api::ErrorKind;

    #[test]
    fn a_cancellation_says_what_goes_on() {
        let function = Function { project: "p".to_owned(), region: "r".to_owned(), name: "f".to_owned() };
        let stages = Stages::default();
        assert!(!stages.cancelled(Some(&function)).1);
        stages.enter(Stage::Deploying);
        insta::assert_snapshot!(stages.cancelled(Some(&function)).0, @"stopped, but a deployment cannot be cancelled: that of the function `f` of p in r may still go on; see https://console.cloud.google.com/functions/details/r/f?project=p");
        stages.enter(Stage::Calling { url: "https://a.b/c".to_owned() });
        let (error, goes_on) = stages.cancelled(None);
        assert!(goes_on);
        assert_eq!(error.kind, ErrorKind::Cancelled);
        insta::assert_snapshot!(error, @"the connection to https://a.b/c was closed, but a call cannot be cancelled: the function may still run, and be billed, until its own time limit");
    }
}
