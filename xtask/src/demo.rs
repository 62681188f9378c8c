//! `cargo xtask demo`: from a fresh clone to a pipeline that has run.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::command::{command, run};
use crate::programs::{PYTHON, require};
use crate::workspace::Workspace;

/// The engines of the quick start.
const ENGINES: [&str; 3] = ["oxidag-engine-noop", "oxidag-engine-shell", "oxidag-engine-sql"];

/// Builds what the quick start needs, runs it and says where to look next.
///
/// # Errors
///
/// When Python 3 is missing, or the build or the run fails.
pub(crate) fn demo() -> Result<()> {
    require(&[&PYTHON])?;
    println!("building oxidag and three engines; from nothing that takes a few minutes");
    let built = Workspace::read()?.build("demo", ENGINES)?;
    let oxidag = built.join(format!("oxidag{}", std::env::consts::EXE_SUFFIX));

    let started = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let run_id = format!("demo-{}", started.as_millis());
    println!("\n$ oxidag run dags/quickstart.yaml --run-id {run_id}");
    run(&mut command(&oxidag, ["run", "dags/quickstart.yaml", "--run-id", &run_id]))?;
    println!("\n$ oxidag runs logs {run_id} report");
    run(&mut command(&oxidag, ["runs", "logs", &run_id, "report"]))?;

    let home = std::env::var("OXIDAG_HOME").unwrap_or_else(|_| ".oxidag".to_owned());
    println!("{}", where_to_look(&oxidag, &home, &run_id));
    Ok(())
}

fn where_to_look(oxidag: &Path, home: &str, run_id: &str) -> String {
    let oxidag = oxidag.strip_prefix(crate::workspace::root()).unwrap_or(oxidag).display();
    format!(
        "
logs     {home}/logs/quickstart/TASK/{run_id}.1.log
state    {home}/, one SQLite database; `rm -r {home}` forgets everything
pipeline dags/quickstart.yaml, its scripts in dags/quickstart/
engines  plugins.toml

Try next:
  {oxidag} runs gantt {run_id}
  {oxidag} graph dags/quickstart.yaml --format mermaid
  {oxidag} plan dags/quickstart.yaml
  {oxidag} engines list
  {oxidag} --help"
    )
}
