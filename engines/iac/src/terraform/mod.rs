//! `resource: terraform`: modules, by the program `terraform` or `tofu`.
//!
//! A plan is made and logged, and that plan is applied. The program runs as a process of its own, which no worker
//! waits for, and outlives a scheduler that is killed: ended hard it would leave its state locked and behind what is
//! there. The next call for the attempt waits for its end, and then plans anew.

mod folder;
mod leftover;
mod process;
mod report;

use std::path::{Path, PathBuf};
use std::time::Duration;

use oxidag_plugin_api::{Error, Host, Outcome, Result, Task};
use serde_json::{Value, json};

use crate::config::Config;
use crate::script::{Program, TerraformAction, TerraformScript};
use folder::Scratch;
use process::Runner;

/// The programs that are looked for, in this order.
const PROGRAMS: [&str; 2] = ["terraform", "tofu"];

/// Carries out a script.
///
/// # Errors
///
/// When the program fails, or the attempt is cancelled.
pub(crate) async fn run(
    config: &Config,
    task: &Task,
    host: Host,
    script: &TerraformScript,
) -> Result<Outcome> {
    leftover::wait(task, &host).await?;
    let module = folder::module(config, task, script)?;
    let data = folder::data(&module, task, script)?;
    let scratch = Scratch::new(script)?;
    host.checkpoint(&json!({"scratch": scratch.path()}))?;
    let program = program(config, script)?;
    host.info(&format!("{} in {}", program.display(), module.display()));
    let mut runner = Runner::new(host.clone(), program, &module, scratch.path());
    runner.set("TF_DATA_DIR", &data);
    runner.set("OXIDAG_IDEMPOTENCY_KEY", &task.idempotency_key);
    let work = Work { script, scratch: &scratch, runner };
    let outcome = work.carry_out().await?;
    Ok(outcome.with_metric("module", module.display().to_string()))
}

struct Work<'a> {
    script: &'a TerraformScript,
    scratch: &'a Scratch,
    runner: Runner,
}

impl Work<'_> {
    async fn carry_out(mut self) -> Result<Outcome> {
        self.init().await?;
        self.plan().await?;
        let plan = self.scratch.plan().display().to_string();
        let lock = lock_timeout(self.script.lock_timeout);
        let said = self.runner.last_step(&["apply", "-input=false", "-no-color", &lock, &plan]).await?;
        let mut outcome = Outcome::default();
        for (what, count) in report::counts(&said) {
            outcome = outcome.with_metric(what, count);
        }
        if let Some(workspace) = &self.script.workspace {
            outcome = outcome.with_metric("workspace", workspace.clone());
        }
        if self.script.action == TerraformAction::Apply {
            outcome.result = self.outputs().await?;
        }
        Ok(outcome)
    }

    async fn init(&mut self) -> Result<()> {
        let backend = self.scratch.backend().map(|path| format!("-backend-config={}", path.display()));
        let mut arguments = vec!["init", "-input=false", "-no-color"];
        // What an earlier attempt told of the backend may be out of date.
        arguments.extend(backend.iter().flat_map(|backend| [backend.as_str(), "-reconfigure"]));
        self.runner.step(&arguments).await?;
        if let Some(workspace) = &self.script.workspace {
            self.runner.step(&["workspace", "select", "-no-color", "-or-create=true", workspace]).await?;
        }
        Ok(())
    }

    async fn plan(&mut self) -> Result<()> {
        let plan = format!("-out={}", self.scratch.plan().display());
        let variables = format!("-var-file={}", self.scratch.variables().display());
        let lock = lock_timeout(self.script.lock_timeout);
        let mut arguments = vec!["plan", "-input=false", "-no-color", &lock, &plan, &variables];
        if self.script.action == TerraformAction::Destroy {
            arguments.push("-destroy");
        }
        self.runner.step(&arguments).await.map(drop)
    }

    /// The module's outputs, but for the sensitive ones, if they are not too large.
    async fn outputs(&mut self) -> Result<Option<Value>> {
        let json = self.runner.read(&["output", "-no-color", "-json"]).await?;
        let outputs = report::outputs(&json)
            .ok_or_else(|| Error::failed("the outputs are not the JSON that `output -json` writes"))?;
        if outputs.to_string().len() > Outcome::MAX_RESULT {
            self.runner.host.warn("the outputs are too large for a result and are left out");
            return Ok(None);
        }
        Ok(Some(outputs))
    }
}

fn lock_timeout(timeout: Duration) -> String {
    format!("-lock-timeout={}s", timeout.as_secs())
}

/// The program, as a path.
fn program(config: &Config, script: &TerraformScript) -> Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let on_path = |name: &Path| {
        std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
    };
    let wanted = match (script.program, &config.program) {
        (None, Some(path)) if path.components().count() > 1 => return Ok(path.clone()),
        (None, Some(name)) => vec![name.as_path()],
        (Some(Program::Terraform), _) => vec![Path::new(PROGRAMS[0])],
        (Some(Program::Tofu), _) => vec![Path::new(PROGRAMS[1])],
        (None, None) => PROGRAMS.iter().map(Path::new).collect(),
    };
    wanted.iter().find_map(|name| on_path(name)).ok_or_else(|| {
        let names: Vec<String> = wanted.iter().map(|name| format!("`{}`", name.display())).collect();
        Error::invalid(format!(
            "{} is not on PATH: install it, or set `program` in the engine's config to where it is",
            names.join(" or ")
        ))
    })
}
