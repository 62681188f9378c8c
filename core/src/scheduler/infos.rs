//! What the scheduler knows of every task, held once for tasks that are alike.

use std::ops::Index;

use super::types::{ExpectedFrom, TaskInfo};

/// A task is compared with so many kinds, the last ones, before it counts as one of its own.
const COMPARED: usize = 8;

/// What is known of every task. Of what is indexed the expected duration is left out: [`Infos::expected`] has it.
#[derive(Debug, Default)]
pub(super) struct Infos {
    kinds: Vec<TaskInfo>,
    /// The kind of each task,
    of: Vec<u32>,
    /// and what it is expected to take.
    expected: Vec<f64>,
}

impl Infos {
    pub(super) fn new(infos: Vec<TaskInfo>) -> Self {
        let count = infos.len();
        let (of, expected) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut all = Self { kinds: Vec::new(), of, expected };
        infos.into_iter().for_each(|info| all.push(info));
        all
    }

    pub(super) fn push(&mut self, info: TaskInfo) {
        self.expected.push(info.expected);
        let info = TaskInfo { expected: 0.0, expected_from: ExpectedFrom::Default, ..info };
        let first = self.kinds.len().saturating_sub(COMPARED);
        let known = self.kinds[first..].iter().rposition(|kind| *kind == info);
        let kind = known.map_or(self.kinds.len(), |place| first + place);
        if known.is_none() {
            self.kinds.push(info);
        }
        // There are no more kinds than tasks, and those are numbered by `u32`.
        self.of.push(u32::try_from(kind).unwrap_or(u32::MAX));
    }

    /// What each task is expected to take, in seconds.
    pub(super) fn expected(&self) -> &[f64] {
        &self.expected
    }
}

impl Index<usize> for Infos {
    type Output = TaskInfo;

    fn index(&self, task: usize) -> &TaskInfo {
        &self.kinds[self.of[task] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::tests::info;

    #[test]
    fn tasks_that_are_alike_are_held_once_and_each_keeps_what_it_is_expected_to_take() {
        let task = |priority, expected| TaskInfo { priority, expected, ..info() };
        let all: Vec<TaskInfo> = (0..1000_i32).map(|n| task(n % 3, f64::from(n))).collect();
        let infos = Infos::new(all.clone());
        assert_eq!(infos.kinds.len(), 3);
        for (place, known) in all.iter().enumerate() {
            assert_eq!(infos[place].priority, known.priority);
            assert_eq!(infos.expected()[place].to_bits(), known.expected.to_bits());
        }
    }

    #[test]
    fn tasks_that_differ_keep_what_is_their_own() {
        let infos = Infos::new((0..100).map(|priority| TaskInfo { priority, ..info() }).collect());
        assert!((0..100).all(|task| usize::try_from(infos[task].priority) == Ok(task)));
    }
}
