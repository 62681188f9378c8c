//! The rows that a job leaves as the task's result, if they fit.

use google_cloud_gax::error::Error as Gax;
use oxidag_plugin_api::Outcome;
use serde_json::Value;

use crate::cells;
use crate::remote::Remote;

/// So many rows are asked for at once; with the shortest rows a few pages fill a result.
const PAGE: u32 = 1000;

/// The shortest row as JSON: `{"a":1},`.
const SHORTEST: u64 = 8;

/// The rows of a finished job.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// How many there are.
    pub(crate) total: u64,
    /// Whether the statement is one that returns rows at all.
    pub(crate) returned: bool,
    /// The rows; `None` when they were not wanted or do not fit.
    pub(crate) kept: Option<Vec<Value>>,
}

impl Rows {
    /// Reads them; only counts them if they are not `wanted`.
    pub(crate) async fn read(remote: &Remote, wanted: bool) -> Result<Self, Gax> {
        let mut rows = Self { kept: wanted.then(Vec::new), ..Self::default() };
        let mut bytes = 2;
        let mut page = String::new();
        loop {
            let answer = remote.rows(&page, if wanted { PAGE } else { 0 }).await?;
            let fields = answer.schema.map(|schema| schema.fields).unwrap_or_default();
            rows.total = answer.total_rows.unwrap_or(rows.total);
            rows.returned |= !fields.is_empty();
            for row in &answer.rows {
                rows.push(cells::row(&fields, row), &mut bytes);
            }
            if rows.total * SHORTEST > Outcome::MAX_RESULT as u64 {
                rows.kept = None;
            }
            if rows.kept.is_none() || answer.page_token.is_empty() {
                return Ok(rows);
            }
            page = answer.page_token;
        }
    }

    /// Keeps a row, or none at all once they are too many; `bytes` is their size as JSON.
    fn push(&mut self, row: Value, bytes: &mut usize) {
        let Some(kept) = &mut self.kept else { return };
        *bytes += row.to_string().len() + usize::from(!kept.is_empty());
        if *bytes > Outcome::MAX_RESULT {
            self.kept = None;
        } else {
            kept.push(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_kept_up_to_exactly_the_limit() {
        // Each row takes 13 bytes of JSON and a comma; with the brackets: 14 n + 1.
        let fitting = (Outcome::MAX_RESULT - 1) / 14;
        let mut rows = Rows { kept: Some(Vec::new()), ..Rows::default() };
        let mut bytes = 2;
        for _ in 0..fitting {
            rows.push(json!({"name": "xy"}), &mut bytes);
        }
        assert_eq!(bytes, json!(rows.kept.as_ref().unwrap()).to_string().len());
        rows.push(json!({"name": "xy"}), &mut bytes);
        assert!(rows.kept.is_none());
    }
}
