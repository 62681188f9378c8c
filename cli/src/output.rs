//! Standard output and standard error of commands that answer at once.
//!
//! A reader that has seen enough (`oxidag runs list | head -1`) is no error; see [`crate::failure`].

use std::io::{self, Write as _};

use serde::Serialize;

/// How wide a drawing is that goes to no terminal.
const WIDTH: usize = 100;

/// No drawing is narrower, even if lines wrap.
const NARROWEST: usize = 20;

/// Writes an answer.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes an answer as JSON for people and programs alike: indented, with a newline at its end.
pub(crate) fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}

/// Writes a remark that is not the answer. Where that cannot be written, nobody is there to be told so.
pub(crate) fn remark(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// How many columns standard output has, if it is a terminal.
pub(crate) fn terminal_width() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns))
}

/// How many columns a drawing takes.
pub(crate) fn drawing_width() -> usize {
    terminal_width().map_or(WIDTH, |columns| columns.max(NARROWEST))
}
