//! Plain lines: one for each start and end, for logs, pipes and terminals that cannot redraw.

use std::fmt::Display;
use std::io::{self, Write};

use oxidag_core::event::{Event, TaskIdx, Timestamp};
use oxidag_core::growth::Growth;
use oxidag_core::runner::Reporter;
use oxidag_core::state::TaskState;

use super::record::{News, Record};
use super::{Watched, summary};
use crate::format::{between, count, duration, one_line};
use crate::style::Palette;

/// Writes lines to a stream.
pub(super) struct Human<W> {
    run: Watched,
    record: Record,
    out: W,
    palette: Palette,
}

impl<W: Write> Human<W> {
    pub(super) fn new(run: Watched, out: W, palette: Palette) -> Self {
        let record = Record::new(&run.begun);
        Self { run, record, out, palette }
    }

    fn line(
        &mut self,
        now: Timestamp,
        state: TaskState,
        task: TaskIdx,
        detail: impl Display,
    ) -> io::Result<()> {
        let at = duration(between(self.record.started_at, now));
        let (name, palette) = (self.run.full_name(task), self.palette);
        writeln!(self.out, "{:>7}  {:<15}  {name}{detail}", palette.faint(at), palette.task(state, state))
    }
}

/// The line with which a run begins.
pub(super) fn begins(run: &Watched, palette: Palette) -> String {
    let (tasks, workers) = (count(run.names.graph.len(), "task"), count(run.workers as usize, "worker"));
    let ended = run.begun.iter().filter(|state| state.is_terminal()).count();
    let (goes_on, of_them) = match run.begun.iter().any(|&state| state != TaskState::None) {
        true => (" goes on", format!(" ({ended} ended before)")),
        false => ("", String::new()),
    };
    format!("run {} of {}{goes_on}: {tasks}{of_them}, {workers}", palette.strong(&run.run_id), run.dag_id)
}

/// What was added: from which task, and how much.
pub(super) fn grown(run: &Watched, growth: &Growth) -> String {
    let tasks = count(growth.tasks.len(), "task");
    match growth.cause.task() {
        Some(from) => format!("{} + {tasks}", run.full_name(from)),
        None => format!("rule {} + {tasks}", growth.cause.rule().unwrap_or_default()),
    }
}

/// What is said of a task's end behind its name.
pub(super) fn detail(
    attempt: u32,
    state: TaskState,
    took: Option<std::time::Duration>,
    why: Option<&str>,
) -> String {
    let mut detail = String::new();
    if let Some(took) = took {
        detail += &format!(" ({})", duration(took));
    }
    match (state, why) {
        (TaskState::UpForRetry, why) => {
            detail += &format!(
                ": attempt {attempt} failed, another follows: {}",
                one_line(why.unwrap_or_default())
            );
        }
        (_, Some(why)) => detail += &format!(": {}", one_line(why)),
        (_, None) => {}
    }
    detail
}

impl<W: Write + Send> Reporter for Human<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match self.record.note(event) {
            None => Ok(()),
            Some(News::Began) => writeln!(self.out, "{}", begins(&self.run, self.palette)),
            Some(News::Started { task, attempt }) => {
                let again = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
                self.line(event.ts, TaskState::Running, task, again)
            }
            Some(News::Ended { task, attempt, state, took, why }) => {
                self.line(event.ts, state, task, detail(attempt, state, took, why.as_deref()))
            }
            Some(News::Grown(growth)) => {
                self.run.grow(&growth);
                let at = duration(between(self.record.started_at, event.ts));
                writeln!(
                    self.out,
                    "{:>7}  {:<15}  {}",
                    self.palette.faint(at),
                    "grown",
                    grown(&self.run, &growth)
                )
            }
            Some(News::RunEnded { state, error }) => {
                let Self { run, record, out, palette } = self;
                summary::write(out, run, record, (state, error), event.ts, *palette)
            }
        }
    }

    fn idle(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::record::tests::{events, watched};

    #[test]
    fn a_run_that_goes_on_says_what_was_done_before() {
        let mut run = watched();
        run.begun[0] = TaskState::Success;
        insta::assert_snapshot!(begins(&run, Palette::PLAIN), @"run r1 of nightly goes on: 4 tasks (1 ended before), 2 workers");
    }

    #[test]
    fn every_start_and_end_is_a_line() {
        let mut out = Vec::new();
        let mut human = Human::new(watched(), &mut out, Palette::PLAIN);
        events().iter().for_each(|event| human.event(event).unwrap());
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        run r1 of nightly: 4 tasks, 2 workers
            0ms  running          load
           1.5s  success          load (1.5s)
           1.5s  running          clean
           1.5s  running          count
           2.0s  up_for_retry     count (500ms): attempt 1 failed, another follows: exit status 1
           3.0s  running          count (attempt 2)
           3.3s  failed           count (250ms): no such table; near "x"
           3.3s  upstream_failed  report
           4.0s  success          clean (2.5s)

        count failed in attempt 2 after 250ms: no such table; near "x"

        failed in 4.0s: 2 success, 1 failed, 1 upstream_failed
        run   oxidag runs show r1
        logs  home/logs/nightly
        "#);
    }
}
