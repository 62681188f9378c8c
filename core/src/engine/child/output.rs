//! What a library writes to standard output and standard error, line by line. Whose log a line is for is decided elsewhere.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use crate::secrets::Masker;
use oxidag_plugin_api::Level;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio, read};

/// So often a stream is read in a row. A pipe holds 16 times as much as is read at once.
const READS: usize = 64;

/// A line that is longer is taken apart.
const LONGEST: usize = 16 * 1024;
/// So many lines are remembered.
const REMEMBERED: usize = 20;
/// So many of standard error stand in an error, each at most so long in characters.
const QUOTED: usize = 5;
const QUOTED_CHARS: usize = 300;

/// The end of a pipe that a library writes to.
#[derive(Debug)]
pub(super) struct Stream {
    pipe: OwnedFd,
    level: Level,
    /// What has no line feed yet.
    line: Vec<u8>,
    is_open: bool,
}

impl Stream {
    /// # Errors
    ///
    /// The pipe cannot be read without waiting.
    pub(super) fn new(pipe: OwnedFd, level: Level) -> std::io::Result<Self> {
        ioctl_fionbio(&pipe, true)?;
        Ok(Self { pipe, level, line: Vec::new(), is_open: true })
    }

    /// The pipe, to wait for.
    pub(super) fn pipe(&self) -> std::io::Result<OwnedFd> {
        self.pipe.try_clone()
    }

    /// Calls back for each line that is there, up to some: others want to be heard too. Whether there may be more.
    pub(super) fn read(&mut self, tell: &mut impl FnMut(Level, String)) -> bool {
        let mut bytes = [0; 4096];
        for _ in 0..READS {
            if !self.is_open {
                break;
            }
            match read(&self.pipe, &mut bytes) {
                Ok(0) => self.is_open = false,
                Ok(length) => self.take(&bytes[..length], tell),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                // A stream that cannot be read has nothing more to say.
                Err(_) => self.is_open = false,
            }
        }
        if self.is_open {
            return true;
        }
        self.tell_rest(tell);
        false
    }

    /// Calls back for all that is there, a line without an end too. Whether others may write more.
    pub(super) fn read_to_here(&mut self, tell: &mut impl FnMut(Level, String)) -> bool {
        // It reads more than a pipe holds.
        let is_open = self.read(tell);
        self.tell_rest(tell);
        is_open
    }

    fn take(&mut self, bytes: &[u8], tell: &mut impl FnMut(Level, String)) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") || self.line.len() >= LONGEST {
                self.tell_rest(tell);
            }
        }
    }

    /// Bytes that are not UTF-8 are replaced.
    fn tell_rest(&mut self, tell: &mut impl FnMut(Level, String)) {
        if !self.line.is_empty() {
            let line = String::from_utf8_lossy(&self.line);
            tell(self.level, line.trim_end_matches(['\n', '\r']).to_owned());
            self.line.clear();
        }
    }
}

/// Waits until there is something to read in one of these.
pub(super) fn wait(pipes: &[OwnedFd]) {
    let mut pipes: Vec<PollFd<'_>> = pipes.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
    // An interruption is a reason to look, too.
    let _ = poll(&mut pipes, None);
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
    pub(super) fn last(&self, masker: &Masker) -> Option<String> {
        let first = self.errors.len().saturating_sub(QUOTED);
        // A secret that is cut would not be found.
        let short = |line: &String| masker.mask(line).chars().take(QUOTED_CHARS).collect::<String>();
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
        let (ours, theirs) = rustix::pipe::pipe().unwrap();
        let mut stream = Stream::new(ours, Level::Stdout).unwrap();
        let mut lines = Vec::new();
        let mut tell = |_, line| lines.push(line);
        assert!(stream.read(&mut tell), "nothing is there yet");
        rustix::io::write(&theirs, b"one\r\n\xff\n\nrest").unwrap();
        assert!(stream.read(&mut tell));
        rustix::io::write(&theirs, &[b'x'; 20_000]).unwrap();
        drop(theirs);
        assert!(!stream.read(&mut tell));
        assert_eq!(lines[..3], ["one", "\u{fffd}", ""]);
        assert!(lines[3].starts_with("restx"));
        assert_eq!(lines[3..].iter().map(String::len).sum::<usize>(), 20_004);
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn what_is_there_is_read_to_its_end_though_others_have_the_pipe_open() {
        let (ours, theirs) = rustix::pipe::pipe().unwrap();
        let mut stream = Stream::new(ours, Level::Stderr).unwrap();
        // As much as there is room for.
        let capacity = rustix::pipe::fcntl_getpipe_size(&theirs).unwrap();
        let text = [vec![b'x'; capacity - 10], b"\nlast word".to_vec()].concat();
        assert_eq!(rustix::io::write(&theirs, &text), Ok(capacity));
        let mut last = String::new();
        assert!(stream.read_to_here(&mut |_, line| last = line));
        assert_eq!(last, "last word");
    }

    #[test]
    fn an_error_has_the_last_lines_of_standard_error() {
        let mut words = Words::default();
        assert_eq!(words.last(&Masker::default()), None);
        words.add(Level::Stdout, "out");
        (0..100).for_each(|n| words.add(Level::Stderr, &format!("line {n}")));
        words.add(Level::Stderr, &"x".repeat(1_000));
        ["stack backtrace:", "   0: main", "             at ./main.c:1", "note: more"]
            .iter()
            .for_each(|line| words.add(Level::Stderr, line));
        let last = words.last(&Masker::default()).unwrap();
        assert!(last.starts_with("line 96\nline 97\nline 98\nline 99\nx"), "{last}");
        assert_eq!(last.lines().last().unwrap().len(), QUOTED_CHARS);
    }
}
