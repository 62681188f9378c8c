//! The text of a file, and places in it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A range of bytes in a [`SourceFile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// The span of these bytes.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        let narrow = |byte| u32::try_from(byte).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(end) }
    }
}

/// A file as read, for messages that point into it.
#[derive(Debug, Clone)]
pub struct SourceFile {
    path: PathBuf,
    text: String,
    /// Where each line starts; found when the first message asks.
    line_starts: OnceLock<Vec<u32>>,
}

impl SourceFile {
    /// A file's text under the name by which the user knows it. A byte order mark is dropped.
    #[must_use]
    pub fn new(path: PathBuf, mut text: String) -> Self {
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Self { path, text, line_starts: OnceLock::new() }
    }

    /// The path as the user gave it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line of a byte, from 1.
    #[must_use]
    pub fn line(&self, byte: u32) -> usize {
        self.line_starts().partition_point(|&start| start <= byte)
    }

    /// The first byte of a line.
    #[must_use]
    pub fn line_start(&self, line: usize) -> u32 {
        let starts = self.line_starts();
        starts[line.clamp(1, starts.len()) - 1]
    }

    /// Line and column of a byte, both from 1, the column counted in characters.
    #[must_use]
    pub fn line_column(&self, byte: u32) -> (usize, usize) {
        let line = self.line(byte);
        let start = self.line_start(line) as usize;
        let end = self.character(byte);
        (line, self.text[start..end].chars().count() + 1)
    }

    /// The place of a part of a text which stands at this place, after a quote or not; where it does not stand
    /// there as it is, the whole place.
    pub(super) fn within(&self, span: Span, text: &str, part: Range<usize>) -> Span {
        let start = span.start as usize;
        let stands_at = |at: usize| self.text.get(at..at + text.len()) == Some(text);
        match [start + 1, start].into_iter().find(|&at| stands_at(at)) {
            Some(at) => Span::new(at + part.start, at + part.end),
            None => span,
        }
    }

    /// Where the character that holds this byte begins; the text's end for what is beyond it.
    pub(super) fn character(&self, byte: u32) -> usize {
        let byte = (byte as usize).min(self.text.len());
        let boundary = |at: &usize| self.text.is_char_boundary(*at);
        (0..=byte).rev().find(boundary).unwrap_or_default()
    }

    fn line_starts(&self) -> &[u32] {
        self.line_starts.get_or_init(|| {
            let newlines = self.text.bytes().enumerate().filter(|&(_, b)| b == b'\n');
            std::iter::once(0).chain(newlines.map(|(at, _)| Span::new(at + 1, at + 1).start)).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_counts_characters_and_a_line_starts_after_its_newline() {
        let source = SourceFile::new("a".into(), "\u{feff}äb\nc\n".to_owned());
        assert_eq!(source.line_column(0), (1, 1));
        assert_eq!(source.line_column(2), (1, 2));
        assert_eq!(source.line_column(3), (1, 3));
        assert_eq!(source.line_column(4), (2, 1));
        assert_eq!(source.line_column(6), (3, 1));
        assert_eq!(source.line_column(600), (3, 1));
    }
}
