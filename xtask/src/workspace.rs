//! Where things are in this repository and in its target directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::{cargo, output};

/// The package of the `oxidag` program.
pub(crate) const PROGRAM: &str = "oxidag-cli";

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// What cargo says of the workspace.
pub(crate) struct Workspace {
    /// Where cargo puts what it builds.
    pub(crate) target: PathBuf,
    /// The version of the program.
    pub(crate) version: String,
    /// Every engine: a package under `engines/` that is built as a shared library.
    pub(crate) engines: Vec<EnginePackage>,
}

/// A package that is an engine.
pub(crate) struct EnginePackage {
    /// The package's name, as `cargo build -p` takes it.
    pub(crate) package: String,
    /// The file it is built into.
    pub(crate) library: String,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    ///
    /// When `cargo metadata` fails, or says something unheard of.
    pub(crate) fn read() -> Result<Self> {
        let text = output(&mut cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
        let metadata: Value =
            serde_json::from_str(&text).context("cannot read what `cargo metadata` printed")?;
        let packages = metadata["packages"].as_array().context("`cargo metadata` lists no packages")?;
        let target =
            metadata["target_directory"].as_str().context("`cargo metadata` names no target directory")?;
        let program = packages
            .iter()
            .find(|package| package["name"] == PROGRAM)
            .with_context(|| format!("the workspace has no package {PROGRAM}"))?;
        Ok(Self {
            target: target.into(),
            version: program["version"].as_str().unwrap_or_default().to_owned(),
            engines: packages.iter().filter_map(engine).collect(),
        })
    }

    /// Builds the program and these engines' packages, and returns the directory they are in.
    ///
    /// # Errors
    ///
    /// When the build fails.
    pub(crate) fn build<'a>(
        &self,
        profile: &str,
        engines: impl IntoIterator<Item = &'a str>,
    ) -> Result<PathBuf> {
        let mut build = cargo(["build", "--profile", profile, "-p", PROGRAM]);
        for engine in engines {
            build.args(["-p", engine]);
        }
        crate::command::run(&mut build)?;
        Ok(self.target.join(profile))
    }
}

/// Has cargo build, and gives the executable of a target of this name.
///
/// # Errors
///
/// When the build fails, or has no such target.
pub(crate) fn executable(build: &mut Command, target: &str) -> Result<PathBuf> {
    build.arg("--message-format=json-render-diagnostics");
    // Where the build is shown too.
    build.stderr(std::process::Stdio::inherit());
    let messages = output(build)?;
    let mut messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let path = messages.find_map(|message| {
        let is_meant = message["target"]["name"] == target;
        message["executable"].as_str().filter(|_| is_meant).map(PathBuf::from)
    });
    path.with_context(|| format!("cargo has built no program {target}"))
}

/// The package as an engine, if it is one.
fn engine(package: &Value) -> Option<EnginePackage> {
    let manifest = Path::new(package["manifest_path"].as_str()?);
    if !manifest.starts_with(root().join("engines")) {
        return None;
    }
    let library = package["targets"].as_array()?.iter().find(|target| {
        target["crate_types"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib"))
    })?["name"]
        .as_str()?
        .replace('-', "_");
    Some(EnginePackage {
        package: package["name"].as_str()?.to_owned(),
        library: format!("{}{library}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX),
    })
}
