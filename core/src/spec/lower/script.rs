//! What a task runs: the short form, the spelled-out one, or the script itself.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::dag::{Location, Script, ScriptSource};
use super::super::diagnostic::{is_unprintable, quote};
use super::super::keys::ScriptKey;
use super::super::source::Span;
use super::super::suggest;
use super::super::tree::{Entry, Node, Value};
use super::{Found, Lower};

/// The short form, as messages show it.
const SHORT_FORM: &str = "location.bucket.folder.engine.script_name";
const SPELLED_OUT: &str = "{location, bucket, folder, engine, name}";

/// A text and its place.
type Placed<'a> = (Cow<'a, str>, Span);

/// The values of a spelled-out script.
#[derive(Default)]
struct Parts<'a> {
    engine: Option<Arc<str>>,
    inline: Option<Cow<'a, str>>,
    location: Option<Location>,
    bucket: Option<String>,
    folder: Option<String>,
    name: Option<String>,
}

impl Lower<'_> {
    pub(super) fn script(&mut self, name: &str, node: Node<'_>) -> Option<Arc<Script>> {
        match node.value {
            Value::Text(text) => self.short_form(&text, node.span),
            Value::Map(entries) => self.spelled_out(entries, node.span),
            _ => {
                self.expected(&format!("`{SHORT_FORM}` or a mapping"), name, &node);
                None
            }
        }
    }

    fn short_form(&mut self, text: &str, span: Span) -> Option<Arc<Script>> {
        let parts: Vec<&str> = text.splitn(6, '.').collect();
        let &[location, bucket, folder, engine, name] = &parts[..] else {
            self.malformed(text, span);
            return None;
        };
        if parts.contains(&"") {
            self.malformed(text, span);
            return None;
        }
        let start_of = |part: &str| part.as_ptr().addr() - text.as_ptr().addr();
        let place = |part: &str| start_of(part)..start_of(part) + part.len();
        let [location, bucket, folder, engine, name] = [location, bucket, folder, engine, name]
            .map(|part| (Cow::Borrowed(part), self.within(span, text, place(part))));
        let location = self.location(location);
        let bucket = self.segment("bucket", bucket);
        let folder = self.folder(folder);
        let engine = self.engine(engine);
        let name = self.segment("name", name);
        Some(self.shared(Script {
            engine: engine?,
            source: ScriptSource::Stored {
                location: location?,
                bucket: bucket?,
                folder: folder?,
                name: name?,
            },
        }))
    }

    fn malformed(&mut self, text: &str, span: Span) {
        let parts = text.split('.').count();
        let found = match parts {
            1 => "1 part".to_owned(),
            5 => "an empty part".to_owned(),
            _ => format!("{parts} parts"),
        };
        let message = format!("malformed script {}: expected `{SHORT_FORM}`, found {found}", quote(text));
        let help = if parts > 5 {
            format!("where a part holds a dot, use the spelled-out form `{SPELLED_OUT}`")
        } else {
            "a short script may stand in the DAG itself: `{engine: sql, inline: \"select 1\"}`".to_owned()
        };
        self.mistake_with_help(span, message, help);
    }

    fn spelled_out(&mut self, entries: Box<[Entry<'_>]>, span: Span) -> Option<Arc<Script>> {
        let mut parts = Parts::default();
        let mut found = Found::none();
        let mut stored = Vec::new();
        for entry in entries {
            let Some(key) = self.key::<ScriptKey>(&entry) else {
                continue;
            };
            found.add(key);
            if !matches!(key, ScriptKey::Engine | ScriptKey::Inline) {
                stored.push((entry.key.clone(), entry.key_span));
            }
            self.script_value(&mut parts, key, &entry.key, entry.value);
        }
        self.require(&found, span);
        if found.has(ScriptKey::Inline) {
            for (key, span) in stored {
                self.mistake_with_help(
                    span,
                    format!("`{key}` stands beside `inline`"),
                    "a script is either in the DAG (`engine`, `inline`) or at a location",
                );
            }
            return Some(self.inline(parts.engine?, &parts.inline?));
        }
        self.require_place(&found, span);
        Some(self.shared(Script {
            engine: parts.engine?,
            source: ScriptSource::Stored {
                location: parts.location?,
                bucket: parts.bucket?,
                folder: parts.folder.unwrap_or_default(),
                name: parts.name?,
            },
        }))
    }

    /// Most often it is that of the task before.
    fn inline(&mut self, engine: Arc<str>, text: &str) -> Arc<Script> {
        if let Some(last) = &self.last_script
            && Arc::ptr_eq(&last.engine, &engine)
            && matches!(&last.source, ScriptSource::Inline(known) if **known == *text)
        {
            return Arc::clone(last);
        }
        self.shared(Script { engine, source: ScriptSource::Inline(text.into()) })
    }

    fn require_place(&mut self, found: &Found<ScriptKey>, span: Span) {
        let start = Span { end: span.end.min(span.start.saturating_add(1)), ..span };
        let needed =
            [(ScriptKey::Location, "location"), (ScriptKey::Bucket, "bucket"), (ScriptKey::Name, "name")];
        let missing = needed.iter().filter(|&&(key, _)| !found.has(key));
        let missing: Vec<&str> = missing.map(|&(_, name)| name).collect();
        if missing.len() == needed.len() {
            let help = format!("`inline` holds the script itself; `{SPELLED_OUT}` says where it is");
            self.mistake_with_help(start, "this script has no text", help);
        } else if !missing.is_empty() {
            self.mistake(start, format!("missing in a script: {}", suggest::list(&missing)));
        }
    }

    fn script_value<'a>(&mut self, parts: &mut Parts<'a>, key: ScriptKey, name: &str, node: Node<'a>) {
        let span = node.span;
        let Some(text) = self.text(name, node) else {
            return;
        };
        match key {
            ScriptKey::Engine => parts.engine = self.engine((text, span)),
            ScriptKey::Inline => parts.inline = Some(text),
            ScriptKey::Location => parts.location = self.location((text, span)),
            ScriptKey::Bucket => parts.bucket = self.segment(name, (text, span)),
            ScriptKey::Folder => parts.folder = self.folder((text, span)),
            ScriptKey::Name => parts.name = self.segment(name, (text, span)),
        }
    }

    fn location(&mut self, (name, span): Placed<'_>) -> Option<Location> {
        let location = Location::ALL.into_iter().find(|location| location.name() == name);
        if location.is_none() {
            let help = suggest::or_list(&name, "the locations are", &Location::ALL.map(Location::name));
            self.mistake_with_help(span, format!("unknown location {}", quote(&name)), help);
        }
        location
    }

    fn engine(&mut self, (name, span): Placed<'_>) -> Option<Arc<str>> {
        if let Some(engine) = self.engines.get(&*name) {
            return Some(Arc::clone(engine));
        }
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
            let message = format!("{} cannot be the name of an engine", quote(&name));
            self.mistake_with_help(span, message, "an engine's name is letters, digits, `_` and `-`");
            return None;
        }
        let engine: Arc<str> = name.into();
        self.engines.insert(Arc::clone(&engine));
        Some(engine)
    }

    /// A part of a path that is one name.
    fn segment(&mut self, what: &str, (text, span): Placed<'_>) -> Option<String> {
        let problem = if text.contains('/') { Some("holds a `/`") } else { segment_problem(&text) };
        self.path(what, text, span, problem)
    }

    /// Names with `/` between them, or nothing.
    fn folder(&mut self, (text, span): Placed<'_>) -> Option<String> {
        let problem = if text.is_empty() {
            None
        } else if text.starts_with('/') {
            Some("is absolute")
        } else {
            text.split('/').find_map(segment_problem)
        };
        self.path("folder", text, span, problem)
    }

    fn path(&mut self, what: &str, text: Cow<'_, str>, span: Span, problem: Option<&str>) -> Option<String> {
        let Some(problem) = problem else {
            return Some(text.into_owned());
        };
        let help = if what == "folder" {
            "a folder is a path inside the bucket, such as `a/b`"
        } else {
            "it is one name inside its location; what is nested goes into `folder`"
        };
        self.mistake_with_help(span, format!("{what} {} {problem}", quote(&text)), help);
        None
    }
}

/// Why a name cannot be a part of a path: it would leave its folder, or mean something else elsewhere.
fn segment_problem(segment: &str) -> Option<&'static str> {
    match segment {
        "" => Some("has an empty part"),
        "." | ".." => Some("would leave its place"),
        _ if segment.contains('\\') => Some("holds a backslash"),
        _ if segment.contains('\0') => Some("holds a NUL character"),
        _ if segment.contains(is_unprintable) => Some("holds a character that cannot be printed"),
        _ => None,
    }
}
