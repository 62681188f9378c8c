//! Mermaid, for Markdown.

use std::fmt::Write as _;

use super::{Drawing, Edge};

impl Drawing<'_> {
    pub(super) fn mermaid(&self) -> String {
        let mut mermaid = String::from("flowchart LR\n");
        for (task, number) in self.nodes.iter().zip(0_usize..) {
            // Nodes have names of ours: a task may be called `end`, which Mermaid reserves.
            let (id, engine) = (escape(&task.id), escape(&task.engine));
            let state = task.state.map(|state| format!(", {state}")).unwrap_or_default();
            // Writing into a string does not fail.
            let _ = writeln!(mermaid, "  t{number}[\"{id}<br/><small>{engine}{state}</small>\"]");
        }
        for Edge { from, to, grew } in &self.edges {
            let arrow = if *grew { "-.->" } else { "-->" };
            let _ = writeln!(mermaid, "  t{from} {arrow} t{to}");
        }
        mermaid
    }
}

/// Mermaid's labels are HTML, and its escapes begin with `#`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("#quot;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            '&' => escaped.push_str("#amp;"),
            '#' => escaped.push_str("#35;"),
            // Markdown in labels.
            '`' => escaped.push_str("#96;"),
            '\n' => escaped.push_str("<br/>"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::GraphFormat;
    use crate::graph::tests::drawn;

    #[test]
    fn a_task_may_have_a_name_that_mermaid_reserves() {
        let mermaid = drawn(&[("end", &[]), ("b", &["end"])], GraphFormat::Mermaid);
        insta::assert_snapshot!(mermaid, @r#"
        flowchart LR
          t0["end<br/><small>noop</small>"]
          t1["b<br/><small>noop</small>"]
          t0 --> t1
        "#);
    }

    #[test]
    fn a_label_cannot_be_left() {
        assert_eq!(escape("a\"]<b>#1`"), "a#quot;]#lt;b#gt;#35;1#96;");
    }
}
