//! Notices: what they are about, and the command or webhook that gives them. Nothing here is run or called.

use super::super::dag::{Notify, NotifyOn, NotifyTarget};
use super::super::diagnostic::quote;
use super::super::keys::NotifyKey;
use super::super::source::Span;
use super::super::tree::{Node, Value};
use super::{Found, Lower};

const COMMAND: &str = "a list of a program and its arguments, or a text for `/bin/sh -c`,";

/// What a notice says of itself.
#[derive(Default)]
struct Parts {
    on: Option<Vec<NotifyOn>>,
    command: Option<Vec<String>>,
    webhook: Option<String>,
}

impl Lower<'_> {
    pub(super) fn notices(&mut self, name: &str, node: Node<'_>) -> Vec<Notify> {
        let notices = self.list(name, "a list of notices", node);
        notices.filter_map(|notice| self.notice(name, notice)).collect()
    }

    fn notice(&mut self, name: &str, node: Node<'_>) -> Option<Notify> {
        let span = node.span;
        let Value::Map(entries) = node.value else {
            self.expected("a mapping with the keys of a notice", name, &node);
            return None;
        };
        let mut parts = Parts::default();
        let mut found = Found::none();
        let mut webhook_span = span;
        for entry in entries {
            let Some(key) = self.key::<NotifyKey>(&entry) else {
                continue;
            };
            found.add(key);
            match key {
                NotifyKey::On => parts.on = Some(self.notify_on(&entry.key, entry.value)),
                NotifyKey::Command => parts.command = self.command(&entry.key, entry.value),
                NotifyKey::Webhook => {
                    webhook_span = entry.key_span;
                    parts.webhook = self.url(&entry.key, entry.value);
                }
            }
        }
        match (found.has(NotifyKey::Command), found.has(NotifyKey::Webhook)) {
            (true, true) => {
                let help = "a notice has one target; write two notices";
                self.mistake_with_help(webhook_span, "`webhook` stands beside `command`", help);
            }
            (false, false) => {
                let start = Span { end: span.end.min(span.start.saturating_add(1)), ..span };
                let help = "add `command: [program, argument]`, or `webhook: https://…`";
                self.mistake_with_help(start, "a notice has a `command` or a `webhook`", help);
            }
            _ => {}
        }
        let command = parts.command.map(NotifyTarget::Command);
        let target = command.or(parts.webhook.map(NotifyTarget::Webhook))?;
        Some(Notify { on: parts.on.unwrap_or_else(|| NotifyOn::DEFAULT.to_vec()), target, span })
    }

    /// One word, or a list of them; each counts once.
    fn notify_on(&mut self, name: &str, node: Node<'_>) -> Vec<NotifyOn> {
        let nodes = match node.value {
            Value::List(nodes) if nodes.is_empty() => {
                let help = "to tell of nothing, leave the notice out";
                self.mistake_with_help(node.span, format!("`{name}` is empty"), help);
                return Vec::new();
            }
            Value::List(nodes) => nodes.into_vec(),
            _ => vec![node],
        };
        let mut on = Vec::with_capacity(nodes.len());
        for node in nodes {
            if let Some(one) = self.choice(name, node, &NotifyOn::NAMES)
                && !on.contains(&one)
            {
                on.push(one);
            }
        }
        on
    }

    fn command(&mut self, name: &str, node: Node<'_>) -> Option<Vec<String>> {
        let span = node.span;
        let words: Vec<String> = match node.value {
            Value::Text(text) if text.trim().is_empty() => Vec::new(),
            Value::Text(text) => ["/bin/sh", "-c", &text].map(str::to_owned).into(),
            Value::List(_) => self.texts(name, node),
            _ => {
                self.expected(COMMAND, name, &node);
                return None;
            }
        };
        if words.first().is_none_or(String::is_empty) {
            let help = "write the program first, as in `[program, argument]`";
            self.mistake_with_help(span, format!("`{name}` names no program"), help);
        }
        if words.iter().any(|word| word.contains('\0')) {
            self.mistake(span, format!("`{name}` holds a NUL character, which no program can be given"));
        }
        Some(words)
    }

    fn url(&mut self, name: &str, node: Node<'_>) -> Option<String> {
        let span = node.span;
        let url = self.text(name, node)?;
        if !is_url(&url) {
            let help = "write `https://host/path`, without spaces and with other characters percent-encoded";
            self.mistake_with_help(span, format!("`{name}` {} is no http or https URL", quote(&url)), help);
        }
        Some(url.into_owned())
    }
}

/// Whether something could be posted there: a scheme, a host, and no character that a URL has to encode.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with(['/', '?', '#']) && rest.bytes().all(|b| b.is_ascii_graphic())
    })
}
