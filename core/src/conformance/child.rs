//! The process of a check: reads what to check from the socket in the place of standard input, makes the check, tells.

use std::io::{self, BufRead as _, BufReader};

use super::checks;
use super::wire::{Reply, Request, send};
use crate::stdin_socket;

/// Makes the check that standard input asks for.
///
/// # Errors
///
/// When standard input is not the kit's, or the kit is gone.
pub fn serve() -> io::Result<()> {
    let socket = stdin_socket::take()?.ok_or_else(|| io::Error::other("standard input is not the kit's"))?;
    let mut line = String::new();
    BufReader::new(&socket).read_line(&mut line)?;
    let request: Request = serde_json::from_str(&line)?;
    let verdict = checks::make(&request, &socket);
    send(&socket, &Reply::Verdict(verdict))
}
