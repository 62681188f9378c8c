//! The script cache in a Redis. A URL's user and password never come out again.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, RedisError};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::PREFIX;
use crate::buckets::{brief, root_cause};

/// How long a run waits for a connection, and for each answer, unless it is told.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long somebody waits at least who asked for nothing else.
const LONG_PATIENCE: Duration = Duration::from_secs(5);
/// So many scripts go into one request, so that each answer can be there in time.
const BATCH: usize = 64;
/// So many keys are looked at in one step of a search.
const STEP: usize = 1000;

/// Where a Redis is. Shown without its user and password.
pub struct Redis {
    client: Client,
    patience: Duration,
}

impl Redis {
    /// Reads a `redis://` or `rediss://` URL; connects to nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without the URL itself.
    pub fn new(url: &str) -> Result<Self, String> {
        let wrong =
            || "is no URL such as redis://127.0.0.1:6379 or rediss://:password@host:6380/0".to_owned();
        let is_redis = url.starts_with("redis://") || url.starts_with("rediss://");
        let client = Some(url).filter(|_| is_redis).and_then(|url| Client::open(url).ok());
        let client = client.ok_or_else(wrong)?;
        match client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } if host.is_empty() => {
                Err(wrong())
            }
            _ => Ok(Self { client, patience: PATIENCE }),
        }
    }

    /// Waits so long for a connection, and for each answer, in place of 250 ms.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { patience: timeout, ..self }
    }

    /// Removes what oxidag keeps there and nothing else; how much it was.
    ///
    /// # Errors
    ///
    /// The Redis cannot be reached or does not do it.
    pub async fn clear(&self) -> Result<u64, String> {
        let cleared = async {
            let mut connection = self.connect(self.patience.max(LONG_PATIENCE)).await?;
            let (mut cursor, mut removed) = (0_u64, 0_u64);
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(format!("{PREFIX}*")).arg("COUNT").arg(STEP);
                let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut connection).await?;
                if !keys.is_empty() {
                    removed += redis::cmd("UNLINK").arg(keys).query_async::<u64>(&mut connection).await?;
                }
                cursor = next;
                if cursor == 0 {
                    return Ok(removed);
                }
            }
        };
        cleared.await.map_err(|error: RedisError| self.unusable(&error))
    }

    async fn connect(&self, patience: Duration) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(patience));
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        // The connection, and the answers to what is said on it first.
        let silent = |_| std::io::Error::from(std::io::ErrorKind::TimedOut).into();
        timeout(patience.saturating_mul(2), connecting).await.map_err(silent).and_then(|connected| connected)
    }

    fn unusable(&self, error: &RedisError) -> String {
        format!("the script cache {self} cannot be used: {}", reason(error))
    }
}

/// In words of our own, but for what the server says.
fn reason(error: &RedisError) -> String {
    if error.is_timeout() {
        return "it does not answer in time".to_owned();
    }
    if let Some((_, first)) = error.clone().into_server_errors().as_deref().and_then(<[_]>::first) {
        let code = brief(first.code());
        return match first.details() {
            Some(details) => format!("{} ({code})", brief(details)),
            None => format!("it answers {code}"),
        };
    }
    match error.kind() {
        ErrorKind::Io => root_cause(error),
        ErrorKind::AuthenticationFailed => "it refuses the user or the password".to_owned(),
        _ => "it answers something else than a Redis does".to_owned(),
    }
}

impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.client.get_connection_info().addr();
        let scheme = if matches!(addr, ConnectionAddr::TcpTls { .. }) { "rediss" } else { "redis" };
        write!(f, "{scheme}://{addr}")
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({self})")
    }
}

/// A Redis with the connection to it, once there is one.
pub(super) struct Store {
    redis: Redis,
    connection: OnceCell<MultiplexedConnection>,
}

impl Store {
    pub(super) fn new(redis: Redis) -> Self {
        Self { redis, connection: OnceCell::new() }
    }

    pub(super) async fn get(&self, keys: &[String]) -> Result<Vec<Option<String>>, String> {
        let got = async {
            let mut connection = self.connection().await?;
            let mut texts = Vec::with_capacity(keys.len());
            for keys in keys.chunks(BATCH) {
                let found: Vec<Option<Vec<u8>>> =
                    redis::cmd("MGET").arg(keys).query_async(&mut connection).await?;
                // What is no text was not put there by us, and is written over.
                let text = |found: Option<Vec<u8>>| String::from_utf8(found?).ok();
                texts.extend(found.into_iter().map(text));
            }
            Ok(texts)
        };
        let texts = got.await.map_err(|error: RedisError| self.redis.unusable(&error))?;
        match texts.len() == keys.len() {
            true => Ok(texts),
            false => {
                Err(format!("the script cache {} cannot be used: it answers something else", self.redis))
            }
        }
    }

    pub(super) async fn put(&self, texts: &[(String, &str)], expire: Option<Duration>) -> Result<(), String> {
        let put = async {
            let mut connection = self.connection().await?;
            for texts in texts.chunks(BATCH) {
                let mut pipe = redis::pipe();
                for (key, text) in texts {
                    let set = pipe.cmd("SET").arg(key).arg(*text);
                    if let Some(expire) = expire {
                        set.arg("PX").arg(u64::try_from(expire.as_millis()).unwrap_or(u64::MAX).max(1));
                    }
                    set.ignore();
                }
                pipe.query_async::<()>(&mut connection).await?;
            }
            Ok(())
        };
        put.await.map_err(|error: RedisError| self.redis.unusable(&error))
    }

    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        self.connection.get_or_try_init(|| self.redis.connect(self.redis.patience)).await.cloned()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.redis.fmt(f)
    }
}
