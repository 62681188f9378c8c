//! The rows of a query: counted, and kept as long as they fit into a task's result.

use oxidag_plugin_api::Outcome;
use serde::Deserialize;
use serde_json::{Number, Value};

/// What a query returned.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) count: u64,
    kept: Vec<Value>,
    /// Size of `kept` as JSON, without the brackets.
    bytes: usize,
    lost: Option<Lost>,
    /// The columns seen so far.
    columns: Vec<String>,
    /// The columns whose numbers the program prints as text.
    numbers: Vec<String>,
}

/// Why rows are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Two columns have this name: an object holds one of them.
    Twice(String),
    /// They are larger than a result may be.
    TooLarge,
    /// Some are no JSON: infinite numbers.
    NoJson,
}

impl Rows {
    /// Takes a column of these rows, as `describe` tells of it.
    pub(crate) fn column(&mut self, json: &str) {
        let Ok(column) = serde_json::from_str::<Column>(json) else { return };
        if self.columns.contains(&column.column_name) {
            self.lose(Lost::Twice(column.column_name.clone()));
        }
        self.columns.push(column.column_name.clone());
        let as_text = ["HUGEINT", "UHUGEINT", "DECIMAL("];
        if as_text.iter().any(|kind| column.column_type.starts_with(kind))
            && !column.column_type.ends_with(']')
        {
            self.numbers.push(column.column_name);
        }
    }

    /// Takes a row as the program prints it.
    pub(crate) fn push(&mut self, json: &str) {
        self.count += 1;
        if self.lost.is_some() {
            return;
        }
        match serde_json::from_str::<Value>(json) {
            Ok(mut row) => {
                for name in &self.numbers {
                    if let Some(value) = row.get_mut(name) {
                        make_number(value);
                    }
                }
                self.bytes += row.to_string().len() + usize::from(!self.kept.is_empty());
                self.kept.push(row);
                if self.bytes + 2 > Outcome::MAX_RESULT {
                    self.lose(Lost::TooLarge);
                }
            }
            Err(_) => self.lose(Lost::NoJson),
        }
    }

    fn lose(&mut self, why: Lost) {
        self.lost = Some(why);
        self.kept = Vec::new();
    }

    /// All of them, or why there are none.
    ///
    /// # Errors
    ///
    /// When they are not kept.
    pub(crate) fn into_result(self) -> Result<Value, Lost> {
        self.lost.map_or(Ok(Value::Array(self.kept)), Err)
    }
}

#[derive(Deserialize)]
struct Column {
    column_name: String,
    column_type: String,
}

/// What is too large for JSON stays a text.
fn make_number(value: &mut Value) {
    let Value::String(text) = &*value else { return };
    if let Ok(integer) = text.parse::<i64>() {
        *value = integer.into();
    } else if let Some(number) =
        text.contains('.').then(|| text.parse().ok()).flatten().and_then(Number::from_f64)
    {
        *value = Value::Number(number);
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Twice(name) => {
                write!(
                    f,
                    "two columns of the result are named `{name}`: give each a name of its own, with `as`"
                )
            }
            Self::TooLarge => {
                write!(
                    f,
                    "the rows are more than {} bytes of JSON, the most a result may have",
                    Outcome::MAX_RESULT
                )
            }
            Self::NoJson => f.write_str("some number in the rows is infinite or none, which JSON cannot say"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_up_to_exactly_the_limit() {
        // 15 bytes of JSON and a comma each; with the brackets: 16 n + 1.
        let fitting = (Outcome::MAX_RESULT - 1) / 16;
        let rows = |count| {
            let mut rows = Rows::default();
            (0..count).for_each(|_| rows.push(r#"{"name":"long"}"#));
            assert_eq!(rows.count, count as u64);
            rows.into_result()
        };
        assert_eq!(rows(fitting).unwrap().to_string().len(), fitting * 16 + 1);
        assert_eq!(rows(fitting + 1), Err(Lost::TooLarge));
    }

    #[test]
    fn numbers_that_come_as_text_are_numbers_again() {
        let mut rows = Rows::default();
        rows.column(r#"{"column_name":"h","column_type":"HUGEINT","null":"YES"}"#);
        rows.column(r#"{"column_name":"d","column_type":"DECIMAL(5,2)","null":"YES"}"#);
        rows.column(r#"{"column_name":"t","column_type":"VARCHAR","null":"YES"}"#);
        rows.push(r#"{"h":"3","d":"1.50","t":"3"}"#);
        rows.push(r#"{"h":"100000000000000000000000","d":null,"t":null}"#);
        let expected = serde_json::json!([
            {"h": 3, "d": 1.5, "t": "3"}, {"h": "100000000000000000000000", "d": null, "t": null},
        ]);
        assert_eq!(rows.into_result(), Ok(expected));
    }

    #[test]
    fn what_is_no_json_is_counted_and_not_kept() {
        let mut rows = Rows::default();
        rows.push(r#"{"a":Infinity}"#);
        rows.push(r#"{"a":1}"#);
        assert_eq!((rows.count, rows.into_result()), (2, Err(Lost::NoJson)));
    }
}
