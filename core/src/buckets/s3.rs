//! S3, and services that speak its protocol.

use std::collections::HashMap;
use std::error::Error as _;
use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{ClientConfigKey, ClientOptions};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, Error, ObjectStore as _, ObjectStoreExt as _, PutOptions,
    RetryConfig,
};

use super::{
    BucketErrorKind, FIRST_WAIT, LONGEST_WAIT, Object, RETRY_TIME, Refusal, brief, root_cause, too_large,
};

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// What AWS's environment variables begin with.
const PREFIX: &str = "AWS_";

/// Who asks.
const KEYS: [AmazonS3ConfigKey; 3] =
    [AmazonS3ConfigKey::AccessKeyId, AmazonS3ConfigKey::SecretAccessKey, AmazonS3ConfigKey::Token];

/// How S3 is reached; what is not said is taken from AWS's usual environment variables.
#[derive(Clone, Default)]
pub struct S3Settings {
    /// Another server than Amazon's.
    pub endpoint: Option<String>,
    /// Where the buckets are.
    pub region: Option<String>,
    /// Who asks.
    pub access_key_id: Option<String>,
    /// What proves it.
    pub secret_access_key: Option<String>,
    /// What goes with temporary keys.
    pub session_token: Option<String>,
    /// Without any credentials.
    pub anonymous: bool,
}

/// A client for each bucket, once it is needed.
pub(super) struct S3 {
    settings: S3Settings,
    /// AWS's environment variables that are set to something.
    variables: HashMap<AmazonS3ConfigKey, String>,
    clients: Mutex<HashMap<String, Arc<AmazonS3>>>,
}

impl S3 {
    pub(super) fn new(settings: S3Settings) -> Self {
        Self::with_variables(settings, std::env::vars_os())
    }

    fn with_variables(
        settings: S3Settings,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let known = |(name, value): (OsString, OsString)| {
            let name = name.to_str().filter(|name| name.starts_with(PREFIX))?;
            let value = value.to_str().filter(|value| !value.is_empty())?;
            Some((name.to_ascii_lowercase().parse().ok()?, value.to_owned()))
        };
        let mut variables: HashMap<AmazonS3ConfigKey, String> =
            variables.into_iter().filter_map(known).collect();
        // That of S3 alone comes before that of all of AWS's services, and neither before that of plugins.toml.
        if let Some(url) = variables.remove(&AmazonS3ConfigKey::S3Endpoint) {
            variables.insert(AmazonS3ConfigKey::Endpoint, url);
        }
        Self { settings, variables, clients: Mutex::default() }
    }

    /// Without a user, should there be one.
    pub(super) fn endpoint(&self) -> Option<String> {
        let endpoint = self.builder().get_config_value(&AmazonS3ConfigKey::Endpoint)?;
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", &endpoint));
        Some(rest.rsplit_once('@').map_or_else(|| endpoint.clone(), |(_, host)| format!("{scheme}://{host}")))
    }

    /// What is wrong with the environment variables, as far as they count; `plugins.toml` was checked when it was read.
    fn check_variables(&self) -> Result<(), Refusal> {
        let refused = |reason: &str| Err((BucketErrorKind::NotAllowed, reason.to_owned()));
        let has = |key| self.variables.contains_key(&key);
        let S3Settings { endpoint, access_key_id, anonymous, .. } = &self.settings;
        if endpoint.is_none()
            && self.variables.get(&AmazonS3ConfigKey::Endpoint).is_some_and(|url| url.contains('@'))
        {
            return refused(
                "the environment variable AWS_ENDPOINT_URL holds a user; give the keys as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            );
        }
        let half = has(AmazonS3ConfigKey::AccessKeyId) != has(AmazonS3ConfigKey::SecretAccessKey);
        if access_key_id.is_none() && !anonymous && half {
            return refused(
                "of the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY one is not set, or empty; set both, or neither",
            );
        }
        Ok(())
    }

    pub(super) async fn get(&self, object: &Object, limit: u64) -> Result<Vec<u8>, Refusal> {
        let (client, path) = (self.client(&object.bucket)?, path(object)?);
        let found = client.get(&path).await.map_err(|error| refusal(&error))?;
        if found.meta.size > limit {
            return Err(too_large(limit));
        }
        found.bytes().await.map(Vec::from).map_err(|error| refusal(&error))
    }

    pub(super) async fn put(
        &self,
        object: &Object,
        bytes: Bytes,
        media_type: &'static str,
    ) -> Result<(), Refusal> {
        let (client, path) = (self.client(&object.bucket)?, path(object)?);
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::ContentType, media_type.into());
        let options = PutOptions { attributes, ..PutOptions::default() };
        client.put_opts(&path, bytes.into(), options).await.map(drop).map_err(|error| refusal(&error))
    }

    fn client(&self, bucket: &str) -> Result<Arc<AmazonS3>, Refusal> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(bucket) {
            return Ok(Arc::clone(client));
        }
        self.check_variables()?;
        let made = self.builder().with_bucket_name(bucket).build();
        let client = Arc::new(made.map_err(|error| {
            (BucketErrorKind::Unusable, format!("the client cannot be made: {}", root_cause(&error)))
        })?);
        clients.insert(bucket.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    fn builder(&self) -> AmazonS3Builder {
        let S3Settings { endpoint, region, access_key_id, secret_access_key, session_token, anonymous } =
            &self.settings;
        let mut builder = AmazonS3Builder::new();
        for (key, value) in &self.variables {
            // Half a pair of keys would be refused, needed or not.
            if !(*anonymous && KEYS.contains(key)) {
                builder = builder.with_config(*key, value);
            }
        }
        if access_key_id.is_some() || secret_access_key.is_some() {
            // A pair of keys belongs together, and a token of other keys does not go with it.
            let pair = [access_key_id, secret_access_key].map(|key| key.clone().unwrap_or_default());
            let [id, secret] = pair;
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
            builder = builder.with_token(session_token.clone().unwrap_or_default());
        }
        if let Some(region) = region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if *anonymous {
            builder = builder.with_skip_signature(true);
        }
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
        let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        let options = ClientOptions::new()
            .with_connect_timeout(CONNECT)
            .with_timeout(super::PATIENCE)
            .with_config(ClientConfigKey::AllowHttp, plain.to_string());
        let backoff = BackoffConfig { init_backoff: FIRST_WAIT, max_backoff: LONGEST_WAIT, base: 2.0 };
        builder.with_client_options(options).with_retry(RetryConfig {
            backoff,
            max_retries: usize::MAX,
            retry_timeout: RETRY_TIME,
        })
    }
}

/// As written: no character of a name is replaced.
fn path(object: &Object) -> Result<Path, Refusal> {
    Path::parse(&object.name).map_err(|error| (BucketErrorKind::Unusable, brief(&error.to_string())))
}

fn refusal(error: &Error) -> Refusal {
    let said = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    if said.contains("Received redirect") || said.contains("status code: 3") {
        let reason = "the bucket is elsewhere: see `region` and `endpoint` of [locations.s3]";
        return (BucketErrorKind::Unusable, reason.to_owned());
    }
    let kind = match error {
        Error::NotFound { .. } => BucketErrorKind::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => BucketErrorKind::NotAllowed,
        Error::InvalidPath { .. } | Error::NotSupported { .. } => BucketErrorKind::Unusable,
        _ => match status(&said) {
            Some(status @ 400..=499) if !matches!(status, 408 | 429) => BucketErrorKind::Unusable,
            _ => BucketErrorKind::Unavailable,
        },
    };
    let reason = match (element(&said, "Code"), element(&said, "Message")) {
        (Some("NoSuchBucket"), _) => "the bucket does not exist".to_owned(),
        _ if kind == BucketErrorKind::NotFound => "it does not exist".to_owned(),
        (Some(code), Some(message)) => format!("{} ({code})", brief(message)),
        (Some(code), None) => code.to_owned(),
        _ => match said.rsplit_once("status code: ") {
            Some((_, status)) => format!("status {}", brief(status).trim_end_matches(':')),
            None => root_cause(error),
        },
    };
    (kind, reason)
}

/// The status with which S3 has answered.
fn status(said: &str) -> Option<u16> {
    let (_, rest) = said.split_once("status code: ")?;
    rest.split_whitespace().next()?.trim_end_matches(':').parse().ok()
}

/// The text of an element of the XML in which S3 says what is wrong.
fn element<'t>(xml: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_taken_out_of_the_answer() {
        let answer = "Error performing GET http://h/b/x in 1ms - Server returned non-2xx status code: 403 Forbidden: \
                      <?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
        let denied = |answer: &str| Error::PermissionDenied { path: "x".to_owned(), source: answer.into() };
        assert_eq!(
            refusal(&denied(answer)),
            (BucketErrorKind::NotAllowed, "Access Denied (AccessDenied)".to_owned())
        );
        let bucket = Error::NotFound { path: "x".to_owned(), source: "<Code>NoSuchBucket</Code>".into() };
        assert_eq!(refusal(&bucket), (BucketErrorKind::NotFound, "the bucket does not exist".to_owned()));
        let silent = denied("Server returned non-2xx status code: 403 Forbidden: ");
        assert_eq!(refusal(&silent), (BucketErrorKind::NotAllowed, "status 403 Forbidden".to_owned()));
        assert_eq!(refusal(&denied("no XML")), (BucketErrorKind::NotAllowed, "no XML".to_owned()));
    }

    #[test]
    fn only_a_service_that_is_away_is_away() {
        let kind = |said: &str| {
            let error =
                Error::Generic { store: "S3", source: format!("Error performing GET - {said}").into() };
            refusal(&error)
        };
        let answered = |status: &str| kind(&format!("Server returned non-2xx status code: {status}: ")).0;
        assert_eq!(answered("400 Bad Request"), BucketErrorKind::Unusable);
        for status in ["408 Request Timeout", "429 Too Many Requests", "503 Slow Down"] {
            assert_eq!(answered(status), BucketErrorKind::Unavailable, "{status}");
        }
        let elsewhere = "the bucket is elsewhere: see `region` and `endpoint` of [locations.s3]".to_owned();
        for said in
            ["Received redirect without LOCATION, this", "Server returned non-2xx status code: 301 Moved: "]
        {
            assert_eq!(kind(said), (BucketErrorKind::Unusable, elsewhere.clone()), "{said}");
        }
        assert_eq!(kind("connection refused").0, BucketErrorKind::Unavailable);
    }

    #[test]
    fn variables_count_that_are_set_to_something_and_fit() {
        let s3 = |settings: S3Settings, variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|&(name, value)| (name.into(), value.into()));
            S3::with_variables(settings, variables)
        };
        let refused = |settings: S3Settings, variables: &[(&str, &str)]| {
            s3(settings, variables).check_variables().err().map(|(_, reason)| reason).unwrap_or_default()
        };
        let region = ("AWS_REGION", "eu-west-1");
        let half = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", ""), region];
        let said = refused(S3Settings::default(), &half);
        assert!(said.starts_with("of the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET"), "{said}");
        let anonymous = || S3Settings { anonymous: true, ..S3Settings::default() };
        assert_eq!(refused(anonymous(), &half), "");
        let key = s3(anonymous(), &half).builder().get_config_value(&AmazonS3ConfigKey::AccessKeyId);
        assert_eq!(key, None, "half a pair is refused by the client");
        let keys = |key: &str| Some(key.to_owned());
        let own =
            S3Settings { access_key_id: keys("a"), secret_access_key: keys("b"), ..S3Settings::default() };
        assert_eq!(refused(own, &half), "");

        let url = [("AWS_ENDPOINT_URL", "http://me:s3cret@h:9000"), region];
        let said = refused(S3Settings::default(), &url);
        assert!(said.contains("AWS_ENDPOINT_URL holds a user") && !said.contains("s3cret"), "{said}");
        let endpoint = |variables| s3(S3Settings::default(), variables).endpoint();
        assert_eq!(endpoint(&url).as_deref(), Some("http://h:9000"));
        assert_eq!(endpoint(&[("AWS_ENDPOINT_URL", "")]), None);
        let both = [("AWS_ENDPOINT_URL_S3", "http://s3"), ("AWS_ENDPOINT_URL", "http://all")];
        assert_eq!(endpoint(&both).as_deref(), Some("http://s3"));
        let own = S3Settings { endpoint: keys("http://own"), ..S3Settings::default() };
        assert_eq!(s3(own, &both).endpoint().as_deref(), Some("http://own"));
    }

    #[test]
    fn plain_http_is_spoken_only_where_the_endpoint_says_so() {
        let plain = |endpoint: Option<&str>| {
            let settings = S3Settings { endpoint: endpoint.map(str::to_owned), ..S3Settings::default() };
            let options = S3::new(settings).builder();
            options.get_config_value(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp))
        };
        assert_eq!(plain(Some("http://127.0.0.1:9000")).as_deref(), Some("true"));
        assert_eq!(plain(Some("https://s3.example.org")).as_deref(), Some("false"));
    }
}
