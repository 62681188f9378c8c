//! What no schedule is shorter than.

use std::cmp::Reverse;

use crate::event::TaskIdx;
use crate::graph::Graph;
use crate::scheduler::{Limits, TaskInfo};

/// How many tails a bound looks at.
const MOST_TAILS: usize = 32;

/// For each task, in microseconds: how long what must come before it takes at least, and what must come after it.
#[derive(Debug)]
pub(super) struct Paths<'a> {
    micros: &'a [i64],
    heads: Vec<i64>,
    tails: Vec<i64>,
    longest: i64,
}

impl<'a> Paths<'a> {
    /// `micros` is how long each task takes.
    pub(super) fn new(graph: &Graph, infos: &[TaskInfo], micros: &'a [i64]) -> Self {
        let (mut heads, mut tails) = (vec![0; micros.len()], vec![0; micros.len()]);
        let waits = |task: TaskIdx| infos[task.get()].rule.waits_for_all();
        for &task in graph.topological_order() {
            let end = heads[task.get()] + micros[task.get()];
            for next in graph.downstream(task).filter(|&next| waits(next)) {
                heads[next.get()] = end.max(heads[next.get()]);
            }
        }
        for &task in graph.topological_order().iter().rev() {
            let after = graph.downstream(task).filter(|&next| waits(next));
            let after = after.map(|next| micros[next.get()] + tails[next.get()]);
            tails[task.get()] = after.max().unwrap_or_default();
        }
        let through = |task: usize| heads[task] + micros[task] + tails[task];
        let longest = (0..micros.len()).map(through).max().unwrap_or_default();
        Self { micros, heads, tails, longest }
    }

    /// The b-levels: for each task, the longest path from its start to the end.
    pub(super) fn levels(&self) -> impl Iterator<Item = i64> + '_ {
        self.micros.iter().zip(&self.tails).map(|(micros, tail)| micros + tail)
    }

    /// Whether a delay of the task delays the end, however many workers there are.
    pub(super) fn is_critical(&self, task: TaskIdx) -> bool {
        let task = task.get();
        self.micros[task] > 0 && self.heads[task] + self.micros[task] + self.tails[task] == self.longest
    }

    /// The longest path, or what shares one limit.
    pub(super) fn lower_bound(&self, infos: &[TaskInfo], limits: &Limits, processors: Option<u32>) -> i64 {
        let sharing = |shares: &dyn Fn(&TaskInfo) -> bool, places: u32| {
            let tasks = infos.iter().enumerate().filter(|(_, info)| shares(info));
            self.shared(tasks.map(|(task, _)| task).collect(), places)
        };
        let mut bound = self.longest.max(sharing(&|info| info.blocking, limits.workers));
        if let Some(processors) = processors {
            bound = bound.max(sharing(&|_| true, processors));
        }
        for (engine, limit) in (0..).zip(&limits.engines) {
            if let Some(limit) = *limit {
                bound = bound.max(sharing(&|info| info.engine == engine, limit));
            }
        }
        for (pool, &slots) in (0..).zip(&limits.pools) {
            bound = bound.max(sharing(&|info| info.pool == Some(pool), slots));
        }
        bound
    }

    /// Some tasks on so many places: none of them starts before the least of their heads, then all of their work is
    /// shared out evenly, and behind it comes the least of their tails. This holds for every part of them; looked at are
    /// those with at least this head and that tail, for every head and for some tails.
    fn shared(&self, mut tasks: Vec<usize>, places: u32) -> i64 {
        tasks.retain(|&task| self.micros[task] > 0);
        let mut tails: Vec<i64> = tasks.iter().map(|&task| self.tails[task]).collect();
        tails.sort_unstable();
        tails.dedup();
        let step = tails.len().div_ceil(MOST_TAILS).max(1);
        tasks.sort_unstable_by_key(|&task| Reverse(self.heads[task]));
        let places = i64::from(places.max(1));
        let with_tail = |&tail: &i64| {
            let mut work = 0_i64;
            let tasks = tasks.iter().filter(|&&task| self.tails[task] >= tail);
            let bounds = tasks.map(|&task| {
                work = work.saturating_add(self.micros[task]);
                let even = work / places + i64::from(work % places > 0);
                self.heads[task].saturating_add(even).saturating_add(tail)
            });
            bounds.max().unwrap_or_default()
        };
        tails.iter().step_by(step).map(with_tail).max().unwrap_or_default()
    }
}
