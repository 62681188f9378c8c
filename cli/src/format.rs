//! How people read durations, times and foreign text. No I/O, no clock.

use std::time::Duration;

use oxidag_core::event::Timestamp;
use oxidag_core::logs::rfc3339;

/// `12ms`, `3.4s`, `5m06s`, `7h08m`, `9d10h`: never longer than six characters, below a hundred days.
pub(crate) fn duration(duration: Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    let seconds = (duration.as_millis() + 500) / 1000;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    if duration < Duration::from_secs(1) && tenths < 10 {
        format!("{}ms", duration.as_millis())
    } else if tenths < 600 {
        format!("{}.{}s", tenths / 10, tenths % 10)
    } else if hours == 0 {
        format!("{minutes}m{:02}s", seconds % 60)
    } else if hours < 24 {
        format!("{hours}h{:02}m", minutes % 60)
    } else {
        format!("{}d{:02}h", hours / 24, hours % 24)
    }
}

/// The same for seconds.
pub(crate) fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// From one time to a later one; no time at all where the clock went back.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0))
}

/// `2026-11-22 18:44:05`, in UTC.
pub(crate) fn time(time: Timestamp) -> String {
    let mut text = rfc3339(time).to_string();
    text.truncate("2026-11-22T18:44:05".len());
    text.replace('T', " ")
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(count: usize, of: &str) -> String {
    if count == 1 { format!("1 {of}") } else { format!("{count} {of}s") }
}

/// `512 B`, `1.5 kB`, `20 MB`: two digits or three say enough.
pub(crate) fn bytes(bytes: u64) -> String {
    let bytes = u128::from(bytes);
    let (mut unit, mut name) = (1, "B");
    for greater in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        // As it is shown, after rounding.
        if (bytes + unit / 2) / unit < 1000 {
            break;
        }
        (unit, name) = (unit * 1000, greater);
    }
    let tenths = (bytes * 10 + unit / 2) / unit;
    if unit > 1 && tenths < 100 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        format!("{} {name}", (bytes + unit / 2) / unit)
    }
}

/// Foreign text without anything that moves the cursor: escape sequences are dropped, tabs become blanks.
pub(crate) fn printable(text: &str) -> String {
    let text = console::strip_ansi_codes(text);
    text.chars()
        .filter_map(|c| if c == '\t' { Some(' ') } else { Some(c).filter(|c| !c.is_control()) })
        .collect()
}

/// The same in one line, whatever it was.
pub(crate) fn one_line(text: &str) -> String {
    let lines: Vec<String> =
        text.lines().map(|line| printable(line.trim())).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

/// Cut to so many columns, with `…` at its end where something is missing.
pub(crate) fn shorten(text: &str, columns: usize) -> String {
    console::truncate_str(text, columns, "…").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_exact_as_they_need_to_be() {
        let of = |ms| duration(Duration::from_millis(ms));
        let shown: Vec<String> = [
            0,
            12,
            949,
            950,
            999,
            1000,
            59_949,
            59_950,
            3_599_499,
            3_599_500,
            86_399_499,
            86_399_500,
            8_553_600_000,
        ]
        .map(of)
        .into();
        assert_eq!(
            shown,
            [
                "0ms", "12ms", "949ms", "1.0s", "1.0s", "1.0s", "59.9s", "1m00s", "59m59s", "1h00m",
                "23h59m", "1d00h", "99d00h"
            ]
        );
    }

    #[test]
    fn sizes_are_as_exact_as_they_need_to_be() {
        let shown = [0, 999, 1000, 1_549, 9_949, 9_950, 20_499, 999_499, 999_500, 3_456_789_012].map(bytes);
        assert_eq!(
            shown,
            ["0 B", "999 B", "1.0 kB", "1.5 kB", "9.9 kB", "10 kB", "20 kB", "999 kB", "1.0 MB", "3.5 GB"]
        );
    }

    #[test]
    fn a_clock_that_went_back_gives_no_duration() {
        assert_eq!(between(Timestamp(5), Timestamp(3)), Duration::ZERO);
        assert_eq!(between(Timestamp(0), Timestamp(1_500_000)), Duration::from_millis(1500));
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor() {
        assert_eq!(printable("a\x1b[2J\x1b[31mb\tc\rd\x07"), "ab cd");
        assert_eq!(one_line("syntax error\n  near \"x\"\n\n"), "syntax error; near \"x\"");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(shorten("create_table_late", 8), "create_…");
        assert_eq!(shorten("report", 8), "report");
    }

    #[test]
    fn times_are_read_in_utc() {
        assert_eq!(time(Timestamp(1_795_373_045_123_456)), "2026-11-22 18:44:05");
    }
}
