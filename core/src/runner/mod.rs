//! The runner: one turn at a time owns the run. Only a turn starts and stops attempts, and only a turn emits
//! events, each of which is stored before anyone else sees it.
//!
//! What to do is decided by [`crate::scheduler`]; here it is carried out. A worker that has ended an attempt
//! takes the turn itself and leaves with its next job; the loop here takes all others, for timers, signals and
//! engines that report from threads of their own.

mod call;
mod clock;
mod message;
mod report;
mod request;
mod turn;
mod workers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, never, select};

use call::Shared;
use clock::Clock;
use message::Message;
pub use message::{Controller, Mailbox};
pub use report::Reporter;
use report::Reports;
use request::begin;
pub use request::{RunEnd, RunError, RunRequest};
use turn::{Rest, Run};
use workers::{RunInfo, Workers};

use crate::event::Event;
use crate::logs::{LogFile, RunLogs};
use crate::prepare::Prepared;
use crate::scheduler::Scheduler;

/// How long an attempt that is asked to stop has for it; longer than engines give their own processes.
pub const GRACE: Duration = Duration::from_secs(30);

/// Log lines that may be under way to the loop before engines have to wait.
const LINES: usize = 4096;

/// How often the loop looks whether a reporter that was behind has caught up.
const BEHIND: Duration = Duration::from_millis(10);

/// Messages that one turn takes at most, so that what they start does not wait for them all.
const BATCH: usize = 512;

/// Runs a DAG to its end.
///
/// # Errors
///
/// When the run could not begin. Once it has, whatever happens is its [`RunEnd`].
pub fn run(prepared: Arc<Prepared>, request: RunRequest<'_>) -> Result<RunEnd, RunError> {
    let clock = Clock::new();
    let started_at = clock.now();
    let history = request.store.durations(&prepared.dag.dag_id)?;
    let (lines_in, lines) = bounded(LINES);
    let wants_logs = request.reporter.wants_logs();
    let lines = if wants_logs { lines } else { never() };
    let messages = request.mailbox.receiver.clone();
    let sender = request.mailbox.sender.clone();
    let shared = Shared::new(sender, wants_logs.then_some(lines_in), prepared.masker.clone(), clock);
    let shared = Arc::new(shared);
    let info = RunInfo { prepared: Arc::clone(&prepared), run_id: request.run_id.clone(), started_at };
    let logs = RunLogs::new(&request.home, &prepared.dag.dag_id, &request.run_id);
    let limits = prepared.limits(request.workers);
    let scheduler = Scheduler::new(Arc::clone(&prepared.graph), prepared.infos(&history), limits, GRACE);
    let run = Arc::new_cyclic(|run: &Weak<Mutex<Run>>| {
        let workers = Workers::new(info, Arc::clone(&shared), Weak::clone(run));
        let run_log = LogFile::new(logs.run());
        Mutex::new(Run::new(Arc::clone(&prepared), scheduler, workers, shared, lines.clone(), logs, run_log))
    });
    lock(&run).workers.start(request.workers).map_err(RunError::Thread)?;
    lock(&run).journal = Some(begin(&prepared, &request, started_at)?);
    lock(&run).reports = Some(Reports::start(request.reporter));
    Ok(Loop { run, messages, lines, clock }.run(&request.run_id))
}

/// Takes the turns that no worker takes.
struct Loop {
    run: Arc<Mutex<Run>>,
    messages: Receiver<Message>,
    lines: Receiver<Event>,
    clock: Clock,
}

/// What the loop waits for.
enum Received {
    Message(Message),
    Line(Event),
}

impl Loop {
    fn run(self, run_id: &str) -> RunEnd {
        let mut rest = lock(&self.run).begin(run_id);
        while let Some(until) = rest {
            let received = self.receive(&until);
            rest = self.turn(received);
        }
        let Self { run, lines, .. } = self;
        // From here on no engine waits for somebody to read its lines.
        drop(lines);
        let (workers, end) = lock(&run).finish();
        workers.join();
        end
    }

    /// The next message, or `None` when an alarm is due.
    fn receive(&self, rest: &Rest) -> Option<Received> {
        let timeout = rest.alarm.map_or(Duration::from_secs(3600), |alarm| self.clock.until(alarm));
        if rest.without_lines {
            // Lines wait, and so do the engines that log them, until the reporter has caught up.
            return self.messages.recv_timeout(timeout.min(BEHIND)).ok().map(Received::Message);
        }
        select! {
            recv(self.messages) -> message => message.ok().map(Received::Message),
            recv(self.lines) -> line => line.ok().map(Received::Line),
            default(timeout) => None,
        }
    }

    /// Takes what was received, with what else has happened meanwhile; `None` when the run has ended.
    fn turn(&self, received: Option<Received>) -> Option<Rest> {
        let mut run = lock(&self.run);
        match received {
            Some(Received::Message(message)) => run.take(message),
            Some(Received::Line(line)) => run.take_line(line),
            None => {}
        }
        self.messages.try_iter().take(BATCH).for_each(|message| run.take(message));
        run.turn_of_loop()
    }
}

/// Nothing that a panic could leave half done is behind the locks of a run.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
