//! The places of scripts that are not files: objects in buckets, and rows of tables.

use std::fmt;

use super::Kind;
use crate::buckets::{Object, Service};
use crate::spec::{Location, Script, ScriptSource};

/// A place of a script in a remote location.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Remote {
    /// An object in a bucket.
    Object(Object),
    /// A row of a table.
    Row(Row),
}

/// A row of a table of scripts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    /// The connection that names the database.
    pub bucket: String,
    /// The table, perhaps with its schema before a dot.
    pub table: String,
    /// The script's name.
    pub name: String,
}

impl Remote {
    /// Where a script is; `None` where it is a file, or stands in the DAG.
    pub(super) fn of(script: &Script, kind: Kind<'_>) -> Option<Self> {
        let ScriptSource::Stored { location, bucket, folder, name } = &script.source else { return None };
        let object = |service| {
            let folder = Object { service, bucket: bucket.clone(), name: folder.clone() };
            Self::Object(folder.join(&kind.file_name(name)))
        };
        match location {
            Location::Local => None,
            Location::Gcs => Some(object(Service::Gcs)),
            Location::S3 => Some(object(Service::S3)),
            Location::Database => {
                let (bucket, table, name) = (bucket.clone(), folder.clone(), name.clone());
                Some(Self::Row(Row { bucket, table, name }))
            }
        }
    }

    /// For who can read the place itself.
    pub(super) fn uri(&self) -> Option<String> {
        match self {
            Self::Object(object) => Some(object.to_string()),
            Self::Row(_) => None,
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object) => object.fmt(f),
            Self::Row(Row { bucket, table, name }) => write!(f, "database:{bucket}/{table}/{name}"),
        }
    }
}
