//! A job's output as lines: from bytes that come in pieces, and the last of them for an error.

use std::collections::VecDeque;

/// The longest line, in bytes; a longer one is cut into pieces.
const LONGEST: usize = 64 * 1024;

/// How many lines of its end say why a job failed, and how long each may be, in characters.
const TAIL: (usize, usize) = (20, 400);

/// The part of a stream that is not a whole line yet.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes a piece, and gives the lines that are now whole.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let mut lines = Vec::new();
        let mut start = 0;
        while let Some(end) = self.rest[start..].iter().position(|&byte| byte == b'\n') {
            pieces(&self.rest[start..start + end], &mut lines);
            start += end + 1;
        }
        self.rest.drain(..start);
        if self.rest.len() > LONGEST {
            pieces(&std::mem::take(&mut self.rest), &mut lines);
        }
        lines
    }

    /// The last line, when the stream ended without a line feed.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| shown(&rest))
    }
}

fn pieces(line: &[u8], lines: &mut Vec<String>) {
    if line.is_empty() {
        lines.push(String::new());
    }
    lines.extend(line.chunks(LONGEST).map(shown));
}

/// What a terminal would show of a line: what follows its last carriage return.
fn shown(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let last = line.rsplit(|&byte| byte == b'\r').next().unwrap_or_default();
    String::from_utf8_lossy(last).into_owned()
}

/// The end of an output.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    lines: VecDeque<String>,
}

impl Tail {
    /// Adds a line, unless it tells little: after an exception Spark goes on saying how it ends, and a stack of Java's
    /// is longer than all that leads to it.
    pub(crate) fn add(&mut self, line: &str) {
        let by_spark = line.starts_with(|c: char| c.is_ascii_digit()) && line.contains(" INFO ");
        let frame = line.starts_with("\tat ") || line.starts_with("\t... ");
        if line.trim().is_empty() || by_spark || frame {
            return;
        }
        if self.lines.len() == TAIL.0 {
            self.lines.pop_front();
        }
        // The host masks what is left of a secret before an ellipsis.
        self.lines.push_back(match line.char_indices().nth(TAIL.1) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line.to_owned(),
        });
    }

    /// For the end of a message; nothing where there was no output.
    pub(crate) fn told(&self) -> String {
        if self.lines.is_empty() {
            return String::new();
        }
        let lines: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        format!("; the end of its output:\n{}", lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_were_read() {
        for cut in 0..12 {
            let text = "é1\r\nb\rc\n\nend".as_bytes();
            let mut lines = Lines::default();
            let mut all = lines.push(&text[..cut]);
            all.extend(lines.push(&text[cut..]));
            all.extend(lines.finish());
            assert_eq!(all, ["é1", "c", "", "end"], "cut at {cut}");
        }
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut lines = Lines::default();
        assert!(lines.push(&[b'x'; LONGEST]).is_empty());
        assert_eq!(lines.push(b"y").iter().map(String::len).collect::<Vec<_>>(), [LONGEST, 1]);
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn the_tail_is_what_the_script_said_last() {
        let mut tail = Tail::default();
        assert_eq!(tail.told(), "");
        (0..30).for_each(|n| tail.add(&format!("line {n}")));
        tail.add("ValueError: no such column");
        tail.add("\tat org.apache.spark.sql.classic.Dataset$.ofRows(Dataset.scala:111)");
        tail.add("\t... 11 more");
        tail.add("24/05/01 10:00:00 INFO ShutdownHookManager: Shutdown hook called");
        let told = tail.told();
        assert!(told.ends_with("\nline 29\nValueError: no such column"), "{told}");
        assert!(told.starts_with("; the end of its output:\nline 11\n"), "{told}");
    }
}
