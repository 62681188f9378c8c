//! Arguments that several commands share.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use serde_json::{Map, Value};

#[derive(Debug, Clone, Args)]
pub(crate) struct EnvironmentArgs {
    /// The environment: lays plugins.NAME.toml over plugins.toml
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// The plugins.toml to use [default: $OXIDAG_PLUGINS, ./plugins.toml, the one beside the DAG file, or,
    /// without any, the engines shell, sql and noop]
    #[arg(long, value_name = "FILE")]
    pub(crate) plugins: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct TrustArgs {
    /// Use configuration files and engines that others can write too
    #[arg(long)]
    pub(crate) allow_writable: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WorkersArgs {
    /// How many tasks may block a thread at once [default: as many as the machine runs threads]
    #[arg(long = "workers", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(super) asked: Option<u32>,
}

impl WorkersArgs {
    /// How many workers there are.
    pub(crate) fn count(&self) -> u32 {
        self.asked.unwrap_or_else(crate::settings::default_workers)
    }
}

#[derive(Debug, Args)]
pub(crate) struct ParamArgs {
    /// A parameter of the run, before those of the DAG file; VALUE is JSON where it is JSON, else text
    #[arg(short = 'p', long = "param", value_name = "KEY=VALUE")]
    pub(super) list: Vec<Param>,
}

impl ParamArgs {
    /// By name; of two with one name, the last.
    pub(crate) fn map(&self) -> Map<String, Value> {
        self.list.iter().map(|param| (param.key.clone(), param.value.clone())).collect()
    }
}

/// One `-p KEY=VALUE`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Param {
    pub(super) key: String,
    pub(super) value: Value,
}

impl FromStr for Param {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
        if key.is_empty() {
            return Err("there is no key before `=`");
        }
        if key.starts_with("**") {
            return Err("a connection's value comes from plugins.toml, not from the command line");
        }
        // A number that would print in another way (`1.10`, an id of 20 digits) is kept as it was written.
        let as_written = |json: &Value| {
            let printed = json.to_string();
            !json.is_number() || printed == value
        };
        let json = serde_json::from_str(value).ok().filter(as_written);
        let value = json.unwrap_or_else(|| Value::String(value.to_owned()));
        Ok(Self { key: key.to_owned(), value })
    }
}
