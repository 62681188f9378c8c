//! Cuts SQL into tokens, just finely enough to find where statements end and which words they begin with.
//!
//! It never refuses anything: what is not closed lasts to the end, and the database says what is wrong with it.

/// Whose rules hold for quotes and comments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A keyword or a plain name.
    Word,
    /// A quoted name.
    Name,
    /// A string literal.
    Text,
    Number,
    /// One character that is none of the others.
    Symbol,
}

/// A token and the bytes it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// The tokens of a text; comments and white space are left out.
pub(crate) struct Tokens<'a> {
    sql: &'a [u8],
    at: usize,
    dialect: Dialect,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(sql: &'a str, dialect: Dialect) -> Self {
        Self { sql: sql.as_bytes(), at: 0, dialect }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.sql.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &'a [u8] {
        self.sql.get(self.at..).unwrap_or_default()
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.at < self.sql.len() && wanted(self.sql[self.at]) {
            self.at += 1;
        }
    }

    fn skip_space_and_comments(&mut self) {
        loop {
            match self.peek(0) {
                b'-' if self.peek(1) == b'-' => self.skip_while(|byte| byte != b'\n'),
                b'/' if self.peek(1) == b'*' => self.block_comment(),
                byte if is_space(byte) => self.at += 1,
                _ => return,
            }
        }
    }

    /// Those of PostgreSQL nest.
    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.sql.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') if depth == 0 || self.dialect == Dialect::Postgres => depth += 1,
                (b'*', b'/') => depth -= 1,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    /// From an opening quote to behind the closing one; a doubled quote closes nothing.
    fn quoted(&mut self, quote: u8, backslash: bool) {
        self.at += 1;
        while self.at < self.sql.len() {
            let byte = self.peek(0);
            self.at += 1;
            if byte == b'\\' && backslash {
                self.at += 1;
            } else if byte == quote {
                if self.peek(0) != quote {
                    return;
                }
                self.at += 1;
            }
        }
        self.at = self.sql.len();
    }

    fn word(&mut self) -> Kind {
        let start = self.at;
        self.skip_while(is_word);
        let escapes =
            self.dialect == Dialect::Postgres && self.sql[start..self.at].eq_ignore_ascii_case(b"e");
        if escapes && self.peek(0) == b'\'' {
            self.quoted(b'\'', true);
            return Kind::Text;
        }
        Kind::Word
    }

    /// `$$ … $$` or `$tag$ … $tag$`; any other dollar is a symbol (`$1`).
    fn dollar(&mut self) -> Kind {
        let inner = self.rest()[1..].iter().position(|byte| *byte == b'$' || !is_word(*byte));
        let tag = match inner {
            Some(length) if self.peek(1 + length) == b'$' && !self.peek(1).is_ascii_digit() => {
                &self.rest()[..length + 2]
            }
            _ => {
                self.at += 1;
                return Kind::Symbol;
            }
        };
        let body = &self.rest()[tag.len()..];
        let closing = body.windows(tag.len()).position(|window| window == tag);
        self.at = closing.map_or(self.sql.len(), |closing| self.at + closing + 2 * tag.len());
        Kind::Text
    }

    fn token(&mut self) -> Kind {
        let sqlite = self.dialect == Dialect::Sqlite;
        match self.peek(0) {
            b'\'' => {
                self.quoted(b'\'', false);
                Kind::Text
            }
            b'"' => {
                self.quoted(b'"', false);
                Kind::Name
            }
            b'`' if sqlite => {
                self.quoted(b'`', false);
                Kind::Name
            }
            b'[' if sqlite => {
                self.skip_while(|byte| byte != b']');
                self.at = self.sql.len().min(self.at + 1);
                Kind::Name
            }
            b'$' if !sqlite => self.dollar(),
            byte if byte.is_ascii_digit() => {
                self.skip_while(|byte| is_word(byte) || byte == b'.');
                Kind::Number
            }
            byte if is_word(byte) && byte != b'$' => self.word(),
            _ => {
                self.at += 1;
                Kind::Symbol
            }
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_space_and_comments();
        let start = self.at;
        if start >= self.sql.len() {
            return None;
        }
        let kind = self.token();
        Some(Token { kind, start, end: self.at })
    }
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(sql: &str, dialect: Dialect) -> Vec<&str> {
        Tokens::new(sql, dialect).map(|token| &sql[token.start..token.end]).collect()
    }

    #[test]
    fn quotes_hide_what_is_inside_them() {
        let sql = r#"a 'it''s; --' "x"";" -- ';"#;
        assert_eq!(cut(sql, Dialect::Postgres), ["a", "'it''s; --'", r#""x"";""#]);
        assert_eq!(cut("[a;b] `c``;`", Dialect::Sqlite), ["[a;b]", "`c``;`"]);
        assert_eq!(cut("a[1]", Dialect::Postgres), ["a", "[", "1", "]"]);
    }

    #[test]
    fn only_an_e_string_knows_backslashes() {
        assert_eq!(cut(r"e'a\';' 'b\';", Dialect::Postgres), [r"e'a\';'", r"'b\'", ";"]);
        assert_eq!(cut(r"e'a\';", Dialect::Sqlite), ["e", r"'a\'", ";"]);
    }

    #[test]
    fn dollar_quotes_end_at_their_own_tag() {
        assert_eq!(cut("$$a;$b$;$$ $1 x$y$", Dialect::Postgres), ["$$a;$b$;$$", "$", "1", "x$y$"]);
        assert_eq!(cut("$f$ $$;$$ $f$;", Dialect::Postgres), ["$f$ $$;$$ $f$", ";"]);
    }

    #[test]
    fn comments_nest_in_postgresql_alone() {
        assert_eq!(cut("/* /* */ */ a", Dialect::Postgres), ["a"]);
        assert_eq!(cut("/* /* */ */ a", Dialect::Sqlite), ["*", "/", "a"]);
    }

    proptest! {
        #[test]
        fn tokens_follow_each_other_on_character_boundaries(
            sql in r#"([-a-z '"`$;*/\[\]\\(){}é0-9\n]|\$\$|/\*|\*/|--){0,40}"#,
            postgres: bool,
        ) {
            let dialect = if postgres { Dialect::Postgres } else { Dialect::Sqlite };
            let mut end = 0;
            for token in Tokens::new(&sql, dialect) {
                prop_assert!(end <= token.start && token.start < token.end && token.end <= sql.len());
                prop_assert!(sql.get(token.start..token.end).is_some());
                end = token.end;
            }
        }
    }
}
