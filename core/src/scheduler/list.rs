//! List scheduling in its plainest form: whenever there is a place, the most urgent ready task starts. For schedules that
//! are only looked at, forwards and backwards in time.
//!
//! It knows edges, durations, priorities and limits, and nothing of rules, conditions, retries or teardowns: whether a
//! schedule is any good is for the [`Scheduler`](super::Scheduler) to say.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::limits::{Caps, Limits, Places};
use super::ready::{Rank, ReadyQueue};
use super::types::TaskInfo;
use crate::event::TaskIdx;
use crate::graph::Graph;

/// Which way time goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// A task starts after its dependencies.
    Forward,
    /// A task starts after those that depend on it.
    Backward,
}

/// When each task starts, and when the last one ends; in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) starts: Vec<i64>,
    pub(crate) makespan: i64,
}

/// A DAG as list scheduling sees it.
pub(crate) struct Lister<'a> {
    infos: &'a [TaskInfo],
    micros: &'a [i64],
    downstream: Edges,
    upstream: Edges,
    limits: &'a Limits,
    processors: u32,
}

impl<'a> Lister<'a> {
    /// `infos` and `micros`, how long each task takes, by [`TaskIdx`].
    pub(crate) fn new(
        graph: &Graph,
        infos: &'a [TaskInfo],
        micros: &'a [i64],
        limits: &'a Limits,
        processors: Option<u32>,
    ) -> Self {
        Self {
            infos,
            micros,
            downstream: Edges::new(graph.tasks().map(|task| graph.downstream(task))),
            upstream: Edges::new(graph.tasks().map(|task| graph.upstream(task))),
            limits,
            processors: processors.unwrap_or(u32::MAX),
        }
    }

    /// When each task ends.
    pub(crate) fn ends(&self, schedule: &Schedule) -> Vec<i64> {
        schedule.starts.iter().zip(self.micros).map(|(start, micros)| start + micros).collect()
    }

    /// The schedule in which, of the ready tasks, the one with the greatest level starts first. Priorities come before
    /// levels; backwards, what has the greater priority comes later.
    pub(crate) fn schedule(&self, direction: Direction, levels: &[i64]) -> Schedule {
        let (ahead, behind) = match direction {
            Direction::Forward => (&self.downstream, &self.upstream),
            Direction::Backward => (&self.upstream, &self.downstream),
        };
        let mut waits: Vec<usize> = behind.counts().collect();
        let mut ready = ReadyQueue::default();
        let push = |ready: &mut ReadyQueue, task: TaskIdx| {
            let info = &self.infos[task.get()];
            let priority = match direction {
                Direction::Forward => info.priority,
                Direction::Backward => info.priority.saturating_neg(),
            };
            let successors = ahead.of(task).len();
            let rank = Rank::new(false, priority, levels[task.get()] as f64, successors, task);
            ready.push(info.place(None), rank);
        };
        for (task, _) in (0..).map(TaskIdx).zip(&waits).filter(|(_, waits)| **waits == 0) {
            push(&mut ready, task);
        }
        let (mut places, caps) = (Places::new(self.limits.clone()), Caps::default());
        let mut running: BinaryHeap<Reverse<(i64, TaskIdx)>> = BinaryHeap::new();
        let (mut now, mut in_flight, mut starts) = (0, 0, vec![0; self.micros.len()]);
        loop {
            while in_flight < self.processors
                && let Some(task) = ready.pop(&places, &caps)
            {
                places.take(self.infos[task.get()].place(None));
                in_flight += 1;
                starts[task.get()] = now;
                running.push(Reverse((now + self.micros[task.get()], task)));
            }
            let Some(&Reverse((next, _))) = running.peek() else { return Schedule { starts, makespan: now } };
            now = next;
            while let Some(&Reverse((end, task))) = running.peek()
                && end == now
            {
                running.pop();
                places.release(self.infos[task.get()].place(None));
                in_flight -= 1;
                for &next in ahead.of(task) {
                    waits[next.get()] -= 1;
                    if waits[next.get()] == 0 {
                        push(&mut ready, next);
                    }
                }
            }
        }
    }
}

/// For each task, those at the other ends of its edges.
struct Edges {
    first: Vec<usize>,
    ends: Vec<TaskIdx>,
}

impl Edges {
    fn new(tasks: impl Iterator<Item = impl Iterator<Item = TaskIdx>>) -> Self {
        let mut edges = Self { first: vec![0], ends: Vec::new() };
        for ends in tasks {
            edges.ends.extend(ends);
            edges.first.push(edges.ends.len());
        }
        edges
    }

    fn of(&self, task: TaskIdx) -> &[TaskIdx] {
        &self.ends[self.first[task.get()]..self.first[task.get() + 1]]
    }

    fn counts(&self) -> impl Iterator<Item = usize> + '_ {
        self.first.windows(2).map(|pair| pair[1] - pair[0])
    }
}
