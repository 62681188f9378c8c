//! `[logs]` of `plugins.toml`: the bucket that logs are uploaded to.

use serde::Deserialize;

use super::put;
use crate::buckets::Object;
use crate::logs::LogTarget;

/// Where logs go besides the disk.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Logs {
    upload: Option<Folder>,
    gzip: Option<bool>,
}

/// A bucket, or a folder in it.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct Folder(Object);

impl TryFrom<String> for Folder {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Object::parse(&text).map(Self).ok_or(
            "logs are uploaded to a bucket or a folder in one: gs://bucket/folder or s3://bucket/folder",
        )
    }
}

impl Logs {
    pub(super) fn lay_over(&mut self, over: Self) {
        put(&mut self.upload, over.upload);
        put(&mut self.gzip, over.gzip);
    }

    pub(super) fn target(&self) -> Option<LogTarget> {
        let Folder(folder) = self.upload.as_ref()?;
        Some(LogTarget { folder: folder.clone(), gzip: self.gzip.unwrap_or(false) })
    }
}
