//! The runner: one turn at a time owns the runs. Only a turn starts and stops attempts, and only a turn emits
//! events, each of which is stored before anyone else sees it.
//!
//! What to do is decided by [`crate::scheduler`]; here it is carried out. A worker that has ended an attempt
//! takes the turn itself and leaves with its next job; the loop here takes all others, for timers, signals and
//! engines that report from threads of their own.

mod backlog;
mod call;
mod clock;
mod demand;
mod growing;
mod live;
mod message;
#[cfg(test)]
mod model;
mod noting;
mod outlet;
mod report;
mod request;
mod resumed;
mod ruling;
mod run;
mod turn;
mod workers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, bounded};
use sha2::{Digest, Sha256};

use backlog::Backlog;
use call::{Post, Shared};
use clock::Clock;
use demand::Demand;
use live::Live;
use message::Message;
pub use message::{Controller, Mailbox};
use outlet::Outlet;
pub use report::Reporter;
use report::Reports;
use request::Opening;
pub use request::{RunEnd, RunError, RunRequest, Session, Start};
pub use resumed::{OtherTasks, Resumed, grown};
use run::Run;
use turn::{Line, Rest, Runs};
use workers::{RunInfo, Workers};

use crate::logs::RunLogs;
use crate::plan;
use crate::prepare::Prepared;
use crate::scheduler::{Limits, Places, Scheduler, Settings};

/// How long an attempt that is asked to stop has for it; longer than engines give their own processes.
pub const GRACE: Duration = Duration::from_secs(30);

/// Log lines that may be under way to the loop before engines have to wait.
const LINES: usize = 4096;

/// How often the loop looks whether a reporter that was behind has caught up.
const BEHIND: Duration = Duration::from_millis(10);

/// Messages that one turn takes at most, so that what they start does not wait for them all.
const BATCH: usize = 512;

/// Runs DAGs to their ends, all on the same workers; tells how each ended, in the order of the requests.
///
/// # Errors
///
/// When a run could not begin. Once all have, whatever happens is in their [`RunEnd`]s.
pub fn run(session: Session<'_>, requests: Vec<RunRequest>) -> Result<Vec<RunEnd>, RunError> {
    let clock =
        Clock::new(requests.iter().map(|request| request.start.not_before()).max().unwrap_or_default());
    let (lines_in, lines) = bounded(LINES);
    let messages = session.mailbox.receiver.clone();
    let post = Arc::new(Post::new(session.mailbox.sender.clone(), lines_in));
    let prepared: Vec<&Prepared> = requests.iter().map(|request| &*request.prepared).collect();
    let demand = Demand::new(&prepared, session.workers);
    if requests.iter().any(|request| matches!(request.start, Start::Resume { .. })) {
        // Since this process has a run that goes on, others may have asked something of it.
        session.mailbox.controller().look();
    }
    let runs = Arc::new_cyclic(|runs: &Weak<Mutex<Runs>>| {
        let workers = Workers::new(Arc::clone(&post), Weak::clone(runs));
        let places = Places::new(demand.limits.clone());
        Mutex::new(Runs::new(places, workers, Arc::clone(&post), lines.clone()))
    });
    lock(&runs).workers.start(session.workers, &prepared).map_err(RunError::Thread)?;
    let mut begun = Vec::new();
    for (request, index) in requests.into_iter().zip(0..) {
        begun.push(one(&session, request, &demand, index, &post, clock)?);
    }
    for (run, opening) in begun {
        lock(&runs).begin(run, opening);
    }
    Ok(Loop { runs, messages, lines, clock }.run())
}

/// One run, which has not begun yet.
fn one(
    session: &Session<'_>,
    request: RunRequest,
    demand: &Demand,
    index: u32,
    post: &Arc<Post>,
    clock: Clock,
) -> Result<(Run, Opening), RunError> {
    let RunRequest { prepared, run_id, reporter, start } = request;
    let started_at = start.started_at(clock.now());
    let history = session.store.durations(&prepared.dag.dag_id)?;
    let wants_logs = reporter.wants_logs();
    let reports = Reports::start(reporter);
    let shared = Arc::new(Shared {
        run: index,
        post: Arc::clone(post),
        lines: wants_logs.then(|| reports.gate()),
        masker: prepared.masker.clone(),
        prepared: Arc::clone(&prepared),
        logs: RunLogs::new(&session.home, &prepared.dag.dag_id, &run_id),
        clock,
    });
    let live = Live::new(Arc::clone(&prepared), history, demand.numbers(index as usize));
    let settings = prepared.settings(GRACE, seed(&run_id));
    // While a run is stored, the text of its file is in memory three times: the scheduler comes after that.
    let (journal, opening) = start.begin(session, &prepared, &run_id, started_at)?;
    let (live, scheduler) = begun(live, &prepared, &opening, settings, &demand.limits);
    let info = Arc::new(RunInfo::new(index, prepared, run_id, started_at));
    let outlet = Outlet::new(journal, reports);
    Ok((Run::new(info, live, scheduler, outlet, shared), opening))
}

/// The tasks with which a run begins or goes on, and their scheduler.
fn begun(
    mut live: Live,
    prepared: &Prepared,
    opening: &Opening,
    settings: Settings,
    limits: &Limits,
) -> (Live, Scheduler) {
    let mut infos = live.infos();
    let graph = match opening {
        Opening::Resume(from) => {
            live.add_templates(from.templates.iter().cloned());
            let added = from.growth.iter().flat_map(|growth| live.commit(growth));
            infos.extend(added.map(|added| added.info));
            &from.graph
        }
        Opening::New { .. } => &prepared.graph,
    };
    // A bug that planning meets is one that the run meets too, and tells.
    let levels = match opening {
        Opening::New { left_out, skipped, .. } => {
            plan::levels(graph, &infos, limits, settings.processors, (left_out, skipped)).ok().flatten()
        }
        Opening::Resume(_) => None,
    };
    let mut scheduler = Scheduler::new(Arc::clone(graph), infos, settings);
    if let Some(levels) = levels {
        scheduler.set_levels(levels);
    }
    (live, scheduler)
}

/// Differs from run to run.
fn seed(run_id: &str) -> u64 {
    let digest = Sha256::digest(run_id.as_bytes());
    digest.iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}

/// Takes the turns that no worker takes.
struct Loop {
    runs: Arc<Mutex<Runs>>,
    messages: Receiver<Message>,
    lines: Receiver<Line>,
    clock: Clock,
}

impl Loop {
    fn run(self) -> Vec<RunEnd> {
        let mut rest = lock(&self.runs).turn_of_loop(Some(self.clock.now()));
        let mut backlog = Backlog::new(self.clock.now());
        while let Some(until) = rest {
            self.wait(&until);
            let mut runs = lock(&self.runs);
            let caught_up_to = backlog.take(&self.messages, self.clock.now(), |message| runs.take(message));
            rest = runs.turn_of_loop(caught_up_to);
        }
        let Self { runs, lines, .. } = self;
        drop(lines);
        let (threads, ends) = lock(&runs).finish();
        threads.join();
        ends
    }

    /// Waits until there is a message or a line, or an alarm is due. Nothing is taken out here: without the turn, a line
    /// that a worker takes meanwhile would be told before it.
    fn wait(&self, rest: &Rest) {
        let timeout = rest.alarm.map_or(Duration::from_secs(3600), |alarm| self.clock.until(alarm));
        let mut select = Select::new();
        select.recv(&self.messages);
        if rest.without_lines {
            // Lines wait, and so do the engines that log them, until the reporters have caught up.
            let _ = select.ready_timeout(timeout.min(BEHIND));
        } else {
            select.recv(&self.lines);
            let _ = select.ready_timeout(timeout);
        }
    }
}

/// Nothing that a panic could leave half done is behind the locks of a run.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same of a lock that is seldom held for long: to sleep until it is free would take longer than most turns do.
fn lock_soon<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    for _ in 0..TRIES {
        if let Ok(guard) = mutex.try_lock() {
            return guard;
        }
        (0..PAUSES).for_each(|_| std::hint::spin_loop());
    }
    lock(mutex)
}

/// How often a lock is tried before the thread sleeps, and how long it pauses in between: some microseconds in all.
const TRIES: u32 = 50;
const PAUSES: u32 = 8;
