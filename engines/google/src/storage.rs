//! Objects in Cloud Storage: what a driver prints, scripts on their way to a service.

use std::sync::Arc;

use bytes::Bytes;
use google_cloud_storage::client::Storage;
use oxidag_plugin_api::{Error, Result};

use crate::account::Account;
use crate::client::Clients;

/// An object: `gs://bucket/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPlace {
    /// The bucket's name.
    pub bucket: String,
    /// The object's name.
    pub object: String,
}

impl ObjectPlace {
    /// From a URI.
    #[must_use]
    pub fn parse(uri: &str) -> Option<Self> {
        let (bucket, object) = uri.strip_prefix("gs://")?.split_once('/')?;
        let whole = !bucket.is_empty() && !object.is_empty();
        whole.then(|| Self { bucket: bucket.to_owned(), object: object.to_owned() })
    }
}

impl std::fmt::Display for ObjectPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "gs://{}/{}", self.bucket, self.object)
    }
}

/// A client of Cloud Storage: one for all tasks of an account, since thousands of them wait with it.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: Arc<Storage>,
}

impl Bucket {
    /// The client of this account, shared by its tasks.
    ///
    /// # Errors
    ///
    /// When it cannot be built.
    pub async fn open(
        clients: &Clients<Arc<Storage>>,
        account: &Account,
        endpoint: Option<&str>,
    ) -> Result<Self> {
        let build = async |credentials| {
            let builder = Storage::builder()
                .with_credentials(credentials)
                .with_retry_policy(crate::retry_policy())
                .with_backoff_policy(crate::backoff());
            match endpoint {
                Some(endpoint) => builder.with_endpoint(endpoint),
                None => builder,
            }
            .build()
            .await
            .map(Arc::new)
        };
        Ok(Self { client: clients.get(account, endpoint.unwrap_or_default(), build).await? })
    }

    /// An object's content; `None` when there is no such object.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn read(&self, place: &ObjectPlace) -> Result<Option<Vec<u8>>> {
        let failed = |error: &_| crate::from_gax(&format!("cannot read {place}"), error);
        let bucket = format!("projects/_/buckets/{}", place.bucket);
        let mut reader = match self.client.read_object(bucket, &place.object).send().await {
            Ok(reader) => reader,
            Err(error) if error.http_status_code() == Some(404) => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let mut content = Vec::new();
        while let Some(chunk) = reader.next().await.transpose().map_err(|e| failed(&e))? {
            content.extend_from_slice(&chunk);
        }
        Ok(Some(content))
    }

    /// Writes an object, over one of this name.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub async fn write(&self, place: &ObjectPlace, content: Bytes) -> Result<()> {
        let bucket = format!("projects/_/buckets/{}", place.bucket);
        let writing = self.client.write_object(bucket, &place.object, content).with_idempotency(true);
        let written = writing.send_buffered().await;
        written.map(|_| ()).map_err(|error: google_cloud_gax::error::Error| -> Error {
            crate::from_gax(&format!("cannot write {place}"), &error)
        })
    }
}
