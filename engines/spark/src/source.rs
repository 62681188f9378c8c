//! Where a script lies, and how it gets to where the service can read it.

use std::path::PathBuf;

use oxidag_google::ObjectPlace;
use oxidag_plugin_api::{Error, Result, Task};

use crate::work::Kind;

/// A script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// At a place that a service may read: `gs://…`, `hdfs://…`.
    At(String),
    /// A file of this machine.
    File(PathBuf),
    /// Its text, which lies in the DAG file or in a database.
    Text(String),
}

/// What has to be done so that a service can read a script at `uri`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) uri: String,
    /// To be copied there first.
    pub(crate) copy: Option<(ObjectPlace, Source)>,
}

impl Source {
    /// The task's script.
    ///
    /// # Errors
    ///
    /// When there is none, or it is a jar's text.
    pub(crate) fn of(task: &Task, kind: Kind) -> Result<Self> {
        let script = &task.script;
        let source = match (&script.uri, &script.path) {
            // Its path may have characters that a URI spells otherwise.
            (Some(uri), path) if uri.starts_with("file:") => {
                let file = reqwest::Url::parse(uri).ok().and_then(|uri| uri.to_file_path().ok());
                Self::File(path.clone().or(file).ok_or_else(|| {
                    Error::invalid(format!("{uri} is the place of no file on this machine"))
                })?)
            }
            (Some(uri), _) => Self::At(uri.clone()),
            (None, Some(path)) => Self::File(path.clone()),
            (None, None) => Self::Text(script.text.clone()),
        };
        match &source {
            Self::Text(_) if kind == Kind::Jar => Err(Error::invalid(format!(
                "the jar {} is given as text: keep it in a bucket or a folder, and name it by its place",
                script.name
            ))),
            Self::Text(text) if text.trim().is_empty() => {
                Err(Error::invalid(format!("the script {} is empty", script.name)))
            }
            _ => Ok(source),
        }
    }

    /// Its place where the service reads one of `schemes`, else a copy of it in the staging folder.
    ///
    /// # Errors
    ///
    /// When it would have to be copied and no such folder is configured, or cannot be.
    pub(crate) fn placed(
        self,
        task: &Task,
        kind: Kind,
        reader: &str,
        schemes: &[&str],
        staging: Option<&str>,
    ) -> Result<Placed> {
        if let Self::At(uri) = &self {
            if schemes.iter().any(|scheme| uri.starts_with(scheme)) {
                return Ok(Placed { uri: uri.clone(), copy: None });
            }
            return Err(Error::invalid(format!(
                "{reader} cannot read {uri}: copy the script to Cloud Storage and name it by its place there"
            )));
        }
        let Some(staging) = staging else {
            return Err(Error::invalid(format!(
                "{reader} cannot read the script {}, which lies on this machine, in the DAG file or in a \
                 database: keep it in Cloud Storage (`gcs.bucket.folder.spark.name`), or set `staging` in the \
                 engine's config to a folder, `gs://bucket/folder`, that it is copied to",
                task.script.name
            )));
        };
        let folder = staging.trim_end_matches('/');
        let uri = format!("{folder}/{}{}", task.idempotency_key, kind.suffix());
        let place = ObjectPlace::parse(&uri)
            .ok_or_else(|| Error::invalid(format!("`staging` is `{staging}`: write `gs://bucket/folder`")))?;
        Ok(Placed { uri, copy: Some((place, self)) })
    }

    /// What it holds, where that is known here.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(crate) async fn content(&self) -> Result<Vec<u8>> {
        match self {
            Self::File(path) => {
                let reading = path.clone();
                let read = tokio::task::spawn_blocking(move || std::fs::read(reading)).await;
                read.map_err(std::io::Error::other).and_then(|read| read).map_err(|error| {
                    Error::invalid(format!("cannot read the script {}: {error}", path.display()))
                })
            }
            Self::At(uri) => Err(Error::invalid(format!("the script {uri} is read where it lies"))),
            Self::Text(text) => Ok(text.clone().into_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::tests::task;
    use serde_json::json;

    fn at(uri: &str) -> Source {
        let mut task = task(json!({}));
        task.script.uri = Some(uri.to_owned());
        Source::of(&task, Kind::PySpark).unwrap()
    }

    fn placed(source: Source, staging: Option<&str>) -> Result<Placed> {
        let mut task = task(json!({}));
        task.script.name = "local.b.f.spark.x".to_owned();
        source.placed(&task, Kind::PySpark, "Dataproc", &["gs://", "hdfs://"], staging)
    }

    #[test]
    fn a_script_is_read_where_it_lies_if_it_can_be() {
        let place = placed(at("gs://b/f/x.py"), Some("gs://s/t")).unwrap();
        assert_eq!(place, Placed { uri: "gs://b/f/x.py".to_owned(), copy: None });
        insta::assert_snapshot!(placed(at("s3://b/x.py"), None).unwrap_err(), @"Dataproc cannot read s3://b/x.py: copy the script to Cloud Storage and name it by its place there");
    }

    #[test]
    fn what_lies_elsewhere_is_copied_or_refused_with_both_ways_out() {
        let local = at("file:///my%20dags/x.py");
        assert_eq!(local, Source::File("/my dags/x.py".into()));
        insta::assert_snapshot!(placed(local.clone(), None).unwrap_err(), @"Dataproc cannot read the script local.b.f.spark.x, which lies on this machine, in the DAG file or in a database: keep it in Cloud Storage (`gcs.bucket.folder.spark.name`), or set `staging` in the engine's config to a folder, `gs://bucket/folder`, that it is copied to");
        let place = placed(local.clone(), Some("gs://s/t/")).unwrap();
        assert_eq!(place.uri, "gs://s/t/oxidag-0123456789abcdef0123456789abcdef.py");
        assert_eq!(place.copy.unwrap().1, local);
        assert!(placed(Source::Text("x".to_owned()), Some("gs://s")).is_ok());
    }

    #[test]
    fn no_text_is_no_script() {
        let mut task = task(json!({}));
        assert!(Source::of(&task, Kind::Jar).unwrap_err().message.contains("given as text"));
        task.script.text = "\n ".to_owned();
        insta::assert_snapshot!(Source::of(&task, Kind::PySpark).unwrap_err(), @"the script inline is empty");
    }
}
