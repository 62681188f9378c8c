//! What a condition looks at: tasks, parameters, and the two fields that a task has.

use std::ops::Range;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::check::{Check, Checked};
use super::syntax::place;
use super::{PARAMS, Reference, TASKS};
use crate::spec::{quote, suggest};
use crate::state::TaskState;

/// What a task has in a condition.
const FIELDS: [&str; 2] = [STATE, "result"];
const STATE: &str = "state";

/// `of.name` or `of["name"]`.
struct Member<'n> {
    of: &'n IdedExpr,
    name: &'n str,
    at: Range<usize>,
    /// Whether it may be missing: `has(of.name)`, `of.?name`, `of[?"name"]`.
    optional: bool,
}

impl Check<'_> {
    /// Takes note of `tasks["id"]`, `tasks.id` or `params.name`; whether it was one.
    pub(super) fn note(&mut self, node: &IdedExpr) -> bool {
        let Some(member) = self.member(node) else { return false };
        let reference = || Reference { name: member.name.to_owned(), at: member.at.clone() };
        if self.is_variable(member.of, TASKS) {
            self.found.tasks.push(reference());
        } else if !self.is_variable(member.of, PARAMS) {
            return false;
        } else if member.optional {
            self.asked.insert(member.name.to_owned());
        } else {
            self.found.params.push(reference());
        }
        true
    }

    /// A task has two fields.
    pub(super) fn check_field(&self, node: &IdedExpr) -> Checked {
        match self.field_of_task(node) {
            Some(Member { name, at, .. }) if !FIELDS.contains(&name) => {
                let help = suggest::or_list(name, "it has", &FIELDS);
                self.mistake(at, format!("a task has no {} in a condition", quote(name)), help)
            }
            _ => Ok(()),
        }
    }

    /// A state that is compared with what is no state would make the condition false for ever.
    pub(super) fn check_states(&self, node: &IdedExpr) -> Checked {
        let Expr::Call(CallExpr { func_name, target: None, args }) = &node.expr else { return Ok(()) };
        let [left, right] = &args[..] else { return Ok(()) };
        let is_state = |node| self.field_of_task(node).is_some_and(|field| field.name == STATE);
        let compared = match (func_name.as_str(), &right.expr) {
            (operators::EQUALS | operators::NOT_EQUALS, _) if is_state(left) => std::slice::from_ref(right),
            (operators::EQUALS | operators::NOT_EQUALS, _) if is_state(right) => std::slice::from_ref(left),
            (operators::IN, Expr::List(list)) if is_state(left) => &list.elements,
            _ => return Ok(()),
        };
        for node in compared {
            if let Some(word) = text_of(node).filter(|word| TaskState::from_name(word).is_none()) {
                let names = TaskState::ALL.map(TaskState::name);
                let help = suggest::or_list(word, "the states are", &names);
                let at = place(self.text, self.places, node);
                return self.mistake(at, format!("there is no state {}", quote(word)), help);
            }
        }
        Ok(())
    }

    fn field_of_task<'n>(&self, node: &'n IdedExpr) -> Option<Member<'n>> {
        let field = self.member(node)?;
        let task = self.member(field.of)?;
        self.is_variable(task.of, TASKS).then_some(field)
    }

    fn is_variable(&self, node: &IdedExpr, variable: &str) -> bool {
        let Expr::Ident(name) = &node.expr else { return false };
        // A name with a dot before it is none of a loop.
        name.strip_prefix('.') == Some(variable) || name == variable && !self.locals.contains(name)
    }

    fn member<'n>(&self, node: &'n IdedExpr) -> Option<Member<'n>> {
        let place = |node| place(self.text, self.places, node);
        match &node.expr {
            Expr::Select(select) => {
                let of = &*select.operand;
                // The place of `has(of.name)` is that of `has`.
                let dot = if select.test { place(of) } else { place(node) };
                let (name, at) = (&*select.field, self.after(&dot, &select.field));
                Some(Member { of, name, at, optional: select.test })
            }
            Expr::Call(CallExpr { func_name, target: None, args }) => {
                let [of, key] = &args[..] else { return None };
                let name = text_of(key)?;
                let (at, optional) = match func_name.as_str() {
                    operators::INDEX => (place(key), false),
                    operators::OPT_INDEX => (place(key), true),
                    operators::OPT_SELECT => (self.after(&place(node), name), true),
                    _ => return None,
                };
                Some(Member { of, name, at, optional })
            }
            _ => None,
        }
    }

    /// The place of the first such name after this place.
    fn after(&self, place: &Range<usize>, name: &str) -> Range<usize> {
        match self.text[place.end..].find(name).map(|at| place.end + at) {
            Some(start) => start..start + name.len(),
            None => place.clone(),
        }
    }
}

fn text_of(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}
