//! How a script ended, in the words and figures of its log, its outcome and its error.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oxidag_plugin_api::{Error, Outcome, Result};
use serde_json::{Map, Value};

/// How many characters of a script's last line on standard error go into the attempt's error.
const LAST_LINE: usize = 300;

/// Whether a script was asked to stop, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was not asked.
    No,
    /// It was sent SIGTERM, and has until then.
    Asked { until: Instant },
    /// The grace period went by: SIGKILL for the script itself, or only for processes that outlived it.
    Killed { script: bool },
}

/// A script that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// User and system time of the script and of the processes that it waited for.
    pub(crate) cpu: Duration,
    /// The most bytes that one of these processes held.
    pub(crate) memory: u64,
    pub(crate) duration: Duration,
    pub(crate) stop: Stop,
    pub(crate) grace: Duration,
    /// Whether it printed anything.
    pub(crate) printed: bool,
    pub(crate) last_error_line: String,
}

impl Ended {
    /// Whether the log needs a summary. Where it would be all there is of a success, it is left out: its figures are stored
    /// with the attempt, and a folder and a file for it cost about as much as a short script itself.
    pub(crate) fn needs_summary(&self) -> bool {
        self.printed || self.stop != Stop::No || !self.status.success()
    }

    /// The last line of the attempt's log. `at_most`: the peak memory may have been less.
    pub(crate) fn summary(&self, at_most: bool) -> String {
        let at_most = if at_most { "at most " } else { "" };
        format!(
            "ended with {} after {:.3} s; CPU time {:.3} s, peak memory {at_most}{:.1} MiB",
            self.how(),
            self.duration.as_secs_f64(),
            self.cpu.as_secs_f64(),
            self.memory as f64 / f64::from(1 << 20),
        )
    }

    /// Nothing if the attempt is a success as far as the process goes.
    ///
    /// # Errors
    ///
    /// When it was cancelled, killed, or ended with another exit status than 0.
    pub(crate) fn verdict(&self) -> Result<()> {
        let how = self.how();
        let grace = self.grace.as_secs_f64();
        let error = match self.stop {
            Stop::No if self.status.success() => return Ok(()),
            Stop::No => Error::failed(self.failure(&how)),
            Stop::Asked { .. } => Error::cancelled(format!("cancelled: the script ended with {how}")),
            Stop::Killed { script: true } => Error::cancelled(format!(
                "cancelled: the script did not end within the grace period of {grace} s and was killed"
            )),
            Stop::Killed { script: false } => Error::cancelled(format!(
                "cancelled: the script ended with {how}; processes that it had started did not end within the \
                 grace period of {grace} s and were killed"
            )),
        };
        Err(self.measured(error))
    }

    /// The same error with the figures.
    pub(crate) fn measured(&self, error: Error) -> Error {
        Error { metrics: self.metrics(), ..error }
    }

    /// A success with the figures.
    pub(crate) fn outcome(&self, result: Option<Value>) -> Outcome {
        Outcome { result, metrics: self.metrics() }
    }

    fn metrics(&self) -> Map<String, Value> {
        let mut metrics = Map::new();
        if let Some(code) = self.status.code() {
            metrics.insert("exit_status".to_owned(), code.into());
        }
        if let Some(signal) = self.status.signal() {
            metrics.insert("signal".to_owned(), signal_name(signal).into());
        }
        metrics.insert("cpu_seconds".to_owned(), self.cpu.as_secs_f64().into());
        metrics.insert("peak_memory_bytes".to_owned(), self.memory.into());
        metrics
    }

    /// `exit status 3` or `SIGSEGV (core dumped)`.
    fn how(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, signal) => {
                let dumped = if self.status.core_dumped() { " (core dumped)" } else { "" };
                format!("{}{dumped}", signal_name(signal.unwrap_or_default()))
            }
        }
    }

    /// How it ended, what that may mean, and the script's own last words.
    fn failure(&self, how: &str) -> String {
        let mut message = match self.status.signal() {
            Some(_) => format!("killed by {how}"),
            None => how.to_owned(),
        };
        if let Some(meaning) = meaning(self.status) {
            // Writing to a string cannot fail.
            let _ = write!(message, " ({meaning})");
        }
        if !self.last_error_line.is_empty() {
            let _ = write!(message, ": {}", shortened(&self.last_error_line));
        }
        message
    }
}

/// What an exit status or signal stands for by the conventions of shells and of the kernel.
fn meaning(status: ExitStatus) -> Option<String> {
    const MEMORY: &str = "perhaps since the machine or its container ran out of memory";
    match (status.code(), status.signal()) {
        (_, Some(9)) => Some(MEMORY.to_owned()),
        (Some(126), _) => Some("a command is there but cannot be executed: is it executable?".to_owned()),
        (Some(127), _) => Some("a command was not found: is it installed and on PATH?".to_owned()),
        (Some(137), _) => Some(format!("a command was killed by SIGKILL, {MEMORY}")),
        (Some(code @ 129..=159), _) => Some(format!("a command was killed by {}", signal_name(code - 128))),
        _ => None,
    }
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LAST_LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn signal_name(number: i32) -> String {
    use rustix::process::Signal;
    const NAMES: [(Signal, &str); 20] = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::VTALARM, "SIGVTALRM"),
        (Signal::PROF, "SIGPROF"),
        (Signal::SYS, "SIGSYS"),
    ];
    let known = NAMES.iter().find(|(signal, _)| signal.as_raw() == number);
    known.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}

/// Whether a child's peak memory tells no more than this process's own.
///
/// The kernel counts a child's memory from before it became its program, when it shared its parent's: no peak
/// is ever reported as less than the parent's.
pub(crate) fn hides_behind_ours(memory: u64) -> bool {
    static KNOWN: AtomicU64 = AtomicU64::new(0);
    // Our peak can only have grown since, and to ask for it costs a good part of starting a short task.
    if memory > KNOWN.load(Ordering::Relaxed) {
        KNOWN.store(own_peak(), Ordering::Relaxed);
    }
    memory <= KNOWN.load(Ordering::Relaxed)
}

/// The most memory that this process has held, in bytes.
fn own_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ended with this raw status of wait(2).
    fn ended(raw: i32, last_error_line: &str) -> Ended {
        Ended {
            status: ExitStatus::from_raw(raw),
            cpu: Duration::from_millis(250),
            memory: 3 << 20,
            duration: Duration::from_secs(2),
            stop: Stop::No,
            grace: Duration::from_secs(10),
            printed: false,
            last_error_line: last_error_line.to_owned(),
        }
    }

    fn error(ended: &Ended) -> Error {
        ended.verdict().unwrap_err()
    }

    #[test]
    fn a_failure_says_how_why_and_the_scripts_last_words() {
        insta::assert_snapshot!(error(&ended(3 << 8, "no such table")), @"exit status 3: no such table");
        insta::assert_snapshot!(error(&ended(1 << 8, "")), @"exit status 1");
        insta::assert_snapshot!(error(&ended(127 << 8, "sh: 1: gsutil: not found")), @"exit status 127 (a command was not found: is it installed and on PATH?): sh: 1: gsutil: not found");
        insta::assert_snapshot!(error(&ended(126 << 8, "")), @"exit status 126 (a command is there but cannot be executed: is it executable?)");
        insta::assert_snapshot!(error(&ended(139 << 8, "")), @"exit status 139 (a command was killed by SIGSEGV)");
        insta::assert_snapshot!(error(&ended(137 << 8, "")), @"exit status 137 (a command was killed by SIGKILL, perhaps since the machine or its container ran out of memory)");
        insta::assert_snapshot!(error(&ended(9, "")), @"killed by SIGKILL (perhaps since the machine or its container ran out of memory)");
        insta::assert_snapshot!(error(&ended(11 | 0x80, "")), @"killed by SIGSEGV (core dumped)");
        insta::assert_snapshot!(error(&ended(40, "")), @"killed by signal 40");
    }

    #[test]
    fn long_last_words_are_cut() {
        let message = error(&ended(1 << 8, &"é".repeat(1000))).message;
        assert_eq!(message.chars().count(), "exit status 1: ".len() + LAST_LINE + 1);
    }

    #[test]
    fn a_cancelled_script_is_no_success_whatever_its_exit_status() {
        let stopped = |raw, stop| error(&Ended { stop, ..ended(raw, "") }).message;
        let asked = Stop::Asked { until: Instant::now() };
        insta::assert_snapshot!(stopped(0, asked), @"cancelled: the script ended with exit status 0");
        insta::assert_snapshot!(stopped(15, asked), @"cancelled: the script ended with SIGTERM");
        insta::assert_snapshot!(stopped(9, Stop::Killed { script: true }), @"cancelled: the script did not end within the grace period of 10 s and was killed");
        insta::assert_snapshot!(stopped(15, Stop::Killed { script: false }), @"cancelled: the script ended with SIGTERM; processes that it had started did not end within the grace period of 10 s and were killed");
    }

    #[test]
    fn errors_carry_the_figures_too() {
        let metrics = |raw| serde_json::to_string(&error(&ended(raw, "")).metrics).unwrap();
        insta::assert_snapshot!(metrics(3 << 8), @r#"{"cpu_seconds":0.25,"exit_status":3,"peak_memory_bytes":3145728}"#);
        insta::assert_snapshot!(metrics(15), @r#"{"cpu_seconds":0.25,"peak_memory_bytes":3145728,"signal":"SIGTERM"}"#);
    }

    #[test]
    fn the_summary_owns_up_to_a_peak_that_hides_behind_the_schedulers_own() {
        let ended = ended(0, "");
        insta::assert_snapshot!(ended.summary(false), @"ended with exit status 0 after 2.000 s; CPU time 0.250 s, peak memory 3.0 MiB");
        insta::assert_snapshot!(ended.summary(true), @"ended with exit status 0 after 2.000 s; CPU time 0.250 s, peak memory at most 3.0 MiB");
    }

    #[test]
    fn only_a_peak_above_our_own_is_a_childs_own() {
        assert!(own_peak() > 100 * 1024);
        assert!(hides_behind_ours(100 * 1024));
        assert!(!hides_behind_ours(1 << 60));
    }
}
