//! What a run would look like: the scheduler under a simulated clock.
//!
//! Pure: no engine is called. Every task takes its expected duration and succeeds, and every condition is met.

mod bound;
mod compare;
mod improve;
#[cfg(test)]
mod quality;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::event::{TaskIdx, Timestamp};
use crate::graph::Graph;
use crate::scheduler::{Action, ExpectedFrom, Input, Limits, Lister, Places, Scheduler, Settings, TaskInfo};
use crate::state::IllegalTransition;
use bound::Paths;
pub use compare::{Comparison, ExpectedTask, OnWorkers};

/// No more starts of tasks than this are tried for a better order, and so about ten milliseconds at most are spent.
const MOST_STARTS: u32 = 50_000;

/// And no more than this for each second that the run takes at least: some thousandths of it.
const STARTS_PER_SECOND: f64 = 10_000.0;

/// A better order is not looked for where there would not be time for so many schedules.
const FEWEST_SCHEDULES: usize = 4;

/// A simulated run. Times are in seconds from its start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The tasks of a path that no number of workers makes shorter.
    pub critical_path: Vec<String>,
    /// No schedule on these workers is shorter: the critical path's length, or what tasks that share workers or another limit
    /// take at least, with what comes before and after them.
    pub lower_bound: f64,
    /// How long the simulated run takes.
    pub makespan: f64,
    /// How many workers there are.
    pub workers: u32,
    /// How long it would take if tasks started in the order in which they become ready.
    pub fifo_makespan: f64,
    /// The part of that which the order saves.
    pub gain: f64,
    /// The part of the workers' time in which they are busy.
    pub utilisation: f64,
    /// The tasks in the order in which they start.
    pub tasks: Vec<PlannedTask>,
    /// Mapped tasks of which only the run tells how many instances they have: each is planned as one task.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counted_once: Vec<String>,
}

/// One task of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedTask {
    /// The task's name.
    pub task_id: String,
    /// When it starts.
    pub start: f64,
    /// When it ends.
    pub finish: f64,
    /// What it is expected to take.
    #[serde(flatten)]
    pub expected: Expectation,
}

/// What is expected of a task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Expectation {
    /// How many seconds it takes.
    pub expected: f64,
    /// Where that is from.
    pub expected_from: ExpectedFrom,
    /// It is on a longest path: if it takes longer, the run does on any number of workers.
    pub critical: bool,
}

/// What is to be run: a graph and what is known of its tasks.
#[derive(Debug)]
pub struct Work<'a> {
    graph: &'a Arc<Graph>,
    infos: Vec<TaskInfo>,
    micros: Vec<i64>,
    /// A better order may be looked for.
    is_worth_it: bool,
    processors: Option<u32>,
    left_out: &'a [TaskIdx],
    skipped: &'a [TaskIdx],
}

/// When each task starts and ends, in the order in which they start.
struct Simulated {
    tasks: Vec<(TaskIdx, Timestamp, Timestamp)>,
    makespan: i64,
}

/// What ready tasks are ordered by, beside their priorities.
enum Order<'a> {
    /// The longest path that is left.
    ByLevel,
    /// These levels.
    By(&'a [f64]),
    /// When they became ready.
    ByArrival,
}

impl<'a> Work<'a> {
    /// All tasks of a graph; `infos` by [`TaskIdx`].
    #[must_use]
    pub fn new(graph: &'a Arc<Graph>, infos: Vec<TaskInfo>, processors: Option<u32>) -> Self {
        let is_worth_it = is_worth_it(&infos);
        // A deadline stops a task that never ends; these all do.
        let infos: Vec<TaskInfo> = infos
            .into_iter()
            .map(|info| TaskInfo { timeout: None, mapped: false, sub: false, follows: None, ..info })
            .collect();
        let micros = infos.iter().map(|info| micros(info.expected)).collect();
        Self { graph, infos, micros, is_worth_it, processors, left_out: &[], skipped: &[] }
    }

    /// The same without some tasks: those that are left out, and those that are skipped as if by their conditions.
    #[must_use]
    pub fn without(mut self, left_out: &'a [TaskIdx], skipped: &'a [TaskIdx]) -> Self {
        for &task in left_out.iter().chain(skipped) {
            self.micros[task.get()] = 0;
        }
        Self { left_out, skipped, ..self }
    }

    /// Simulates a run.
    ///
    /// # Errors
    ///
    /// [`IllegalTransition`], here and below, is a bug in the scheduler.
    pub fn plan(&self, limits: &Limits) -> Result<Plan, IllegalTransition> {
        let (best, _) = self.best(limits)?;
        let fifo = self.simulate(limits, Order::ByArrival)?.makespan;
        let taken = best.taken(&self.micros);
        let paths = Paths::new(self.graph, &self.infos, &taken);
        let levels: Vec<f64> = paths.levels().map(seconds).collect();
        let critical = self.graph.critical_path(&levels);
        let blocking = best.tasks.iter().filter(|(task, ..)| self.infos[task.get()].blocking);
        let busy: i64 = blocking.map(|(task, ..)| self.micros[task.get()]).sum();
        let name = |task: TaskIdx| self.graph.name(task).to_owned();
        let planned = |&(task, start, finish): &(TaskIdx, Timestamp, Timestamp)| PlannedTask {
            task_id: name(task),
            start: seconds(start.0),
            finish: seconds(finish.0),
            expected: Expectation {
                expected: seconds(self.micros[task.get()]),
                expected_from: self.infos[task.get()].expected_from,
                critical: paths.is_critical(task),
            },
        };
        Ok(Plan {
            critical_path: critical.into_iter().map(name).filter(|name| !name.is_empty()).collect(),
            lower_bound: seconds(paths.lower_bound(&self.infos, limits, self.processors)),
            makespan: seconds(best.makespan),
            workers: limits.workers,
            fifo_makespan: seconds(fifo),
            gain: part(fifo - best.makespan, fifo),
            utilisation: part(busy, best.makespan) / f64::from(limits.workers.max(1)),
            // What only waits has no name.
            tasks: best.tasks.iter().map(planned).filter(|task| !task.task_id.is_empty()).collect(),
            counted_once: Vec::new(),
        })
    }

    /// The tasks in the order in which they would start; without those that run only where others do not succeed.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan).
    pub fn order(&self, limits: &Limits) -> Result<Vec<String>, IllegalTransition> {
        let (best, _) = self.best(limits)?;
        Ok(best.tasks.into_iter().map(|(task, ..)| self.graph.name(task).to_owned()).collect())
    }

    /// The simulated run, and by which levels the tasks start where those are not the b-levels.
    fn best(&self, limits: &Limits) -> Result<(Simulated, Option<Vec<f64>>), IllegalTransition> {
        let first = self.simulate(limits, Order::ByLevel)?;
        let starts = self.starts(limits);
        if starts == 0 {
            return Ok((first, None));
        }
        let taken = first.taken(&self.micros);
        let paths = Paths::new(self.graph, &self.infos, &taken);
        let bound = paths.lower_bound(&self.infos, limits, self.processors);
        if improve::is_near(first.makespan, bound) {
            return Ok((first, None));
        }
        // What does not run needs no place.
        let runs = |(info, &taken): (&TaskInfo, &i64)| TaskInfo {
            blocking: info.blocking && taken > 0,
            ..info.clone()
        };
        let infos: Vec<TaskInfo> = self.infos.iter().zip(&taken).map(runs).collect();
        let lister = Lister::new(self.graph, &infos, &taken, limits, self.processors);
        let levels: Vec<i64> = paths.levels().collect();
        let found = improve::improve(&lister, &levels, bound, starts);
        let levels: Vec<f64> = found.starts.iter().map(|start| seconds(found.makespan - start)).collect();
        let better = self.simulate(limits, Order::By(&levels))?;
        Ok(if better.makespan < first.makespan { (better, Some(levels)) } else { (first, None) })
    }

    /// How many starts of tasks may be tried to find a better order; none where that is not worth it.
    fn starts(&self, limits: &Limits) -> usize {
        if !self.is_worth_it {
            return 0;
        }
        let paths = Paths::new(self.graph, &self.infos, &self.micros);
        let least = seconds(paths.lower_bound(&self.infos, limits, self.processors));
        let starts = (least * STARTS_PER_SECOND).min(f64::from(MOST_STARTS)) as usize;
        if starts < FEWEST_SCHEDULES * self.infos.len() { 0 } else { starts }
    }

    fn simulate(&self, limits: &Limits, order: Order<'_>) -> Result<Simulated, IllegalTransition> {
        let settings = Settings { processors: self.processors, ..Settings::default() };
        let mut scheduler = Scheduler::new(Arc::clone(self.graph), self.infos.clone(), settings);
        match order {
            Order::ByLevel => {}
            Order::By(levels) => scheduler.set_levels(levels.to_owned()),
            Order::ByArrival => scheduler.serve_by_arrival(),
        }
        let mut places = Places::new(limits.clone());
        let mut running: BinaryHeap<Reverse<(Timestamp, TaskIdx, u32)>> = BinaryHeap::new();
        let (mut now, mut out, mut tasks) = (Timestamp(0), Vec::new(), Vec::new());
        scheduler.start(self.left_out, self.skipped, now, &mut out)?;
        loop {
            scheduler.dispatch(now, &mut places, &mut out)?;
            let mut conditions = Vec::new();
            for action in out.drain(..) {
                if let Action::Evaluate { task } = action {
                    conditions.push(Input::Condition { task, met: Some(true) });
                }
                let Action::Start { task, attempt, .. } = action else { continue };
                let finish = Timestamp(now.0.saturating_add(self.micros[task.get()]));
                running.push(Reverse((finish, task, attempt)));
                tasks.push((task, now, finish));
            }
            if !conditions.is_empty() {
                conditions
                    .into_iter()
                    .try_for_each(|met| scheduler.handle(met, now, &mut places, &mut out))?;
                continue;
            }
            let Some(&Reverse((next, ..))) = running.peek() else {
                return Ok(Simulated { tasks, makespan: now.0 });
            };
            now = next;
            // All that end at once, before anything starts: each of them may let a more urgent task start.
            while let Some(&Reverse((finish, task, attempt))) = running.peek()
                && finish == now
            {
                running.pop();
                let ended = Input::Ended { task, attempt, failure: None };
                scheduler.handle(ended, now, &mut places, &mut out)?;
            }
        }
    }
}

/// The levels by which a run's tasks are to start, where a better order than that of the b-levels is found soon: by the
/// task, the seconds that are left when it starts. It is the order that [`Work::plan`] shows.
///
/// # Errors
///
/// As [`Work::plan`].
pub fn levels(
    graph: &Arc<Graph>,
    infos: &[TaskInfo],
    limits: &Limits,
    processors: Option<u32>,
    (left_out, skipped): (&[TaskIdx], &[TaskIdx]),
) -> Result<Option<Vec<f64>>, IllegalTransition> {
    if !is_worth_it(infos) {
        return Ok(None);
    }
    let work = Work::new(graph, infos.to_owned(), processors).without(left_out, skipped);
    // A run does not even simulate itself for nothing.
    if work.starts(limits) == 0 { Ok(None) } else { Ok(work.best(limits)?.1) }
}

/// Whether there is time to look for a better order, and enough is known to make one: how long most tasks take, and which
/// there are, which is not so where some stand for others that a run is yet to add.
fn is_worth_it(infos: &[TaskInfo]) -> bool {
    let guessed = || infos.iter().filter(|info| info.expected_from == ExpectedFrom::Default).count();
    infos.len().saturating_mul(FEWEST_SCHEDULES) <= MOST_STARTS as usize
        && infos.iter().all(|info| !info.mapped)
        && guessed() * 2 <= infos.len()
}

impl Simulated {
    /// How long each task takes that runs at all.
    fn taken(&self, micros: &[i64]) -> Vec<i64> {
        let mut taken = vec![0; micros.len()];
        for (task, ..) in &self.tasks {
            taken[task.get()] = micros[task.get()];
        }
        taken
    }
}

/// A duration as the run counts it. One that a clock has made negative is none.
fn micros(seconds: f64) -> i64 {
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    Timestamp(0).after(duration).0
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a plan stay far below 2^53")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// How much of a whole; nothing of nothing.
fn part(some: i64, all: i64) -> f64 {
    if all == 0 { 0.0 } else { seconds(some) / seconds(all) }
}
