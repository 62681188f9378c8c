//! The host as an engine with a plain C table calls it: the C functions around an [`Attempt`].
//!
//! An attempt goes to the engine as a number, not as a pointer: a late or repeated call of a program in C then finds nothing,
//! where it would otherwise use memory that is gone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use oxidag_plugin_api::abi::End;
use oxidag_plugin_api::abi::c::{Answer, DONE, FAILED, HostTable, LATER, OK, Stop, Text};
use oxidag_plugin_api::{Error, ErrorKind, Level};
use serde_json::Value;

use super::Attempt;
use super::rust_host::{end_from, level};

/// The host's functions.
pub(crate) static FUNCTIONS: HostTable = HostTable {
    size: size_of::<HostTable>(),
    log: Some(log),
    progress: Some(progress),
    cancelled: Some(cancelled),
    on_cancel: Some(on_cancel),
    checkpoint: Some(checkpoint),
    append: Some(append),
    query: Some(query),
    complete: Some(complete),
};

/// The attempts that engines have, by their numbers.
static ATTEMPTS: LazyLock<Mutex<HashMap<u64, Handed>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicU64 = AtomicU64::new(1);

const GONE: &str = "this attempt has ended, or there never was one of this number";

struct Handed {
    attempt: Arc<dyn Attempt>,
    /// The engine's `run` has not returned.
    in_run: bool,
    ended: bool,
}

fn attempts() -> MutexGuard<'static, HashMap<u64, Handed>> {
    // Nothing is half done when a panic lets go of it.
    ATTEMPTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number for an engine, which is to run the attempt.
pub(crate) fn hand_over(attempt: Arc<dyn Attempt>) -> u64 {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    attempts().insert(number, Handed { attempt: Arc::clone(&attempt), in_run: true, ended: false });
    // Nobody waits for it then, and maybe the engine never ends it.
    attempt.on_abandon(Box::new(move || forget(number)));
    number
}

fn forget(number: u64) {
    // What it holds may call the engine as it goes, so not under the lock.
    let forgotten = attempts().remove(&number);
    drop(forgotten);
}

/// The engine's `run` has returned this.
pub(crate) fn returned(number: u64, how: i32) {
    let handed = {
        let mut attempts = attempts();
        match attempts.get_mut(&number) {
            Some(handed) if how == LATER && !handed.ended => {
                handed.in_run = false;
                return;
            }
            _ => attempts.remove(&number),
        }
    };
    if let Some(handed) = handed.filter(|handed| !handed.ended) {
        let message = match how {
            DONE => "the engine returned from the task without ending it".to_owned(),
            _ => format!(
                "the engine returned {how} from the task, which is neither OXIDAG_DONE nor OXIDAG_LATER"
            ),
        };
        handed.attempt.complete(End::Error(Error::new(ErrorKind::Panicked, message)));
    }
}

/// The attempt of a number. It stays in the map until it ends, so that a call never keeps the map locked.
fn find(number: u64) -> Option<Arc<dyn Attempt>> {
    attempts().get(&number).filter(|handed| !handed.ended).map(|handed| Arc::clone(&handed.attempt))
}

unsafe extern "C" fn log(number: u64, importance: i32, text: Text) {
    let Some(attempt) = find(number) else { return };
    // SAFETY: the text is there for this call, as the engine promises.
    match unsafe { text.bytes() } {
        Ok(bytes) => attempt.log(level(level_number(importance)), &String::from_utf8_lossy(bytes)),
        Err(error) => {
            attempt.log(Level::Warn, &format!("the engine wrote to this log what it cannot: {error}"))
        }
    }
}

/// A number that no level has stays none.
fn level_number(importance: i32) -> u8 {
    u8::try_from(importance).unwrap_or(u8::MAX)
}

unsafe extern "C" fn progress(number: u64, fraction: f64, message: Text) {
    let Some(attempt) = find(number) else { return };
    // SAFETY: the text is there for this call, as the engine promises.
    let message = unsafe { message.bytes() }.unwrap_or_default();
    attempt.progress(fraction, &String::from_utf8_lossy(message));
}

unsafe extern "C" fn cancelled(number: u64) -> i32 {
    find(number).is_none_or(|attempt| attempt.cancelled()).into()
}

unsafe extern "C" fn on_cancel(number: u64, stop: Option<Stop>, data: *mut ()) {
    let Some(stop) = stop else { return };
    let stopping = Stopping { stop, data, asked: false };
    match find(number) {
        Some(attempt) => attempt.on_cancel(Box::new(move || stopping.ask())),
        None => drop(stopping),
    }
}

/// An engine's callback, which is called when this goes, one way or the other.
struct Stopping {
    stop: Stop,
    data: *mut (),
    asked: bool,
}

// SAFETY: the engine promises that its callback may be called with this data on any thread.
unsafe impl Send for Stopping {}

impl Stopping {
    fn ask(mut self) {
        self.asked = true;
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        // SAFETY: the engine gave the data for this one call.
        unsafe { (self.stop)(self.data, self.asked.into()) }
    }
}

unsafe extern "C" fn checkpoint(number: u64, json: Text, why: Answer) -> i32 {
    // SAFETY: the text and whoever waits for the answer are there for this call, as the engine promises.
    unsafe { call(number, "checkpoint", json, why, |attempt, json| attempt.checkpoint(json).map(|()| None)) }
}

unsafe extern "C" fn append(number: u64, json: Text, why: Answer) -> i32 {
    // SAFETY: as in `checkpoint`.
    unsafe { call(number, "addition", json, why, |attempt, json| attempt.append(json).map(|()| None)) }
}

unsafe extern "C" fn query(number: u64, json: Text, answer: Answer) -> i32 {
    // SAFETY: as in `checkpoint`.
    unsafe { call(number, "question", json, answer, |attempt, json| attempt.query(json).map(Some)) }
}

/// Reads the JSON, lets the attempt do something with it, and says the answer, if there is one, or why it was not done.
///
/// # Safety
///
/// `json` and what `answer` points to must be there for this call.
unsafe fn call(
    number: u64,
    what: &str,
    json: Text,
    answer: Answer,
    act: impl FnOnce(&dyn Attempt, Value) -> Result<Option<Value>, String>,
) -> i32 {
    // SAFETY: by this function's contract.
    let json = unsafe { json.str() }
        .map_err(|error| format!("the {what} cannot be read: {error}"))
        .and_then(|json| serde_json::from_str(json).map_err(|e| format!("the {what} is not JSON: {e}")));
    let done = json.and_then(|json| act(&*find(number).ok_or(GONE)?, json));
    let (status, text) = match done {
        Ok(None) => return OK,
        Ok(Some(value)) => (OK, value.to_string()),
        Err(why) => (FAILED, why),
    };
    if let Some(say) = answer.say {
        // SAFETY: by this function's contract.
        unsafe { say(answer.to, Text::new(&text)) };
    }
    status
}

/// A second end goes to the attempt as well, for as long as its engine's `run` lasts: it says so in its log.
unsafe extern "C" fn complete(number: u64, end: Text) -> i32 {
    let (attempt, first) = {
        let mut attempts = attempts();
        let Some(handed) = attempts.get_mut(&number) else { return FAILED };
        let first = !std::mem::replace(&mut handed.ended, true);
        let attempt = Arc::clone(&handed.attempt);
        if !handed.in_run {
            attempts.remove(&number);
        }
        (attempt, first)
    };
    // SAFETY: the text is there for this call, as the engine promises.
    attempt.complete(match unsafe { end.str() } {
        Ok(json) => end_from(json),
        Err(error) => {
            let message = format!("the engine ended its task in a way that cannot be read: {error}");
            End::Error(Error::new(ErrorKind::Panicked, message))
        }
    });
    if first { OK } else { FAILED }
}

#[cfg(test)]
#[path = "c_host_tests.rs"]
mod tests;
