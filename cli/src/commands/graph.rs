//! `oxidag graph`. It needs no engine: a DAG of engines that are not here has a graph, too.

use anyhow::Context as _;
use oxidag_core::graph::{Cycle, Graph};
use oxidag_core::spec::{self, Diagnostic, Diagnostics};

use crate::args::GraphArgs;
use crate::{graph, output};

pub(super) fn graph(args: &GraphArgs) -> anyhow::Result<()> {
    let (dag, source) = spec::load(&args.dag)?;
    let mistake = |cycle: &Cycle| {
        Diagnostic::new(cycle.span, cycle.to_string()).with_help("take one of these dependencies out")
    };
    let drawn = match Graph::new(&dag) {
        Ok(graph) => graph::draw(&dag, &graph, args.format),
        Err(cycles) => return Err(Diagnostics::new(source, cycles.iter().map(mistake).collect()).into()),
    };
    output::print(&drawn).context("cannot print the graph")
}
