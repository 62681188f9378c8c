//! Splits a stream of bytes into lines of text for a log.
//!
//! Knows neither pipes nor logs. Its memory is bounded whatever comes: a line that grows too long is cut.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest line, in bytes; a longer one is cut into pieces.
pub(crate) const LONGEST: usize = 64 * 1024;

/// How often a line that is written over and over, as progress bars are, is shown before it ends.
const SHOW_EVERY: Duration = Duration::from_secs(10);

/// The part of a stream that is not a whole line yet.
#[derive(Debug)]
pub(crate) struct Lines {
    line: Vec<u8>,
    /// The last byte was a carriage return: what follows, unless it is the line's end, replaces the line.
    returned: bool,
    /// When a line was last given out.
    shown: Instant,
    /// Texts that no cut may go through.
    secrets: Arc<[Vec<u8>]>,
}

impl Lines {
    pub(crate) fn new(now: Instant) -> Self {
        Self { line: Vec::new(), returned: false, shown: now, secrets: Arc::default() }
    }

    /// From now on no line is cut within one of these: half a secret is not recognised as one.
    pub(crate) fn keep_whole(&mut self, secrets: Arc<[Vec<u8>]>) {
        self.secrets = secrets;
    }

    /// Takes what was read, and gives the lines that are now whole, each with its line feed.
    ///
    /// A carriage return inside a line starts it over, as on a terminal.
    pub(crate) fn push(&mut self, bytes: &[u8], now: Instant) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.line.len() + bytes.len());
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.extend(&rest[..end], now, &mut whole);
            self.end(&mut whole);
            rest = &rest[end + 1..];
        }
        self.extend(rest, now, &mut whole);
        if !whole.is_empty() {
            self.shown = now;
        }
        whole
    }

    /// The last line, when the stream ended without a line feed.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        if !self.line.is_empty() {
            self.end(&mut whole);
        }
        whole
    }

    /// Adds bytes without a line feed to the line.
    fn extend(&mut self, bytes: &[u8], now: Instant, whole: &mut Vec<u8>) {
        for (i, part) in bytes.split(|&byte| byte == b'\r').enumerate() {
            self.returned |= i > 0;
            if part.is_empty() {
                continue;
            }
            if self.returned {
                if now.duration_since(self.shown) >= SHOW_EVERY && whole.is_empty() {
                    self.end(whole);
                }
                self.line.clear();
                self.returned = false;
            }
            self.append(part, whole);
        }
    }

    /// Adds bytes without a line feed or carriage return, cutting the line where it grows too long.
    fn append(&mut self, mut part: &[u8], whole: &mut Vec<u8>) {
        // So much more than the longest line shows whether a secret lies across the cut.
        let limit = LONGEST + self.secrets.iter().map(Vec::len).max().unwrap_or(0).max(1);
        while self.line.len() + part.len() > limit {
            let (now, later) = part.split_at(limit - self.line.len());
            self.line.extend_from_slice(now);
            self.cut(whole);
            part = later;
        }
        self.line.extend_from_slice(part);
    }

    fn end(&mut self, whole: &mut Vec<u8>) {
        while self.line.len() > LONGEST {
            self.cut(whole);
        }
        whole.append(&mut self.line);
        whole.push(b'\n');
        self.returned = false;
    }

    /// Gives out the beginning of a line that is longer than the longest.
    fn cut(&mut self, whole: &mut Vec<u8>) {
        let mut at = character_start(&self.line[..LONGEST], self.line[LONGEST]);
        for secret in self.secrets.iter() {
            let from = at.saturating_sub(secret.len() - 1);
            let to = (at + secret.len() - 1).min(self.line.len());
            if let Some(place) = memchr::memmem::find(&self.line[from..to], secret) {
                at = from + place;
            }
        }
        whole.extend(self.line.drain(..at));
        whole.push(b'\n');
    }
}

/// The secrets that a cut may have to spare: none that is empty, none that fills a line.
pub(crate) fn secrets<'a>(values: impl Iterator<Item = &'a str>) -> Arc<[Vec<u8>]> {
    let texts = values.map(str::trim).filter(|text| (1..LONGEST / 2).contains(&text.len()));
    texts.map(|text| text.as_bytes().to_vec()).collect()
}

/// Where to cut `line`, which `next` follows, so that no character of UTF-8 is torn.
fn character_start(line: &[u8], next: u8) -> usize {
    let continues = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
    if !continues(next) {
        return line.len();
    }
    let tail = line.len().saturating_sub(3)..line.len();
    tail.rev().find(|&i| !continues(line[i])).unwrap_or(line.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lines of a stream that is read in these pieces, all at the same instant.
    fn split(pieces: &[&[u8]]) -> Vec<String> {
        let now = Instant::now();
        let mut lines = Lines::new(now);
        let mut whole: Vec<u8> = pieces.iter().flat_map(|piece| lines.push(piece, now)).collect();
        whole.extend(lines.finish());
        String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_come_whole_however_they_were_read() {
        assert_eq!(split(&[b"a\nb", b"c\n\nd"]), ["a", "bc", "", "d"]);
        assert_eq!(split(&[b"a\r", b"\nb\r\n"]), ["a", "b"]);
    }

    #[test]
    fn of_a_progress_bar_what_a_terminal_would_show_remains() {
        assert_eq!(split(&[b"10%\r20", b"%\r", b"100%\r\ndone\r"]), ["100%", "done"]);
    }

    #[test]
    fn a_long_running_progress_bar_is_shown_now_and_then() {
        let start = Instant::now();
        let mut lines = Lines::new(start);
        let mut at = |seconds, bytes: &[u8]| lines.push(bytes, start + Duration::from_secs(seconds));
        assert_eq!(at(1, b"1%\r"), b"");
        assert_eq!(at(9, b"2%\r"), b"");
        assert_eq!(at(11, b"3%\r"), b"2%\n");
        assert_eq!(at(12, b"4%\r"), b"");
        assert_eq!(at(22, b"5%\n"), b"4%\n5%\n");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_characters() {
        let long = format!("x{}", "é".repeat(LONGEST / 2));
        let lines = split(&[long.as_bytes(), b"!\n"]);
        assert_eq!(lines.concat(), format!("{long}!"));
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LONGEST - 1, 3]);
        assert_eq!(split(&[&vec![b'x'; 3 * LONGEST]]).len(), 3);
    }

    #[test]
    fn a_long_line_is_not_cut_within_a_secret() {
        for before in (LONGEST - 10)..=LONGEST {
            let mut lines = Lines::new(Instant::now());
            lines.keep_whole(secrets(["s3cret", ""].into_iter()));
            let text = format!("{}s3cret{}", "x".repeat(before), "y".repeat(LONGEST));
            let mut whole: Vec<u8> =
                text.as_bytes().chunks(1000).flat_map(|c| lines.push(c, Instant::now())).collect();
            whole.extend(lines.finish());
            let whole = String::from_utf8(whole).unwrap();
            assert!(whole.lines().all(|line| line.len() <= LONGEST));
            assert!(whole.contains("s3cret"), "cut after {before} bytes");
            assert_eq!(whole.replace('\n', ""), text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_never_stop_the_cutting() {
        let lines = split(&[&vec![0x80; 2 * LONGEST + 1]]);
        assert_eq!(lines.len(), 3);
    }

    proptest! {
        #[test]
        fn the_pieces_of_reading_do_not_matter(text in "[ab\r\né]{0,40}", cut in 0usize..40) {
            let bytes = text.as_bytes();
            let (before, after) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(split(&[bytes]), split(&[before, after]));
        }
    }
}
