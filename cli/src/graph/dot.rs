//! DOT, for Graphviz.

use std::fmt::Write as _;

use super::Drawing;

impl Drawing<'_> {
    pub(super) fn dot(&self) -> String {
        let mut dot = format!("digraph {} {{\n", quote(self.title));
        dot += "  rankdir=LR;\n  node [shape=box, style=rounded];\n";
        for task in &self.nodes {
            // Writing into a string does not fail. `\n` is DOT's own line break.
            let state = task.state.map(|state| format!("\\n{state}")).unwrap_or_default();
            let label = format!("{}\\n{}{state}", escape(&task.id), escape(&task.engine));
            let _ = writeln!(dot, "  {} [label=\"{label}\"];", quote(&task.id));
        }
        for edge in &self.edges {
            let [from, to] = [edge.from, edge.to].map(|task| quote(&self.nodes[task].id));
            let style = if edge.grew { " [style=dashed]" } else { "" };
            let _ = writeln!(dot, "  {from} -> {to}{style};");
        }
        dot + "}\n"
    }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::GraphFormat;
    use crate::graph::tests::drawn;

    #[test]
    fn names_are_quoted() {
        let dot =
            drawn(&[("load", &[]), ("node", &["load"]), ("a.b-c", &["node", "load"])], GraphFormat::Dot);
        insta::assert_snapshot!(dot, @r#"
        digraph "nightly" {
          rankdir=LR;
          node [shape=box, style=rounded];
          "load" [label="load\nnoop"];
          "node" [label="node\nnoop"];
          "a.b-c" [label="a.b-c\nnoop"];
          "load" -> "node";
          "load" -> "a.b-c";
          "node" -> "a.b-c";
        }
        "#);
    }

    #[test]
    fn a_quote_cannot_end_a_name() {
        assert_eq!(quote("a\"b\\c\nd"), "\"a\\\"b\\\\c\\nd\"");
    }
}
