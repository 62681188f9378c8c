//! What was measured, as a table and as JSON.

use std::fmt;

use serde_json::{Value, json};

/// Everything that was measured, in order.
pub(super) struct Report {
    rounds: usize,
    lines: Vec<Line>,
}

struct Line {
    what: String,
    unit: &'static str,
    values: Vec<f64>,
    target: Option<f64>,
}

impl Report {
    /// An empty one.
    pub(super) fn new(rounds: usize) -> Self {
        Self { rounds, lines: Vec::new() }
    }

    /// One value a round, and what the median should not exceed.
    pub(super) fn add(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        values: impl IntoIterator<Item = f64>,
        target: f64,
    ) {
        self.add_with(what, unit, values, Some(target));
    }

    /// One value a round of something to compare with.
    pub(super) fn add_baseline(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        values: impl IntoIterator<Item = f64>,
    ) {
        self.add_with(what, unit, values, None);
    }

    /// One value a round, and perhaps what the median should not exceed.
    pub(super) fn add_with(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        values: impl IntoIterator<Item = f64>,
        target: Option<f64>,
    ) {
        self.lines.push(Line { what: what.into(), unit, values: values.into_iter().collect(), target });
    }

    /// Whether every target was met.
    ///
    /// # Errors
    ///
    /// When one was not; the message names all of them.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let missed: Vec<&str> =
            self.lines.iter().filter(|line| line.met() == Some(false)).map(|line| line.what.trim()).collect();
        anyhow::ensure!(missed.is_empty(), "targets were missed: {}", missed.join("; "));
        Ok(())
    }

    /// The report for other programs.
    pub(super) fn json(&self) -> Value {
        let results: Vec<Value> = self.lines.iter().map(Line::json).collect();
        json!({"rounds": self.rounds, "cores": cores(), "results": results})
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "medians of {} rounds, {} cores", self.rounds, cores())?;
        writeln!(f, "{:<48} {:>10} {:>10} {:>10} {:>10}", "", "median", "least", "most", "target")?;
        self.lines.iter().try_for_each(|line| write!(f, "{line}"))
    }
}

impl Line {
    fn met(&self) -> Option<bool> {
        Some(median(&self.values)? <= self.target?)
    }

    fn json(&self) -> Value {
        json!({
            "what": self.what,
            "unit": self.unit,
            "median": median(&self.values),
            "values": self.values,
            "target": self.target,
            "met": self.met(),
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = self.values.iter().copied().reduce(f64::min);
        let most = self.values.iter().copied().reduce(f64::max);
        write!(f, "{:<48}", self.what)?;
        for value in [median(&self.values), least, most, self.target] {
            match value {
                Some(value) => write!(f, " {value:>7.2} {:<2}", self.unit)?,
                None => write!(f, " {:>10}", "")?,
            }
        }
        let verdict = match self.met() {
            Some(true) => " met",
            Some(false) => " missed",
            None => "",
        };
        writeln!(f, "{verdict}")
    }
}

/// The value in the middle; `None` of nothing.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// Microseconds for each of so many tasks.
pub(super) fn per_task(seconds: f64, tasks: u32) -> f64 {
    seconds * 1e6 / f64::from(tasks)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_table_says_which_target_was_missed() {
        let mut report = Report::new(1);
        report.add("slow", "s", [2.0], 1.5);
        report.add("fast", "s", [1.0], 1.5);
        report.add_baseline("other", "s", [1.0]);
        let table = report.to_string();
        let end = |start: &str| {
            let line = table.lines().find(|line| line.starts_with(start));
            line.unwrap().trim_end().rsplit(' ').next().unwrap().to_owned()
        };
        assert_eq!(end("slow"), "missed");
        assert_eq!(end("fast"), "met");
        assert_eq!(end("other"), "s");
        let said = report.check().unwrap_err().to_string();
        assert_eq!(said, "targets were missed: slow");
    }
}
