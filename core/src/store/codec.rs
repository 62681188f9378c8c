//! Events as bytes, and back as what they change in the database.
//!
//! JSON is made once, when an event is recorded, and is stored as it is: applying a journal parses none.
//! Log lines and progress are not encoded, for nobody asks the store for them.

use std::io;

use serde::Serialize;

use super::names::Name;
use crate::event::{AttemptEnd, Event, EventKind, TaskIdx};
use crate::growth::Growth;
use crate::state::{RunState, TaskState};

const RUN_STATE: u8 = 1;
const TASK_STATE: u8 = 2;
const CHECKPOINT: u8 = 3;
const GROWN: u8 = 4;
/// In place of a task's number where there is none.
const NO_TASK: u32 = u32::MAX;

/// What an event changes in the tables; text is JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// The run's row.
    Run(RunChange<'a>),
    /// How far a task has got.
    Task(TaskChange<'a>),
    /// The tasks of a run.
    Grown(GrownChange<'a>),
}

/// Tasks that were added to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GrownChange<'a> {
    pub(super) ts: i64,
    /// The number of the first of them.
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) cause: &'a str,
    tasks: &'a [u8],
}

impl<'a> GrownChange<'a> {
    /// The tasks, in order. That they can be read was seen when the change was.
    pub(super) fn tasks(&self) -> impl Iterator<Item = Name<'a>> + use<'a> {
        let mut reader = Reader(self.tasks);
        std::iter::from_fn(move || reader.grown_task())
    }
}

/// A run's new state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunChange<'a> {
    pub(super) ts: i64,
    pub(super) state: RunState,
    pub(super) error: Option<&'a str>,
}

/// Something that happened to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskChange<'a> {
    pub(super) ts: i64,
    pub(super) task: u32,
    pub(super) attempt: u32,
    pub(super) what: What<'a>,
}

/// What happened to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What<'a> {
    State(TaskState, End<'a>),
    Checkpoint(&'a str),
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct End<'a> {
    pub(super) error: Option<&'a str>,
    pub(super) result: Option<&'a str>,
    pub(super) metrics: Option<&'a str>,
}

/// The task that a stored event concerns.
pub(super) fn task_of(event: &Event) -> Option<TaskIdx> {
    match event.kind {
        EventKind::TaskState { task, .. } | EventKind::Checkpoint { task, .. } => Some(task),
        EventKind::RunState { .. }
        | EventKind::Grown(_)
        | EventKind::Log { .. }
        | EventKind::Progress { .. } => None,
    }
}

/// Appends an event to a frame's payload.
pub(super) fn encode(event: &Event, out: &mut Vec<u8>) -> io::Result<()> {
    let ts = event.ts.0;
    match &event.kind {
        EventKind::RunState { state, error } => {
            head(out, RUN_STATE, ts);
            out.push(*state as u8);
            json(error.as_deref(), out)
        }
        EventKind::TaskState { task, attempt, state, end } => {
            // In one piece: nothing is stored as often as this.
            let mut head = [0; 18];
            head[0] = TASK_STATE;
            head[1..9].copy_from_slice(&ts.to_le_bytes());
            head[9..13].copy_from_slice(&task.0.to_le_bytes());
            head[13..17].copy_from_slice(&attempt.to_le_bytes());
            head[17] = *state as u8;
            out.extend_from_slice(&head);
            encode_end(end.as_deref(), out)
        }
        EventKind::Checkpoint { task, attempt, checkpoint } => {
            head(out, CHECKPOINT, ts);
            out.extend_from_slice(&task.0.to_le_bytes());
            out.extend_from_slice(&attempt.to_le_bytes());
            json(Some(checkpoint.as_ref()), out)
        }
        EventKind::Grown(growth) => {
            head(out, GROWN, ts);
            encode_growth(growth, out)
        }
        EventKind::Log { .. } | EventKind::Progress { .. } => Ok(()),
    }
}

/// The cause brings the tasks back; their names stand beside it for whoever reads the tables without the DAG.
fn encode_growth(growth: &Growth, out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&growth.first.0.to_le_bytes());
    let count = u32::try_from(growth.tasks.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    out.extend_from_slice(&count.to_le_bytes());
    json(Some(&growth.cause), out)?;
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    for task in &growth.tasks {
        out.extend_from_slice(&task.from.map_or(NO_TASK, |from| from.0).to_le_bytes());
        text(&task.template.script.engine, out)?;
        text(&task.task_id, out)?;
    }
    let length = u32::try_from(out.len() - start - 4).map_err(|_| io::ErrorKind::FileTooLarge)?;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

fn text(text: &str, out: &mut Vec<u8>) -> io::Result<()> {
    let length = u32::try_from(text.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn head(out: &mut Vec<u8>, tag: u8, ts: i64) {
    out.push(tag);
    out.extend_from_slice(&ts.to_le_bytes());
}

/// Most changes of state end nothing, so that takes one byte.
fn encode_end(end: Option<&AttemptEnd>, out: &mut Vec<u8>) -> io::Result<()> {
    let end = end.filter(|end| **end != AttemptEnd::default());
    out.push(u8::from(end.is_some()));
    if let Some(end) = end {
        json(end.error.as_ref(), out)?;
        json(end.result.as_ref(), out)?;
        json(end.metrics.as_ref(), out)?;
    }
    Ok(())
}

/// Length and JSON text; nothing has the length 0, which no JSON has.
fn json<T: Serialize>(value: Option<&T>, out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    if let Some(value) = value {
        serde_json::to_writer(&mut *out, value)?;
        let length = out.len() - start - 4;
        let length = u32::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

/// Takes the changes off a frame's payload, in order; `None` in place of one that cannot be read, after which nothing follows.
pub(super) fn decode(payload: &[u8]) -> impl Iterator<Item = Option<Change<'_>>> {
    let mut reader = Reader(payload);
    std::iter::from_fn(move || {
        if reader.0.is_empty() {
            return None;
        }
        let change = reader.change();
        if change.is_none() {
            reader.0 = &[];
        }
        Some(change)
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<usize> {
        let [byte] = self.array()?;
        Some(usize::from(byte))
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Outer: whether it could be read; inner: whether there is a value.
    fn json(&mut self) -> Option<Option<&'a str>> {
        let length = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let text = std::str::from_utf8(text).ok()?;
        Some(Some(text).filter(|text| !text.is_empty()))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn grown_task(&mut self) -> Option<Name<'a>> {
        let from = Some(self.u32()?).filter(|&from| from != NO_TASK);
        Some(Name { from, engine: self.text()?, task_id: self.text()? })
    }

    fn grown(&mut self, ts: i64) -> Option<GrownChange<'a>> {
        let (first, count, cause) = (self.u32()?, self.u32()?, self.json()??);
        let length = self.u32()? as usize;
        let (tasks, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let change = GrownChange { ts, first, count, cause, tasks };
        (change.tasks().count() == count as usize).then_some(change)
    }

    fn change(&mut self) -> Option<Change<'a>> {
        let [tag, ts @ ..] = self.array::<9>()?;
        let ts = i64::from_le_bytes(ts);
        if tag == RUN_STATE {
            let state = *RunState::ALL.get(self.byte()?)?;
            let error = self.json()?;
            return Some(Change::Run(RunChange { ts, state, error }));
        }
        if tag == GROWN {
            return self.grown(ts).map(Change::Grown);
        }
        let [t0, t1, t2, t3, attempt @ ..] = self.array::<8>()?;
        let (task, attempt) = (u32::from_le_bytes([t0, t1, t2, t3]), u32::from_le_bytes(attempt));
        let what = match tag {
            TASK_STATE => self.state()?,
            CHECKPOINT => What::Checkpoint(self.json()??),
            _ => return None,
        };
        Some(Change::Task(TaskChange { ts, task, attempt, what }))
    }

    fn state(&mut self) -> Option<What<'a>> {
        let [state, has_end] = self.array()?;
        let state = *TaskState::ALL.get(usize::from(state))?;
        let end = match has_end {
            0 => End::default(),
            _ => End { error: self.json()?, result: self.json()?, metrics: self.json()? },
        };
        Some(What::State(state, end))
    }
}
