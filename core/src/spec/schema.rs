//! The JSON Schema of a DAG file, for editors; made from the tables that reading a file uses.
//!
//! It describes one value at a time. What holds between values, such as that a dependency exists, only
//! reading the file tells.

use serde_json::{Map, Value, json};

use super::dag::{Backoff, Location, NotifyOn, TriggerRule};
use super::keys::{AdditionKey, DagKey, EachKey, Keys, Kind, NotifyKey, RuleKey, ScriptKey, TaskKey};
use super::lower::{LONGEST_DURATION, LONGEST_ID, PRESETS};

/// The JSON Schema (draft 2020-12) of a DAG file.
#[must_use]
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An oxidag DAG",
        "oneOf": [
            { "$ref": "#/$defs/dag" },
            {
                "type": "object",
                "description": "pyDag's form: the DAG in a wrapper.",
                "properties": { "dag": { "$ref": "#/$defs/dag" } },
                "required": ["dag"],
                "additionalProperties": false,
            },
        ],
        "$defs": {
            "dag": mapping::<DagKey>(),
            "task": task(),
            "added_task": added_task(),
            "rule": rule(),
            "script": script(),
            "notice": notice(),
            "params": params(),
            "duration": duration(false),
        },
    })
}

/// The mapping with these keys.
fn mapping<K: Keys>() -> Value {
    let properties = K::TABLE.iter().map(|key| {
        let mut schema = kind(key.kind);
        schema["description"] = key.doc.into();
        (key.name.to_owned(), schema)
    });
    let required = K::TABLE.iter().filter(|key| key.required).map(|key| key.name);
    json!({
        "type": "object",
        "properties": properties.collect::<Map<_, _>>(),
        "required": required.collect::<Vec<_>>(),
        "additionalProperties": false,
    })
}

fn kind(kind: Kind) -> Value {
    match kind {
        Kind::Id => id(),
        Kind::Text => json!({ "type": "string" }),
        Kind::Texts | Kind::Dependencies => json!({
            "type": "array",
            "items": { "type": "string" },
            "uniqueItems": kind == Kind::Dependencies,
        }),
        Kind::Schedule => schedule(),
        Kind::Date => json!({
            "type": "string",
            "pattern": r"^\s*$|^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2}))?$",
        }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Count(least) => json!({ "type": "integer", "minimum": least, "maximum": u32::MAX }),
        Kind::Priority => json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }),
        Kind::Duration => json!({ "$ref": "#/$defs/duration" }),
        Kind::Timeout => duration(true),
        Kind::Backoff => json!({ "enum": Backoff::NAMES.map(|(name, _)| name) }),
        Kind::TriggerRule => json!({ "enum": TriggerRule::NAMES.map(|(name, _)| name) }),
        Kind::Params => json!({ "$ref": "#/$defs/params" }),
        Kind::Pools => json!({
            "type": "object",
            "propertyNames": id(),
            "additionalProperties": { "type": "integer", "minimum": 1, "maximum": u32::MAX },
        }),
        Kind::Notices => json!({ "type": "array", "items": { "$ref": "#/$defs/notice" } }),
        Kind::NotifyOn => notify_on(),
        Kind::Command => command(),
        Kind::Url => json!({ "type": "string", "pattern": r#"^https?://[!"$-.0->@-~][!-~]*$"# }),
        Kind::Condition => json!({ "type": "string", "pattern": r"\S" }),
        Kind::Predicate => {
            json!({ "anyOf": [{ "type": "boolean" }, { "type": "string", "pattern": r"\S" }] })
        }
        Kind::ForEach => {
            json!({ "anyOf": [{ "type": "string", "pattern": r"\S" }, { "type": ["array", "object"] }] })
        }
        Kind::Rules => json!({ "type": "array", "items": { "$ref": "#/$defs/rule" } }),
        Kind::Each => each(),
        Kind::Addition => mapping::<AdditionKey>(),
        Kind::AddedTasks => json!({ "type": "array", "items": { "$ref": "#/$defs/added_task" } }),
        Kind::Tasks => {
            json!({ "type": "array", "items": { "$ref": "#/$defs/task" }, "minItems": 1 })
        }
        Kind::Script => json!({ "$ref": "#/$defs/script" }),
        Kind::Location => json!({ "enum": Location::ALL.map(Location::name) }),
        Kind::Engine => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]+$" }),
        Kind::Segment => json!({ "type": "string", "pattern": format!("^{}$", segment("")) }),
        Kind::Folder => {
            json!({ "type": "string", "pattern": format!("^({0}(/{0})*)?$", segment("")) })
        }
    }
}

fn id() -> Value {
    json!({
        "type": "string",
        "pattern": "^[A-Za-z0-9_.-]+$",
        "maxLength": LONGEST_ID,
        "not": { "enum": [".", ".."] },
    })
}

fn rule() -> Value {
    let mut rule = mapping::<RuleKey>();
    rule["anyOf"] = json!([{ "required": ["when"] }, { "required": ["each"] }]);
    rule
}

fn each() -> Value {
    let mut each = mapping::<EachKey>();
    each["minProperties"] = 1.into();
    each["maxProperties"] = 1.into();
    each
}

/// A task has a script or stands for a DAG.
fn task() -> Value {
    let mut task = mapping::<TaskKey>();
    task["oneOf"] = json!([{ "required": ["script"] }, { "required": ["dag"] }]);
    task
}

/// A task that a rule adds may wait for all tasks of a kind.
fn added_task() -> Value {
    let mut task = task();
    let of_type = json!({
        "type": "object",
        "properties": { "type": id() },
        "required": ["type"],
        "additionalProperties": false,
    });
    task["properties"]["dependencies"]["items"] = json!({ "anyOf": [{ "type": "string" }, of_type] });
    task
}

fn notice() -> Value {
    let mut notice = mapping::<NotifyKey>();
    notice["oneOf"] = json!([{ "required": ["command"] }, { "required": ["webhook"] }]);
    notice
}

fn notify_on() -> Value {
    let one = json!({ "enum": NotifyOn::NAMES.map(|(name, _)| name) });
    json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
}

fn command() -> Value {
    let word = json!({ "type": "string", "pattern": r"^[^\x00]*$" });
    json!({
        "anyOf": [
            { "type": "string", "pattern": r"^[^\x00]*[^\s\x00][^\x00]*$" },
            { "type": "array", "items": word, "prefixItems": [{ "minLength": 1 }], "minItems": 1 },
        ],
    })
}

/// One part of a path, without characters that mean something else: neither `.` nor `..`.
fn segment(without: &str) -> String {
    format!(r"(?!\.{{1,2}}(/|$))[^/\\\x00{without}]+")
}

fn duration(positive: bool) -> Value {
    let least = if positive { "exclusiveMinimum" } else { "minimum" };
    json!({
        "description": "A number of seconds, or text such as `90s`, `5m`, `1h30m`.",
        "anyOf": [
            { "type": "number", least: 0, "maximum": LONGEST_DURATION.as_secs() },
            { "type": "string", "pattern": r"^\s*(\d+(\.\d+)?\s*[A-Za-zµ]+\s*)+$" },
        ],
    })
}

fn schedule() -> Value {
    json!({
        "type": "string",
        "anyOf": [
            { "enum": PRESETS },
            { "pattern": r"^\s*$" },
            { "pattern": r"^\s*[0-9*/,-]+\s+[0-9*/,-]+\s+[0-9*/,-]+\s+[0-9A-Za-z*/,-]+\s+[0-9A-Za-z*/,-]+\s*$" },
        ],
    })
}

fn params() -> Value {
    json!({
        "description": "Values by name: `**SECTION_key` is a connection, `*name` a variable, any other name a placeholder. \
                        Or pyDag's text of single-quoted JSON.",
        "anyOf": [
            { "type": "object", "propertyNames": { "pattern": r"^(\*\*[^_]+_[\s\S]+|\*[^*][\s\S]*|[^*][\s\S]*)$" } },
            { "type": "string" },
        ],
    })
}

fn script() -> Value {
    let locations = Location::ALL.map(Location::name).join("|");
    let part = segment(".");
    let Value::Object(mut spelled_out) = mapping::<ScriptKey>() else {
        return Value::Bool(true);
    };
    let place: Vec<&str> = ScriptKey::TABLE
        .iter()
        .map(|key| key.name)
        .filter(|name| !matches!(*name, "engine" | "inline"))
        .collect();
    spelled_out.insert(
        "oneOf".to_owned(),
        json!([
            { "required": ["inline"], "properties": place.iter().map(|&name| (name.to_owned(), Value::Bool(false))).collect::<Map<_, _>>() },
            { "required": ["location", "bucket", "name"], "properties": { "inline": false } },
        ]),
    );
    json!({
        "anyOf": [
            {
                "type": "string",
                "description": "`location.bucket.folder.engine.script_name`",
                "pattern": format!(r"^({locations})\.{part}\.{part}(/{part})*\.[A-Za-z0-9_-]+\.{part}$"),
            },
            spelled_out,
        ],
    })
}
