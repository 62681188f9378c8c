//! How far the fetching of scripts is, on a terminal and only where it takes long.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oxidag_core::scripts::Progress;

/// Fetching that is over by then is not worth a word.
const PATIENCE: Duration = Duration::from_millis(500);

/// A line that is gone once everything is there.
#[derive(Debug)]
pub(crate) struct Fetching {
    since: Instant,
    line: Option<ProgressBar>,
}

impl Fetching {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), line: None }
    }

    /// Takes note of how far it is.
    pub(crate) fn tell(&mut self, Progress { done, total }: Progress) {
        if self.since.elapsed() < PATIENCE {
            return;
        }
        let line = self.line.get_or_insert_with(|| start(total));
        line.set_position(done as u64);
        line.tick();
    }
}

/// Nothing is drawn where standard error is no terminal.
fn start(total: usize) -> ProgressBar {
    let line = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{pos} of {len} scripts fetched") {
        Ok(style) => line.with_style(style),
        Err(_) => line,
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}
