//! The checks. Each is a function that calls the engine and says what it saw: `Ok` if the rule is kept.

mod crashing;
mod creating;
mod malformed;
mod many;
mod panicking;
mod running;
mod stopping;

use std::os::unix::net::UnixStream;

use super::session::Session;
use super::wire::Request;
use super::{Check, Verdict};

/// What was seen, or the verdict that it led to.
type Checked = Result<String, Verdict>;

/// Makes a check.
pub(super) fn make(request: &Request, socket: &UnixStream) -> Verdict {
    let checked = match request.check {
        Check::Handshake => creating::handshake(request),
        Check::Schema => creating::schema(request),
        Check::Create => creating::create(request),
        Check::ConfigRefused => creating::config_refused(request),
        Check::Malformed => malformed::malformed(request),
        Check::Validate => with(request, running::validate),
        Check::Success => with(request, running::success),
        Check::Failure => with(request, running::failure),
        Check::SameKey => with(request, running::same_key),
        Check::CrashBeforeCheckpoint => with(request, |session| crashing::before(session, socket)),
        Check::CrashAfterCheckpoint => with(request, |session| crashing::after(session, socket)),
        Check::CancelBefore => with(request, stopping::before),
        Check::CancelDuring => with(request, stopping::during),
        Check::CancelAfter => with(request, stopping::after),
        Check::Deadline => with(request, stopping::deadline),
        Check::PanicCreate => panicking::create(request),
        Check::PanicBlocks => with(request, panicking::blocks),
        Check::PanicValidate => with(request, panicking::validate),
        Check::PanicTask => with(request, panicking::task),
        Check::PanicCancel => with(request, panicking::cancel),
        Check::PanicDestroy => panicking::destroy(request),
        Check::Completion => with(request, running::completion),
        Check::LargeParameters => with(request, many::large),
        Check::NonAscii => with(request, many::non_ascii),
        Check::Concurrent => with(request, many::concurrent),
        Check::Threads => many::threads(request),
        // The kit sees it in what all the others wrote; a task of its own is for who asks for nothing else.
        Check::Stdout => with(request, |session| session.works().map(|()| "nothing was written".to_owned())),
    };
    checked.map_or_else(|verdict| verdict, Verdict::passed)
}

/// A check with an engine, which is destroyed before anything is told.
fn with(request: &Request, check: impl FnOnce(&Session<'_>) -> Checked) -> Checked {
    let session = Session::new(request)?;
    check(&session)
}
