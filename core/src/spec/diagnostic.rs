//! Mistakes in a file, each with its place, and how they are shown.
//!
//! What finds a mistake is elsewhere; nothing here prints.

use std::fmt::{self, Write as _};

use unicode_width::UnicodeWidthChar as _;

use super::source::{SourceFile, Span};

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where it is.
    pub span: Span,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do about it, where that can be said.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A mistake without help.
    #[must_use]
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Mistakes as they are found. What goes beyond all reading is only counted, so that a large file that is
/// wrong throughout does not fill the memory.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    list: Vec<Diagnostic>,
    uncollected: usize,
}

impl Mistakes {
    const MOST: usize = 10_000;

    pub(super) fn push(&mut self, mistake: Diagnostic) {
        if self.is_full() {
            self.uncollected += 1;
        } else {
            self.list.push(mistake);
        }
    }

    /// Further ones, found elsewhere.
    pub(super) fn append(&mut self, others: Self) {
        self.uncollected += others.uncollected;
        others.list.into_iter().for_each(|mistake| self.push(mistake));
    }

    /// Whether it is of no use to describe another mistake.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= Self::MOST
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, with a word at the end about those that are missing.
    pub(super) fn into_list(mut self) -> Vec<Diagnostic> {
        if self.uncollected > 0 {
            let end = Span { start: u32::MAX, end: u32::MAX };
            let message = format!("there are {} more mistakes", self.uncollected);
            self.list.push(Diagnostic::new(end, message));
        }
        self.list
    }
}

impl IntoIterator for Mistakes {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_list().into_iter()
    }
}

/// The mistakes of one file, in the file's order, and the file they point into.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    source: SourceFile,
    list: Vec<Diagnostic>,
    elsewhere: Box<[String]>,
}

impl Diagnostics {
    /// Puts the mistakes into the file's order and drops repetitions, which aliases in YAML give.
    #[must_use]
    pub fn new(source: SourceFile, mut list: Vec<Diagnostic>) -> Self {
        fn place(d: &Diagnostic) -> (u32, u32, &str) {
            (d.span.start, d.span.end, &d.message)
        }
        list.sort_by(|a, b| place(a).cmp(&place(b)));
        list.dedup();
        Self { source, list, elsewhere: Box::default() }
    }

    /// The same, and what is wrong with other files, which it names.
    #[must_use]
    pub fn with_elsewhere(mut self, elsewhere: Vec<String>) -> Self {
        self.elsewhere = elsewhere.into();
        self
    }

    /// The mistakes, in the file's order.
    #[must_use]
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// The file they point into.
    #[must_use]
    pub fn source(&self) -> &SourceFile {
        &self.source
    }

    /// For people: every mistake with its place, its line and what to do about it.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let style = if colour { &COLOURED } else { &PLAIN };
        let mut out = String::new();
        for mistake in &self.elsewhere {
            let Style { error, reset, .. } = style;
            // Writing into a string does not fail.
            let _ = writeln!(out, "{error}error:{reset} {mistake}");
        }
        // Mistakes are in order, so columns are counted on from the mistake before: a file that
        // is one line of 100 MB stays linear.
        let (mut line, mut column, mut at) = (0, 1, 0);
        for mistake in &self.list {
            let start = self.source.character(mistake.span.start);
            let its_line = self.source.line(mistake.span.start);
            if its_line != line {
                (line, column, at) = (its_line, 1, self.source.line_start(its_line) as usize);
            }
            column += self.source.text()[at..start].chars().count();
            at = start;
            // Writing into a string does not fail.
            let _ = self.render_one(&mut out, mistake, (line, column), style);
        }
        out
    }

    fn render_one(
        &self,
        out: &mut String,
        mistake: &Diagnostic,
        (line, column): (usize, usize),
        style: &Style,
    ) -> fmt::Result {
        let path = self.source.path().display();
        let Style { strong, error, faint, reset } = style;
        let message = &mistake.message;
        writeln!(out, "{strong}{path}:{line}:{column}: {error}error{reset}{strong}: {message}{reset}")?;
        let excerpt = Excerpt::new(&self.source, mistake.span);
        let gutter = line.to_string();
        let blank = " ".repeat(gutter.len());
        writeln!(out, "{faint} {gutter} |{reset} {}", excerpt.line)?;
        let carets = "^".repeat(excerpt.width);
        writeln!(out, "{faint} {blank} |{reset} {}{error}{carets}{reset}", " ".repeat(excerpt.indent))?;
        if let Some(help) = &mistake.help {
            writeln!(out, "{faint} {blank} ={reset} {strong}help:{reset} {help}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Diagnostics {}

/// Text of a user for use in a message: in backticks, short, and unable to move the cursor.
#[must_use]
pub fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut quoted = String::from("`");
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            quoted.push('…');
            break;
        }
        if is_unprintable(c) {
            quoted.extend(c.escape_default());
        } else {
            quoted.push(c);
        }
    }
    quoted.push('`');
    quoted
}

struct Style {
    strong: &'static str,
    error: &'static str,
    faint: &'static str,
    reset: &'static str,
}

const PLAIN: Style = Style { strong: "", error: "", faint: "", reset: "" };

const COLOURED: Style = Style { strong: "\x1b[1m", error: "\x1b[1;31m", faint: "\x1b[34m", reset: "\x1b[0m" };

/// The part of a line that is shown, and where the carets go under it.
struct Excerpt {
    line: String,
    indent: usize,
    width: usize,
}

impl Excerpt {
    /// Characters shown before and after the start of a mistake.
    const BEFORE: usize = 80;
    const AFTER: usize = 120;

    fn new(source: &SourceFile, span: Span) -> Self {
        let text = source.text();
        let start = source.character(span.start);
        let end = source.character(span.end).max(start);
        let in_line = |c: &char| *c != '\n';

        let mut before: Vec<char> =
            text[..start].chars().rev().take_while(in_line).take(Self::BEFORE + 1).collect();
        let mut line = String::new();
        let mut indent = 0;
        if before.len() > Self::BEFORE {
            before.pop();
            line.push('…');
            indent = 1;
        }
        for &c in before.iter().rev() {
            indent += push(&mut line, c);
        }

        let mut width = 0;
        let mut after = text[start..].char_indices().take_while(|(_, c)| in_line(c));
        for (at, c) in after.by_ref().take(Self::AFTER) {
            if c == '\r' && text[start + at..].starts_with("\r\n") {
                break;
            }
            let columns = push(&mut line, c);
            if start + at < end {
                width += columns;
            }
        }
        if after.next().is_some() {
            line.push('…');
        }
        line.truncate(line.trim_end().len());
        Self { line, indent, width: width.max(1) }
    }
}

/// Adds a character as it is shown and gives the columns it takes.
fn push(line: &mut String, c: char) -> usize {
    if c == '\t' {
        line.push_str("    ");
        4
    } else if is_unprintable(c) {
        line.push('\u{fffd}');
        1
    } else {
        line.push(c);
        c.width().unwrap_or(0)
    }
}

/// Control characters, and those that change the direction of the text around them.
pub(super) fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, marked: &str, help: Option<&str>) -> String {
        let start = text.find(marked).unwrap();
        let mut mistake = Diagnostic::new(Span::new(start, start + marked.len()), "it is wrong");
        mistake.help = help.map(str::to_owned);
        let source = SourceFile::new("dags/a.yaml".into(), text.to_owned());
        Diagnostics::new(source, vec![mistake]).render(false)
    }

    #[test]
    fn a_mistake_is_shown_with_its_place_its_line_and_its_help() {
        insta::assert_snapshot!(rendered("a: 1\nbb: ccc\n", "ccc", Some("write `d`")), @r"
        dags/a.yaml:2:5: error: it is wrong
         2 | bb: ccc
           |     ^^^
           = help: write `d`
        ");
    }

    #[test]
    fn carets_stand_under_the_mistake_whatever_the_width_of_what_precedes_it() {
        insta::assert_snapshot!(rendered("\t漢字: x\r\n", "x", None), @r"
        dags/a.yaml:1:6: error: it is wrong
         1 |     漢字: x
           |           ^
        ");
    }

    #[test]
    fn a_mistake_over_several_lines_is_underlined_on_its_first() {
        insta::assert_snapshot!(rendered("a: [1,\n  2]\n", "[1,\n  2]", None), @r"
        dags/a.yaml:1:4: error: it is wrong
         1 | a: [1,
           |    ^^^
        ");
    }

    #[test]
    fn only_the_surroundings_of_a_mistake_in_a_long_line_are_shown() {
        let text = format!("{}!{}", "a".repeat(1000), "b".repeat(1000));
        let shown = rendered(&text, "!", None);
        assert!(shown.starts_with("dags/a.yaml:1:1001: "));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1].chars().count(), 5 + 1 + 80 + 120 + 1);
        assert_eq!(lines[2].find('^'), Some(5 + 81));
    }

    #[test]
    fn text_of_the_user_cannot_control_the_terminal() {
        assert_eq!(quote("a\x1b[2Jb\u{202e}"), "`a\\u{1b}[2Jb\\u{202e}`");
        assert!(!rendered("\x1b[2J x", "x", None).contains('\x1b'));
        assert_eq!(quote(&"é".repeat(100)).chars().count(), 63);
    }

    #[test]
    fn mistakes_come_in_the_files_order_and_once_each() {
        let source = SourceFile::new("a".into(), "one two\n".to_owned());
        let second = Diagnostic::new(Span::new(4, 7), "second");
        let first = Diagnostic::new(Span::new(0, 3), "first");
        let all = Diagnostics::new(source, vec![second.clone(), first, second]);
        insta::assert_snapshot!(all, @r"
        a:1:1: error: first
         1 | one two
           | ^^^
        a:1:5: error: second
         1 | one two
           |     ^^^
        ");
        assert!(all.render(true).contains("\x1b[1;31merror"));
    }

    #[test]
    fn a_hundred_thousand_mistakes_in_one_line_take_linear_time() {
        let text = "x ".repeat(100_000);
        let list = (0..100_000).map(|i| Diagnostic::new(Span::new(2 * i, 2 * i + 1), "no")).collect();
        let all = Diagnostics::new(SourceFile::new("a".into(), text), list);
        assert!(all.render(false).ends_with('\n'));
    }
}
