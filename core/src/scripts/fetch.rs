//! Fetches the scripts of remote locations before a run: each once, many at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::remote::{Remote, Row};
use super::{LARGEST, ScriptError, database, text_of};
use crate::buckets::{BucketErrorKind, Buckets, Object, Service};
use crate::cache::{CacheCounts, PREFIX, ScriptCache};
use crate::plugins::{Columns, Plugins, PluginsError};

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

/// Fetches all of it; `progress` is told now and then how far it is. Where the system gives no thread, that is why no
/// script can be had.
///
/// # Errors
///
/// What is wrong with the settings of the buckets or of the cache: nothing is fetched then.
pub(crate) fn fetch(
    wanted: Wanted<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Fetched, Vec<PluginsError>> {
    let (total, done) = (wanted.places.len(), Arc::new(AtomicUsize::new(0)));
    let (sources, cache) = match (buckets(&wanted), cache(&wanted)) {
        (Ok(buckets), Ok(cache)) => (Sources::new(&wanted, buckets, Arc::clone(&done)), cache),
        (buckets, cache) => return Err(buckets.err().into_iter().chain(cache.err()).collect()),
    };
    let places: Vec<Remote> = wanted.places.into_iter().collect();
    let runtime = match wanted.plugins.background().handle() {
        Ok(runtime) => runtime,
        Err(error) => {
            let why = format!("no thread can be started: {error}");
            let refused = |place| {
                let service = service(&place);
                refused(place, why.clone(), Some(service))
            };
            return Ok(Fetched { texts: places.into_iter().map(refused).collect(), ..Fetched::default() });
        }
    };
    let work = gather(places, sources, cache.as_deref(), wanted.expire);
    Ok(runtime.block_on(async {
        let mut work = std::pin::pin!(work);
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                fetched = &mut work => return fetched,
                _ = tick.tick() => progress(Progress { done: done.load(Ordering::Relaxed), total }),
            }
        }
    }))
}

/// What reads objects, if there are any to be read.
fn buckets(wanted: &Wanted<'_>) -> Result<Option<Arc<Buckets>>, PluginsError> {
    let needed = wanted.places.iter().any(|place| matches!(place, Remote::Object(_)));
    needed.then(|| wanted.plugins.buckets()).transpose()
}

fn cache(wanted: &Wanted<'_>) -> Result<Option<Arc<ScriptCache>>, PluginsError> {
    wanted.cached.then(|| wanted.plugins.script_cache()).transpose()
}

/// From where scripts are fetched.
struct Sources {
    buckets: Option<Arc<Buckets>>,
    /// The URL of each, or why there is none.
    databases: HashMap<String, Result<String, String>>,
    columns: Columns,
    base: PathBuf,
    done: Arc<AtomicUsize>,
}

impl Sources {
    fn new(wanted: &Wanted<'_>, buckets: Option<Arc<Buckets>>, done: Arc<AtomicUsize>) -> Self {
        let plugins = wanted.plugins;
        let rows = wanted.places.iter().filter_map(|place| match place {
            Remote::Row(row) => Some(row),
            Remote::Object(_) => None,
        });
        let url = |row: &Row| plugins.database(&row.bucket).map_err(|error| error.to_string());
        Self {
            buckets,
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
                self.buckets.as_ref().and_then(|buckets| buckets.endpoint(object.service))
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
    let mut missing: BTreeSet<Remote> = places.iter().cloned().collect();
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
        let Some(buckets) = sources.buckets.clone() else { continue };
        let (gate, away) = (Arc::clone(&gate), Arc::clone(&away));
        work.spawn(async move {
            // The gate is never closed.
            let _place = gate.acquire().await.ok();
            vec![fetch_object(&buckets, object, &away).await]
        });
    }
    for (bucket, rows) in databases {
        match sources.databases.get(&bucket) {
            Some(Ok(url)) => {
                let (url, base, columns) = (url.clone(), sources.base.clone(), sources.columns.clone());
                work.spawn(fetch_rows(url, base, columns, rows));
            }
            Some(Err(reason)) => {
                texts.extend(rows.into_iter().map(|row| {
                    let shared = Some(format!("database:{bucket}"));
                    refused(Remote::Row(row), reason.clone(), shared)
                }));
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
    for (place, _) in &texts {
        missing.remove(place);
    }
    texts.extend(missing.into_iter().map(broken_off));
    texts
}

/// What a task had to fetch that did not come to its end.
fn broken_off(place: Remote) -> (Remote, Text) {
    refused(place, "fetching it broke off, which is a bug of oxidag".to_owned(), None)
}

/// Why a bucket's service is away, once one request has found that out: no other one has to. Buckets of one service may be
/// in different places.
#[derive(Default)]
struct Away(Mutex<HashMap<(Service, String), String>>);

impl Away {
    fn why(&self, object: &Object) -> Option<String> {
        let away = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        away.get(&(object.service, object.bucket.clone())).cloned()
    }

    /// The first reason is that of all.
    fn tell(&self, object: &Object, reason: String) -> String {
        let mut away = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = (object.service, object.bucket.clone());
        away.entry(bucket).or_insert(reason).clone()
    }
}

async fn fetch_object(buckets: &Buckets, object: Object, away: &Away) -> (Remote, Text) {
    if let Some(reason) = away.why(&object) {
        let place = Remote::Object(object);
        let service = service(&place);
        return refused(place, reason, Some(service));
    }
    let got = buckets.get(&object, LARGEST).await;
    let bucket = Object { name: String::new(), ..object.clone() };
    let place = Remote::Object(object);
    match got {
        Ok(bytes) => {
            let text = text_of(&place.to_string(), bytes);
            (place, text)
        }
        Err(error) => {
            let reason = error.reason().to_owned();
            match error.kind {
                BucketErrorKind::Unavailable => {
                    let (reason, service) = (away.tell(&bucket, reason), service(&place));
                    refused(place, reason, Some(service))
                }
                BucketErrorKind::NotAllowed => refused(place, reason, Some(bucket.to_string())),
                BucketErrorKind::NotFound | BucketErrorKind::Unusable => refused(place, reason, None),
            }
        }
    }
}

async fn fetch_rows(url: String, base: PathBuf, columns: Columns, rows: Vec<Row>) -> Vec<(Remote, Text)> {
    let found = database::read(url, base, columns, rows.clone()).await;
    let database = |row: &Row| format!("database:{}", row.bucket);
    let text = |(row, found): (Row, database::Found)| match found {
        Ok(bytes) => {
            let place = Remote::Row(row);
            let text = text_of(&place.to_string(), bytes);
            (place, text)
        }
        Err(error) => {
            let shared = error.is_common.then(|| database(&row));
            refused(Remote::Row(row), error.reason, shared)
        }
    };
    rows.into_iter().zip(found).map(text).collect()
}

/// What is asked for a place.
fn service(place: &Remote) -> String {
    let place = place.to_string();
    place.split_once(':').map_or_else(|| place.clone(), |(service, _)| service.to_owned())
}

/// `shared` is what keeps its other scripts, too, for this reason.
fn refused(place: Remote, reason: String, shared: Option<String>) -> (Remote, Text) {
    let error = ScriptError::Remote { place: place.to_string(), reason, shared };
    (place, Err(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_that_is_away_says_nothing_of_another() {
        let object = |uri: &str| Object::parse(uri).unwrap();
        let away = Away::default();
        assert_eq!(away.tell(&object("s3://a/x"), "first".to_owned()), "first");
        assert_eq!(away.tell(&object("s3://a/y"), "second".to_owned()), "first");
        assert_eq!(away.why(&object("s3://a/z")).as_deref(), Some("first"));
        assert_eq!(away.why(&object("s3://b/x")), None);
        assert_eq!(away.why(&object("gs://a/x")), None);
    }

    #[test]
    fn what_nobody_came_back_with_is_told() {
        // Without buckets nothing is fetched, as if each task had broken off.
        let sources = Sources {
            buckets: None,
            databases: HashMap::new(),
            columns: Plugins::default().script_columns(),
            base: PathBuf::new(),
            done: Arc::default(),
        };
        let place = Remote::Object(Object::parse("gs://b/x.sql").unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let texts = runtime.block_on(fetch_all(vec![place.clone()], &sources));
        let [(of, Err(error))] = &texts[..] else { panic!("{texts:?}") };
        assert_eq!(of, &place);
        assert!(error.to_string().starts_with("cannot read the script gs://b/x.sql: fetching it broke off"));
    }
}
