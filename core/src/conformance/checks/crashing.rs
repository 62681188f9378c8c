//! The scheduler dies while an attempt is under way, and the next one takes it up. The first process asks the kit to kill it
//! where it should die; the second one is given what was stored.

use std::io;
use std::os::unix::net::UnixStream;

use super::Checked;
use super::stopping::{LONG, long};
use crate::conformance::Verdict;
use crate::conformance::recorder::Habits;
use crate::conformance::session::Session;
use crate::conformance::wire::{Reply, Resume, send};

pub(super) fn before(session: &Session<'_>, socket: &UnixStream) -> Checked {
    let case = long(session)?;
    if session.request.resume.is_some() {
        return resumed(session);
    }
    let (die, kill) = (Killed::new(socket)?, Killed::new(socket)?);
    let habits =
        Habits { before_checkpoint: Some(Box::new(move |resume| die.at(resume))), ..Habits::default() };
    let started = session.start(&session.task(case, "crash"), habits)?;
    started.settle(LONG)?;
    // It stores no checkpoint, or none so far.
    kill.at(Resume { checkpoint: None })
}

pub(super) fn after(session: &Session<'_>, socket: &UnixStream) -> Checked {
    let case = long(session)?;
    if session.request.resume.is_some() {
        return resumed(session);
    }
    let die = Killed::new(socket)?;
    let habits =
        Habits { after_checkpoint: Some(Box::new(move |resume| die.at(resume))), ..Habits::default() };
    let started = session.start(&session.task(case, "crash"), habits)?;
    let end = started.end()?;
    session.expect_success(case, end)?;
    Err(Verdict::not_applicable("the engine stores no checkpoint"))
}

/// The same attempt, with what was stored.
fn resumed(session: &Session<'_>) -> Checked {
    let case = long(session)?;
    let with = session.request.resume.as_ref().and_then(|resume| resume.checkpoint.as_ref());
    let with = if with.is_some() { "with its checkpoint" } else { "without a checkpoint" };
    let end = session.run(&session.task(case, "crash"))?;
    session.expect_success(case, end).map_err(|verdict| {
        if verdict.advice.is_none() {
            return verdict;
        }
        Verdict::failed(
            format!("after the crash, taken up {with}: {}", verdict.seen),
            "let `run` find what an earlier call left, by `task.checkpoint`, `task.idempotency_key` and `task.resumed`",
        )
    })?;
    Ok(format!("it was taken up {with}, and succeeded"))
}

/// Asks for the end.
struct Killed {
    socket: UnixStream,
}

impl Killed {
    fn new(socket: &UnixStream) -> Result<Self, Verdict> {
        let cloned = socket.try_clone();
        cloned.map(|socket| Self { socket }).map_err(|e: io::Error| Verdict::not_tested(e.to_string()))
    }

    /// Waits for it, here.
    fn at(&self, resume: Resume) -> ! {
        // Where the kit is gone, nobody kills this process but its death with the kit's.
        let _ = send(&self.socket, &Reply::KillMe(resume));
        loop {
            std::thread::park();
        }
    }
}
