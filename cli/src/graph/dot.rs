//! DOT, for Graphviz.

use std::fmt::Write as _;

use super::Drawing;

impl Drawing<'_> {
    pub(super) fn dot(&self) -> String {
        let mut dot = format!("digraph {} {{\n", quote(&self.dag.dag_id));
        dot += "  rankdir=LR;\n  node [shape=box, style=rounded];\n";
        for task in &self.dag.tasks {
            // Writing into a string does not fail. `\n` is DOT's own line break.
            let label = format!("{}\\n{}", escape(&task.task_id), escape(&task.script.engine));
            let _ = writeln!(dot, "  {} [label=\"{label}\"];", quote(&task.task_id));
        }
        for (from, to) in self.edges() {
            let [from, to] = [from, to].map(|task| quote(&self.dag.tasks[task].task_id));
            let _ = writeln!(dot, "  {from} -> {to};");
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
