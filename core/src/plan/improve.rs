//! A better order than that of the b-levels, where one is found soon.
//!
//! A schedule is drawn together backwards in time and then forwards again, each task in the order that the schedule before
//! gave it: every pass lets tasks slide into gaps, and none makes the schedule worse without being dropped. (K. Y. Li and
//! R. J. Willis, "An iterative scheduling technique for resource-constrained project scheduling", European Journal of
//! Operational Research 56(3), 1992; V. Valls, F. Ballestín and S. Quintanilla, "Justification and RCPSP", ibid. 165(2),
//! 2005.) Once that gains nothing any more it begins again from the best schedule, stirred a little; so an iterated local
//! search. What is random about it has a fixed seed: the same DAG gets the same order.

use crate::scheduler::{Direction, Lister, Schedule};

/// A schedule this near to the lower bound, in parts of it, is good enough.
const NEAR: i64 = 1000;

/// How far starts are moved to stir a schedule: by up to its makespan, or by a part of it, down to this one.
const LEAST_STIRRED: u64 = 8;

/// The best schedule found within so many starts of tasks, from the one that an order gives.
pub(super) fn improve(lister: &Lister<'_>, levels: &[i64], bound: i64, mut starts: usize) -> Schedule {
    let mut dice = Dice(0);
    let mut current = lister.schedule(Direction::Forward, levels);
    let mut best = current.clone();
    let round = 3 * levels.len();
    while !is_near(best.makespan, bound) && starts >= round {
        starts -= round;
        let drawn = drawn_together(lister, &current);
        current = if drawn.makespan < current.makespan { drawn } else { stirred(lister, &best, &mut dice) };
        if current.makespan <= best.makespan {
            best = current.clone();
        }
    }
    best
}

/// Whether it is no use to look for a shorter schedule.
pub(super) fn is_near(makespan: i64, bound: i64) -> bool {
    makespan <= bound.saturating_add(bound / NEAR)
}

/// Backwards, what ended last begins; forwards, what then began first.
fn drawn_together(lister: &Lister<'_>, schedule: &Schedule) -> Schedule {
    let ends = lister.ends(schedule);
    let back = lister.schedule(Direction::Backward, &ends);
    // Backwards in time, a task's end is its start.
    lister.schedule(Direction::Forward, &lister.ends(&back))
}

/// Each task starts earlier or later than it did, as the dice say.
fn stirred(lister: &Lister<'_>, schedule: &Schedule, dice: &mut Dice) -> Schedule {
    let width = schedule.makespan.unsigned_abs() / (1 + dice.roll() % LEAST_STIRRED) + 1;
    let level = |&start: &i64| {
        let moved = i64::try_from(dice.roll() % width).unwrap_or_default();
        schedule.makespan - start + moved
    };
    let levels: Vec<i64> = schedule.starts.iter().map(level).collect();
    lister.schedule(Direction::Forward, &levels)
}

/// Splitmix64.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
