//! Clients of Google's APIs, one for each account and endpoint, so that tasks share connections and tokens.

use std::collections::HashMap;
use std::sync::{Arc, Once};

use google_cloud_auth::credentials::Credentials;
use google_cloud_gax::client_builder::{ClientBuilder, Error as BuilderError};
use oxidag_plugin_api::Result;
use tokio::sync::{Mutex, OnceCell};

use crate::account::Account;

/// Whose client it is, and of which place.
type Key = (String, String);

/// Clients of one kind.
#[derive(Debug)]
pub struct Clients<C> {
    made: Mutex<HashMap<Key, Arc<OnceCell<C>>>>,
}

impl<C> Default for Clients<C> {
    fn default() -> Self {
        Self { made: Mutex::default() }
    }
}

impl<C: Clone> Clients<C> {
    /// The client of this account at this place (an endpoint, a region; whatever `build` depends on besides).
    ///
    /// # Errors
    ///
    /// When the credentials cannot be used, or the client not be built; another task tries again.
    pub async fn get<F>(&self, account: &Account, place: &str, build: F) -> Result<C>
    where
        F: AsyncFnOnce(Credentials) -> Result<C, BuilderError>,
    {
        let key = (account.fingerprint(), place.to_owned());
        let cell = Arc::clone(self.made.lock().await.entry(key).or_default());
        let client = cell.get_or_try_init(async || {
            // On the heap: one task builds, and thousands may wait for it.
            let building = Box::pin(build(account.credentials()?));
            building.await.map_err(|error| crate::from_builder(&error))
        });
        client.await.cloned()
    }
}

/// A builder of one of Google's clients with these credentials, an endpoint and this crate's retries. A macro's
/// work in a function: what a client is built from has one generic type.
#[must_use]
pub fn connected<F>(
    builder: ClientBuilder<F, Credentials>,
    credentials: Credentials,
    endpoint: Option<&str>,
) -> ClientBuilder<F, Credentials> {
    install_cryptography();
    let builder = builder
        .with_credentials(credentials)
        .with_retry_policy(crate::retry_policy())
        .with_backoff_policy(crate::backoff());
    match endpoint {
        Some(endpoint) => builder.with_endpoint(endpoint),
        None => builder,
    }
}

/// Google's crates, and reqwest's, are built without a provider of cryptography, and take the process's: here the
/// library's own. Called before whatever may speak TLS.
pub fn install_cryptography() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that there is one already.
        _ = rustls::crypto::ring::default_provider().install_default();
    });
}
