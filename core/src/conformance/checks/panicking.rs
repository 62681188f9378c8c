//! What must never leave the engine: panics, and crashes over what it cannot read.

use oxidag_plugin_api::ErrorKind;
use oxidag_plugin_api::abi::End;

use super::Checked;
use super::creating::{open, readable};
use crate::conformance::Verdict;
use crate::conformance::recorder::{Habits, Recorder};
use crate::conformance::session::{Session, patience, short};
use crate::conformance::wire::Request;

/// Texts that are no payload of the ABI.
const GARBAGE: [&str; 4] = ["", "{", "[1, 2]", "\u{0}\u{fffd}"];

pub(super) fn malformed(request: &Request) -> Checked {
    let refuse = |what: &str, text: &str, why: String| {
        Verdict::failed(
            format!("`{what}` with the text {text:?} {why}"),
            "answer with an error, as plugin-api does; look at what goes around it",
        )
    };
    // An engine that can be created, and is destroyed again.
    Session::new(request)?;
    let functions = open(request)?.functions;
    for text in GARBAGE {
        match functions.create(text) {
            // A configuration may be nothing but defaults, which a list may stand for.
            Ok(instance) => functions.destroy(instance),
            Err(json) => {
                _ = readable(&json).map_err(|why| refuse("create", text, format!("failed {why}")))?
            }
        }
    }
    let created = functions.create(&request.cases.config().to_string());
    let instance = created.map_err(|json| Verdict::not_tested(short(&json)))?;
    for text in GARBAGE {
        let _ = functions.blocks(instance, text);
        match functions.validate(instance, text) {
            // An engine that finds nothing wrong may look at nothing.
            Ok(_) => {}
            Err(json) => {
                _ = readable(&json).map_err(|why| refuse("validate", text, format!("failed {why}")))?
            }
        }
        let recorder = Recorder::new(Habits::default());
        functions.run(instance, text, recorder.hand_out());
        let ended = recorder.wait(patience(request), |seen| !seen.ends.is_empty() || seen.released);
        let end = ended.and_then(|mut seen| seen.ends.pop());
        match end {
            Some(End::Error(error)) if error.kind != ErrorKind::Panicked => {}
            Some(End::Error(error)) => {
                return Err(refuse("run", text, format!("panicked: {}", short(&error.message))));
            }
            // As one that looks at nothing but its parameters does.
            Some(End::Outcome(_)) => {}
            None => return Err(refuse("run", text, "did not end the attempt".to_owned())),
        }
    }
    functions.destroy(instance);
    Ok("create, blocks, validate and run bear what they cannot read".to_owned())
}

pub(super) fn create(request: &Request) -> Checked {
    let config = request.cases.panic_config.as_ref();
    let config = config.ok_or_else(|| Verdict::not_tested("the cases have no `[panic]` with a `config`"))?;
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
            let error: oxidag_plugin_api::Error = serde_json::from_str(&json).map_err(|e| {
                Verdict::failed(
                    format!("`create` failed with what is no error of the ABI: {e}"),
                    "answer with an error, as plugin-api does",
                )
            })?;
            short(&error.message)
        }
    };
    Session::new(request).map_err(|verdict| {
        Verdict::failed(
            format!("after a panic of `create`: {}", verdict.seen),
            "let a creation that failed leave nothing behind, such as a poisoned lock",
        )
    })?;
    Ok(format!("it was an error ({seen}), and the next creation went well"))
}

pub(super) fn task(session: &Session<'_>) -> Checked {
    let case = session.request.cases.panic.as_ref();
    let case = case.ok_or_else(|| Verdict::not_tested("the cases have no `tasks.panic`"))?;
    session.works()?;
    let task = session.task(case, "panic");
    // Whether it panics is the engine's affair; that it comes back is not.
    let _ = session.engine().validate(&serde_json::to_string(&task).unwrap_or_default());
    let seen = match session.run(&task)? {
        End::Error(error) if error.kind == ErrorKind::Panicked => session.say(&error),
        End::Error(error) => {
            return Err(Verdict::failed(
                format!("a task that should panic ended {}", session.say(&error)),
                "mend the case: nothing panicked",
            ));
        }
        End::Outcome(_) => {
            return Err(Verdict::failed(
                "a task that should panic succeeded",
                "mend the case; or, if it did panic, let the engine say so",
            ));
        }
    };
    session.succeed("next").map_err(|verdict| {
        Verdict::failed(
            format!("after a panic: {}", verdict.seen),
            "let other tasks go on after a panic of one: use a lock also when it is poisoned",
        )
    })?;
    Ok(format!("it ended {seen}; the next task succeeded"))
}
