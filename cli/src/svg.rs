//! What pictures share: text that is safe in XML, and colours that read on white.

use oxidag_core::state::TaskState;

/// The font of all pictures, and the width of one of its characters.
pub(crate) const FONT: &str =
    "font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"12\"";

/// How wide a character of [`FONT`] is.
pub(crate) const CHARACTER: f64 = 7.3;

/// Text as it stands in an element or an attribute; what XML does not know is left out.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// How wide a text is.
#[expect(clippy::cast_precision_loss, reason = "texts are short")]
pub(crate) fn text_width(text: &str) -> f64 {
    console::measure_text_width(text) as f64 * CHARACTER
}

/// The colour of a task's state.
pub(crate) fn colour(state: TaskState) -> &'static str {
    match state {
        TaskState::None | TaskState::Scheduled | TaskState::Waiting => "#d0d7de",
        TaskState::Running => "#54aeff",
        TaskState::Deferred => "#a5b4fc",
        TaskState::UpForRetry => "#d4a72c",
        TaskState::Success => "#2da44e",
        TaskState::Failed => "#cf222e",
        TaskState::Skipped => "#8c959f",
        TaskState::UpstreamFailed => "#bc4c00",
        TaskState::Cancelled => "#8250df",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escape("a<b & \"c\"'\u{1b}\0"), "a&lt;b &amp; &quot;c&quot;&#39;");
    }
}
