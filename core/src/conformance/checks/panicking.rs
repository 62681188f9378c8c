//! Panics, in every call that runs an author's code: none leaves the engine, and none leaves anything behind.
//! One of `describe` needs no case: it is what the check `schema` sees.

use oxidag_plugin_api::abi::{End, Mode};
use oxidag_plugin_api::{Error, ErrorKind};
use serde_json::Value;

use super::Checked;
use super::creating::open;
use crate::conformance::Verdict;
use crate::conformance::cases::Case;
use crate::conformance::recorder::Habits;
use crate::conformance::session::{Session, short};
use crate::conformance::wire::Request;

pub(super) fn create(request: &Request) -> Checked {
    let config = config(request.cases.panic_config.as_ref(), "config")?;
    // What fails without any panic is another check's affair.
    Session::new(request)?;
    let functions = open(request)?.functions;
    let seen = match functions.create(&config.to_string()) {
        Ok(instance) => {
            functions.destroy(instance);
            return Err(Verdict::failed(
                "the engine was created with the configuration at which it should panic",
                "mend the case: the `config` of `[panic]`",
            ));
        }
        Err(json) => {
            let error: Error = serde_json::from_str(&json).map_err(|e| {
                Verdict::failed(
                    format!("`create` failed with what is no error of the ABI: {e}"),
                    "answer with an error, as plugin-api does",
                )
            })?;
            short(&error.message)
        }
    };
    created_again(request, "after a panic of `create`")?;
    Ok(format!("it was an error ({seen}), and the next creation went well"))
}

pub(super) fn destroy(request: &Request) -> Checked {
    let config = config(request.cases.panic_destroy.as_ref(), "destroy")?;
    Session::new(request)?;
    let functions = open(request)?.functions;
    let instance = functions.create(&config.to_string()).map_err(|json| {
        Verdict::failed(
            format!("the engine cannot be created with the configuration of `destroy`: {}", short(&json)),
            "mend the case: the `destroy` of `[panic]`",
        )
    })?;
    functions.destroy(instance);
    created_again(request, "after an engine was destroyed that panics at it")?;
    Ok("`destroy` came back, and the next creation went well".to_owned())
}

/// An engine is created as ever.
fn created_again(request: &Request, when: &str) -> Result<(), Verdict> {
    Session::new(request).map(drop).map_err(|verdict| {
        Verdict::failed(
            format!("{when}: {}", verdict.seen),
            "let what failed leave nothing behind, such as a poisoned lock",
        )
    })
}

pub(super) fn blocks(session: &Session<'_>) -> Checked {
    if session.mode()? != Mode::PerTask {
        return Err(Verdict::not_applicable("`blocks` is asked in mode `per_task` alone"));
    }
    let case = case(session.request.cases.panic_blocks.as_ref(), "panic_blocks")?;
    session.works()?;
    let _ = session.engine().blocks(&session.task(case, "panic").params);
    goes_on(session)?;
    Ok("`blocks` came back, and the next task succeeded".to_owned())
}

pub(super) fn validate(session: &Session<'_>) -> Checked {
    let case = case(session.request.cases.panic_validate.as_ref(), "panic_validate")?;
    session.works()?;
    let task = serde_json::to_string(&session.task(case, "panic")).unwrap_or_default();
    let seen = match session.engine().validate(&task) {
        Err(error) if error.kind == ErrorKind::Panicked => session.say(&error),
        Err(error) => {
            return Err(nothing_panicked("a dry run", &format!("ended {}", session.say(&error))));
        }
        Ok(findings) => {
            return Err(nothing_panicked("a dry run", &format!("had {} findings", findings.len())));
        }
    };
    goes_on(session)?;
    Ok(format!("it ended {seen}; the next task succeeded"))
}

pub(super) fn task(session: &Session<'_>) -> Checked {
    let case = case(session.request.cases.panic.as_ref(), "panic")?;
    session.works()?;
    let task = session.task(case, "panic");
    // Whether it panics is the engine's affair; that it comes back is not.
    let _ = session.engine().validate(&serde_json::to_string(&task).unwrap_or_default());
    let seen = match session.run(&task)? {
        End::Error(error) if error.kind == ErrorKind::Panicked => session.say(&error),
        End::Error(error) => {
            return Err(nothing_panicked("a task", &format!("ended {}", session.say(&error))));
        }
        End::Outcome(_) => return Err(nothing_panicked("a task", "succeeded")),
    };
    goes_on(session)?;
    Ok(format!("it ended {seen}; the next task succeeded"))
}

pub(super) fn cancel(session: &Session<'_>) -> Checked {
    let case = case(session.request.cases.panic_cancel.as_ref(), "panic_cancel")?;
    session.works()?;
    let started = session.start(&session.task(case, "panic"), Habits::default())?;
    started.settle("panic_cancel")?;
    if started.recorder.stop() {
        return Err(started.too_short(&started.end()?, "panic_cancel"));
    }
    // A callback has nobody to tell of its panic, so any end will do; but there must be one.
    let seen = match started.end()? {
        End::Error(error) => session.say(&error),
        End::Outcome(_) => "as a success".to_owned(),
    };
    started.over()?;
    goes_on(session)?;
    Ok(format!("it ended {seen}; the next task succeeded"))
}

fn config<'c>(config: Option<&'c Value>, key: &str) -> Result<&'c Value, Verdict> {
    config.ok_or_else(|| Verdict::not_tested(format!("the cases have no `[panic]` with a `{key}`")))
}

fn case<'c>(case: Option<&'c Case>, name: &str) -> Result<&'c Case, Verdict> {
    case.ok_or_else(|| Verdict::not_tested(format!("the cases have no `tasks.{name}`")))
}

fn nothing_panicked(what: &str, seen: &str) -> Verdict {
    Verdict::failed(
        format!("{what} that should panic {seen}"),
        "mend the case, nothing panicked; or, if it did, let the engine say so",
    )
}

/// The next task succeeds.
fn goes_on(session: &Session<'_>) -> Result<(), Verdict> {
    session.succeed("next").map(drop).map_err(|verdict| {
        Verdict::failed(
            format!("after a panic: {}", verdict.seen),
            "let other tasks go on after a panic of one: use a lock also when it is poisoned",
        )
    })
}
