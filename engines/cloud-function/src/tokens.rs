//! Identity tokens, one source for each account and audience: it keeps a token until it is about to expire.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use google_cloud_auth::credentials::idtoken::IDTokenCredentials;
use oxidag_google::Account;
use oxidag_plugin_api::{Error, Result};

/// Sources of tokens.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    sources: Mutex<HashMap<(String, String), IDTokenCredentials>>,
}

impl Tokens {
    /// The account's source for this audience.
    ///
    /// # Errors
    ///
    /// As [`Account::id_tokens`].
    pub(crate) fn source(&self, account: &Account, audience: &str) -> Result<IDTokenCredentials> {
        let key = (account.fingerprint(), audience.to_owned());
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = sources.get(&key) {
            return Ok(source.clone());
        }
        let source = account.id_tokens(audience)?;
        sources.insert(key, source.clone());
        Ok(source)
    }
}

/// A token that is good now.
///
/// # Errors
///
/// When the account gets none; `transient` when it may get one later.
pub(crate) async fn token(source: &IDTokenCredentials) -> Result<String> {
    source.id_token().await.map_err(|error| {
        let message = format!("there is no identity token: {}", crate::call::chain(&error));
        if error.is_transient() {
            return Error::transient(message);
        }
        Error::invalid(format!("{message}; check the credentials"))
    })
}
