//! A graph as an SVG: a box for each task, its engine below its name.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::Drawing;
use super::layout::{Layout, Place};
use crate::format::shorten;
use crate::svg::{FONT, colour, escape, text_width};

const BOX: f64 = 40.0;
const ROW: f64 = 56.0;
const GAP: f64 = 64.0;
const MARGIN: f64 = 20.0;
/// A longer name is cut; the box still tells it when it is pointed at.
const LONGEST_NAME: usize = 40;

/// Border and background of each engine's boxes, in the order in which the DAG names engines.
const COLOURS: [(&str, &str); 6] = [
    ("#0969da", "#ddf4ff"),
    ("#1a7f37", "#dafbe1"),
    ("#9a6700", "#fff8c5"),
    ("#8250df", "#fbefff"),
    ("#bc4c00", "#fff1e5"),
    ("#57606a", "#f6f8fa"),
];

/// Where each layer is, from left to right.
struct Column {
    left: f64,
    width: f64,
}

impl Drawing<'_> {
    pub(super) fn svg(&self) -> String {
        let edges: Vec<(usize, usize)> = self.edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let layout = Layout::new(self.nodes.len(), &edges);
        let columns = self.columns(&layout);
        let width = columns.last().map_or(0.0, |column| column.left + column.width) + MARGIN;
        let height = layout.height * ROW + 2.0 * MARGIN;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" {FONT}>\n\
             <title>{}</title>\n\
             <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
             <path d=\"M0 0L8 4L0 8z\" fill=\"#656d76\"/></marker></defs>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <g fill=\"none\" stroke=\"#656d76\" marker-end=\"url(#arrow)\">\n",
            escape(self.title),
        );
        for ((from, to, bends), drawn) in layout.edges.iter().zip(&self.edges) {
            let ends = (layout.places[*from], layout.places[*to]);
            edge(&mut svg, &columns, ends, bends, drawn.grew);
        }
        svg += "</g>\n";
        self.boxes(&mut svg, &columns, &layout);
        svg + "</svg>\n"
    }

    fn columns(&self, layout: &Layout) -> Vec<Column> {
        let mut widths = vec![0.0_f64; layout.layers];
        for (task, place) in self.nodes.iter().zip(&layout.places) {
            let text = text_width(&shorten(&task.id, LONGEST_NAME)).max(text_width(&task.engine));
            let width = &mut widths[place.layer];
            *width = width.max(text + 24.0);
        }
        let mut left = MARGIN;
        let column = |width| {
            let column = Column { left, width };
            left += width + GAP;
            column
        };
        widths.into_iter().map(column).collect()
    }

    fn boxes(&self, svg: &mut String, columns: &[Column], layout: &Layout) {
        let mut engines: HashMap<&str, usize> = HashMap::new();
        for (task, &place) in self.nodes.iter().zip(&layout.places) {
            let next = engines.len();
            let engine = *engines.entry(&task.engine).or_insert(next);
            let (border, background) = COLOURS[engine % COLOURS.len()];
            let border = task.state.map_or(border, colour);
            let column = &columns[place.layer];
            let (x, y) = (column.left + column.width / 2.0, middle(place));
            // Writing into a string does not fail.
            let _ = writeln!(
                svg,
                "<g><title>{id}</title><rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BOX}\" rx=\"6\" fill=\"{background}\" stroke=\"{border}\"/>\
                 <text x=\"{x:.1}\" y=\"{name_y:.1}\" text-anchor=\"middle\" fill=\"#1f2328\">{name}</text>\
                 <text x=\"{x:.1}\" y=\"{engine_y:.1}\" text-anchor=\"middle\" font-size=\"10\" fill=\"{border}\">{engine}</text></g>",
                id = escape(&task.id),
                name = escape(&shorten(&task.id, LONGEST_NAME)),
                engine = escape(&task.engine),
                left = column.left,
                width = column.width,
                top = y - BOX / 2.0,
                name_y = y - 2.0,
                engine_y = y + 12.0,
            );
        }
    }
}

fn middle(place: Place) -> f64 {
    MARGIN + place.y * ROW
}

/// A curve that leaves and reaches boxes level, and passes the layers between at its bends.
fn edge(svg: &mut String, columns: &[Column], (from, to): (Place, Place), bends: &[Place], dashed: bool) {
    let first = &columns[from.layer];
    let (mut x, mut y) = (first.left + first.width, middle(from));
    let mut path = format!("M{x:.1} {y:.1}");
    let passed = bends.iter().map(|&bend| (bend, columns[bend.layer].width));
    for (place, width) in passed.chain([(to, 0.0)]) {
        let (to_x, to_y) = (columns[place.layer].left, middle(place));
        let half = x.midpoint(to_x);
        let _ = write!(path, "C{half:.1} {y:.1} {half:.1} {to_y:.1} {to_x:.1} {to_y:.1}");
        if width > 0.0 {
            let _ = write!(path, "H{:.1}", to_x + width);
        }
        (x, y) = (to_x + width, to_y);
    }
    let dashes = if dashed { " stroke-dasharray=\"4 3\"" } else { "" };
    let _ = writeln!(svg, "<path d=\"{path}\"{dashes}/>");
}

#[cfg(test)]
mod tests {
    use crate::args::GraphFormat;
    use crate::graph::tests::drawn;

    #[test]
    fn every_task_is_a_box_and_every_dependency_a_path() {
        let long = "x".repeat(250);
        let svg = drawn(&[("a", &[]), ("b", &["a"]), (&long, &["a", "b"])], GraphFormat::Svg);
        assert_eq!(svg.matches("<g><title>").count(), 3);
        assert_eq!(svg.matches("<path d=\"M").count() - 1, 3, "{svg}");
        assert!(svg.contains(&format!("<title>{long}</title>")));
        assert!(svg.contains(&format!(">{}…</text>", "x".repeat(39))));
    }
}
