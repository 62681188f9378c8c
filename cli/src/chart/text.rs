//! A chart as lines of text, for terminals of any width; without colours it says the same.

use std::fmt::Write as _;

use oxidag_core::state::TaskState;

use super::{Bar, Chart, Meaning, Part, Row};
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
        for line in legend(&self.legend, width) {
            let _ = writeln!(text, "{}", palette.faint(line));
        }
        text
    }
}

/// What the bars mean, in as many lines as it takes.
fn legend(meanings: &[Meaning], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for entry in meanings.iter().filter_map(|&meaning| explained(meaning)) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 2 + entry.chars().count() <= width => {
                *line += &format!("  {entry}");
            }
            _ => lines.push(entry),
        }
    }
    lines
}

/// An entry of the legend; what ends as it should has no mark.
fn explained(meaning: Meaning) -> Option<String> {
    match meaning {
        Meaning::Part(part) => Some(format!("{} {}", fill(part), part.name())),
        Meaning::End(state) => Some(format!("{} {state}", mark(state)?)),
    }
}

/// What a part is drawn with.
fn fill(part: Part) -> char {
    match part {
        Part::Waiting => '░',
        Part::Running => '█',
        Part::Deferred => '▒',
    }
}

/// What stands at the end of an attempt that did not succeed.
fn mark(state: TaskState) -> Option<char> {
    match state {
        TaskState::Failed => Some('x'),
        TaskState::Cancelled => Some('/'),
        _ => None,
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
        let (bars, filled) = self.bars(&row.bars, end, palette);
        if self.note == 0 {
            return format!("{label}{pad} {bars}").trim_end().to_owned();
        }
        let blank = " ".repeat(self.bars - filled);
        format!("{label}{pad} {bars}{blank} {}", palette.task(row.state, &row.note)).trim_end().to_owned()
    }

    /// The bars one after another, nothing behind the last, and how many columns that takes.
    fn bars(&self, bars: &[Bar], end: f64, palette: Palette) -> (String, usize) {
        let mut text = String::new();
        let mut at = 0;
        for bar in bars {
            let (from, to) = cells(bar, end, self.bars, at);
            if from == to {
                continue;
            }
            let mut drawn = " ".repeat(from - at);
            let mark = mark(bar.state).filter(|_| bar.is_last);
            let plain = to - from - usize::from(mark.is_some());
            drawn.extend(std::iter::repeat_n(fill(bar.part), plain).chain(mark));
            let state = if bar.part == Part::Waiting { TaskState::Waiting } else { bar.state };
            let _ = write!(text, "{}", palette.task(state, drawn));
            at = to;
        }
        (text, at)
    }
}

/// The first column of a bar and the one after its last; it starts at `at` at the earliest. All but short waits can be
/// seen, as long as there is room.
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
    let narrowest = usize::from(bar.part != Part::Waiting);
    let to = column(bar.to).clamp((from + narrowest).min(columns), columns);
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
        b            ░░░░░████x     ░░░░░████x           failed 2.0s
        r                 ██▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒/      cancelled 2.5s
        c                 ██████████████████████████████ success 3.0s
        d_never                                          upstream_failed
        ░ waiting  █ running  ▒ deferred  x failed  / cancelled
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
        b          ░░░█x   ░░░██x
        r             █▒▒▒▒▒▒▒▒▒▒▒/
        c             ████████████████
        d_never
        ░ waiting  █ running
        ▒ deferred  x failed
        / cancelled
        ");
    }

    #[test]
    fn every_bar_is_seen_and_none_leaves_the_chart() {
        let bar =
            |from, to, part| Bar { from, to, part, state: TaskState::Failed, attempt: 1, is_last: true };
        let ran = |from, to| bar(from, to, Part::Running);
        let columns = Columns { label: 0, bars: 10, note: 0 };
        let drawn = |bars: &[Bar], end| columns.bars(bars, end, Palette::PLAIN).0;
        assert_eq!(drawn(&[ran(0.0, 0.001), ran(0.002, 0.003), ran(99.9999, 100.0)], 100.0), "xx       x");
        assert_eq!(drawn(&[ran(0.0, 0.0)], 0.0), "x");
        let many: Vec<Bar> = (0..30).map(|_| ran(0.0, 0.1)).collect();
        assert_eq!(drawn(&many, 100.0), "x".repeat(10));
        let short = Bar { is_last: false, ..bar(0.0, 0.1, Part::Waiting) };
        assert_eq!(drawn(&[short, ran(0.1, 50.0)], 100.0), "████x");
    }

    #[test]
    fn colours_take_no_room() {
        let (plain, coloured) = (chart().text(64, Palette::PLAIN), chart().text(64, Palette::COLOURED));
        assert!(coloured.contains("\x1b["));
        assert_eq!(console::strip_ansi_codes(&coloured), plain);
    }
}
