//! Jobs by the program `spark-submit` on this machine.
//!
//! The process is watched from the engine's runtime, like a remote job: no worker of the host is held, so
//! `max_concurrent` is what bounds how many run at once. It leads a process group of its own; cancelling ends the group,
//! and so does the scheduler's death (see `guard.sh`): no attempt works beside its successor.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use oxidag_plugin_api::{Error, Level, Outcome, Result, Task};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value};
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::config::SparkSubmit;
use crate::leftover::Leader;
use crate::lines::{Lines, Tail};
use crate::sink::Sink;
use crate::source::Source;
use crate::work::{Kind, Work, tagged};

/// The class that `spark-sql` runs; `spark-submit` takes its arguments too.
const SQL: &str = "org.apache.spark.sql.hive.thriftserver.SparkSQLCLIDriver";

/// How long the output of a job that has ended is read on while something still holds it open: what the job itself
/// left in its pipes is read by then on a busy machine too.
const LINGER: Duration = Duration::from_secs(2);

const GUARD: &str = include_str!("guard.sh");

/// Runs the task's job to its end.
///
/// # Errors
///
/// When it could not be started, did not succeed or was cancelled.
pub(crate) async fn run(
    task: &Task,
    work: &Work,
    settings: &SparkSubmit,
    sink: &impl Sink,
) -> Result<Outcome> {
    if let Some(left) = Leader::read(task.checkpoint.as_ref()) {
        left.end().await?;
        sink.log(
            Level::Info,
            "nothing runs any more of what an earlier scheduler had started for this attempt",
        );
    }
    check(work)?;
    let program = program(&settings.program)?;
    let script = script(Source::of(task, work.kind)?, work.kind).await?;
    if sink.cancelled() {
        return Err(Error::cancelled("cancelled before the job was started"));
    }
    let mut job = Job::start(&program, &words(work, task, script.place(), settings), task)?;
    if let Some(leader) = job.child.id().and_then(|id| Leader::of(id, script.own())) {
        sink.checkpoint(&leader.to_json())?;
    }
    let shown = program.display();
    sink.log(Level::Info, &format!("started {shown} with the master {}", settings.master));
    let grace = Duration::from_secs_f64(settings.grace_period);
    job.until_end(grace, sink).await
}

/// Whether the job can be run by the program and watched with it.
///
/// # Errors
///
/// When its driver would run elsewhere.
pub(crate) fn check(work: &Work) -> Result<()> {
    match work.properties.get("spark.submit.deployMode") {
        Some(mode) if mode != "client" => Err(Error::invalid(format!(
            "`spark.submit.deployMode` is `{mode}`, whose driver outlives `spark-submit`: leave it out, or run the \
             job on the backend `livy`"
        ))),
        _ => Ok(()),
    }
}

/// Where the program is.
///
/// # Errors
///
/// When it is nowhere.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let missing = |place: &str| {
        Error::invalid(format!(
            "the program `{name}` is not {place}: install Spark, or set `program` in \
             `[engines.spark.config.spark-submit]`"
        ))
    };
    if name.contains('/') {
        // The job's folder is another one.
        let path = std::path::absolute(name).ok().filter(|path| path.is_file());
        return path.ok_or_else(|| missing("there"));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| missing("on PATH"))
}

/// A script that `spark-submit` can read.
enum Script {
    Place(String),
    /// Removed when dropped.
    Own(NamedTempFile),
}

impl Script {
    fn own(&self) -> Option<PathBuf> {
        match self {
            Self::Place(_) => None,
            Self::Own(file) => Some(file.path().to_owned()),
        }
    }

    fn place(&self) -> &str {
        match self {
            Self::Place(place) => place,
            Self::Own(file) => file.path().to_str().unwrap_or_default(),
        }
    }
}

/// Spark reads what lies in a bucket or a folder itself; a text gets a file that nobody else may read.
async fn script(source: Source, kind: Kind) -> Result<Script> {
    match source {
        // Hadoop's name for the same place.
        Source::At(uri) => {
            Ok(Script::Place(uri.strip_prefix("s3://").map_or(uri.clone(), |rest| format!("s3a://{rest}"))))
        }
        Source::File(path) => Ok(Script::Place(path.display().to_string())),
        Source::Text(_) => {
            let text = source.content().await?;
            let made = tempfile::Builder::new().prefix("oxidag-spark-").suffix(kind.suffix()).tempfile();
            let written = made.and_then(|mut file| {
                std::io::Write::write_all(&mut file, &text)?;
                Ok(file)
            });
            written
                .map(Script::Own)
                .map_err(|e| Error::transient(format!("cannot write the script to a file: {e}")))
        }
    }
}

/// The program's arguments.
fn words(work: &Work, task: &Task, script: &str, settings: &SparkSubmit) -> Vec<String> {
    let mut words =
        vec!["--master".to_owned(), settings.master.clone(), "--name".to_owned(), work.name.clone()];
    if !work.jars.is_empty() {
        words.extend(["--jars".to_owned(), work.jars.join(",")]);
    }
    let on_yarn = settings.master.starts_with("yarn");
    let properties = if on_yarn { &tagged(work, task) } else { &work.properties };
    for (key, value) in properties {
        words.extend(["--conf".to_owned(), format!("{key}={value}")]);
    }
    if work.kind == Kind::Sql {
        words.extend(["--class", SQL, "-f", script].map(str::to_owned));
        for (name, value) in &work.variables {
            words.extend(["--hivevar".to_owned(), format!("{name}={value}")]);
        }
        return words;
    }
    if let Some(class) = &work.main_class {
        words.extend(["--class".to_owned(), class.clone()]);
    }
    words.push(script.to_owned());
    words.extend(work.args.iter().cloned());
    words
}

/// A running job.
struct Job {
    child: Child,
    group: Option<Pid>,
    started: Instant,
}

impl Job {
    fn start(program: &Path, words: &[String], task: &Task) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", GUARD, "oxidag"]).arg(program).args(words);
        command.current_dir(&task.working_dir).process_group(0);
        command.env("OXIDAG_DAG_ID", &task.dag_id).env("OXIDAG_TASK_ID", &task.task_id);
        command.env("OXIDAG_RUN_ID", &task.run_id).env("OXIDAG_ATTEMPT", task.attempt.to_string());
        command.env("OXIDAG_IDEMPOTENCY_KEY", &task.idempotency_key);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| {
            Error::transient(format!("cannot start {} just now: {error}", program.display()))
        })?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child, group, started: Instant::now() })
    }

    /// Passes on the output until the job has ended; ends it when asked to.
    async fn until_end(&mut self, grace: Duration, sink: &impl Sink) -> Result<Outcome> {
        let out = self.child.stdout.take();
        let err = self.child.stderr.take();
        // Held until the end: the guard kills the group when it closes.
        let _held = self.child.stdin.take();
        // Of both streams: what a Python driver writes to either comes out of Spark's standard output.
        let tail = Mutex::default();
        let output = async {
            tokio::join!(pass_on(out, Level::Stdout, sink, &tail), pass_on(err, Level::Stderr, sink, &tail));
        };
        let (status, stopped) = self.watch(output, grace, sink).await?;
        let tail = tail.into_inner().unwrap_or_else(PoisonError::into_inner);
        verdict(status, stopped, self.started.elapsed(), &tail)
    }

    /// How it ended, and whether it was asked to.
    async fn watch(
        &mut self,
        output: impl Future<Output = ()>,
        grace: Duration,
        sink: &impl Sink,
    ) -> Result<(ExitStatus, bool)> {
        let mut output = std::pin::pin!(output);
        let (mut read, mut asked, mut kill_at) = (false, false, None);
        let status = loop {
            tokio::select! {
                status = self.child.wait() => break status,
                () = &mut output, if !read => read = true,
                () = sink.until_cancelled(), if !asked => {
                    sink.log(Level::Info, "cancelling the job: sending SIGTERM to its process group");
                    self.signal(Signal::TERM);
                    (asked, kill_at) = (true, Some(Instant::now() + grace));
                }
                () = until(kill_at), if kill_at.is_some() => {
                    sink.log(Level::Info, "the job did not end within its grace period: sending SIGKILL");
                    self.signal(Signal::KILL);
                    kill_at = None;
                }
            }
        };
        if !read {
            // Whoever still holds the output open has outlived the job.
            let _ = timeout(LINGER, output).await;
        }
        Ok((status.map_err(|e| Error::transient(format!("lost sight of the job: {e}")))?, asked))
    }

    /// To all of the group, while its leader is not waited for.
    fn signal(&self, signal: Signal) {
        if let (Some(group), Some(_)) = (self.group, self.child.id()) {
            // It may have ended this moment.
            let _ = kill_process_group(group, signal);
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Logs a stream until its end.
async fn pass_on(stream: Option<impl AsyncRead + Unpin>, level: Level, sink: &impl Sink, tail: &Mutex<Tail>) {
    let Some(mut stream) = stream else { return };
    let mut lines = Lines::default();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        // A pipe's reading end has no errors but mistakes: the end, like a length of 0.
        let length = stream.read(&mut buffer).await.unwrap_or(0);
        let mut whole = lines.push(&buffer[..length]);
        if length == 0 {
            whole.extend(lines.finish());
        }
        if !whole.is_empty() {
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            whole.iter().for_each(|line| tail.add(line));
            drop(tail);
            sink.log(level, &whole.join("\n"));
        }
        if length == 0 {
            return;
        }
    }
}

fn verdict(status: ExitStatus, stopped: bool, elapsed: Duration, tail: &Tail) -> Result<Outcome> {
    let mut metrics = Map::new();
    metrics.insert("backend".to_owned(), "spark-submit".into());
    metrics.insert("elapsed_seconds".to_owned(), elapsed.as_secs_f64().into());
    if let Some(code) = status.code() {
        metrics.insert("exit_status".to_owned(), Value::from(code));
    }
    let error = match (status.code(), status.signal()) {
        (Some(0), _) => return Ok(Outcome { result: None, metrics }),
        _ if stopped => Error::cancelled("cancelled: the job and its process group were ended"),
        (Some(code), _) => {
            Error::failed(format!("spark-submit ended with exit status {code}{}", tail.told()))
        }
        (None, signal) => Error::failed(format!(
            "spark-submit was killed by signal {}{}",
            signal.unwrap_or_default(),
            tail.told()
        )),
    };
    Err(Error { metrics, ..error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::tests::{config, task};
    use serde_json::json;

    fn words_for(name: &str, params: Value) -> Vec<String> {
        let mut task = task(params);
        name.clone_into(&mut task.script.name);
        words(&Work::of(&task, &config(json!({}))).unwrap(), &task, name, &SparkSubmit::default())
    }

    #[test]
    fn an_application_on_yarn_is_tagged() {
        let task = task(json!({}));
        let settings = SparkSubmit { master: "yarn".to_owned(), ..SparkSubmit::default() };
        let words = words(&Work::of(&task, &config(json!({}))).unwrap(), &task, "x.py", &settings);
        assert_eq!(words[4..6], ["--conf", "spark.yarn.tags=oxidag-dag=d,oxidag-run=r,oxidag-task=t"]);
    }

    #[test]
    fn each_kind_of_script_has_its_arguments() {
        let start = ["--master", "local[*]", "--name", "d_t"];
        let py = words_for("x.py", json!({"spark.jars": "a.jar,b.jar", "spark.x": 1}));
        assert_eq!(py[..4], start);
        assert_eq!(py[4..10], ["--jars", "a.jar,b.jar", "--conf", "spark.x=1", "x.py", "--params"]);
        let jar = words_for("x.jar", json!({"main_class": "a.B"}));
        assert_eq!(jar[4..8], ["--class", "a.B", "x.jar", "--params"]);
        let sql = words_for("x.sql", json!({"year": 2022}));
        assert_eq!(
            sql[4..],
            ["--class", SQL, "-f", "x.sql", "--hivevar", "id=d_t", "--hivevar", "year=2022"]
        );
    }

    #[test]
    fn a_program_is_found_from_whatever_folder() {
        assert_eq!(program("src/guard.sh").unwrap(), std::path::absolute("src/guard.sh").unwrap());
        assert!(program("sh").unwrap().is_absolute());
        insta::assert_snapshot!(program("src/none").unwrap_err(), @"the program `src/none` is not there: install Spark, or set `program` in `[engines.spark.config.spark-submit]`");
    }

    #[test]
    fn a_driver_that_would_run_elsewhere_is_refused() {
        let of = |mode: &str| {
            let task = task(json!({"spark.submit.deployMode": mode}));
            check(&Work::of(&task, &config(json!({}))).unwrap())
        };
        of("client").unwrap();
        insta::assert_snapshot!(of("cluster").unwrap_err(), @"`spark.submit.deployMode` is `cluster`, whose driver outlives `spark-submit`: leave it out, or run the job on the backend `livy`");
    }
}
