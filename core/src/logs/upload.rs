//! Logs in a bucket: an attempt's when it has ended, and the run's own at the run's end.
//!
//! Nothing waits for an upload but the end of the process, and that not for long. What is on disk stays there, and
//! what did not get into the bucket is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzEncoder;
use tokio::sync::Semaphore;

use super::RunLogs;
use crate::buckets::{BucketErrorKind, Buckets, Object};

/// How many mebibytes of logs are in memory at once; one that is larger is there alone.
const ROOM: u32 = 256;

/// What even a short log takes of that: no more than 16 are uploaded at once.
const SHARE: u32 = 16;

/// A larger log is not uploaded, in mebibytes: each is read whole.
const LARGEST: u64 = 1024;

/// More reasons than that are not told.
const MOST_REASONS: usize = 3;

/// Where logs go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTarget {
    /// The bucket, or a folder in it.
    pub folder: Object,
    /// Whether they are compressed; their names end in `.gz` then.
    pub gzip: bool,
}

/// Uploads the logs of all runs of this process.
#[derive(Debug, Clone)]
pub struct Uploader {
    buckets: Arc<Buckets>,
    target: LogTarget,
    room: Arc<Semaphore>,
}

/// Uploads the logs of one run.
#[derive(Debug)]
pub struct RunUploads(Arc<Shared>);

/// What the uploads of a run have in common.
#[derive(Debug)]
struct Shared {
    uploader: Uploader,
    logs: RunLogs,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    under_way: HashMap<PathBuf, Stage>,
    missed: BTreeMap<PathBuf, Miss>,
    /// Nobody wants to wait.
    given_up: bool,
}

/// How far an upload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// The log is read or sent.
    Busy,
    /// The same, and it has grown since: it is uploaded once more.
    Stale,
}

/// Why a log was not uploaded.
#[derive(Debug, Clone)]
struct Miss {
    reason: String,
    may_pass: bool,
}

/// Logs of a run that are not in the bucket; shown as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissedLogs {
    /// Of which run.
    pub run_id: String,
    /// How many.
    pub count: usize,
    /// Where they should be.
    pub folder: String,
    /// The folder on disk that they are in.
    pub local: PathBuf,
    /// Why, each reason once.
    pub reasons: Vec<String>,
}

impl Uploader {
    /// Asks nobody anything yet.
    #[must_use]
    pub fn new(buckets: Arc<Buckets>, target: LogTarget) -> Self {
        Self { buckets, target, room: Arc::new(Semaphore::new(ROOM as usize)) }
    }

    /// Where it puts them.
    #[must_use]
    pub fn folder(&self) -> &Object {
        &self.target.folder
    }

    /// For the logs of one run.
    #[must_use]
    pub fn of_run(&self, logs: RunLogs) -> RunUploads {
        let (state, changed) = (Mutex::default(), Condvar::new());
        RunUploads(Arc::new(Shared { uploader: self.clone(), logs, state, changed }))
    }
}

impl RunUploads {
    /// The log of an attempt is whole.
    pub fn attempt(&self, task_id: &str, attempt: u32) {
        _ = self.add(self.0.logs.attempt(task_id, attempt));
    }

    /// The log of the run is whole.
    pub fn run(&self) {
        _ = self.add(self.0.logs.run());
    }

    /// An earlier process may have died before it had uploaded what these tasks and the run have logged; how many logs
    /// that is.
    pub fn all_of<'a>(&self, tasks: impl IntoIterator<Item = &'a str>) -> usize {
        let attempts = tasks.into_iter().flat_map(|task| self.0.logs.attempts(task));
        attempts.chain([self.0.logs.run()]).filter(|log| self.add(log.clone())).count()
    }

    /// Whether there is such a log.
    fn add(&self, log: PathBuf) -> bool {
        // An attempt that said nothing has none.
        if log.try_exists().is_ok_and(|exists| !exists) {
            return false;
        }
        let mut state = self.0.lock();
        match state.under_way.get_mut(&log) {
            Some(stage @ Stage::Busy) => *stage = Stage::Stale,
            Some(Stage::Waiting | Stage::Stale) => {}
            None => match self.0.uploader.buckets.handle() {
                Ok(runtime) => {
                    state.under_way.insert(log.clone(), Stage::Waiting);
                    runtime.spawn(Arc::clone(&self.0).upload(log));
                }
                Err(error) => {
                    let reason = format!("there is no thread for it: {error}");
                    state.missed.insert(log, Miss { reason, may_pass: false });
                }
            },
        }
        true
    }

    /// Waits for what is under way, but not longer than that, and tries once more what the service was not there for;
    /// tells what did not get through.
    #[must_use]
    pub fn finish(&self, patience: Duration) -> Option<MissedLogs> {
        let may_pass: Vec<PathBuf> = {
            let state = self.0.lock();
            state.missed.iter().filter(|(_, miss)| miss.may_pass).map(|(log, _)| log.clone()).collect()
        };
        for log in may_pass {
            self.add(log);
        }
        let waits = |state: &mut State| !state.given_up && !state.under_way.is_empty();
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), patience, waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.0.missed(&state)
    }

    /// Ends the waiting.
    pub fn give_up(&self) {
        self.0.lock().given_up = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn upload(self: Arc<Self>, log: PathBuf) {
        loop {
            let room = self.uploader.room.acquire_many(share(&log)).await;
            self.lock().under_way.insert(log.clone(), Stage::Busy);
            let result = self.put(&log).await;
            drop(room);
            if !self.lock().is_stale(&log, result) {
                break;
            }
        }
        self.changed.notify_all();
    }

    async fn put(&self, log: &Path) -> Result<(), Miss> {
        let LogTarget { folder, gzip } = &self.uploader.target;
        let (path, gzip) = (log.to_owned(), *gzip);
        let final_miss = |reason: String| Miss { reason, may_pass: false };
        let read = tokio::task::spawn_blocking(move || read(&path, gzip)).await;
        let bytes = read
            .map_err(|error| final_miss(error.to_string()))?
            .map_err(|error| final_miss(format!("cannot read {}: {error}", log.display())))?;
        let object = folder.join(&self.logs.name(log, gzip));
        let media_type = if gzip { "application/gzip" } else { "text/plain; charset=utf-8" };
        self.uploader.buckets.put(&object, Bytes::from(bytes), media_type).await.map_err(|error| Miss {
            reason: error.reason().to_owned(),
            may_pass: error.kind == BucketErrorKind::Unavailable,
        })
    }

    fn missed(&self, state: &State) -> Option<MissedLogs> {
        let late = if state.given_up { "it was interrupted" } else { "it was not done in time" };
        // A log that was missed once and is under way again counts once.
        let logs: BTreeSet<&PathBuf> = state.missed.keys().chain(state.under_way.keys()).collect();
        let mut reasons: Vec<String> = Vec::new();
        for &log in &logs {
            let reason = state.missed.get(log).map_or(late, |miss| &miss.reason);
            if !reasons.iter().any(|other| other == reason) {
                reasons.push(reason.to_owned());
            }
        }
        let folder = self.uploader.target.folder.to_string();
        let (run_id, local) = (self.logs.run_id.clone(), self.logs.folder.clone());
        (!logs.is_empty()).then_some(MissedLogs { run_id, count: logs.len(), folder, local, reasons })
    }
}

impl State {
    /// The upload came to this; whether it has to be done once more.
    fn is_stale(&mut self, log: &Path, result: Result<(), Miss>) -> bool {
        match result {
            Ok(()) => _ = self.missed.remove(log),
            Err(miss) => _ = self.missed.insert(log.to_owned(), miss),
        }
        let stale = self.under_way.remove(log) == Some(Stage::Stale);
        if stale {
            self.under_way.insert(log.to_owned(), Stage::Waiting);
        }
        stale
    }
}

/// What a log takes of the room.
fn share(log: &Path) -> u32 {
    let size = log.metadata().map_or(0, |file| file.len());
    u32::try_from(size >> 20).unwrap_or(ROOM).saturating_add(SHARE).min(ROOM)
}

fn read(log: &Path, gzip: bool) -> io::Result<Vec<u8>> {
    let file = File::open(log)?;
    if file.metadata()?.len() >> 20 >= LARGEST {
        return Err(io::Error::other(format!("it is larger than {LARGEST} MiB")));
    }
    let mut bytes = Vec::new();
    match gzip {
        true => GzEncoder::new(file, Compression::default()).read_to_end(&mut bytes)?,
        false => (&file).read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

impl fmt::Display for MissedLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run_id, count, folder, local, reasons } = self;
        let (logs, are, them) = if *count == 1 { ("log", "is", "it") } else { ("logs", "are", "them") };
        let more = if reasons.len() > MOST_REASONS { "; …" } else { "" };
        let reasons = reasons.iter().take(MOST_REASONS).map(String::as_str).collect::<Vec<_>>().join("; ");
        let local = local.display();
        write!(
            f,
            "{count} {logs} could not be uploaded to {folder} and {are} only in {local}: {reasons}{more}; \
             `oxidag runs upload {run_id}` uploads {them}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_is_told_in_a_sentence() {
        let missed = |reasons: &[&str]| {
            let reasons = reasons.iter().map(|&reason| reason.to_owned()).collect::<Vec<_>>();
            let (folder, local) = ("gs://b/logs".to_owned(), PathBuf::from(".oxidag/logs/d"));
            let run_id = "r".to_owned();
            MissedLogs { run_id, count: reasons.len(), folder, local, reasons }.to_string()
        };
        assert_eq!(
            missed(&["it is gone"]),
            "1 log could not be uploaded to gs://b/logs and is only in .oxidag/logs/d: it is gone; \
             `oxidag runs upload r` uploads it"
        );
        let many = missed(&["a", "b", "c", "d"]);
        assert!(
            many.ends_with("only in .oxidag/logs/d: a; b; c; …; `oxidag runs upload r` uploads them"),
            "{many}"
        );
    }

    #[test]
    fn a_log_that_grows_while_it_is_uploaded_is_uploaded_once_more() {
        let (mut state, log) = (State::default(), Path::new("l"));
        state.under_way.insert(log.to_owned(), Stage::Stale);
        assert!(state.is_stale(log, Ok(())));
        assert_eq!(state.under_way[log], Stage::Waiting);
        state.under_way.insert(log.to_owned(), Stage::Busy);
        let miss = Miss { reason: "away".to_owned(), may_pass: true };
        assert!(!state.is_stale(log, Err(miss)));
        assert!(state.under_way.is_empty());
        assert_eq!(state.missed[log].reason, "away");
        state.under_way.insert(log.to_owned(), Stage::Busy);
        assert!(!state.is_stale(log, Ok(())));
        assert!(state.missed.is_empty(), "it got through in the end");
    }
}
