//! A script as a list of statements with their tokens and places. Knows nothing of what they mean.

use oxidag_plugin_api::{Error, Result};
use polyglot_sql::{Dialect, DialectType, TokenType};

/// A text and where its statements are.
#[derive(Debug)]
pub(crate) struct Script<'a> {
    text: &'a str,
    name: &'a str,
    pub(crate) statements: Vec<Statement<'a>>,
}

/// One statement, without its semicolon and the comments around it.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) sql: &'a str,
    /// Where `sql` begins in the script, in bytes.
    start: usize,
    pub(crate) tokens: Vec<Token<'a>>,
}

/// A token of a statement; comments are none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    /// As it is written, with its quotes.
    pub(crate) text: &'a str,
    /// Where it is in the statement, in bytes.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Statement<'_> {
    /// Whether it returns rows and does nothing else.
    pub(crate) fn is_query(&self) -> bool {
        let queries = ["select", "with", "(", "from", "values"];
        // DuckDB's `with` may stand before a change too.
        let changes = ["insert", "update", "delete", "merge"];
        let has = |words: &[&str]| self.tokens.iter().any(|token| words.iter().any(|word| token.is(word)));
        queries.iter().any(|word| self.tokens[0].is(word)) && !has(&changes)
    }
}

impl Token<'_> {
    /// Whether it is this word, in any case, or this symbol.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }
}

/// What is wrong with a script, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    /// Line and column, from 1.
    pub(crate) place: (usize, usize),
}

impl<'a> Script<'a> {
    /// Cuts the text at its semicolons.
    ///
    /// # Errors
    ///
    /// When a string or a comment does not end.
    pub(crate) fn new(text: &'a str, name: &'a str, dialect: DialectType) -> Result<Self, Problem> {
        let mut script = Self { text, name, statements: Vec::new() };
        let bytes = ByteOffsets::of(text);
        let found = Dialect::get(dialect).tokenize(text).map_err(|error| {
            let offset = bytes.of_char(error.start().unwrap_or(0));
            Problem { message: reason(&error), place: place(text, offset) }
        })?;
        let mut tokens = Vec::new();
        for token in found {
            if token.token_type == TokenType::Semicolon {
                script.push(std::mem::take(&mut tokens));
            } else {
                let (start, end) = (bytes.of_char(token.span.start), bytes.of_char(token.span.end));
                tokens.push(Token { text: &text[start..end], start, end });
            }
        }
        script.push(tokens);
        Ok(script)
    }

    fn push(&mut self, mut tokens: Vec<Token<'a>>) {
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
            return;
        };
        let (start, end) = (first.start, last.end);
        for token in &mut tokens {
            token.start -= start;
            token.end -= start;
        }
        let number = self.statements.len() + 1;
        self.statements.push(Statement { number, sql: &self.text[start..end], start, tokens });
    }

    /// The statement that begins a transaction which none ends: DuckDB would undo it without a word.
    pub(crate) fn open_transaction(&self) -> Option<&Statement<'a>> {
        let mut open = None;
        for statement in &self.statements {
            let begins_with = |words: &[&str]| words.iter().any(|word| statement.tokens[0].is(word));
            if begins_with(&["begin", "start"]) {
                open = Some(statement);
            } else if begins_with(&["commit", "rollback", "end", "abort"]) {
                open = None;
            }
        }
        open
    }

    /// Line and column, from 1, of the place `offset` bytes into a statement.
    pub(crate) fn place(&self, statement: &Statement<'_>, offset: usize) -> (usize, usize) {
        place(self.text, statement.start + offset)
    }

    /// An error about a place in the script.
    pub(crate) fn invalid(&self, problem: &Problem) -> Error {
        invalid(self.name, problem)
    }

    /// For messages: where a statement begins.
    pub(crate) fn locate(&self, statement: &Statement<'_>) -> String {
        let (line, column) = self.place(statement, 0);
        let all = self.statements.len();
        let which =
            if all > 1 { format!(" (statement {} of {all})", statement.number) } else { String::new() };
        format!("line {line}, column {column} of {}{which}", self.name)
    }
}

/// An error about a place in a script of this name.
pub(crate) fn invalid(name: &str, problem: &Problem) -> Error {
    let (line, column) = problem.place;
    Error::invalid(format!("line {line}, column {column} of {name}: {}", problem.message))
}

/// What is wrong, without the place, which would be one in a text that the author never saw.
pub(crate) fn reason(error: &polyglot_sql::Error) -> String {
    use polyglot_sql::Error::{Parse, Syntax, Tokenize, Unsupported};
    let text = match error {
        Tokenize { message, .. } | Parse { message, .. } | Syntax { message, .. } => message.clone(),
        Unsupported { feature, .. } => format!("{feature} is not supported by DuckDB"),
        other => other.to_string(),
    };
    if let Some((_, limit)) = text.strip_prefix("E_GUARD_").and_then(|text| text.split_once(": ")) {
        return format!("it is nested too deep, or too large, to be translated: {limit}");
    }
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// Where characters are in a text: the tokenizer counts characters.
pub(crate) struct ByteOffsets {
    /// Empty for a text in which every character is a byte.
    starts: Vec<usize>,
    end: usize,
}

impl ByteOffsets {
    pub(crate) fn of(text: &str) -> Self {
        let starts =
            if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(start, _)| start).collect() };
        Self { starts, end: text.len() }
    }

    /// The byte at which the character of this number begins, or the text's end.
    pub(crate) fn of_char(&self, number: usize) -> usize {
        if self.starts.is_empty() {
            return number.min(self.end);
        }
        self.starts.get(number).copied().unwrap_or(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str) -> Vec<(String, (usize, usize))> {
        let script = Script::new(text, "s", DialectType::BigQuery).unwrap();
        script.statements.iter().map(|one| (one.sql.to_owned(), script.place(one, 0))).collect()
    }

    #[test]
    fn semicolons_in_strings_and_comments_end_no_statement() {
        let text = "select ';', \"é;\" -- ;\n;;\n  /* ; */ select r'\\;' -- end\n";
        let expected = [("select ';', \"é;\"".to_owned(), (1, 1)), ("select r'\\;'".to_owned(), (3, 11))];
        assert_eq!(statements(text), expected);
        assert!(statements(" ; -- nothing\n").is_empty());
    }

    #[test]
    fn a_transaction_is_open_until_a_statement_ends_it() {
        let open = |text| {
            let script = Script::new(text, "s", DialectType::DuckDB).unwrap();
            script.open_transaction().map(|statement| statement.number)
        };
        for ended in
            ["select 1", "begin; select 1; COMMIT", "start transaction; rollback; select 1", "begin; end"]
        {
            assert_eq!(open(ended), None, "{ended}");
        }
        assert_eq!(open("select 1; begin transaction; select 2"), Some(2));
        assert_eq!(open("begin; commit; begin"), Some(3));
    }

    #[test]
    fn a_string_that_does_not_end_is_placed() {
        let problem = Script::new("select 'é',\n  'b", "s", DialectType::BigQuery).unwrap_err();
        assert_eq!(problem.place, (2, 3));
        assert_eq!(problem.message, "unterminated string");
    }

    #[test]
    fn tokens_are_where_they_are_written_also_behind_other_letters() {
        let script = Script::new("select 1; select 'é', x", "s", DialectType::BigQuery).unwrap();
        let last = script.statements[1].tokens.last().unwrap();
        assert_eq!((last.text, &script.statements[1].sql[last.start..last.end]), ("x", "x"));
        assert_eq!(script.place(&script.statements[1], last.start), (1, 23));
    }
}
