//! Objects in buckets: Google Cloud Storage, and S3 or what speaks its protocol.
//!
//! A client is made when its service is first asked for. Everything is retried within a time limit, and an error tells
//! what is not there from what may not be seen and from a service that is away. Nothing here shows a credential.

mod gcs;
mod s3;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::background::Background;

pub use gcs::GcsSettings;
pub use s3::S3Settings;

/// No request takes longer, its retries included.
const PATIENCE: Duration = Duration::from_secs(60);

/// For how long what may pass is tried again, and with what waits between.
pub(crate) const RETRY_TIME: Duration = Duration::from_secs(30);
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(200);
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The services that keep buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Google Cloud Storage, `gs://`.
    Gcs,
    /// S3, `s3://`.
    S3,
}

impl Service {
    fn scheme(self) -> &'static str {
        match self {
            Service::Gcs => "gs://",
            Service::S3 => "s3://",
        }
    }
}

/// An object, or a folder of them; shown as its URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// Who keeps it.
    pub service: Service,
    /// The bucket's name.
    pub bucket: String,
    /// The name in the bucket, folders included; empty for the bucket itself.
    pub name: String,
}

impl Object {
    /// Reads `gs://bucket/name` or `s3://bucket/name`; a slash at the end is not part of the name.
    #[must_use]
    pub fn parse(uri: &str) -> Option<Self> {
        let services = [Service::Gcs, Service::S3].into_iter();
        let (service, rest) =
            services.filter_map(|service| Some((service, uri.strip_prefix(service.scheme())?))).next()?;
        let (bucket, name) = rest.split_once('/').unwrap_or((rest, ""));
        let name = name.trim_end_matches('/');
        // `.` and `..` would be other places to whoever takes the name for a path.
        let is_part = |part: &str| !matches!(part, "" | "." | "..");
        let is_named = !bucket.is_empty() && (name.is_empty() || name.split('/').all(is_part));
        is_named.then(|| Self { service, bucket: bucket.to_owned(), name: name.to_owned() })
    }

    /// What has this name in this folder.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let name = match self.name.as_str() {
            "" => name.to_owned(),
            folder => format!("{folder}/{name}"),
        };
        Self { service: self.service, bucket: self.bucket.clone(), name }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/{}", self.service.scheme(), self.bucket, self.name)
    }
}

/// How each service is reached; holds credentials.
#[derive(Clone, Default)]
pub struct BucketSettings {
    /// Google Cloud Storage.
    pub gcs: GcsSettings,
    /// S3.
    pub s3: S3Settings,
}

/// Reads and writes objects.
pub struct Buckets {
    background: Arc<Background>,
    gcs: gcs::Gcs,
    s3: s3::S3,
}

/// Why an object was not read or written. Its text names the object and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} {object}: {reason}")]
pub struct BucketError {
    /// What can be done about it.
    pub kind: BucketErrorKind,
    action: &'static str,
    object: Object,
    reason: String,
}

/// The kinds of [`BucketError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketErrorKind {
    /// There is no such object or bucket.
    NotFound,
    /// The credentials are missing, wrong, or not enough.
    NotAllowed,
    /// The service is away, too busy, or cannot be reached.
    Unavailable,
    /// The object itself cannot be taken: too large, or a name that the service does not know.
    Unusable,
}

impl BucketError {
    /// Why, without the object's name.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// What a service said, before it is known of which object.
type Refusal = (BucketErrorKind, String);

impl Buckets {
    /// No client is made and no service asked yet.
    #[must_use]
    pub fn new(settings: BucketSettings, background: Arc<Background>) -> Self {
        let BucketSettings { gcs, s3 } = settings;
        Self { background, gcs: gcs::Gcs::new(gcs), s3: s3::S3::new(s3) }
    }

    /// The runtime on which [`Buckets::get`] and [`Buckets::put`] have to be awaited.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn handle(&self) -> io::Result<Handle> {
        self.background.handle()
    }

    /// Where a service is, if not at its usual place.
    #[must_use]
    pub fn endpoint(&self, service: Service) -> Option<String> {
        match service {
            Service::Gcs => self.gcs.endpoint(),
            Service::S3 => self.s3.endpoint(),
        }
    }

    /// An object's bytes, at most `limit` of them.
    ///
    /// # Errors
    ///
    /// [`BucketError`]; what may pass was retried.
    pub async fn get(&self, object: &Object, limit: u64) -> Result<Vec<u8>, BucketError> {
        let work = async {
            match object.service {
                Service::Gcs => self.gcs.get(object, limit).await,
                Service::S3 => self.s3.get(object, limit).await,
            }
        };
        within(PATIENCE, work).await.map_err(|refusal| error("read", object, refusal))
    }

    /// Writes an object of this media type, over one of the same name.
    ///
    /// # Errors
    ///
    /// [`BucketError`]; what may pass was retried.
    pub async fn put(
        &self,
        object: &Object,
        bytes: Bytes,
        media_type: &'static str,
    ) -> Result<(), BucketError> {
        // A slow line of a mebibyte a second is borne with.
        let patience = PATIENCE + Duration::from_secs(bytes.len() as u64 >> 20);
        let work = async {
            match object.service {
                Service::Gcs => self.gcs.put(object, bytes, media_type).await,
                Service::S3 => self.s3.put(object, bytes, media_type).await,
            }
        };
        within(patience, work).await.map_err(|refusal| error("write", object, refusal))
    }
}

fn error(action: &'static str, object: &Object, (kind, reason): Refusal) -> BucketError {
    BucketError { kind, action, object: object.clone(), reason }
}

async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let silent = || {
        let reason = format!("there was no answer within {} s", patience.as_secs());
        Err((BucketErrorKind::Unavailable, reason))
    };
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| silent())
}

/// The first line of what a service said, and not too much of it.
pub(crate) fn brief(text: &str) -> String {
    const MOST: usize = 300;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason was given");
    // What comes from elsewhere does not move the cursor of a terminal.
    let line = line.replace(char::is_control, "\u{fffd}");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.trim_end_matches('.').to_owned(),
    }
}

/// The last of an error's causes: those before it say less.
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    brief(&cause.to_string())
}

fn too_large(limit: u64) -> Refusal {
    (BucketErrorKind::Unusable, format!("it is larger than {} MiB", limit >> 20))
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_written_as_its_uri() {
        let parsed =
            |uri: &str| Object::parse(uri).map(|object| (object.service, object.bucket, object.name));
        assert_eq!(parsed("gs://b.c/a/b.sql"), Some((Service::Gcs, "b.c".to_owned(), "a/b.sql".to_owned())));
        assert_eq!(parsed("s3://b/logs/"), Some((Service::S3, "b".to_owned(), "logs".to_owned())));
        assert_eq!(parsed("s3://b"), Some((Service::S3, "b".to_owned(), String::new())));
        for wrong in ["", "gs://", "gs:///a", "s3://b//a", "s3://b/a/../c", "gs://b/.", "https://b/a", "/b/a"]
        {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
        let folder = Object::parse("gs://b/logs/").unwrap();
        assert_eq!(folder.join("d/t/r.1.log").to_string(), "gs://b/logs/d/t/r.1.log");
        assert_eq!(Object::parse("gs://b").unwrap().join("x").to_string(), "gs://b/x");
    }

    #[test]
    fn what_a_service_said_is_cut_to_a_line() {
        assert_eq!(brief("\n  no such object.\nmore"), "no such object");
        assert_eq!(brief(&"x".repeat(400)).chars().count(), 301);
        assert_eq!(brief(" \n"), "no reason was given");
        assert_eq!(brief("a\x1b[2Jb\tc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
