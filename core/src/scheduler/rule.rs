//! Trigger rules: what the ends of a task's dependencies decide about it. Names and meanings are Airflow's.
//!
//! The decision never depends on the order in which the dependencies end, except for the rules that do not
//! wait for all of them (`one_*`), and there only the time of the start does.

use crate::spec::TriggerRule;
use crate::state::TaskState;

/// How many of a task's dependencies ended, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    left: u32,
    succeeded: u32,
    failed: u32,
    skipped: u32,
}

impl Counts {
    /// One more dependency.
    pub(super) fn expect_one(&mut self) {
        self.left += 1;
    }

    /// One of the dependencies ended in this state. A cancelled one counts as failed.
    pub(super) fn count(&mut self, state: TaskState) {
        self.left -= 1;
        match state {
            TaskState::Success => self.succeeded += 1,
            TaskState::Skipped => self.skipped += 1,
            _ => self.failed += 1,
        }
    }

    /// All of these, in place of one of the dependencies: those of a mapped task are its instances.
    pub(super) fn count_all(&mut self, ends: Counts) {
        self.left -= 1;
        self.succeeded += ends.succeeded;
        self.failed += ends.failed;
        self.skipped += ends.skipped;
    }

    /// Whether any of them failed, and whether all of them, one at least, were skipped.
    pub(super) fn any_failed_all_skipped(self) -> (bool, bool) {
        (self.failed > 0, self.skipped > 0 && self.succeeded + self.failed == 0)
    }

    /// How many are left.
    pub(super) fn left(self) -> u32 {
        self.left
    }

    /// Whether the task has no dependency at all, ended ones included.
    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// What becomes of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Not known yet.
    Wait,
    /// It may start.
    Run,
    /// It ends in this state without having run.
    End(TaskState),
}

/// Decides about a task that has at least one dependency.
pub(super) fn decide(rule: TriggerRule, n: Counts) -> Decision {
    use Decision::{End, Run, Wait};
    const SKIPPED: Decision = End(TaskState::Skipped);
    const UPSTREAM_FAILED: Decision = End(TaskState::UpstreamFailed);

    let all_ended = n.left == 0;
    match rule {
        TriggerRule::Always => Run,
        TriggerRule::OneSuccess if n.succeeded > 0 => Run,
        TriggerRule::OneFailed if n.failed > 0 => Run,
        TriggerRule::OneDone if n.succeeded + n.failed > 0 => Run,
        TriggerRule::AllSuccess | TriggerRule::NoneFailed | TriggerRule::NoneFailedMinOneSuccess
            if n.failed > 0 =>
        {
            UPSTREAM_FAILED
        }
        TriggerRule::AllFailed if n.succeeded + n.skipped > 0 => SKIPPED,
        TriggerRule::AllSkipped if n.succeeded + n.failed > 0 => SKIPPED,
        TriggerRule::NoneSkipped if n.skipped > 0 => SKIPPED,
        _ if !all_ended => Wait,
        TriggerRule::AllSuccess if n.skipped > 0 => SKIPPED,
        TriggerRule::OneSuccess if n.failed > 0 => UPSTREAM_FAILED,
        TriggerRule::OneSuccess | TriggerRule::OneFailed | TriggerRule::OneDone => SKIPPED,
        TriggerRule::NoneFailedMinOneSuccess if n.succeeded == 0 => SKIPPED,
        TriggerRule::AllSuccess
        | TriggerRule::AllFailed
        | TriggerRule::AllDone
        | TriggerRule::AllSkipped
        | TriggerRule::NoneFailed
        | TriggerRule::NoneSkipped
        | TriggerRule::NoneFailedMinOneSuccess => Run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TaskState::{Failed, Skipped, Success, UpstreamFailed};

    fn after(rule: TriggerRule, dependencies: usize, ends: &[TaskState]) -> Decision {
        let mut counts = Counts::default();
        (0..dependencies).for_each(|_| counts.expect_one());
        ends.iter().for_each(|&end| counts.count(end));
        decide(rule, counts)
    }

    /// One row a rule: what two dependencies decide that ended so.
    #[test]
    fn rules_decide_as_in_airflow() {
        let ends = [
            [Success, Success],
            [Success, Failed],
            [Failed, UpstreamFailed],
            [Success, Skipped],
            [Skipped, Skipped],
            [Failed, Skipped],
        ];
        let table = [
            (TriggerRule::AllSuccess, "run upstream upstream skip skip upstream"),
            (TriggerRule::AllFailed, "skip skip run skip skip skip"),
            (TriggerRule::AllDone, "run run run run run run"),
            (TriggerRule::AllSkipped, "skip skip skip skip run skip"),
            (TriggerRule::OneSuccess, "run run upstream run skip upstream"),
            (TriggerRule::OneFailed, "skip run run skip skip run"),
            (TriggerRule::OneDone, "run run run run skip run"),
            (TriggerRule::NoneFailed, "run upstream upstream run run upstream"),
            (TriggerRule::NoneSkipped, "run run run skip skip skip"),
            (TriggerRule::NoneFailedMinOneSuccess, "run upstream upstream run skip upstream"),
            (TriggerRule::Always, "run run run run run run"),
        ];
        for (rule, expected) in table {
            for (ends, expected) in ends.iter().zip(expected.split(' ')) {
                let decision = match after(rule, 2, ends) {
                    Decision::Wait => "wait",
                    Decision::Run => "run",
                    Decision::End(Skipped) => "skip",
                    Decision::End(_) => "upstream",
                };
                assert_eq!(decision, expected, "{rule:?} after {ends:?}");
            }
        }
    }

    #[test]
    fn only_the_one_rules_and_always_start_before_all_have_ended() {
        for (_, rule) in TriggerRule::NAMES {
            let early = [Success, Failed].iter().any(|&end| after(rule, 2, &[end]) == Decision::Run);
            let expected = matches!(
                rule,
                TriggerRule::OneSuccess | TriggerRule::OneFailed | TriggerRule::OneDone | TriggerRule::Always
            );
            assert_eq!(early, expected, "{rule:?}");
        }
    }
}
