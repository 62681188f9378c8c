//! The host as an engine built with `oxidag-plugin-api` calls it: the ABI's functions around an [`Attempt`].

use std::marker::PhantomData;
use std::sync::Arc;

use abi_stable::prefix_type::WithMetadata;
use abi_stable::std_types::{RResult, RStr, RString};
use oxidag_plugin_api::abi::{ANSWER, Callback, End, HostHandle, HostVtable, HostVtableRef};
use oxidag_plugin_api::{Error, ErrorKind, Level};
use serde_json::Value;

use super::Attempt;

/// A handle for an engine, which owns one reference to the attempt.
pub(crate) fn handle<A: Attempt>(attempt: Arc<A>) -> HostHandle {
    let vtable = HostVtableRef(Table::<A>::FUNCTIONS.static_as_prefix());
    // SAFETY: the context is a counted reference to an `A`, which is what the functions of its table expect.
    unsafe { HostHandle::new(Arc::into_raw(attempt).cast(), vtable) }
}

/// How an attempt ended, as an engine tells it.
pub(super) fn end_from(json: &str) -> End {
    serde_json::from_str(json).unwrap_or_else(|e| {
        End::Error(Error::new(
            ErrorKind::Panicked,
            format!("the engine ended its task in a way that the ABI does not know: {e}"),
        ))
    })
}

/// The level with this number; `info` for one that this oxidag does not know.
pub(super) fn level(number: u8) -> Level {
    const LEVELS: [Level; 6] =
        [Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Stdout, Level::Stderr];
    LEVELS.get(usize::from(number)).copied().unwrap_or(Level::Info)
}

struct Table<A>(PhantomData<A>);

impl<A: Attempt> Table<A> {
    const FUNCTIONS: &'static WithMetadata<HostVtable> = &WithMetadata::new(HostVtable {
        retain: retain::<A>,
        release: release::<A>,
        log: log::<A>,
        progress: progress::<A>,
        cancelled: cancelled::<A>,
        on_cancel: on_cancel::<A>,
        checkpoint: checkpoint::<A>,
        append: append::<A>,
        complete: complete::<A>,
    });
}

/// An engine's callback; dropped uncalled, it gives the engine's data back.
struct Called(Option<Callback>);

impl Called {
    fn call(mut self) {
        if let Some(callback) = self.0.take() {
            callback.call();
        }
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        if let Some(callback) = self.0.take() {
            callback.discard();
        }
    }
}

/// # Safety
///
/// `context` must come from [`handle`] for the same `A`, and the caller own a reference to it.
unsafe fn attempt<'a, A>(context: *const ()) -> &'a A {
    // SAFETY: by this function's contract the attempt is alive while the engine's reference is.
    unsafe { &*context.cast::<A>() }
}

extern "C" fn retain<A: Attempt>(context: *const ()) {
    // SAFETY: the engine owns a reference while it calls.
    unsafe { Arc::increment_strong_count(context.cast::<A>()) }
}

extern "C" fn release<A: Attempt>(context: *const ()) {
    // SAFETY: the engine gives up a reference that it owns.
    unsafe { Arc::decrement_strong_count(context.cast::<A>()) }
}

extern "C" fn log<A: Attempt>(context: *const (), number: u8, text: RStr<'_>) {
    // SAFETY: the engine owns a reference while it calls.
    unsafe { attempt::<A>(context) }.log(level(number), text.as_str());
}

extern "C" fn progress<A: Attempt>(context: *const (), fraction: f64, message: RStr<'_>) {
    // SAFETY: the engine owns a reference while it calls.
    unsafe { attempt::<A>(context) }.progress(fraction, message.as_str());
}

extern "C" fn cancelled<A: Attempt>(context: *const ()) -> bool {
    // SAFETY: the engine owns a reference while it calls.
    unsafe { attempt::<A>(context) }.cancelled()
}

extern "C" fn on_cancel<A: Attempt>(context: *const (), callback: Callback) {
    let called = Called(Some(callback));
    // SAFETY: the engine owns a reference while it calls.
    unsafe { attempt::<A>(context) }.on_cancel(Box::new(move || called.call()));
}

extern "C" fn checkpoint<A: Attempt>(context: *const (), checkpoint: RStr<'_>) -> RResult<(), RString> {
    // SAFETY: the engine owns a reference while it calls.
    let attempt = unsafe { attempt::<A>(context) };
    json("checkpoint", checkpoint).and_then(|json| attempt.checkpoint(json)).map_err(RString::from).into()
}

/// An addition, or a question: the answer to one goes back as an error (see [`HostVtable::append`]).
extern "C" fn append<A: Attempt>(context: *const (), addition: RStr<'_>) -> RResult<(), RString> {
    // SAFETY: the engine owns a reference while it calls.
    let attempt = unsafe { attempt::<A>(context) };
    let appended = json("addition", addition).and_then(|mut addition| match question(&mut addition) {
        Some(question) => {
            Err(attempt.query(question).map_or_else(|why| why, |answer| format!("{ANSWER}{answer}")))
        }
        None => attempt.append(addition),
    });
    appended.map_err(RString::from).into()
}

fn question(addition: &mut Value) -> Option<Value> {
    addition.as_object_mut().filter(|all| all.len() == 1).and_then(|all| all.remove("query"))
}

fn json(what: &str, text: RStr<'_>) -> Result<Value, String> {
    serde_json::from_str(text.as_str()).map_err(|e| format!("the {what} is not JSON: {e}"))
}

extern "C" fn complete<A: Attempt>(context: *const (), end: RStr<'_>) {
    // SAFETY: the engine owns a reference while it calls.
    unsafe { attempt::<A>(context) }.complete(end_from(end.as_str()));
}
