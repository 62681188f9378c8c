//! The arguments of `oxidag engines new`.

use std::path::PathBuf;

use clap::Args;

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
