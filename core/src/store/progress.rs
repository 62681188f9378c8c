//! How far a task has got: the rules by which what happens to it becomes what is stored of it, one change after the other
//! and in whatever order they come, and the bytes in which that is stored.

use super::codec::{End, TaskChange, What};
use super::pack::{self, Unpacked};
use crate::state::TaskState;

/// How far a task has got. Times are microseconds since the Unix epoch, texts JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress<'a> {
    pub(super) state: TaskState,
    /// When it last became ready to start.
    pub(super) scheduled_at: Option<i64>,
    /// When its first attempt began.
    pub(super) started_at: Option<i64>,
    pub(super) finished_at: Option<i64>,
    pub(super) error: Option<&'a str>,
    pub(super) result: Option<&'a str>,
    /// By their numbers.
    pub(super) attempts: Vec<Attempt<'a>>,
}

/// How far an attempt has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt<'a> {
    /// From 1.
    pub(super) number: u32,
    pub(super) state: TaskState,
    /// When its task had become ready to start.
    pub(super) scheduled_at: Option<i64>,
    pub(super) started_at: i64,
    /// When it first went on without a worker.
    pub(super) deferred_at: Option<i64>,
    pub(super) finished_at: Option<i64>,
    pub(super) error: Option<&'a str>,
    pub(super) metrics: Option<&'a str>,
    pub(super) checkpoint: Option<&'a str>,
}

impl<'a> Progress<'a> {
    /// Takes in what happened.
    pub(super) fn apply(&mut self, change: &TaskChange<'a>) {
        match change.what {
            What::State(state, end) => self.enter(change, state, end),
            What::Checkpoint(checkpoint) => {
                if let Some(attempt) = self.attempt(change.attempt) {
                    attempt.checkpoint = Some(checkpoint);
                }
            }
        }
    }

    fn enter(&mut self, change: &TaskChange<'_>, state: TaskState, end: End<'a>) {
        let ts = change.ts;
        match state {
            TaskState::Scheduled => self.scheduled_at = Some(ts),
            TaskState::Running | TaskState::Deferred => {
                if state == TaskState::Running {
                    self.started_at.get_or_insert(ts);
                }
                self.open(change.attempt, state, ts);
            }
            TaskState::UpForRetry => self.close(change.attempt, TaskState::Failed, ts, end),
            TaskState::Success | TaskState::Failed | TaskState::Skipped | TaskState::Cancelled => {
                self.close(change.attempt, state, ts, end);
            }
            TaskState::None | TaskState::Waiting | TaskState::UpstreamFailed => {}
        }
        self.state = state;
        self.finished_at = state.is_terminal().then_some(ts);
        self.error = end.error;
        self.result = end.result;
    }

    fn attempt(&mut self, number: u32) -> Option<&mut Attempt<'a>> {
        let place = self.attempts.binary_search_by_key(&number, |attempt| attempt.number).ok()?;
        Some(&mut self.attempts[place])
    }

    /// The first opening counts: an attempt that is handed to its engine again is still the same, and one that has ended
    /// stays as it ended.
    fn open(&mut self, number: u32, state: TaskState, ts: i64) {
        // 0: no attempt was made.
        if number == 0 {
            return;
        }
        let deferred_at = (state == TaskState::Deferred).then_some(ts);
        let scheduled_at = self.scheduled_at;
        match self.attempts.binary_search_by_key(&number, |attempt| attempt.number) {
            Ok(place) if self.attempts[place].finished_at.is_none() => {
                let attempt = &mut self.attempts[place];
                attempt.state = state;
                attempt.deferred_at = attempt.deferred_at.or(deferred_at);
            }
            Ok(_) => {}
            Err(place) => {
                let attempt = Attempt {
                    number,
                    state,
                    scheduled_at,
                    started_at: ts,
                    deferred_at,
                    finished_at: None,
                    error: None,
                    metrics: None,
                    checkpoint: None,
                };
                self.attempts.insert(place, attempt);
            }
        }
    }

    /// The first closing counts: a task cancelled between two attempts leaves the one before as it ended.
    fn close(&mut self, number: u32, state: TaskState, ts: i64, end: End<'a>) {
        if let Some(attempt) = self.attempt(number).filter(|attempt| attempt.finished_at.is_none()) {
            attempt.state = state;
            attempt.finished_at = Some(ts);
            attempt.error = end.error;
            attempt.metrics = end.metrics;
        }
    }
}

/// Which of the optional parts follow, above the four bits of a state.
const SCHEDULED: u64 = 1 << 4;
const STARTED: u64 = 1 << 5;
const DEFERRED: u64 = 1 << 5;
const FINISHED: u64 = 1 << 6;
const ERROR: u64 = 1 << 7;
const RESULT: u64 = 1 << 8;
const METRICS: u64 = 1 << 8;
const CHECKPOINT: u64 = 1 << 9;
/// The number of attempts is above all of a task's.
const ATTEMPTS: u32 = 9;

/// The bit, where the part is there.
fn bit<T>(part: Option<&T>, bit: u64) -> u64 {
    if part.is_some() { bit } else { 0 }
}

impl<'a> Progress<'a> {
    /// Appends it; times are told as differences to `before`, which is needed again to read them.
    pub(super) fn pack(&self, mut before: i64, out: &mut Vec<u8>) {
        let head = self.state as u64
            | bit(self.scheduled_at.as_ref(), SCHEDULED)
            | bit(self.started_at.as_ref(), STARTED)
            | bit(self.finished_at.as_ref(), FINISHED)
            | bit(self.error.as_ref(), ERROR)
            | bit(self.result.as_ref(), RESULT)
            | (self.attempts.len() as u64) << ATTEMPTS;
        pack::number(out, head);
        pack_times(out, &[self.scheduled_at, self.started_at, self.finished_at], &mut before);
        pack_texts(out, &[self.error, self.result]);
        for attempt in &self.attempts {
            attempt.pack(&mut before, out);
        }
    }

    /// What was packed; `None` where that is not what is there.
    pub(super) fn unpack(packed: &'a [u8], mut before: i64) -> Option<Self> {
        if packed.is_empty() {
            return Some(Self::default());
        }
        let mut parts = Unpacked(packed);
        let (state, head) = head(&mut parts)?;
        let mut progress = Self {
            state,
            scheduled_at: time(&mut parts, head & SCHEDULED, &mut before)?,
            started_at: time(&mut parts, head & STARTED, &mut before)?,
            finished_at: time(&mut parts, head & FINISHED, &mut before)?,
            error: text(&mut parts, head & ERROR)?,
            result: text(&mut parts, head & RESULT)?,
            attempts: Vec::new(),
        };
        for _ in 0..head >> ATTEMPTS {
            progress.attempts.push(Attempt::unpack(&mut parts, &mut before)?);
        }
        parts.is_empty().then_some(progress)
    }
}

impl<'a> Attempt<'a> {
    fn pack(&self, before: &mut i64, out: &mut Vec<u8>) {
        pack::number(out, u64::from(self.number));
        let head = self.state as u64
            | bit(self.scheduled_at.as_ref(), SCHEDULED)
            | bit(self.deferred_at.as_ref(), DEFERRED)
            | bit(self.finished_at.as_ref(), FINISHED)
            | bit(self.error.as_ref(), ERROR)
            | bit(self.metrics.as_ref(), METRICS)
            | bit(self.checkpoint.as_ref(), CHECKPOINT);
        pack::number(out, head);
        let times = [self.scheduled_at, Some(self.started_at), self.deferred_at, self.finished_at];
        pack_times(out, &times, before);
        pack_texts(out, &[self.error, self.metrics, self.checkpoint]);
    }

    fn unpack(parts: &mut Unpacked<'a>, before: &mut i64) -> Option<Self> {
        let number = parts.number()?.try_into().ok()?;
        let (state, head) = head(parts)?;
        Some(Self {
            number,
            state,
            scheduled_at: time(parts, head & SCHEDULED, before)?,
            started_at: parts.time(before)?,
            deferred_at: time(parts, head & DEFERRED, before)?,
            finished_at: time(parts, head & FINISHED, before)?,
            error: text(parts, head & ERROR)?,
            metrics: text(parts, head & METRICS)?,
            checkpoint: text(parts, head & CHECKPOINT)?,
        })
    }
}

/// Appends those that are there.
fn pack_times(out: &mut Vec<u8>, times: &[Option<i64>], before: &mut i64) {
    times.iter().flatten().for_each(|&at| pack::time(out, at, before));
}

/// The same for texts.
fn pack_texts(out: &mut Vec<u8>, texts: &[Option<&str>]) {
    texts.iter().flatten().for_each(|text| pack::text(out, text));
}

/// A state, and the bits above it.
fn head(parts: &mut Unpacked<'_>) -> Option<(TaskState, u64)> {
    let head = parts.number()?;
    let state = TaskState::ALL.get((head & 15) as usize)?;
    Some((*state, head))
}

/// Outer: whether it could be read; inner: whether it is there.
#[expect(clippy::option_option, reason = "the two say different things")]
fn time(parts: &mut Unpacked<'_>, there: u64, before: &mut i64) -> Option<Option<i64>> {
    if there == 0 { Some(None) } else { parts.time(before).map(Some) }
}

/// The same for a text.
#[expect(clippy::option_option, reason = "the two say different things")]
fn text<'a>(parts: &mut Unpacked<'a>, there: u64) -> Option<Option<&'a str>> {
    if there == 0 { Some(None) } else { parts.text().map(Some) }
}
