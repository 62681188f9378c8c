//! A service that runs jobs and keeps a ledger of them, and outlives the programs that ask it to.
//!
//! The ledger is a file to which lines are only ever appended: by the service, by scripts (`echo … >> $LEDGER`) and by
//! the test itself. The order of its lines is thus the order in which all that happened, without any clock.
//!
//! The service takes one JSON object a line, each with `op` and `by`, who asks: `submit` makes a job for a key, or finds the one that the key has
//! already; `stored` notes that a job's id is safe; `poll` tells a job's state; `cancel` stops it.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A line of the ledger: `what task attempt key by detail`, each a word, `-` or 0 where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What happened. Of the service's own: `submitted`, `adopted` (a submission under a key that has a job), `stored`,
    /// `effect`, `failed` and `cancelled`.
    pub what: String,
    /// The task.
    pub task: String,
    /// Which attempt, from 1; 0 where it concerns none.
    pub attempt: u32,
    /// The attempt's idempotency key.
    pub key: String,
    /// Which process is behind it: a number that the test gave it. What a killed process asked for may be done a
    /// little after its end.
    pub by: u32,
    /// Whatever else the writer wanted to say.
    pub detail: String,
}

impl Entry {
    /// The entry that a line is; `None` where it is none.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ').map(str::to_owned);
        let entry = Self {
            what: words.next()?,
            task: words.next()?,
            attempt: words.next()?.parse().ok()?,
            key: words.next()?,
            by: words.next()?.parse().ok()?,
            detail: words.next()?,
        };
        words.next().is_none().then_some(entry)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, task, attempt, key, by, detail } = self;
        write!(f, "{what} {task} {attempt} {key} {by} {detail}")
    }
}

/// The file.
#[derive(Debug)]
pub struct Book {
    path: PathBuf,
    file: File,
}

impl Book {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(Self { path, file })
    }

    /// Where it is, for scripts that write to it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn note(&self, entry: &Entry) {
        // In one write: nobody else's line gets between.
        let line = format!("{entry}\n");
        (&self.file).write_all(line.as_bytes()).unwrap_or_else(|e| panic!("cannot write the ledger: {e}"));
    }

    /// All lines so far.
    ///
    /// # Panics
    ///
    /// When it cannot be read, or a line is none of the ledger's.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let text = fs::read_to_string(&self.path).unwrap_or_else(|e| panic!("cannot read the ledger: {e}"));
        let entry = |line| Entry::parse(line).unwrap_or_else(|| panic!("not a line of the ledger: {line}"));
        // What follows the last line's end is being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(entry).collect()
    }
}

/// The service; it ends when dropped.
#[derive(Debug)]
pub struct Ledger {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    book: Book,
    jobs: Mutex<Jobs>,
    /// There is a new job, or the service ends.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Jobs {
    all: Vec<Job>,
    by_key: HashMap<String, usize>,
    closed: bool,
}

#[derive(Debug)]
struct Job {
    task: String,
    attempt: u32,
    key: String,
    due: Instant,
    fails: bool,
    state: &'static str,
}

impl Ledger {
    /// Starts the service, with its ledger in this file.
    ///
    /// # Panics
    ///
    /// When the system gives no file, port or thread.
    #[must_use]
    pub fn start(path: PathBuf) -> Self {
        Self::try_start(path).unwrap_or_else(|e| panic!("cannot start the ledger service: {e}"))
    }

    fn try_start(path: PathBuf) -> io::Result<Self> {
        let book = Book::open(path)?;
        let shared = Arc::new(Shared { book, jobs: Mutex::default(), changed: Condvar::new() });
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (accepting, ending) = (Arc::clone(&shared), Arc::clone(&shared));
        thread::Builder::new().spawn(move || accepting.accept(&listener))?;
        thread::Builder::new().spawn(move || ending.end_jobs())?;
        Ok(Self { address, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its ledger.
    #[must_use]
    pub fn book(&self) -> &Book {
        &self.shared.book
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        // Wakes the thread that accepts connections; where that fails, it ends with the process.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if self.lock().closed {
                return;
            }
            let shared = Arc::clone(&self);
            // Whoever asked was killed, or ends its connection otherwise: nobody to tell.
            thread::spawn(move || drop(shared.serve(&stream)));
        }
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        for line in BufReader::new(stream).lines() {
            let answer = serde_json::from_str(&line?).ok().and_then(|request| self.answer(&request));
            let answer = answer.unwrap_or_else(|| json!({"error": "the request is not understood"}));
            let mut stream = stream;
            stream.write_all(format!("{answer}\n").as_bytes())?;
        }
        Ok(())
    }

    fn answer(&self, request: &Value) -> Option<Value> {
        let by = u32::try_from(request["by"].as_u64()?).ok()?;
        let mut jobs = self.lock();
        if request["op"] == "submit" {
            return Some(json!({"job": self.submit(&mut jobs, request, by)?}));
        }
        let job = jobs.all.get_mut(usize::try_from(request["job"].as_u64()?).ok()?)?;
        match request["op"].as_str()? {
            "stored" => self.note("stored", job, by),
            "cancel" if job.state == "running" => {
                job.state = "cancelled";
                self.note("cancelled", job, by);
            }
            "cancel" | "poll" => {}
            _ => return None,
        }
        Some(json!({"state": job.state}))
    }

    /// The place of the key's job.
    fn submit(&self, jobs: &mut Jobs, request: &Value, by: u32) -> Option<usize> {
        let key = request["key"].as_str()?;
        if let Some(&known) = jobs.by_key.get(key) {
            self.note("adopted", &jobs.all[known], by);
            return Some(known);
        }
        let job = Job {
            task: request["task"].as_str()?.to_owned(),
            attempt: u32::try_from(request["attempt"].as_u64()?).ok()?,
            key: key.to_owned(),
            due: Instant::now() + Duration::from_millis(request["duration_ms"].as_u64()?),
            fails: request["fail"].as_bool()?,
            state: "running",
        };
        self.note("submitted", &job, by);
        let place = jobs.all.len();
        jobs.by_key.insert(key.to_owned(), place);
        jobs.all.push(job);
        self.changed.notify_all();
        Some(place)
    }

    /// Ends each job when its time is over, whether or not anybody waits for it.
    fn end_jobs(&self) {
        let mut jobs = self.lock();
        while !jobs.closed {
            let now = Instant::now();
            for job in jobs.all.iter_mut().filter(|job| job.state == "running" && job.due <= now) {
                // First in the ledger: whoever polls sees what is written already.
                self.note(if job.fails { "failed" } else { "effect" }, job, 0);
                job.state = if job.fails { "failed" } else { "succeeded" };
            }
            let next = jobs.all.iter().filter(|job| job.state == "running").map(|job| job.due).min();
            let rest = next.map_or(Duration::from_secs(60), |due| due.saturating_duration_since(now));
            jobs = self.changed.wait_timeout(jobs, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn note(&self, what: &str, job: &Job, by: u32) {
        self.book.note(&Entry {
            what: what.to_owned(),
            task: job.task.clone(),
            attempt: job.attempt,
            key: job.key.clone(),
            by,
            detail: "-".to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Client(BufReader<TcpStream>);

    impl Client {
        fn ask(&mut self, request: &Value) -> Value {
            self.0.get_mut().write_all(format!("{request}\n").as_bytes()).unwrap();
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            serde_json::from_str(&line).unwrap()
        }

        fn submit(&mut self, key: &str, duration_ms: u64, fail: bool) -> Value {
            let (op, task) = ("submit", "t");
            self.ask(&json!({"op": op, "by": 7, "key": key, "task": task, "attempt": 1, "duration_ms": duration_ms, "fail": fail}))
                ["job"]
                .clone()
        }

        /// Polls until the job has ended.
        fn end(&mut self, job: &Value) -> String {
            loop {
                let state = self.ask(&json!({"op": "poll", "by": 7, "job": job}))["state"]
                    .as_str()
                    .unwrap()
                    .to_owned();
                if state != "running" {
                    return state;
                }
            }
        }
    }

    fn service() -> (tempfile::TempDir, Ledger, Client) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::start(folder.path().join("ledger"));
        let client = Client(BufReader::new(TcpStream::connect(ledger.address()).unwrap()));
        (folder, ledger, client)
    }

    fn lines(ledger: &Ledger) -> Vec<String> {
        ledger.book().entries().into_iter().map(|entry| format!("{} {}", entry.what, entry.key)).collect()
    }

    #[test]
    fn a_key_has_one_job_with_one_effect() {
        let (_folder, ledger, mut client) = service();
        let job = client.submit("k", 1, false);
        assert_eq!(client.submit("k", 1, false), job);
        assert_eq!(client.end(&job), "succeeded");
        assert_eq!(client.submit("k", 1, false), job);
        let lines = lines(&ledger);
        assert_eq!(lines.iter().filter(|line| *line == "submitted k").count(), 1);
        assert_eq!(lines.iter().filter(|line| *line == "effect k").count(), 1);
        assert_eq!(lines.iter().filter(|line| *line == "adopted k").count(), 2);
    }

    #[test]
    fn a_job_goes_on_without_whoever_asked_for_it() {
        let (_folder, ledger, mut client) = service();
        client.submit("k", 1, false);
        drop(client);
        while lines(&ledger) != ["submitted k", "effect k"] {
            thread::yield_now();
        }
    }

    #[test]
    fn jobs_that_fail_or_are_cancelled_have_no_effect() {
        let (_folder, ledger, mut client) = service();
        let bad = client.submit("bad", 0, true);
        assert_eq!(client.end(&bad), "failed");
        let slow = client.submit("slow", 600_000, false);
        client.ask(&json!({"op": "cancel", "by": 7, "job": slow}));
        assert_eq!(client.end(&slow), "cancelled");
        assert_eq!(lines(&ledger), ["submitted bad", "failed bad", "submitted slow", "cancelled slow"]);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let (_folder, ledger, mut client) = service();
        for request in [json!({"op": "submit", "by": 7}), json!({"op": "poll", "by": 7, "job": 0}), json!(1)]
        {
            assert!(client.ask(&request)["error"].is_string());
        }
        assert_eq!(lines(&ledger), [] as [&str; 0]);
    }
}
