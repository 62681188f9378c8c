//! What is new in a log of Livy.
//!
//! Livy tells the last lines of standard output, then those of standard error, then what YARN says, each under a
//! heading. Each part grows by itself and forgets its first lines when it grows too long, so numbers of lines mean
//! nothing: what is new is what follows the longest overlap with what was there before.

/// The headings of Livy's parts.
const HEADINGS: [&str; 3] = ["stdout: ", "stderr: ", "YARN Diagnostics: "];

/// What has been seen of a log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    parts: [Vec<String>; HEADINGS.len()],
}

impl Log {
    /// The lines that were not there before.
    pub(crate) fn new_lines(&mut self, log: Vec<String>) -> Vec<String> {
        let mut new = Vec::new();
        for (seen, now) in self.parts.iter_mut().zip(split(log)) {
            new.extend_from_slice(&now[overlap(seen, &now)..]);
            *seen = now;
        }
        new
    }
}

/// A log's parts. A heading comes with a line feed before it, or as lines of its own.
fn split(log: Vec<String>) -> [Vec<String>; HEADINGS.len()] {
    let mut parts: [Vec<String>; HEADINGS.len()] = Default::default();
    let mut part = 0;
    for line in log.iter().flat_map(|text| text.split('\n')) {
        // A script may print a heading too: only the next one is one.
        match HEADINGS.iter().skip(part).position(|heading| heading.trim_end() == line.trim_end()) {
            Some(ahead) => part += ahead,
            None => parts[part].push(line.to_owned()),
        }
    }
    // The line feed before a heading leaves an empty line.
    for part in &mut parts {
        if part.last().is_some_and(String::is_empty) {
            part.pop();
        }
    }
    parts
}

/// How many lines at the beginning of `now` were at the end of `seen`.
fn overlap(seen: &[String], now: &[String]) -> usize {
    let longest = seen.len().min(now.len());
    (0..=longest).rev().find(|&length| seen[seen.len() - length..] == now[..length]).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn parts_grow_by_themselves() {
        let mut log = Log::default();
        let first = lines(&["stdout: ", "a", "\nstderr: ", "e", "\nYARN Diagnostics: "]);
        assert_eq!(log.new_lines(first.clone()), ["a", "e"]);
        assert!(log.new_lines(first).is_empty());
        let grown = lines(&["stdout: ", "a", "b", "\nstderr: ", "e", "f", "\nYARN Diagnostics: ", "y"]);
        assert_eq!(log.new_lines(grown), ["b", "f", "y"]);
    }

    #[test]
    fn a_part_forgets_its_first_lines() {
        let mut log = Log::default();
        assert_eq!(log.new_lines(lines(&["stdout: ", "1", "2", "3"])), ["1", "2", "3"]);
        assert_eq!(log.new_lines(lines(&["stdout: ", "3", "4", "5"])), ["4", "5"]);
        assert_eq!(log.new_lines(lines(&["stdout: ", "7", "8", "9"])), ["7", "8", "9"], "one was never seen");
    }

    #[test]
    fn lines_that_repeat_are_not_lost() {
        let mut log = Log::default();
        assert_eq!(log.new_lines(lines(&["stdout: ", "x", "x"])), ["x", "x"]);
        assert_eq!(log.new_lines(lines(&["stdout: ", "x", "x", "x"])), ["x"]);
    }

    #[test]
    fn what_livy_tells_without_headings_is_told_too() {
        assert_eq!(Log::default().new_lines(lines(&["a", "b"])), ["a", "b"]);
    }
}
