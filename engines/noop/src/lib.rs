//! The `noop` engine: does nothing, as slowly, badly or asynchronously as it is told. For tests and benchmarks.
//!
//! Parameters, all optional: `delay_ms`; `fail` (`true`: every attempt; a number: the first so many);
//! `panic` (true); `append` (tasks and rules, added to the graph before anything else); `query` (what the graph is asked
//! for; the answer is the result); `result` (any JSON); `async` (true: waits on the engine's runtime and holds no worker).
//! Other parameters are ignored.

use std::sync::mpsc;
use std::time::Duration;

use oxidag_plugin_api::{AsyncEngine, Error, Host, NoConfig, Outcome, Result, Task, export_async_engine};
use serde_json::{Map, Value};

struct Noop;

impl AsyncEngine for Noop {
    type Config = NoConfig;
    const SCRIPT_SUFFIX: &'static str = ".noop";
    const MIXED: bool = true;

    fn create(_config: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn blocks(&self, params: &Map<String, Value>) -> bool {
        params.get("async") != Some(&Value::Bool(true))
    }

    /// Ten thousand of them may wait at once: what waits holds no more than it needs, and so not the task.
    fn run(&self, task: Task, host: Host) -> impl Future<Output = Result<Outcome>> + Send {
        let (request, attempt) = (Request::read(&task), task.attempt);
        async move {
            let mut request = request?;
            request.grow(&host)?;
            if !request.delay.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(request.delay) => {}
                    () = host.until_cancelled() => return Err(cancelled()),
                }
            }
            request.end(attempt)
        }
    }

    fn run_blocking(&self, task: Task, host: &Host) -> Result<Outcome> {
        let mut request = Request::read(&task)?;
        request.grow(host)?;
        if !request.delay.is_zero() {
            wait(request.delay, host)?;
        }
        request.end(task.attempt)
    }
}

/// Waits on the calling thread, until the task is cancelled at most.
fn wait(delay: Duration, host: &Host) -> Result<()> {
    let (stop, stopped) = mpsc::channel();
    let on_cancel = stop.clone();
    // Nobody listens any more once the delay is over: that a stop comes too late is no error.
    host.on_cancel(move || on_cancel.send(()).unwrap_or_default());
    // `stop` lives on here, so the only error is that the delay is over.
    let result = stopped.recv_timeout(delay);
    drop(stop);
    if result.is_ok() { Err(cancelled()) } else { Ok(()) }
}

fn cancelled() -> Error {
    Error::cancelled("stopped before its delay was over")
}

/// What a task asks for.
#[derive(Debug, Default, PartialEq)]
struct Request {
    delay: Duration,
    /// How many attempts fail, from the first.
    failures: u64,
    panic: bool,
    append: Option<Value>,
    query: Option<Value>,
    result: Option<Value>,
}

impl Request {
    fn read(task: &Task) -> Result<Self> {
        let mut request = Self::default();
        if let Some(value) = task.params.get("delay_ms") {
            let ms = value.as_f64().filter(|ms| (0.0..1e12).contains(ms));
            request.delay = Duration::from_secs_f64(
                ms.ok_or_else(|| wrong("delay_ms", "a number of milliseconds", value))? / 1000.0,
            );
        }
        if let Some(value) = task.params.get("fail") {
            request.failures = match value {
                Value::Bool(true) => u64::MAX,
                Value::Bool(false) => 0,
                _ => value
                    .as_u64()
                    .ok_or_else(|| wrong("fail", "true, false or a number of attempts", value))?,
            };
        }
        if let Some(value) = task.params.get("panic") {
            request.panic = value.as_bool().ok_or_else(|| wrong("panic", "true or false", value))?;
        }
        if let Some(value) = task.params.get("async")
            && !value.is_boolean()
        {
            return Err(wrong("async", "true or false", value));
        }
        request.append = task.params.get("append").cloned();
        request.query = task.params.get("query").cloned();
        request.result = task.params.get("result").cloned();
        Ok(request)
    }

    /// What the task does to the graph, and asks of it.
    fn grow(&mut self, host: &Host) -> Result<()> {
        if let Some(append) = &self.append {
            host.append(append)?;
        }
        if let Some(query) = &self.query {
            self.result = Some(host.query(query)?);
        }
        Ok(())
    }

    fn end(self, attempt: u32) -> Result<Outcome> {
        assert!(!self.panic, "asked to panic by its parameter");
        if u64::from(attempt) <= self.failures {
            return Err(Error::failed(format!("attempt {attempt} fails, as its parameter `fail` asks")));
        }
        Ok(Outcome { result: self.result, ..Outcome::default() })
    }
}

fn wrong(name: &str, wanted: &str, found: &Value) -> Error {
    Error::invalid(format!("the parameter `{name}` must be {wanted}, not {found}"))
}

export_async_engine!(Noop, name = "noop");

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(params: Value) -> Task {
        serde_json::from_value(json!({
            "dag_id": "d", "run_id": "r", "task_id": "t", "attempt": 1, "idempotency_key": "k",
            "script": {"text": "", "name": "inline"}, "params": params, "working_dir": "/",
        }))
        .unwrap()
    }

    #[test]
    fn fail_counts_attempts_from_the_first() {
        let end = |attempt| Request::read(&task(json!({"fail": 2}))).unwrap().end(attempt);
        assert!(end(1).is_err() && end(2).is_err());
        assert!(end(3).is_ok());
        assert!(Request::read(&task(json!({"fail": true}))).unwrap().end(1_000).is_err());
        assert!(Request::read(&task(json!({"fail": false}))).unwrap().end(1).is_ok());
    }

    #[test]
    fn a_parameter_of_the_wrong_type_is_named() {
        for name in ["delay_ms", "fail", "panic", "async"] {
            let error = Request::read(&task(json!({name: "soon"}))).unwrap_err();
            assert!(error.message.contains(name), "{error}");
        }
    }

    #[test]
    fn only_async_tasks_hold_no_worker() {
        let blocks = |params: Value| Noop.blocks(params.as_object().unwrap());
        assert!(blocks(json!({})) && blocks(json!({"async": false})));
        assert!(!blocks(json!({"async": true})));
    }
}
