//! Programs of the system that a chore needs: found, installed where that can be done, or named with the
//! command that installs them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::command::{command, run};

/// Something that a chore needs on the machine.
pub(crate) struct Program {
    /// Its name, for people.
    name: &'static str,
    /// The executables that have to be there, all in one directory.
    executables: &'static [&'static str],
    /// Directories beside `PATH` where systems put them: a parent, and what follows the version below it.
    elsewhere: &'static [(&'static str, &'static str)],
    /// What package managers call it: apt-get, dnf, pacman, brew.
    packages: [&'static str; 4],
}

/// For the quick start's ingestion and report.
pub(crate) const PYTHON: Program = Program {
    name: "Python 3",
    executables: &["python3"],
    elsewhere: &[],
    packages: ["python3", "python3", "python", "python"],
};

/// For the tests of the `sql` engine, which start a server of their own.
pub(crate) const POSTGRESQL: Program = Program {
    name: "the PostgreSQL server",
    executables: &["initdb", "postgres"],
    elsewhere: &[("/usr/lib/postgresql", "bin"), ("/opt/homebrew/opt", "bin"), ("/usr/local/opt", "bin")],
    packages: ["postgresql", "postgresql-server", "postgresql", "postgresql"],
};

/// For the benchmark against which tasks of the `shell` engine are held.
pub(crate) const MAKE: Program = Program {
    name: "make",
    executables: &["make"],
    elsewhere: &[],
    packages: ["make", "make", "make", "make"],
};

/// Sees to it that the program is there.
///
/// # Errors
///
/// When it is missing and cannot be installed; the message names the command that installs it.
pub(crate) fn require(program: &Program) -> Result<()> {
    if program.is_there() {
        println!("{} is there", program.name);
        return Ok(());
    }
    println!("{} is missing", program.name);
    let Some(prefix) = root_prefix().filter(|_| on_path("apt-get")) else {
        bail!("{} is needed; install it with `{}` and try again", program.name, program.install_command());
    };
    apt_get(prefix, &["update"])?;
    apt_get(prefix, &["install", "--yes", "--no-install-recommends", program.packages[0]])?;
    if !program.is_there() {
        bail!(
            "{} was installed, but `{}` is not where it was looked for; put its directory on PATH",
            program.name,
            program.executables[0]
        );
    }
    Ok(())
}

impl Program {
    fn is_there(&self) -> bool {
        self.directories()
            .iter()
            .any(|directory| self.executables.iter().all(|name| directory.join(name).is_file()))
    }

    fn directories(&self) -> Vec<PathBuf> {
        let mut directories = path_directories();
        for (parent, below) in self.elsewhere {
            let versions = std::fs::read_dir(parent).into_iter().flatten().flatten();
            directories.extend(versions.map(|version| version.path().join(below)));
        }
        directories
    }

    /// The command of this system's package manager.
    fn install_command(&self) -> String {
        let [apt, dnf, pacman, brew] = self.packages;
        if on_path("brew") {
            format!("brew install {brew}")
        } else if on_path("dnf") {
            format!("sudo dnf install {dnf}")
        } else if on_path("pacman") {
            format!("sudo pacman -S {pacman}")
        } else {
            format!("sudo apt-get install {apt}")
        }
    }
}

/// What has to stand before a command to run it as root; `None` where a password would be asked for.
fn root_prefix() -> Option<&'static [&'static str]> {
    let quietly = |program: &str, arguments: &[&str]| {
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())
    };
    let root = quietly("id", &["-u"]).is_some_and(|id| id.stdout.trim_ascii() == b"0");
    if root {
        return Some(&[]);
    }
    quietly("sudo", &["-n", "true"]).map(|_| ["sudo", "-n"].as_slice())
}

fn apt_get(prefix: &[&str], arguments: &[&str]) -> Result<()> {
    // `env`, since sudo does not pass the environment on.
    let environment = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
    let mut words = prefix.iter().chain(&environment).chain(arguments);
    let program = words.next().copied().unwrap_or("apt-get");
    run(&mut command(program, words))
}

fn on_path(executable: &str) -> bool {
    path_directories().iter().any(|directory| directory.join(executable).is_file())
}

fn path_directories() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}
