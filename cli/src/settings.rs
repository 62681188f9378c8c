//! What the environment says: where state is, and which `plugins.toml` counts.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use oxidag_core::plugins::{Plugins, PluginsError};
use oxidag_core::store::{Store, StoreError};

use crate::args::EnvironmentArgs;

/// The variable with the folder of all state.
const HOME: &str = "OXIDAG_HOME";

/// The variable with the path of `plugins.toml`.
const PLUGINS: &str = "OXIDAG_PLUGINS";

/// The file's name where nobody says another.
const PLUGINS_FILE: &str = "plugins.toml";

/// The folder of all state.
pub(crate) fn home() -> PathBuf {
    variable(HOME).map_or_else(|| PathBuf::from(".oxidag"), PathBuf::from)
}

/// The store, if anything ever ran here.
pub(crate) fn existing_store() -> Result<Option<Store>, StoreError> {
    Store::open_existing(&home())
}

/// As many workers as the machine runs threads at once.
pub(crate) fn default_workers() -> u32 {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    u32::try_from(threads).unwrap_or(1)
}

/// The environment for a DAG, or for none.
pub(crate) fn plugins(args: &EnvironmentArgs, dag: Option<&Path>) -> Result<Plugins, PluginsError> {
    Plugins::load(chosen_plugins(args, dag).as_deref(), args.env.as_deref(), args.trust.allow_writable)
}

/// Its `plugins.toml`; none where there is no such file.
pub(crate) fn chosen_plugins(args: &EnvironmentArgs, dag: Option<&Path>) -> Option<PathBuf> {
    plugins_file(args.plugins.as_deref(), variable(PLUGINS).map(PathBuf::from), dag, Path::is_file)
}

/// The file that was asked for, whether it is there or not; else the first that is there.
fn plugins_file(
    asked: Option<&Path>,
    variable: Option<PathBuf>,
    dag: Option<&Path>,
    is_file: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let here = PathBuf::from(PLUGINS_FILE);
    let beside = dag.map(|dag| dag.with_file_name(PLUGINS_FILE));
    let found = || [Some(here), beside].into_iter().flatten().find(|path| is_file(path));
    asked.map(Path::to_owned).or(variable).or_else(found)
}

/// A variable that is set to nothing is not set.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(asked: Option<&str>, variable: Option<&str>, there: &[&str]) -> Option<String> {
        let is_file = |path: &Path| there.iter().any(|file| Path::new(file) == path);
        let dag = Some(Path::new("dags/a.yaml"));
        let path = plugins_file(asked.map(Path::new), variable.map(PathBuf::from), dag, is_file)?;
        Some(path.display().to_string())
    }

    #[test]
    fn what_was_asked_for_comes_before_what_is_there() {
        let both = ["plugins.toml", "dags/plugins.toml"];
        assert_eq!(chosen(Some("a.toml"), Some("b.toml"), &both).as_deref(), Some("a.toml"));
        assert_eq!(chosen(None, Some("b.toml"), &both).as_deref(), Some("b.toml"));
        assert_eq!(chosen(None, None, &both).as_deref(), Some("plugins.toml"));
        assert_eq!(chosen(None, None, &both[1..]).as_deref(), Some("dags/plugins.toml"));
        assert_eq!(chosen(None, None, &[]), None);
    }
}
