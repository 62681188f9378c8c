//! The Python environment of the test servers, `python/` in cargo's target directory: made from the pinned
//! requirements in `tests/gcp`, and made anew when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};

use crate::check::Scope;
use crate::command::{command, output};
use crate::workspace::{self, Workspace};

/// An environment that is being made while something else is done.
pub(crate) struct Making(JoinHandle<Result<()>>);

/// Begins to make it.
///
/// # Errors
///
/// When cargo does not say where its target directory is.
pub(crate) fn begin(scope: Scope) -> Result<Making> {
    let folder = folder()?;
    Ok(Making(std::thread::spawn(move || make(&folder, scope))))
}

impl Making {
    /// Waits until it is made.
    ///
    /// # Errors
    ///
    /// When it cannot be made; the message holds what pip said.
    pub(crate) fn finish(self) -> Result<()> {
        self.0.join().map_err(|_| anyhow!("making the Python environment panicked"))?
    }
}

/// Where it is.
///
/// # Errors
///
/// As [`begin`].
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(Workspace::read()?.target.join("python"))
}

/// Its interpreter.
pub(crate) fn interpreter(folder: &Path) -> PathBuf {
    folder.join("bin/python")
}

/// What has to be done for an environment.
#[derive(Debug, PartialEq, Eq)]
enum Needed {
    Nothing,
    /// What is there stays, and packages are added.
    More,
    All,
}

fn make(folder: &Path, scope: Scope) -> Result<()> {
    let requirements = workspace::root().join("tests/gcp");
    let (usual, full) = (requirements.join("requirements.txt"), requirements.join("requirements-full.txt"));
    let read =
        |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let usual_text = read(&usual)?;
    let (wanted, full_text) = match scope {
        Scope::Usual => (usual, None),
        Scope::Full => (full.clone(), Some(read(&full)?)),
    };
    let stamp = folder.join("requirements.stamp");
    let made = fs::read_to_string(&stamp).unwrap_or_default();
    match needed(&made, &usual_text, full_text.as_deref()) {
        Needed::Nothing => return Ok(()),
        Needed::More => {}
        Needed::All => anew(folder)?,
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    output(command(interpreter(folder), pip).arg(wanted))?;
    let made = usual_text + SEPARATOR + &full_text.unwrap_or_default();
    fs::write(&stamp, made).with_context(|| format!("cannot write {}", stamp.display()))
}

/// What stands between the two files in the stamp.
const SEPARATOR: &str = "\0";

/// Holds what an environment was made from against what is wanted. A full one serves the usual tests as well.
fn needed(made: &str, usual: &str, full: Option<&str>) -> Needed {
    match (made.split_once(SEPARATOR), full) {
        (Some((made, _)), None) if made == usual => Needed::Nothing,
        (Some((made, more)), Some(full)) if made == usual && more == full => Needed::Nothing,
        (Some((made, "")), Some(_)) if made == usual => Needed::More,
        _ => Needed::All,
    }
}

/// An empty environment.
fn anew(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    output(command("python3", ["-m", "venv"]).arg(folder)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_made_anew_only_when_its_requirements_changed() {
        assert_eq!(needed("", "a\n", None), Needed::All, "never finished");
        assert_eq!(needed("a\n\0", "a\n", None), Needed::Nothing);
        assert_eq!(needed("a\nb\n\0", "a\n", None), Needed::All, "one requirement less");
        assert_eq!(needed("a\n\0", "a\n", Some("s\n")), Needed::More);
        assert_eq!(needed("a\n\0s\n", "a\n", Some("s\n")), Needed::Nothing);
        assert_eq!(needed("a\n\0s\n", "a\n", None), Needed::Nothing, "the full one serves");
        assert_eq!(needed("a\n\0s\n", "a\n", Some("t\n")), Needed::All);
    }
}
