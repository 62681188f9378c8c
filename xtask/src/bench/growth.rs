//! DAGs that grow: what a task costs that is added, and what rules cost that wait.

use std::io;
use std::path::Path;

use anyhow::Result;

use super::report::{Report, per_task};
use super::{Bench, dags};

/// How many tasks are added.
const MANY: u32 = 1_000_000;
const FEW: u32 = 10_000;
/// How many tasks there are beside rules.
const INDEPENDENT: u32 = 100_000;
/// How many rules wait.
const RULES: u32 = 1_000;

impl Bench {
    pub(super) fn growth(&self, report: &mut Report) -> Result<()> {
        self.added("mapped", dags::mapped, report)?;
        self.added("appended", dags::appended, report)?;
        self.rules_that_wait(report)
    }

    /// A million and ten thousand in turn, so that a machine that slows down slows both down.
    fn added(
        &self,
        how: &'static str,
        dag: fn(&Path, u32) -> io::Result<()>,
        report: &mut Report,
    ) -> Result<()> {
        let many = self.dag(&format!("{how}-many"), |path| dag(path, MANY))?;
        let few = self.dag(&format!("{how}-few"), |path| dag(path, FEW))?;
        let (mut manys, mut fews, mut memory) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..self.rounds {
            let sample = self.run(&many, round)?;
            memory.push(sample.peak_megabytes);
            manys.push(per_task(sample.seconds, MANY));
            fews.push(per_task(self.run(&few, round)?.seconds, FEW));
        }
        let ratios: Vec<f64> = manys.iter().zip(&fews).map(|(many, few)| many / few).collect();
        let [each_of_few, each_of_many, its_memory, ratio] = match how {
            "mapped" => [
                "each of 10,000 instances",
                "each of 1,000,000 instances",
                "their peak memory",
                "a million over ten thousand",
            ],
            _ => [
                "each of 10,000 added by engines",
                "each of 1,000,000 added by engines",
                "their peak memory",
                "a million over ten thousand",
            ],
        };
        report.add_baseline(each_of_few, "µs", fews);
        report.add_baseline(each_of_many, "µs", manys);
        report.add_baseline(its_memory, "MB", memory);
        report.add(ratio, "×", ratios, 1.0);
        Ok(())
    }

    fn rules_that_wait(&self, report: &mut Report) -> Result<()> {
        let without = self.dag("no-rules", |path| dags::with_rules(path, INDEPENDENT, 0))?;
        let with = self.dag("rules", |path| dags::with_rules(path, INDEPENDENT, RULES))?;
        let (mut withouts, mut withs) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            withouts.push(self.run(&without, round)?.seconds);
            withs.push(self.run(&with, round)?.seconds);
        }
        let ratios: Vec<f64> = withs.iter().zip(&withouts).map(|(with, without)| with / without).collect();
        report.add_baseline("100,000 noop tasks and one more", "s", withouts);
        report.add_baseline("the same with 1,000 waiting rules", "s", withs);
        report.add("with waiting rules over without", "×", ratios, 1.1);
        Ok(())
    }
}
