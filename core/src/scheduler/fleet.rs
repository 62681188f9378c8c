//! Several runs on the same places.

use super::{Places, Scheduler};

/// Which of several runs starts a task next: of those that can, the one that holds the fewest workers, and then the
/// one with the fewest tasks in flight. So each gets its share, and no place stays free while any run has work for it.
#[must_use]
pub fn next_to_start<'a>(runs: impl IntoIterator<Item = &'a Scheduler>, places: &Places) -> Option<usize> {
    let able = runs.into_iter().enumerate().filter(|(_, run)| run.can_start(places));
    able.min_by_key(|(_, run)| (run.workers_held, run.in_flight)).map(|(index, _)| index)
}
