//! The terminal that live progress is drawn on.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use console::Term;
use indicatif::TermLike;

/// Columns that are left free: there is room for the `^C` that a terminal echoes.
const FREE: u16 = 4;

/// A terminal on which lines end where they end.
///
/// indicatif fills every line with blanks up to the terminal's edge, so that the next one begins below. A `^C` that
/// is echoed behind the last line then goes to a line of its own, which indicatif does not know of, and part of the
/// picture stays for good. Here a line is ended only once another follows.
#[derive(Debug)]
pub(super) struct Screen<T> {
    term: T,
    last: Mutex<Last>,
}

/// What was written last. indicatif writes a line in two calls: its text, then blanks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Something that is not part of a line.
    Nothing,
    /// A line's text.
    Text,
    /// The blanks after it, which were left out.
    Blanks,
}

impl Screen<Term> {
    /// Standard error. A picture is written at once, when it is flushed.
    pub(super) fn stderr() -> Self {
        Self::on(Term::buffered_stderr())
    }
}

impl<T: TermLike> Screen<T> {
    fn on(term: T) -> Self {
        Self { term, last: Mutex::new(Last::Nothing) }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: TermLike> TermLike for Screen<T> {
    fn width(&self) -> u16 {
        self.term.width()
    }

    fn height(&self) -> u16 {
        self.term.height()
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        if n > 0 {
            *self.last() = Last::Nothing;
        }
        self.term.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_left(n)
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        *self.last() = Last::Nothing;
        self.term.write_line(line)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut last = self.last();
        match *last {
            Last::Text => {
                *last = Last::Blanks;
                return Ok(());
            }
            Last::Blanks => self.term.write_line("")?,
            Last::Nothing => {}
        }
        *last = Last::Text;
        self.term.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        *self.last() = Last::Nothing;
        self.term.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.term.flush()
    }
}

/// The rows and columns of a terminal that may be drawn on.
pub(super) fn narrowed((rows, columns): (u16, u16)) -> (u16, u16) {
    (rows, columns.saturating_sub(FREE).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{InMemoryTerm, ProgressBar, ProgressDrawTarget, ProgressStyle};

    #[test]
    fn an_echoed_key_leaves_nothing_of_the_picture_behind() {
        let term = InMemoryTerm::new(10, 20);
        let target = ProgressDrawTarget::term_like(Box::new(Screen::on(term.clone())));
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap());
        bar.set_message("head\n  task");
        bar.tick();
        assert_eq!(term.contents(), "head\n  task");
        term.write_str("^C").unwrap();
        bar.println("one");
        bar.println("");
        bar.println("a line that is longer than the screen");
        assert_eq!(term.contents(), "one\n\na line that is longe\nr than the screen\nhead\n  task");
        bar.set_message("head");
        bar.tick();
        term.write_str("^C").unwrap();
        bar.finish_and_clear();
        term.write_line("done").unwrap();
        assert_eq!(term.contents(), "one\n\na line that is longe\nr than the screen\ndone");
    }
}
