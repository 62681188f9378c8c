//! JSON text to a [`Node`].
//!
//! jiter reads the syntax; what is here adds the places, which it does not keep.

use std::borrow::Cow;

use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, Peek};

use super::diagnostic::Diagnostic;
use super::source::Span;
use super::tree::{self, Builder, Entry, Fatal, Node, Parsed, Refused, Value};

/// Reads one JSON value, which is the whole text.
pub(super) fn parse(text: &str) -> Result<Parsed<'_>, Refused> {
    let mut reader = Reader::new(text, None);
    let root = reader.document();
    reader.builder.finish(root)
}

/// Where a list may stand whose elements are wanted one by one.
pub(super) struct Places {
    /// The key of the list, in the root
    pub(super) list: &'static str,
    /// or in the mapping that the root has under this key.
    pub(super) wrapper: &'static str,
}

/// As [`parse`], but the elements of one list are handed out as soon as each is read, and the list itself is left empty.
/// `None` where the syntax is wrong, or it cannot be told before the end which list is meant: there is none, or several.
pub(super) fn parse_by_elements<'a>(
    text: &'a str,
    places: &Places,
    each: &mut dyn FnMut(Node<'a>),
) -> Option<Parsed<'a>> {
    let taking = Taking { places, each, taken: 0, lists: 0, wrappers: 0, is_wrapped: false };
    let mut reader = Reader::new(text, Some(taking));
    let root = reader.document();
    let is_clear = reader.taking.as_ref().is_some_and(Taking::is_clear);
    reader.builder.finish(root).ok().filter(|_| is_clear)
}

struct Reader<'a, 'e> {
    text: &'a str,
    jiter: Jiter<'a>,
    builder: Builder<'a>,
    taking: Option<Taking<'a, 'e>>,
}

/// Handing out the elements of a list.
struct Taking<'a, 'e> {
    places: &'e Places,
    each: &'e mut dyn FnMut(Node<'a>),
    /// How many there were,
    taken: usize,
    /// how many keys are called as the list, and as the wrapper,
    lists: u32,
    wrappers: u32,
    /// and whether the last list stands in the wrapper.
    is_wrapped: bool,
}

/// Where a value stands, as far as that matters for [`Taking`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Root,
    Wrapper,
    List,
    Elsewhere,
}

impl Taking<'_, '_> {
    /// Where the value of a key stands.
    fn below(&mut self, at: At, key: &str) -> At {
        if at == At::Root && key == self.places.wrapper {
            self.wrappers += 1;
            return At::Wrapper;
        }
        if key != self.places.list {
            return At::Elsewhere;
        }
        self.lists += 1;
        self.is_wrapped = at == At::Wrapper;
        At::List
    }

    /// Whether what was handed out is what the file says: of keys that are repeated or stand beside each other only some
    /// count.
    fn is_clear(&self) -> bool {
        self.taken > 0 && self.lists == 1 && self.wrappers == u32::from(self.is_wrapped)
    }
}

impl<'a, 'e> Reader<'a, 'e> {
    fn new(text: &'a str, taking: Option<Taking<'a, 'e>>) -> Self {
        Self { text, jiter: Jiter::new(text.as_bytes()), builder: Builder::default(), taking }
    }

    fn document(&mut self) -> Result<Node<'a>, Fatal> {
        let peek = self.jiter.peek()?;
        let root = self.value(peek, 0, At::Root)?;
        self.jiter.finish()?;
        Ok(root)
    }

    fn value(&mut self, peek: Peek, depth: usize, at: At) -> Result<Node<'a>, Fatal> {
        let start = self.jiter.current_index();
        let value = match peek {
            Peek::Null => {
                self.jiter.known_null()?;
                Value::Null
            }
            Peek::True | Peek::False => Value::Bool(self.jiter.known_bool(peek)?),
            Peek::String => Value::Text(kept(self.text, self.jiter.known_str()?)),
            Peek::Array => self.list(start, depth, at)?,
            Peek::Object => self.map(start, depth, at)?,
            _ => self.number(peek, start)?,
        };
        let span = Span::new(start, self.jiter.current_index());
        Ok(Node { span, value })
    }

    fn number(&mut self, peek: Peek, start: usize) -> Result<Value<'a>, Fatal> {
        self.jiter.known_number_bytes(peek)?;
        let end = self.jiter.current_index();
        Ok(tree::number_or_mistake(
            tree::number(&self.text[start..end]),
            Span::new(start, end),
            &mut self.builder.mistakes,
        ))
    }

    fn list(&mut self, start: usize, depth: usize, at: At) -> Result<Value<'a>, Fatal> {
        let open = self.builder.open(depth, start)?;
        let mut next = self.jiter.known_array()?;
        while let Some(peek) = next {
            let element = self.value(peek, depth + 1, At::Elsewhere)?;
            match &mut self.taking {
                Some(taking) if at == At::List => {
                    taking.taken += 1;
                    (taking.each)(element);
                }
                _ => self.builder.element(element),
            }
            next = self.jiter.array_step()?;
        }
        Ok(self.builder.close_list(&open))
    }

    fn map(&mut self, start: usize, depth: usize, at: At) -> Result<Value<'a>, Fatal> {
        let open = self.builder.open(depth, start)?;
        let mut next = self.key(true)?;
        while let Some((key, key_span)) = next {
            let peek = self.jiter.peek()?;
            let at = match &mut self.taking {
                Some(taking) if matches!(at, At::Root | At::Wrapper) => taking.below(at, &key),
                _ => At::Elsewhere,
            };
            let value = self.value(peek, depth + 1, at)?;
            self.builder.entry(Entry { key, key_span, value });
            next = self.key(false)?;
        }
        Ok(self.builder.close_map(&open))
    }

    /// The next key of a mapping; its colon is read as well.
    fn key(&mut self, first: bool) -> Result<Option<(Cow<'a, str>, Span)>, Fatal> {
        let before = self.jiter.current_index();
        let decoded = if first { self.jiter.known_object()? } else { self.jiter.next_key()? };
        let Some(decoded) = decoded else {
            return Ok(None);
        };
        let key = kept(self.text, decoded);
        if let Cow::Borrowed(part) = key {
            let start = part.as_ptr().addr() - self.text.as_ptr().addr();
            return Ok(Some((key, Span::new(start - 1, start + part.len() + 1))));
        }
        // Around the key there are only blanks, a brace or comma before it, and the colon after it.
        let read = self.jiter.slice_to_current(before);
        let quotes = |&b: &u8| b == b'"';
        let start = before + read.iter().position(quotes).unwrap_or(0);
        let end = before + read.iter().rposition(quotes).map_or(read.len(), |at| at + 1);
        Ok(Some((key, Span::new(start, end))))
    }
}

/// jiter gives a string as a part of the text unless it holds escapes; then it has to be copied.
fn kept<'a>(text: &'a str, decoded: &str) -> Cow<'a, str> {
    let offset = decoded.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
    match text.get(offset..offset.saturating_add(decoded.len())) {
        Some(part) if std::ptr::eq(part, decoded) => Cow::Borrowed(part),
        _ => Cow::Owned(decoded.to_owned()),
    }
}

impl From<JiterError> for Fatal {
    fn from(error: JiterError) -> Self {
        let span = Span::new(error.index, error.index + 1);
        let mistake = Diagnostic::new(span, format!("invalid JSON: {}", error.error_type));
        Fatal::syntax(match help(&error.error_type) {
            Some(help) => mistake.with_help(help),
            None => mistake,
        })
    }
}

fn help(error: &JiterErrorType) -> Option<&'static str> {
    use JsonErrorType as E;
    let JiterErrorType::JsonError(error) = error else {
        return None;
    };
    Some(match error {
        E::EofWhileParsingList
        | E::EofWhileParsingObject
        | E::EofWhileParsingString
        | E::EofWhileParsingValue => "the file ends before the value does; is a part of it missing?",
        E::ControlCharacterWhileParsingString => "write a line break as `\\n`, a tab as `\\t`",
        E::InvalidEscape => "a backslash itself is written `\\\\`",
        E::KeyMustBeAString => "in JSON a key stands in double quotes",
        E::ExpectedSomeValue | E::ExpectedSomeIdent => "in JSON text stands in double quotes",
        E::TrailingComma => "remove the comma after the last element",
        E::TrailingCharacters => "a DAG file holds one value; remove what follows it",
        _ => return None,
    })
}
