//! Fetches the scripts of remote locations before a run: each once, many at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::remote::{Remote, Row};
use super::{LARGEST, ScriptError, database, text_of};
use crate::buckets::{BucketErrorKind, Buckets, Object, Service};
use crate::cache::{CacheCounts, PREFIX, ScriptCache};
use crate::plugins::{Columns, Plugins};

/// So many objects are fetched at once.
const AT_ONCE: usize = 32;

/// How often who waits is told how far it is.
const TICK: Duration = Duration::from_millis(100);

/// What is to be fetched.
pub(crate) struct Wanted<'a> {
    /// How places are reached.
    pub(crate) plugins: &'a Plugins,
    /// The DAG file's folder: paths of databases count from it.
    pub(crate) base: &'a Path,
    /// The places.
    pub(crate) places: BTreeSet<Remote>,
    /// Whether they are looked for in the cache, and kept there.
    pub(crate) cached: bool,
    /// For how long they are kept; for ever unless said.
    pub(crate) expire: Option<Duration>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Fetched {
    pub(super) texts: Vec<(Remote, Text)>,
    /// How often the cache had a script, where one was asked.
    pub counts: Option<CacheCounts>,
    /// Something that the user should know.
    pub remark: Option<String>,
}

/// How many of the scripts are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// So many.
    pub done: usize,
    /// Of so many.
    pub total: usize,
}

type Text = Result<Arc<str>, ScriptError>;

/// Fetches all of it; `progress` is told now and then how far it is. Where nothing can be begun (the settings of the
/// cache are wrong, or the system gives no thread), that is why no script can be had.
pub(crate) fn fetch(wanted: Wanted<'_>, progress: &mut dyn FnMut(Progress)) -> Fetched {
    let begun = cache(&wanted).and_then(|cache| Ok((cache, runtime(&wanted)?)));
    let (total, done) = (wanted.places.len(), Arc::new(AtomicUsize::new(0)));
    let sources = Sources::new(&wanted, Arc::clone(&done));
    let places: Vec<Remote> = wanted.places.into_iter().collect();
    let (cache, runtime) = match begun {
        Ok(begun) => begun,
        Err(why) => {
            let texts = places.into_iter().map(|place| refused(place, why.clone(), true)).collect();
            return Fetched { texts, ..Fetched::default() };
        }
    };
    let work = gather(places, sources, cache.as_deref(), wanted.expire);
    runtime.block_on(async {
        let mut work = std::pin::pin!(work);
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                fetched = &mut work => return fetched,
                _ = tick.tick() => progress(Progress { done: done.load(Ordering::Relaxed), total }),
            }
        }
    })
}

fn cache(wanted: &Wanted<'_>) -> Result<Option<Arc<ScriptCache>>, String> {
    let cache = wanted.cached.then(|| wanted.plugins.script_cache());
    cache.transpose().map_err(|error| error.to_string())
}

fn runtime(wanted: &Wanted<'_>) -> Result<Handle, String> {
    let runtime = wanted.plugins.background().handle();
    runtime.map_err(|error| format!("no thread can be started: {error}"))
}

/// From where scripts are fetched.
struct Sources {
    /// What cannot be reached by its settings says why.
    buckets: Result<Arc<Buckets>, String>,
    databases: HashMap<String, Result<String, String>>,
    columns: Columns,
    base: PathBuf,
    done: Arc<AtomicUsize>,
}

impl Sources {
    fn new(wanted: &Wanted<'_>, done: Arc<AtomicUsize>) -> Self {
        let plugins = wanted.plugins;
        let rows = wanted.places.iter().filter_map(|place| match place {
            Remote::Row(row) => Some(row),
            Remote::Object(_) => None,
        });
        let url = |row: &Row| plugins.database(&row.bucket).map_err(|error| error.to_string());
        Self {
            buckets: plugins.buckets().map_err(|error| error.to_string()),
            databases: rows.map(|row| (row.bucket.clone(), url(row))).collect(),
            columns: plugins.script_columns(),
            base: wanted.base.to_owned(),
            done,
        }
    }

    /// The key of a script in the cache: its place, and the server where that is not the usual one, or a database.
    fn key(&self, place: &Remote) -> String {
        let at = match place {
            Remote::Object(object) => {
                self.buckets.as_ref().ok().and_then(|buckets| buckets.endpoint(object.service))
            }
            Remote::Row(row) => {
                let url = self.databases.get(&row.bucket).and_then(|url| url.as_ref().ok());
                url.map(|url| database::place(url, &self.base, &self.columns))
            }
        };
        let at = at.map(|at| format!("?at={at}")).unwrap_or_default();
        format!("{PREFIX}{place}{at}")
    }
}

async fn gather(
    places: Vec<Remote>,
    sources: Sources,
    cache: Option<&ScriptCache>,
    expire: Option<Duration>,
) -> Fetched {
    let Some(cache) = cache else {
        return Fetched { texts: fetch_all(places, &sources).await, ..Fetched::default() };
    };
    let keys: Vec<String> = places.iter().map(|place| sources.key(place)).collect();
    let (mut texts, mut missing) = (Vec::new(), Vec::new());
    for (place, text) in places.into_iter().zip(cache.get(&keys).await) {
        match text {
            Some(text) => texts.push((place, Ok(Arc::from(text)))),
            None => missing.push(place),
        }
    }
    sources.done.fetch_add(texts.len(), Ordering::Relaxed);
    let counts = CacheCounts { hits: texts.len() as u64, misses: missing.len() as u64 };
    let fetched = fetch_all(missing, &sources).await;
    let new = |(place, text): &'_ (Remote, Text)| Some((sources.key(place), text.as_ref().ok()?.clone()));
    let new: Vec<(String, Arc<str>)> = fetched.iter().filter_map(new).collect();
    let borrowed: Vec<(String, &str)> = new.iter().map(|(key, text)| (key.clone(), &**text)).collect();
    cache.put(&borrowed, expire).await;
    texts.extend(fetched);
    Fetched { texts, counts: Some(counts), remark: cache.take_remark() }
}

/// Everything at its place, many at a time.
async fn fetch_all(places: Vec<Remote>, sources: &Sources) -> Vec<(Remote, Text)> {
    let (mut objects, mut databases) = (Vec::new(), BTreeMap::<String, Vec<Row>>::new());
    for place in places {
        match place {
            Remote::Object(object) => objects.push(object),
            Remote::Row(row) => databases.entry(row.bucket.clone()).or_default().push(row),
        }
    }
    let mut texts = Vec::new();
    let mut work = JoinSet::new();
    let (gate, away) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Away::default()));
    for object in objects {
        match &sources.buckets {
            Err(reason) => texts.push(refused(Remote::Object(object), reason.clone(), true)),
            Ok(buckets) => {
                let (buckets, gate, away) = (Arc::clone(buckets), Arc::clone(&gate), Arc::clone(&away));
                work.spawn(async move {
                    // The gate is never closed.
                    let _place = gate.acquire().await.ok();
                    vec![fetch_object(&buckets, object, &away).await]
                });
            }
        }
    }
    for (bucket, rows) in databases {
        match sources.databases.get(&bucket) {
            Some(Ok(url)) => {
                let (url, base, columns) = (url.clone(), sources.base.clone(), sources.columns.clone());
                work.spawn(fetch_rows(url, base, columns, rows));
            }
            Some(Err(reason)) => {
                texts.extend(rows.into_iter().map(|row| refused(Remote::Row(row), reason.clone(), true)));
            }
            None => {}
        }
    }
    sources.done.fetch_add(texts.len(), Ordering::Relaxed);
    while let Some(fetched) = work.join_next().await {
        let fetched = fetched.unwrap_or_default();
        sources.done.fetch_add(fetched.len(), Ordering::Relaxed);
        texts.extend(fetched);
    }
    texts
}

/// Why a service is away, once one request has found that out: no other one has to.
#[derive(Default)]
struct Away([OnceLock<String>; 2]);

impl Away {
    fn of(&self, service: Service) -> &OnceLock<String> {
        match service {
            Service::Gcs => &self.0[0],
            Service::S3 => &self.0[1],
        }
    }
}

async fn fetch_object(buckets: &Buckets, object: Object, away: &Away) -> (Remote, Text) {
    let away = away.of(object.service);
    let got = match away.get() {
        Some(reason) => return refused(Remote::Object(object), reason.clone(), true),
        None => buckets.get(&object, LARGEST).await,
    };
    let place = Remote::Object(object);
    match got {
        Ok(bytes) => {
            let text = text_of(&place.to_string(), bytes);
            (place, text)
        }
        Err(error) => {
            let reason = match error.kind {
                BucketErrorKind::Unavailable => away.get_or_init(|| error.reason().to_owned()),
                _ => error.reason(),
            };
            let is_common = matches!(error.kind, BucketErrorKind::Unavailable | BucketErrorKind::NotAllowed);
            refused(place, reason.to_owned(), is_common)
        }
    }
}

async fn fetch_rows(url: String, base: PathBuf, columns: Columns, rows: Vec<Row>) -> Vec<(Remote, Text)> {
    let found = database::read(url, base, columns, rows.clone()).await;
    let text = |(row, found): (Row, database::Found)| match found {
        Ok(bytes) => {
            let place = Remote::Row(row);
            let text = text_of(&place.to_string(), bytes);
            (place, text)
        }
        Err(error) => refused(Remote::Row(row), error.reason, error.is_common),
    };
    rows.into_iter().zip(found).map(text).collect()
}

fn refused(place: Remote, reason: String, is_common: bool) -> (Remote, Text) {
    let error = ScriptError::Remote { place: place.to_string(), reason, is_common };
    (place, Err(error))
}
