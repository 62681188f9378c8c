//! A chart as an SVG: rows with bars over a time axis.

use std::fmt::Write as _;

use super::{Bar, Chart, Row};
use crate::format::seconds;
use crate::svg::{FONT, colour, escape, text_width};

const ROW: f64 = 22.0;
const BAR: f64 = 14.0;
const MARGIN: f64 = 16.0;
/// The title and the axis.
const HEAD: f64 = 56.0;
/// How wide the time is drawn.
const SPAN: f64 = 720.0;
/// So many ticks are aimed at.
const TICKS: f64 = 8.0;

/// Steps of the axis that people count in, in seconds; beyond them, days.
const STEPS: [f64; 15] =
    [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 43200.0];

impl Chart {
    /// The chart as an SVG document.
    #[expect(clippy::cast_precision_loss, reason = "a picture of so many rows is beyond all drawing")]
    pub(crate) fn svg(&self) -> String {
        let widest =
            |of: fn(&Row) -> &str| self.rows.iter().map(|row| text_width(of(row))).fold(0.0, f64::max);
        let left = MARGIN + widest(|row| &row.label) + 12.0;
        let width = left + SPAN + 12.0 + widest(|row| &row.note) + MARGIN;
        let height = HEAD + ROW * self.rows.len() as f64 + MARGIN;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" {FONT}>\n\
             <title>{title}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"{MARGIN}\" y=\"24\" font-weight=\"bold\" fill=\"#1f2328\">{title}</text>\n",
            title = escape(&self.title),
        );
        let scale = if self.end > 0.0 { SPAN / self.end } else { 0.0 };
        axis(&mut svg, self.end, scale, left, height - MARGIN);
        for (row, place) in self.rows.iter().zip(0_u32..) {
            draw(&mut svg, row, scale, left, HEAD + ROW * f64::from(place));
        }
        svg + "</svg>\n"
    }
}

fn axis(svg: &mut String, end: f64, scale: f64, left: f64, bottom: f64) {
    let step = step(end);
    let mut tick = 0.0;
    while tick <= end * (1.0 + 1e-9) {
        let x = left + tick * scale;
        // Writing into a string does not fail.
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"#d8dee4\"/>\
             <text x=\"{x:.1}\" y=\"{label}\" text-anchor=\"middle\" fill=\"#656d76\">{}</text>",
            if tick == 0.0 { "0".to_owned() } else { seconds(tick) },
            top = HEAD - 6.0,
            label = HEAD - 12.0,
        );
        tick += step;
    }
}

/// A step that gives about [`TICKS`] ticks and is a number that people count in.
fn step(end: f64) -> f64 {
    let wanted = end / TICKS;
    if wanted <= 0.001 {
        return 0.001;
    }
    if wanted < 1.0 {
        let power = 10_f64.powf(wanted.log10().floor());
        return [1.0, 2.0, 5.0, 10.0]
            .map(|n| n * power)
            .into_iter()
            .find(|&s| s >= wanted * 0.999)
            .unwrap_or(1.0);
    }
    let days = 86_400.0 * (wanted / 86_400.0).ceil();
    STEPS.into_iter().find(|&step| step >= wanted).unwrap_or(days)
}

fn draw(svg: &mut String, row: &Row, scale: f64, left: f64, top: f64) {
    let middle = top + ROW / 2.0 + 4.0;
    let (label, note) = (escape(&row.label), escape(&row.note));
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{middle:.1}\" text-anchor=\"end\" fill=\"#1f2328\">{label}</text>",
        x = left - 12.0
    );
    for (Bar { from, to, state }, number) in row.bars.iter().zip(1..) {
        let x = left + from * scale;
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{fill}\">\
             <title>{label}, attempt {number}: {state}, {took}</title></rect>",
            y = top + (ROW - BAR) / 2.0,
            width = ((to - from) * scale).max(1.0),
            fill = colour(*state),
            took = seconds(to - from),
        );
    }
    let x = left + SPAN + 12.0;
    let _ =
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{middle:.1}\" fill=\"{}\">{note}</text>", colour(row.state));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::tests::chart;

    #[test]
    fn each_attempt_is_a_bar_in_the_colour_of_its_end() {
        let svg = chart().svg();
        let bars: Vec<&str> = svg.lines().filter(|line| line.starts_with("<rect x=")).collect();
        assert_eq!(bars.len(), 4);
        let failed = |bar: &&&str| bar.contains(colour(oxidag_core::state::TaskState::Failed));
        assert_eq!(bars.iter().filter(failed).count(), 2);
        assert!(svg.contains("<title>b, attempt 2: failed, 500ms</title>"), "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn the_axis_has_a_handful_of_round_ticks() {
        for (end, expected) in [
            (0.0, 0.001),
            (0.05, 0.01),
            (4.0, 0.5),
            (8.0, 1.0),
            (100.0, 15.0),
            (4000.0, 600.0),
            (1e6, 172_800.0),
        ] {
            let step = step(end);
            assert!((step - expected).abs() < 1e-9, "{end}: {step}");
            assert!(end / step <= TICKS + 1e-6, "{end}: {step}");
        }
    }
}
