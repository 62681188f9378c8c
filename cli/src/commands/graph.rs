//! `oxidag graph`. It needs no engine: a DAG of engines that are not here has a graph, too.

use anyhow::Context as _;
use oxidag_core::graph::{Cycle, Graph};
use oxidag_core::spec::{self, Diagnostics};

use crate::args::GraphArgs;
use crate::{graph, output};

pub(super) fn graph(args: &GraphArgs) -> anyhow::Result<()> {
    let (dag, source) = spec::load(&args.dag)?;
    let drawn = match Graph::new(&dag) {
        Ok(graph) => graph::draw(&dag, &graph, args.format),
        Err(cycles) => {
            return Err(Diagnostics::new(source, cycles.iter().map(Cycle::diagnostic).collect()).into());
        }
    };
    output::print(&drawn).context("cannot print the graph")
}
