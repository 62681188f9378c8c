//! Programs of the system that a chore needs: found, installed where that can be done, or named with the
//! command that installs them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::command::{command, output, run};

/// Something that a chore needs on the machine.
pub(crate) struct Program {
    /// Its name, for people.
    name: &'static str,
    /// The executables that have to be there, all in one directory.
    executables: &'static [&'static str],
    /// A command that has to succeed, where executables do not tell.
    probe: &'static [&'static str],
    /// Directories beside `PATH` where systems put them: a parent, and what follows the version below it.
    elsewhere: &'static [(&'static str, &'static str)],
    /// What package managers call it: apt-get, dnf, pacman, brew.
    packages: [&'static str; 4],
}

/// For the quick start's ingestion and report.
pub(crate) const PYTHON: Program = Program {
    name: "Python 3",
    executables: &["python3"],
    probe: &[],
    elsewhere: &[],
    packages: ["python3", "python3", "python", "python"],
};

/// For the environment of the test servers.
pub(crate) const VENV: Program = Program {
    name: "Python's venv",
    executables: &["python3"],
    // Debian has it in a package of its own.
    probe: &["python3", "-c", "import venv, ensurepip"],
    elsewhere: &[],
    packages: ["python3-venv", "python3", "python", "python"],
};

/// For tests that keep scripts in its cache.
pub(crate) const REDIS: Program = Program {
    name: "the Redis server",
    executables: &["redis-server", "redis-cli"],
    probe: &[],
    elsewhere: &[],
    packages: ["redis-server", "redis", "redis", "redis"],
};

/// For Spark.
pub(crate) const JAVA: Program = Program {
    name: "Java",
    executables: &["java"],
    // macOS has a `java` that only says where to get one.
    probe: &["java", "-version"],
    elsewhere: &[],
    packages: ["default-jre-headless", "java-latest-openjdk-headless", "jre-openjdk-headless", "openjdk"],
};

/// For tests that start servers of their own.
pub(crate) const POSTGRESQL: Program = Program {
    name: "the PostgreSQL server",
    executables: &["initdb", "postgres"],
    probe: &[],
    elsewhere: &[("/usr/lib/postgresql", "bin"), ("/opt/homebrew/opt", "bin"), ("/usr/local/opt", "bin")],
    packages: ["postgresql", "postgresql-server", "postgresql", "postgresql"],
};

/// For the example in C, and the benchmark against which tasks of the `shell` engine are held.
pub(crate) const MAKE: Program = Program {
    name: "make",
    executables: &["make"],
    probe: &[],
    elsewhere: &[],
    packages: ["make", "make", "make", "make"],
};

/// For counting instructions.
pub(crate) const VALGRIND: Program = Program {
    name: "valgrind",
    executables: &["valgrind"],
    probe: &[],
    elsewhere: &[],
    packages: ["valgrind", "valgrind", "valgrind", "valgrind"],
};

/// Sees to it that these programs are there.
///
/// # Errors
///
/// When one is missing and cannot be installed; the message names the command that installs it.
pub(crate) fn require(programs: &[&Program]) -> Result<()> {
    let (there, missing): (Vec<&Program>, Vec<&Program>) =
        programs.iter().copied().partition(|program| program.is_there());
    there.iter().for_each(|program| println!("{} is there", program.name));
    let Some(first) = missing.first() else { return Ok(()) };
    missing.iter().for_each(|program| println!("{} is missing", program.name));
    let Some(prefix) = root_prefix().filter(|_| on_path("apt-get")) else {
        bail!("{} is needed; install it with `{}` and try again", first.name, first.install_command());
    };
    apt_get(prefix, &["update"])?;
    let install = ["install", "--yes", "--no-install-recommends"];
    let packages = missing.iter().map(|program| program.packages[0]);
    apt_get(prefix, &install.into_iter().chain(packages).collect::<Vec<_>>())?;
    if let Some(program) = missing.iter().find(|program| !program.is_there()) {
        bail!(
            "{} was installed, but `{}` is not where it was looked for, or does not work; put its directory on PATH",
            program.name,
            program.executables[0]
        );
    }
    Ok(())
}

/// Sees to it that `terraform` or `tofu` is on `PATH`, which no usual package manager brings.
///
/// # Errors
///
/// When neither is; the message says where they are to be had.
pub(crate) fn require_terraform() -> Result<()> {
    for name in ["terraform", "tofu"] {
        if on_path(name) {
            println!("{name} is there");
            return Ok(());
        }
    }
    bail!(
        "`terraform` or `tofu` is needed: put the program of a release of Terraform (developer.hashicorp.com/terraform/install) \
         or OpenTofu (opentofu.org/docs/intro/install) on PATH and try again, or leave out `--full`"
    )
}

impl Program {
    fn is_there(&self) -> bool {
        let mut directories = self.directories().into_iter();
        directories.any(|directory| self.executables.iter().all(|name| directory.join(name).is_file()))
            && succeeds(self.probe)
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

/// Whether a command does, or there is none.
fn succeeds(words: &[&str]) -> bool {
    let Some((program, arguments)) = words.split_first() else { return true };
    output(&mut command(program, arguments)).is_ok()
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

/// Whether there is such a program.
pub(crate) fn on_path(executable: &str) -> bool {
    path_directories().iter().any(|directory| directory.join(executable).is_file())
}

fn path_directories() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}
