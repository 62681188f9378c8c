//! The arguments of `oxidag engines`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{EnvironmentArgs, TestArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum EnginesCommand {
    /// List the engines of the environment, and whether they load
    List {
        #[command(flatten)]
        environment: EnvironmentArgs,
        /// Print the engines as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what an engine's library says of itself
    Inspect(InspectArgs),
    /// Write the hash of every library to plugins.lock, beside plugins.toml
    #[command(after_help = LOCK_HELP)]
    Lock {
        #[command(flatten)]
        environment: EnvironmentArgs,
        /// Write nothing; exit with 1 where a library is not the one in plugins.lock
        #[arg(long)]
        check: bool,
        /// Print what changed as JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a crate with an engine of one's own
    New(NewArgs),
    /// Test whether an engine's library keeps the rules, in every way that oxidag calls it
    Test(TestArgs),
    /// The process of one check
    #[command(hide = true)]
    TestChild,
}

const LOCK_HELP: &str = "\
Where plugins.lock is, an engine is loaded only from the very file that was locked. It has the libraries of plugins.toml and of
all plugins.NAME.toml beside it; with --env NAME those of one environment are looked at, and the others stay.";

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// An engine of the environment; or a library's path, such as ./engine.so, of which no code is run
    #[arg(value_name = "NAME")]
    pub(crate) engine: String,
    /// Open a library that is given by its path, for the schema of its settings; this runs its code
    #[arg(long)]
    pub(crate) describe: bool,
    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
    /// Print it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// What DAGs and plugins.toml will call the engine
    pub(crate) name: String,
    /// The folder to make [default: NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,
    /// An engine that waits without holding a worker, as for jobs of a remote service
    #[arg(long = "async")]
    pub(crate) waits_async: bool,
    /// The folder of the crate oxidag-plugin-api [default: that of the checkout of oxidag around this folder or the new one;
    /// outside of one, the published crate]
    #[arg(long, value_name = "DIR")]
    pub(crate) plugin_api: Option<PathBuf>,
}
