//! What is due when. An alarm for an attempt that is over stays until it is due and then means nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::event::{TaskIdx, Timestamp};

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// The wait before a retry is over.
    Retry,
    /// The attempt's time is up.
    Deadline,
    /// An attempt that was asked to stop had its time for it.
    Grace,
}

/// All alarms of a run.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Timestamp, TaskIdx, u32, Alarm)>>);

impl Timers {
    pub(super) fn set(&mut self, due: Timestamp, task: TaskIdx, attempt: u32, alarm: Alarm) {
        self.0.push(Reverse((due, task, attempt, alarm)));
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.peek().map(|Reverse((due, ..))| *due)
    }

    /// The next alarm that is due by now.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<(TaskIdx, u32, Alarm)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, task, attempt, alarm))| (task, attempt, alarm))
    }
}
