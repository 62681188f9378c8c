//! One attempt, whichever database it runs on: what is logged, counted and left as the result.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use oxidag_plugin_api::{Error, Level, Outcome, Result};
use serde_json::{Map, Value};

use crate::config::{Request, ResultMode};
use crate::reporter::{Cancel, Reporter};
use crate::script::{Control, Script, Statement};

/// What one attempt works with.
pub(crate) struct Job<'a> {
    pub(crate) script: &'a Script<'a>,
    pub(crate) request: &'a Request,
    pub(crate) reporter: Arc<dyn Reporter>,
    pub(crate) cancel: Cancel,
    /// The database was asked to commit, and has not answered.
    pub(crate) committing: Cell<bool>,
}

impl<'a> Job<'a> {
    pub(crate) fn new(script: &'a Script<'a>, request: &'a Request, reporter: Arc<dyn Reporter>) -> Self {
        Self { script, request, reporter, cancel: Cancel::default(), committing: Cell::new(false) }
    }

    /// Whether the engine puts the whole script into one transaction.
    pub(crate) fn in_transaction(&self) -> bool {
        self.request.transaction && !self.script.controls_transactions()
    }

    /// Whether the script may run again as if nothing had happened, now that this statement has failed. `refused`: the
    /// database said so, which means that the statement itself changed nothing.
    pub(crate) fn is_undone(&self, statement: &Statement<'_>, refused: bool) -> bool {
        let control = statement.control();
        // What a script begins with mostly sets the connection, which is closed.
        let sets = |statement: &&Statement<'_>| {
            matches!(statement.verb().as_str(), "SET" | "RESET" | "PRAGMA" | "ATTACH" | "DETACH")
        };
        let mut before = self.script.statements[..statement.number - 1].iter().skip_while(sets);
        match before.next() {
            _ if self.in_transaction() => true,
            // These may commit in their middle.
            None if matches!(statement.verb().as_str(), "CALL" | "DO") => false,
            None => refused || control == Some(Control::Begin),
            Some(first) => {
                let is_open = |statement: &Statement<'_>| statement.control() != Some(Control::End);
                let is_inside = first.control() == Some(Control::Begin) && before.all(is_open);
                is_inside && (refused || control != Some(Control::End))
            }
        }
    }

    /// Whether the rows of this statement are wanted as the result.
    pub(crate) fn rows_of(&self, statement: &Statement<'_>) -> Rows {
        let last = statement.number == self.script.statements.len();
        match self.request.result {
            Some(ResultMode::Rows) if last => Rows::new(Keep::Must),
            None if self.script.statements.len() == 1 => Rows::new(Keep::IfTheyFit),
            _ => Rows::new(Keep::No),
        }
    }

    /// What the script must be before any of it runs.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(open) = self.script.left_open() {
            return Err(Error::invalid(format!(
                "{}: the script begins a transaction and does not end it, so its changes would be lost: \
                 end it with `commit`, or leave transactions to the engine",
                self.script.locate(open, None)
            )));
        }
        Ok(())
    }
}

/// Why rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    No,
    IfTheyFit,
    Must,
}

/// The rows of one statement: counted, and kept as JSON where they are wanted.
#[derive(Debug)]
pub(crate) struct Rows {
    keep: Keep,
    columns: Vec<String>,
    kept: Vec<Value>,
    /// Size of `kept` as JSON.
    bytes: usize,
    count: u64,
}

impl Rows {
    fn new(keep: Keep) -> Self {
        Self { keep, columns: Vec::new(), kept: Vec::new(), bytes: 2, count: 0 }
    }

    /// Whether values have to be read at all.
    pub(crate) fn wanted(&self) -> bool {
        self.keep != Keep::No && !self.overflown()
    }

    /// Names the columns; one whose name was there already becomes `name_2`.
    pub(crate) fn set_columns<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.columns.clear();
        for name in names {
            let mut unique = name.to_owned();
            let mut copy = 2;
            while self.columns.contains(&unique) {
                unique = format!("{name}_{copy}");
                copy += 1;
            }
            self.columns.push(unique);
        }
    }

    /// Counts a row and keeps what `value` says of each column, while rows are wanted.
    pub(crate) fn push(&mut self, value: impl Fn(usize) -> Result<Value>) -> Result<()> {
        self.count += 1;
        if !self.wanted() {
            return Ok(());
        }
        let mut row = Map::new();
        for (index, name) in self.columns.iter().enumerate() {
            row.insert(name.clone(), value(index)?);
        }
        let row = Value::Object(row);
        self.bytes += row.to_string().len() + usize::from(!self.kept.is_empty());
        if self.overflown() {
            self.kept = Vec::new();
        } else {
            self.kept.push(row);
        }
        Ok(())
    }

    fn overflown(&self) -> bool {
        self.bytes > Outcome::MAX_RESULT
    }
}

/// What a statement did.
pub(crate) struct Done {
    /// `None` for a statement that returns no rows by its nature.
    pub(crate) rows: Option<Rows>,
    pub(crate) affected: u64,
    pub(crate) time: Duration,
}

/// What the statements did so far.
#[derive(Default)]
pub(crate) struct Tally {
    affected: Vec<u64>,
    returned: u64,
    last: Option<Rows>,
}

impl Tally {
    /// Of more statements than these, the metrics have only the total.
    const EACH: usize = 100;

    /// Counts and logs a statement.
    pub(crate) fn add(&mut self, job: &Job<'_>, statement: &Statement<'_>, done: Done) {
        let line = statement.place(None).0;
        let rows = match (&done.rows, done.affected) {
            (Some(rows), 0) => counted(rows.count, "returned"),
            (_, affected) => counted(affected, "affected"),
        };
        job.reporter.log(
            Level::Info,
            &format!(
                "statement {} of {}, line {line}: {}: {rows}, {}",
                statement.number,
                job.script.statements.len(),
                statement.summary(),
                seconds(done.time)
            ),
        );
        self.affected.push(done.affected);
        self.returned += done.rows.as_ref().map_or(0, |rows| rows.count);
        self.last = done.rows;
    }

    /// The outcome, once every statement has run; to be asked for before the changes are committed.
    pub(crate) fn outcome(self, job: &Job<'_>) -> Result<Outcome> {
        let mut outcome = Outcome::default()
            .with_metric("rows_affected", self.affected.iter().sum::<u64>())
            .with_metric("rows_returned", self.returned)
            .with_metric("statements", self.affected.len());
        if self.affected.len() <= Self::EACH {
            outcome = outcome.with_metric("rows_affected_by_statement", self.affected);
        }
        let too_large = |rows: &Rows| {
            format!(
                "the {} rows are more than {} bytes of JSON, the most a result may have",
                rows.count,
                Outcome::MAX_RESULT
            )
        };
        match self.last {
            Some(rows) if rows.wanted() => return Ok(outcome.with_result(rows.kept)),
            Some(rows) if rows.keep == Keep::Must => {
                return Err(Error::failed(format!(
                    "{}: select less, or leave out `result: rows`",
                    too_large(&rows)
                )));
            }
            Some(rows) if rows.keep == Keep::IfTheyFit => {
                job.reporter.log(Level::Info, &format!("no result is left: {}", too_large(&rows)));
            }
            None if job.request.result == Some(ResultMode::Rows) => {
                return Err(Error::invalid(
                    "`result: rows` wants the rows of the last statement, but that returns none: \
                     end the script with a `select`",
                ));
            }
            Some(_) if job.request.result.is_none() => job.reporter.log(
                Level::Info,
                "no result is left: the script has several statements (`result: rows` would leave the last one's rows)",
            ),
            _ => {}
        }
        Ok(outcome)
    }
}

fn counted(rows: u64, what: &str) -> String {
    format!("{rows} {} {what}", if rows == 1 { "row" } else { "rows" })
}

fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1000.0)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// Goes on after the message of an error that could pass, of a script that is not undone.
pub(crate) const NOT_UNDONE: &str = "; what was committed before stays, so this is not tried again by itself";

/// Goes on after the message of an error without an answer.
pub(crate) const UNKNOWN: &str =
    "; whether the changes are there is unknown: look before the task runs again";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lexer::Dialect;

    /// Whether the script is undone when its last statement fails, refused by the database and without an answer.
    fn undone(sql: &str, transaction: bool) -> (bool, bool) {
        let script = Script::new(sql, "s", Dialect::Postgres);
        let url = String::new();
        let request = Request { url, busy_timeout: Duration::ZERO, transaction, result: None };
        let job = Job::new(&script, &request, Arc::new(crate::testing::Recorder::default()));
        let last = script.statements.last().unwrap();
        (job.is_undone(last, true), job.is_undone(last, false))
    }

    #[test]
    fn only_a_script_of_which_nothing_is_committed_may_run_again() {
        let (both, refused, neither) = ((true, true), (true, false), (false, false));
        assert_eq!(undone("insert into a values (1); insert into b values (1)", true), both);
        assert_eq!(undone("insert into a values (1)", false), refused);
        assert_eq!(undone("insert into a values (1); insert into b values (1)", false), neither);
        assert_eq!(undone("set a = 1; insert into a values (1)", false), refused);
        assert_eq!(undone("call load()", false), neither, "it may commit in its middle");
        assert_eq!(undone("call load()", true), both, "not in the engine's transaction");
        assert_eq!(undone("begin", true), both, "the script's own");
        assert_eq!(undone("begin; insert into a values (1); call load()", true), both);
        assert_eq!(undone("begin; insert into a values (1); commit", true), refused);
        assert_eq!(undone("begin; insert into a values (1); commit; select 1", true), neither);
        assert_eq!(undone("begin; select 1; commit; begin; select 1", true), neither);
        assert_eq!(undone("select 1; begin; select 1", true), neither);
    }

    #[test]
    fn a_second_column_of_the_same_name_gets_a_number() {
        let mut rows = Rows::new(Keep::Must);
        rows.set_columns(["id", "id", "id_2", "id"]);
        assert_eq!(rows.columns, ["id", "id_2", "id_2_2", "id_3"]);
    }

    #[test]
    fn rows_are_kept_up_to_exactly_the_limit() {
        // Each row takes 15 bytes of JSON and a comma; with the brackets: 16 n + 1.
        let fitting = (Outcome::MAX_RESULT - 1) / 16;
        let mut rows = Rows::new(Keep::IfTheyFit);
        rows.set_columns(["name"]);
        for _ in 0..fitting {
            rows.push(|_| Ok(json!("long"))).unwrap();
        }
        assert!(rows.wanted());
        assert_eq!(rows.bytes, Value::from(rows.kept.clone()).to_string().len());
        rows.push(|_| Ok(json!("long"))).unwrap();
        rows.push(|_| panic!("nobody wants this value")).unwrap();
        assert!(!rows.wanted() && rows.kept.is_empty());
        assert_eq!(rows.count, fitting as u64 + 2);
    }
}
