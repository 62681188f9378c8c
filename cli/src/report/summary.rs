//! What people are told of a run once it is over: how it went, what failed and why, and where to read on.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use oxidag_core::event::{Failure, Timestamp};
use oxidag_core::logs::RunLogs;
use oxidag_core::state::{RunState, TaskState};

use super::Watched;
use super::record::{FailedTask, Record};
use crate::format::{between, count, duration, one_line, printable};
use crate::style::Palette;

/// So many failed tasks are shown with their logs.
const MOST_TASKS: usize = 10;

/// So many lines of a log are shown.
const LINES: usize = 10;

/// The end of a log in which these lines are looked for, in bytes.
const TAIL: u64 = 16 * 1024;

/// Writes the summary.
pub(super) fn write(
    out: &mut impl Write,
    run: &Watched,
    record: &Record,
    (state, error): (RunState, Option<Arc<Failure>>),
    now: Timestamp,
    palette: Palette,
) -> io::Result<()> {
    let logs = RunLogs::new(&run.home, &run.dag_id, &run.run_id);
    for task in record.failures.iter().take(MOST_TASKS) {
        failed_task(out, run, task, &logs, palette)?;
    }
    let more = record.count(TaskState::Failed).saturating_sub(MOST_TASKS);
    if more > 0 {
        writeln!(out, "\n… and {} more failed", count(more, "task"))?;
    }
    if !record.abandoned.is_empty() {
        let names: Vec<&str> = record.abandoned.iter().map(|&task| run.name(task)).collect();
        let what = palette.error("could not be stopped, and may still be running:");
        writeln!(out, "\n{what} {}", names.join(", "))?;
    }
    let took = duration(between(record.started_at, now));
    writeln!(out, "\n{} in {took}: {}", palette.run(state, palette.strong(state)), counts(record, palette))?;
    if let Some(error) = error {
        writeln!(out, "{} {}", palette.error("error:"), one_line(&error.message))?;
    }
    writeln!(out, "{}", palette.faint(format_args!("run   oxidag runs show {}", run.run_id)))?;
    writeln!(
        out,
        "{}",
        palette.faint(format_args!("logs  {}", run.home.join("logs").join(&run.dag_id).display()))
    )
}

fn failed_task(
    out: &mut impl Write,
    run: &Watched,
    failed: &FailedTask,
    logs: &RunLogs,
    palette: Palette,
) -> io::Result<()> {
    let name = run.name(failed.task);
    let attempt = if failed.attempt > 1 { format!(" in attempt {}", failed.attempt) } else { String::new() };
    let took = duration(failed.took);
    let what = palette.task(TaskState::Failed, "failed");
    writeln!(out, "\n{} {what}{attempt} after {took}: {}", palette.strong(name), one_line(&failed.why))?;
    let tail = tail(&logs.attempt(name, failed.attempt)).unwrap_or_default();
    for line in &tail {
        writeln!(out, "  {} {line}", palette.faint("│"))?;
    }
    if tail.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {}", palette.faint(format_args!("oxidag runs logs {} {name}", run.run_id)))
}

/// `8 success, 1 failed`.
fn counts(record: &Record, palette: Palette) -> String {
    let states = TaskState::ALL.into_iter().filter(|&state| record.count(state) > 0);
    let counts: Vec<String> = states
        .map(|state| palette.task(state, format_args!("{} {state}", record.count(state))).to_string())
        .collect();
    counts.join(", ")
}

/// The last lines of a log, without the time before each.
fn tail(path: &Path) -> io::Result<VecDeque<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // Where the log is longer, the first line is the rest of one.
    let lines = text.lines().skip(usize::from(from > 0));
    let mut last = VecDeque::with_capacity(LINES);
    for line in lines {
        if last.len() == LINES {
            last.pop_front();
        }
        last.push_back(printable(line.split_once(' ').map_or(line, |(_, line)| line)));
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::record::tests::{at, events, watched};
    use std::fmt::Write as _;

    fn summary(home: &Path) -> String {
        let run = Watched { home: home.to_owned(), ..watched() };
        let mut record = Record::new(&[TaskState::None; 4]);
        events().iter().for_each(|event| drop(record.note(event)));
        let mut out = Vec::new();
        write(&mut out, &run, &record, (RunState::Failed, None), at(4000), Palette::PLAIN).unwrap();
        String::from_utf8(out).unwrap().replace(&home.display().to_string(), "HOME")
    }

    #[test]
    fn a_failed_task_is_shown_with_the_end_of_its_log() {
        let home = tempfile::tempdir().unwrap();
        let log = RunLogs::new(home.path(), "nightly", "r1").attempt("count", 2);
        std::fs::create_dir_all(log.parent().unwrap()).unwrap();
        let mut text = String::new();
        (1..=12).for_each(|n| writeln!(text, "2026-11-22T18:44:05.000000Z stdout line {n}\x1b[31m").unwrap());
        std::fs::write(&log, text).unwrap();
        insta::assert_snapshot!(summary(home.path()), @r#"

        count failed in attempt 2 after 250ms: no such table; near "x"
          │ stdout line 3
          │ stdout line 4
          │ stdout line 5
          │ stdout line 6
          │ stdout line 7
          │ stdout line 8
          │ stdout line 9
          │ stdout line 10
          │ stdout line 11
          │ stdout line 12
          oxidag runs logs r1 count

        failed in 4.0s: 2 success, 1 failed, 1 upstream_failed
        run   oxidag runs show r1
        logs  HOME/logs/nightly
        "#);
    }

    #[test]
    fn without_a_log_the_reason_stands_alone() {
        let home = tempfile::tempdir().unwrap();
        insta::assert_snapshot!(summary(home.path()), @r#"

        count failed in attempt 2 after 250ms: no such table; near "x"

        failed in 4.0s: 2 success, 1 failed, 1 upstream_failed
        run   oxidag runs show r1
        logs  HOME/logs/nightly
        "#);
    }

    #[test]
    fn of_a_large_log_only_the_end_is_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.log");
        let text: String = (0..10_000).map(|n| format!("time line {n}\n")).collect();
        std::fs::write(&path, text).unwrap();
        let tail = tail(&path).unwrap();
        assert_eq!((tail.len(), tail[0].as_str(), tail[9].as_str()), (10, "line 9990", "line 9999"));
        std::fs::write(&path, "x".repeat(100_000)).unwrap();
        assert!(super::tail(&path).unwrap().is_empty(), "the rest of a line is none");
    }
}
