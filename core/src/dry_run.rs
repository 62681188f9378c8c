//! The dry run: what engines find about tasks without running them.
//!
//! Nothing is stored and nothing runs. A task is handed to its engine just as its first attempt would be.

pub use oxidag_plugin_api::{Finding, Severity};

use oxidag_plugin_api::{Error, ErrorKind};

use crate::event::TaskIdx;
use crate::plan::Work;
use crate::prepare::Prepared;
use crate::state::IllegalTransition;
use crate::store::Durations;

/// Stands for the run that there is none of.
const RUN_ID: &str = "dry-run";

/// What was found about a task; secrets are masked.
#[derive(Debug, Clone, PartialEq)]
pub struct Examined {
    /// The script that places are in: a file's path, or `inline`.
    pub script: String,
    /// What its engine noticed.
    pub findings: Vec<Finding>,
}

impl Prepared {
    /// The tasks in the order in which they would start if each succeeds and no other DAG runs; see [`Work::order`].
    ///
    /// # Errors
    ///
    /// [`IllegalTransition`] is a bug in the scheduler.
    pub fn order(
        &self,
        history: &Durations,
        workers: u32,
        left_out: &[TaskIdx],
    ) -> Result<Vec<String>, IllegalTransition> {
        let work = Work::new(&self.graph, self.infos(history), self.dag.processors);
        work.without(left_out, &[]).order(&self.limits(workers))
    }

    /// Asks a task's engine what would be wrong with it.
    #[must_use]
    pub fn dry_run(&self, task: TaskIdx) -> Examined {
        if let Some(dag) = &self.task(task).dag {
            return Examined { script: dag.to_string(), findings: Vec::new() };
        }
        let call = match self.call(self.entry(task), RUN_ID, 1, RUN_ID) {
            Ok(call) => call,
            Err(message) => {
                let finding = finding(Severity::Error, self.masker.mask(&message).into_owned());
                return Examined { script: String::new(), findings: vec![finding] };
            }
        };
        let mut json = String::new();
        let written = call.write(&mut json).map_err(Error::failed);
        let mut findings = match written.and_then(|()| self.engine(task).validate(&json)) {
            Ok(findings) => findings,
            Err(error) => vec![not_examined(&error)],
        };
        for finding in &mut findings {
            finding.message = self.masker.mask(&finding.message).into_owned();
        }
        Examined { script: self.masker.mask(call.script.name).into_owned(), findings }
    }
}

/// An engine that could not look says nothing of the task; that its service is away now does not make the task wrong.
fn not_examined(error: &Error) -> Finding {
    let severity = if error.kind == ErrorKind::Transient { Severity::Warning } else { Severity::Error };
    finding(severity, format!("the engine could not check it: {}", error.message))
}

fn finding(severity: Severity, message: String) -> Finding {
    Finding { severity, message, line: None, column: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_away_makes_no_task_wrong() {
        let severity = |error: &Error| not_examined(error).severity;
        assert_eq!(severity(&Error::transient("away")), Severity::Warning);
        assert_eq!(severity(&Error::failed("broken")), Severity::Error);
        assert_eq!(severity(&Error::invalid("wrong")), Severity::Error);
        insta::assert_snapshot!(not_examined(&Error::transient("no route")).message, @"the engine could not check it: no route");
    }
}
