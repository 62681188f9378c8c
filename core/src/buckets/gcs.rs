//! Google Cloud Storage, by Google's own client over HTTP.

use bytes::Bytes;
use google_cloud_auth::credentials::{self, Credentials, anonymous, impersonated, service_account};
use google_cloud_gax::exponential_backoff::ExponentialBackoffBuilder;
use google_cloud_gax::retry_policy::RetryPolicyExt as _;
use google_cloud_gax::retry_throttler::CircuitBreaker;
use google_cloud_storage::Error;
use google_cloud_storage::client::Storage;
use google_cloud_storage::retry_policy::RetryableErrors;
use tokio::sync::OnceCell;

use super::{
    BucketErrorKind, FIRST_WAIT, LONGEST_WAIT, Object, RETRY_TIME, Refusal, brief, root_cause, too_large,
};

/// What a token may be used for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// How Google Cloud Storage is reached.
#[derive(Clone, Default)]
pub struct GcsSettings {
    /// Another server than Google's.
    pub endpoint: Option<String>,
    /// The text of a service account's key file; else Application Default Credentials.
    pub service_account: Option<String>,
    /// A service account that is acted for.
    pub impersonate: Option<String>,
    /// Without any credentials.
    pub anonymous: bool,
}

/// The client, once it is needed.
pub(super) struct Gcs {
    settings: GcsSettings,
    client: OnceCell<Storage>,
}

impl Gcs {
    pub(super) fn new(settings: GcsSettings) -> Self {
        Self { settings, client: OnceCell::new() }
    }

    pub(super) fn endpoint(&self) -> Option<String> {
        self.settings.endpoint.clone()
    }

    pub(super) async fn get(&self, object: &Object, limit: u64) -> Result<Vec<u8>, Refusal> {
        let client = self.client().await?;
        let read = client.read_object(bucket(object), &object.name);
        let mut response = read.send().await.map_err(|error| refusal(&error))?;
        let size = u64::try_from(response.object().size).unwrap_or(0);
        if size > limit {
            return Err(too_large(limit));
        }
        let mut bytes = Vec::new();
        while let Some(part) = response.next().await {
            bytes.extend_from_slice(&part.map_err(|error| refusal(&error))?);
            if bytes.len() as u64 > limit {
                return Err(too_large(limit));
            }
        }
        Ok(bytes)
    }

    pub(super) async fn put(
        &self,
        object: &Object,
        bytes: Bytes,
        media_type: &'static str,
    ) -> Result<(), Refusal> {
        let client = self.client().await?;
        let write = client
            .write_object(bucket(object), &object.name, bytes)
            .set_content_type(media_type)
            // The same bytes under the same name: written twice is written once.
            .with_idempotency(true);
        write.send_unbuffered().await.map(drop).map_err(|error| refusal(&error))
    }

    async fn client(&self) -> Result<&Storage, Refusal> {
        let make = || async {
            let backoff = ExponentialBackoffBuilder::new()
                .with_initial_delay(FIRST_WAIT)
                .with_maximum_delay(LONGEST_WAIT)
                .clamp();
            let mut builder = Storage::builder()
                .with_credentials(self.credentials()?)
                .with_retry_policy(RetryableErrors.with_time_limit(RETRY_TIME))
                .with_backoff_policy(backoff)
                // One that never trips: the usual one makes many requests to a server that is away wait for each other.
                .with_retry_throttler(CircuitBreaker::clamp(1, 0, 0));
            if let Some(endpoint) = &self.settings.endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            let unusable =
                |reason| (BucketErrorKind::Unusable, format!("the client cannot be made: {reason}"));
            builder.build().await.map_err(|error| unusable(root_cause(&error)))
        };
        self.client.get_or_try_init(make).await
    }

    fn credentials(&self) -> Result<Credentials, Refusal> {
        let GcsSettings { service_account, impersonate, anonymous, .. } = &self.settings;
        // What cannot be read of a key is not shown: a part of it might be.
        let refused = |reason: &str| (BucketErrorKind::NotAllowed, reason.to_owned());
        let wrong_key =
            || refused("`service_account` of [locations.gcs] is no service account's key in JSON");
        if *anonymous {
            return Ok(anonymous::Builder::new().build());
        }
        let own = match service_account {
            Some(key) => {
                let key = serde_json::from_str(key).map_err(|_| wrong_key())?;
                let scopes = service_account::AccessSpecifier::from_scopes([SCOPE]);
                service_account::Builder::new(key)
                    .with_access_specifier(scopes)
                    .build()
                    .map_err(|_| wrong_key())?
            }
            None => credentials::Builder::default().with_scopes([SCOPE]).build().map_err(|error| {
                refused(&format!(
                    "there are no Application Default Credentials: {}; see `service_account` of [locations.gcs]",
                    root_cause(&error)
                ))
            })?,
        };
        let Some(account) = impersonate else { return Ok(own) };
        impersonated::Builder::from_source_credentials(own)
            .with_target_principal(account)
            .with_scopes([SCOPE])
            .build()
            .map_err(|error| refused(&format!("cannot act for {account}: {}", root_cause(&error))))
    }
}

fn bucket(object: &Object) -> String {
    format!("projects/_/buckets/{}", object.bucket)
}

fn refusal(error: &Error) -> Refusal {
    let status = error.http_status_code();
    let kind = match status {
        Some(404) => BucketErrorKind::NotFound,
        Some(401 | 403) => BucketErrorKind::NotAllowed,
        Some(400..=499) if status != Some(429) && status != Some(408) => BucketErrorKind::Unusable,
        None if error.is_authentication() => BucketErrorKind::NotAllowed,
        _ => BucketErrorKind::Unavailable,
    };
    let payload = || error.http_payload().map(|payload| String::from_utf8_lossy(payload).into_owned());
    let said = match error.status() {
        Some(status) if !status.message.is_empty() => Some(brief(&status.message)),
        _ => payload().filter(|said| !said.trim().is_empty()).map(|said| brief(&said)),
    };
    let reason = match (kind, status, said) {
        (BucketErrorKind::NotFound, ..) => "it does not exist".to_owned(),
        (_, Some(status), Some(said)) => format!("{said} (status {status})"),
        (_, Some(status), None) => format!("status {status}"),
        (_, None, _) if error.is_authentication() => {
            format!("no access token could be had: {}", root_cause(error))
        }
        (_, None, _) => root_cause(error),
    };
    (kind, reason)
}
