//! The socket by which oxidag talks to a process of its own that an engine is in. It is given as standard input.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::net::SocketType;

/// Takes the socket, so that neither the engine nor what it starts finds it there: standard input is empty from now on. Nothing
/// where standard input is no such socket.
///
/// # Errors
///
/// The system's.
pub(crate) fn take() -> io::Result<Option<UnixStream>> {
    let stdin = io::stdin();
    if rustix::net::sockopt::socket_type(&stdin) != Ok(SocketType::STREAM) {
        return Ok(None);
    }
    let socket: OwnedFd = rustix::io::fcntl_dupfd_cloexec(&stdin, 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(Some(UnixStream::from(socket)))
}
