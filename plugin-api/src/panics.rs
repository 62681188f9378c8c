//! Turns a panic of an engine into an error, with its place and without printing anything.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::task::{Error, ErrorKind};

thread_local! {
    /// Whether this thread is in [`catch`].
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    /// Where and why this thread panicked in [`catch`].
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `f`; a panic becomes an error of kind [`ErrorKind::Panicked`].
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Error> {
    install_hook();
    let outer = CATCHING.replace(true);
    // What `f` touches beyond its own stack is the engine, which may be half changed after a panic; it
    // goes on serving other tasks all the same, as the lesser evil.
    let result = catch_unwind(AssertUnwindSafe(f));
    CATCHING.set(outer);
    result.map_err(|_| {
        let place = PLACE.take().unwrap_or_else(|| "at an unknown place".to_owned());
        Error::new(ErrorKind::Panicked, format!("the engine panicked {place}"))
    })
}

/// Keeps the message of a panic in [`catch`] instead of printing it. An engine's library has a hook of its
/// own, so this changes nothing for the host.
fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !CATCHING.get() {
                return previous(info);
            }
            let message = info.payload_as_str().unwrap_or("without a message");
            let place = info.location().map_or_else(String::new, |l| format!("at {l}: "));
            PLACE.replace(Some(format!("{place}{message}")));
        }));
    });
}
