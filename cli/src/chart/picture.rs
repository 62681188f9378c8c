//! A chart as an SVG: rows with bars over a time axis.

use std::fmt::Write as _;

use oxidag_core::state::TaskState;

use super::{Bar, Chart, Meaning, Part, Row};
use crate::format::seconds;
use crate::svg::{FONT, colour, escape, text_width};

const ROW: f64 = 22.0;
const BAR: f64 = 14.0;
const MARGIN: f64 = 16.0;
/// The title and the axis.
const HEAD: f64 = 56.0;
/// The legend.
const FOOT: f64 = 28.0;
/// A bar in the legend.
const SAMPLE: f64 = 22.0;
/// A bar is marked as that of a failed attempt where it is at least so wide.
const MARKED: f64 = 9.0;
/// White stripes, which are laid over what is deferred.
const STRIPES: &str = "<defs><pattern id=\"deferred\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
    patternTransform=\"rotate(45)\"><rect width=\"3\" height=\"6\" fill=\"#ffffff\" fill-opacity=\"0.6\"/>\
    </pattern></defs>\n";
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
        let bottom = HEAD + ROW * self.rows.len() as f64;
        let foot = if self.legend.is_empty() { 0.0 } else { FOOT };
        let height = bottom + foot + MARGIN;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" {FONT}>\n\
             <title>{title}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"{MARGIN}\" y=\"24\" font-weight=\"bold\" fill=\"#1f2328\">{title}</text>\n",
            title = escape(&self.title),
        );
        let scale = if self.end > 0.0 { SPAN / self.end } else { 0.0 };
        if self.rows.iter().flat_map(|row| &row.bars).any(|bar| bar.part == Part::Deferred) {
            svg += STRIPES;
        }
        axis(&mut svg, self.end, scale, left, bottom);
        for (row, place) in self.rows.iter().zip(0_u32..) {
            draw(&mut svg, row, scale, left, HEAD + ROW * f64::from(place));
        }
        legend(&mut svg, &self.legend, left, bottom + MARGIN);
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
    for bar in &row.bars {
        let (x, width) = (left + bar.from * scale, ((bar.to - bar.from) * scale).max(1.0));
        // A wait that cannot be seen would hide what it waited for.
        if bar.part == Part::Waiting && (bar.to - bar.from) * scale < 0.5 {
            continue;
        }
        let what = format!("{label}, attempt {}: {}", bar.attempt, told(bar));
        let end = Some(bar.state).filter(|_| bar.is_last);
        shape(svg, (x, top + (ROW - BAR) / 2.0, width), (bar.part, colour(bar.state), end), &what);
    }
    let x = left + SPAN + 12.0;
    let _ =
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{middle:.1}\" fill=\"{}\">{note}</text>", colour(row.state));
}

/// What a bar says where the pointer rests on it.
fn told(bar: &Bar) -> String {
    let (part, took) = (bar.part.name(), seconds(bar.to - bar.from));
    if bar.is_last { format!("{part} {took}, then {}", bar.state) } else { format!("{part} {took}") }
}

/// One bar: waiting is thin and grey, deferred striped, and a failed attempt crossed at its end.
fn shape(
    svg: &mut String,
    (x, y, width): (f64, f64, f64),
    look: (Part, &str, Option<TaskState>),
    what: &str,
) {
    let (part, fill, end) = look;
    let (y, height, fill) = match part {
        Part::Waiting => (y + BAR / 3.0, BAR / 3.0, colour(TaskState::Waiting)),
        Part::Running | Part::Deferred => (y, BAR, fill),
    };
    let rect =
        format!("<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\"");
    let _ = write!(svg, "<g><title>{what}</title>{rect} fill=\"{fill}\"/>");
    if part == Part::Deferred {
        let _ = write!(svg, "{rect} fill=\"url(#deferred)\"/>");
    }
    if end == Some(TaskState::Failed) && width >= MARKED {
        let (right, middle) = (x + width - 4.5, y + height / 2.0);
        let _ = write!(
            svg,
            "<path d=\"M{:.1} {:.1}l5 5m0 -5l-5 5\" stroke=\"#ffffff\" stroke-width=\"1.5\"/>",
            right - 2.5,
            middle - 2.5,
        );
    }
    svg.push_str("</g>\n");
}

fn legend(svg: &mut String, legend: &[Meaning], left: f64, top: f64) {
    let mut x = left;
    for &meaning in legend {
        let running = colour(TaskState::Running);
        let (look, name) = match meaning {
            Meaning::Part(part) => ((part, running, None), part.name()),
            Meaning::End(state) => ((Part::Running, colour(state), Some(state)), state.name()),
        };
        shape(svg, (x, top, SAMPLE), look, name);
        x += SAMPLE + 6.0;
        let _ =
            writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" fill=\"#656d76\">{name}</text>", top + BAR - 3.0);
        x += text_width(name) + 18.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::tests::chart;

    #[test]
    fn each_phase_of_each_attempt_is_a_bar_that_says_what_it_is() {
        let svg = chart().svg();
        for what in [
            "b, attempt 1: waiting 500ms",
            "b, attempt 1: running 500ms, then failed",
            "b, attempt 2: waiting 500ms",
            "b, attempt 2: running 500ms, then failed",
            "c, attempt 1: running 3.0s, then success",
            "r, attempt 1: running 200ms",
            "r, attempt 1: deferred 2.3s, then cancelled",
        ] {
            assert!(svg.contains(&format!("<g><title>{what}</title>")), "{what} is not in:\n{svg}");
        }
        assert!(!svg.contains("c, attempt 1: waiting"), "a millisecond cannot be seen:\n{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn failed_attempts_are_crossed_and_remote_ones_striped() {
        let svg = chart().svg();
        let line = |what: &str| svg.lines().find(|line| line.contains(what)).unwrap_or_default();
        let failed = line("attempt 2: running");
        assert!(failed.contains(colour(TaskState::Failed)) && failed.contains("<path "), "{failed}");
        let good = line("c, attempt 1: running");
        assert!(good.contains(colour(TaskState::Success)) && !good.contains("<path "), "{good}");
        assert!(line("attempt 1: deferred").contains("url(#deferred)") && svg.contains("id=\"deferred\""));
        assert!(!good.contains("url(#deferred)"));
    }

    #[test]
    fn the_legend_names_what_is_drawn() {
        let svg = chart().svg();
        for name in ["waiting", "running", "deferred", "success", "failed", "cancelled"] {
            assert!(svg.contains(&format!(">{name}</text>")), "{name} is not in:\n{svg}");
        }
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
