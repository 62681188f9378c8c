//! Nothing, unless something fails: then why, on standard error.

use std::io::{self, Write};

use oxidag_core::event::{Event, EventKind, FailureKind};
use oxidag_core::runner::Reporter;
use oxidag_core::state::{RunState, TaskState};

use super::Watched;
use crate::format::one_line;

/// Writes errors to a stream.
pub(super) struct Quiet<W> {
    run: Watched,
    out: W,
}

impl<W: Write> Quiet<W> {
    pub(super) fn new(run: Watched, out: W) -> Self {
        Self { run, out }
    }
}

impl<W: Write + Send> Reporter for Quiet<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        if let EventKind::Grown(growth) = &event.kind {
            self.run.grow(growth);
        }
        let run_id = &self.run.run_id;
        match &event.kind {
            EventKind::TaskState { task, attempt, state: TaskState::Failed, end } => {
                let error = end.as_ref().and_then(|end| end.error.as_ref());
                let why =
                    error.map_or_else(|| "no reason was given".to_owned(), |error| one_line(&error.message));
                let name = self.run.full_name(*task);
                match attempt {
                    0 => writeln!(self.out, "error: task {name} failed: {why}"),
                    _ => writeln!(self.out, "error: task {name} failed in attempt {attempt}: {why}"),
                }
            }
            EventKind::TaskState { task, end: Some(end), .. } => match &end.error {
                Some(error) if error.kind == FailureKind::Abandoned => {
                    let (name, why) = (self.run.full_name(*task), one_line(&error.message));
                    writeln!(self.out, "error: task {name} could not be stopped: {why}")
                }
                _ => Ok(()),
            },
            EventKind::RunState { state: RunState::Failed, error: Some(error) } => {
                writeln!(self.out, "error: the run {run_id} could not go on: {}", one_line(&error.message))
            }
            EventKind::RunState { state: RunState::Cancelled, .. } => {
                writeln!(self.out, "the run {run_id} was cancelled")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::record::tests::{events, watched};

    #[test]
    fn only_failures_are_told() {
        let mut out = Vec::new();
        let mut quiet = Quiet::new(watched(), &mut out);
        events().iter().for_each(|event| quiet.event(event).unwrap());
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"error: task count failed in attempt 2: no such table; near "x""#);
    }
}
