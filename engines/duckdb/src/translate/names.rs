//! The names of tables and datasets: `project.dataset.table` is the table `table` of the schema `dataset`.
//!
//! DuckDB would take the project for another database. BigQuery's names may stand in one pair of backquotes,
//! and a project's name may have dashes without any. Where a name stands tells whether it is one of a table:
//! behind `from` and the like, which this module looks for among the tokens.

use super::{Edits, Refused};
use crate::script::{Statement, Token};

/// A dotted name as it is written.
#[derive(Debug, PartialEq, Eq)]
struct Path {
    parts: Vec<String>,
    /// Where it ends in the statement.
    end: usize,
}

/// What a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Table,
    Schema,
}

/// Rewrites the names in a statement; gives the dataset in which the statement makes something.
///
/// # Errors
///
/// When a name is one that has no table in DuckDB.
pub(crate) fn rewrite(statement: &Statement<'_>, edits: &mut Edits) -> Result<Option<String>, Refused> {
    let tokens = &statement.tokens;
    let mut lists = Lists::default();
    let mut made = None;
    let mut skip_to = 0;
    for (i, token) in tokens.iter().enumerate() {
        if token.start < skip_to {
            continue;
        }
        let Some(target) = lists.step(tokens, i) else { continue };
        let Some(path) = path(statement.sql, token.start) else { continue };
        let follows = statement.sql[path.end..].trim_start();
        if follows.starts_with('(') && !makes(tokens, i) {
            // A function: `from unnest(…)`, `table f(…)`; but `insert into t (a)`, `create table t (a int64)`.
            if !tokens[..i].last().is_some_and(|before| before.is("into") || before.is("insert")) {
                continue;
            }
        }
        skip_to = path.end;
        let (text, dataset) = rewritten(&path, target, token.start)?;
        // `insert t …` is BigQuery's alone.
        let into = if i == 1 && tokens[0].is("insert") { "INTO " } else { "" };
        edits.replace(token.start..path.end, format!("{into}{text}"));
        if makes(tokens, i) && target == Target::Table {
            made = dataset;
        }
    }
    Ok(made)
}

/// Whether the name at this place is the one of what a `create` statement makes.
fn makes(tokens: &[Token<'_>], place: usize) -> bool {
    let head = tokens[..place].iter();
    tokens[0].is("create")
        && head.skip(1).all(|token| {
            [
                "or",
                "replace",
                "temp",
                "temporary",
                "table",
                "view",
                "function",
                "schema",
                "if",
                "not",
                "exists",
            ]
            .iter()
            .any(|word| token.is(word))
        })
}

/// In which parentheses a comma separates tables.
#[derive(Default)]
struct Lists {
    /// For each open parenthesis whether tables are listed in it, with the statement itself at the bottom.
    open: Vec<bool>,
    bottom: bool,
}

impl Lists {
    fn current(&mut self) -> &mut bool {
        self.open.last_mut().unwrap_or(&mut self.bottom)
    }

    /// Takes the token at `place` and says whether a name may begin with it, and of what.
    fn step(&mut self, tokens: &[Token<'_>], place: usize) -> Option<Target> {
        let token = &tokens[place];
        let before = place.checked_sub(1).map(|before| &tokens[before]);
        let target = before.and_then(|before| self.target(tokens, place, before));
        match token.text {
            "(" => self.open.push(false),
            ")" => _ = self.open.pop(),
            _ if token.is("from") && !in_expression(tokens, place) => *self.current() = true,
            _ if ENDS.iter().any(|word| token.is(word)) => *self.current() = false,
            _ => {}
        }
        target
    }

    fn target(&mut self, tokens: &[Token<'_>], place: usize, before: &Token<'_>) -> Option<Target> {
        if tokens[place].text == "(" || KEYWORDS.iter().any(|word| tokens[place].is(word)) {
            return None;
        }
        let head = &tokens[0];
        let in_ddl = ["create", "drop", "alter", "truncate"].iter().any(|word| head.is(word));
        let of = |word: &str| tokens[..place].iter().any(|token| token.is(word));
        let table = match before.text.to_ascii_lowercase().as_str() {
            "from" => !in_expression(tokens, place - 1),
            "," => *self.current(),
            "join" | "into" | "update" => true,
            "delete" | "insert" | "merge" => place == 1,
            "using" => head.is("merge"),
            "like" | "clone" | "copy" => head.is("create") && !of("select"),
            "table" | "view" | "function" => in_ddl,
            "schema" if in_ddl => return Some(Target::Schema),
            "exists" if in_ddl && place <= 6 => {
                return Some(if of("schema") { Target::Schema } else { Target::Table });
            }
            _ => false,
        };
        table.then_some(Target::Table)
    }
}

/// What ends a list of tables.
const ENDS: [&str; 12] = [
    "select",
    "where",
    "group",
    "having",
    "qualify",
    "window",
    "order",
    "limit",
    "union",
    "intersect",
    "except",
    "set",
];

/// What may stand where a name could, and is none.
const KEYWORDS: [&str; 7] = ["if", "from", "into", "set", "unnest", "select", "lateral"];

/// Whether the `from` at this place belongs to `extract(… from …)` or `is distinct from`.
fn in_expression(tokens: &[Token<'_>], from: usize) -> bool {
    let back = |steps: usize| from.checked_sub(steps).map(|place| &tokens[place]);
    let is = |steps, word: &str| back(steps).is_some_and(|token| token.is(word));
    if is(1, "distinct") {
        return is(2, "is") || is(2, "not");
    }
    // `extract(week(monday) from …)` has one more pair of parentheses.
    (is(2, "(") && is(3, "extract")) || (is(1, ")") && is(3, "(") && is(5, "(") && is(6, "extract"))
}

/// The dotted name that begins at this place, if one does.
fn path(sql: &str, start: usize) -> Option<Path> {
    let mut parts = Vec::new();
    let mut at = start;
    loop {
        let rest = &sql[at..];
        if let Some(quoted) = rest.strip_prefix('`') {
            let name = &quoted[..quoted.find('`')?];
            parts.extend(name.split('.').map(str::to_owned));
            at += name.len() + 2;
        } else {
            let letters = |character: char| {
                character.is_alphanumeric()
                    || "_@$*".contains(character)
                    || (character == '-' && parts.is_empty())
            };
            let length = rest.find(|character| !letters(character)).unwrap_or(rest.len());
            // `a--comment`: dashes belong to the name only between letters.
            let name = rest[..length].split("--").next().unwrap_or_default().trim_end_matches('-');
            if name.is_empty() || name.starts_with(['-', '@']) {
                return None;
            }
            parts.push(name.to_owned());
            at += name.len();
        }
        if !sql[at..].starts_with('.') {
            return Some(Path { parts, end: at });
        }
        at += 1;
    }
}

/// The name as DuckDB is to see it, and its dataset.
fn rewritten(path: &Path, target: Target, offset: usize) -> Result<(String, Option<String>), Refused> {
    let refused = |message: String| Err(Refused { message, offset });
    let whole = path.parts.join(".");
    if path.parts.iter().any(|part| part.eq_ignore_ascii_case("information_schema")) {
        return refused(format!(
            "`{whole}` is BigQuery's own: DuckDB tells of its tables in `duckdb_tables()`, for scripts with `translate = false`"
        ));
    }
    if path.parts.iter().any(|part| part.is_empty()) {
        return refused(format!("`{whole}` is not the name of a table"));
    }
    if path.parts.iter().any(|part| part.contains('*')) {
        return refused(format!(
            "`{whole}` stands for several tables, which is not translated: name each of them"
        ));
    }
    let quoted = |part: &String| format!("`{part}`");
    match (target, path.parts.as_slice()) {
        (Target::Schema, [dataset] | [_, dataset]) => Ok((quoted(dataset), None)),
        (Target::Table, [table]) => Ok((quoted(table), None)),
        (Target::Table, [dataset, table] | [_, dataset, table]) => {
            Ok((format!("{}.{}", quoted(dataset), quoted(table)), Some(dataset.clone())))
        }
        _ => refused(format!("`{whole}` has too many parts: write `project.dataset.table`")),
    }
}
