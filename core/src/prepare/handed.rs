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
    pub(crate) fn write<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<&'b str, String> {
        buffer.clear();
        let written = self.put(buffer).map_err(|error| error.to_string());
        written
            .and_then(|()| std::str::from_utf8(buffer).map_err(|error| error.to_string()))
            .map_err(|error| format!("the task cannot be written as JSON: {error}"))
    }

    /// Every task is written, and by hand it takes half as long: names that are known hold nothing that JSON escapes.
    fn put(&self, into: &mut Vec<u8>) -> serde_json::Result<()> {
        put(into, "{\"dag_id\":", self.dag_id)?;
        put(into, ",\"run_id\":", self.run_id)?;
        put(into, ",\"task_id\":", self.task_id)?;
        put(into, ",\"attempt\":", &self.attempt)?;
        put(into, ",\"idempotency_key\":", self.idempotency_key)?;
        put(into, ",\"script\":{\"text\":", &*self.script.text)?;
        put(into, ",\"name\":", self.script.name)?;
        put_some(into, ",\"path\":", self.script.path)?;
        put_some(into, ",\"uri\":", self.script.uri)?;
        put(into, "},\"params\":", &*self.params)?;
        put_some(into, ",\"connections\":", Some(&self.connections).filter(|names| !names.is_empty()))?;
        put(into, ",\"working_dir\":", self.working_dir)?;
        put_some(into, ",\"checkpoint\":", self.checkpoint)?;
        put_some(into, ",\"resumed\":", Some(&true).filter(|_| self.resumed))?;
        into.push(b'}');
        Ok(())
    }
}

/// A value, and what stands before it.
fn put(into: &mut Vec<u8>, before: &str, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
    into.extend_from_slice(before.as_bytes());
    serde_json::to_writer(into, value)
}

fn put_some(
    into: &mut Vec<u8>,
    before: &str,
    value: Option<&(impl Serialize + ?Sized)>,
) -> serde_json::Result<()> {
    value.map_or(Ok(()), |value| put(into, before, value))
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
        let mut buffer = b"what was there".to_vec();
        let text = handed.write(&mut buffer).unwrap();
        let task: Task = serde_json::from_str(text).unwrap();
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
