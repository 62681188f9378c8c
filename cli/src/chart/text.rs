//! A chart as lines of text, for terminals of any width.

use std::fmt::Write as _;

use super::{Bar, Chart, Row};
use crate::format::{seconds, shorten};
use crate::style::Palette;

/// Bars are not drawn narrower for the sake of the notes behind them.
const NARROWEST: usize = 16;

impl Chart {
    /// The chart in so many columns.
    pub(crate) fn text(&self, width: usize, palette: Palette) -> String {
        let columns = Columns::new(self, width);
        let mut text = format!("{}\n", palette.strong(shorten(&self.title, width)));
        // Writing into a string does not fail.
        let _ = writeln!(text, "{}", palette.faint(columns.axis(self)));
        for row in &self.rows {
            let _ = writeln!(text, "{}", columns.row(row, self.end, palette));
        }
        text
    }
}

/// How wide each part of a line is.
struct Columns {
    label: usize,
    bars: usize,
    note: usize,
}

impl Columns {
    fn new(chart: &Chart, width: usize) -> Self {
        let widest = |of: fn(&Row) -> &str| {
            chart.rows.iter().map(|row| console::measure_text_width(of(row))).max().unwrap_or_default()
        };
        let label = widest(|row| &row.label).min(width / 3);
        let note = widest(|row| &row.note).max(chart.head.len());
        // A blank between two parts, and none at the end.
        let bars = width.saturating_sub(label + 1 + note + 1);
        if bars >= NARROWEST {
            Self { label, bars, note }
        } else {
            Self { label, bars: width.saturating_sub(label + 1).max(1), note: 0 }
        }
    }

    fn axis(&self, chart: &Chart) -> String {
        let end = seconds(chart.end);
        let between = " ".repeat(self.bars.saturating_sub(1 + end.len()));
        let head = if self.note > 0 { chart.head } else { "" };
        format!("{:label$} 0{between}{end} {head}", "", label = self.label).trim_end().to_owned()
    }

    fn row(&self, row: &Row, end: f64, palette: Palette) -> String {
        let label = shorten(&row.label, self.label);
        let pad = " ".repeat(self.label.saturating_sub(console::measure_text_width(&label)));
        let bars = self.bars(&row.bars, end, palette);
        if self.note == 0 {
            return format!("{label}{pad} {bars}").trim_end().to_owned();
        }
        let filled = filled(&row.bars, end, self.bars);
        let blank = " ".repeat(self.bars - filled);
        format!("{label}{pad} {bars}{blank} {}", palette.task(row.state, &row.note)).trim_end().to_owned()
    }

    /// The bars one after another, each at least one column wide; nothing behind the last.
    fn bars(&self, bars: &[Bar], end: f64, palette: Palette) -> String {
        let mut text = String::new();
        let mut at = 0;
        for bar in bars {
            let (from, to) = cells(bar, end, self.bars, at);
            text += &" ".repeat(from - at);
            let _ = write!(text, "{}", palette.task(bar.state, "█".repeat(to - from)));
            at = to;
        }
        text
    }
}

/// How many columns bars take, with what is before them.
fn filled(bars: &[Bar], end: f64, columns: usize) -> usize {
    bars.iter().fold(0, |at, bar| cells(bar, end, columns, at).1)
}

/// The first column of a bar and the one after its last; it starts at `at` at the earliest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded to a column of a screen"
)]
#[expect(clippy::cast_precision_loss, reason = "a screen has few columns")]
fn cells(bar: &Bar, end: f64, columns: usize, at: usize) -> (usize, usize) {
    let scale = if end > 0.0 { columns as f64 / end } else { 0.0 };
    let column = |time: f64| (time * scale).round() as usize;
    let from = column(bar.from).max(at).min(columns.saturating_sub(1)).max(at.min(columns));
    let to = column(bar.to).clamp((from + 1).min(columns), columns);
    (from, to.max(from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::tests::chart;
    use oxidag_core::state::TaskState;

    #[test]
    fn attempts_are_bars_on_one_line() {
        insta::assert_snapshot!(chart().text(64, Palette::PLAIN), @"
        r1 of nightly: failed, 4.0s
                0                                   4.0s
        a       ██████████                               success 1.0s
        c                 ██████████████████████████████ success 3.0s
        b                 █████          █████           failed 2.0s
        d_never                                          upstream_failed
        ");
    }

    #[test]
    fn a_narrow_terminal_has_bars_alone() {
        let text = chart().text(30, Palette::PLAIN);
        assert!(text.lines().all(|line| console::measure_text_width(line) <= 30), "{text}");
        insta::assert_snapshot!(text, @"
        r1 of nightly: failed, 4.0s
                0                 4.0s
        a       ██████
        c             ████████████████
        b             ██      ███
        d_never
        ");
    }

    #[test]
    fn every_bar_is_seen_and_none_leaves_the_chart() {
        let bar = |from, to| Bar { from, to, state: TaskState::Failed };
        let bars = [bar(0.0, 0.001), bar(0.002, 0.003), bar(99.9999, 100.0)];
        let columns = Columns { label: 0, bars: 10, note: 0 };
        assert_eq!(columns.bars(&bars, 100.0, Palette::PLAIN), "██       █");
        assert_eq!(columns.bars(&[bar(0.0, 0.0)], 0.0, Palette::PLAIN), "█");
        let many: Vec<Bar> = (0..30).map(|_| bar(0.0, 0.1)).collect();
        assert_eq!(columns.bars(&many, 100.0, Palette::PLAIN), "█".repeat(10));
    }
}
