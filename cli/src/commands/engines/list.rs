//! `oxidag engines list`.

use anyhow::Context as _;
use oxidag_core::engine::Engine;
use oxidag_core::loader;
use oxidag_core::plugins::{EngineConfig, Isolation};
use serde::Serialize;

use super::{Said, State};
use crate::args::EnvironmentArgs;
use crate::style::{Painted, Palette};
use crate::table::Table;
use crate::{output, settings};

/// How many digits of a hash tell libraries apart on the screen.
const DIGITS: usize = 12;

/// An engine in the list: a public shape.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    state: State,
    isolation: Isolation,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    said: Said,
}

impl<'a> Listed<'a> {
    /// Loads an engine as a run does.
    fn new(name: &'a str, config: &EngineConfig) -> Self {
        let error = Engine::load(name, config).err().map(|error| error.to_string());
        let said = loader::find(&config.library).map(|path| Said::of(&path)).unwrap_or_default();
        let state = if error.is_none() { State::Loaded } else { State::Refused };
        Self { name, state, isolation: config.isolation, error, said }
    }
}

/// `rustc 1.95.0 (hash and date)` without what is in parentheses.
fn compiler(full: &str) -> &str {
    full.split(" (").next().unwrap_or(full)
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
    let columns = ["ENGINE", "STATE", "VERSION", "ABI", "BUILT WITH", "ISOLATION", "SHA-256", "LIBRARY"];
    let mut table = Table::new(columns, 7);
    let text = |text: Option<&str>| Painted::plain(text.unwrap_or("-"));
    for Listed { name, state, isolation, said, .. } in engines {
        let path = said.path.as_ref().map(|path| path.display().to_string());
        table.row([
            Painted::plain(*name),
            state.painted(palette),
            text(said.info.as_ref().map(|info| info.version.as_str())),
            text(said.info.as_ref().map(|info| info.abi.as_str())),
            text(said.info.as_ref().map(|info| compiler(&info.rustc))),
            Painted::plain(isolation.name()),
            text(said.sha256.as_ref().and_then(|hash| hash.get(..DIGITS))),
            text(path.as_deref()),
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
