//! The test host as an engine calls it: the ABI's functions around a [`Context`].

use std::sync::Arc;
use std::time::Duration;

use abi_stable::prefix_type::WithMetadata;
use abi_stable::std_types::{RResult, RStr, RString};
use serde_json::Value;

use super::attempt::Progress;
use super::world::World;
use crate::abi::{ANSWER, Callback, End, HostHandle, HostVtable, HostVtableRef};
use crate::host::Level;
use crate::task::{Error, ErrorKind, Result};

/// One attempt on the test host.
pub(crate) struct Context {
    pub(super) world: Arc<World>,
    pub(super) attempt: usize,
    #[cfg(feature = "async")]
    pub(super) runtime: Option<tokio::runtime::Handle>,
}

/// What a thread ends with whose scheduler has died.
struct Crashed;

impl Context {
    /// Where the attempt's futures run.
    #[cfg(feature = "async")]
    pub(crate) fn runtime(&self) -> Option<tokio::runtime::Handle> {
        self.runtime.clone()
    }

    /// As [`Host::wait`](crate::Host::wait).
    pub(crate) fn wait(&self, time: Duration) -> Result<()> {
        self.alive();
        let waited = self.world.wait(self.attempt, time);
        self.alive();
        waited
    }

    /// Ends this thread if the scheduler has died. Called on the engine's side of the boundary, which nothing may unwind across.
    pub(crate) fn alive(&self) {
        // A destructor that runs since the thread ends goes on: a second panic would end the process.
        if self.world.is_dead() && !std::thread::panicking() {
            std::panic::resume_unwind(Box::new(Crashed));
        }
    }
}

static VTABLE: WithMetadata<HostVtable> = WithMetadata::new(HostVtable {
    retain,
    release,
    log,
    progress,
    cancelled,
    on_cancel,
    checkpoint,
    append,
    complete,
});

/// A handle for an engine, which owns one reference to the context.
pub(super) fn handle(context: Arc<Context>) -> HostHandle {
    let vtable = HostVtableRef(VTABLE.static_as_prefix());
    // SAFETY: the context is a counted reference to a `Context`, which is what the functions of the table expect.
    unsafe { HostHandle::new(Arc::into_raw(context).cast(), vtable) }
}

/// The context behind a handle that [`handle`] made; `None` for that of any other host.
pub(crate) fn context_of(handle: &HostHandle) -> Option<&Context> {
    let ours = VTABLE.static_as_prefix().to_raw_ptr();
    // SAFETY: only `handle` makes handles with this table, and whoever has one owns a reference to its context.
    std::ptr::eq(handle.vtable.0.to_raw_ptr(), ours).then(|| unsafe { context(handle.context) })
}

/// # Safety
///
/// `context` must come from [`handle`], and the caller own a reference to it.
unsafe fn context<'a>(context: *const ()) -> &'a Context {
    // SAFETY: by this function's contract the context is alive while the engine's reference is.
    unsafe { &*context.cast::<Context>() }
}

extern "C" fn retain(host: *const ()) {
    // SAFETY: the engine owns a reference while it calls.
    unsafe { Arc::increment_strong_count(host.cast::<Context>()) }
}

extern "C" fn release(host: *const ()) {
    // SAFETY: the engine gives up a reference that it owns.
    unsafe { Arc::decrement_strong_count(host.cast::<Context>()) }
}

extern "C" fn log(host: *const (), level: u8, text: RStr<'_>) {
    const LEVELS: [Level; 6] =
        [Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Stdout, Level::Stderr];
    let level = LEVELS.get(usize::from(level)).copied().unwrap_or(Level::Info);
    // SAFETY: the engine owns a reference while it calls.
    let host = unsafe { context(host) };
    let lines = text.lines().map(|line| (level, line.to_owned()));
    host.world.see(host.attempt, |seen| seen.logs.extend(lines));
}

extern "C" fn progress(host: *const (), fraction: f64, message: RStr<'_>) {
    // SAFETY: the engine owns a reference while it calls.
    let host = unsafe { context(host) };
    let fraction = (0.0..=1.0).contains(&fraction).then_some(fraction);
    let progress = Progress { fraction, message: message.as_str().to_owned() };
    host.world.see(host.attempt, |seen| seen.progress.push(progress));
}

extern "C" fn cancelled(host: *const ()) -> bool {
    // SAFETY: the engine owns a reference while it calls.
    let host = unsafe { context(host) };
    host.world.is_stopped(host.attempt)
}

extern "C" fn on_cancel(host: *const (), callback: Callback) {
    // SAFETY: the engine owns a reference while it calls.
    let host = unsafe { context(host) };
    host.world.on_cancel(host.attempt, callback);
}

extern "C" fn checkpoint(host: *const (), checkpoint: RStr<'_>) -> RResult<(), RString> {
    // SAFETY: the engine owns a reference while it calls.
    let host = unsafe { context(host) };
    json(checkpoint)
        .and_then(|checkpoint| host.world.checkpoint(host.attempt, checkpoint))
        .map_err(RString::from)
        .into()
}

/// An addition, or a question (see [`HostVtable::append`]).
extern "C" fn append(host: *const (), addition: RStr<'_>) -> RResult<(), RString> {
    // SAFETY: the engine owns a reference while it calls.
    let host = unsafe { context(host) };
    let appended = json(addition).and_then(|mut addition| {
        let all = addition.as_object_mut().filter(|all| all.len() == 1);
        match all.and_then(|all| all.remove("query")) {
            Some(question) => {
                let answer = host.world.query(host.attempt, question);
                Err(answer.map_or_else(|why| why, |answer| format!("{ANSWER}{answer}")))
            }
            None => host.world.append(host.attempt, addition),
        }
    });
    appended.map_err(RString::from).into()
}

extern "C" fn complete(host: *const (), end: RStr<'_>) {
    // SAFETY: the engine owns a reference while it calls.
    let host = unsafe { context(host) };
    let end = serde_json::from_str(end.as_str()).unwrap_or_else(|e| {
        let message = format!("the engine ended its task in a way that the ABI does not know: {e}");
        End::Error(Error::new(ErrorKind::Panicked, message))
    });
    host.world.complete(host.attempt, end);
}

fn json(text: RStr<'_>) -> Result<Value, String> {
    serde_json::from_str(text.as_str()).map_err(|e| format!("that is not JSON: {e}"))
}
