//! `oxidag runs gantt`.

use std::path::Path;

use anyhow::Context as _;

use super::runs;
use crate::chart::Chart;
use crate::output;
use crate::style::Palette;

pub(super) fn gantt(run: &str, svg: Option<&Path>) -> anyhow::Result<()> {
    let (_, run) = runs::find(run)?;
    let chart = Chart::of_run(&run, runs::now());
    match svg {
        None => output::print(&chart.text(output::drawing_width(), Palette::stdout()))
            .context("cannot print the chart"),
        Some(path) if path == Path::new("-") => output::print(&chart.svg()).context("cannot print the chart"),
        Some(path) => {
            std::fs::write(path, chart.svg()).with_context(|| format!("cannot write {}", path.display()))
        }
    }
}
