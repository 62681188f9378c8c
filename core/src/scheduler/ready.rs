//! The ready queue: a max-heap for each kind of place that a task needs, so that a reached limit holds back
//! only the tasks that it concerns.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::limits::{Caps, Place, Places};
use crate::event::TaskIdx;

/// Which of two ready tasks starts first: one that was begun before, then by priority, b-level, number of successors, and the file's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    again: bool,
    priority: i32,
    level: u64,
    successors: u32,
    task: Reverse<TaskIdx>,
}

impl Rank {
    pub(super) fn new(again: bool, priority: i32, level: f64, successors: usize, task: TaskIdx) -> Self {
        Self {
            again,
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
    place: Place,
    heap: BinaryHeap<Rank>,
}

/// All ready tasks; no class is empty.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    classes: Vec<Class>,
}

impl ReadyQueue {
    pub(super) fn push(&mut self, place: Place, rank: Rank) {
        let known = self.classes.iter().position(|class| class.place == place);
        let class = known.unwrap_or_else(|| {
            self.classes.push(Class { place, heap: BinaryHeap::new() });
            self.classes.len() - 1
        });
        self.classes[class].heap.push(rank);
    }

    /// Whether there is a task for which there is a place.
    pub(super) fn has_place(&self, places: &Places, caps: &Caps) -> bool {
        self.classes.iter().any(|class| places.has(class.place) && caps.has(class.place))
    }

    /// The most urgent task for which there is a place.
    pub(super) fn pop(&mut self, places: &Places, caps: &Caps) -> Option<TaskIdx> {
        let able = |(_, class): &(usize, &mut Class)| places.has(class.place) && caps.has(class.place);
        let able = self.classes.iter_mut().enumerate().filter(able);
        let (number, first) = able.max_by_key(|(_, class)| class.heap.peek().copied())?;
        let rank = first.heap.pop();
        if first.heap.is_empty() {
            // There may be as many kinds of places as mapped tasks with limits.
            self.classes.swap_remove(number);
        }
        rank.map(|rank| rank.task.0)
    }
}
