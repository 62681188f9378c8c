//! The process of a check: reads what to check from the socket in the place of standard input, makes the check, tells.

use std::io::{self, BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use super::checks;
use super::wire::{Reply, Request, send};

/// Makes the check that standard input asks for.
///
/// # Errors
///
/// When standard input is not the kit's, or the kit is gone.
pub fn serve() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut line = String::new();
    BufReader::new(&socket).read_line(&mut line)?;
    let request: Request = serde_json::from_str(&line)?;
    let verdict = checks::make(&request, &socket);
    send(&socket, &Reply::Verdict(verdict))
}
