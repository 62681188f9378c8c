//! Durations, dates and schedules. Nothing here reads a clock.

use std::time::Duration;

use super::super::diagnostic::quote;
use super::super::suggest;
use super::super::tree::{Node, Value};
use super::{LONGEST_DURATION, Lower};

/// Airflow's names for schedules.
pub const PRESETS: [&str; 10] = [
    "@once",
    "@continuous",
    "@hourly",
    "@daily",
    "@midnight",
    "@weekly",
    "@monthly",
    "@quarterly",
    "@yearly",
    "@annually",
];

const EXAMPLES: &str = "a number of seconds, or text such as `90s`, `5m`, `1h30m`";

impl Lower<'_> {
    /// A number of seconds, or text with units.
    pub(super) fn duration(&mut self, name: &str, node: &Node<'_>) -> Option<Duration> {
        let duration = match &node.value {
            Value::Number(number) => number.as_f64().and_then(|seconds| match number.as_u64() {
                Some(seconds) => Some(Duration::from_secs(seconds)),
                None => Duration::try_from_secs_f64(seconds).ok(),
            }),
            Value::Text(text) => match humantime::parse_duration(text) {
                Ok(duration) => Some(duration),
                Err(error) => {
                    let message = format!("`{name}` {} is not a duration: {error}", quote(text));
                    self.mistake_with_help(node.span, message, format!("write {EXAMPLES}"));
                    return None;
                }
            },
            _ => None,
        };
        match duration {
            Some(duration) if duration > LONGEST_DURATION => {
                let longest = LONGEST_DURATION.as_secs();
                self.mistake(node.span, format!("`{name}` is longer than {longest} seconds"));
                None
            }
            Some(duration) => Some(duration),
            None => {
                self.expected(EXAMPLES, name, node);
                None
            }
        }
    }

    /// A duration that is not zero: nothing would be quick enough.
    pub(super) fn timeout(&mut self, name: &str, node: &Node<'_>) -> Option<Duration> {
        self.not_zero(name, node, "for no limit, leave the key out")
    }

    /// A cap for growing waits that is not zero.
    pub(super) fn max_delay(&mut self, name: &str, node: &Node<'_>) -> Option<Duration> {
        self.not_zero(name, node, "for no wait at all, write `retry_delay: 0`")
    }

    fn not_zero(&mut self, name: &str, node: &Node<'_>, help: &str) -> Option<Duration> {
        let duration = self.duration(name, node)?;
        if duration.is_zero() {
            self.mistake_with_help(node.span, format!("`{name}` is zero"), help);
        }
        Some(duration)
    }

    /// A schedule as written; an empty one is none.
    pub(super) fn schedule(&mut self, name: &str, node: Node<'_>) -> Option<String> {
        let span = node.span;
        let text = self.text_or_none(name, node)?;
        if text.starts_with('@') {
            if !PRESETS.contains(&&*text) {
                let help = suggest::or_list(&text, "the presets are", &PRESETS);
                self.mistake_with_help(span, format!("unknown {name} {}", quote(&text)), help);
            }
        } else if let Err(problem) = cron(&text) {
            let message = format!("{name} {} is no cron expression: {problem}", quote(&text));
            let help =
                "write `minute hour day month weekday`, as in `30 2 * * 1-5`, or a preset such as `@daily`";
            self.mistake_with_help(span, message, help);
        }
        Some(text)
    }

    /// A date as written; an empty one is none.
    pub(super) fn date(&mut self, name: &str, node: Node<'_>) -> Option<String> {
        let span = node.span;
        let text = self.text_or_none(name, node)?;
        if !is_date(&text) {
            let message = format!("{name} {} is not a date", quote(&text));
            let help = "write `2024-01-31`, or with a time `2024-01-31T12:00:00Z`";
            self.mistake_with_help(span, message, help);
        }
        Some(text)
    }
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A field of a cron expression: its name, its bounds, and names for its values from the lower bound on.
type Field = (&'static str, u32, u32, &'static [&'static str]);

const FIELDS: [Field; 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day", 1, 31, &[]),
    ("month", 1, 12, &MONTHS),
    ("weekday", 0, 7, &WEEKDAYS),
];

fn cron(text: &str) -> Result<(), String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected 5 fields, found {}", fields.len()));
    }
    for (text, field) in fields.iter().zip(FIELDS) {
        let (name, least, most, _) = field;
        if let Some((value, step)) =
            text.split(',').filter_map(|item| item.split_once('/')).find(|(range, _)| is_value(range))
        {
            return Err(format!("a step needs a range: write {}", quote(&format!("{value}-{most}/{step}"))));
        }
        if !text.split(',').all(|item| cron_item(item, field).is_some()) {
            return Err(format!("{} is no {name}, which is {least} to {most}", quote(text)));
        }
    }
    Ok(())
}

/// Neither `*` nor a range.
fn is_value(range: &str) -> bool {
    range != "*" && !range.contains('-')
}

/// `4`, or `*` and `1-5`, both with or without `/2`.
fn cron_item(item: &str, field: Field) -> Option<()> {
    let (range, step) = item.split_once('/').unwrap_or((item, "1"));
    if !digits(step, 1..=2) || step.parse::<u32>().ok()? == 0 {
        return None;
    }
    if range == "*" {
        return Some(());
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    (cron_value(first, field)? <= cron_value(last, field)?).then_some(())
}

fn cron_value(text: &str, (_, least, most, names): Field) -> Option<u32> {
    if let Some(at) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        return Some(least + u32::try_from(at).ok()?);
    }
    let value = digits(text, 1..=2).then(|| text.parse().ok())??;
    (least..=most).contains(&value).then_some(value)
}

/// RFC 3339: a date, or a date and a time with its offset.
fn is_date(text: &str) -> bool {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    is_calendar_date(date) && time.is_none_or(is_time)
}

fn is_calendar_date(date: &str) -> bool {
    let parts: Vec<&str> = date.split('-').collect();
    let &[year, month, day] = &parts[..] else {
        return false;
    };
    let (Some(year), Some(month), Some(day)) = (fixed(year, 4), fixed(month, 2), fixed(day, 2)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

fn is_time(time: &str) -> bool {
    let (clock, offset) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => return false,
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    let is_clock = match &parts[..] {
        // 60 is a leap second.
        &[hour, minute, second] => is_below(hour, 24) && is_below(minute, 60) && is_below(second, 61),
        _ => false,
    };
    let is_offset = match offset.split_at(1) {
        ("Z" | "z", rest) => rest.is_empty(),
        (_, rest) => {
            rest.split_once(':').is_some_and(|(hour, minute)| is_below(hour, 24) && is_below(minute, 60))
        }
    };
    is_clock && digits(fraction, 1..=9) && is_offset
}

fn is_below(text: &str, limit: u32) -> bool {
    fixed(text, 2).is_some_and(|value| value < limit)
}

/// A number of so many digits.
fn fixed(text: &str, length: usize) -> Option<u32> {
    digits(text, length..=length).then(|| text.parse().ok())?
}

fn digits(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_expressions_are_checked_field_by_field() {
        for good in [
            "* * * * *",
            "*/5 0 1 1 0",
            "30 2 * * 1-5",
            "5-59/15 * * * mon-7/2",
            "0 0,12 1-15/2 JAN-mar sun,Sat",
            "59 23 31 12 7",
        ] {
            assert_eq!(cron(good), Ok(()), "{good}");
            assert!(<croner::Cron as std::str::FromStr>::from_str(good).is_ok(), "{good} means times");
        }
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "1,,2 * * * *",
            "-1 * * * *",
            "+1 * * * *",
            "* * * * foo",
        ] {
            assert!(cron(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_step_without_a_range_is_told_with_what_to_write() {
        assert_eq!(cron("5/15 * * * *").unwrap_err(), "a step needs a range: write `5-59/15`");
        assert_eq!(cron("0 0 * * mon/2").unwrap_err(), "a step needs a range: write `mon-7/2`");
    }

    #[test]
    fn dates_are_those_of_rfc_3339() {
        for good in [
            "2024-01-31",
            "2024-02-29",
            "2000-02-29",
            "2024-01-31T12:00:00Z",
            "2024-01-31t23:59:60.123z",
            "2024-01-31 12:00:00+02:00",
            "2024-01-31T12:00:00.5-23:59",
        ] {
            assert!(is_date(good), "{good}");
        }
        for bad in [
            "2024-1-31",
            "2023-02-29",
            "1900-02-29",
            "2024-04-31",
            "2024-13-01",
            "2024-00-10",
            "2024-01-00",
            "31.01.2024",
            "2024-01-31T12:00:00",
            "2024-01-31T24:00:00Z",
            "2024-01-31T12:60:00Z",
            "2024-01-31T12:00Z",
            "2024-01-31T12:00:00Zulu",
            "2024-01-31T12:00:00+0200",
            "2024-01-31T12:00:00.Z",
            "2024-01-31T",
            "now",
            "20240-1-31",
            "2024-01-31T12:00:00.+2:00",
            "",
        ] {
            assert!(!is_date(bad), "{bad}");
        }
    }
}
