//! `oxidag engines inspect`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use oxidag_core::engine::{self, Engine};
use oxidag_core::loader::{self, Image};
use oxidag_core::plugins::{EngineConfig, Isolation, LibraryPath, Plugins};
use oxidag_core::spec::quote;
use serde::Serialize;
use serde_json::Value;

use super::{Said, State};
use crate::args::InspectArgs;
use crate::exit::Exit;
use crate::style::Palette;
use crate::{output, settings};

/// An engine: a public shape.
#[derive(Serialize)]
struct Inspected<'a> {
    name: &'a str,
    state: State,
    /// Where it runs; nothing of a file that no section names.
    #[serde(skip_serializing_if = "Option::is_none")]
    isolation: Option<Isolation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    said: Said,
    /// What it says when it is asked, which runs its code.
    #[serde(flatten)]
    described: Option<Described>,
}

#[derive(Serialize)]
struct Described {
    mode: Value,
    script_suffix: String,
    config_schema: Value,
}

pub(super) fn inspect(args: &InspectArgs) -> anyhow::Result<Exit> {
    let answer = if args.engine.contains('/') { of_file(args)? } else { of_environment(args)? };
    let printed = if args.json { output::print_json(&answer) } else { output::print(&lines(&answer)) };
    printed.context("cannot print the engine")?;
    Ok(if answer.state == State::Refused { Exit::Failed } else { Exit::Success })
}

/// A library that nothing vouches for: it is only read, unless asked for.
fn of_file(args: &InspectArgs) -> anyhow::Result<Inspected<'_>> {
    let path = PathBuf::from(&args.engine);
    let kind = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if !kind.is_file() {
        bail!("{} is no file", path.display());
    }
    let error = Image::read(&path).and_then(|image| image.check(&path)).err();
    let state = if error.is_none() { State::Compatible } else { State::Refused };
    let config = EngineConfig {
        allow_writable: args.environment.trust.allow_writable,
        ..EngineConfig::new(LibraryPath::File(path.clone()))
    };
    let described = if args.describe { Some(describe(&config)?) } else { None };
    let error = error.map(|error| error.to_string());
    Ok(Inspected { name: &args.engine, state, isolation: None, error, said: Said::of(&path), described })
}

/// An engine as a run would load it.
fn of_environment(args: &InspectArgs) -> anyhow::Result<Inspected<'_>> {
    let plugins = settings::plugins(&args.environment, None)?;
    let name = args.engine.as_str();
    let config = plugins.engines.get(name).with_context(|| unknown(name, &plugins))?;
    let error = Engine::load(name, config).err().map(|error| error.to_string());
    Ok(Inspected {
        name,
        state: if error.is_none() { State::Loaded } else { State::Refused },
        isolation: Some(config.isolation),
        error,
        said: Said::of(&loader::find(&config.library)?),
        // A library that is refused for its configuration alone can still tell its schema.
        described: describe(config).ok(),
    })
}

fn unknown(engine: &str, plugins: &Plugins) -> String {
    let known: Vec<&str> = plugins.engines.keys().map(String::as_str).collect();
    let mut text = format!("there is no engine {}; plugins.toml has: {}", quote(engine), known.join(", "));
    if Path::new(engine).is_file() {
        text += &format!("; for the file, say ./{engine}");
    }
    text
}

fn describe(config: &EngineConfig) -> anyhow::Result<Described> {
    let (_, _, said) = engine::describe(config)?;
    let mode = serde_json::to_value(said.mode)?;
    Ok(Described { mode, script_suffix: said.script_suffix, config_schema: said.config_schema })
}

/// In the order in which people ask; the schema at the end, since it is long.
fn lines(answer: &Inspected<'_>) -> String {
    let palette = Palette::stdout();
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        text += &format!("{} {value}\n", palette.faint(format_args!("{key:<13}")));
    };
    let Inspected { name, state, isolation, error, said, described } = answer;
    line("name", name);
    line("state", &state.painted(palette).to_string());
    if let Some(isolation) = isolation {
        line("isolation", isolation.name());
    }
    if let Some(error) = error {
        line("error", error);
    }
    if let Some(info) = &said.info {
        line("engine", &info.engine);
        line("version", &info.version);
        line("abi", &info.abi);
        line("plugin_api", &info.plugin_api);
        line("built with", &info.rustc);
        line("target", &info.target);
    }
    line("path", &said.path.as_deref().unwrap_or(Path::new("-")).display().to_string());
    line("sha256", said.sha256.as_deref().unwrap_or("-"));
    let Some(Described { mode, script_suffix, config_schema }) = described else { return text };
    line("mode", mode.as_str().unwrap_or_default());
    line("script_suffix", script_suffix);
    let schema = serde_json::to_string_pretty(config_schema).unwrap_or_default();
    text + &format!("{}\n{schema}\n", palette.faint("config_schema"))
}
