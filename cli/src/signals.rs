//! Signals to a run: the first asks it to stop, the second ends it at once. SIGUSR1 makes it look for requests.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use oxidag_core::logs::RunUploads;
use oxidag_core::runner::Controller;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::exit::Exit;
use crate::format::count;
use crate::notice::Notices;
use crate::report::InFlight;

/// Tells whoever looks at the run something that is no event.
pub(crate) type Notify = Box<dyn Fn(&str) + Send>;

/// How long a run that is ended at once has to say so.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Signals that must neither end the program nor be ignored, whatever it does: programs that are started inherit what is
/// ignored.
pub(crate) fn survive() {
    // A file that grows beyond the user's limit is an error like a full disk; who asks something of a run that is about to go on
    // is heard once it does; and the kernel forgets how children ended where SIGCHLD is ignored, as this program may have
    // inherited it.
    let ignored = Some(SIGCHLD).filter(|&signal| is_in(ignored(), signal));
    for signal in [SIGXFSZ, SIGUSR1].into_iter().chain(ignored) {
        // Without it the system's default remains.
        let _ = signal_hook::flag::register(signal, Arc::default());
    }
}

/// What is waited for once runs have ended.
pub(crate) struct Awaited {
    pub(crate) notices: Vec<Arc<Notices>>,
    pub(crate) uploads: Vec<Arc<RunUploads>>,
}

impl Awaited {
    fn give_up(&self) {
        self.notices.iter().for_each(|notices| notices.give_up());
        self.uploads.iter().for_each(|uploads| uploads.give_up());
    }
}

/// From now on, signals stop the runs, and once these have ended the waiting for what they left to do.
pub(crate) fn listen(
    controller: Controller,
    in_flight: InFlight,
    notify: Notify,
    awaited: Awaited,
) -> io::Result<()> {
    let mut signals = to_stop_and(SIGUSR1)?;
    let listen = move || {
        let mut is_cancelling = false;
        for signal in &mut signals.forever() {
            match signal {
                SIGUSR1 => controller.look(),
                // The exit status is known by now.
                _ if awaited.notices.iter().all(|notices| notices.is_run_over()) => awaited.give_up(),
                _ if !is_cancelling => {
                    is_cancelling = true;
                    notify(&cancelling(signal, in_flight.count()));
                    controller.cancel();
                }
                // A terminal that is closed may tell it more than once; teardowns still run then.
                SIGHUP => {}
                _ => {
                    notify("ending at once; what still runs is abandoned");
                    controller.kill();
                    // Time to store and show how the run ended; but a reader that has stopped reading is not waited for.
                    thread::sleep(LAST_WORDS);
                    std::process::exit(Exit::Interrupted as i32);
                }
            }
        }
    };
    // It listens until the process ends.
    thread::Builder::new().name("oxidag-signals".to_owned()).spawn(listen).map(drop)
}

fn cancelling(signal: i32, in_flight: usize) -> String {
    let again = if signal == SIGINT { "press Ctrl-C again" } else { "signal again" };
    format!("cancelling: waiting for {}; {again} to end at once", count(in_flight, "task"))
}

/// Wakes whoever waits for a time, for children, and for being asked to stop.
pub(crate) struct Bell(mpsc::Receiver<i32>);

impl Bell {
    /// From now on, signals ring it.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut signals = to_stop_and(SIGCHLD)?;
        let (ring, rung) = mpsc::channel();
        let mut was_asked = false;
        let mut is_told = move |&signal: &i32| {
            // A terminal that is closed is no second request.
            let told = signal != SIGHUP || !was_asked;
            was_asked |= signal != SIGCHLD;
            told
        };
        let listen = move || {
            signals.forever().filter(|signal| is_told(signal)).try_for_each(|signal| ring.send(signal))
        };
        thread::Builder::new().name("oxidag-signals".to_owned()).spawn(listen)?;
        Ok(Self(rung))
    }

    /// Waits so long, or until a child ends; whether it was asked to stop.
    pub(crate) fn wait(&self, wait: Duration) -> bool {
        self.0.recv_timeout(wait).is_ok_and(|signal| signal != SIGCHLD)
    }
}

/// Listens to those that ask to stop, and to another one. Who sends SIGINT means it, even where a script's `&` made this
/// program ignore it; a closed terminal does not concern a program below `nohup`.
fn to_stop_and(other: i32) -> io::Result<Signals> {
    let hang_up = Some(SIGHUP).filter(|&signal| !is_in(ignored(), signal));
    Signals::new([SIGINT, SIGTERM, other].into_iter().chain(hang_up))
}

/// The signals that were ignored when the program started, as SIGHUP is below `nohup`.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    parse_ignored(&status).unwrap_or_default()
}

fn parse_ignored(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

fn is_in(mask: u64, signal: i32) -> bool {
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_was_ignored_is_found_in_the_mask() {
        let ignored = parse_ignored("Name:\toxidag\nSigIgn:\t0000000000001001\n").unwrap();
        assert!(is_in(ignored, SIGHUP));
        assert!(!is_in(ignored, SIGINT) && !is_in(ignored, SIGTERM));
    }

    #[test]
    fn the_notice_says_how_to_end_at_once() {
        insta::assert_snapshot!(cancelling(SIGINT, 2), @"cancelling: waiting for 2 tasks; press Ctrl-C again to end at once");
        insta::assert_snapshot!(cancelling(SIGTERM, 1), @"cancelling: waiting for 1 task; signal again to end at once");
    }
}
