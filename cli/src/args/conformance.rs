//! The arguments of `oxidag engines test`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use oxidag_core::conformance::Check;

use crate::since;

pub(crate) const HELP: &str = "\
Exit status: 0 all checks passed, 1 some failed, 2 the request was wrong. docs/engines-test.md tells of the cases.

Examples:
  oxidag engines test ./target/release/liboxidag_engine_tally.so --cases conformance.toml
  oxidag engines test ./liboxidag_engine_tally.so --only cancel_during --timeout 10s";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct TestArgs {
    /// The library's file
    #[arg(value_name = "LIB")]
    pub(crate) library: PathBuf,
    /// What the engine can be asked to do: its configuration, a task that succeeds, one that fails, … (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) cases: Option<PathBuf>,
    /// A check that was not made for want of a case counts as failed
    #[arg(long)]
    pub(crate) strict: bool,
    /// The limit of one check
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = time)]
    pub(crate) timeout: Duration,
    /// So long an attempt has to end once its time is up
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = time)]
    pub(crate) grace: Duration,
    /// Only this check; may be given several times
    #[arg(long, value_name = "CHECK", value_parser = check(), hide_possible_values = true)]
    pub(crate) only: Vec<Check>,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = since::age(text)?;
    if time.is_zero() { Err("nothing ends in no time; write more".to_owned()) } else { Ok(time) }
}

fn check() -> impl clap::builder::TypedValueParser<Value = Check> {
    PossibleValuesParser::new(Check::ALL.map(Check::name))
        .try_map(|name| Check::named(&name).ok_or("there is no such check"))
}
