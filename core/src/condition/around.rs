//! What rules see besides tasks and parameters, as CEL.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cel::{Context, ExecutionError, Value as Cel};

use super::{Around, CLOSED, GROUPS, Summary, TASK, TYPES, view};
use crate::state::TaskState;

pub(super) fn add(context: &mut Context<'_, '_>, around: &Around<'_>) -> Result<(), ExecutionError> {
    let summaries = |of: &[(&str, Summary<'_>)]| {
        of.iter().map(|(name, summary)| ((*name).to_owned(), summarised(summary))).collect::<HashMap<_, _>>()
    };
    context.add_variable_from_value(TYPES, summaries(&around.types));
    context.add_variable_from_value(GROUPS, summaries(&around.groups));
    if let Some(task) = &around.task {
        let kind = task.kind.map_or(Cel::Null, text);
        context.add_variable_from_value(TASK, with_id(&task.view, [("type".to_owned(), kind)]));
    }
    let closed: HashSet<String> = around.closed.iter().map(|&name| name.to_owned()).collect();
    let is_closed = move |name: Arc<String>| closed.contains(&*name);
    context.add_function(CLOSED, is_closed).map_err(|error| ExecutionError::function_error(CLOSED, error))
}

fn summarised(summary: &Summary<'_>) -> Cel {
    let count = |count: u32| Cel::Int(i64::from(count));
    let states = TaskState::ALL.into_iter().zip(summary.counts);
    let states: HashMap<String, Cel> = states.map(|(state, n)| (state.name().to_owned(), count(n))).collect();
    let tasks = summary.tasks.iter().map(|task| with_id(task, []).into()).collect();
    let all: HashMap<String, Cel> = HashMap::from([
        ("count".to_owned(), count(summary.counts.iter().sum())),
        ("states".to_owned(), states.into()),
        ("tasks".to_owned(), Cel::List(Arc::new(tasks))),
    ]);
    all.into()
}

fn with_id<const N: usize>(task: &super::TaskView<'_>, more: [(String, Cel); N]) -> HashMap<String, Cel> {
    let mut fields = HashMap::from(more);
    fields.insert("id".to_owned(), text(task.task_id));
    fields.extend(view(task));
    fields
}

fn text(text: &str) -> Cel {
    Cel::String(Arc::new(text.to_owned()))
}
