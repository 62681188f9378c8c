//! What `polyglot-sql` would translate to something else than BigQuery means: seen by running both.
//!
//! Three ways out: the name of a macro of ours instead of the function's, a cast around the call, or refusal.

use super::{Edits, Refused};
use crate::script::{Statement, Token};

/// What a script's session begins with.
pub(crate) const MACROS: &str = r"
CREATE OR REPLACE TEMP MACRO bq_regexp_contains(value, pattern) AS regexp_matches(value, pattern);
CREATE OR REPLACE TEMP MACRO bq_regexp_replace(value, pattern, replacement) AS
    regexp_replace(value, pattern, replacement, 'g');
CREATE OR REPLACE TEMP MACRO bq_has_group(pattern) AS
    regexp_matches(replace(pattern, '\\\\', ''), '(^|[^\\])\(([^?]|\?P?<)');
CREATE OR REPLACE TEMP MACRO bq_regexp_extract(value, pattern) AS CASE WHEN regexp_matches(value, pattern) THEN
    CASE WHEN bq_has_group(pattern) THEN regexp_extract(value, pattern, 1) ELSE regexp_extract(value, pattern, 0) END
    END;
CREATE OR REPLACE TEMP MACRO bq_regexp_extract_all(value, pattern) AS CASE WHEN bq_has_group(pattern)
    THEN regexp_extract_all(value, pattern, 1) ELSE regexp_extract_all(value, pattern, 0) END;
CREATE OR REPLACE TEMP MACRO bq_countif(condition) AS count(CASE WHEN condition THEN 1 END);
CREATE OR REPLACE TEMP MACRO bq_timestamp_diff(later, earlier, part) AS
    datesub(part, CAST(earlier AS TIMESTAMPTZ), CAST(later AS TIMESTAMPTZ));
CREATE OR REPLACE TEMP MACRO bq_dayofweek(day) AS dayofweek(day) + 1;
CREATE OR REPLACE TEMP MACRO bq_week(day) AS CAST(strftime(CAST(day AS TIMESTAMP), '%U') AS BIGINT);
CREATE OR REPLACE TEMP MACRO bq_isoweek(day) AS week(day);
";

/// Functions that become macros of ours, or functions of DuckDB that the translation leaves alone.
const RENAMED: [(&str, &str); 8] = [
    // Would have to match from end to end.
    ("regexp_contains", "bq_regexp_contains"),
    // Would take the first group also where there is none, and make an empty text of no match.
    ("regexp_extract", "bq_regexp_extract"),
    ("regexp_substr", "bq_regexp_extract"),
    ("regexp_extract_all", "bq_regexp_extract_all"),
    // Would replace the first match only.
    ("regexp_replace", "bq_regexp_replace"),
    // Would count the boundaries between the two rather than whole units.
    ("timestamp_diff", "bq_timestamp_diff"),
    // Would give JSON rather than text.
    ("json_value", "json_extract_scalar"),
    // DuckDB's `format` has another syntax.
    ("format", "printf"),
];

/// Functions whose last argument may be a part of a date.
const OF_PARTS: [&str; 6] =
    ["date_trunc", "datetime_trunc", "timestamp_trunc", "date_diff", "datetime_diff", "timestamp_diff"];

/// Functions of dates that make a time stamp in DuckDB.
const DATES: [&str; 3] = ["date_add", "date_sub", "date_trunc"];

/// Parts that DuckDB counts in another way, when they are extracted.
const PARTS: [(&str, &str); 4] =
    [("dayofweek", "bq_dayofweek("), ("week", "bq_week("), ("isoweek", "bq_isoweek("), ("date", "date(")];

/// Rewrites the calls of such functions, and takes out options.
///
/// # Errors
///
/// When something has no translation that means the same.
pub(crate) fn rewrite(statement: &Statement<'_>, edits: &mut Edits) -> Result<(), Refused> {
    let tokens = &statement.tokens;
    for (i, token) in tokens.iter().enumerate() {
        refuse_words(tokens, i)?;
        let is_call = tokens.get(i + 1).is_some_and(|next| next.is("("));
        if !is_call || i > 0 && tokens[i - 1].is(".") {
            continue;
        }
        if let Some(call) = Call::new(tokens, i) {
            call.refuse()?;
            call.rewrite(edits);
        } else {
            return Err(Refused { message: "the parenthesis is not closed".to_owned(), offset: token.end });
        }
    }
    Ok(())
}

/// A word with parentheses behind it.
struct Call<'a> {
    tokens: &'a [Token<'a>],
    name: &'a Token<'a>,
    /// Where the name is among the tokens.
    at: usize,
    /// The closing parenthesis.
    close: usize,
    /// The commas between its arguments.
    commas: Vec<usize>,
}

impl<'a> Call<'a> {
    fn new(tokens: &'a [Token<'a>], at: usize) -> Option<Self> {
        let mut depth = 0_usize;
        let mut commas = Vec::new();
        for (i, token) in tokens.iter().enumerate().skip(at + 1) {
            match token.text {
                "(" | "[" => depth += 1,
                ")" | "]" => depth = depth.saturating_sub(1),
                "," if depth == 1 => commas.push(i),
                _ => {}
            }
            if depth == 0 {
                return Some(Self { tokens, name: &tokens[at], at, close: i, commas });
            }
        }
        None
    }

    fn is_one_of(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.name.is(name))
    }

    fn arguments(&self) -> usize {
        self.commas.len() + 1
    }

    /// The last argument of several.
    fn last(&self) -> Option<&'a [Token<'a>]> {
        self.commas.last().map(|comma| &self.tokens[comma + 1..self.close])
    }

    /// The part of a date that it is about: elsewhere `week` is a column.
    fn part(&self) -> Option<&'a [Token<'a>]> {
        self.last().filter(|_| self.is_one_of(&OF_PARTS))
    }

    fn rewrite(&self, edits: &mut Edits) {
        let (tokens, name, at) = (self.tokens, self.name, self.at);
        let end = tokens[self.close].end;
        let ddl = tokens[0].is("create") || tokens[0].is("alter");
        if ddl && name.is("options") {
            edits.replace(name.start..end, "");
        }
        let windowed = tokens.get(self.close + 1).is_some_and(|next| next.is("over"));
        // No match is null, and no macro has a window.
        if name.is("countif") && !windowed {
            edits.replace(name.start..name.end, "bq_countif");
        }
        if let Some((_, new)) = RENAMED.iter().find(|(old, _)| name.is(old)) {
            edits.replace(name.start..name.end, *new);
        }
        if self.is_one_of(&DATES) {
            edits.replace(name.start..name.start, "CAST(");
            edits.replace(end..end, " AS DATE)");
        }
        // A part of a date or a time.
        match self.part() {
            Some([part]) if name.is("timestamp_diff") => {
                edits.replace(part.start..part.end, format!("'{}'", part.text));
            }
            Some([part]) if part.is("isoweek") => edits.replace(part.start..part.end, "week"),
            Some([week, _, day, close]) if week.is("week") && day.is("monday") => {
                edits.replace(week.start..close.end, "week");
            }
            _ => {}
        }
        if name.is("extract")
            && tokens[at + 3..].first().is_some_and(|from| from.is("from"))
            && let Some((_, new)) = PARTS.iter().find(|(part, _)| tokens[at + 2].is(part))
        {
            edits.replace(name.start..tokens[at + 3].end, *new);
        }
        if name.is("concat") {
            // DuckDB's own leaves nulls out.
            edits.replace(name.start..tokens[at + 1].end, "((");
            for comma in &self.commas {
                edits.replace(tokens[*comma].start..tokens[*comma].end, ") || (");
            }
            edits.replace(end..end, ")");
        }
    }

    /// What would come out wrong.
    fn refuse(&self) -> Result<(), Refused> {
        let refused = |message: &str| Err(Refused { message: message.to_owned(), offset: self.name.start });
        let month = self.last().is_none_or(|part| part.first().is_some_and(|part| part.is("month")));
        if self.is_one_of(&["last_day"]) && !month {
            return refused("`last_day` is translated for months only");
        }
        if self.is_one_of(&["array_to_string", "parse_timestamp"]) && self.arguments() == 3 {
            return refused("the third argument of this function is not translated: leave it out");
        }
        match self.part() {
            Some([week, rest @ ..])
                if week.is("week") && !rest.get(1).is_some_and(|day| day.is("monday")) =>
            {
                refused("weeks are translated that begin on Monday: write `isoweek` or `week(monday)`")
            }
            _ => Ok(()),
        }
    }
}

/// What would come out wrong without anybody noticing, or fail with words that help nobody.
fn refuse_words(tokens: &[Token<'_>], place: usize) -> Result<(), Refused> {
    let words = |words: &[&str]| {
        words.iter().enumerate().all(|(i, word)| tokens.get(place + i).is_some_and(|token| token.is(word)))
    };
    let refused = |message: &str| Err(Refused { message: message.to_owned(), offset: tokens[place].start });
    if words(&["with", "offset"]) {
        return refused("`with offset` is not translated: number the elements by `generate_array`");
    }
    if words(&["at", "time", "zone"]) {
        return refused("`at time zone` is not translated: write `datetime(…, 'the zone')`");
    }
    if words(&["@@"]) {
        return refused("BigQuery's system variables have no translation: leave `@@` out");
    }
    if words(&["safe", "."]) {
        return refused("the prefix `safe.` is not translated: write `safe_cast`, `nullif` or `case`");
    }
    if words(&["language", "js"]) || words(&["language", "python"]) {
        return refused("functions in other languages than SQL are not translated");
    }
    Ok(())
}
