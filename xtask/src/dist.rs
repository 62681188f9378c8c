//! `cargo xtask dist`: an archive that runs where it is unpacked.
//!
//! The program looks for engines in `../lib/oxidag`, which is why the archive is laid out as it is.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::command::{command, output, run};
use crate::workspace::{Workspace, root};

/// What goes into the archive beside the program and its engines.
const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE", "plugins.toml"];

/// Builds the program and every engine, and packs them into `dist/oxidag-VERSION-TARGET.tar.gz`.
///
/// # Errors
///
/// When the build fails, or a file cannot be copied or packed.
pub(crate) fn dist() -> Result<()> {
    let workspace = Workspace::read()?;
    let engines = workspace.engines.iter().map(|engine| engine.package.as_str());
    let built = workspace.build("dist", engines)?;

    let name = format!("oxidag-{}-{}", workspace.version, host()?);
    let folder = root().join("dist").join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let program = format!("oxidag{}", std::env::consts::EXE_SUFFIX);
    copy(&built, &program, &folder.join("bin"))?;
    for engine in &workspace.engines {
        copy(&built, &engine.library, &folder.join("lib/oxidag"))?;
    }
    for document in DOCUMENTS {
        copy(&root(), document, &folder)?;
    }

    let archive = format!("{name}.tar.gz");
    run(command("tar", ["-czf", &archive, &name]).current_dir(root().join("dist")))?;
    println!("dist/{archive}");
    Ok(())
}

fn copy(from: &Path, file: &str, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let from = from.join(file);
    fs::copy(&from, to.join(file))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// The target that rustc builds for here.
fn host() -> Result<String> {
    let version = output(&mut command("rustc", ["-vV"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}
