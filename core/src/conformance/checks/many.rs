//! Much at once, and what is left of it.

use std::collections::BTreeSet;
use std::io;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use oxidag_plugin_api::abi::{End, Mode};
use oxidag_plugin_api::{ErrorKind, Task};
use serde_json::json;

use super::Checked;
use super::running::with_param;
use crate::conformance::Verdict;
use crate::conformance::recorder::Habits;
use crate::conformance::session::{Session, short};
use crate::conformance::wire::Request;

/// So many tasks at once.
const AT_ONCE: usize = 32;

/// So many attempts are made before their threads are counted again.
const ATTEMPTS: usize = 8;

/// So often. A pool of threads grows, and is there then; what attempts leave grows with each of them.
const ROUNDS: usize = 3;

/// A thread that was told to end is given so long for it.
const LINGER: Duration = Duration::from_secs(2);

/// A text with characters of one to four bytes, both directions, and one that is composed.
const TEXT: &str = "žluťoučký 日本語 🦀 שלום e\u{301}";

pub(super) fn large(session: &Session<'_>) -> Checked {
    session.works()?;
    taken_or_refused(session, &with_param(session, json!("x".repeat(1 << 20)), "large"))
}

pub(super) fn non_ascii(session: &Session<'_>) -> Checked {
    session.works()?;
    let folder = session.request.folder.join("données 日本");
    let made = std::fs::create_dir_all(&folder);
    made.map_err(|e| Verdict::not_tested(format!("cannot make {}: {e}", folder.display())))?;
    let mut task = with_param(session, json!(TEXT), "non-ascii");
    task.working_dir.clone_from(&folder);
    let seen = taken_or_refused(session, &task)?;
    let Some(case) = &session.request.cases.non_ascii else {
        return Ok(format!("{seen}; no script was tried, the cases have no `tasks.non_ascii`"));
    };
    let mut task = session.task(case, "non-ascii-script");
    task.working_dir = folder;
    let end = session.run(&task)?;
    session.expect_success(case, end)?;
    Ok(format!("{seen}; so did the script of `tasks.non_ascii`"))
}

/// The task must succeed, or be refused as its own fault.
fn taken_or_refused(session: &Session<'_>, task: &Task) -> Checked {
    match session.run(task)? {
        End::Outcome(_) => Ok("it succeeded".to_owned()),
        End::Error(error)
            if matches!(error.kind, ErrorKind::Invalid | ErrorKind::Failed) && !error.message.is_empty() =>
        {
            Ok(format!("it was refused, {}", session.say(&error)))
        }
        End::Error(error) => Err(Verdict::failed(
            format!("it ended {}", session.say(&error)),
            "take any parameter, or refuse it as `invalid` with a message",
        )),
    }
}

pub(super) fn concurrent(session: &Session<'_>) -> Checked {
    session.works()?;
    let together = Barrier::new(AT_ONCE);
    let ended: Vec<Result<(), Verdict>> = std::thread::scope(|scope| {
        let together = &together;
        let one = |number| {
            scope.spawn(move || {
                together.wait();
                session.succeed(&format!("concurrent-{number}")).map(drop)
            })
        };
        let all: Vec<_> = (0..AT_ONCE).map(one).collect();
        all.into_iter()
            .map(|one| one.join().unwrap_or_else(|_| Err(Verdict::not_tested("the kit panicked"))))
            .collect()
    });
    let failed: Vec<Verdict> = ended.into_iter().filter_map(Result::err).collect();
    match failed.first() {
        None => Ok(format!("{AT_ONCE} tasks succeeded")),
        Some(first) => Err(Verdict::failed(
            format!("{} of {AT_ONCE} tasks did not succeed; the first: {}", failed.len(), first.seen),
            "one engine serves many tasks at once: share nothing between them without a lock",
        )),
    }
}

pub(super) fn threads(request: &Request) -> Checked {
    let lost = |error: io::Error| Verdict::not_tested(format!("cannot count threads: {error}"));
    let at_first = listed().map_err(lost)?;
    let session = Session::new(request)?;
    session.works()?;
    let attempt = |number: usize| {
        let task = session.task(&request.cases.success(), &format!("thread-{number}"));
        session.start(&task, Habits::default())?.over().map(drop)
    };
    // What an engine keeps for all its tasks is there after these.
    (0..2).try_for_each(attempt)?;
    let mut left = Vec::new();
    for round in 0..ROUNDS {
        let before = listed().map_err(lost)?;
        (0..ATTEMPTS).try_for_each(|number| attempt(2 + round * ATTEMPTS + number))?;
        left = remaining(&before).map_err(lost)?;
        if left.is_empty() {
            break;
        }
    }
    if !left.is_empty() {
        let whose = format!("each time that {ATTEMPTS} attempts were made, they left some; the last ones");
        return Err(left_behind(&left, &whose));
    }
    let blocks = session.mode()? == Mode::Blocking;
    drop(session);
    if !blocks {
        return Ok("attempts leave none; those of the engine's runtime stay, as they may".to_owned());
    }
    let left = remaining(&at_first).map_err(lost)?;
    if left.is_empty() { Ok("none is left".to_owned()) } else { Err(left_behind(&left, "the engine")) }
}

fn left_behind(left: &[String], whose: &str) -> Verdict {
    Verdict::failed(
        short(&format!("{whose} left {} threads: {}", left.len(), left.join(", "))),
        "end what an attempt starts with it, and what an engine starts when it is dropped",
    )
}

/// The threads that were not there before. Looks again until there are none, or it takes too long.
fn remaining(before: &BTreeSet<String>) -> io::Result<Vec<String>> {
    let by = Instant::now() + LINGER;
    loop {
        let left: Vec<String> = listed()?.difference(before).cloned().collect();
        if left.is_empty() || Instant::now() > by {
            return Ok(left);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The threads of this process, by number and name.
fn listed() -> io::Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir("/proc/self/task")? {
        let entry = entry?;
        // One that has just ended has no name any more.
        if let Ok(name) = std::fs::read_to_string(entry.path().join("comm")) {
            all.insert(format!("{} {}", entry.file_name().to_string_lossy(), name.trim()));
        }
    }
    Ok(all)
}
