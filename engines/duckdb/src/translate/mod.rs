//! From BigQuery's SQL to DuckDB's, a statement at a time.
//!
//! `polyglot-sql` translates. What it does not know or gets wrong is mended here before: names of tables in
//! `names`, functions in `functions`, `@name` in `parameters`; each changes the statement's text at some of its
//! tokens, and `edits` remembers where, so that a mistake is shown in the script as it was written. What could
//! only come out wrong is refused.

mod edits;
mod functions;
mod names;
mod parameters;

use polyglot_sql::{Dialect, DialectType, TranspileOptions};
use serde_json::{Map, Value};

use crate::script::{ByteOffsets, Problem, Script, Statement, reason};
use edits::Edits;

pub(crate) use functions::MACROS;

/// What is not translated, and the byte in the statement that it is about.
#[derive(Debug)]
struct Refused {
    message: String,
    offset: usize,
}

/// A statement for DuckDB.
#[derive(Debug)]
pub(crate) struct Translated {
    pub(crate) sql: String,
    /// The schema that must be there for it, as nobody makes datasets on a laptop.
    pub(crate) needs: Option<String>,
}

/// Translates a statement; `params` are what `@name` stands for.
///
/// # Errors
///
/// When it is wrong, or has no translation.
pub(crate) fn translate(
    script: &Script<'_>,
    statement: &Statement<'_>,
    params: &Map<String, Value>,
) -> Result<Translated, Problem> {
    let refused = |Refused { message, offset }| Problem { message, place: script.place(statement, offset) };
    let mut edits = Edits::default();
    check_head(statement).map_err(refused)?;
    let needs = names::rewrite(statement, &mut edits).map_err(refused)?;
    functions::rewrite(statement, &mut edits).map_err(refused)?;
    parameters::fill(statement, params, &mut edits).map_err(refused)?;
    let mended = edits.apply(statement.sql);
    let bigquery = Dialect::get(DialectType::BigQuery);
    let translated = bigquery.transpile_with(&mended, DialectType::DuckDB, TranspileOptions::strict());
    match translated.as_deref() {
        Ok([sql]) => Ok(Translated { sql: sql.clone(), needs }),
        Ok(_) => Err(refused(Refused { message: "it is not one statement".to_owned(), offset: 0 })),
        Err(error) => {
            let offset = ByteOffsets::of(&mended).of_char(error.start().unwrap_or(0));
            let offset = edits.origin(offset).min(statement.sql.len());
            Err(refused(Refused { message: reason(error), offset }))
        }
    }
}

/// How the statements begin that have a translation.
const HEADS: [&[&str]; 8] = [
    &["select"],
    &["with"],
    &["("],
    &["insert"],
    &["update"],
    &["delete"],
    &["merge"],
    &["truncate", "table"],
];

/// What a `create`, a `drop` or an `alter` may be about.
const OBJECTS: [&str; 4] = ["table", "view", "schema", "function"];

/// Scripting would be translated in part, or to something else.
fn check_head(statement: &Statement<'_>) -> Result<(), Refused> {
    let words: Vec<String> =
        statement.tokens.iter().take(6).map(|token| token.text.to_ascii_lowercase()).collect();
    let known = match words[0].as_str() {
        "begin" | "commit" | "rollback" => words[1..].iter().all(|word| word == "transaction"),
        "create" | "drop" | "alter" => {
            let skipped = ["or", "replace", "temp", "temporary"];
            let object = words[1..].iter().find(|word| !skipped.contains(&word.as_str()));
            object.is_some_and(|object| OBJECTS.contains(&object.as_str()))
        }
        _ => HEADS.iter().any(|head| head.iter().eq(words.iter().take(head.len()))),
    };
    if known {
        return Ok(());
    }
    let named = if ["begin", "create", "drop", "alter"].contains(&words[0].as_str()) { 2 } else { 1 };
    let head = words.iter().take(named).map(|word| word.to_ascii_uppercase()).collect::<Vec<_>>().join(" ");
    Err(Refused {
        message: format!(
            "statements that begin with `{head}` are not translated to DuckDB: of BigQuery's scripting only \
             transactions are, and of its definitions those of tables, views, schemas and SQL functions; run the \
             script on BigQuery, or write it without them"
        ),
        offset: 0,
    })
}

#[cfg(test)]
mod tests;
