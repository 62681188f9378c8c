//! The `shell` engine: runs a script as a local process, by its `#!` line or a configured interpreter.
//!
//! How the parts lie: `interpreter` decides what program runs the script, `variables` what environment it
//! sees, `scratch` which private files it needs; `spawn` starts it in a process group of its own, `group` ends
//! that group, `watch` waits for it, and `ending` says how it ended. `leftover` ends what a scheduler that died
//! left of an attempt, among what `process` sees. `attempt` puts them together. `syntax` is the dry run.
//!
//! What it must not do: hold a thread besides the caller's, signal a process that it is not sure of, or put
//! a script's text, which may hold secrets, on a command line.

#[cfg(not(target_os = "linux"))]
compile_error!("the shell engine waits for its processes through pidfds, which only Linux has");

mod attempt;
mod config;
mod ending;
mod group;
mod interpreter;
mod leftover;
mod lines;
mod process;
mod scratch;
mod sink;
mod spawn;
mod syntax;
#[cfg(test)]
mod tests;
mod variables;
mod watch;

use oxidag_plugin_api::{Engine, Finding, Host, Outcome, Result, Task, export_engine};

use crate::config::Config;
use crate::scratch::Scratch;

struct Shell {
    config: Config,
    scratch: Scratch,
}

impl Engine for Shell {
    type Config = Config;
    const SCRIPT_SUFFIX: &'static str = ".sh";

    fn create(config: Config) -> Result<Self> {
        config.check()?;
        Ok(Self { config, scratch: Scratch::default() })
    }

    fn validate(&self, task: &Task) -> Result<Vec<Finding>> {
        syntax::validate(&self.config, task)
    }

    fn run(&self, task: Task, host: &Host) -> Result<Outcome> {
        attempt::run(&self.config, &self.scratch, &task, host)
    }
}

export_engine!(Shell, name = "shell");
