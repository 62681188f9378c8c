//! The host's C functions as an engine calls them that keeps its word, and one that does not.

use std::ffi::c_char;
use std::ptr;

use oxidag_plugin_api::abi::c::{LATER, Text};
use serde_json::json;

use super::*;
use crate::engine::OnCancel;

/// Remembers what the engine does with it.
#[derive(Default)]
struct Seen {
    told: Mutex<Vec<String>>,
    callbacks: Mutex<Vec<OnCancel>>,
    on_abandon: Mutex<Option<OnCancel>>,
}

impl Seen {
    fn tell(&self, what: impl Into<String>) {
        self.told.lock().unwrap().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

impl Attempt for Seen {
    fn log(&self, level: Level, text: &str) {
        self.tell(format!("{level:?} {text}"));
    }
    fn progress(&self, fraction: f64, message: &str) {
        self.tell(format!("{fraction} {message}"));
    }
    fn cancelled(&self) -> bool {
        false
    }
    fn on_cancel(&self, callback: OnCancel) {
        self.callbacks.lock().unwrap().push(callback);
    }
    fn on_abandon(&self, callback: OnCancel) {
        *self.on_abandon.lock().unwrap() = Some(callback);
    }
    fn checkpoint(&self, checkpoint: Value) -> Result<(), String> {
        self.tell(checkpoint.to_string());
        Ok(())
    }
    fn append(&self, _: Value) -> Result<(), String> {
        Err("no such task".to_owned())
    }
    fn query(&self, question: Value) -> Result<Value, String> {
        Ok(json!([question]))
    }
    fn complete(&self, end: End) {
        self.tell(match end {
            End::Outcome(outcome) => format!("success {}", outcome.result.unwrap_or_default()),
            End::Error(error) => format!("{:?} {}", error.kind, error.message),
        });
    }
}

fn handed() -> (Arc<Seen>, u64) {
    let seen = Arc::<Seen>::default();
    let number = hand_over(Arc::clone(&seen) as Arc<dyn Attempt>);
    (seen, number)
}

unsafe extern "C" fn hear(to: *mut (), text: Text) {
    // SAFETY: the tests hand over a `String`, and the host a text.
    unsafe { to.cast::<String>().as_mut().unwrap().push_str(text.str().unwrap()) };
}

/// What a function returns and what it answers.
fn asked(function: unsafe extern "C" fn(u64, Text, Answer) -> i32, number: u64, json: Text) -> (i32, String) {
    let mut heard = String::new();
    let answer = Answer { to: (&raw mut heard).cast(), say: Some(hear) };
    // SAFETY: both are there for this call.
    let status = unsafe { function(number, json, answer) };
    (status, heard)
}

fn ended(number: u64, end: Text) -> i32 {
    // SAFETY: the text is there for this call.
    unsafe { complete(number, end) }
}

const OUTCOME: Text = Text::new(r#"{"outcome": {"result": 7}}"#);
const NULL: Text = Text { data: ptr::null(), length: 3 };
const LATIN: Text = Text { data: b"caf\xe9".as_ptr(), length: 4 };

#[test]
fn an_attempt_ends_once_and_is_gone_then() {
    let (seen, number) = handed();
    returned(number, LATER);
    assert_eq!(ended(number, OUTCOME), OK);
    assert_eq!(ended(number, OUTCOME), FAILED);
    // SAFETY: a number is all that it takes.
    unsafe { log(number, 1, Text::new("late")) };
    // SAFETY: as above.
    assert_eq!(unsafe { cancelled(number) }, 1);
    assert_eq!(asked(checkpoint, number, Text::new("{}")), (FAILED, GONE.to_owned()));
    assert_eq!(seen.take(), ["success 7"]);
    assert_eq!(Arc::strong_count(&seen), 1, "the attempt is kept");
}

#[test]
fn an_abandoned_attempt_is_gone_though_its_engine_never_ends_it() {
    for has_returned in [false, true] {
        let (seen, number) = handed();
        if has_returned {
            returned(number, LATER);
        }
        let abandon = seen.on_abandon.lock().unwrap().take();
        abandon.unwrap()();
        assert_eq!(Arc::strong_count(&seen), 1, "the attempt is kept");
        // SAFETY: a number is all that it takes.
        assert_eq!(unsafe { cancelled(number) }, 1);
        assert_eq!(ended(number, OUTCOME), FAILED);
        returned(number, DONE);
        assert_eq!(seen.take(), <[&str; 0]>::default());
    }
}

#[test]
fn a_second_end_within_run_is_told_to_the_attempt() {
    let (seen, number) = handed();
    assert_eq!(ended(number, OUTCOME), OK);
    assert_eq!(ended(number, Text::new(r#"{"error": {"kind": "failed", "message": "no"}}"#)), FAILED);
    returned(number, DONE);
    assert_eq!(seen.take(), ["success 7", "Failed no"]);
    assert_eq!(Arc::strong_count(&seen), 1, "the attempt is kept");
}

#[test]
fn an_attempt_that_is_done_without_an_end_fails() {
    let (seen, number) = handed();
    returned(number, DONE);
    assert_eq!(seen.take(), ["Panicked the engine returned from the task without ending it"]);
    assert_eq!(ended(number, OUTCOME), FAILED);
    assert_eq!(seen.take(), <[&str; 0]>::default());
}

#[test]
fn ends_that_are_none_fail_the_attempt() {
    for (end, why) in [
        (NULL, "null pointer"),
        (LATIN, "not UTF-8 from its byte 3"),
        (Text { data: OUTCOME.data, length: usize::MAX }, "cannot have"),
        (Text::new("{}"), "ABI does not know"),
    ] {
        let (seen, number) = handed();
        assert_eq!(ended(number, end), OK);
        returned(number, DONE);
        let [told] = &seen.take()[..] else { panic!("not one end") };
        assert!(told.starts_with("Panicked") && told.contains(why), "{told}");
    }
}

#[test]
fn texts_that_are_none_are_refused_or_mended() {
    let (seen, number) = handed();
    for (text, why) in [(NULL, "null pointer"), (LATIN, "not UTF-8"), (Text::new("{"), "not JSON")] {
        for function in [checkpoint, append, query] {
            let (status, heard) = asked(function, number, text);
            assert!(status == FAILED && heard.contains(why), "{heard}");
        }
    }
    // SAFETY: null pointers are not looked at.
    unsafe {
        log(number, 9, LATIN);
        log(number, -1, NULL);
        progress(number, 0.5, NULL);
        on_cancel(number, None, ptr::null_mut());
        assert_eq!(checkpoint(number, NULL, Answer { to: ptr::null_mut(), say: None }), FAILED);
    }
    let told = seen.take();
    assert_eq!(told[0], "Info caf\u{fffd}");
    assert!(told[1].starts_with("Warn") && told[1].contains("null pointer"), "{told:?}");
    assert_eq!(told[2..], ["0.5 "]);
    returned(number, DONE);
}

#[test]
fn questions_and_additions_have_answers() {
    let (seen, number) = handed();
    assert_eq!(asked(checkpoint, number, Text::new(r#"{"job": 1}"#)), (OK, String::new()));
    assert_eq!(asked(append, number, Text::new("{}")), (FAILED, "no such task".to_owned()));
    assert_eq!(asked(query, number, Text::new("{}")), (OK, "[{}]".to_owned()));
    assert_eq!(seen.take(), [r#"{"job":1}"#]);
    returned(number, DONE);
}

#[test]
fn a_callback_is_called_once_whether_the_attempt_is_stopped_or_not() {
    unsafe extern "C" fn called(data: *mut (), stop: i32) {
        // SAFETY: the test hands over a `Vec`.
        unsafe { data.cast::<Vec<i32>>().as_mut().unwrap().push(stop) };
    }
    let (seen, number) = handed();
    let mut calls = Vec::<i32>::new();
    let data = (&raw mut calls).cast();
    // SAFETY: the data outlives every call.
    unsafe {
        on_cancel(number, Some(called), data);
        on_cancel(number, Some(called), data);
    }
    let mut callbacks = std::mem::take(&mut *seen.callbacks.lock().unwrap());
    callbacks.pop().unwrap()();
    drop(callbacks);
    returned(number, DONE);
    // SAFETY: as above.
    unsafe { on_cancel(number, Some(called), data) };
    assert_eq!(calls, [1, 0, 0]);
}

#[test]
fn an_engine_finds_functions_by_the_size_of_the_table() {
    let size = std::mem::offset_of!(HostTable, complete) + size_of::<*const c_char>();
    assert_eq!(FUNCTIONS.size, size);
}
