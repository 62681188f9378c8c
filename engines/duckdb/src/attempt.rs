//! One attempt: from the task to its outcome.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oxidag_plugin_api::{Error, Level, Outcome, Result, Task};
use polyglot_sql::DialectType;

use crate::config::{Config, Database, Request, ResultMode};
use crate::lock;
use crate::program::{self, Ended};
use crate::reporter::Reporter;
use crate::rows::Lost;
use crate::script::{self, Problem, Script, Statement};
use crate::session::{Done, Line, Progress, Session};
use crate::translate::{Translated, translate};

/// How long another process's use of the database is waited for before looking again.
const PAUSE: Duration = Duration::from_millis(200);

/// How the program begins when another process has the database.
const LOCKED: &str = "Could not set lock on file";

/// The stack on which scripts are translated: the library follows their nesting down it, as deep as it allows, and an
/// overflow would end the scheduler. Only what is used of it takes memory.
const STACK: usize = 512 << 20;

/// The signals by which others end a process: hangup, interrupt, kill, terminate.
const KILLS: [i32; 4] = [1, 2, 9, 15];

/// The longest message of DuckDB that goes into an error.
const LONGEST: usize = 2_000;

/// The task's script as statements.
///
/// # Errors
///
/// When it is no script.
pub(crate) fn read<'a>(config: &Config, task: &'a Task) -> Result<Script<'a>, Problem> {
    let dialect = if config.translate { DialectType::BigQuery } else { DialectType::DuckDB };
    let text = &task.script.text;
    if let Some(offset) = text.find('\0') {
        let line = text[..offset].matches('\n').count() + 1;
        return Err(Problem {
            message: "the script has a null character in it".to_owned(),
            place: (line, 1),
        });
    }
    Script::new(text, &task.script.name, dialect)
}

/// What each statement is for DuckDB, or what is wrong with it.
///
/// # Errors
///
/// When the system has no thread left.
pub(crate) fn statements(
    config: &Config,
    task: &Task,
    script: &Script<'_>,
) -> Result<Vec<Result<Translated, Problem>>> {
    let all = || script.statements.iter().map(|one| for_duckdb(config, task, script, one)).collect();
    let mut translated: Vec<_> = if config.translate { on_large_stack(all)? } else { all() };
    if let Some(open) = script.open_transaction() {
        let message = "the transaction that begins here is never ended, which would undo it: end it with `commit` or \
                       `rollback`";
        let problem = Problem { message: message.to_owned(), place: script.place(open, 0) };
        translated[open.number - 1] = Err(problem);
    }
    Ok(translated)
}

fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let thread =
            thread.map_err(|error| Error::transient(format!("cannot translate the script: {error}")))?;
        // A panic goes on, to be caught where all of an engine's are.
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn for_duckdb(
    config: &Config,
    task: &Task,
    script: &Script<'_>,
    statement: &Statement<'_>,
) -> Result<Translated, Problem> {
    if config.translate {
        return translate(script, statement, &task.params);
    }
    if statement.sql.starts_with('.') {
        let message = "commands of the duckdb program, which begin with a dot, are not SQL".to_owned();
        return Err(Problem { message, place: script.place(statement, 0) });
    }
    Ok(Translated { sql: statement.sql.to_owned(), needs: None })
}

/// Runs the task's script and returns when it has ended.
///
/// # Errors
///
/// When it has no translation, a statement fails, or the task is asked to stop.
pub(crate) async fn run(config: &Config, task: &Task, host: Arc<dyn Reporter>) -> Result<Outcome> {
    let request = Request::new(config, task)?;
    let script = read(config, task).map_err(|problem| script::invalid(&task.script.name, &problem))?;
    if script.statements.is_empty() {
        host.log(Level::Warn, "the script has no statements");
    }
    let wanted = wanted(&script, request.result).map_err(|problem| script.invalid(&problem))?;
    let mut session = Session::new(config.translate, request.dataset.as_deref());
    for (statement, translated) in script.statements.iter().zip(statements(config, task, &script)?) {
        let Translated { sql, needs } = translated.map_err(|problem| script.invalid(&problem))?;
        if config.translate {
            host.log(Level::Debug, &format!("statement {} for DuckDB: {sql}", statement.number));
        }
        if wanted == Some(statement.number) {
            session.describe(statement.number, &sql);
        }
        session.push(statement.number, &sql, needs.as_deref());
    }
    Attempt { config, task, script: &script, host: &host, request: &request, wanted }.run(&session).await
}

/// The number of the statement whose rows are the result.
fn wanted(script: &Script<'_>, mode: ResultMode) -> Result<Option<usize>, Problem> {
    match (mode, script.statements.as_slice()) {
        (ResultMode::IfTheyFit, [only]) if only.is_query() => Ok(Some(1)),
        (ResultMode::IfTheyFit | ResultMode::None, _) | (ResultMode::Rows, []) => Ok(None),
        (ResultMode::Rows, [.., last]) if last.is_query() => Ok(Some(last.number)),
        (ResultMode::Rows, [.., last]) => Err(Problem {
            message: "`result: rows` wants the rows of the last statement, but that is no query".to_owned(),
            place: script.place(last, 0),
        }),
    }
}

struct Attempt<'a> {
    config: &'a Config,
    task: &'a Task,
    script: &'a Script<'a>,
    host: &'a Arc<dyn Reporter>,
    request: &'a Request,
    wanted: Option<usize>,
}

/// What the statements did so far.
#[derive(Default)]
struct Tally {
    returned: u64,
    changed: u64,
    last: Option<Done>,
}

impl Attempt<'_> {
    async fn run(&self, session: &Session) -> Result<Outcome> {
        let program = program::find(&self.config.program)?;
        let (name, _turn) = match &self.request.database {
            Database::Memory => (":memory:", None),
            Database::File(file) => {
                let name = file.to_str().ok_or_else(|| {
                    Error::invalid(format!("the database's path {} is no text: rename it", file.display()))
                })?;
                let folder = file.parent().unwrap_or(file);
                std::fs::create_dir_all(folder).map_err(|error| {
                    Error::invalid(format!(
                        "the database's folder {} cannot be made: {error}",
                        folder.display()
                    ))
                })?;
                (name, Some(self.turn(file).await?))
            }
        };
        let arguments = ["-no-init", "-batch", "-bail", "-jsonlines", name];
        let started = Instant::now();
        loop {
            let mut progress = Progress::default();
            let mut tally = Tally::default();
            let each = |line: &str| self.take(line, &mut progress, &mut tally);
            let print = |line: &str| self.host.log(Level::Stdout, line);
            let (folder, stop) = (&self.task.working_dir, self.host.until_cancelled());
            let ended =
                program::run((&program, &arguments), folder, session.text(), each, print, stop).await?;
            if ended.status.success() {
                if !ended.errors.is_empty() {
                    self.host.log(Level::Stderr, ended.errors.trim_end());
                }
                self.done(progress.finish(), &mut tally);
                return self.outcome(tally);
            }
            let locked = progress.statement == 0 && ended.errors.contains(LOCKED);
            if !locked {
                return Err(self.failure(&ended, progress.statement, name));
            }
            self.wait(&ended, started, name).await?;
        }
    }

    /// Waits until no other task of this process uses the file, which is as long as they take.
    async fn turn(&self, file: &Path) -> Result<lock::Turn> {
        let waits = || self.host.log(Level::Debug, "another task has the database: waiting for its end");
        tokio::select! {
            turn = lock::turn(file, waits) => Ok(turn),
            () = self.host.until_cancelled() => Err(cancelled()),
        }
    }

    /// Waits for another process that has the database open.
    async fn wait(&self, ended: &Ended, started: Instant, database: &str) -> Result<()> {
        if started.elapsed() >= self.config.lock_timeout.0 {
            return Err(self.too_long(database, &ended.errors));
        }
        self.host.log(Level::Debug, "another process has the database open: waiting");
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => Ok(()),
            () = self.host.until_cancelled() => Err(cancelled()),
        }
    }

    fn too_long(&self, database: &str, errors: &str) -> Error {
        let waited = self.config.lock_timeout.0.as_secs_f64();
        let who = match holder(errors) {
            Some(id) => format!("process {id}"),
            None => "another process".to_owned(),
        };
        Error::transient(format!(
            "{who} still has the database {database} open after {waited} s, and DuckDB lets one process at a time use \
             it: end that process, or raise `lock_timeout`"
        ))
    }

    /// Takes a line of the program's output.
    fn take(&self, line: &str, progress: &mut Progress, tally: &mut Tally) {
        match progress.take(line) {
            Line::Counted => {}
            Line::Done(done) => self.done(done, tally),
            Line::Text => self.host.log(Level::Stdout, line),
        }
    }

    /// Counts and logs a statement that has run.
    fn done(&self, done: Done, tally: &mut Tally) {
        let Some(statement) = done.statement.checked_sub(1).and_then(|i| self.script.statements.get(i))
        else {
            return;
        };
        let what = match (done.rows.count, done.changed) {
            (0, changed) => counted(changed, "affected"),
            (returned, _) => counted(returned, "returned"),
        };
        let (line, _) = self.script.place(statement, 0);
        let all = self.script.statements.len();
        let verb = statement.tokens.first().map(|token| token.text.to_ascii_uppercase()).unwrap_or_default();
        let text = format!("statement {} of {all}, line {line}: {verb}: {what}", done.statement);
        self.host.log(Level::Info, &text);
        tally.returned += done.rows.count;
        tally.changed += done.changed;
        tally.last = Some(done);
    }

    fn outcome(&self, tally: Tally) -> Result<Outcome> {
        let outcome = Outcome::default()
            .with_metric("rows_affected", tally.changed)
            .with_metric("rows_returned", tally.returned)
            .with_metric("statements", self.script.statements.len());
        match tally.last.map(|done| (self.wanted == Some(done.statement), done.rows.into_result())) {
            Some((true, Ok(rows))) => Ok(outcome.with_result(rows)),
            Some((true, Err(lost @ Lost::Twice(_)))) => {
                let place = self.script.statements.last().map(|last| self.script.locate(last) + ": ");
                Err(Error::invalid(format!("{}{lost}", place.unwrap_or_default())))
            }
            Some((true, Err(lost))) if self.request.result == ResultMode::Rows => {
                Err(Error::failed(format!("{lost}: select less, or leave out `result: rows`")))
            }
            Some((true, Err(lost))) => {
                self.host.log(Level::Info, &format!("no result is left: {lost}"));
                Ok(outcome)
            }
            _ => Ok(outcome),
        }
    }

    /// Why the program ended as it did, while this statement ran.
    fn failure(&self, ended: &Ended, statement: usize, database: &str) -> Error {
        self.host.log(Level::Stderr, ended.errors.trim_end());
        let signal = ended.signal();
        if let Some(signal) = signal.filter(|signal| KILLS.contains(signal)) {
            // Not transient: what was committed before would be done again without `retries`.
            return Error::failed(format!(
                "DuckDB was killed (signal {signal}), perhaps since memory ran out: give it more, or run fewer tasks at \
                 a time"
            ));
        }
        let mut text = message(&ended.errors);
        if let Some(signal) = signal {
            text = format!("DuckDB crashed (signal {signal}) {text}");
        } else if text.is_empty() {
            text = format!("DuckDB ended with {}", ended.status);
        }
        match statement.checked_sub(1).and_then(|i| self.script.statements.get(i)) {
            None => Error::failed(format!("the database {database} cannot be used: {text}")),
            Some(statement) => {
                let place = self.script.locate(statement);
                match (ended.errors.starts_with("Parser Error"), self.config.translate) {
                    // The author's SQL was right as far as the translation goes.
                    (true, true) => Error::invalid(format!(
                        "{place}: DuckDB has no such syntax as this was translated to: {text}"
                    )),
                    (true, false) => Error::invalid(format!("{place}: {text}")),
                    (false, _) => Error::failed(format!("{place}: {text}")),
                }
            }
        }
    }
}

/// DuckDB's message, without the lines that point into a statement which the author never saw.
fn message(errors: &str) -> String {
    let errors = errors.split("\nLINE ").next().unwrap_or_default();
    let words: Vec<&str> = errors.split_whitespace().collect();
    let text = words.join(" ");
    // The host masks what is left of a secret before an ellipsis.
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The process that has the database, as DuckDB tells of it.
fn holder(errors: &str) -> Option<u32> {
    errors.split_once("(PID ")?.1.split_once(')')?.0.parse().ok()
}

fn counted(rows: u64, what: &str) -> String {
    format!("{rows} {} {what}", if rows == 1 { "row" } else { "rows" })
}

fn cancelled() -> Error {
    Error::cancelled("stopped on request while waiting for the database")
}
