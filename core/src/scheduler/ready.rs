//! The ready queue: a max-heap for each kind of place that a task needs, so that a reached limit holds back
//! only the tasks that it concerns.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::limits::Usage;
use crate::event::TaskIdx;

/// Which of two ready tasks starts first: by priority, b-level, number of successors, and the file's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    priority: i32,
    level: u64,
    successors: u32,
    task: Reverse<TaskIdx>,
}

impl Rank {
    pub(super) fn new(priority: i32, level: f64, successors: usize, task: TaskIdx) -> Self {
        Self {
            priority,
            // The bits of floats that are not negative are ordered as the floats are.
            level: level.max(0.0).to_bits(),
            successors: u32::try_from(successors).unwrap_or(u32::MAX),
            task: Reverse(task),
        }
    }
}

/// Ready tasks that need the same kind of place.
#[derive(Debug)]
struct Class {
    engine: u32,
    blocking: bool,
    heap: BinaryHeap<Rank>,
}

/// All ready tasks.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    classes: Vec<Class>,
}

impl ReadyQueue {
    pub(super) fn push(&mut self, engine: u32, blocking: bool, rank: Rank) {
        let same = |class: &Class| class.engine == engine && class.blocking == blocking;
        let place = self.classes.iter().position(same).unwrap_or_else(|| {
            self.classes.push(Class { engine, blocking, heap: BinaryHeap::new() });
            self.classes.len() - 1
        });
        self.classes[place].heap.push(rank);
    }

    /// The most urgent task for which there is a place.
    pub(super) fn pop(&mut self, usage: &Usage) -> Option<TaskIdx> {
        let first = self
            .classes
            .iter_mut()
            .filter(|class| usage.has_place(class.engine, class.blocking))
            .max_by_key(|class| class.heap.peek().copied())?;
        first.heap.pop().map(|rank| rank.task.0)
    }
}
