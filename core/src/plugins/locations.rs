//! `[locations]` and `[cache]` of `plugins.toml`: how the places of scripts are reached.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::secret::Secret;
use crate::buckets::{BucketSettings, GcsSettings, S3Settings};

/// Settings, as messages name them.
pub(super) const REDIS: &str = "`redis` of [cache]";
const SERVICE_ACCOUNT: &str = "`service_account` of [locations.gcs]";

/// What a service account's key has.
const PARTS_OF_A_KEY: [&str; 4] = ["client_email", "private_key", "private_key_id", "project_id"];

/// What is wrong with a setting; never its value.
#[derive(Debug)]
pub(super) struct WrongSetting {
    pub(super) setting: String,
    pub(super) problem: String,
}

/// Where scripts are.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Locations {
    local: Option<Local>,
    gcs: Gcs,
    s3: S3,
    database: Database,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Local {
    root: PathBuf,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Gcs {
    endpoint: Option<Endpoint>,
    service_account: Option<Secret>,
    impersonate: Option<String>,
    anonymous: Option<bool>,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct S3 {
    endpoint: Option<Endpoint>,
    region: Option<String>,
    access_key_id: Option<Secret>,
    secret_access_key: Option<Secret>,
    session_token: Option<Secret>,
    anonymous: Option<bool>,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Database {
    name_column: Option<String>,
    script_column: Option<String>,
}

/// The script cache.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Cache {
    redis: Option<Secret>,
    timeout: Option<Timeout>,
}

/// `250ms`, `2s`, or a number of seconds.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "Value")]
struct Timeout(Duration);

impl TryFrom<Value> for Timeout {
    type Error = &'static str;

    fn try_from(written: Value) -> Result<Self, Self::Error> {
        let time = match &written {
            Value::String(text) => humantime::parse_duration(text).ok(),
            number => number.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        };
        let wrong = "timeout must be a time such as 250ms or 2s, or a number of seconds, above 0";
        time.filter(|time| !time.is_zero()).map(Self).ok_or(wrong)
    }
}

/// A server's URL.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct Endpoint(String);

impl TryFrom<String> for Endpoint {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        match rest {
            Some(host) if !host.is_empty() && !host.contains('@') => {
                Ok(Self(text.trim_end_matches('/').to_owned()))
            }
            _ => Err("an endpoint is a URL such as https://storage.example.org, without a user"),
        }
    }
}

/// The columns of a table of scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// That of a script's name.
    pub name: String,
    /// That of its text.
    pub script: String,
}

impl Locations {
    pub(super) fn local_root(&self) -> Option<&Path> {
        self.local.as_ref().map(|local| local.root.as_path())
    }

    pub(super) fn columns(&self) -> Columns {
        let or = |column: &Option<String>, usual: &str| column.clone().unwrap_or_else(|| usual.to_owned());
        let Database { name_column, script_column } = &self.database;
        Columns { name: or(name_column, "name"), script: or(script_column, "script") }
    }

    /// Relative paths count from this folder.
    pub(super) fn in_folder(&mut self, folder: &Path) {
        if let Some(local) = &mut self.local {
            local.root = folder.join(&local.root);
        }
        let S3 { access_key_id, secret_access_key, session_token, .. } = &mut self.s3;
        let secrets = [&mut self.gcs.service_account, access_key_id, secret_access_key, session_token];
        secrets.into_iter().flatten().for_each(|secret| secret.in_folder(folder));
    }

    pub(super) fn lay_over(&mut self, over: Self) {
        put(&mut self.local, over.local);
        let (gcs, s3, database) = (over.gcs, over.s3, over.database);
        put(&mut self.gcs.endpoint, gcs.endpoint);
        put(&mut self.gcs.service_account, gcs.service_account);
        put(&mut self.gcs.impersonate, gcs.impersonate);
        put(&mut self.gcs.anonymous, gcs.anonymous);
        put(&mut self.s3.endpoint, s3.endpoint);
        put(&mut self.s3.region, s3.region);
        put(&mut self.s3.access_key_id, s3.access_key_id);
        put(&mut self.s3.secret_access_key, s3.secret_access_key);
        put(&mut self.s3.session_token, s3.session_token);
        put(&mut self.s3.anonymous, s3.anonymous);
        put(&mut self.database.name_column, database.name_column);
        put(&mut self.database.script_column, database.script_column);
    }

    /// What can be seen to be wrong without reading a secret.
    pub(super) fn check(&self) -> Result<(), WrongSetting> {
        let missing = match (&self.s3.access_key_id, &self.s3.secret_access_key) {
            (Some(_), None) => "secret_access_key",
            (None, Some(_)) => "access_key_id",
            _ => return Ok(()),
        };
        let problem = format!("has no `{missing}`: the two keys are given both or neither");
        Err(WrongSetting { setting: "[locations.s3]".to_owned(), problem })
    }

    pub(super) fn buckets(&self) -> Result<BucketSettings, WrongSetting> {
        let text = |endpoint: &Option<Endpoint>| endpoint.as_ref().map(|endpoint| endpoint.0.clone());
        let Self { gcs, s3, .. } = self;
        let read = |secret: &Option<Secret>, name: &str| secret.as_ref().map(|s| read(s, name)).transpose();
        let service_account = read(&gcs.service_account, SERVICE_ACCOUNT)?;
        if service_account.as_deref().is_some_and(|key| !is_key(key)) {
            let problem = "is no service account's key in JSON".to_owned();
            return Err(WrongSetting { setting: SERVICE_ACCOUNT.to_owned(), problem });
        }
        Ok(BucketSettings {
            gcs: GcsSettings {
                endpoint: text(&gcs.endpoint),
                service_account,
                impersonate: gcs.impersonate.clone(),
                anonymous: gcs.anonymous.unwrap_or(false),
            },
            s3: S3Settings {
                endpoint: text(&s3.endpoint),
                region: s3.region.clone(),
                access_key_id: read(&s3.access_key_id, "`access_key_id` of [locations.s3]")?,
                secret_access_key: read(&s3.secret_access_key, "`secret_access_key` of [locations.s3]")?,
                session_token: read(&s3.session_token, "`session_token` of [locations.s3]")?,
                anonymous: s3.anonymous.unwrap_or(false),
            },
        })
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let S3 { access_key_id, secret_access_key, session_token, .. } = &self.s3;
        [&self.gcs.service_account, access_key_id, secret_access_key, session_token].into_iter().flatten()
    }
}

impl Cache {
    pub(super) fn in_folder(&mut self, folder: &Path) {
        self.redis.iter_mut().for_each(|secret| secret.in_folder(folder));
    }

    pub(super) fn lay_over(&mut self, over: Self) {
        put(&mut self.redis, over.redis);
        put(&mut self.timeout, over.timeout);
    }

    /// The URL of the Redis that keeps scripts, where one does.
    pub(super) fn redis(&self) -> Result<Option<String>, WrongSetting> {
        self.redis.as_ref().map(|redis| read(redis, REDIS)).transpose()
    }

    /// How long a run waits for a connection to it, and for each answer, where that is said.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout.map(|Timeout(time)| time)
    }
}

/// Whether a text looks like a service account's key; what is in it shows when it is used.
fn is_key(text: &str) -> bool {
    let key: Value = serde_json::from_str(text).unwrap_or_default();
    PARTS_OF_A_KEY.iter().all(|part| key[part].is_string())
}

/// What an overlay says counts; what it does not say stays.
pub(super) fn put<T>(below: &mut Option<T>, above: Option<T>) {
    if above.is_some() {
        *below = above;
    }
}

/// The value without what an editor leaves at a file's end.
fn read(secret: &Secret, name: &str) -> Result<String, WrongSetting> {
    let wrong = |problem| WrongSetting { setting: name.to_owned(), problem };
    match secret.read().map_err(wrong)?.trim() {
        "" => Err(wrong("is empty".to_owned())),
        value => Ok(value.to_owned()),
    }
}
