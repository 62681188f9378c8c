//! Who a task acts as: Application Default Credentials or a service-account key, impersonating or not.

use std::path::PathBuf;

use google_cloud_auth::credentials::idtoken::{self, IDTokenCredentials};
use google_cloud_auth::credentials::{self, Credentials, impersonated, service_account};
use oxidag_plugin_api::{Error, Result, Task};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::config::GoogleConfig;

/// What access tokens are good for: Google Cloud as a whole; what the account may do is decided by its roles.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The type of credentials that a connection may hold.
const KEY_TYPE: &str = "service_account";

/// Who a task acts as. Holds a secret, which its `Debug` does not show.
#[derive(Clone)]
pub struct Account {
    key: Option<Value>,
    impersonate: Option<String>,
    iam_endpoint: Option<String>,
    quota_project: Option<String>,
}

impl Account {
    /// The account of a task: the key in its connection `…service-account`, if it has one, else Application
    /// Default Credentials; acting as the config's `impersonate`, if that is set.
    ///
    /// # Errors
    ///
    /// When the connection does not hold a service account's key, or several connections could be meant.
    pub fn of(task: &Task, config: &GoogleConfig) -> Result<Self> {
        let key = match key_connection(task)? {
            Some(name) => Some(parse_key(name, task.params.get(name))?),
            None => None,
        };
        let GoogleConfig { impersonate, iam_endpoint, quota_project, .. } = config.clone();
        Ok(Self { key, impersonate, iam_endpoint, quota_project })
    }

    /// What tells accounts apart without telling their secrets.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let key = self.key.as_ref().map(Value::to_string);
        for part in [&key, &self.impersonate, &self.iam_endpoint, &self.quota_project] {
            hash.update([u8::from(part.is_some())]);
            hash.update(part.as_deref().unwrap_or_default());
            hash.update([0]);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Credentials for Google's APIs.
    ///
    /// # Errors
    ///
    /// When there are none, or they cannot be used.
    pub fn credentials(&self) -> Result<Credentials> {
        crate::client::install_cryptography();
        let Some(target) = &self.impersonate else {
            return self.own(self.quota_project.as_deref());
        };
        let builder = match &self.iam_endpoint {
            Some(endpoint) => impersonated::Builder::new(self.impersonation(target, endpoint)?),
            None => {
                impersonated::Builder::from_source_credentials(self.own(None)?).with_target_principal(target)
            }
        };
        let mut builder = builder.with_scopes([SCOPE]);
        if let Some(project) = &self.quota_project {
            builder = builder.with_quota_project_id(project);
        }
        builder.build().map_err(|e| unusable(&e))
    }

    /// Identity tokens for a service that is called by its URL, which is the audience.
    ///
    /// # Errors
    ///
    /// As [`Account::credentials`]; credentials of a person give no identity tokens.
    pub fn id_tokens(&self, audience: &str) -> Result<IDTokenCredentials> {
        crate::client::install_cryptography();
        let built = match (&self.impersonate, &self.key) {
            (Some(target), _) if self.iam_endpoint.is_some() => {
                let endpoint = self.iam_endpoint.as_deref().unwrap_or_default();
                let credentials = self.impersonation(target, endpoint)?;
                idtoken::impersonated::Builder::new(audience, credentials).with_include_email().build()
            }
            (Some(target), _) => {
                idtoken::impersonated::Builder::from_source_credentials(audience, target, self.own(None)?)
                    .with_include_email()
                    .build()
            }
            (None, Some(key)) => idtoken::service_account::Builder::new(audience, key.clone()).build(),
            (None, None) => idtoken::Builder::new(audience).with_include_email().build(),
        };
        built.map_err(|e| unusable(&e))
    }

    /// What a file of impersonated credentials holds, which is how Google's library takes an endpoint of IAM.
    fn impersonation(&self, target: &str, endpoint: &str) -> Result<Value> {
        let source = match &self.key {
            Some(key) => key.clone(),
            None => default_credentials()?,
        };
        let endpoint = endpoint.trim_end_matches('/');
        Ok(serde_json::json!({
            "type": "impersonated_service_account",
            "service_account_impersonation_url":
                format!("{endpoint}/v1/projects/-/serviceAccounts/{target}:generateAccessToken"),
            "source_credentials": source,
        }))
    }

    fn own(&self, quota_project: Option<&str>) -> Result<Credentials> {
        let built = match &self.key {
            Some(key) => {
                let scopes = service_account::AccessSpecifier::from_scopes([SCOPE]);
                let mut builder = service_account::Builder::new(key.clone()).with_access_specifier(scopes);
                if let Some(project) = quota_project {
                    builder = builder.with_quota_project_id(project);
                }
                builder.build()
            }
            None => {
                let mut builder = credentials::Builder::default().with_scopes([SCOPE]);
                if let Some(project) = quota_project {
                    builder = builder.with_quota_project_id(project);
                }
                builder.build()
            }
        };
        built.map_err(|e| unusable(&e))
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("impersonate", &self.impersonate).finish_non_exhaustive()
    }
}

/// Application Default Credentials that are a file: the variable's, or the one that `gcloud` makes.
fn default_credentials() -> Result<Value> {
    let named = std::env::var_os("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from);
    let made = || {
        let home = std::env::var_os("HOME")?;
        Some(PathBuf::from(home).join(".config/gcloud/application_default_credentials.json"))
    };
    let file = named.or_else(made).and_then(|path| std::fs::read(path).ok());
    file.and_then(|file| serde_json::from_slice(&file).ok()).ok_or_else(|| {
        Error::invalid(
            "`iam_endpoint` needs Application Default Credentials in a file; name one in \
             GOOGLE_APPLICATION_CREDENTIALS, or give the task a connection with a service account's key",
        )
    })
}

/// The task's connection that holds a service account's key.
fn key_connection(task: &Task) -> Result<Option<&str>> {
    let is_key = |name: &&String| name.ends_with("service-account") || name.ends_with("service_account");
    let mut keys = task.connections.iter().filter(is_key);
    match (keys.next(), keys.next()) {
        (Some(one), Some(other)) => Err(Error::invalid(format!(
            "the task has two service accounts, `**{one}` and `**{other}`; leave one"
        ))),
        (key, _) => Ok(key.map(String::as_str)),
    }
}

/// The key that a connection holds; what is wrong with it is told without what it holds.
fn parse_key(name: &str, value: Option<&Value>) -> Result<Value> {
    let key = match value {
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        Some(Value::Object(key)) => Some(Value::Object(key.clone())),
        _ => None,
    };
    key.filter(|key: &Value| key["type"] == KEY_TYPE).ok_or_else(|| {
        Error::invalid(format!(
            "the connection `**{name}` does not hold a service account's key, a JSON object whose `type` is \
             `{KEY_TYPE}`; {{ file = \"key.json\" }} in plugins.toml takes it from a file"
        ))
    })
}

fn unusable(error: &google_cloud_auth::build_errors::Error) -> Error {
    Error::invalid(format!(
        "the credentials cannot be used: {error}; give the task a connection with a service account's key, or \
         set up Application Default Credentials"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(connections: &Value) -> Task {
        let names: Vec<&String> = connections.as_object().unwrap().keys().collect();
        serde_json::from_value(json!({
            "dag_id": "d", "run_id": "r", "task_id": "t", "attempt": 1, "idempotency_key": "k",
            "script": {"text": "", "name": "inline"}, "params": connections, "connections": names,
            "working_dir": "/",
        }))
        .unwrap()
    }

    fn account(connections: &Value) -> Result<Account> {
        Account::of(&task(connections), &GoogleConfig::default())
    }

    #[test]
    fn a_connection_must_hold_a_key_and_what_it_holds_is_not_told() {
        for value in [json!("s3cret"), json!({"type": "authorized_user", "x": "s3cret"}), json!(7)] {
            let error = account(&json!({"GCP_service-account": value})).unwrap_err();
            assert!(error.message.contains("`**GCP_service-account`"), "{error}");
            assert!(!error.message.contains("s3cret"), "{error}");
        }
        let error = account(&json!({"A_service-account": "", "B_service_account": ""})).unwrap_err();
        insta::assert_snapshot!(error, @"the task has two service accounts, `**A_service-account` and `**B_service_account`; leave one");
    }

    #[test]
    fn accounts_are_told_apart_without_their_secrets() {
        let key = |id: &str| json!({"type": "service_account", "private_key": id}).to_string();
        let one = account(&json!({"GCP_service-account": key("s3cret")})).unwrap();
        let other = account(&json!({"GCP_service-account": key("s4cret")})).unwrap();
        let none = account(&json!({})).unwrap();
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert_ne!(one.fingerprint(), none.fingerprint());
        assert!(!format!("{one:?}{}", one.fingerprint()).contains("s3cret"));
        let config = GoogleConfig { impersonate: Some("a@b".to_owned()), ..GoogleConfig::default() };
        assert_ne!(Account::of(&task(&json!({})), &config).unwrap().fingerprint(), none.fingerprint());
    }
}
