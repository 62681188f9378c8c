//! What a plain scalar means in YAML 1.2's core schema: `yes` is text, `true` is not.

use std::borrow::Cow;

use serde_json::Number;

use super::diagnostic::{Diagnostic, Mistakes};
use super::source::Span;
use super::tree::{Value, number_or_mistake};

/// The value of an unquoted scalar; a number without a place in JSON is a mistake.
pub(super) fn plain<'a>(text: Cow<'a, str>, span: Span, mistakes: &mut Mistakes) -> Value<'a> {
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Value::Text(text);
    }
    let number = match &*text {
        number if is_decimal(number) => decimal(number),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF" | ".nan"
        | ".NaN" | ".NAN" => {
            let mistake = Diagnostic::new(span, "a DAG file has no use for infinity or `.nan`");
            mistakes.push(mistake.with_help("for text, put it in quotes"));
            return Value::Invalid;
        }
        other => match radix(other, "0x", 16).or_else(|| radix(other, "0o", 8)) {
            Some(number) => number,
            None => return Value::Text(text),
        },
    };
    number_or_mistake(number, span, mistakes)
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_decimal(text: &str) -> bool {
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        None => (unsigned, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && digits(exponent)
        && !exponent.is_empty()
}

fn decimal(text: &str) -> Option<Number> {
    super::tree::number(text.strip_prefix('+').unwrap_or(text))
}

/// `None` when the text is no such number; `Some(None)` when it is one that does not fit.
fn radix(text: &str, prefix: &str, radix: u32) -> Option<Option<Number>> {
    let digits = text.strip_prefix(prefix)?;
    let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    is_number.then(|| u64::from_str_radix(digits, radix).ok().map(Number::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let mut mistakes = Mistakes::default();
        match plain(Cow::Borrowed(text), Span::default(), &mut mistakes) {
            Value::Number(number) => format!("number {number}"),
            Value::Bool(value) => format!("bool {value}"),
            Value::Null => "null".to_owned(),
            Value::Text(text) => format!("text {text}"),
            _ => mistakes.into_list().remove(0).message,
        }
    }

    #[test]
    fn what_looks_like_a_number_in_the_core_schema_is_one() {
        for (text, number) in [
            ("0", "0"),
            ("+7", "7"),
            ("-12", "-12"),
            ("0123", "123"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("1.5", "1.5"),
            (".5", "0.5"),
            ("1.", "1.0"),
            ("-1e3", "-1000.0"),
            ("+1.5E-1", "0.15"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(read(text), format!("number {number}"), "{text}");
        }
    }

    #[test]
    fn what_does_not_is_text() {
        for text in [
            "yes",
            "no",
            "on",
            "off",
            "y",
            "1_000",
            "1:30",
            "0x",
            "0o8",
            "0b1",
            "-",
            "+",
            ".",
            "..",
            "-.",
            "1e",
            "e3",
            "1.2.3",
            "2024-01-01",
            "inf",
            "nan",
            "nulL",
            "tRue",
            "5m",
            "-0x1",
            "1e5m",
        ] {
            assert_eq!(read(text), format!("text {text}"));
        }
    }

    #[test]
    fn null_and_booleans_have_three_spellings() {
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(read(text), "null");
        }
        for text in ["true", "True", "TRUE"] {
            assert_eq!(read(text), "bool true");
        }
        assert_eq!(read("False"), "bool false");
    }

    #[test]
    fn a_number_that_json_cannot_hold_is_a_mistake() {
        for text in ["18446744073709551616", "1e999", "0xfffffffffffffffff"] {
            assert_eq!(read(text), "this number does not fit 64 bits");
        }
        assert_eq!(read("-.INF"), "a DAG file has no use for infinity or `.nan`");
    }
}
