//! A notice by a webhook: the JSON as a POST.
//!
//! Follows no redirect: what a notice says is for the host that the DAG file names.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::crypto::ring;
use ureq::http::{StatusCode, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error};

use super::{Miss, Notice};

/// Where to post to.
pub(super) struct Webhook {
    url: String,
    agent: OnceLock<Agent>,
}

impl Webhook {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), agent: OnceLock::new() }
    }

    /// Calls it once.
    ///
    /// # Errors
    ///
    /// When it did not answer with a success. It may be tried again when it could not be reached, or has no time.
    pub(super) fn tell(&self, notice: &Notice, limit: Duration) -> Result<(), Miss> {
        let agent = self.agent.get_or_init(|| agent(limit, self.url.starts_with("https:")));
        let request = agent.post(&self.url).header("content-type", "application/json");
        match request.send(notice.json.as_bytes()) {
            Ok(response) => verdict(response.status()),
            // Their words hold the URL.
            Err(Error::BadUri(_) | Error::Http(_)) => Err(Miss::Final("its URL cannot be called".to_owned())),
            Err(Error::Timeout(_)) => {
                Err(Miss::Again(format!("no answer within {}", humantime::format_duration(limit))))
            }
            Err(Error::Io(error)) => Err(Miss::Again(error.to_string())),
            Err(error) => Err(Miss::Again(error.to_string())),
        }
    }
}

fn verdict(status: StatusCode) -> Result<(), Miss> {
    let answer = format!("the server answered {status}");
    if status.is_success() {
        Ok(())
    } else if status.is_redirection() {
        Err(Miss::Final(format!(
            "{answer}, and redirects are not followed: name the address that it leads to"
        )))
    } else if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Err(Miss::Again(answer))
    } else {
        Err(Miss::Final(answer))
    }
}

fn agent(limit: Duration, encrypted: bool) -> Agent {
    let mut config = Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("oxidag/", env!("CARGO_PKG_VERSION")));
    if encrypted {
        // The machine's certificates, or those that SSL_CERT_FILE names.
        let found = rustls_native_certs::load_native_certs().certs;
        let roots: Vec<_> = found.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .root_certs(RootCerts::from(roots))
            .build();
        config = config.tls_config(tls);
    }
    config.build().into()
}

impl fmt::Display for Webhook {
    /// Without user, password, path and query, any of which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri: Option<Uri> = self.url.parse().ok();
        let place = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.host()?, uri.port_u16())));
        match place {
            Some((scheme, host, Some(port))) => write!(f, "webhook at {scheme}://{host}:{port}"),
            Some((scheme, host, None)) => write!(f, "webhook at {scheme}://{host}"),
            None => f.write_str("webhook whose URL cannot be read"),
        }
    }
}
