//! The DAG files that tasks stand for, read with the file that names them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dag::{Dag, SubDag};
use super::diagnostic::{Diagnostic, Diagnostics, Mistakes, quote};
use super::links;
use super::load::{SpecError, load_alone};
use super::source::SourceFile;
use super::task::Task;
use crate::event::TaskIdx;
use crate::graph::{Cycle, Graph};

/// DAGs may stand in each other this deep.
const DEEPEST: usize = 16;

/// Reads all DAG files that the tasks of a DAG stand for, and those that theirs do.
///
/// # Errors
///
/// A file cannot be read, has mistakes, or stands in itself.
pub fn attach(dag: Dag, source: SourceFile) -> Result<(Dag, SourceFile), SpecError> {
    let mut dag = dag;
    let path = source.path().to_owned();
    add(&mut dag, &source, &mut vec![known(&path)])?;
    if !dag.subs.is_empty() {
        let mut mistakes = Mistakes::default();
        links::check_types(&dag, &source, &mut mistakes);
        if !mistakes.is_empty() {
            return Err(SpecError::Invalid(Diagnostics::new(source, mistakes.into_list())));
        }
    }
    Ok((dag, source))
}

fn known(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn add(dag: &mut Dag, source: &SourceFile, around: &mut Vec<PathBuf>) -> Result<(), SpecError> {
    let templates = dag.templates();
    let all = dag.tasks.iter().chain(templates.iter().map(|task| &***task));
    let named: Vec<(Arc<str>, super::Span)> =
        all.filter_map(|task| Some((Arc::clone(task.dag.as_ref()?), task.script_span))).collect();
    let folder = source.path().parent().unwrap_or(Path::new("")).to_owned();
    for (name, span) in named {
        if dag.subs.contains_key(&*name) {
            continue;
        }
        let refused = |message: String| {
            let mistake = Diagnostic::new(span, message);
            SpecError::Invalid(Diagnostics::new(source.clone(), vec![mistake]))
        };
        let path = folder.join(&*name);
        let place = known(&path);
        if around.contains(&place) {
            return Err(refused(format!("the DAG {} stands in itself", quote(&name))));
        }
        if around.len() >= DEEPEST {
            return Err(refused(format!("DAGs stand in each other more than {DEEPEST} deep")));
        }
        let (mut inner, inner_source) = match load_alone(&path) {
            Ok(loaded) => loaded,
            Err(SpecError::Invalid(mistakes)) => return Err(SpecError::Invalid(mistakes)),
            Err(other) => return Err(refused(format!("the DAG of this task cannot be read: {other}"))),
        };
        around.push(place);
        add(&mut inner, &inner_source, around)?;
        around.pop();
        let sub = ordered(inner, &inner_source, path.parent().unwrap_or(Path::new("")))?;
        dag.subs.insert(name.to_string(), Arc::new(sub));
    }
    Ok(())
}

/// The DAG with its tasks in order, if it can stand in another one.
fn ordered(dag: Dag, source: &SourceFile, folder: &Path) -> Result<SubDag, SpecError> {
    let invalid = |mistakes| SpecError::Invalid(Diagnostics::new(source.clone(), mistakes));
    let graph = Graph::new(&dag).map_err(|cycles| invalid(cycles.iter().map(Cycle::diagnostic).collect()))?;
    let not_here = |task: &Task| {
        let message =
            format!("task {} is a teardown, in a DAG that stands in another one", quote(&task.task_id));
        Diagnostic::new(task.span, message)
            .with_help("teardowns stand in the outermost DAG; run this one by itself, or move it there")
    };
    let mut mistakes: Vec<Diagnostic> = dag.tasks.iter().filter(|task| task.teardown).map(not_here).collect();
    mistakes.extend(dag.rules.iter().map(|rule| {
        let help = "rules stand in the outermost DAG; they see the types of the tasks of DAGs in it";
        Diagnostic::new(rule.span, "a DAG that stands in another one has no rules").with_help(help)
    }));
    if !mistakes.is_empty() {
        return Err(invalid(mistakes));
    }
    let task =
        |(place, task): (u32, &TaskIdx)| Arc::new(Task { template: place, ..dag.tasks[task.get()].clone() });
    let tasks = (0..).zip(graph.topological_order()).map(task).collect();
    Ok(SubDag { tasks, dag, folder: folder.to_owned() })
}
