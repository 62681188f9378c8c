//! Families of graphs.
//!
//! Those that are filled have a schedule without a gap: each worker's time is cut into tasks, and there are only
//! dependencies that this schedule keeps. Its length is the optimum, since all of the work takes no less. They are hard:
//! what they ask for is a perfect packing.

use super::optimum::{bound_of_windows, highest_level_first, two_workers};
use super::{Dice, Instance};

/// Graphs of one kind.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) make: fn(&mut Dice, usize, u32) -> Instance,
    /// For how many workers its optimum is known.
    pub(super) workers: &'static [u32],
}

const ANY: &[u32] = &[2, 4, 8, 16];

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "filled, independent",
        make: |d, n, m| filled(d, n, m, |_, _, _| Vec::new()),
        workers: ANY,
    },
    Family { name: "filled, layered", make: |d, n, m| filled(d, n, m, layered), workers: ANY },
    Family { name: "filled, out-tree", make: |d, n, m| filled(d, n, m, one_before), workers: ANY },
    Family { name: "filled, in-tree", make: filled_in_tree, workers: ANY },
    Family { name: "filled, chains", make: |d, n, m| filled(d, n, m, chained), workers: ANY },
    Family { name: "filled, fork and join", make: filled_fork_join, workers: ANY },
    Family { name: "filled, pipelines", make: |d, n, m| filled(d, n, m, pipelines), workers: ANY },
    Family { name: "unit, in-tree", make: |d, n, m| unit_in_tree(d, n, m), workers: ANY },
    Family { name: "unit, out-tree", make: |d, n, m| unit_out_tree(d, n, m), workers: ANY },
    Family { name: "unit, two workers", make: |d, n, _| unit_two(d, n), workers: &[2] },
    Family { name: "random, any pairs", make: random_pairs, workers: ANY },
    Family { name: "random, layered", make: random_layered, workers: ANY },
    Family { name: "random, in-tree", make: random_in_tree, workers: ANY },
    Family { name: "random, out-tree", make: random_out_tree, workers: ANY },
    Family { name: "random, etl", make: random_etl, workers: ANY },
];

impl Dice {
    /// A number below this one.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end.max(1) as u64).unwrap()
    }

    fn in_ten(&mut self, times: usize) -> bool {
        self.below(10) < times
    }

    /// Some of these, each once at most.
    fn some(&mut self, from: &[usize], count: usize) -> Vec<usize> {
        let mut from = from.to_vec();
        let count = count.min(from.len());
        (0..count).map(|_| from.swap_remove(self.below(from.len()))).collect()
    }
}

/// How long the schedule of a filled graph is, in milliseconds.
const LENGTH: i64 = 10_000;

/// A task's place in the schedule of a filled graph.
#[derive(Clone, Copy)]
struct Slot {
    worker: u32,
    from: i64,
    to: i64,
}

/// About so many slots that leave no gap, by their beginnings. All workers have these cuts in common.
fn slots(dice: &mut Dice, tasks: usize, workers: u32, common: &[i64]) -> Vec<Slot> {
    let each = tasks / workers as usize;
    let mut slots = Vec::new();
    for worker in 0..workers {
        let mut cuts = std::collections::BTreeSet::from_iter(common.iter().copied());
        while cuts.len() + 1 < each {
            cuts.insert(1 + i64::try_from(dice.below(9_999)).unwrap());
        }
        let mut from = 0;
        for to in cuts.into_iter().chain([LENGTH]) {
            slots.push(Slot { worker, from, to });
            from = to;
        }
    }
    slots.sort_by_key(|slot| (slot.from, slot.worker));
    slots
}

/// The slots that end before this one begins, the last ones that do.
fn before(slots: &[Slot], place: usize, count: usize) -> Vec<usize> {
    let mut before: Vec<usize> = (0..place).filter(|&other| slots[other].to <= slots[place].from).collect();
    before.sort_by_key(|&other| (slots[other].to, other));
    before.split_off(before.len().saturating_sub(count))
}

fn filled(
    dice: &mut Dice,
    tasks: usize,
    workers: u32,
    upstream: fn(&mut Dice, &[Slot], usize) -> Vec<usize>,
) -> Instance {
    let slots = slots(dice, tasks, workers, &[]);
    let upstream = (0..slots.len()).map(|place| upstream(dice, &slots, place)).collect();
    of_slots(&slots, upstream)
}

fn of_slots(slots: &[Slot], upstream: Vec<Vec<usize>>) -> Instance {
    Instance { millis: slots.iter().map(|slot| slot.to - slot.from).collect(), upstream, least: LENGTH }
}

fn count_workers(slots: &[Slot]) -> usize {
    slots.iter().map(|slot| slot.worker as usize + 1).max().unwrap_or(1)
}

/// Up to three dependencies on what ended shortly before.
fn layered(dice: &mut Dice, slots: &[Slot], place: usize) -> Vec<usize> {
    let near = before(slots, place, 3 * count_workers(slots));
    let count = dice.below(4);
    dice.some(&near, count)
}

fn one_before(dice: &mut Dice, slots: &[Slot], place: usize) -> Vec<usize> {
    let near = before(slots, place, 2 * count_workers(slots));
    dice.some(&near, 1)
}

/// Mostly on the task before it on the same worker.
fn chained(dice: &mut Dice, slots: &[Slot], place: usize) -> Vec<usize> {
    let last = (0..place).rev().find(|&other| slots[other].worker == slots[place].worker);
    last.filter(|_| dice.in_ten(8)).into_iter().collect()
}

/// Chains, of which two to five are joined now and then.
fn pipelines(dice: &mut Dice, slots: &[Slot], place: usize) -> Vec<usize> {
    let last = (0..place).rev().find(|&other| slots[other].worker == slots[place].worker);
    if let Some(last) = last.filter(|_| dice.in_ten(6)) {
        return vec![last];
    }
    if dice.in_ten(5) {
        return Vec::new();
    }
    let near = before(slots, place, 4 * count_workers(slots));
    let count = 2 + dice.below(4);
    dice.some(&near, count)
}

/// Each task is what one task waits for, which begins shortly after it.
fn filled_in_tree(dice: &mut Dice, tasks: usize, workers: u32) -> Instance {
    let slots = slots(dice, tasks, workers, &[]);
    let mut upstream = vec![Vec::new(); slots.len()];
    for place in 0..slots.len() {
        let after = (place..slots.len()).filter(|&other| slots[other].from >= slots[place].to);
        let after: Vec<usize> = after.take(2 * workers as usize).collect();
        for next in dice.some(&after, 1) {
            upstream[next].push(place);
        }
    }
    of_slots(&slots, upstream)
}

/// Stages; each task of one waits for all tasks of the one before it.
fn filled_fork_join(dice: &mut Dice, tasks: usize, workers: u32) -> Instance {
    let stages = (tasks / (workers as usize * 6)).clamp(1, 12);
    let even = LENGTH / i64::try_from(stages).unwrap();
    let cuts: Vec<i64> = (1..i64::try_from(stages).unwrap())
        .map(|stage| stage * even + i64::try_from(dice.below(400)).unwrap() - 200)
        .collect();
    let slots = slots(dice, tasks, workers, &cuts);
    let stage = |slot: &Slot| cuts.iter().filter(|cut| **cut <= slot.from).count();
    let of = |wanted: usize| (0..slots.len()).filter(|&place| stage(&slots[place]) == wanted).collect();
    let stages: Vec<Vec<usize>> = (0..=cuts.len()).map(of).collect();
    let upstream = slots.iter().map(|slot| match stage(slot) {
        0 => Vec::new(),
        stage => stages[stage - 1].clone(),
    });
    let upstream = upstream.collect();
    of_slots(&slots, upstream)
}

/// Each task but the last is what a later one waits for.
fn in_tree(dice: &mut Dice, tasks: usize) -> Vec<Vec<usize>> {
    let mut upstream = vec![Vec::new(); tasks];
    for task in 0..tasks - 1 {
        let next = task + 1 + dice.below((tasks / 8).max(8).min(tasks - 1 - task));
        upstream[next].push(task);
    }
    upstream
}

/// Each task but the first waits for an earlier one.
fn out_tree(dice: &mut Dice, tasks: usize) -> Vec<Vec<usize>> {
    let before = |task: usize, dice: &mut Dice| task - 1 - dice.below((tasks / 8).max(8).min(task));
    (0..tasks).map(|task| if task == 0 { Vec::new() } else { vec![before(task, dice)] }).collect()
}

fn unit_in_tree(dice: &mut Dice, tasks: usize, workers: u32) -> Instance {
    let upstream = in_tree(dice, tasks);
    Instance { least: highest_level_first(&upstream, workers), millis: vec![1000; tasks], upstream }
}

fn unit_out_tree(dice: &mut Dice, tasks: usize, workers: u32) -> Instance {
    let upstream = out_tree(dice, tasks);
    Instance { least: highest_level_first(&upstream, workers), millis: vec![1000; tasks], upstream }
}

fn unit_two(dice: &mut Dice, tasks: usize) -> Instance {
    let upstream: Vec<Vec<usize>> = (0..tasks)
        .map(|task| {
            let near: Vec<usize> = (task.saturating_sub(12)..task).collect();
            let count = dice.below(4);
            dice.some(&near, count)
        })
        .collect();
    Instance { least: two_workers(&upstream), millis: vec![1000; tasks], upstream }
}

/// Durations of 1 ms to 1 s, and the best lower bound that is known.
fn random(dice: &mut Dice, workers: u32, upstream: Vec<Vec<usize>>) -> Instance {
    let millis: Vec<i64> = upstream.iter().map(|_| 1 + i64::try_from(dice.below(1000)).unwrap()).collect();
    Instance { least: bound_of_windows(&millis, &upstream, workers), millis, upstream }
}

/// Each pair of tasks is as likely to depend on one another, so that a task has about five dependencies.
fn random_pairs(dice: &mut Dice, tasks: usize, workers: u32) -> Instance {
    let upstream = (0..tasks).map(|task| (0..task).filter(|_| dice.below(tasks) < 10).collect()).collect();
    random(dice, workers, upstream)
}

fn random_layered(dice: &mut Dice, tasks: usize, workers: u32) -> Instance {
    let width = tasks.isqrt();
    let upstream = (0..tasks).map(|task| {
        let layer = task / width;
        if layer == 0 {
            return Vec::new();
        }
        let above: Vec<usize> = ((layer - 1) * width..layer * width).collect();
        let count = 1 + dice.below(3);
        dice.some(&above, count)
    });
    let upstream = upstream.collect();
    random(dice, workers, upstream)
}

fn random_in_tree(dice: &mut Dice, tasks: usize, workers: u32) -> Instance {
    let upstream = in_tree(dice, tasks);
    random(dice, workers, upstream)
}

fn random_out_tree(dice: &mut Dice, tasks: usize, workers: u32) -> Instance {
    let upstream = out_tree(dice, tasks);
    random(dice, workers, upstream)
}

/// As pyDag's DAGs: each source has its table made, is extracted and cleaned; marts join some of them, and a report all.
fn random_etl(dice: &mut Dice, tasks: usize, workers: u32) -> Instance {
    let marts = tasks / 5;
    let sources = (tasks - marts - 1) / 3;
    let mut upstream = Vec::new();
    for source in 0..sources {
        upstream.extend([Vec::new(), vec![3 * source], vec![3 * source + 1]]);
    }
    let cleaned: Vec<usize> = (0..sources).map(|source| 3 * source + 2).collect();
    for _ in 0..marts {
        let count = 2 + dice.below(3);
        upstream.push(dice.some(&cleaned, count));
    }
    upstream.push((3 * sources..3 * sources + marts).collect());
    random(dice, workers, upstream)
}
