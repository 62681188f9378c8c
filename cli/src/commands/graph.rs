//! `oxidag graph`. It needs no engine: a DAG of engines that are not here has a graph, too.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use oxidag_core::graph::{Cycle, Graph};
use oxidag_core::runner;
use oxidag_core::spec::{self, Diagnostics, SourceFile};

use super::runs;
use crate::args::{GraphArgs, GraphFormat};
use crate::format::count;
use crate::graph::Grown;
use crate::{graph, output};

pub(super) fn graph(args: &GraphArgs) -> anyhow::Result<()> {
    let path = Path::new(&args.dag);
    // A run's id is no path; a file that is missing is one most often.
    let is_run = !path.exists() && path.extension().is_none() && path.components().count() == 1
        || args.frames.is_some();
    if is_run {
        return of_run(args);
    }
    let (dag, source) = spec::load(path)?;
    let drawn = match Graph::new(&dag) {
        Ok(graph) => graph::draw(&dag, &graph, args.format),
        Err(cycles) => {
            return Err(Diagnostics::new(source, cycles.iter().map(Cycle::diagnostic).collect()).into());
        }
    };
    output::print(&drawn).context("cannot print the graph")
}

/// The graph of a run, with all that was added to it.
fn of_run(args: &GraphArgs) -> anyhow::Result<()> {
    let Some(run) = args.dag.to_str() else {
        bail!("a run is named by its id, the beginning of one, or `latest`")
    };
    let (_, run) = runs::find(run)?;
    let source = SourceFile::new(run.dag_path.clone().into(), run.dag_source.clone());
    let (dag, source) = spec::parse(source)?;
    let (dag, _) = spec::with_subs(dag, source)?;
    let graph =
        Graph::new(&dag).map_err(|_| anyhow::anyhow!("the stored DAG has a cycle; the store is damaged"))?;
    let (graph, growth) =
        runner::grown(&run, &dag, &Arc::new(graph)).context("the stored DAG is not the run's")?;
    let grown = Grown { run: &run, graph: &graph, growth: &growth };
    match &args.frames {
        None => output::print(&grown.draw(grown.now(), args.format)).context("cannot print the graph"),
        Some(folder) => frames(&grown, folder),
    }
}

/// One picture for each time that the graph has grown, numbered so that they sort.
fn frames(grown: &Grown<'_>, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let moments = grown.moments();
    for (moment, number) in moments.iter().zip(0_usize..) {
        let path = folder.join(format!("{number:05}.svg"));
        fs::write(&path, grown.draw(*moment, GraphFormat::Svg))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    output::remark(format_args!("{} in {}", count(moments.len(), "picture"), folder.display()));
    Ok(())
}
