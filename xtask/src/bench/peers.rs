//! Other programs that do the same work.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{command, output, run};
use crate::programs::on_path;
use crate::workspace::Workspace;

/// A program that starts so many processes of `/bin/true`, two at a time.
pub(super) struct Peer {
    /// What the table calls it.
    pub(super) what: &'static str,
    /// How many processes it starts.
    pub(super) tasks: u32,
    /// Where it stands, and the words that start it.
    folder: PathBuf,
    words: Vec<String>,
}

/// Tasks of the slow ones.
const FEW: u32 = 1_000;

impl Peer {
    pub(super) fn command(&self) -> Command {
        let mut peer = command(&self.words[0], &self.words[1..]);
        peer.current_dir(&self.folder);
        peer
    }
}

/// The loop that does nothing but start processes.
pub(super) fn bare_loop(folder: &Path, tasks: u32) -> Result<Peer> {
    let program = folder.join("spawn");
    let cc = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-pthread", "-o"];
    run(command("cc", cc).arg(&program).arg("xtask/src/bench/spawn.c"))?;
    let words = vec![program.display().to_string(), tasks.to_string()];
    Ok(Peer { what: "a bare loop of posix_spawn", tasks, folder: folder.to_owned(), words })
}

/// Those that are installed, `make` among them, and those that were asked for by their names.
pub(super) fn all(folder: &Path, tasks: u32, wanted: &[String]) -> Result<Vec<Peer>> {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    let peer = |what, tasks, words: &[&str]| Peer {
        what,
        tasks,
        folder: folder.to_owned(),
        words: words.iter().map(|&word| word.to_owned()).collect(),
    };
    write("Makefile", makefile(tasks))?;
    let mut peers = vec![peer("make -s -j2", tasks, &["make", "-s", "-j2"])];
    if on_path("ninja") {
        write("build.ninja", ninja(tasks))?;
        peers.push(peer("ninja -j2", tasks, &["ninja", "-j2", "--quiet"]));
    }
    if on_path("xargs") {
        write("lines", "x\n".repeat(tasks as usize))?;
        peers.push(peer("xargs -P2 -n1", tasks, &["xargs", "-a", "lines", "-P2", "-n1", "/bin/true"]));
    }
    for (name, what, program) in
        [("dask", "dask, threaded", DASK), ("luigi", "luigi, local scheduler", LUIGI)]
    {
        if wanted.iter().any(|wanted| wanted == name) {
            let python = python_with(name)?;
            let script = format!("peer_{name}.py");
            write(&script, program.to_owned())?;
            peers.push(peer(what, FEW, &[&python.display().to_string(), &script, &FEW.to_string()]));
        }
    }
    Ok(peers)
}

/// A Python with this package, made once in cargo's target directory.
fn python_with(package: &str) -> Result<PathBuf> {
    let folder = Workspace::read()?.target.join("peers");
    let python = folder.join("bin/python");
    if !python.exists() {
        output(command("python3", ["-m", "venv"]).arg(&folder))
            .context("cannot make a venv for the peers")?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package];
    output(&mut command(&python, pip)).with_context(|| format!("cannot install {package}"))?;
    Ok(python)
}

fn makefile(tasks: u32) -> String {
    let names: Vec<String> = (0..tasks).map(|i| format!("t{i}")).collect();
    let names = names.join(" ");
    let mut text = format!("all: {names}\n.PHONY: all {names}\n");
    for i in 0..tasks {
        // Writing to a String cannot fail.
        let _ = write!(text, "t{i}:\n\t/bin/true\n");
    }
    text
}

fn ninja(tasks: u32) -> String {
    let mut text = "rule true\n  command = /bin/true\n".to_owned();
    for i in 0..tasks {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "build t{i}: true");
    }
    text
}

const DASK: &str = "\
import subprocess, sys
from dask.threaded import get

def true(_):
    return subprocess.run(['/bin/true'], check=True).returncode

count = int(sys.argv[1])
tasks = {f't{i}': (true, i) for i in range(count)}
get(tasks, list(tasks), num_workers=2)
";

const LUIGI: &str = "\
import subprocess, sys
import luigi

class True_(luigi.Task):
    number = luigi.IntParameter()
    done = False

    def run(self):
        subprocess.run(['/bin/true'], check=True)
        self.done = True

    def complete(self):
        return self.done

tasks = [True_(number=i) for i in range(int(sys.argv[1]))]
sys.exit(0 if luigi.build(tasks, local_scheduler=True, log_level='ERROR') else 1)
";
