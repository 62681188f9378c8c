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
    let (length, message, help) = say(text, start, &error.msg);
    ConditionError { at: start..text.ceil_char_boundary(start + length), message, help }
}

/// What is wrong there, for how many bytes, and what to do about it.
fn say(text: &str, start: usize, message: &str) -> (usize, String, Option<String>) {
    if message.contains("Recursion limit") {
        return (1, format!("the condition is nested more than {DEEPEST} deep"), None);
    }
    if message.contains("recovery attempt") {
        return (1, "the condition has too many mistakes".to_owned(), None);
    }
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    match unexpected(message) {
        Some("<EOF>") => (0, "the condition ends too early".to_owned(), None),
        Some(token) if token.starts_with(['"', '\'']) => {
            let help = "a text ends with the quote that it begins with; a backslash in it is `\\\\`";
            let message = format!("the text {} does not end, or holds an unknown escape", quote(token));
            (token.len(), message, Some(help.to_owned()))
        }
        Some(token) => {
            let token = token.trim();
            (token.len(), format!("{} is not expected here", quote(token)), foreign(text, start, token))
        }
        None => (1, message.to_owned(), None),
    }
}

/// What the parser met, out of "mismatched input '…' expecting …", "missing … at '…'" or "token recognition
/// error at: '…'".
fn unexpected(message: &str) -> Option<&str> {
    let found = match message.split_once(" input '") {
        Some((_, found)) => found.split_once("' expecting").map_or(found, |(token, _)| token),
        None => message.split_once(" at '").or(message.split_once(" at: '"))?.1,
    };
    Some(found.strip_suffix('\'').unwrap_or(found))
}

/// What to write instead, where a sign of another language stands there or just before.
fn foreign(text: &str, start: usize, token: &str) -> Option<String> {
    let before = text.get(..start).unwrap_or_default().split_whitespace().next_back();
    let found = FOREIGN.iter().find(|(sign, _)| *sign == token || (*sign == "not" && before == Some(sign)));
    found.map(|(sign, ours)| format!("CEL writes `{ours}` for `{sign}`"))
}

/// The byte at which an error stands. Columns count characters, but those of wrong macros count bytes.
fn offset(text: &str, error: &ParseError) -> usize {
    let line = usize::try_from(error.pos.0).unwrap_or_default().saturating_sub(1);
    let column = usize::try_from(error.pos.1).unwrap_or_default().saturating_sub(1);
    let line_start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = &text[line_start..];
    let is_of_macro = ["invalid argument", "argument must"].iter().any(|start| error.msg.starts_with(start));
    let within = if is_of_macro {
        rest.floor_char_boundary(column)
    } else {
        rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    };
    line_start + within
}

/// The bytes of a node's own token: `.` of `a.b`, the bracket of `a[b]` or `f(b)`, all of a name or a literal.
pub(super) fn place(text: &str, places: &SourceInfo, node: &IdedExpr) -> Range<usize> {
    let (start, last) = places.offset_for(node.id).unwrap_or_default();
    let (start, end) = (text.floor_char_boundary(start as usize), text.ceil_char_boundary(last as usize + 1));
    start.min(end)..end
}
