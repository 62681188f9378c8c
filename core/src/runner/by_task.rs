//! Maps of a few of a run's tasks.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::event::TaskIdx;

/// A map of those tasks that something holds for at the moment, of a run that may have millions.
pub(super) type ByTask<T> = HashMap<TaskIdx, T, BuildHasherDefault<TaskHasher>>;

/// Spreads the numbers of tasks. They are dense and the run's own, so nobody can choose them to collide.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct TaskHasher(u64);

/// 2^64 over the golden ratio: its products with neighbours are far apart in their upper bits, which choose among the
/// entries of a group, as in their lower ones, which choose the group.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for TaskHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(u32::from(byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(SPREAD);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn neighbours_are_spread_over_groups_and_within_them() {
        let hash = |number| BuildHasherDefault::<TaskHasher>::default().hash_one(TaskIdx(number));
        let distinct = |part: fn(u64) -> u64| (0..128).map(|n| part(hash(n))).collect::<HashSet<_>>().len();
        assert!(distinct(|hash| hash >> 57) > 100, "upper bits");
        assert_eq!(distinct(|hash| hash & 127), 128, "lower bits");
    }
}
