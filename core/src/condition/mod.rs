//! Conditions: a task's `when`, in CEL, over the ends of upstream tasks and the parameters.
//!
//! Pure: no I/O, no clock. A condition may come from anywhere, and what tasks leave as well, so neither makes
//! this panic, overflow the stack or go on for ever.

mod around;
mod check;
mod json;
mod looks;
mod say;
mod syntax;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use cel::common::ast::IdedExpr;
use cel::{Context, Env, ExecutionError, Value as Cel};
use serde_json::{Map, Value};

use json::{object, value};

use crate::state::TaskState;

/// What an expression may name, by where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vocabulary {
    /// In a task of the DAG file: tasks and parameters.
    Task,
    /// In a task that a rule adds: the same, and the task to which that rule was applied, if it is applied to some.
    Added {
        /// Whether it is.
        bound: bool,
    },
    /// In a rule: all of this, and types, groups and `closed`.
    Rule {
        /// Whether it is applied to tasks.
        bound: bool,
    },
}

impl Vocabulary {
    /// The names of variables.
    fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Task | Self::Added { bound: false } => &[TASKS, PARAMS],
            Self::Added { bound: true } => &[TASKS, PARAMS, TASK],
            Self::Rule { bound: false } => &[TASKS, PARAMS, TYPES, GROUPS],
            Self::Rule { bound: true } => &[TASKS, PARAMS, TYPES, GROUPS, TASK],
        }
    }

    /// Whether it is the one of rules.
    fn is_rule(self) -> bool {
        matches!(self, Self::Rule { .. })
    }
}

/// The name of the upstream tasks in a condition.
const TASKS: &str = "tasks";
/// The name of the parameters in a condition.
const PARAMS: &str = "params";
/// The names of what rules see besides: all tasks of a kind, the instances of a mapped task, the task that it is about.
const TYPES: &str = "types";
const GROUPS: &str = "groups";
const TASK: &str = "task";
/// The function that tells whether no more task of a kind can come.
const CLOSED: &str = "closed";
/// The function that counts the steps of loops; no condition can name it.
const TICK: &str = "@tick";
/// A condition that loops more often is stopped: it would hold up the run.
const MOST_STEPS: u32 = 10_000;
/// The same for what gives the items of a mapped task, once.
const MOST_STEPS_FOR_ITEMS: u32 = 1_000_000;

/// CEL's standard functions and macros. There is no clock among them.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A condition that is right as far as its text tells.
pub struct Condition {
    text: Arc<str>,
    expression: IdedExpr,
    references: References,
}

/// What a condition looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// The tasks that it names.
    pub tasks: Vec<Reference>,
    /// Whether it looks at tasks that it does not name, as `tasks[params.name]` does.
    pub any_task: bool,
    /// The parameters that it names and that have to be there: it does not ask for them by `has()` or `.?`.
    pub params: Vec<Reference>,
    /// The kinds of tasks that a rule looks at.
    pub types: Vec<Reference>,
    /// The mapped tasks whose instances a rule looks at.
    pub groups: Vec<Reference>,
    /// The kinds of tasks of which a rule asks whether more can come.
    pub closed: Vec<Reference>,
    /// Whether single tasks of these kinds or groups are looked at.
    pub lists: bool,
}

/// A name in a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The task or parameter.
    pub name: String,
    /// Where the condition names it, in bytes of its text.
    pub at: Range<usize>,
}

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConditionError {
    /// Where it is wrong, in bytes of its text.
    pub at: Range<usize>,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do about it, where that can be said.
    pub help: Option<String>,
}

/// What a condition is evaluated on.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    /// The tasks that the condition can look at.
    pub tasks: Vec<TaskView<'a>>,
    /// The task's parameters, without its connections: a secret could end up in a message.
    pub params: &'a Map<String, Value>,
    /// What rules see besides.
    pub around: Around<'a>,
}

/// What rules see besides tasks and parameters.
#[derive(Debug, Clone, Default)]
pub struct Around<'a> {
    /// The task that it is about.
    pub task: Option<BoundTask<'a>>,
    /// Kinds of tasks.
    pub types: Vec<(&'a str, Summary<'a>)>,
    /// Mapped tasks.
    pub groups: Vec<(&'a str, Summary<'a>)>,
    /// The kinds of which no more can come.
    pub closed: Vec<&'a str>,
}

/// Many tasks as a rule sees them.
#[derive(Debug, Clone, Default)]
pub struct Summary<'a> {
    /// How many are in each state.
    pub counts: [u32; TaskState::ALL.len()],
    /// Each of them, where that is asked for.
    pub tasks: Vec<TaskView<'a>>,
}

/// The task that a rule or what it adds is about.
#[derive(Debug, Clone)]
pub struct BoundTask<'a> {
    /// The task itself.
    pub view: TaskView<'a>,
    /// Its type.
    pub kind: Option<&'a str>,
}

/// A task as a condition sees it.
#[derive(Debug, Clone)]
pub struct TaskView<'a> {
    /// Its id.
    pub task_id: &'a str,
    /// The state it is in.
    pub state: TaskState,
    /// What its last attempt left.
    pub result: Option<Value>,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    ///
    /// The first mistake in the text: its syntax, a name that no condition knows, a limit that it exceeds.
    pub fn compile(text: &str) -> Result<Self, ConditionError> {
        Self::compile_with(text, Vocabulary::Task)
    }

    /// Reads an expression that may name these things.
    ///
    /// # Errors
    ///
    /// See [`compile`](Self::compile).
    pub fn compile_with(text: &str, vocabulary: Vocabulary) -> Result<Self, ConditionError> {
        let (expression, places) = syntax::parse(text)?;
        let (expression, references) = check::check(text, expression, &places, vocabulary)?;
        Ok(Self { text: text.into(), expression, references })
    }

    /// The condition as written.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// What it looks at.
    #[must_use]
    pub fn references(&self) -> &References {
        &self.references
    }

    /// Whether it holds.
    ///
    /// # Errors
    ///
    /// Why it cannot be told, for people: something is not there or of another type, the value is neither
    /// true nor false, or the condition takes too many steps.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<bool, String> {
        match self.resolved(scope, "the condition", MOST_STEPS)? {
            Cel::Bool(holds) => Ok(holds),
            other => {
                Err(format!("the condition gives {}, which is neither true nor false", say::value(&other)))
            }
        }
    }

    /// The list or object that it gives.
    ///
    /// # Errors
    ///
    /// Why there is none, for people.
    pub fn items(&self, scope: &Scope<'_>) -> Result<Value, String> {
        let value = self.resolved(scope, "the expression", MOST_STEPS_FOR_ITEMS)?;
        match json::of(&value) {
            Some(items @ (Value::Array(_) | Value::Object(_))) => Ok(items),
            Some(_) => Err(format!(
                "the expression gives {}, which is neither a list nor an object",
                say::value(&value)
            )),
            None => {
                Err(format!("the expression gives {}, in which JSON lacks something", say::value(&value)))
            }
        }
    }

    /// `what` it is, for people.
    fn resolved(&self, scope: &Scope<'_>, what: &str, most: u32) -> Result<Cel, String> {
        let steps = Arc::new(AtomicU32::new(0));
        let value = caught(|| self.value(scope, &steps, most))?;
        if steps.load(Ordering::Relaxed) > most {
            return Err(format!("{what} takes more than {most} steps"));
        }
        value.map_err(|error| format!("{what} cannot be evaluated: {}", say::error(&error)))
    }

    fn value(&self, scope: &Scope<'_>, steps: &Arc<AtomicU32>, most: u32) -> Result<Cel, ExecutionError> {
        let mut context = Context::with_env(Arc::clone(&ENV));
        let tasks = scope.tasks.iter().map(|task| (task.task_id.to_owned(), Cel::from(view(task))));
        context.add_variable_from_value(TASKS, tasks.collect::<HashMap<_, _>>());
        context.add_variable_from_value(PARAMS, object(scope.params));
        around::add(&mut context, &scope.around)?;
        let steps = Arc::clone(steps);
        let tick = move || match steps.fetch_add(1, Ordering::Relaxed) < most {
            true => Ok(Cel::Bool(true)),
            false => Err(ExecutionError::function_error(TICK, "too many steps")),
        };
        context.add_function(TICK, tick).map_err(|error| ExecutionError::function_error(TICK, error))?;
        Cel::resolve(&self.expression, &context)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}

/// The CEL crate is not ours and its parser is generated: should it panic on some text or value, then that
/// is a condition which cannot be used, and not the end of the scheduler. Nothing outlives such a panic but the
/// crate's own caches, which are behind locks that do not poison.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| "the CEL library has a bug that this condition meets".to_owned())
}

fn view(task: &TaskView<'_>) -> HashMap<String, Cel> {
    let result = task.result.as_ref().map_or(Cel::Null, value);
    let state = Cel::String(Arc::new(task.state.name().to_owned()));
    HashMap::from([("state".to_owned(), state), ("result".to_owned(), result)])
}
