//! Changes to a statement's text, by which a place in the changed text leads back to the original.

use std::ops::Range;

/// Replacements of parts of a text.
#[derive(Debug, Default)]
pub(crate) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Puts `text` where `range` was; an empty range inserts. What is changed within `range` besides is gone with it.
    pub(crate) fn replace(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.0.push((range, text.into()));
    }

    /// The changed text.
    pub(crate) fn apply(&mut self, original: &str) -> String {
        // What is inserted at a place comes before what replaces the text there.
        self.0.sort_by_key(|(range, _)| (range.start, range.end));
        let mut end = 0;
        self.0.retain(|(range, _)| {
            let apart = range.start >= end;
            end = end.max(range.end);
            apart
        });
        let mut text = String::with_capacity(original.len());
        let mut at = 0;
        for (range, replacement) in &self.0 {
            text.push_str(&original[at..range.start]);
            text.push_str(replacement);
            at = range.end;
        }
        text.push_str(&original[at..]);
        text
    }

    /// Where a place in the changed text comes from; to be asked after [`Edits::apply`].
    pub(crate) fn origin(&self, offset: usize) -> usize {
        let (mut old, mut new) = (0, 0);
        for (range, replacement) in &self.0 {
            let kept = range.start - old;
            if offset < new + kept {
                break;
            }
            new += kept;
            if offset < new + replacement.len() {
                return range.start;
            }
            new += replacement.len();
            old = range.end;
        }
        old + (offset - new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_leads_back_to_where_it_came_from() {
        let original = "select f(a), long_name from t";
        let mut edits = Edits::default();
        edits.replace(13..22, "n");
        edits.replace(7..8, "better_f");
        edits.replace(7..7, "cast(");
        edits.replace(11..11, " as date)");
        // Within the long name.
        edits.replace(15..17, "lost");
        let text = edits.apply(original);
        assert_eq!(text, "select cast(better_f(a) as date), n from t");
        for word in ["select", "(a)", ", n", " from", "t"] {
            let new = text.rfind(word).unwrap();
            let old = original.rfind(word).unwrap_or_else(|| original.find(", long").unwrap());
            assert_eq!(edits.origin(new), old, "{word}");
        }
        assert_eq!(edits.origin(text.find("better").unwrap() + 3), 7);
        assert_eq!(edits.origin(text.len()), original.len());
    }
}
