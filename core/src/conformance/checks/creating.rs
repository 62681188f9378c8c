//! What comes before any task: the library, its description, its configuration.

use oxidag_plugin_api::Error;
use oxidag_plugin_api::abi::Description;
use serde_json::{Map, Value, json};

use super::Checked;
use crate::conformance::Verdict;
use crate::conformance::session::{Session, section, short};
use crate::conformance::wire::Request;
use crate::engine::{self, Engine, EngineError};
use crate::loader::Library;

/// A key that no configuration has.
const UNKNOWN: &str = "oxidag_conformance_no_such_key";

/// Opens the library.
pub(super) fn open(request: &Request) -> Result<Library, Verdict> {
    Library::open(&request.library, &section(request))
        .map_err(|error| Verdict::failed(error.to_string(), "build it again with oxidag-plugin-api"))
}

pub(super) fn handshake(request: &Request) -> Checked {
    let info = open(request)?.info;
    for (what, text) in [("a name", &info.engine), ("a version", &info.version)] {
        if text.is_empty() {
            return Err(Verdict::failed(
                format!("the engine does not say that it has {what}"),
                "fill in the handshake",
            ));
        }
    }
    Ok(format!("{} {}, ABI {}, plugin-api {}", info.engine, info.version, info.abi, info.plugin_api))
}

/// What the engine says of itself.
fn describe(request: &Request) -> Result<Description, Verdict> {
    let described = engine::describe(&section(request));
    described.map(|(_, _, description)| description).map_err(|error| {
        Verdict::failed(short(&error.to_string()), "let `describe` return what the ABI says, as JSON")
    })
}

pub(super) fn schema(request: &Request) -> Checked {
    const ADVICE: &str = "derive the schema of the configuration, or write one that is a JSON Schema";
    let description = describe(request)?;
    let schema = &description.config_schema;
    if !schema.is_object() && !schema.is_boolean() {
        return Err(Verdict::failed(format!("the schema is {}", short(&schema.to_string())), ADVICE));
    }
    if let Err(error) = jsonschema::meta::validate(schema) {
        let place = error.instance_path().to_string();
        return Err(Verdict::failed(format!("the schema is no JSON Schema: at `{place}`: {error}"), ADVICE));
    }
    jsonschema::validator_for(schema)
        .map_err(|error| Verdict::failed(format!("the schema cannot be used: {error}"), ADVICE))?;
    let mut suffixes = std::iter::once(&description.script_suffix).chain(&description.other_suffixes);
    if let Some(suffix) = suffixes.find(|suffix| !suffix.is_empty() && !suffix.starts_with('.')) {
        return Err(Verdict::failed(
            format!("the suffix of scripts `{suffix}` has no dot"),
            "write it as `.sql`: it is appended to a script's name as it is",
        ));
    }
    let keys = schema["properties"].as_object().map_or(0, Map::len);
    Ok(format!("a JSON Schema with {keys} keys"))
}

pub(super) fn create(request: &Request) -> Checked {
    let load = || Engine::load("conformance", &section(request)).map_err(|error| refused(request, &error));
    let (one, other) = (load()?, load()?);
    drop(one);
    // What one of them held, the other has to do without.
    drop(other);
    drop(load()?);
    let config = if request.cases.config.is_some() { "the cases' configuration" } else { "no configuration" };
    Ok(format!("two side by side and one after them, with {config}"))
}

fn refused(request: &Request, error: &EngineError) -> Verdict {
    if let EngineError::Description { .. } = error {
        return Verdict::not_tested(format!("{}; see the check `schema`", short(&error.to_string())));
    }
    if request.cases.config.is_none() && matches!(error, EngineError::Config { .. } | EngineError::Create(_))
    {
        return Verdict::not_tested(format!(
            "without a configuration, {error}; give one in `[config]` of the cases"
        ));
    }
    Verdict::failed(short(&error.to_string()), "mend `create`, or `[config]` of the cases")
}

pub(super) fn config_refused(request: &Request) -> Checked {
    let description = describe(request)?;
    let validator = jsonschema::validator_for(&description.config_schema)
        .map_err(|error| Verdict::not_tested(format!("the schema cannot be used: {error}")))?;
    let wrong: Vec<(String, Value)> =
        wrong(request, &description).into_iter().filter(|(_, config)| !validator.is_valid(config)).collect();
    if wrong.is_empty() {
        return Err(Verdict::not_applicable(
            "the schema refuses no configuration that the kit knows to make",
        ));
    }
    let functions = open(request)?.functions;
    for (what, config) in &wrong {
        match functions.create(&config.to_string()) {
            // What reads the configuration may pass over keys that it does not know: that is what the schema is for.
            Ok(instance) if config.get(UNKNOWN).is_some() => functions.destroy(instance),
            Ok(instance) => {
                functions.destroy(instance);
                return Err(Verdict::failed(
                    format!("the schema refuses {what}, and the engine was created with it"),
                    "let the schema and the engine agree, or people are told what is not so",
                ));
            }
            Err(json) => {
                _ = readable(&json).map_err(|why| {
                    Verdict::failed(
                        format!("with {what}, `create` failed {why}"),
                        "return an error that names what is wrong",
                    )
                })?
            }
        }
    }
    Session::new(request)?;
    Ok(format!("{} wrong configurations, none of them taken as it is", wrong.len()))
}

/// An error of the ABI with a message, and no panic.
pub(super) fn readable(json: &str) -> Result<Error, String> {
    let error: Error =
        serde_json::from_str(json).map_err(|e| format!("with what is no error of the ABI: {e}"))?;
    match error.kind {
        oxidag_plugin_api::ErrorKind::Panicked => Err(format!("with a panic: {}", short(&error.message))),
        _ if error.message.trim().is_empty() => Err("without a message".to_owned()),
        _ => Ok(error),
    }
}

/// Configurations that a schema may refuse, with what is wrong: the cases' one with one key changed.
fn wrong(request: &Request, description: &Description) -> Vec<(String, Value)> {
    let base = request.cases.config();
    let with = |key: &str, value: Value| {
        let mut config = base.clone();
        config[key] = value;
        config
    };
    let mut wrong = vec![(format!("the unknown key `{UNKNOWN}`"), with(UNKNOWN, json!(1)))];
    let keys = description.config_schema["properties"].as_object().into_iter().flatten();
    for (key, _) in keys {
        for value in [json!(true), json!(-1), json!("\u{1}"), json!([[]]), json!({"a": []})] {
            wrong.push((format!("`{key}` = {value}"), with(key, value)));
        }
    }
    wrong
}
