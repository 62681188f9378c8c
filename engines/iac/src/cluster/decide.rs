//! What is to be done next, from what is wanted, what is there and what was done already. No I/O.

use google_cloud_dataproc_v1::model::Cluster;
use google_cloud_dataproc_v1::model::cluster_status::State;
use oxidag_plugin_api::Error;

use super::place::{End, Memory, Verb, workers};
use crate::script::Sizes;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    Create,
    Start,
    Stop,
    Scale(Sizes),
    Delete,
}

/// The cluster as it is, and what this attempt thinks of it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) cluster: Cluster,
    /// This attempt made it.
    pub(crate) mine: bool,
    /// This DAG made it, in this environment.
    pub(crate) ours: bool,
    /// How it differs from what is asked for.
    pub(crate) differences: Vec<String>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// The goal is reached.
    Done,
    /// It changes by itself.
    Wait,
    Do(Verb),
    /// It is gone, and whether this DAG made it is to be found out.
    AskWhoMadeIt,
    Fail(Error),
}

impl Seen {
    pub(crate) fn state(&self) -> State {
        self.cluster.status.as_ref().map_or(State::Unknown, |status| status.state.clone())
    }

    /// Whether Dataproc has said in which state it is, and that is one we know.
    pub(crate) fn is_told(&self) -> bool {
        self.state() != State::Unknown && self.state().name().is_some()
    }

    /// What Dataproc says of its state.
    fn detail(&self) -> String {
        let detail = self.cluster.status.as_ref().map(|status| status.detail.trim_end_matches('.'));
        detail.filter(|detail| !detail.is_empty()).map(|detail| format!(": {detail}")).unwrap_or_default()
    }
}

/// The next step.
pub(crate) fn next(goal: &Goal, seen: Option<&Seen>, memory: &Memory) -> Step {
    let step = match (goal, seen) {
        (Goal::Create, None) => Step::Do(Verb::Create),
        (Goal::Create, Some(seen)) => create(seen, memory),
        (Goal::Delete, None) if memory.deleting.is_some() => Step::Done,
        (Goal::Delete, None) => Step::AskWhoMadeIt,
        (Goal::Delete, Some(seen)) => delete(seen, memory),
        (_, None) => {
            Step::Fail(Error::failed(format!("{} is not there; `action: create` makes it", memory.place)))
        }
        (Goal::Start, Some(seen)) => start(seen, memory),
        (Goal::Stop, Some(seen)) => stop(seen, memory),
        (Goal::Scale(sizes), Some(seen)) => scale(sizes, seen, memory),
    };
    match step {
        Step::Do(verb) => unless_in_vain(verb, seen, memory),
        step => step,
    }
}

/// An operation that has ended in this attempt is not begun once more.
fn unless_in_vain(verb: Verb, seen: Option<&Seen>, memory: &Memory) -> Step {
    let Some(end) = memory.end_of(verb) else { return Step::Do(verb) };
    let now = match seen {
        None => "is not there".to_owned(),
        Some(seen) => format!("is {}{}", name(&seen.state()), seen.detail()),
    };
    let what = format!("cannot {} {}, which {now}", verb.name(), memory.place);
    Step::Fail(end.error(&what))
}

fn create(seen: &Seen, memory: &Memory) -> Step {
    match seen.state() {
        // It will be gone.
        State::Deleting => Step::Wait,
        State::Error if seen.mine => {
            let why = format!("{} went into ERROR{}", memory.place, seen.detail());
            let told = match memory.end_of(Verb::Create) {
                Some(end @ End::Failed { .. }) => end.error(&format!("{} went into ERROR", memory.place)),
                _ => Error::failed(why),
            };
            let message = format!(
                "{}; it is left for you to look at, the next attempt takes its place: {}",
                told.message,
                memory.place.link()
            );
            Step::Fail(Error { message, ..told })
        }
        State::Error if seen.ours || seen.differences.is_empty() => {
            let diagnosed = memory.end_of(Verb::Diagnose).is_some();
            Step::Do(if diagnosed { Verb::Delete } else { Verb::Diagnose })
        }
        _ if !seen.differences.is_empty() => Step::Fail(Error::failed(format!(
            "{} is there and is another one than the script asks for: {}; delete it, or change the script",
            memory.place,
            seen.differences.join("; ")
        ))),
        State::Running | State::ErrorDueToUpdate => Step::Done,
        State::Stopped => Step::Do(Verb::Start),
        _ => Step::Wait,
    }
}

fn start(seen: &Seen, memory: &Memory) -> Step {
    match seen.state() {
        State::Running | State::ErrorDueToUpdate => Step::Done,
        State::Stopped => Step::Do(Verb::Start),
        state => passing("start", &state, seen, memory),
    }
}

fn stop(seen: &Seen, memory: &Memory) -> Step {
    match seen.state() {
        State::Stopped => Step::Done,
        State::Running | State::ErrorDueToUpdate => Step::Do(Verb::Stop),
        state => passing("stop", &state, seen, memory),
    }
}

fn scale(sizes: &Sizes, seen: &Seen, memory: &Memory) -> Step {
    let (workers, secondary) = workers(&seen.cluster);
    let reached = sizes.workers.is_none_or(|wanted| wanted == workers)
        && sizes.secondary_workers.is_none_or(|wanted| wanted == secondary);
    match seen.state() {
        State::Running if reached => Step::Done,
        State::Running => Step::Do(Verb::Update),
        State::Stopped => Step::Fail(Error::failed(format!(
            "cannot scale {}, which is STOPPED; `action: start` starts it",
            memory.place
        ))),
        state => passing("scale", &state, seen, memory),
    }
}

fn delete(seen: &Seen, memory: &Memory) -> Step {
    // Another one has taken the name: the one that was to be deleted is gone.
    if memory.deleting.as_ref().is_some_and(|uuid| *uuid != seen.cluster.cluster_uuid) {
        return Step::Done;
    }
    match seen.state() {
        State::Deleting | State::Starting | State::Stopping | State::Updating | State::Repairing => {
            Step::Wait
        }
        _ => Step::Do(Verb::Delete),
    }
}

/// What changes by itself is waited for; in ERROR, and on its way out, a cluster stays.
fn passing(what: &str, state: &State, seen: &Seen, memory: &Memory) -> Step {
    match state {
        State::Error | State::ErrorDueToUpdate | State::Deleting => Step::Fail(Error::failed(format!(
            "cannot {what} {}, which is {}{}",
            memory.place,
            name(state),
            seen.detail()
        ))),
        _ => Step::Wait,
    }
}

/// A state as Google spells it.
pub(crate) fn name(state: &State) -> String {
    state.name().map_or_else(|| "in a state that is unknown".to_owned(), str::to_owned)
}

#[cfg(test)]
mod tests;
