//! PostgreSQL's text of a value as JSON, by the column's type.
//!
//! What has no counterpart in JSON (timestamps, intervals, uuids, …) stays the text that psql would show.

use serde_json::{Number, Value};
use tokio_postgres::types::{Kind, Type};

/// The JSON of a value of a column with this type; none is null.
pub(super) fn json(kind: Option<&Type>, text: Option<&str>) -> Value {
    let Some(text) = text else { return Value::Null };
    let value = match kind {
        Some(kind) => typed(kind, text),
        None => None,
    };
    value.unwrap_or_else(|| text.into())
}

fn typed(kind: &Type, text: &str) -> Option<Value> {
    if let Kind::Array(element) = kind.kind() {
        return Array::parse(text, element);
    }
    match *kind {
        Type::BOOL => Some(Value::Bool(text == "t")),
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => text.parse::<i64>().ok().map(Value::from),
        // What JSON has no number for (NaN, Infinity) stays text.
        Type::FLOAT4 | Type::FLOAT8 => text.parse().ok().and_then(Number::from_f64).map(Value::Number),
        Type::NUMERIC => numeric(text),
        Type::JSON | Type::JSONB => serde_json::from_str(text).ok(),
        _ => None,
    }
}

/// A number if JSON's readers get exactly this value, else text.
fn numeric(text: &str) -> Option<Value> {
    /// So many decimal digits survive in a double, whichever they are.
    const DIGITS: usize = 15;
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer.into());
    }
    let digits = text.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count();
    if digits > DIGITS {
        return None;
    }
    text.parse().ok().and_then(Number::from_f64).map(Value::Number)
}

/// Reads `{1,NULL,"a \"b\""}`, nested for more dimensions.
struct Array<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    element: &'a Type,
    delimiter: char,
}

impl<'a> Array<'a> {
    /// None for a text that is not an array's.
    fn parse(text: &'a str, element: &'a Type) -> Option<Value> {
        // Arrays that do not begin at 1 say so: `[0:1]={…}`.
        let start = if text.starts_with('[') { text.find('=')? + 1 } else { 0 };
        let delimiter = if *element == Type::BOX { ';' } else { ',' };
        let mut array = Self { rest: text[start..].chars().peekable(), element, delimiter };
        let value = array.list()?;
        array.rest.next().is_none().then_some(value)
    }

    fn list(&mut self) -> Option<Value> {
        let mut items = Vec::new();
        if self.rest.next()? != '{' {
            return None;
        }
        if self.rest.next_if_eq(&'}').is_some() {
            return Some(items.into());
        }
        loop {
            items.push(self.item()?);
            match self.rest.next()? {
                '}' => return Some(items.into()),
                next if next == self.delimiter => {}
                _ => return None,
            }
        }
    }

    fn item(&mut self) -> Option<Value> {
        if self.rest.peek() == Some(&'{') {
            return self.list();
        }
        let mut text = String::new();
        let quoted = self.rest.next_if_eq(&'"').is_some();
        let delimiter = self.delimiter;
        loop {
            match self.rest.next_if(|next| quoted || (*next != delimiter && *next != '}')) {
                Some('\\') => text.push(self.rest.next()?),
                Some('"') if quoted => break,
                Some(character) => text.push(character),
                None if quoted => return None,
                None => break,
            }
        }
        let null = !quoted && text == "NULL";
        Some(json(Some(self.element), (!null).then_some(&text)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of(kind: &Type, text: &str) -> Value {
        super::json(Some(kind), Some(text))
    }

    #[test]
    fn a_numeric_is_a_number_only_if_it_stays_exact() {
        assert_eq!(of(&Type::NUMERIC, "9007199254740993"), json!(9_007_199_254_740_993_i64));
        assert_eq!(of(&Type::NUMERIC, "-12.50"), json!(-12.5));
        assert_eq!(of(&Type::NUMERIC, "0.000000123456789012345"), json!(0.000_000_123_456_789_012_345));
        assert_eq!(of(&Type::NUMERIC, "1.000000000000001"), json!("1.000000000000001"));
        assert_eq!(of(&Type::NUMERIC, "NaN"), json!("NaN"));
    }

    #[test]
    fn arrays_become_lists_with_their_elements_typed() {
        assert_eq!(of(&Type::INT4_ARRAY, "{1,NULL,-3}"), json!([1, null, -3]));
        assert_eq!(of(&Type::INT4_ARRAY, "[0:1]={7,8}"), json!([7, 8]));
        assert_eq!(of(&Type::BOOL_ARRAY, "{{t,f},{f,t}}"), json!([[true, false], [false, true]]));
        assert_eq!(of(&Type::TEXT_ARRAY, r#"{a,"b,\"c\\","NULL",""}"#), json!(["a", r#"b,"c\"#, "NULL", ""]));
        assert_eq!(of(&Type::TEXT_ARRAY, "{}"), json!([]));
        assert_eq!(of(&Type::BOX_ARRAY, "{(1,1),(0,0);(2,2),(1,1)}"), json!(["(1,1),(0,0)", "(2,2),(1,1)"]));
    }

    proptest! {
        #[test]
        fn any_text_stays_what_it_is_where_it_is_no_value(text in r#"[\[\]{},"\\=:a1 N]{0,20}"#) {
            let value = of(&Type::TEXT_ARRAY, &text);
            prop_assert!(value.is_array() || value == json!(text));
        }
    }
}
