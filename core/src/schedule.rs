//! When a DAG is due: its `schedule_interval`, from its `start_date` on. Pure: time is an argument. All times are UTC.
//!
//! A time that passed while a run was still going on, or while nobody was there to start one, is not made up for one by
//! one: of several such times the latest counts (Airflow calls it `catchup=False`).

use std::str::FromStr as _;

use chrono::{DateTime, NaiveDate, Utc};
use croner::Cron;

use crate::event::Timestamp;
use crate::spec::Dag;

/// When a DAG is due.
#[derive(Debug, Clone)]
pub struct Schedule {
    times: Times,
    start: Option<Timestamp>,
}

#[derive(Debug, Clone)]
enum Times {
    Once,
    Continuous,
    Cron(Box<Cron>),
}

/// Why a schedule means no time; the DAG file's own checks come first.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// It is no cron expression.
    #[error("schedule_interval `{0}` is no cron expression: {1}")]
    Cron(String, String),
    /// It is no date.
    #[error("start_date `{0}` is not a date")]
    Date(String),
}

impl Schedule {
    /// The schedule of a DAG, if it has one.
    ///
    /// # Errors
    ///
    /// Any [`ScheduleError`].
    pub fn of(dag: &Dag) -> Result<Option<Self>, ScheduleError> {
        let Some(interval) = &dag.schedule_interval else { return Ok(None) };
        let start = dag.start_date.as_deref().map(point).transpose()?;
        let times = match interval.as_str() {
            "@once" => Times::Once,
            "@continuous" => Times::Continuous,
            text => {
                let cron = Cron::from_str(expression(text))
                    .map_err(|error| ScheduleError::Cron(text.to_owned(), error.to_string()))?;
                Times::Cron(Box::new(cron))
            }
        };
        Ok(Some(Self { times, start }))
    }

    /// For a DAG that never ran, times after this count: those from its `start_date` on, or from now on.
    #[must_use]
    pub fn since(&self, now: Timestamp) -> Timestamp {
        self.start.map_or(now, |start| Timestamp(start.0.saturating_sub(1)).min(now))
    }

    /// When the next run is due: a time up to `now` where one has passed after `since`, else the first one to come.
    /// `since` is when the newest run began. `None`: no further one is due.
    #[must_use]
    pub fn due(&self, newest: Option<Timestamp>, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let start = self.start.unwrap_or(Timestamp(i64::MIN));
        match &self.times {
            Times::Once => newest.is_none().then(|| now.max(start)),
            Times::Continuous => Some(now.max(start)),
            Times::Cron(cron) => {
                let passed = cron.find_previous_occurrence(&time(now)?, true).ok().map(timestamp);
                match passed {
                    Some(passed) if passed > since && passed >= start => Some(passed),
                    // One before the start, so that the start itself counts.
                    _ => {
                        let after = now.max(Timestamp(start.0.saturating_sub(1)));
                        cron.find_next_occurrence(&time(after)?, false).ok().map(timestamp)
                    }
                }
            }
        }
    }
}

/// Airflow's presets as cron expressions.
fn expression(text: &str) -> &str {
    match text {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@quarterly" => "0 0 1 */3 *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        cron => cron,
    }
}

/// A date, or a date and a time with its offset.
fn point(text: &str) -> Result<Timestamp, ScheduleError> {
    let midnight = || NaiveDate::from_str(text).ok()?.and_hms_opt(0, 0, 0).map(|time| time.and_utc());
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).ok().or_else(midnight);
    time.map(timestamp).ok_or_else(|| ScheduleError::Date(text.to_owned()))
}

fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp(time.timestamp_micros())
}

/// `None` beyond the years that chrono counts.
fn time(timestamp: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(timestamp.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{self, SourceFile};

    fn schedule(keys: &str) -> Option<Schedule> {
        let text = format!("{keys}\ntasks: [{{task_id: a, script: {{engine: noop, inline: ''}}}}]");
        let (dag, _) = spec::parse(SourceFile::new("dag.yaml".into(), text)).unwrap();
        Schedule::of(&dag).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        point(text).unwrap()
    }

    fn shown(time: Option<Timestamp>) -> String {
        time.map_or_else(|| "never".to_owned(), |t| crate::logs::rfc3339(t).to_string()[..16].to_owned())
    }

    #[test]
    fn a_time_that_passed_since_the_newest_run_is_due_once() {
        let daily = schedule("schedule_interval: 30 2 * * *").unwrap();
        let now = at("2026-11-26T12:00:00Z");
        let due = |newest| shown(daily.due(Some(at(newest)), at(newest), now));
        assert_eq!(due("2026-11-20T02:30:01Z"), "2026-11-26T02:30", "of six that passed the latest counts");
        assert_eq!(due("2026-11-26T02:30:01Z"), "2026-11-27T02:30");
    }

    #[test]
    fn a_run_begins_at_the_very_time_and_not_twice() {
        let hourly = schedule("schedule_interval: '@hourly'").unwrap();
        let now = at("2026-11-26T12:00:00Z");
        assert_eq!(hourly.due(None, at("2026-11-26T11:59:59Z"), now), Some(now));
        assert_eq!(shown(hourly.due(Some(now), now, now)), "2026-11-26T13:00");
    }

    #[test]
    fn nothing_is_due_before_the_start() {
        let keys = "schedule_interval: '@daily'\nstart_date: 2026-12-01T00:00:00+00:00";
        let daily = schedule(keys).unwrap();
        let since = at("2026-01-01");
        assert_eq!(shown(daily.due(None, since, at("2026-11-26"))), "2026-12-01T00:00");
        let once = schedule("schedule_interval: '@once'\nstart_date: 2026-12-01").unwrap();
        assert_eq!(shown(once.due(None, since, at("2026-11-26"))), "2026-12-01T00:00");
        assert_eq!(shown(once.due(Some(since), since, at("2026-12-02"))), "never");
    }

    #[test]
    fn a_start_in_the_past_that_is_a_due_time_counts_itself() {
        let yearly = schedule("schedule_interval: '0 0 1 1 *'\nstart_date: 2026-01-01").unwrap();
        let now = at("2026-11-26");
        assert_eq!(shown(yearly.due(None, yearly.since(now), now)), "2026-01-01T00:00");
        let later = schedule("schedule_interval: '0 0 1 1 *'\nstart_date: 2026-01-02").unwrap();
        assert_eq!(shown(later.due(None, later.since(now), now)), "2027-01-01T00:00");
        let without = schedule("schedule_interval: '0 0 1 1 *'").unwrap();
        assert_eq!(shown(without.due(None, without.since(now), now)), "2027-01-01T00:00");
    }

    #[test]
    fn every_preset_that_a_dag_file_may_have_means_a_time() {
        for preset in spec::SCHEDULE_PRESETS {
            let schedule = schedule(&format!("schedule_interval: '{preset}'")).unwrap();
            assert!(schedule.due(None, at("2026-01-01"), at("2026-11-26")).is_some(), "{preset}");
        }
        let quarterly = schedule("schedule_interval: '@quarterly'").unwrap();
        assert_eq!(shown(quarterly.due(None, at("2026-11-26"), at("2026-11-26"))), "2027-01-01T00:00");
        assert!(schedule("schedule_interval: ''\nstart_date: ''").is_none(), "pyDag's example has none");
    }

    #[test]
    fn days_and_weekdays_are_alternatives_as_in_cron() {
        let schedule = schedule("schedule_interval: 0 0 13 * fri").unwrap();
        let due = |since| shown(schedule.due(None, at(since), at(since)));
        assert_eq!(due("2026-11-10"), "2026-11-13T00:00");
        assert_eq!(due("2026-11-14"), "2026-11-20T00:00", "a Friday that is no 13th");
        assert_eq!(due("2026-12-12"), "2026-12-13T00:00", "a 13th that is no Friday");
    }
}
