//! A script as a list of statements, and what can be said of one without asking a database.
//!
//! It cuts as the databases' own shells do: SQLite's at the semicolons that `sqlite3_complete` sees, so that
//! a trigger stays whole; PostgreSQL's as psql, with rules in parentheses and SQL bodies of functions.

use std::fmt::Write as _;

use crate::lexer::{Dialect, Kind, Token, Tokens};

/// A text and where its statements are.
pub(crate) struct Script<'a> {
    pub(crate) statements: Vec<Statement<'a>>,
    name: &'a str,
}

/// One statement, without its semicolon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    /// From 1.
    pub(crate) number: usize,
    /// What is sent to the database; comments before the statement belong to it, as some are hints.
    pub(crate) sql: &'a str,
    /// Where `sql` begins in the script: line and column, from 1.
    start: (usize, usize),
    /// Where the first word is in `sql`.
    first: usize,
    dialect: Dialect,
}

/// What a statement does to transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Begin,
    End,
}

impl<'a> Script<'a> {
    pub(crate) fn new(text: &'a str, name: &'a str, dialect: Dialect) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut script = Self { statements: Vec::new(), name };
        let mut splitter = Splitter::default();
        let (mut start, mut place) = (0, (1, 1));
        let mut first = None;
        for token in Tokens::new(text, dialect) {
            let word = &text[token.start..token.end];
            if !splitter.ends(token.kind, word, dialect) {
                first.get_or_insert(token.start);
                continue;
            }
            if let Some(first) = first.take() {
                script.push(&text[start..token.start], first - start, place, dialect);
            }
            place = advance(place, &text[start..token.end]);
            start = token.end;
            splitter = Splitter::default();
        }
        if let Some(first) = first {
            script.push(&text[start..], first - start, place, dialect);
        }
        script
    }

    /// Adds the statement in `piece`, which begins at `place` in the script.
    fn push(&mut self, piece: &'a str, first: usize, place: (usize, usize), dialect: Dialect) {
        let sql = piece.trim_start();
        let space = piece.len() - sql.len();
        self.statements.push(Statement {
            number: self.statements.len() + 1,
            sql: sql.trim_end(),
            start: advance(place, &piece[..space]),
            first: first - space,
            dialect,
        });
    }

    /// For messages: the place `offset` bytes into the statement, or else where it begins.
    pub(crate) fn locate(&self, statement: &Statement<'_>, offset: Option<usize>) -> String {
        let (line, column) = statement.place(offset);
        let mut text = format!("line {line}, column {column} of {}", self.name);
        if self.statements.len() > 1 {
            // Writing to a string cannot fail.
            let _ = write!(text, " (statement {} of {})", statement.number, self.statements.len());
        }
        text
    }

    /// Whether the script begins or ends transactions itself.
    pub(crate) fn controls_transactions(&self) -> bool {
        self.statements.iter().any(|statement| statement.control().is_some())
    }

    /// The statement that begins a transaction which the script leaves open.
    pub(crate) fn left_open(&self) -> Option<&Statement<'a>> {
        self.statements.iter().fold(None, |open, statement| match statement.control() {
            Some(Control::Begin) => open.or(Some(statement)),
            Some(Control::End) => None,
            None => open,
        })
    }
}

impl<'a> Statement<'a> {
    fn tokens(&self) -> Tokens<'a> {
        Tokens::new(self.sql, self.dialect)
    }

    fn words(&self) -> impl Iterator<Item = String> {
        self.tokens()
            .filter(|token| token.kind == Kind::Word)
            .map(|token| self.sql[token.start..token.end].to_ascii_uppercase())
    }

    /// Line and column in the script, from 1.
    pub(crate) fn place(&self, offset: Option<usize>) -> (usize, usize) {
        let offset = offset.unwrap_or(self.first).min(self.sql.len());
        advance(self.start, self.sql.get(..offset).unwrap_or_default())
    }

    /// The word that says what the statement does: behind `with …` the one that follows.
    pub(crate) fn verb(&self) -> String {
        const VERBS: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES"];
        let first = self.words().next().unwrap_or_default();
        if first != "WITH" {
            return first;
        }
        let mut depth = 0_i32;
        for token in self.tokens() {
            let text = &self.sql[token.start..token.end];
            match token.kind {
                Kind::Symbol if text == "(" => depth += 1,
                Kind::Symbol if text == ")" => depth -= 1,
                Kind::Word if depth == 0 => {
                    if let Some(verb) = VERBS.iter().find(|verb| verb.eq_ignore_ascii_case(text)) {
                        return (*verb).to_owned();
                    }
                }
                _ => {}
            }
        }
        first
    }

    /// What the statement does to transactions, savepoints apart.
    pub(crate) fn control(&self) -> Option<Control> {
        let words: Vec<String> = self.words().take(4).collect();
        let has = |word: &str| words.iter().any(|other| other == word);
        match words.first()?.as_str() {
            "BEGIN" => Some(Control::Begin),
            "START" if has("TRANSACTION") => Some(Control::Begin),
            "PREPARE" if words.get(1)? == "TRANSACTION" => Some(Control::End),
            "ROLLBACK" if has("TO") => None,
            "COMMIT" | "END" | "ROLLBACK" | "ABORT" if has("CHAIN") && !has("NO") => Some(Control::Begin),
            "COMMIT" | "END" | "ROLLBACK" | "ABORT" => Some(Control::End),
            _ => None,
        }
    }

    /// Whether it would send or fetch data beside its rows (`copy … from stdin`).
    pub(crate) fn copies_through_the_client(&self) -> bool {
        self.verb() == "COPY" && self.words().any(|word| word == "STDIN" || word == "STDOUT")
    }

    /// Its beginning on one line, without the values of its strings, which may be secrets.
    pub(crate) fn summary(&self) -> String {
        const LONGEST: usize = 60;
        let mut text = String::new();
        let mut end = None;
        for Token { kind, start, end: token_end } in self.tokens() {
            if end.is_some_and(|end| end < start) {
                text.push(' ');
            }
            match kind {
                Kind::Text => text.push_str("'…'"),
                _ => text.push_str(&self.sql[start..token_end]),
            }
            end = Some(token_end);
            if text.chars().count() > LONGEST {
                return text.chars().take(LONGEST).chain(['…']).collect();
            }
        }
        text
    }
}

/// The place behind `text`, which begins at `place`.
fn advance((line, column): (usize, usize), text: &str) -> (usize, usize) {
    match text.rfind('\n') {
        Some(last) => (line + text.matches('\n').count(), text[last + 1..].chars().count() + 1),
        None => (line, column + text.chars().count()),
    }
}

/// Decides which semicolon ends a statement.
#[derive(Default)]
struct Splitter {
    /// The statement's first words, in capitals, as far as they matter.
    head: Vec<String>,
    parentheses: usize,
    /// `begin` and `case` without their `end`, in the body of an SQL function.
    blocks: usize,
    /// The last two tokens were a semicolon and `end`, or the last one a semicolon.
    closing: Closing,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Closing {
    #[default]
    No,
    Semicolon,
    End,
}

impl Splitter {
    /// Longest head that matters: `explain query plan create temp trigger`.
    const HEAD: usize = 6;

    /// Takes the next token and says whether it ends the statement.
    fn ends(&mut self, kind: Kind, text: &str, dialect: Dialect) -> bool {
        let semicolon = kind == Kind::Symbol && text == ";";
        if kind == Kind::Word && self.head.len() < Self::HEAD {
            self.head.push(text.to_ascii_uppercase());
        }
        match dialect {
            Dialect::Sqlite => self.ends_sqlite(kind, text, semicolon),
            Dialect::Postgres => self.ends_postgres(kind, text, semicolon),
        }
    }

    /// The states of `sqlite3_complete`: a trigger ends with `; end ;`.
    fn ends_sqlite(&mut self, kind: Kind, text: &str, semicolon: bool) -> bool {
        if semicolon && (!self.is_trigger() || self.closing == Closing::End) {
            return true;
        }
        let end = kind == Kind::Word && text.eq_ignore_ascii_case("end");
        self.closing = match self.closing {
            _ if semicolon => Closing::Semicolon,
            Closing::Semicolon if end => Closing::End,
            _ => Closing::No,
        };
        false
    }

    fn is_trigger(&self) -> bool {
        let mut words = self
            .head
            .iter()
            .map(String::as_str)
            .skip_while(|word| matches!(*word, "EXPLAIN" | "QUERY" | "PLAN"));
        words.next() == Some("CREATE")
            && matches!(
                (words.next(), words.next()),
                (Some("TRIGGER"), _) | (Some("TEMP" | "TEMPORARY"), Some("TRIGGER"))
            )
    }

    /// As psql: parentheses, and the `begin atomic … end` of functions, hide semicolons.
    fn ends_postgres(&mut self, kind: Kind, text: &str, semicolon: bool) -> bool {
        match kind {
            Kind::Symbol if text == "(" => self.parentheses += 1,
            Kind::Symbol if text == ")" => self.parentheses = self.parentheses.saturating_sub(1),
            Kind::Word if self.parentheses == 0 && self.is_routine() => {
                if text.eq_ignore_ascii_case("begin")
                    || (self.blocks > 0 && text.eq_ignore_ascii_case("case"))
                {
                    self.blocks += 1;
                } else if text.eq_ignore_ascii_case("end") {
                    self.blocks = self.blocks.saturating_sub(1);
                }
            }
            _ => {}
        }
        semicolon && self.parentheses == 0 && self.blocks == 0
    }

    fn is_routine(&self) -> bool {
        let head: Vec<&str> = self.head.iter().map(String::as_str).take(4).collect();
        matches!(
            head.as_slice(),
            ["CREATE", "FUNCTION" | "PROCEDURE", ..] | ["CREATE", "OR", "REPLACE", "FUNCTION" | "PROCEDURE"]
        )
    }
}

#[cfg(test)]
mod tests;
