//! From text to CEL's syntax tree, within limits, and the parser's complaints in our words.

use std::ops::Range;

use cel::common::ast::{IdedExpr, SourceInfo};
use cel::parser::ParseError;

use super::{ConditionError, ENV, caught};
use crate::spec::quote;

/// The longest condition, in bytes. It bounds the depth of operators in a row (`1+1+1+…`), for which the
/// parser has no limit of its own but the stack's.
const LONGEST: usize = 4096;
/// Brackets, calls and conditionals may stand in each other this deep.
const DEEPEST: u16 = 32;

/// How others write what CEL writes as on the right.
const FOREIGN: [(&str, &str); 6] =
    [("=", "=="), ("&", "&&"), ("|", "||"), ("and", "&&"), ("or", "||"), ("not", "!")];

pub(super) fn parse(text: &str) -> Result<(IdedExpr, SourceInfo), ConditionError> {
    if text.len() > LONGEST {
        return Err(ConditionError {
            at: 0..text.len(),
            message: format!("the condition is longer than {LONGEST} bytes"),
            help: Some("let a task decide, and look at its `result`".to_owned()),
        });
    }
    let parser = || ENV.parser().max_recursion_depth(DEEPEST).parse_with_source_info(text);
    let parsed =
        caught(parser).map_err(|message| ConditionError { at: 0..text.len(), message, help: None })?;
    parsed.map_err(|errors| {
        // What follows from a wrong character is told as well, and may even be placed before it.
        let first = errors.errors.iter().find(|error| is_syntax(error)).or(errors.errors.first());
        first.map_or_else(|| unplaced(text), |error| translate(text, error))
    })
}

fn unplaced(text: &str) -> ConditionError {
    ConditionError { at: 0..text.len(), message: "this is no CEL expression".to_owned(), help: None }
}

fn is_syntax(error: &ParseError) -> bool {
    error.msg.starts_with("Syntax error")
}

fn translate(text: &str, error: &ParseError) -> ConditionError {
    let start = offset(text, error);
    let found = unexpected(&error.msg);
    let (message, length, help) = if error.msg.contains("Recursion limit") {
        (format!("the condition is nested more than {DEEPEST} deep"), 1, None)
    } else if error.msg.contains("recovery") {
        ("the condition has too many mistakes".to_owned(), 1, None)
    } else {
        match found {
            Some("<EOF>") => ("the condition ends too early".to_owned(), 0, None),
            Some(token) if token.starts_with(['"', '\'']) => {
                let help = "a text ends with the quote that it begins with; a backslash in it is `\\\\`";
                (
                    format!("the text {} does not end, or holds an unknown escape", quote(token)),
                    token.len(),
                    Some(help.to_owned()),
                )
            }
            Some(token) => (
                format!("{} is not expected here", quote(token.trim())),
                token.trim().len(),
                foreign(text, start, token),
            ),
            None => (error.msg.clone(), 1, None),
        }
    };
    let end = (start..=text.len()).find(|&end| end >= start + length && text.is_char_boundary(end));
    ConditionError { at: start..end.unwrap_or(text.len()), message, help }
}

/// What the parser met, out of "mismatched input '…' expecting …" or "token recognition error at: '…'".
fn unexpected(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("Syntax error: ")?;
    let quoted = match rest.split_once(" input '") {
        Some((_, rest)) => rest.split_once("' expecting").map_or(rest, |(token, _)| token),
        None => rest.strip_prefix("token recognition error at: '")?,
    };
    Some(quoted.strip_suffix('\'').unwrap_or(quoted))
}

/// What to write instead, where a sign of another language stands there or just before.
fn foreign(text: &str, start: usize, token: &str) -> Option<String> {
    let before = text.get(..start).unwrap_or_default().split_whitespace().next_back();
    let found =
        FOREIGN.iter().find(|(sign, _)| *sign == token.trim() || (*sign == "not" && before == Some(sign)));
    found.map(|(sign, ours)| format!("CEL writes `{ours}` for `{sign}`"))
}

/// The byte at which an error stands. Errors of syntax count columns in characters, others in bytes.
fn offset(text: &str, error: &ParseError) -> usize {
    let line = usize::try_from(error.pos.0).unwrap_or_default().saturating_sub(1);
    let column = usize::try_from(error.pos.1).unwrap_or_default().saturating_sub(1);
    let line_start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = &text[line_start..];
    let within = if is_syntax(error) {
        rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    } else {
        rest.floor_char_boundary(column)
    };
    line_start + within
}

/// The bytes of a node's own token: `.` of `a.b`, the bracket of `a[b]` or `f(b)`, all of a name or a literal.
pub(super) fn place(text: &str, places: &SourceInfo, node: &IdedExpr) -> Range<usize> {
    let (start, last) = places.offset_for(node.id).unwrap_or_default();
    let (start, end) = (text.floor_char_boundary(start as usize), text.ceil_char_boundary(last as usize + 1));
    start.min(end)..end
}
