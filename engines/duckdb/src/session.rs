//! What the program is told, and what its output says of each statement.

use std::fmt::Write as _;

use crate::rows::Rows;
use crate::translate::MACROS;

/// Printed before each statement, with its number. A row is an object, so none begins so.
const MARK: &str = "oxidag-statement ";

/// Printed before the columns of a query, with its number.
const COLUMNS: &str = "oxidag-columns ";

/// Printed after each statement.
const CHANGES: &str = "changes:";

/// The program's input.
pub(crate) struct Session(String);

impl Session {
    /// One in which tables without a schema are in this one.
    pub(crate) fn new(bigquery: bool, schema: Option<&str>) -> Self {
        let mut text = String::from(".changes on\n");
        if bigquery {
            text.push_str("SET TimeZone = 'UTC';\n");
            text.push_str(MACROS);
        }
        if let Some(schema) = schema {
            let schema = quoted(schema);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "CREATE SCHEMA IF NOT EXISTS {schema};\nUSE {schema};");
        }
        Self(text)
    }

    /// Adds a statement of this number, which needs a schema.
    pub(crate) fn push(&mut self, number: usize, sql: &str, needs: Option<&str>) {
        let _ = writeln!(self.0, ".print {MARK}{number}");
        if let Some(schema) = needs {
            let _ = writeln!(self.0, "CREATE SCHEMA IF NOT EXISTS {};", quoted(schema));
        }
        // A comment at its end must not hide the semicolon.
        let _ = writeln!(self.0, "{sql}\n;");
    }

    /// Adds a look at the columns of the query that follows: the program prints large integers and decimals as text.
    pub(crate) fn describe(&mut self, number: usize, sql: &str) {
        let _ = writeln!(self.0, ".print {COLUMNS}{number}\nDESCRIBE {sql}\n;");
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// How far the program has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The statement that runs; 0 before the first.
    pub(crate) statement: usize,
    /// What it has done so far.
    rows: Rows,
    /// What is printed now are the columns of a query.
    describes: bool,
    changed: u64,
    /// Rows changed by all statements so far.
    total: u64,
}

/// What a line of output means.
#[derive(Debug)]
pub(crate) enum Line {
    /// A part of what is counted, or nothing.
    Counted,
    /// The next statement begins; this is what became of the one before.
    Done(Done),
    /// What DuckDB gives beside rows: a plan, for one.
    Text,
}

/// What a statement did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) statement: usize,
    pub(crate) rows: Rows,
    pub(crate) changed: u64,
}

impl Progress {
    /// Takes a line of the program's output.
    pub(crate) fn take(&mut self, line: &str) -> Line {
        if line.starts_with('{') {
            if self.describes { self.rows.column(line) } else { self.rows.push(line) }
        } else if let Some(number) = line.strip_prefix(COLUMNS) {
            self.statement = number.trim().parse().unwrap_or_default();
            self.describes = true;
        } else if let Some(number) = line.strip_prefix(MARK) {
            if std::mem::take(&mut self.describes) {
                return Line::Counted;
            }
            let done = self.finish();
            self.statement = number.trim().parse().unwrap_or(done.statement + 1);
            return Line::Done(done);
        } else if let Some(total) = line.strip_prefix(CHANGES).and_then(|rest| rest.rsplit(' ').next()) {
            let total = total.parse().unwrap_or(self.total);
            self.changed += total - self.total.min(total);
            self.total = total;
        } else if !line.trim().is_empty() {
            return Line::Text;
        }
        Line::Counted
    }

    /// What became of the statement that ran last.
    pub(crate) fn finish(&mut self) -> Done {
        Done {
            statement: self.statement,
            rows: std::mem::take(&mut self.rows),
            changed: std::mem::take(&mut self.changed),
        }
    }
}
