//! Very many tasks that wait at once, and tasks that take their time.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde_json::Value;

use super::measure::Sample;
use super::report::Report;
use super::{Bench, dags};
use crate::command::output;

/// How many asynchronous tasks wait at once.
const WAITING: u32 = 10_000;
/// How long they do, in one run and in the other: what the second takes more is what waiting costs.
const DELAYS_MS: [u32; 2] = [4_000, 14_000];
/// Tasks that take from 1 to 50 ms.
const TIMED: u32 = 300;

impl Bench {
    pub(super) fn waiting(&self, report: &mut Report) -> Result<()> {
        let [delay, longer] = DELAYS_MS;
        let short = self.dag("waiting", |path| dags::waiting(path, WAITING, delay))?;
        let long = self.dag("waiting-longer", |path| dags::waiting(path, WAITING, longer))?;
        let (mut shorts, mut longs) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            shorts.push(self.run(&short, round)?);
            longs.push(self.run(&long, round)?);
        }
        // Only now: what is read here counts as memory of whatever is started from here on.
        let late = (0..self.rounds).map(|round| {
            let run = self.stored("waiting", round)?;
            let attempts = tasks(&run)?.iter().filter_map(|task| task["attempts"].get(0));
            let took = attempts.map(span).collect::<Result<Vec<_>>>()?;
            Ok(took.into_iter().fold(0.0, f64::max) - f64::from(delay) / 1000.0)
        });
        let late = late.collect::<Result<Vec<f64>>>()?;
        let seconds = f64::from(longer - delay) / 1000.0;
        let cpu = |sample: &Sample| sample.cpu_seconds;
        let waiting =
            shorts.iter().zip(&longs).map(|(short, long)| (cpu(long) - cpu(short)) / seconds * 100.0);
        let memory = shorts.iter().chain(&longs).map(|sample| sample.peak_megabytes);
        report.add("10,000 asynchronous tasks at once: memory", "MB", memory, 60.0);
        report.add("  of a core while they wait", "%", waiting, 3.0);
        report.add("  the last is late by", "s", late, 1.0);
        Ok(())
    }

    /// What a run takes over what `plan` has simulated.
    pub(super) fn makespan(&self, report: &mut Report) -> Result<()> {
        let dag = self.dag("timed", |path| dags::timed(path, TIMED))?;
        let mut plan = self.oxidag("plan", 0, &dag);
        let plan: Value = serde_json::from_str(&output(plan.args(["--workers", "2", "--json"]))?)
            .context("`oxidag plan` prints no JSON")?;
        let simulated = plan["makespan"].as_f64().context("`oxidag plan` tells no makespan")?;
        let mut ratios = Vec::new();
        for round in 0..self.rounds {
            self.run(&dag, round)?;
            let run = self.stored("timed", round)?;
            let times =
                tasks(&run)?.iter().map(|task| Ok((time(task, "started_at")?, time(task, "finished_at")?)));
            let times = times.collect::<Result<Vec<_>>>()?;
            let first = times.iter().map(|(started, _)| *started).min();
            let last = times.iter().map(|(_, finished)| *finished).max();
            let (first, last) = first.zip(last).context("the run has no tasks")?;
            ratios.push((last - first).as_secs_f64() / simulated);
        }
        report.add("real over simulated makespan, 1 to 50 ms", "×", ratios, 1.02);
        Ok(())
    }

    /// What is stored of the only run of a DAG in a round.
    fn stored(&self, stem: &str, round: usize) -> Result<Value> {
        let mut show = self.command(&self.home(stem, round));
        let shown = output(show.args(["runs", "show", "latest", "--json"]))?;
        serde_json::from_str(&shown).context("`oxidag runs show` prints no JSON")
    }
}

fn tasks(run: &Value) -> Result<&Vec<Value>> {
    run["tasks"].as_array().context("`oxidag runs show` tells no tasks")
}

/// The seconds from the start of an attempt to its end.
fn span(attempt: &Value) -> Result<f64> {
    Ok((time(attempt, "finished_at")? - time(attempt, "started_at")?).as_secs_f64())
}

/// Since 1970.
fn time(of: &Value, name: &str) -> Result<Duration> {
    let text = of[name].as_str().with_context(|| format!("`oxidag runs show` tells no {name}"))?;
    let time = humantime::parse_rfc3339(text).with_context(|| format!("{text} is no time"))?;
    Ok(time.duration_since(SystemTime::UNIX_EPOCH)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_attempt_spans_from_its_start_to_its_end() {
        let attempt = json!({"started_at": "2026-11-26T18:00:59.500000Z", "finished_at": "2026-11-26T18:01:01.250000Z"});
        assert!((span(&attempt).unwrap() - 1.75).abs() < 1e-9);
        assert!(span(&json!({"started_at": "2026-11-26T18:00:59.500000Z"})).is_err());
    }
}
