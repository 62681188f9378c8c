//! The script cache: texts of scripts of remote locations, by the script's place, so that DAGs share them.
//!
//! It is a convenience: whatever goes wrong with it is told once, it is not asked again, and scripts are fetched without it.

mod redis;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

pub use redis::Redis;

/// What every key begins with.
pub const PREFIX: &str = "oxidag:script:";

/// How often a run found a script in the cache, and how often not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CacheCounts {
    /// Scripts that it had.
    pub hits: u64,
    /// Scripts that had to be fetched.
    pub misses: u64,
}

/// Keeps scripts, in this process or in a Redis.
#[derive(Debug)]
pub struct ScriptCache {
    kept: Kept,
    trouble: Mutex<Trouble>,
}

#[derive(Debug)]
enum Kept {
    InProcess(Mutex<HashMap<String, Entry>>),
    Redis(Box<redis::Store>),
}

#[derive(Debug)]
struct Entry {
    text: String,
    until: Option<Instant>,
}

/// What went wrong with the cache, for the whole life of the process.
#[derive(Debug, Default)]
struct Trouble {
    is_off: bool,
    untold: Option<String>,
}

impl ScriptCache {
    /// One that ends with the process.
    #[must_use]
    pub fn in_process() -> Self {
        Self { kept: Kept::InProcess(Mutex::default()), trouble: Mutex::default() }
    }

    /// One in a Redis, which is asked when the first script is looked for.
    #[must_use]
    pub fn redis(redis: Redis) -> Self {
        Self { kept: Kept::Redis(Box::new(redis::Store::new(redis))), trouble: Mutex::default() }
    }

    /// The texts that it has, in the order of the keys.
    pub(crate) async fn get(&self, keys: &[String]) -> Vec<Option<String>> {
        let none = || vec![None; keys.len()];
        match &self.kept {
            _ if self.trouble().is_off => none(),
            Kept::InProcess(entries) => {
                let (entries, now) = (lock(entries), Instant::now());
                let fresh = |entry: &&Entry| entry.until.is_none_or(|until| now < until);
                let text = |key| entries.get(key).filter(fresh).map(|entry| entry.text.clone());
                keys.iter().map(text).collect()
            }
            Kept::Redis(store) => store.get(keys).await.unwrap_or_else(|why| {
                self.give_up(why);
                none()
            }),
        }
    }

    /// Keeps texts by their keys for so long.
    pub(crate) async fn put(&self, texts: &[(String, &str)], expire: Option<Duration>) {
        match &self.kept {
            _ if self.trouble().is_off || texts.is_empty() => {}
            Kept::InProcess(entries) => {
                let until = expire.and_then(|expire| Instant::now().checked_add(expire));
                let entry =
                    |(key, text): &(String, &str)| (key.clone(), Entry { text: (*text).to_owned(), until });
                lock(entries).extend(texts.iter().map(entry));
            }
            Kept::Redis(store) => {
                if let Err(why) = store.put(texts, expire).await {
                    self.give_up(why);
                }
            }
        }
    }

    /// What went wrong, said once.
    pub(crate) fn take_remark(&self) -> Option<String> {
        self.trouble().untold.take()
    }

    fn give_up(&self, why: String) {
        let mut trouble = self.trouble();
        if !trouble.is_off {
            *trouble =
                Trouble { is_off: true, untold: Some(format!("{why}; scripts are fetched without it")) };
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        lock(&self.trouble)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn what_was_kept_is_found_until_it_expires() {
        let cache = ScriptCache::in_process();
        let found = |wanted: &[&str]| block_on(cache.get(&keys(wanted)));
        block_on(cache.put(&[("a".to_owned(), "select 1"), ("b".to_owned(), "")], None));
        block_on(cache.put(&[("c".to_owned(), "select 3")], Some(Duration::ZERO)));
        let texts = [Some("".to_owned()), None, Some("select 1".to_owned()), None];
        assert_eq!(found(&["b", "c", "a", "d"]), texts);
        assert_eq!(cache.take_remark(), None);
    }

    #[test]
    fn a_redis_that_is_not_there_is_told_once_and_not_asked_again() {
        // A port that was free a moment ago: nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("redis://:s3cret@127.0.0.1:{port}");
        let cache = ScriptCache::redis(Redis::new(&url).unwrap());
        block_on(async {
            assert_eq!(cache.get(&keys(&["a", "b"])).await, [None, None]);
            cache.put(&[("a".to_owned(), "x")], None).await;
            assert_eq!(cache.get(&keys(&["a"])).await, [None]);
        });
        let remark = cache.take_remark().unwrap();
        let place = format!("the script cache redis://127.0.0.1:{port} cannot be used: ");
        assert!(
            remark.starts_with(&place) && remark.ends_with("; scripts are fetched without it"),
            "{remark}"
        );
        assert_eq!(cache.take_remark(), None);
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_shown() {
        for wrong in ["", "redis:s3cret", "http://:s3cret@h", "redis://:s3cret@", "redis://:s3cret@h:x"] {
            let why = Redis::new(wrong).unwrap_err();
            assert!(!why.contains("s3cret"), "{why}");
        }
    }
}
