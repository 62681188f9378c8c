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

/// Standard output for reporters: written in large pieces, each of them whole lines, so that those of two reporters
/// do not mix. Whoever writes flushes it when nothing more is known.
pub(crate) struct WholeLines<W> {
    out: W,
    waiting: Vec<u8>,
}

/// So much is gathered before it is written.
const PIECE: usize = 64 * 1024;

impl WholeLines<io::Stdout> {
    pub(crate) fn stdout() -> Self {
        Self { out: io::stdout(), waiting: Vec::new() }
    }
}

impl<W: io::Write> io::Write for WholeLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PIECE {
            self.write_lines()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_lines()?;
        self.out.flush()
    }
}

impl<W: io::Write> WholeLines<W> {
    fn write_lines(&mut self) -> io::Result<()> {
        let Some(last) = self.waiting.iter().rposition(|&byte| byte == b'\n') else { return Ok(()) };
        // What was not written after an error is not tried again.
        let lines: Vec<u8> = self.waiting.drain(..=last).collect();
        self.out.write_all(&lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_written() {
        let mut lines = WholeLines { out: Vec::new(), waiting: Vec::new() };
        lines.write_all(b"one\ntw").unwrap();
        lines.flush().unwrap();
        assert_eq!(lines.out, b"one\n");
        lines.write_all(b"o\n").unwrap();
        assert_eq!(lines.out, b"one\n", "gathered until it is flushed or much");
        lines.write_all(&[b'x'; PIECE]).unwrap();
        assert_eq!(lines.out, b"one\ntwo\n");
    }
}
