//! Texts that are not what the ABI says, in every call that takes one.

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
