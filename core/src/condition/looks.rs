//! What a condition looks at: tasks, parameters, and the two fields that a task has.

use std::ops::Range;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::check::{Check, Checked};
use super::syntax::place;
use super::{GROUPS, PARAMS, Reference, TASK, TASKS, TYPES};
use crate::spec::{quote, suggest};
use crate::state::TaskState;

/// What a task has in a condition.
const FIELDS: [&str; 2] = [STATE, "result"];
const STATE: &str = "state";
/// What the task has that a rule is about.
const BOUND: [&str; 4] = ["id", STATE, "result", "type"];
/// What many tasks have in a rule.
const SUMMARY: [&str; 3] = ["count", "states", "tasks"];

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
        } else if self.vocabulary.is_rule() && self.is_variable(member.of, TYPES) {
            // On its own it is the whole of it.
            self.found.lists = true;
            self.found.types.push(reference());
        } else if self.vocabulary.is_rule() && self.is_variable(member.of, GROUPS) {
            self.found.lists = true;
            self.found.groups.push(reference());
        } else if let Some(kind) = self.summary_of(&member) {
            self.found.lists |= member.name == "tasks";
            match kind {
                (true, reference) => self.found.types.push(reference),
                (false, reference) => self.found.groups.push(reference),
            }
        } else if !self.is_variable(member.of, PARAMS) {
            return false;
        } else if member.optional {
            self.asked.insert(member.name.to_owned());
        } else {
            self.found.params.push(reference());
        }
        true
    }

    /// The type (`true`) or group of which this is a field.
    fn summary_of(&self, field: &Member<'_>) -> Option<(bool, Reference)> {
        if !self.vocabulary.is_rule() || !SUMMARY.contains(&field.name) {
            return None;
        }
        let of = self.member(field.of)?;
        let reference = || Reference { name: of.name.to_owned(), at: of.at.clone() };
        match () {
            () if self.is_variable(of.of, TYPES) => Some((true, reference())),
            () if self.is_variable(of.of, GROUPS) => Some((false, reference())),
            () => None,
        }
    }

    /// A task has two fields.
    pub(super) fn check_field(&self, node: &IdedExpr) -> Checked {
        self.check_summary(node)?;
        if let Some(Member { name, at, .. }) = self.field_of_bound(node)
            && !BOUND.contains(&name)
        {
            let help = suggest::or_list(name, "it has", &BOUND);
            return self.mistake(at, format!("`task` has no {}", quote(name)), help);
        }
        match self.field_of_task(node) {
            Some(Member { name, at, .. }) if !FIELDS.contains(&name) => {
                let help = suggest::or_list(name, "it has", &FIELDS);
                self.mistake(at, format!("a task has no {} in a condition", quote(name)), help)
            }
            _ => Ok(()),
        }
    }

    /// What is looked at of many tasks.
    fn check_summary(&self, node: &IdedExpr) -> Checked {
        let Some(field) = self.member(node).filter(|field| !SUMMARY.contains(&field.name)) else {
            return Ok(());
        };
        let Some(of) = self.member(field.of).filter(|_| self.vocabulary.is_rule()) else { return Ok(()) };
        if !self.is_variable(of.of, TYPES) && !self.is_variable(of.of, GROUPS) {
            return Ok(());
        }
        let help = suggest::or_list(field.name, "there are", &SUMMARY);
        self.mistake(field.at, format!("many tasks have no {} in a rule", quote(field.name)), help)
    }

    /// A state that is compared with what is no state would make the condition false for ever.
    pub(super) fn check_states(&self, node: &IdedExpr) -> Checked {
        let Expr::Call(CallExpr { func_name, target: None, args }) = &node.expr else { return Ok(()) };
        let [left, right] = &args[..] else { return Ok(()) };
        let is_state = |node| {
            let field = self.field_of_task(node).or_else(|| self.field_of_bound(node));
            field.is_some_and(|field| field.name == STATE)
        };
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

    /// `task.name`, where there is such a task.
    fn field_of_bound<'n>(&self, node: &'n IdedExpr) -> Option<Member<'n>> {
        let is_bound = self.vocabulary.variables().contains(&TASK);
        self.member(node).filter(|field| is_bound && self.is_variable(field.of, TASK))
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

pub(super) fn text_of(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}
