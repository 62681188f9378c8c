//! What a task's engine is handed for an attempt: written as the JSON of [`oxidag_plugin_api::Task`] from where each part
//! of it lies, without a copy of any.

use std::borrow::Cow;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Entry, Prepared};
use crate::params::{self, ConnectionKey};

/// An [`oxidag_plugin_api::Task`] that can only be written. It holds secrets.
pub(crate) struct Handed<'a> {
    dag_id: &'a str,
    run_id: &'a str,
    task_id: &'a str,
    attempt: u32,
    idempotency_key: &'a str,
    pub(crate) script: HandedScript<'a>,
    params: Cow<'a, Map<String, Value>>,
    connections: Vec<&'a str>,
    working_dir: &'a Path,
    pub(crate) checkpoint: Option<&'a Value>,
    pub(crate) resumed: bool,
}

/// An [`oxidag_plugin_api::Script`] that can only be written.
pub(crate) struct HandedScript<'a> {
    text: Cow<'a, str>,
    pub(crate) name: &'a str,
    path: Option<&'a Path>,
    uri: Option<&'a str>,
}

impl Handed<'_> {
    /// Writes it into the buffer, in place of what was there.
    ///
    /// # Errors
    ///
    /// Why there is no JSON for it: a folder whose name is no text.
    pub(crate) fn write(&self, buffer: &mut String) -> Result<(), String> {
        buffer.clear();
        self.put(buffer).map_err(|error| format!("the task cannot be written as JSON: {error}"))
    }

    /// By hand, since every attempt is written, and much of it are names that hold nothing that JSON escapes.
    fn put(&self, into: &mut String) -> serde_json::Result<()> {
        put_text(into, "{\"dag_id\":", self.dag_id)?;
        put_text(into, ",\"run_id\":", self.run_id)?;
        put_text(into, ",\"task_id\":", self.task_id)?;
        put(into, ",\"attempt\":", &self.attempt)?;
        put_text(into, ",\"idempotency_key\":", self.idempotency_key)?;
        put_text(into, ",\"script\":{\"text\":", &self.script.text)?;
        put_text(into, ",\"name\":", self.script.name)?;
        if let Some(path) = self.script.path {
            put_path(into, ",\"path\":", path)?;
        }
        if let Some(uri) = self.script.uri {
            put_text(into, ",\"uri\":", uri)?;
        }
        into.push_str("},\"params\":");
        match self.params.is_empty() {
            true => into.push_str("{}"),
            false => put(into, "", &*self.params)?,
        }
        if !self.connections.is_empty() {
            put(into, ",\"connections\":", &self.connections)?;
        }
        put_path(into, ",\"working_dir\":", self.working_dir)?;
        if let Some(checkpoint) = self.checkpoint {
            put(into, ",\"checkpoint\":", checkpoint)?;
        }
        if self.resumed {
            into.push_str(",\"resumed\":true");
        }
        into.push('}');
        Ok(())
    }
}

/// A value, and what stands before it.
fn put(into: &mut String, before: &str, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
    into.push_str(before);
    into.push_str(&serde_json::to_string(value)?);
    Ok(())
}

fn put_text(into: &mut String, before: &str, text: &str) -> serde_json::Result<()> {
    // Without a way out of the loop, so that many characters are looked at by one instruction.
    let is_escaped =
        text.bytes().fold(false, |any, byte| any | (byte < b' ') | (byte == b'"') | (byte == b'\\'));
    if is_escaped {
        return put(into, before, text);
    }
    for part in [before, "\"", text, "\""] {
        into.push_str(part);
    }
    Ok(())
}

fn put_path(into: &mut String, before: &str, path: &Path) -> serde_json::Result<()> {
    match path.to_str() {
        Some(text) => put_text(into, before, text),
        None => put(into, before, path),
    }
}

impl Prepared {
    /// What a task's engine is handed for an attempt that is not resumed.
    ///
    /// # Errors
    ///
    /// A mistake in the script's placeholders. They were checked before the run, so it is a bug.
    pub(crate) fn call<'a>(
        &'a self,
        entry: Entry<'a>,
        run_id: &'a str,
        attempt: u32,
        idempotency_key: &'a str,
    ) -> Result<Handed<'a>, String> {
        let script = &entry.ready.script;
        let params = self.params_of(entry);
        let text = match entry.ready.is_formatted {
            true => params::format(&script.text, &params)
                .map_err(|errors| errors.into_iter().map(|e| e.message).collect::<Vec<_>>().join("; "))?,
            false => Cow::Borrowed(&*script.text),
        };
        let unchanged = *text == *script.text;
        let keys = self.dag.params.keys().chain(entry.params.keys());
        let mut connections: Vec<&str> =
            keys.filter_map(|key| ConnectionKey::parse(key)).map(|connection| connection.name).collect();
        connections.sort_unstable();
        connections.dedup();
        Ok(Handed {
            dag_id: &self.dag.dag_id,
            run_id,
            task_id: entry.task_id,
            attempt,
            idempotency_key,
            script: HandedScript {
                text,
                name: &script.name,
                path: script.path.as_deref().filter(|_| unchanged),
                uri: script.uri.as_deref(),
            },
            params,
            connections,
            working_dir: entry.ready.folder.as_deref().unwrap_or(&self.working_dir),
            checkpoint: None,
            resumed: false,
        })
    }

    /// A task's parameters, with connections filled in. Most tasks have but their own.
    fn params_of<'a>(&self, entry: Entry<'a>) -> Cow<'a, Map<String, Value>> {
        let are_its_own = self.dag.params.is_empty()
            && self.overrides.is_empty()
            && entry.params.keys().all(|key| ConnectionKey::parse(key).is_none());
        if are_its_own {
            return Cow::Borrowed(entry.params);
        }
        let params = params::effective(&self.dag.params, entry.params, &self.overrides, &self.connections);
        Cow::Owned(params)
    }
}

#[cfg(test)]
mod tests {
    use oxidag_plugin_api::Task;
    use serde_json::json;

    use super::*;
    use crate::event::TaskIdx;
    use crate::spec::{SourceFile, parse};

    fn prepared(dag: &Value) -> Prepared {
        let (dag, source) = parse(SourceFile::new("dag.json".into(), dag.to_string())).unwrap();
        let mut prepared = Prepared::without_engines(dag, source, |_| true);
        prepared.working_dir = "/srv/dags".into();
        prepared.connections = [(("GCP".to_owned(), "key".to_owned()), "s3cret".to_owned())].into();
        prepared
    }

    /// What an engine reads, which must be all that was written.
    fn read(handed: &Handed<'_>) -> Task {
        let mut text = "what was there".to_owned();
        handed.write(&mut text).unwrap();
        let task: Task = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&task).unwrap(), text, "a task of the ABI is written otherwise");
        task
    }

    #[test]
    fn an_engine_reads_the_task_as_it_was_handed() {
        let script = json!({"engine": "noop", "inline": ""});
        let params = json!({"a": [1, "\"\u{e9}\n"], "*v": null});
        let dag = json!({"dag_id": "d", "tasks": [{"task_id": "t", "script": script, "params": params}]});
        let prepared = prepared(&dag);
        let handed = prepared.call(prepared.entry(TaskIdx(0)), "r", 3, "k").unwrap();
        let mut expected: Task = serde_json::from_value(json!({
            "dag_id": "d", "run_id": "r", "task_id": "t", "attempt": 3, "idempotency_key": "k",
            "script": {"text": "", "name": ""}, "params": params, "working_dir": "/srv/dags",
        }))
        .unwrap();
        assert_eq!(read(&handed), expected);
        expected.checkpoint = Some(json!({"job": 7}));
        expected.resumed = true;
        assert_eq!(read(&Handed { checkpoint: Some(&json!({"job": 7})), resumed: true, ..handed }), expected);
    }

    #[test]
    fn what_json_escapes_is_escaped_wherever_it_stands() {
        for text in ["\"", "\\", "\n", "\0", "\u{1f}", "\u{7f}\u{e9}\u{1f600}", "plain", ""] {
            let handed = Handed {
                dag_id: text,
                run_id: text,
                task_id: text,
                attempt: u32::MAX,
                idempotency_key: text,
                script: HandedScript {
                    text: text.into(),
                    name: text,
                    path: Some(Path::new(text)),
                    uri: Some(text),
                },
                params: Cow::Owned(Map::from_iter([(text.to_owned(), text.into())])),
                connections: vec![text],
                working_dir: Path::new(text),
                checkpoint: Some(&text.into()),
                resumed: true,
            };
            let task = read(&handed);
            assert_eq!((task.dag_id.as_str(), task.script.text.as_str()), (text, text));
            assert_eq!((task.working_dir.as_path(), task.attempt), (Path::new(text), u32::MAX));
        }
    }

    #[test]
    fn a_folder_whose_name_is_no_text_cannot_be_handed_over() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let dag =
            json!({"dag_id": "d", "tasks": [{"task_id": "t", "script": {"engine": "noop", "inline": ""}}]});
        let mut prepared = prepared(&dag);
        prepared.working_dir = OsStr::from_bytes(b"/\xff").into();
        let handed = prepared.call(prepared.entry(TaskIdx(0)), "r", 1, "k").unwrap();
        let error = handed.write(&mut String::new()).unwrap_err();
        insta::assert_snapshot!(error, @"the task cannot be written as JSON: path contains invalid UTF-8 characters");
    }

    #[test]
    fn parameters_of_the_dag_and_connections_are_filled_in() {
        let script = json!({"engine": "noop", "inline": ""});
        let dag = json!({
            "dag_id": "d", "params": {"a": 1, "b": 1},
            "tasks": [{"task_id": "t", "script": script, "params": {"b": 2, "**GCP_key": ""}}],
        });
        let prepared = prepared(&dag);
        let task = read(&prepared.call(prepared.entry(TaskIdx(0)), "r", 1, "k").unwrap());
        assert_eq!(Value::Object(task.params), json!({"a": 1, "b": 2, "GCP_key": "s3cret"}));
        assert_eq!(task.connections, ["GCP_key"]);
    }

    #[test]
    fn a_connection_is_filled_in_where_it_is_the_only_parameter() {
        let script = json!({"engine": "noop", "inline": ""});
        let dag = json!({
            "dag_id": "d", "tasks": [{"task_id": "t", "script": script, "params": {"**GCP_key": ""}}],
        });
        let prepared = prepared(&dag);
        let task = read(&prepared.call(prepared.entry(TaskIdx(0)), "r", 1, "k").unwrap());
        assert_eq!(Value::Object(task.params), json!({"GCP_key": "s3cret"}));
    }
}
