//! How long an attempt puts up with what may pass: faults, refusals, a state that is not told. No clock: the time is an
//! argument.

use std::time::Duration;

use oxidag_plugin_api::{Error, ErrorKind};
use tokio::time::Instant;

use super::decide::Seen;

/// So long nothing but faults may come, and so long Dataproc may not tell a cluster's state. No shorter: an attempt that
/// ends takes with it the cluster that it was making.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What an attempt puts up with just now.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// Dataproc has answered: it takes the account.
    answered: bool,
    /// Since when there have been nothing but faults, and the last of them.
    faults: Option<(Instant, String)>,
    /// Since when the cluster's state has not been told.
    untold: Option<Instant>,
}

impl Patience {
    /// Takes note of an answer.
    pub(crate) fn answered(&mut self) {
        (self.answered, self.faults) = (true, None);
    }

    /// Takes note of a fault and says whether that is enough. A refusal is the answer only where Dataproc has never taken
    /// the account and nothing has `begun`.
    pub(crate) fn is_over(&mut self, error: &Error, refused: bool, begun: bool, now: Instant) -> bool {
        let passing = error.kind == ErrorKind::Transient || (refused && (self.answered || begun));
        let since = self.faults.as_ref().map_or(now, |(since, _)| *since);
        self.faults = Some((since, error.message.clone()));
        !passing || now - since > PATIENCE
    }

    /// The last fault, if there has been no answer since.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.faults.as_ref().map(|(_, fault)| fault.as_str())
    }

    /// Whether the cluster's state has not been told for too long.
    pub(crate) fn is_untold_too_long(&mut self, seen: Option<&Seen>, now: Instant) -> bool {
        if seen.is_none_or(Seen::is_told) {
            self.untold = None;
            return false;
        }
        now - *self.untold.get_or_insert(now) > PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use google_cloud_dataproc_v1::model::cluster_status::State;
    use google_cloud_dataproc_v1::model::{Cluster, ClusterStatus};

    use super::*;

    const LITTLE: Duration = Duration::from_secs(1);

    #[test]
    fn faults_are_put_up_with_for_a_while_which_an_answer_begins_anew() {
        let (mut patience, begin) = (Patience::default(), Instant::now());
        let fault = Error::transient("503");
        assert!(!patience.is_over(&fault, false, false, begin));
        assert!(!patience.is_over(&fault, false, false, begin + PATIENCE));
        assert_eq!(patience.trouble(), Some("503"));
        patience.answered();
        assert_eq!(patience.trouble(), None);
        let later = begin + PATIENCE + LITTLE;
        assert!(!patience.is_over(&fault, false, false, later));
        assert!(patience.is_over(&fault, false, false, later + PATIENCE + LITTLE));
    }

    #[test]
    fn a_refusal_passes_once_the_account_was_taken_or_something_is_under_way() {
        let (refusal, begin) = (Error::invalid("403"), Instant::now());
        assert!(Patience::default().is_over(&refusal, true, false, begin));
        assert!(!Patience::default().is_over(&refusal, true, true, begin));
        let mut patience = Patience::default();
        patience.answered();
        assert!(!patience.is_over(&refusal, true, false, begin));
        assert!(patience.is_over(&refusal, true, false, begin + PATIENCE + LITTLE));
        let mut patience = Patience::default();
        patience.answered();
        assert!(patience.is_over(&Error::invalid("400"), false, true, begin), "time does not mend that");
    }

    #[test]
    fn a_state_that_is_not_told_is_waited_for_but_not_for_ever() {
        let seen = |state: State| Seen {
            cluster: Cluster::new().set_status(ClusterStatus::new().set_state(state)),
            mine: false,
            ours: false,
            differences: Vec::new(),
        };
        for untold in [seen(State::Unknown), seen(State::from(77))] {
            let (mut patience, begin) = (Patience::default(), Instant::now());
            assert!(!patience.is_untold_too_long(Some(&untold), begin));
            assert!(!patience.is_untold_too_long(Some(&untold), begin + PATIENCE));
            assert!(patience.is_untold_too_long(Some(&untold), begin + PATIENCE + LITTLE));
            assert!(!patience.is_untold_too_long(Some(&seen(State::Creating)), begin + 2 * PATIENCE));
            assert!(!patience.is_untold_too_long(Some(&untold), begin + 3 * PATIENCE), "it begins anew");
        }
    }
}
