//! Durations and points in time as people write them on the command line. No clock.

use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use oxidag_core::event::Timestamp;

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long before now.
    Ago(Duration),
    /// A point in time.
    At(Timestamp),
}

impl Since {
    /// The point in time.
    pub(crate) fn time(self, now: Timestamp) -> Timestamp {
        match self {
            Since::Ago(duration) => before(now, duration),
            Since::At(time) => time,
        }
    }
}

/// So long before a time.
pub(crate) fn before(time: Timestamp, duration: Duration) -> Timestamp {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Timestamp(time.0.saturating_sub(micros))
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(duration) = age(text) {
            return Ok(Since::Ago(duration));
        }
        point(text).map(Since::At).ok_or_else(|| {
            "write a duration such as `2h` or `7d`, a date such as `2026-11-22`, or a time such as \
             `2026-11-22T18:44:05Z`"
                .to_owned()
        })
    }
}

/// A duration with its units: a bare number would be seconds to one and days to another.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "write a number with its unit, such as `12h`, `7d` or `1h 30m`".to_owned())
}

/// A date, or a time as RFC 3339 has it; without a zone it is UTC, as all times that are shown.
fn point(text: &str) -> Option<Timestamp> {
    let text = text.trim().to_ascii_uppercase();
    let (local, offset) =
        match text.len().checked_sub("+00:00".len()).and_then(|at| text.split_at_checked(at)) {
            Some((local, zone)) if zone.starts_with(['+', '-']) && local.contains(':') => {
                (local, minutes(zone)?)
            }
            _ => (text.as_str(), 0),
        };
    let is_date = local.len() == "2026-11-22".len();
    let time = if is_date { format!("{local}T00:00:00Z") } else { local.to_owned() };
    let time = humantime::parse_rfc3339_weak(&time).ok()?;
    let micros = i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()?;
    Some(Timestamp(micros - offset * 60_000_000))
}

/// `+01:30` in minutes.
fn minutes(zone: &str) -> Option<i64> {
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let number = |text: &str, below: i64| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|n: &i64| digits && *n < below)
    };
    let minutes = number(hours, 24)? * 60 + number(minutes, 60)?;
    Some(if zone.starts_with('-') { -minutes } else { minutes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOON: i64 = 1_795_348_800_000_000;

    fn read(text: &str) -> Since {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_duration_counts_back_from_now() {
        for (text, seconds) in [("90s", 90), ("2h", 7200), ("7d", 604_800), ("1h 30m", 5400), ("1w", 604_800)]
        {
            assert_eq!(read(text).time(Timestamp(NOON)), Timestamp(NOON - seconds * 1_000_000), "{text}");
        }
        assert_eq!(before(Timestamp(i64::MIN), Duration::MAX), Timestamp(i64::MIN));
    }

    #[test]
    fn dates_and_times_are_points_in_time_wherever_they_are_told() {
        let at = |text| match read(text) {
            Since::At(time) => time.0 - NOON,
            other => panic!("{text}: {other:?}"),
        };
        for text in [
            "2026-11-22T12:00:00Z",
            "2026-11-22t12:00:00z",
            "2026-11-22 12:00:00",
            "2026-11-22T12:00:00.000Z",
            "2026-11-22T13:30:00+01:30",
            "2026-11-22T10:00:00-02:00",
        ] {
            assert_eq!(at(text), 0, "{text}");
        }
        assert_eq!(at("2026-11-22T12:00:00.5Z"), 500_000);
        assert_eq!(at("2026-11-22"), -12 * 3_600_000_000);
    }

    #[test]
    fn what_is_neither_is_refused_with_examples() {
        for text in [
            "",
            "yesterday",
            "7",
            "22.11.2026",
            "2026-13-01",
            "2026-11-22T25:00:00Z",
            "2026-11-22T12:00:00+1:00",
            "2026-11-22+01:00",
        ] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
        insta::assert_snapshot!("7".parse::<Since>().unwrap_err(), @"write a duration such as `2h` or `7d`, a date such as `2026-11-22`, or a time such as `2026-11-22T18:44:05Z`");
        insta::assert_snapshot!(age("30").unwrap_err(), @"write a number with its unit, such as `12h`, `7d` or `1h 30m`");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[0-9TZ:+. éd-]{0,30}") {
            let _ = text.parse::<Since>();
        }

        #[test]
        fn every_time_reads_back(micros in 0..4_000_000_000_000_000_i64) {
            let text = oxidag_core::logs::rfc3339(Timestamp(micros)).to_string();
            prop_assert_eq!(read(&text), Since::At(Timestamp(micros)));
        }
    }
}
