//! One event a line, as JSON: a public shape.

use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use oxidag_core::event::{AttemptEnd, Event, EventKind, Failure, TaskIdx, Timestamp};
use oxidag_core::logs::{MissedLogs, rfc3339};
use oxidag_core::runner::Reporter;
use oxidag_core::state::{RunState, TaskState};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Watched;

/// Writes events to a stream.
pub(super) struct Json<W> {
    run: Watched,
    out: W,
}

/// A line.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    RunState {
        #[serde(serialize_with = "time")]
        ts: Timestamp,
        run_id: &'a str,
        dag_id: &'a str,
        state: RunState,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a Failure>,
    },
    TaskState {
        #[serde(serialize_with = "time")]
        ts: Timestamp,
        run_id: &'a str,
        task_id: &'a str,
        attempt: u32,
        state: TaskState,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a Failure>,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        metrics: Option<&'a Value>,
    },
    Log {
        #[serde(serialize_with = "time")]
        ts: Timestamp,
        run_id: &'a str,
        task_id: &'a str,
        attempt: u32,
        level: &'a str,
        line: &'a str,
    },
    Progress {
        #[serde(serialize_with = "time")]
        ts: Timestamp,
        run_id: &'a str,
        task_id: &'a str,
        attempt: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        fraction: Option<f64>,
        message: &'a str,
    },
    Grown {
        #[serde(serialize_with = "time")]
        ts: Timestamp,
        run_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<&'a str>,
        tasks: Vec<&'a str>,
    },
    LogsNotUploaded {
        #[serde(serialize_with = "time")]
        ts: Timestamp,
        run_id: &'a str,
        count: usize,
        folder: &'a str,
        local: &'a Path,
        reasons: &'a [String],
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn time<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&rfc3339(*time))
}

impl<W: Write> Json<W> {
    pub(super) fn new(run: Watched, out: W) -> Self {
        Self { run, out }
    }
}

/// The line for an event; checkpoints are between an engine and the store.
fn line<'a>(run: &'a Watched, event: &'a Event) -> Option<Line<'a>> {
    let (ts, run_id) = (event.ts, run.run_id.as_str());
    let task_id = |task: TaskIdx| run.name(task);
    Some(match &event.kind {
        EventKind::RunState { state, error } => {
            Line::RunState { ts, run_id, dag_id: &run.dag_id, state: *state, error: error.as_deref() }
        }
        EventKind::TaskState { task, attempt, state, end } => {
            let end: Option<&AttemptEnd> = end.as_deref();
            Line::TaskState {
                ts,
                run_id,
                task_id: task_id(*task),
                attempt: *attempt,
                state: *state,
                error: end.and_then(|end| end.error.as_ref()),
                result: end.and_then(|end| end.result.as_ref()),
                metrics: end.and_then(|end| end.metrics.as_ref()),
            }
        }
        EventKind::Log { task, attempt, level, line } => {
            Line::Log { ts, run_id, task_id: task_id(*task), attempt: *attempt, level, line }
        }
        EventKind::Progress { task, attempt, fraction, message } => Line::Progress {
            ts,
            run_id,
            task_id: task_id(*task),
            attempt: *attempt,
            fraction: *fraction,
            message,
        },
        EventKind::Grown(growth) => Line::Grown {
            ts,
            run_id,
            from: growth.cause.task().map(task_id),
            rule: growth.cause.rule(),
            tasks: growth.tasks.iter().map(|task| &*task.task_id).collect(),
        },
        EventKind::Checkpoint { .. } => return None,
    })
}

/// The line for logs of a run that were not uploaded; it follows the run's last.
pub(super) fn missed_logs(mut out: impl Write, missed: &MissedLogs) -> io::Result<()> {
    let MissedLogs { run_id, count, folder, local, reasons } = missed;
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let ts = Timestamp::default().after(since);
    write_line(&mut out, &Line::LogsNotUploaded { ts, run_id, count: *count, folder, local, reasons })?;
    out.flush()
}

fn write_line(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    out.write_all(&text)
}

impl<W: Write + Send> Reporter for Json<W> {
    fn wants_logs(&self) -> bool {
        true
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        if let EventKind::Grown(growth) = &event.kind {
            self.run.grow(growth);
        }
        let Self { run, out } = self;
        line(run, event).map_or(Ok(()), |line| write_line(out, &line))
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
    fn each_event_is_a_line() {
        let mut out = Vec::new();
        let mut json = Json::new(watched(), &mut out);
        events().iter().for_each(|event| json.event(event).unwrap());
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        {"event":"run_state","ts":"2026-11-22T18:44:05.000000Z","run_id":"r1","dag_id":"nightly","state":"running"}
        {"event":"task_state","ts":"2026-11-22T18:44:05.000000Z","run_id":"r1","task_id":"load","attempt":0,"state":"scheduled"}
        {"event":"task_state","ts":"2026-11-22T18:44:05.000000Z","run_id":"r1","task_id":"load","attempt":1,"state":"running"}
        {"event":"task_state","ts":"2026-11-22T18:44:06.500000Z","run_id":"r1","task_id":"load","attempt":1,"state":"success","result":{"rows":7},"metrics":{"cpu_s":0.5}}
        {"event":"task_state","ts":"2026-11-22T18:44:06.500000Z","run_id":"r1","task_id":"clean","attempt":0,"state":"scheduled"}
        {"event":"task_state","ts":"2026-11-22T18:44:06.500000Z","run_id":"r1","task_id":"count","attempt":0,"state":"scheduled"}
        {"event":"task_state","ts":"2026-11-22T18:44:06.500000Z","run_id":"r1","task_id":"clean","attempt":1,"state":"running"}
        {"event":"task_state","ts":"2026-11-22T18:44:06.500000Z","run_id":"r1","task_id":"count","attempt":1,"state":"running"}
        {"event":"log","ts":"2026-11-22T18:44:06.600000Z","run_id":"r1","task_id":"clean","attempt":1,"level":"stdout","line":"a \"line\""}
        {"event":"progress","ts":"2026-11-22T18:44:06.600000Z","run_id":"r1","task_id":"clean","attempt":1,"fraction":0.5,"message":"half"}
        {"event":"task_state","ts":"2026-11-22T18:44:07.000000Z","run_id":"r1","task_id":"count","attempt":1,"state":"up_for_retry","error":{"kind":"failed","message":"exit status 1"}}
        {"event":"task_state","ts":"2026-11-22T18:44:08.000000Z","run_id":"r1","task_id":"count","attempt":1,"state":"scheduled"}
        {"event":"task_state","ts":"2026-11-22T18:44:08.000000Z","run_id":"r1","task_id":"count","attempt":2,"state":"running"}
        {"event":"task_state","ts":"2026-11-22T18:44:08.100000Z","run_id":"r1","task_id":"clean","attempt":1,"state":"deferred"}
        {"event":"task_state","ts":"2026-11-22T18:44:08.250000Z","run_id":"r1","task_id":"count","attempt":2,"state":"failed","error":{"kind":"failed","message":"no such table\n  near \"x\""}}
        {"event":"task_state","ts":"2026-11-22T18:44:08.250000Z","run_id":"r1","task_id":"report","attempt":0,"state":"upstream_failed"}
        {"event":"task_state","ts":"2026-11-22T18:44:09.000000Z","run_id":"r1","task_id":"clean","attempt":1,"state":"success"}
        {"event":"run_state","ts":"2026-11-22T18:44:09.000000Z","run_id":"r1","dag_id":"nightly","state":"failed"}
        "#);
    }
}
