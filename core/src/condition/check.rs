//! What a condition's text tells before it is evaluated: the names it uses, what it looks at, its depth. Loops
//! are made to count their steps on the way.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators,
};
use cel::{Context, ExecutionError, Value};

use super::looks::text_of;
use super::syntax::place;
use super::{
    CLOSED, ConditionError, ENV, GROUPS, Reference, References, TASKS, TICK, TYPES, Vocabulary, caught,
};
use crate::spec::{quote, suggest};

/// Evaluation takes stack for each level.
const DEEPEST: u32 = 64;

pub(super) fn check(
    text: &str,
    mut expression: IdedExpr,
    places: &SourceInfo,
    vocabulary: Vocabulary,
) -> Result<(IdedExpr, References), ConditionError> {
    let mut check = Check {
        text,
        places,
        vocabulary,
        locals: Vec::new(),
        depth: 0,
        found: References::default(),
        asked: BTreeSet::new(),
    };
    check.expression(&mut expression)?;
    let mut found = check.found;
    found.params.retain(|param| !check.asked.contains(&param.name));
    Ok((expression, found))
}

pub(super) struct Check<'t> {
    pub(super) text: &'t str,
    pub(super) places: &'t SourceInfo,
    pub(super) vocabulary: Vocabulary,
    /// Variables of the loops around.
    pub(super) locals: Vec<String>,
    depth: u32,
    pub(super) found: References,
    /// Parameters of which the condition asks whether they are there.
    pub(super) asked: BTreeSet<String>,
}

pub(super) type Checked = Result<(), ConditionError>;

impl Check<'_> {
    fn expression(&mut self, node: &mut IdedExpr) -> Checked {
        if self.depth == DEEPEST {
            let message = format!("more than {DEEPEST} operators stand in each other");
            return self.mistake(
                place(self.text, self.places, node),
                message,
                "let a task decide, and look at its `result`",
            );
        }
        self.depth += 1;
        self.looked_at(node)?;
        self.depth -= 1;
        Ok(())
    }

    /// Takes note of a task or parameter that is looked at, or goes into the parts of anything else.
    fn looked_at(&mut self, node: &mut IdedExpr) -> Checked {
        if self.note(node) {
            return Ok(());
        }
        self.check_field(node)?;
        self.check_states(node)?;
        let at = place(self.text, self.places, node);
        match &mut node.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name, at),
            Expr::Select(select) => self.expression(&mut select.operand),
            Expr::Call(call) => self.call(call, at),
            Expr::List(list) => list.elements.iter_mut().try_for_each(|element| self.expression(element)),
            Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expression(&mut entry.key)?;
                    self.expression(&mut entry.value)
                }
                EntryExpr::StructField(field) => self.expression(&mut field.value),
            }),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(object) => {
                let message = format!("there is no type {}", quote(&object.type_name));
                self.mistake(at, message, "a mapping is written `{\"key\": value}`")
            }
            Expr::Unspecified => self.mistake(0..self.text.len(), "this is no CEL expression", ""),
        }
    }

    fn name(&mut self, name: &str, at: Range<usize>) -> Checked {
        let root = name.strip_prefix('.');
        if root.is_none() && self.locals.iter().any(|local| local == name) {
            return Ok(());
        }
        match root.unwrap_or(name) {
            TYPES | GROUPS | TASKS if self.vocabulary.is_rule() => {
                let name = root.unwrap_or(name);
                let message = format!("a rule names what it looks at, and `{name}` stands here alone");
                let help = format!(
                    "write `{name}[\"name\"]`, so that it is looked at when that changes, and else costs nothing"
                );
                return self.mistake(at, message, help);
            }
            TASKS => self.found.any_task = true,
            other if self.vocabulary.variables().contains(&other) => {}
            // Types have names as well.
            other if !other.starts_with('@') && !is_known(Expr::Ident(other.to_owned())) => {
                let variables = self.vocabulary.variables();
                let help = match suggest::nearest(other, variables.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if self.vocabulary.is_rule() => {
                        format!("a rule knows {}; texts stand in quotes", suggest::list(variables))
                    }
                    None => "a condition knows `tasks` and `params`; write `tasks[\"id\"]` for an id with a dash or dot, and \
                             texts in quotes"
                        .to_owned(),
                };
                return self.mistake(at, format!("the name {} is unknown", quote(other)), &help);
            }
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self, call: &mut CallExpr, at: Range<usize>) -> Checked {
        // Operators are functions as well, with signs in their names.
        let is_word = call.func_name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        // `optional.of(x)`: the name before the dot is a part of the function's.
        let qualified = match &call.target {
            Some(target) => matches!(&target.expr, Expr::Ident(name) if name == "optional"),
            None => false,
        };
        if self.is_closed(call)? {
            return Ok(());
        }
        if is_word && !qualified {
            let target = call.target.is_some().then(|| Box::new(literal(LiteralValue::Null)));
            let probe = CallExpr { func_name: call.func_name.clone(), target, args: Vec::new() };
            if !is_known(Expr::Call(probe)) {
                let start = self.text[..at.start].rfind(&*call.func_name).unwrap_or(at.start);
                let message = format!("there is no function {}", quote(&call.func_name));
                return self.mistake(
                    start..start + call.func_name.len(),
                    message,
                    "functions are those of CEL's standard library",
                );
            }
        }
        if !qualified && let Some(target) = &mut call.target {
            self.expression(target)?;
        }
        call.args.iter_mut().try_for_each(|argument| self.expression(argument))
    }

    /// `closed("type")`, which rules have; its argument is written down, so that it is known before.
    fn is_closed(&mut self, call: &CallExpr) -> Result<bool, ConditionError> {
        if !self.vocabulary.is_rule() || call.func_name != CLOSED || call.target.is_some() {
            return Ok(false);
        }
        let [argument] = &call.args[..] else { return Ok(false) };
        let at = place(self.text, self.places, argument);
        let Some(name) = text_of(argument) else {
            self.mistake(at, "`closed` takes the name of a type in quotes", "write `closed(\"name\")`")?;
            return Ok(false);
        };
        self.found.closed.push(Reference { name: name.to_owned(), at });
        Ok(true)
    }

    fn comprehension(&mut self, comprehension: &mut ComprehensionExpr) -> Checked {
        self.expression(&mut comprehension.iter_range)?;
        self.expression(&mut comprehension.accu_init)?;
        let outside = self.locals.len();
        let names =
            [Some(&comprehension.iter_var), comprehension.iter_var2.as_ref(), Some(&comprehension.accu_var)];
        self.locals.extend(names.into_iter().flatten().cloned());
        self.expression(&mut comprehension.loop_cond)?;
        self.expression(&mut comprehension.loop_step)?;
        self.expression(&mut comprehension.result)?;
        self.locals.truncate(outside);
        count_steps(comprehension);
        Ok(())
    }

    pub(super) fn mistake(
        &self,
        at: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Checked {
        let help = Some(help.into()).filter(|help| !help.is_empty());
        Err(ConditionError { at, message: message.into(), help })
    }
}

fn literal(value: LiteralValue) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Literal(value) }
}

/// Whether CEL knows a type or function, whatever it says of the arguments that it does not get here.
fn is_known(expression: Expr) -> bool {
    let context = Context::with_env(Arc::clone(&ENV));
    let node = IdedExpr { id: 0, expr: expression };
    let value = caught(|| Value::resolve(&node, &context));
    !matches!(value, Ok(Err(ExecutionError::UndeclaredReference(_))))
}

/// Makes a loop end with an error when all steps are used up. A loop whose own condition is a constant, which
/// CEL's `map` and `filter` have, counts in its body: the library appends to lists of such loops in place,
/// and would copy the whole list in each step otherwise.
fn count_steps(comprehension: &mut ComprehensionExpr) {
    let counted = match (&comprehension.loop_cond.expr, &mut comprehension.loop_step.expr) {
        (Expr::Literal(_), Expr::Call(step)) if step.func_name == operators::CONDITIONAL => {
            step.args.first_mut()
        }
        (Expr::Literal(_), Expr::Call(step)) => match step.args.last_mut().map(|last| &mut last.expr) {
            Some(Expr::List(list)) => list.elements.first_mut(),
            _ => None,
        },
        _ => None,
    };
    let counted = counted.unwrap_or(&mut comprehension.loop_cond);
    let tick = Expr::Call(CallExpr { func_name: TICK.to_owned(), target: None, args: Vec::new() });
    let args = vec![
        IdedExpr { id: 0, expr: tick },
        std::mem::take(counted),
        literal(LiteralValue::Boolean(false.into())),
    ];
    counted.expr = Expr::Call(CallExpr { func_name: operators::CONDITIONAL.to_owned(), target: None, args });
}
