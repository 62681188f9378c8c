//! How many tasks may be in flight, and how many are.

use std::collections::HashMap;

use crate::event::TaskIdx;

/// The limits that all runs of a process share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// The machine's workers; only blocking attempts need one.
    pub workers: u32,
    /// Each engine's limit on its tasks in flight; the index is [`super::TaskInfo::engine`].
    pub engines: Vec<Option<u32>>,
    /// The slots of each pool; the index is [`super::TaskInfo::pool`].
    pub pools: Vec<u32>,
}

/// What a task takes of the limits while it is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) engine: u32,
    pub(super) blocking: bool,
    pub(super) pool: Option<u32>,
    /// The innermost task with a limit of its own that stands for it.
    pub(super) cap: Option<TaskIdx>,
}

/// The limits, and what is taken of them.
#[derive(Debug)]
pub struct Places {
    limits: Limits,
    workers: u32,
    engines: Vec<u32>,
    pools: Vec<u32>,
}

impl Places {
    /// All of them free.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            engines: vec![0; limits.engines.len()],
            pools: vec![0; limits.pools.len()],
            workers: 0,
            limits,
        }
    }

    /// Whether one more attempt may start.
    pub(super) fn has(&self, place: Place) -> bool {
        let (engine, pool) = (place.engine as usize, place.pool.map(|pool| pool as usize));
        (!place.blocking || self.workers < self.limits.workers)
            && self.limits.engines[engine].is_none_or(|limit| self.engines[engine] < limit)
            && pool.is_none_or(|pool| self.pools[pool] < self.limits.pools[pool])
    }

    pub(super) fn take(&mut self, place: Place) {
        self.workers += u32::from(place.blocking);
        self.engines[place.engine as usize] += 1;
        if let Some(pool) = place.pool {
            self.pools[pool as usize] += 1;
        }
    }

    pub(super) fn release(&mut self, place: Place) {
        self.workers -= u32::from(place.blocking);
        self.engines[place.engine as usize] -= 1;
        if let Some(pool) = place.pool {
            self.pools[pool as usize] -= 1;
        }
    }

    pub(super) fn release_worker(&mut self) {
        self.workers -= 1;
    }
}

/// The limits that mapped tasks have for their own instances and DAGs in DAGs for their tasks, and how many of them are in
/// flight.
#[derive(Debug, Default)]
pub(super) struct Caps(HashMap<TaskIdx, Cap>);

#[derive(Debug)]
struct Cap {
    most: u32,
    used: u32,
    /// The DAG around it that has a limit, too.
    around: Option<TaskIdx>,
}

impl Caps {
    pub(super) fn limit(&mut self, task: TaskIdx, most: u32, around: Option<TaskIdx>) {
        self.0.insert(task, Cap { most, used: 0, around });
    }

    /// Whether the task has a limit.
    pub(super) fn has_limit(&self, task: TaskIdx) -> bool {
        self.0.contains_key(&task)
    }

    /// Whether one more of those that this task stands for may start, whatever is around it.
    pub(super) fn has_room(&self, task: TaskIdx) -> bool {
        self.0.get(&task).is_none_or(|cap| cap.used < cap.most)
    }

    /// One more of those that this task stands for is under way, or one fewer.
    pub(super) fn count(&mut self, task: TaskIdx, change: i32) {
        if let Some(cap) = self.0.get_mut(&task) {
            cap.used = cap.used.saturating_add_signed(change);
        }
    }

    /// Whether one more attempt may start.
    pub(super) fn has(&self, place: Place) -> bool {
        self.around(place).all(|task| self.has_room(task))
    }

    pub(super) fn take(&mut self, place: Place) {
        self.count_around(place, 1);
    }

    pub(super) fn release(&mut self, place: Place) {
        self.count_around(place, -1);
    }

    fn count_around(&mut self, place: Place, change: i32) {
        let mut next = place.cap;
        while let Some(cap) = next.and_then(|task| self.0.get_mut(&task)) {
            cap.used = cap.used.saturating_add_signed(change);
            next = cap.around;
        }
    }

    /// All tasks with limits that stand for one of this place.
    fn around(&self, place: Place) -> impl Iterator<Item = TaskIdx> + '_ {
        std::iter::successors(place.cap, |task| self.0.get(task)?.around)
    }
}
