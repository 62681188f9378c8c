//! Colours: one palette for all that people read, and one place that decides whether there are any.

use std::fmt;

use anstyle::{AnsiColor, Style};
use oxidag_core::state::{RunState, TaskState};

/// The colours of one stream, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Palette {
    coloured: bool,
}

impl Palette {
    /// For standard output: as `NO_COLOR`, `CLICOLOR_FORCE` and `TERM` ask, and whether it is a terminal.
    pub(crate) fn stdout() -> Self {
        Self::of(anstream::AutoStream::choice(&std::io::stdout()))
    }

    /// The same for standard error.
    pub(crate) fn stderr() -> Self {
        Self::of(anstream::AutoStream::choice(&std::io::stderr()))
    }

    fn of(choice: anstream::ColorChoice) -> Self {
        Self { coloured: choice != anstream::ColorChoice::Never }
    }

    /// Without colours.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { coloured: false };

    /// With colours.
    #[cfg(test)]
    pub(crate) const COLOURED: Self = Self { coloured: true };

    /// Whether there are colours.
    pub(crate) fn is_coloured(self) -> bool {
        self.coloured
    }

    /// What matters.
    pub(crate) fn strong<T>(self, text: T) -> Painted<T> {
        self.paint(Style::new().bold(), text)
    }

    /// What matters less.
    pub(crate) fn faint<T>(self, text: T) -> Painted<T> {
        self.paint(Style::new().dimmed(), text)
    }

    /// What is wrong.
    pub(crate) fn error<T>(self, text: T) -> Painted<T> {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    /// What may be wrong.
    pub(crate) fn warning<T>(self, text: T) -> Painted<T> {
        self.paint(AnsiColor::Yellow.on_default().bold(), text)
    }

    /// In the colour of a task's state.
    pub(crate) fn task<T>(self, state: TaskState, text: T) -> Painted<T> {
        self.paint(task_style(state), text)
    }

    /// In the colour of a run's state.
    pub(crate) fn run<T>(self, state: RunState, text: T) -> Painted<T> {
        let state = match state {
            RunState::Running => TaskState::Running,
            RunState::Success => TaskState::Success,
            RunState::Failed => TaskState::Failed,
            RunState::Cancelled => TaskState::Cancelled,
        };
        self.task(state, text)
    }

    fn paint<T>(self, style: Style, text: T) -> Painted<T> {
        Painted { style: if self.coloured { style } else { Style::new() }, text }
    }
}

fn task_style(state: TaskState) -> Style {
    match state {
        TaskState::None | TaskState::Scheduled | TaskState::Waiting | TaskState::Skipped => {
            Style::new().dimmed()
        }
        TaskState::Running => AnsiColor::Cyan.on_default(),
        TaskState::Deferred => AnsiColor::Blue.on_default(),
        TaskState::UpForRetry | TaskState::UpstreamFailed => AnsiColor::Yellow.on_default(),
        TaskState::Success => AnsiColor::Green.on_default(),
        TaskState::Failed => AnsiColor::Red.on_default(),
        TaskState::Cancelled => AnsiColor::Magenta.on_default(),
    }
}

/// Text in a style; padding counts the text alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Painted<T> {
    style: Style,
    text: T,
}

impl Painted<String> {
    /// Text without a style.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { style: Style::new(), text: text.into() }
    }

    /// How many columns the text takes.
    pub(crate) fn width(&self) -> usize {
        console::measure_text_width(&self.text)
    }

    /// The same style with the text cut to so many columns.
    pub(crate) fn shortened(&self, columns: usize) -> Self {
        Self { style: self.style, text: crate::format::shorten(&self.text, columns) }
    }
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.style.render())?;
        self.text.fmt(f)?;
        write!(f, "{}", self.style.render_reset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_counts_the_text_alone() {
        assert_eq!(format!("{:<6}|", Palette::PLAIN.strong("ab")), "ab    |");
        assert_eq!(format!("{:<6}|", Palette::COLOURED.strong("ab")), "\x1b[1mab    \x1b[0m|");
    }
}
