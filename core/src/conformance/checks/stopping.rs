//! Cancellations and deadlines, which the host asks for and the engine has to heed.

use std::time::Instant;

use oxidag_plugin_api::ErrorKind;
use oxidag_plugin_api::abi::End;

use super::Checked;
use crate::conformance::Verdict;
use crate::conformance::cases::Case;
use crate::conformance::recorder::Habits;
use crate::conformance::session::{Session, Started};

const ADVICE: &str = "look at `host.cancelled()`, or wait with `host.wait` or `host.until_cancelled`; end what runs remotely, \
                      then return `Error::cancelled`";

/// The case of a task that takes some seconds.
pub(super) const LONG: &str = "long";

/// That task.
pub(super) fn long<'s>(session: &'s Session<'_>) -> Result<&'s Case, Verdict> {
    let case = session.request.cases.long.as_ref();
    case.ok_or_else(|| Verdict::not_tested("the cases have no `tasks.long`"))
}

pub(super) fn before(session: &Session<'_>) -> Checked {
    let task = session.task(long(session)?, "before");
    let started = session.start_stopped(&task)?;
    cancelled(session, &started, "a task that was cancelled before it began")
}

pub(super) fn during(session: &Session<'_>) -> Checked {
    let started = session.start(&session.task(long(session)?, "during"), Habits::default())?;
    started.settle(LONG)?;
    if started.recorder.stop() {
        return Err(started.too_short(&started.end()?, LONG));
    }
    cancelled(session, &started, "a task that was cancelled as it ran")
}

/// The attempt has to end as cancelled.
fn cancelled(session: &Session<'_>, started: &Started<'_>, what: &str) -> Checked {
    let asked = Instant::now();
    match started.end()? {
        End::Error(error) if error.kind == ErrorKind::Cancelled => {
            Ok(format!("it ended {} ms later, {}", asked.elapsed().as_millis(), session.say(&error)))
        }
        End::Error(error) => Err(Verdict::failed(format!("{what} ended {}", session.say(&error)), ADVICE)),
        End::Outcome(_) => Err(Verdict::failed(format!("{what} went on and succeeded"), ADVICE)),
    }
}

pub(super) fn after(session: &Session<'_>) -> Checked {
    session.works()?;
    let case = session.request.cases.success();
    let habits = Habits { keeps_callbacks: true, ..Habits::default() };
    let started = session.start(&session.task(&case, "after"), habits)?;
    let end = started.end()?;
    session.expect_success(&case, end)?;
    started.recorder.stop();
    let ends = started.over()?;
    if ends.len() > 1 {
        return Err(Verdict::failed(
            "the attempt was ended a second time, by a cancellation that came too late",
            "let a cancellation do nothing once the attempt has ended",
        ));
    }
    session.succeed("next")?;
    Ok("nothing came of it, and the next task succeeded".to_owned())
}

pub(super) fn deadline(session: &Session<'_>) -> Checked {
    let started = session.start(&session.task(long(session)?, "deadline"), Habits::default())?;
    started.settle(LONG)?;
    let asked = Instant::now();
    if started.recorder.stop() {
        return Err(started.too_short(&started.end()?, LONG));
    }
    let grace = session.request.grace;
    let Some(end) = started.end_by((asked + grace).min(session.patience())) else {
        return Err(Verdict::failed(
            format!("it still ran {:.1} s after its time was up", asked.elapsed().as_secs_f64()),
            "end sooner when the host asks for it: oxidag abandons the attempt then, and its thread",
        ));
    };
    match end? {
        End::Error(error) if error.kind == ErrorKind::Panicked => {
            Err(Verdict::failed(format!("it ended {}", session.say(&error)), ADVICE))
        }
        _ => Ok(format!("it ended {} ms after its time was up", asked.elapsed().as_millis())),
    }
}
