//! The URL of a PostgreSQL server, read as libpq reads it. Its password never comes out again.

use std::error::Error as _;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use oxidag_plugin_api::{Error, Result};
use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::{self, Roots, Trust};

/// How long making the connection may take, unless the URL has a `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A peer that is gone is noticed within about two minutes, not hours.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(10), 6);

/// Where a server is, and how to talk to it. Its `Display` is for messages.
pub struct Server {
    /// What to connect with; holds the password.
    pub config: Config,
    trust: Trust,
}

impl Server {
    /// Reads a URL; a relative `sslrootcert` is looked up in `base`.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL, without the URL itself.
    pub fn parse(url: &str, base: &Path) -> Result<Self> {
        if url.matches('@').count() > 1 {
            // The library would take the password's rest for the host, and show it.
            return Err(invalid("it has more than one `@`: write one in the user or the password as `%40`"));
        }
        let (url, mode, roots) = take_tls_options(url)?;
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            invalid(&error.source().map_or_else(|| error.to_string(), ToString::to_string))
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(invalid("it names no host: write `postgres://user@host/database`"));
        }
        let (mode, trust) = trust(mode.as_deref(), roots.as_deref(), base)?;
        config.ssl_mode(mode);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("oxidag");
        }
        config.keepalives_idle(config.get_keepalives_idle().min(KEEPALIVE.0));
        config.keepalives_interval(config.get_keepalives_interval().unwrap_or(KEEPALIVE.1));
        config.keepalives_retries(config.get_keepalives_retries().unwrap_or(KEEPALIVE.2));
        Ok(Self { config, trust })
    }

    /// How long making a connection may take: the library bounds only what comes before TLS and the login, and that for each
    /// host.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len()).max(1);
        let each = *self.config.get_connect_timeout().unwrap_or(&CONNECT_TIMEOUT);
        each.saturating_mul(u32::try_from(hosts).unwrap_or(u32::MAX))
    }

    /// What makes the encrypted side of a connection.
    ///
    /// # Errors
    ///
    /// The root certificates that the URL names cannot be used.
    pub fn connector(&self) -> Result<MakeRustlsConnect> {
        tls::connector(&self.trust)
    }
}

/// Splits off `sslmode` and `sslrootcert`, of which the library knows less than libpq does.
fn take_tls_options(url: &str) -> Result<(String, Option<String>, Option<String>)> {
    let hosts = url.find('@').unwrap_or(0);
    let Some(question) = url[hosts..].find('?').map(|found| hosts + found) else {
        return Ok((url.to_owned(), None, None));
    };
    let (mut mode, mut roots, mut others) = (None, None, Vec::new());
    for option in url[question + 1..].split('&') {
        let slot = match option.split_once('=') {
            Some(("sslmode", value)) => (&mut mode, value),
            Some(("sslrootcert", value)) => (&mut roots, value),
            _ => {
                others.push(option);
                continue;
            }
        };
        let value = percent_decode_str(slot.1).decode_utf8();
        *slot.0 = Some(value.map_err(|_| invalid("an option is not UTF-8"))?.into_owned());
    }
    let rest = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
    Ok((format!("{}{rest}", &url[..question]), mode, roots))
}

/// As in libpq: `require` encrypts and checks nothing, unless root certificates are given.
fn trust(mode: Option<&str>, roots: Option<&str>, base: &Path) -> Result<(SslMode, Trust)> {
    let roots_or_system = || match roots {
        None | Some("system") => Roots::System,
        Some(path) => Roots::File(base.join(path)),
    };
    Ok(match mode {
        Some("disable") => (SslMode::Disable, Trust::Anyone),
        None | Some("prefer") => (SslMode::Prefer, Trust::Anyone),
        Some("require") if roots.is_none() => (SslMode::Require, Trust::Anyone),
        Some("require" | "verify-ca") => (SslMode::Require, Trust::Authority(roots_or_system())),
        Some("verify-full") => (SslMode::Require, Trust::Host(roots_or_system())),
        Some(other) => {
            return Err(invalid(&format!(
                "`sslmode` must be disable, prefer, require, verify-ca or verify-full, not {other:?}"
            )));
        }
    })
}

fn invalid(why: &str) -> Error {
    Error::invalid(format!("the database's URL is wrong: {why}"))
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        let ports = self.config.get_ports();
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(f, "{separator}{name}")?,
                Host::Unix(path) => write!(f, "{separator}{}", path.display())?,
            }
            if let Some(port) = ports.get(index).or(ports.first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(url: &str) -> Result<Server> {
        Server::parse(url, Path::new("/dags"))
    }

    #[test]
    fn a_server_is_shown_without_its_user_and_password() {
        let server = parse("postgres://ann:s3cret@db.example:6000/sales?sslmode=require").unwrap();
        assert_eq!(server.config.get_password(), Some(&b"s3cret"[..]));
        assert_eq!(
            format!("{server} {server:?}"),
            "postgres://db.example:6000/sales Server(postgres://db.example:6000/sales)"
        );
        let socket = parse("postgresql://ann@%2Frun%2Fpg/sales").unwrap();
        assert_eq!(socket.to_string(), "postgres:///run/pg:5432/sales");
    }

    #[test]
    fn sslmode_means_what_it_means_to_libpq() {
        let mode = |options: &str| {
            let server = parse(&format!("postgres://h/d?{options}&application_name=x")).unwrap();
            assert_eq!(server.config.get_application_name(), Some("x"));
            (server.config.get_ssl_mode(), server.trust)
        };
        let file = || Roots::File("/dags/ca.pem".into());
        assert_eq!(mode("connect_timeout=3"), (SslMode::Prefer, Trust::Anyone));
        assert_eq!(mode("sslmode=disable"), (SslMode::Disable, Trust::Anyone));
        assert_eq!(mode("sslmode=require"), (SslMode::Require, Trust::Anyone));
        assert_eq!(
            mode("sslmode=require&sslrootcert=ca%2Epem"),
            (SslMode::Require, Trust::Authority(file()))
        );
        assert_eq!(mode("sslrootcert=ca.pem&sslmode=verify-full"), (SslMode::Require, Trust::Host(file())));
        assert_eq!(mode("sslmode=verify-ca"), (SslMode::Require, Trust::Authority(Roots::System)));
    }

    #[test]
    fn a_wrong_url_says_what_is_wrong() {
        let wrong = |url: &str| parse(url).unwrap_err().message;
        insta::assert_snapshot!(wrong("postgres://u:p@ss@h/d"), @"the database's URL is wrong: it has more than one `@`: write one in the user or the password as `%40`");
        insta::assert_snapshot!(wrong("postgres://h/d?sslmod=require"), @"the database's URL is wrong: unknown option `sslmod`");
        insta::assert_snapshot!(wrong("postgres://h:port/d"), @"the database's URL is wrong: invalid value for option `port`");
        insta::assert_snapshot!(wrong("postgres:///d"), @"the database's URL is wrong: it names no host: write `postgres://user@host/database`");
        insta::assert_snapshot!(wrong("postgres://h/d?sslmode=yes"), @r#"the database's URL is wrong: `sslmode` must be disable, prefer, require, verify-ca or verify-full, not "yes""#);
    }

    proptest! {
        #[test]
        fn no_message_shows_the_password(
            password in "[ -~]{4,12}",
            rest in "(h|h:1|h:x|)(/d)?([?](sslmode=x|port=y|z=1|q))?",
        ) {
            let shown = match parse(&format!("postgres://u:{password}@{rest}")) {
                Ok(server) => format!("{server} {server:?}"),
                Err(error) => error.message,
            };
            // What stands in every message is no leak.
            let fixed = parse("postgres://u@h:x/d").unwrap_err().message;
            prop_assume!(!fixed.contains(&password));
            prop_assert!(!shown.contains(&password), "{}", shown);
        }
    }
}
