//! What a library writes to standard output and standard error, line by line. Whose log a line is for is decided elsewhere.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};

use oxidag_plugin_api::Level;

/// A line that is longer is taken apart.
const LONGEST: u64 = 16 * 1024;
/// So many lines are remembered.
const REMEMBERED: usize = 20;
/// So many of standard error stand in an error, each at most so long in characters.
const QUOTED: usize = 5;
const QUOTED_CHARS: usize = 300;

/// Calls back for each line until the stream ends. Bytes that are not UTF-8 are replaced.
pub(super) fn each_line(stream: impl Read, mut tell: impl FnMut(String)) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A stream that cannot be read has nothing more to say.
        match reader.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => tell(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned()),
        }
    }
}

/// The last lines that a child wrote.
#[derive(Debug, Default)]
pub(super) struct Words {
    errors: VecDeque<String>,
    /// Those for which there was no attempt yet.
    unheard: VecDeque<(Level, String)>,
}

impl Words {
    /// Remembers a line, for errors.
    pub(super) fn add(&mut self, level: Level, line: &str) {
        if level == Level::Stderr && !line.trim().is_empty() && !is_backtrace(line) {
            push(&mut self.errors, line.to_owned());
        }
    }

    /// Remembers a line for the next attempt.
    pub(super) fn keep(&mut self, level: Level, line: String) {
        push(&mut self.unheard, (level, line));
    }

    /// The lines for the next attempt.
    pub(super) fn take_unheard(&mut self) -> impl Iterator<Item = (Level, String)> + use<> {
        std::mem::take(&mut self.unheard).into_iter()
    }

    /// The last lines of standard error, for an error; nothing where there are none.
    pub(super) fn last(&self) -> Option<String> {
        let first = self.errors.len().saturating_sub(QUOTED);
        let short = |line: &String| line.chars().take(QUOTED_CHARS).collect::<String>();
        let lines: Vec<String> = self.errors.iter().skip(first).map(short).collect();
        Some(lines.join("\n")).filter(|lines| !lines.is_empty())
    }
}

/// Of Rust, whose message stands before it.
fn is_backtrace(line: &str) -> bool {
    let text = line.trim_start();
    let is_frame = || text.split_once(": ").is_some_and(|(n, _)| n.parse::<u32>().is_ok());
    text == "stack backtrace:"
        || text.starts_with("note: ")
        || (text.len() < line.len() && (text.starts_with("at ") || is_frame()))
}

fn push<T>(lines: &mut VecDeque<T>, line: T) {
    if lines.len() == REMEMBERED {
        lines.pop_front();
    }
    lines.push_back(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_as_they_are_and_long_ones_apart() {
        let mut text = b"one\r\n\xff\n\n".to_vec();
        text.extend([b'x'; 20_000]);
        let mut lines = Vec::new();
        each_line(&text[..], |line| lines.push(line));
        assert_eq!(lines[..3], ["one", "\u{fffd}", ""]);
        assert_eq!(lines[3..].iter().map(String::len).collect::<Vec<_>>(), [16_384, 3_616]);
    }

    #[test]
    fn an_error_has_the_last_lines_of_standard_error() {
        let mut words = Words::default();
        assert_eq!(words.last(), None);
        words.add(Level::Stdout, "out");
        (0..100).for_each(|n| words.add(Level::Stderr, &format!("line {n}")));
        words.add(Level::Stderr, &"x".repeat(1_000));
        ["stack backtrace:", "   0: main", "             at ./main.c:1", "note: more"]
            .iter()
            .for_each(|line| words.add(Level::Stderr, line));
        let last = words.last().unwrap();
        assert!(last.starts_with("line 96\nline 97\nline 98\nline 99\nx"), "{last}");
        assert_eq!(last.lines().last().unwrap().len(), QUOTED_CHARS);
    }
}
