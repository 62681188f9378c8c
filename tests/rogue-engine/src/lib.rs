//! An engine that breaks its word in every way that can be asked for. For tests alone.
//!
//! Scripts that `Rogue::run` names do so for the task; `rules` and `module` break the rules of the conformance kit, one at a time; of `deadly`
//! no other part of a process survives any.

mod deadly;
mod module;
mod rules;

use std::path::Path;
use std::thread;
use std::time::Duration;

use oxidag_plugin_api::{Engine, Error, Finding, Host, Outcome, Result, Task};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What the engine does wrong before any task.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// How `create` ends.
    #[serde(default)]
    create: Create,
    /// A number, for configurations of the wrong type.
    #[serde(default)]
    #[schemars(schema_with = "rules::number_schema")]
    number: u32,
    /// It panics when it is destroyed.
    #[serde(default)]
    panics_at_end: bool,
}

#[derive(Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
enum Create {
    #[default]
    Well,
    Fails,
    Panics,
    Hangs,
}

struct Rogue {
    number: u32,
    panics_at_end: bool,
}

impl Drop for Rogue {
    fn drop(&mut self) {
        rules::destroyed(self.panics_at_end);
    }
}

impl Engine for Rogue {
    type Config = Config;
    const SCRIPT_SUFFIX: &'static str = ".txt";

    fn create(config: Config) -> Result<Self> {
        match config.create {
            Create::Well => {
                rules::created()?;
                Ok(Self { number: config.number, panics_at_end: config.panics_at_end })
            }
            Create::Hangs => loop {
                thread::park();
            },
            Create::Fails => Err(Error::invalid("told to fail")),
            Create::Panics => {
                rules::create_panics();
                panic!("told to panic")
            }
        }
    }

    fn validate(&self, task: &Task) -> Result<Vec<Finding>> {
        Ok(rules::validate(task))
    }

    /// The script names what to do.
    fn run(&self, task: Task, host: &Host) -> Result<Outcome> {
        match task.script.text.trim() {
            // Until its process is told otherwise by the file that its parameter names.
            "ignore cancellation" => {
                host.info("deaf");
                let until = task.params.get("until").and_then(Value::as_str).unwrap_or_default();
                while !Path::new(until).exists() {
                    thread::sleep(Duration::from_millis(10));
                }
                Ok(Outcome::default())
            }
            "tell everything" => {
                let told = Value::Object(task.params.clone());
                host.info(&told.to_string());
                host.progress(Some(0.5), &told.to_string());
                host.checkpoint(&told)?;
                Ok(Outcome { metrics: task.params, result: Some(told) })
            }
            "fail with everything" => {
                let told = Value::Object(task.params).to_string();
                Err(Error::failed(format!("failed with {told}")).with_metric("told", told))
            }
            "large result" => {
                Ok(Outcome { result: Some("x".repeat(Outcome::MAX_RESULT).into()), metrics: Map::new() })
            }
            "succeed" | "fail" | "long" | "panic" | "panic when stopped" => rules::run(&task, host),
            deed if deadly::knows(deed) => deadly::run(deed, &task, host),
            _ => Ok(Outcome::default().with_metric("number", self.number)),
        }
    }
}

oxidag_plugin_api::__export!("rogue", module::module());
