//! One process of oxidag: what it tells goes into the ledger as it comes, until the process ends or is killed.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use oxidag_tests::ledger::{Book, Entry};
use serde_json::Value;

/// Longer takes no process that has not lost its way.
const PATIENCE: Duration = Duration::from_secs(60);

/// When the process is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    Never,
    After(Duration),
    /// So long after it has told so many events.
    Events(usize, Duration),
    /// So long after it is known of all but so many tasks how they ended.
    AllBut(usize, Duration),
}

impl Moment {
    /// Any phase of a process: its start, its recovery of what was before, the run and the run's end.
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let shortly = Duration::from_micros(rng.u64(..3000));
        match rng.u8(..10) {
            0..2 => Self::After(Duration::from_micros(rng.u64(..20_000))),
            2..4 => Self::After(Duration::from_micros(rng.u64(..80_000))),
            4..6 => Self::After(Duration::from_micros(rng.u64(..300_000))),
            6..9 => Self::Events(rng.usize(1..40), shortly),
            _ => Self::AllBut(rng.usize(..3), shortly),
        }
    }
}

/// How a process ended.
#[derive(Debug)]
pub(crate) enum End {
    Killed,
    /// With this exit status and these words on standard error.
    Exited(i32, String),
}

/// What is known of the tasks of a run.
pub(crate) struct Known<'a> {
    pub(crate) book: &'a Book,
    pub(crate) tasks: usize,
    /// Processes so far, this one included.
    pub(crate) processes: u32,
    /// Those of which it was told how they ended.
    pub(crate) ended: HashSet<String>,
}

/// Something that was told.
struct Told {
    /// The task that has ended.
    ended: Option<String>,
}

/// Runs the program to its end, or to this moment.
pub(crate) fn watch(
    mut command: Command,
    known: &mut Known<'_>,
    moment: Moment,
    errors: &Path,
) -> Result<End, String> {
    let errors_file = File::create(errors).map_err(|e| format!("{}: {e}", errors.display()))?;
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors_file).spawn();
    let mut child = child.map_err(|e| format!("cannot start oxidag: {e}"))?;
    let started = Instant::now();
    let stdout = child.stdout.take().ok_or("no standard output")?;
    let (tell, told) = mpsc::channel();
    let (book, by) = (known.book, known.processes);
    thread::scope(|scope| {
        let reader = scope.spawn(move || read(stdout, book, by, &tell));
        let mut due = if let Moment::After(time) = moment { Some(started + time) } else { None };
        let mut events = 0;
        let in_time = loop {
            let until = due.unwrap_or(started + PATIENCE);
            match told.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Told { ended }) => {
                    events += 1;
                    known.ended.extend(ended);
                }
                Err(RecvTimeoutError::Timeout) => {
                    // It may have ended by itself at this moment.
                    let _ = child.kill();
                    break due.is_some();
                }
                Err(RecvTimeoutError::Disconnected) => break true,
            }
            let left = known.tasks - known.ended.len();
            due = due.or(match moment {
                Moment::Events(count, shortly) if events >= count => Some(Instant::now() + shortly),
                Moment::AllBut(count, shortly) if left <= count => Some(Instant::now() + shortly),
                _ => None,
            });
        };
        let status = child.wait().map_err(|e| format!("cannot wait for oxidag: {e}"))?;
        known.ended.extend(told.iter().filter_map(|told| told.ended));
        reader.join().map_err(|_| "the reader of events panicked")??;
        let said = fs::read_to_string(errors).unwrap_or_default();
        match (status.code(), status.signal()) {
            _ if !in_time => Err(format!("the process did not end within {PATIENCE:?}: {said}")),
            (Some(code), _) => Ok(End::Exited(code, said)),
            (None, Some(9)) => Ok(End::Killed),
            (None, signal) => Err(format!("the process ended by signal {signal:?}: {said}")),
        }
    })
}

/// Writes each event into the ledger, then tells of it.
fn read(stdout: impl Read, book: &Book, by: u32, tell: &Sender<Told>) -> Result<(), String> {
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    // A last line without its end was cut off by the kill: that was told to nobody.
    while stdout.read_line(&mut line).map_err(|e| format!("the events cannot be read: {e}"))? > 0
        && line.ends_with('\n')
    {
        let event: Value = serde_json::from_str(&line).map_err(|e| format!("not an event: {e}: {line}"))?;
        let text = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
        let (task, state) = (text("task_id"), text("state"));
        let attempt = event["attempt"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let what = text("event");
        if what.ends_with("_state") {
            let (what, task, key, detail) = (what.clone(), task.clone(), "-".to_owned(), state.clone());
            book.note(&Entry { what, task, attempt, key, by, detail });
        }
        let ends = ["success", "failed", "skipped", "upstream_failed", "cancelled"];
        let ended = what == "task_state" && ends.contains(&state.as_str());
        // Nobody wants to know any more once the process was killed.
        let _ = tell.send(Told { ended: ended.then_some(task) });
        line.clear();
    }
    Ok(())
}

/// Processes that have this in their environment; zombies have none.
pub(crate) fn left_alive(variable: &str) -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let is_ours =
        |environment: &[u8]| environment.split(|&byte| byte == 0).any(|it| it == variable.as_bytes());
    let paths = processes.flatten().map(|process| process.path());
    paths
        .filter(|path| fs::read(path.join("environ")).is_ok_and(|environment| is_ours(&environment)))
        .map(|path| {
            let command = fs::read(path.join("cmdline")).unwrap_or_default();
            format!("{}: {}", path.display(), String::from_utf8_lossy(&command).replace('\0', " "))
        })
        .collect()
}
