//! Finds `@name` in GoogleSQL: outside strings, quoted names and comments, and no `@@system` variable.
//!
//! It never refuses anything: what is not closed lasts to the end, and BigQuery says what is wrong with it.

/// The names in a script, each once, in the order and the spelling of their first uses.
pub(super) fn of(sql: &str) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    let mut scanner = Scanner { sql, at: 0 };
    while scanner.at < sql.len() {
        if let Some(name) = scanner.step()
            && !names.iter().any(|known| known.eq_ignore_ascii_case(name))
        {
            names.push(name);
        }
    }
    names
}

struct Scanner<'a> {
    sql: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Steps over what comes next, and gives a parameter's name if it is one.
    fn step(&mut self) -> Option<&'a str> {
        let rest = &self.sql.as_bytes()[self.at..];
        match rest {
            [b'-', b'-', ..] | [b'#', ..] => self.skip_behind("\n"),
            [b'/', b'*', ..] => {
                self.at += 2;
                self.skip_behind("*/");
            }
            [b'\'', b'\'', b'\'', ..] => self.quoted("'''"),
            [b'"', b'"', b'"', ..] => self.quoted("\"\"\""),
            [b'\'', ..] => self.quoted("'"),
            [b'"', ..] => self.quoted("\""),
            [b'`', ..] => self.quoted("`"),
            [b'@', b'@', ..] => {
                self.at += 2;
                self.word();
            }
            [b'@', next, ..] if is_word(*next) && !next.is_ascii_digit() => {
                self.at += 1;
                return Some(self.word());
            }
            [byte, ..] if is_word(*byte) => {
                self.word();
            }
            _ => self.at += 1,
        }
        None
    }

    fn word(&mut self) -> &'a str {
        let start = self.at;
        let bytes = self.sql.as_bytes();
        while self.at < bytes.len() && is_word(bytes[self.at]) {
            self.at += 1;
        }
        &self.sql[start..self.at]
    }

    fn skip_behind(&mut self, end: &str) {
        let rest = &self.sql.as_bytes()[self.at..];
        let found = rest.windows(end.len()).position(|window| window == end.as_bytes());
        self.at = found.map_or(self.sql.len(), |found| self.at + found + end.len());
    }

    /// A backslash takes the next character with it, in raw strings as well: there it only stays in the text.
    fn quoted(&mut self, quote: &str) {
        self.at += quote.len();
        let bytes = self.sql.as_bytes();
        while self.at < bytes.len() {
            if bytes[self.at] == b'\\' {
                self.at += 2;
            } else if bytes[self.at..].starts_with(quote.as_bytes()) {
                self.at += quote.len();
                return;
            } else {
                self.at += 1;
            }
        }
        self.at = self.sql.len();
    }
}

/// Bytes of letters that are not ASCII count as well: a slice never ends between two of one letter.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn strings_names_and_comments_hide_what_looks_like_a_parameter() {
        let sql = r#"
            select @a, '@no it\'s @no', "@no", r'\' @no', '' , @b -- @no
            , '''two ' lines
              @no''', """ " @no""", `p.@no.t`, x@c # @no
            /* @no */ from t where d=@D and e = @d"#;
        assert_eq!(of(sql), ["a", "b", "c", "D"]);
    }

    #[test]
    fn system_variables_hints_and_mail_are_no_parameters() {
        assert_eq!(of("set @@dataset_id = @ds; select @{hint=1} 1, @5, @ x, @"), ["ds"]);
        assert_eq!(of("select '@open"), [""; 0]);
        assert_eq!(of("select 'é\\"), [""; 0]);
        assert_eq!(of("select @größe"), ["größe"]);
    }
}
