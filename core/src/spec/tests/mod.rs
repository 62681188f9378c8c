//! Tests of the whole way from a text to a DAG or to what is said about it.

mod accepted;
mod by_elements;
mod conditions;
mod documented;
mod growing;
mod ids;
mod limits;
mod messages;
mod notices;
mod params;
mod random;
mod schema;
mod scripts;
mod syntax;
mod teardowns;

use super::{Dag, Diagnostics, SourceFile, Span, Task, parse};

fn read(path: &str, text: &str) -> Result<Dag, Diagnostics> {
    let source = SourceFile::new(path.into(), text.to_owned());
    parse(source).map(|(dag, _)| dag)
}

fn accepted(path: &str, text: &str) -> Dag {
    read(path, text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// What is said about a wrong file.
fn refused(path: &str, text: &str) -> String {
    match read(path, text) {
        Ok(dag) => panic!("accepted: {dag:#?}"),
        Err(mistakes) => mistakes.to_string(),
    }
}

/// The one task of a file in which it has these further keys.
fn task(keys: &str) -> Task {
    let text = format!("tasks:\n- task_id: a\n  script: local.b.f.sql.n\n{keys}");
    accepted("dag.yaml", &text).tasks.remove(0)
}

/// The DAG without its places, for comparing what two files say.
fn without_places(mut dag: Dag) -> String {
    for task in &mut dag.tasks {
        task.span = Span::default();
        task.script_span = Span::default();
        if let Some(when) = &mut task.when {
            when.span = Span::default();
        }
        for dependency in &mut task.dependencies {
            dependency.span = Span::default();
        }
    }
    for notice in &mut dag.notify {
        notice.span = Span::default();
    }
    format!("{dag:#?}")
}
