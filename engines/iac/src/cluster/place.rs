//! Where a cluster is, and what has become of it as far as this attempt knows: what a checkpoint holds.

use google_cloud_dataproc_v1::model::Cluster;
use oxidag_google::MASK;
use oxidag_plugin_api::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A cluster's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) project: String,
    pub(crate) region: String,
    pub(crate) cluster: String,
}

impl Place {
    /// Where a person looks at it.
    pub(crate) fn link(&self) -> String {
        let Self { project, region, cluster } = self;
        format!(
            "https://console.cloud.google.com/dataproc/clusters/{cluster}/monitoring?region={region}&project={project}"
        )
    }

    /// Where its operations are.
    pub(crate) fn operations(&self) -> String {
        format!("projects/{}/regions/{}/operations", self.project, self.region)
    }

    /// An operation's whole name.
    pub(crate) fn operation(&self, id: &str) -> String {
        format!("{}/{id}", self.operations())
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cluster {} in {} of project {}", self.cluster, self.region, self.project)
    }
}

/// What can be done with a cluster; each makes an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verb {
    Create,
    Start,
    Stop,
    Update,
    Diagnose,
    Delete,
}

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Update => "update",
            Self::Diagnose => "diagnose",
            Self::Delete => "delete",
        }
    }
}

/// How an operation ended. What became of the cluster is another question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    Done,
    Failed { code: i32, message: String },
}

impl End {
    /// The error of an attempt that ends by this; for [`End::Done`], that it was in vain.
    pub(crate) fn error(&self, what: &str) -> Error {
        match self {
            Self::Done => Error::failed(format!("{what}, though its operation ended well")),
            Self::Failed { code, message } => {
                Error::new(kind(*code), format!("{what}: {}", message.trim_end_matches('.')))
            }
        }
    }
}

/// From `google.rpc.Code`.
fn kind(code: i32) -> ErrorKind {
    match code {
        // INVALID_ARGUMENT, PERMISSION_DENIED, UNAUTHENTICATED
        3 | 7 | 16 => ErrorKind::Invalid,
        // RESOURCE_EXHAUSTED, ABORTED, UNAVAILABLE; INTERNAL may be a script on a machine that failed.
        8 | 10 | 14 => ErrorKind::Transient,
        _ => ErrorKind::Failed,
    }
}

/// An operation that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flight {
    pub(crate) verb: Verb,
    /// The last part of its name: what stands before says nothing new, and might be masked in a checkpoint.
    pub(crate) id: String,
}

/// All that an attempt knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    #[serde(flatten)]
    pub(crate) place: Place,
    #[serde(default)]
    pub(crate) flight: Option<Flight>,
    /// The operations of this attempt that have ended, and how.
    #[serde(default)]
    pub(crate) ended: Vec<(Verb, End)>,
    /// The last operation's id.
    #[serde(default)]
    pub(crate) operation: Option<String>,
    /// The UUID of the cluster that this attempt has asked to be deleted.
    #[serde(default)]
    pub(crate) deleting: Option<String>,
    /// Where the diagnosis of a cluster that was replaced lies.
    #[serde(default)]
    pub(crate) diagnosis: Option<String>,
}

impl Memory {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, flight: None, ended: Vec::new(), operation: None, deleting: None, diagnosis: None }
    }

    /// What an earlier call for the same attempt stored, at the place that it stored; else nothing at `place`.
    pub(crate) fn resume(stored: Option<&Value>, place: Place) -> Self {
        let Some(mut memory) = stored.and_then(|stored| Self::deserialize(stored).ok()) else {
            return Self::new(place);
        };
        // A name that is also part of a secret was not stored.
        for (stored, known) in [
            (&mut memory.place.project, place.project),
            (&mut memory.place.region, place.region),
            (&mut memory.place.cluster, place.cluster),
        ] {
            if stored.contains(MASK) {
                *stored = known;
            }
        }
        memory
    }

    /// How the last operation of this kind ended, if one has.
    pub(crate) fn end_of(&self, verb: Verb) -> Option<&End> {
        self.ended.iter().rev().find(|(ended, _)| *ended == verb).map(|(_, end)| end)
    }
}

/// How many primary and secondary workers a cluster has.
pub(crate) fn workers(cluster: &Cluster) -> (i32, i32) {
    let config = cluster.config.as_ref();
    let primary = config.and_then(|config| config.worker_config.as_ref());
    let secondary = config.and_then(|config| config.secondary_worker_config.as_ref());
    (primary.map_or(0, |group| group.num_instances), secondary.map_or(0, |group| group.num_instances))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn place(project: &str) -> Place {
        Place { project: project.to_owned(), region: "r".to_owned(), cluster: "c".to_owned() }
    }

    #[test]
    fn what_was_stored_is_gone_on_with_where_it_was() {
        let mut memory = Memory::new(place("stored"));
        memory.flight = Some(Flight { verb: Verb::Create, id: "o1".to_owned() });
        memory.ended = vec![(Verb::Diagnose, End::Failed { code: 13, message: "m".to_owned() })];
        let mut stored = serde_json::to_value(&memory).unwrap();
        assert_eq!(stored["project"], "stored");
        assert_eq!(Memory::resume(Some(&stored), place("changed")), memory);
        stored["project"] = "***".into();
        assert_eq!(Memory::resume(Some(&stored), place("known")).place, place("known"));
        assert_eq!(Memory::resume(Some(&json!({"x": 1})), place("p")), Memory::new(place("p")));
        assert_eq!(Memory::resume(None, place("p")), Memory::new(place("p")));
    }

    #[test]
    fn an_operations_error_has_the_kind_that_follows_from_who_is_at_fault() {
        let error = |code| End::Failed { code, message: "No room.".to_owned() }.error("cannot create it");
        assert_eq!(error(3).kind, ErrorKind::Invalid);
        assert_eq!(error(14).kind, ErrorKind::Transient);
        assert_eq!(error(9).kind, ErrorKind::Failed);
        insta::assert_snapshot!(error(9), @"cannot create it: No room");
    }
}
