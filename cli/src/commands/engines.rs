//! `oxidag engines list` and `engines inspect`.

pub(super) mod new;
pub(super) mod test;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use oxidag_core::engine::{self, Engine};
use oxidag_core::loader::{self, LibraryInfo};
use oxidag_core::plugins::{EngineConfig, Isolation, LibraryPath, Plugins};
use oxidag_core::spec::quote;
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::EnvironmentArgs;
use crate::style::{Painted, Palette};
use crate::table::Table;
use crate::{output, settings};

/// An engine in the list: a public shape.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    /// Of the engine, as its library says.
    version: Option<String>,
    /// Its library's file, where it was found.
    path: Option<PathBuf>,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    abi: Option<String>,
    plugin_api: Option<String>,
    rustc: Option<String>,
    target: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Loaded,
    Refused,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Loaded => "loaded",
            State::Refused => "refused",
        }
    }

    fn painted(self, palette: Palette) -> Painted<String> {
        use oxidag_core::state::TaskState;
        let like = if self == State::Loaded { TaskState::Success } else { TaskState::Failed };
        palette.task(like, self.name().to_owned())
    }
}

impl<'a> Listed<'a> {
    /// Loads an engine as a run does.
    fn new(name: &'a str, config: &EngineConfig) -> Self {
        let (info, path, error) = match Engine::load(name, config) {
            Ok(engine) => (Some(engine.info()), Some(engine.path().to_owned()), None),
            // A library that is refused for its configuration alone can still say what it is.
            Err(error) => match engine::describe(config) {
                Ok((path, info, _)) => (Some(info), Some(path), Some(error.to_string())),
                Err(_) => (None, loader::find(&config.library).ok(), Some(error.to_string())),
            },
        };
        let said = |of: fn(&LibraryInfo) -> &String| info.as_ref().map(of).cloned();
        Self {
            name,
            version: said(|info| &info.version),
            path,
            state: if error.is_none() { State::Loaded } else { State::Refused },
            error,
            abi: said(|info| &info.abi),
            plugin_api: said(|info| &info.plugin_api),
            rustc: said(|info| &info.rustc),
            target: said(|info| &info.target),
        }
    }
}

pub(super) fn list(environment: &EnvironmentArgs, json: bool) -> anyhow::Result<()> {
    let plugins = settings::plugins(environment, None)?;
    let engines: Vec<Listed<'_>> =
        plugins.engines.iter().map(|(name, config)| Listed::new(name, config)).collect();
    if json {
        return output::print_json(&engines).context("cannot print the engines");
    }
    output::print(&table(&engines, Palette::stdout())).context("cannot print the engines")
}

fn table(engines: &[Listed<'_>], palette: Palette) -> String {
    let mut table = Table::new(["ENGINE", "STATE", "VERSION", "ABI", "LIBRARY"], 4);
    let text = |text: &Option<String>| Painted::plain(text.as_deref().unwrap_or("-"));
    for engine in engines {
        let path = engine.path.as_ref().map(|path| path.display().to_string());
        table.row([
            Painted::plain(engine.name),
            engine.state.painted(palette),
            text(&engine.version),
            text(&engine.abi),
            text(&path),
        ]);
    }
    let mut text = table.render(palette, output::terminal_width());
    for engine in engines {
        if let Some(error) = &engine.error {
            text += &format!("\n{} {error}\n", palette.error(format_args!("{}:", engine.name)));
        }
    }
    text
}

pub(super) fn inspect(engine: &str, environment: &EnvironmentArgs, json: bool) -> anyhow::Result<()> {
    let is_path = engine.contains('/');
    let answer = if is_path {
        let library = LibraryPath::File(engine.into());
        let config = EngineConfig {
            library,
            sha256: None,
            max_concurrent: None,
            isolation: Isolation::InProcess,
            limits: None,
            config: json!({}),
        };
        described(engine, &config)?
    } else {
        let plugins = settings::plugins(environment, None)?;
        let config = plugins.engines.get(engine).with_context(|| unknown(engine, &plugins))?;
        let mut answer = described(engine, config)?;
        let loaded = Engine::load(engine, config);
        answer["state"] = json!(if loaded.is_ok() { State::Loaded } else { State::Refused });
        if let Err(error) = loaded {
            answer["error"] = error.to_string().into();
        }
        answer
    };
    let printed = if json { output::print_json(&answer) } else { output::print(&lines(&answer)) };
    printed.context("cannot print the engine")
}

fn unknown(engine: &str, plugins: &Plugins) -> String {
    let known: Vec<&str> = plugins.engines.keys().map(String::as_str).collect();
    let mut text = format!("there is no engine {}; plugins.toml has: {}", quote(engine), known.join(", "));
    if Path::new(engine).is_file() {
        text += &format!("; for the file, say ./{engine}");
    }
    text
}

/// What a library says of itself.
fn described(name: &str, config: &EngineConfig) -> anyhow::Result<Value> {
    let (path, info, description) = engine::describe(config)?;
    Ok(json!({
        "name": name,
        "engine": info.engine,
        "version": info.version,
        "path": path,
        "sha256": loader::sha256(&path)?,
        "abi": info.abi,
        "plugin_api": info.plugin_api,
        "rustc": info.rustc,
        "target": info.target,
        "mode": description.mode,
        "script_suffix": description.script_suffix,
        "config_schema": description.config_schema,
    }))
}

/// In the order in which people ask; the schema at the end, since it is long.
fn lines(answer: &Value) -> String {
    const ORDER: [&str; 13] = [
        "name",
        "engine",
        "version",
        "state",
        "error",
        "path",
        "sha256",
        "abi",
        "plugin_api",
        "rustc",
        "target",
        "mode",
        "script_suffix",
    ];
    let palette = Palette::stdout();
    let mut text = String::new();
    for key in ORDER {
        if let Some(value) = answer[key].as_str() {
            text += &format!("{} {value}\n", palette.faint(format_args!("{key:<13}")));
        }
    }
    let schema = serde_json::to_string_pretty(&answer["config_schema"]).unwrap_or_default();
    text + &format!("{}\n{schema}\n", palette.faint("config_schema"))
}
