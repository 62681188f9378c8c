//! `oxidag schedule`: stays, and starts each DAG when its `schedule_interval` says so.
//!
//! Every run is a process of its own, `oxidag run` or `oxidag resume`: what becomes of one touches neither the others nor
//! this process. A run that was interrupted goes on before a new one begins. No DAG is started while it runs, nor twice for
//! one time, however many of these processes there are: the time is the run's id, and of two runs of one id the store
//! refuses the second.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail, ensure};
use oxidag_core::event::Timestamp;
use oxidag_core::logs::rfc3339;
use oxidag_core::schedule::Schedule;
use oxidag_core::spec;
use oxidag_core::state::RunState;
use oxidag_core::store::{RunFilter, RunHead};
use rustix::process::{Pid, Signal, kill_process};

use super::runs::now;
use crate::args::{Format, ScheduleArgs};
use crate::exit::Exit;
use crate::signals::Bell;
use crate::{output, settings};

/// The clock is looked at this often, since it may be set, and the machine may sleep.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often a DAG is looked at that another process runs.
const AGAIN: Duration = Duration::from_secs(5);
/// How soon a DAG begins again that failed, was refused (it is still due then), or could not be looked at.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// How much of a DAG's name goes into the ids of its runs.
const LONGEST_NAME: usize = 100;

/// A DAG that is waited for.
struct Watched {
    path: PathBuf,
    changed: Option<SystemTime>,
    dag_id: String,
    /// `None`: its file has none any more.
    schedule: Option<Schedule>,
    /// Times up to this one do not count, nor those before the newest run.
    since: Timestamp,
    not_before: Timestamp,
    run: Option<Child>,
    /// What was told last of a DAG that is not started, so that it is told once.
    told: String,
}

/// What is to be done about a DAG.
enum Next {
    /// Start it now; the time for which it was due.
    Start(Timestamp),
    /// Go on with this run, which was interrupted.
    Resume(String),
    /// This process runs it.
    Elsewhere(u32),
    Wait(Duration),
    Never,
}

pub(super) fn schedule(args: &ScheduleArgs) -> anyhow::Result<Exit> {
    let mut dags: Vec<Watched> = Vec::new();
    for path in &args.dags {
        let watched = Watched::read(path)?;
        // Each run reads it again; what is wrong with it now is not to show at night.
        settings::plugins(&args.environment, Some(path))?;
        ensure!(
            dags.iter().all(|other| other.dag_id != watched.dag_id),
            "two of the files are DAGs called {}; one of them has to have another `dag_id`",
            watched.dag_id
        );
        dags.push(watched);
    }
    let bell = Bell::listen().context("cannot listen to signals")?;
    let mut worst = Exit::Success;
    loop {
        let mut wait = None;
        for dag in &mut dags {
            if dag.reap(args.format)? == Some(Exit::Interrupted) {
                worst = Exit::Interrupted;
            }
            if let Some(pause) = dag.turn_or_later(args) {
                wait = Some(wait.map_or(pause, |wait: Duration| wait.min(pause)));
            }
        }
        let Some(wait) = wait else { return Ok(worst) };
        if bell.wait(wait) {
            return stop(&mut dags, &bell, args.format);
        }
    }
}

/// Asks all runs to stop, as often as this process is asked, and waits for them.
fn stop(dags: &mut [Watched], bell: &Bell, format: Format) -> anyhow::Result<Exit> {
    let mut exit = Exit::Success;
    let mut asked = true;
    loop {
        let mut running = false;
        for dag in dags.iter_mut() {
            if dag.reap(format)? == Some(Exit::Interrupted) {
                exit = Exit::Interrupted;
            }
            if let Some(run) = &dag.run {
                running = true;
                if asked && let Some(pid) = i32::try_from(run.id()).ok().and_then(Pid::from_raw) {
                    // One that has just ended is reaped in the next round.
                    let _ = kill_process(pid, Signal::TERM);
                }
            }
        }
        if !running {
            return Ok(exit);
        }
        asked = bell.wait(LONGEST_WAIT);
    }
}

impl Watched {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let now = now();
        let (dag_id, schedule) = schedule_of(path)?;
        let Some(schedule) = schedule else {
            bail!(
                "{} has no schedule; give it a `schedule_interval`, such as `@daily` or `30 2 * * 1-5`",
                path.display()
            );
        };
        ensure!(
            schedule.due(None, now, now).is_some(),
            "the `schedule_interval` of {} names no time that will come",
            path.display()
        );
        let since = schedule.since(now);
        Ok(Self {
            path: path.to_owned(),
            changed: changed(path),
            dag_id,
            schedule: Some(schedule),
            since,
            not_before: now,
            run: None,
            told: String::new(),
        })
    }

    /// As [`Watched::turn`]; what is wrong now (the store cannot be read, no process be started) may be right later, and
    /// is no reason to leave the other DAGs.
    fn turn_or_later(&mut self, args: &ScheduleArgs) -> Option<Duration> {
        self.turn(args).unwrap_or_else(|error| {
            output::remark(format!("{}: {error:#}; it is tried again in a minute", self.dag_id));
            self.not_before = now().after(AFTER_FAILURE);
            Some(AFTER_FAILURE)
        })
    }

    /// Starts the DAG if that is due; else tells how long to wait. `None`: it is not due any more, ever.
    fn turn(&mut self, args: &ScheduleArgs) -> anyhow::Result<Option<Duration>> {
        if self.run.is_some() {
            return Ok(Some(LONGEST_WAIT));
        }
        self.read_again();
        match self.next()? {
            Next::Start(due) => {
                let run_id = run_id(&self.dag_id, due);
                self.start(
                    ["run".into(), self.path.clone().into()],
                    &["--run-id".into(), run_id.into()],
                    args,
                )?;
                // Whatever becomes of the run, and of what is stored of it.
                self.since = self.since.max(due);
                say(args.format, &self.dag_id, &format!("starts, due {}", rfc3339(due)));
                Ok(Some(LONGEST_WAIT))
            }
            Next::Resume(run_id) => {
                say(args.format, &self.dag_id, &format!("goes on with its run {run_id}"));
                self.start(["resume".into(), run_id.into()], &[], args)?;
                Ok(Some(LONGEST_WAIT))
            }
            Next::Elsewhere(process) => {
                self.tell_once(args.format, format!("waits: the process {process} runs it"));
                Ok(Some(AGAIN))
            }
            Next::Wait(wait) => Ok(Some(wait.min(LONGEST_WAIT))),
            Next::Never => {
                self.tell_once(args.format, "is not due any more".to_owned());
                Ok(None)
            }
        }
    }

    fn tell_once(&mut self, format: Format, what: String) {
        if self.told != what {
            say(format, &self.dag_id, &what);
            self.told = what;
        }
    }

    fn next(&self) -> anyhow::Result<Next> {
        let now = now();
        if let Some(process) = self.runs(Some(RunState::Running), u32::MAX)?.iter().find_map(|run| run.owner)
        {
            return Ok(Next::Elsewhere(process));
        }
        let newest = self.runs(None, 1)?.into_iter().next();
        let began = newest.as_ref().map(|run| run.started_at);
        let since = began.map_or(self.since, |began| began.max(self.since));
        let next = match newest.filter(|run| run.interrupted) {
            Some(run) => Some((now, Next::Resume(run.run_id))),
            None => {
                let due = self.schedule.as_ref().and_then(|schedule| schedule.due(began, since, now));
                due.map(|due| (due, Next::Start(due)))
            }
        };
        Ok(match next {
            None => Next::Never,
            Some((due, next)) if due.max(self.not_before) <= now => next,
            Some((due, _)) => Next::Wait(between(now, due.max(self.not_before))),
        })
    }

    /// The DAG's runs, the newest first.
    fn runs(&self, state: Option<RunState>, limit: u32) -> anyhow::Result<Vec<RunHead>> {
        let Some(store) = settings::existing_store()? else { return Ok(Vec::new()) };
        let of_dag = RunFilter { dag_id: Some(self.dag_id.clone()), state, limit, ..RunFilter::default() };
        Ok(store.list_runs(&of_dag)?)
    }

    fn start(&mut self, what: [OsString; 2], how: &[OsString], args: &ScheduleArgs) -> anyhow::Result<()> {
        let mut command = Command::new(std::env::current_exe().context("cannot find the oxidag program")?);
        let is_new = what[0] == "run";
        command.args(what).args(how).args(args.passed_on(is_new));
        // A group of its own: Ctrl-C reaches this process alone, which then asks every run once.
        command.process_group(0).stdin(Stdio::null());
        self.run = Some(command.spawn().context("cannot start a run")?);
        Ok(())
    }

    /// How the run ended, if it just did.
    fn reap(&mut self, format: Format) -> anyhow::Result<Option<Exit>> {
        let Some(run) = &mut self.run else { return Ok(None) };
        let Some(status) = run.try_wait().context("cannot wait for a run")? else { return Ok(None) };
        self.run = None;
        let (exit, word) = match status.code() {
            Some(0) => (Exit::Success, "success".to_owned()),
            Some(130) => (Exit::Interrupted, "cancelled".to_owned()),
            Some(1) => {
                (Exit::Failed, format!("failed; `oxidag runs list --dag {}` names the run", self.dag_id))
            }
            Some(_) => (Exit::Refused, "did not run; it is tried again in a minute".to_owned()),
            None => (Exit::Refused, format!("died ({status}); it goes on in a minute")),
        };
        self.told.clear();
        if exit != Exit::Success {
            self.not_before = now().after(AFTER_FAILURE);
        }
        say(format, &self.dag_id, &word);
        Ok(Some(exit))
    }

    /// A file that was changed has its new schedule; one that is broken keeps the old one, and is told of.
    fn read_again(&mut self) {
        let changed = changed(&self.path);
        if changed == self.changed {
            return;
        }
        self.changed = changed;
        match schedule_of(&self.path) {
            Ok(read) => (self.dag_id, self.schedule) = read,
            Err(error) => output::remark(format!("{error:#}\n{} keeps its schedule", self.dag_id)),
        }
    }
}

/// A DAG's name and its schedule, if it has one.
fn schedule_of(path: &Path) -> anyhow::Result<(String, Option<Schedule>)> {
    let (dag, _) = spec::load(path)?;
    let schedule = Schedule::of(&dag)?;
    Ok((dag.dag_id, schedule))
}

/// The DAG and the time: `nightly-20261126T023000Z`, with a fraction of a second where the time has one.
fn run_id(dag_id: &str, due: Timestamp) -> String {
    // A run's id has to be shorter than a DAG's may be; both are ASCII.
    let dag_id = dag_id.get(..LONGEST_NAME).unwrap_or(dag_id);
    let time: String = rfc3339(due).to_string().chars().filter(|c| !"-:".contains(*c)).collect();
    format!("{dag_id}-{}", time.replace(".000000", ""))
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|file| file.modified()).ok()
}

fn between(now: Timestamp, then: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(then.0.saturating_sub(now.0)).unwrap_or(0))
}

/// To people only: for programs, the runs' own events are the answer.
fn say(format: Format, dag_id: &str, what: &str) {
    if format == Format::Human {
        output::remark(format!("{} {dag_id} {what}", rfc3339(now())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_after_its_dag_and_its_time() {
        assert_eq!(run_id("nightly", Timestamp(1_795_660_200_000_000)), "nightly-20261126T023000Z");
        assert_eq!(run_id("d", Timestamp(1_795_660_200_250_000)), "d-20261126T023000.250000Z");
        assert!(run_id(&"x".repeat(250), Timestamp(0)).len() <= 128);
    }
}
