//! `oxidag run --dry-run`: what would run, and what the engines find about it. Nothing runs and nothing is stored.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oxidag_core::dry_run::{Examined, Finding, Severity};
use oxidag_core::event::TaskIdx;
use oxidag_core::prepare::Prepared;
use oxidag_core::runner::Start;
use oxidag_core::store::Durations;
use serde::Serialize;

use super::launch::Planned;
use crate::exit::Exit;
use crate::format::{count, one_line};
use crate::style::{Painted, Palette};
use crate::table::Table;
use crate::{output, settings};

/// Fewer tasks are looked at without a word.
const MANY: usize = 10;

pub(super) fn dry_run(planned: &[Planned], workers: u32, json: bool) -> anyhow::Result<Exit> {
    let mut answers = Vec::with_capacity(planned.len());
    for Planned { prepared, start, .. } in planned {
        let left_out: &[TaskIdx] = match start {
            Start::New { left_out, skipped, .. } => &[left_out.as_slice(), skipped].concat(),
            Start::Resume { .. } => &[],
        };
        let order = order(prepared, workers, left_out)?;
        let examined = examine_all(prepared, workers, left_out)?;
        answers.push(Answer::new(prepared, order, examined));
    }
    if json {
        output::print_json(&answers).context("cannot print the answer")?;
    } else {
        tell(&answers)?;
    }
    let is_right = answers.iter().all(|answer| answer.errors == 0);
    Ok(if is_right { Exit::Success } else { Exit::Refused })
}

/// The tasks in the order in which they would start, if each takes as long as is expected and succeeds.
fn order(prepared: &Prepared, workers: u32, left_out: &[TaskIdx]) -> anyhow::Result<Vec<String>> {
    let history = match settings::existing_store()? {
        Some(store) => store.durations(&prepared.dag.dag_id)?,
        None => Durations::default(),
    };
    prepared.order(&history, workers, left_out).context("a bug in the scheduler")
}

/// Has tasks looked at, as many at once as there are workers; in the order of the DAG file.
fn examine_all(
    prepared: &Prepared,
    workers: u32,
    left_out: &[TaskIdx],
) -> anyhow::Result<Vec<(TaskIdx, Examined)>> {
    let left_out: HashSet<TaskIdx> = left_out.iter().copied().collect();
    let tasks: Vec<TaskIdx> = prepared.graph.tasks().filter(|task| !left_out.contains(task)).collect();
    let (next, bar) = (AtomicUsize::new(0), progress(tasks.len()));
    let work = || {
        let mut examined = Vec::new();
        while let Some(&task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            examined.push((task, prepared.dry_run(task)));
            bar.inc(1);
        }
        examined
    };
    let threads = (workers as usize).min(tasks.len());
    let examined = thread::scope(|scope| {
        let start = |_| thread::Builder::new().name("oxidag-dry-run".to_owned()).spawn_scoped(scope, work);
        let started = (0..threads).map(start).collect::<Result<Vec<_>, _>>()?;
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().ok();
        anyhow::Ok(started.into_iter().map(join).collect::<Option<Vec<_>>>())
    });
    bar.finish_and_clear();
    let examined = examined.context("cannot start a thread")?.context("a task could not be looked at")?;
    let mut examined: Vec<(TaskIdx, Examined)> = examined.into_iter().flatten().collect();
    examined.sort_by_key(|(task, _)| *task);
    Ok(examined)
}

/// How many tasks have been looked at; nothing is drawn where standard error is no terminal.
fn progress(tasks: usize) -> ProgressBar {
    if tasks < MANY {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(tasks as u64), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{pos} of {len} tasks checked") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// What `--json` prints of a DAG.
#[derive(Debug, Serialize)]
struct Answer {
    dag_id: String,
    /// How many findings are errors.
    errors: usize,
    /// And warnings.
    warnings: usize,
    /// The tasks as they would start; without those that run only where others do not succeed.
    order: Vec<String>,
    /// The tasks as they stand in the DAG file, without those that are left out.
    tasks: Vec<Task>,
}

#[derive(Debug, Serialize)]
struct Task {
    task_id: String,
    engine: String,
    script: String,
    findings: Vec<Finding>,
}

impl Answer {
    fn new(prepared: &Prepared, order: Vec<String>, examined: Vec<(TaskIdx, Examined)>) -> Self {
        let task = |(task, examined): (TaskIdx, Examined)| Task {
            task_id: prepared.task(task).task_id.to_string(),
            engine: prepared.task(task).script.engine.to_string(),
            script: examined.script,
            findings: examined.findings,
        };
        let tasks: Vec<Task> = examined.into_iter().map(task).collect();
        let number = |severity| {
            tasks.iter().flat_map(|task| &task.findings).filter(|found| found.severity == severity).count()
        };
        Self {
            dag_id: prepared.dag.dag_id.clone(),
            errors: number(Severity::Error),
            warnings: number(Severity::Warning),
            order,
            tasks,
        }
    }
}

/// Findings to standard error; what would run to standard output, unless something is wrong.
fn tell(answers: &[Answer]) -> anyhow::Result<()> {
    let palette = Palette::stderr();
    for task in answers.iter().flat_map(|answer| &answer.tasks) {
        task.findings.iter().for_each(|finding| output::remark(line(task, finding, palette)));
    }
    let wrong: Vec<&Answer> = answers.iter().filter(|answer| answer.errors > 0).collect();
    for answer in &wrong {
        let errors = count(answer.errors, "error");
        output::remark(format_args!("{}: {errors}; nothing ran", answer.dag_id));
    }
    if !wrong.is_empty() {
        return Ok(());
    }
    let width = output::terminal_width();
    let texts: Vec<String> = answers.iter().map(|answer| text(answer, width, Palette::stdout())).collect();
    output::print(&texts.join("\n")).context("cannot print the answer")
}

/// `PLACE: SEVERITY: MESSAGE (task ID)`, as mistakes in files are told.
fn line(task: &Task, finding: &Finding, palette: Palette) -> String {
    let place = [finding.line, finding.column].into_iter().map_while(|number| number);
    let place: String = place.map(|number| format!(":{number}")).collect();
    let severity = match finding.severity {
        Severity::Error => palette.error("error:"),
        Severity::Warning => palette.warning("warning:"),
        Severity::Info => palette.faint("info:"),
    };
    let message = one_line(&finding.message);
    format!("{}{place}: {severity} {message} (task `{}`)", task.script, task.task_id)
}

fn text(answer: &Answer, width: Option<usize>, palette: Palette) -> String {
    let by_id: HashMap<&str, &Task> = answer.tasks.iter().map(|task| (task.task_id.as_str(), task)).collect();
    let mut table = Table::new(["", "TASK", "ENGINE", "SCRIPT"], 3);
    for (number, task) in answer.order.iter().filter_map(|id| by_id.get(id.as_str())).enumerate() {
        table.row([
            Painted::plain((number + 1).to_string()),
            Painted::plain(&task.task_id),
            Painted::plain(&task.engine),
            Painted::plain(&task.script),
        ]);
    }
    let table = table.render(palette, width);
    let tasks = count(answer.order.len(), "task");
    let mut text = format!("{} would run {tasks} in this order:\n{table}", palette.strong(&answer.dag_id));
    let listed: HashSet<&str> = answer.order.iter().map(String::as_str).collect();
    let others: Vec<&str> =
        answer.tasks.iter().map(|task| task.task_id.as_str()).filter(|id| !listed.contains(id)).collect();
    if !others.is_empty() {
        text += &format!("only where others do not succeed: {}\n", others.join(", "));
    }
    let found = match answer.warnings {
        0 => "no mistake was found".to_owned(),
        warnings => count(warnings, "warning"),
    };
    text + &format!("{found}; nothing ran\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        let finding = |severity, message: &str, line, column| Finding {
            severity,
            message: message.to_owned(),
            line,
            column,
        };
        let task = |id: &str, script: &str, findings| Task {
            task_id: id.to_owned(),
            engine: "sql".to_owned(),
            script: script.to_owned(),
            findings,
        };
        Answer {
            dag_id: "nightly".to_owned(),
            errors: 0,
            warnings: 1,
            order: vec!["b".to_owned(), "a".to_owned()],
            tasks: vec![
                task(
                    "a",
                    "scripts/a.sql",
                    vec![
                        finding(Severity::Error, "no such table\nt", Some(3), Some(5)),
                        finding(Severity::Warning, "slow", Some(7), None),
                    ],
                ),
                task("b", "inline", vec![finding(Severity::Info, "reads 3 GB", None, None)]),
            ],
        }
    }

    #[test]
    fn a_finding_is_told_with_its_place_and_its_task() {
        let answer = answer();
        let lines = answer
            .tasks
            .iter()
            .flat_map(|task| task.findings.iter().map(|finding| line(task, finding, Palette::PLAIN)));
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
        scripts/a.sql:3:5: error: no such table; t (task `a`)
        scripts/a.sql:7: warning: slow (task `a`)
        inline: info: reads 3 GB (task `b`)
        ");
    }

    #[test]
    fn a_task_that_success_keeps_from_running_is_named_apart() {
        let mut answer = answer();
        answer.order.truncate(1);
        insta::assert_snapshot!(text(&answer, None, Palette::PLAIN), @"
        nightly would run 1 task in this order:
           TASK  ENGINE  SCRIPT
        1  b     sql     inline
        only where others do not succeed: a
        1 warning; nothing ran
        ");
    }

    #[test]
    fn what_would_run_is_listed_in_order() {
        insta::assert_snapshot!(text(&answer(), None, Palette::PLAIN), @"
        nightly would run 2 tasks in this order:
           TASK  ENGINE  SCRIPT
        1  b     sql     inline
        2  a     sql     scripts/a.sql
        1 warning; nothing ran
        ");
    }
}
