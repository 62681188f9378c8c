//! Commands that look at what is stored.

use anyhow::Result;

use super::dags::Shape;
use super::measure::measure;
use super::report::Report;
use super::{Bench, dags};

/// How many runs are stored.
const RUNS: u32 = 100_000;
/// How many tasks the run has that is shown.
const TASKS: u32 = 100_000;

impl Bench {
    pub(super) fn looking(&self, report: &mut Report) -> Result<()> {
        let many = self.folder.path().join("many-runs");
        self.store(&many, RUNS)?;
        let large = self.dag("large", |path| dags::noops(path, Shape::Independent, TASKS))?;
        self.run(&large, 0)?;
        let large = self.home("large", 0);
        let (mut lists, mut shows, mut jsons) = (Vec::new(), Vec::new(), Vec::new());
        // The first of each reads the file.
        for _ in 0..=self.rounds {
            let milliseconds = |home, arguments: &[&str]| {
                measure(self.command(home).args(arguments)).map(|sample| sample.seconds * 1000.0)
            };
            lists.push(milliseconds(&many, &["runs", "list"])?);
            shows.push(milliseconds(&large, &["runs", "show", "latest"])?);
            jsons.push(milliseconds(&large, &["runs", "show", "latest", "--json"])?);
        }
        report.add("runs list, of 100,000 runs", "ms", lists.drain(1..), 50.0);
        report.add("runs show, of 100,000 tasks", "ms", shows.drain(1..), 500.0);
        report.add("  the same with --json", "ms", jsons.drain(1..), 500.0);
        Ok(())
    }
}
