//! `oxidag runs show`: a run with its tasks and every attempt.

use std::time::Duration;

use anyhow::Context as _;
use oxidag_core::cache::CacheCounts;
use oxidag_core::event::Timestamp;
use oxidag_core::store::{AttemptDetails, RunDetails, TaskDetails};

use super::runs;
use crate::format::{between, duration, one_line, time};
use crate::output;
use crate::phases::{Phases, Span};
use crate::style::{Painted, Palette};
use crate::table::Table;

pub(super) fn show(run: &str, json: bool) -> anyhow::Result<()> {
    let (_, run) = runs::find(run)?;
    let printed = if json {
        output::print_json(&run)
    } else {
        output::print(&text(&run, runs::now(), output::terminal_width(), Palette::stdout()))
    };
    printed.context("cannot print the run")
}

fn text(run: &RunDetails, now: Timestamp, width: Option<usize>, palette: Palette) -> String {
    let mut text = about(run, palette);
    text.push('\n');
    text += &tasks(run, now, palette).render(palette, width);
    let errors = errors(run, palette);
    if !errors.is_empty() {
        let logs = palette.faint(format!("oxidag runs logs {} TASK --attempt N", run.head.run_id));
        text += &format!("\n{errors}\n{logs}\n");
    }
    text
}

/// The run itself, a line for each thing that is known of it.
fn about(run: &RunDetails, palette: Palette) -> String {
    let head = &run.head;
    let mut lines = vec![
        ("run", head.run_id.clone()),
        ("dag", format!("{} ({})", head.dag_id, run.dag_path)),
        ("state", runs::state(head, palette).to_string()),
        ("started", format!("{} UTC", time(head.started_at))),
    ];
    if let Some(finished_at) = head.finished_at {
        let took = duration(between(head.started_at, finished_at));
        lines.push(("finished", format!("{} UTC, after {took}", time(finished_at))));
    }
    lines.extend(run.environment.iter().map(|environment| ("env", environment.clone())));
    if run.params.as_object().is_some_and(|params| !params.is_empty()) {
        lines.push(("params", run.params.to_string()));
    }
    lines.extend(run.script_cache.map(|cache| ("scripts", cached(cache))));
    lines.extend(head.owner.map(|pid| ("process", pid.to_string())));
    lines.extend(head.error.iter().map(|error| ("error", one_line(&error.message))));
    let counts: Vec<String> = run
        .counts()
        .into_iter()
        .map(|(state, count)| palette.task(state, format!("{count} {state}")).to_string())
        .collect();
    lines.push(("tasks", counts.join(", ")));
    lines
        .into_iter()
        .map(|(name, value)| format!("{} {value}\n", palette.faint(format_args!("{name:<9}"))))
        .collect()
}

/// `2 from the cache, 1 fetched`.
fn cached(CacheCounts { hits, misses }: CacheCounts) -> String {
    format!("{hits} from the script cache, {misses} fetched")
}

/// A row for each task, and one for each attempt of those of which more is to be told than fits there.
fn tasks(run: &RunDetails, now: Timestamp, palette: Palette) -> Table<9> {
    // Nobody knows how long what a dead process ran went on.
    let now = Some(now).filter(|_| run.head.finished_at.is_none() && !run.head.interrupted);
    let head = ["TASK", "ENGINE", "FROM", "STATE", "START", "END", "WAITED", "RAN", "DEFERRED"];
    let mut table = Table::new(head, 0).without_empty_columns();
    let since = |at: Option<Timestamp>| {
        let since = at.map(|at| duration(between(run.head.started_at, at)));
        Painted::plain(since.unwrap_or_default())
    };
    for task in &run.tasks {
        let [waited, ran, deferred] = Times::of_task(task, now).cells();
        table.row([
            Painted::plain(&task.task_id),
            Painted::plain(&task.engine),
            Painted::plain(task.grown_from.clone().unwrap_or_default()),
            palette.task(task.state, task.state.to_string()),
            since(task.started_at),
            since(task.finished_at),
            waited,
            ran,
            deferred,
        ]);
        for attempt in told_apart(task) {
            let [waited, ran, deferred] = Times::of_attempt(attempt, now).cells();
            table.row([
                Painted::plain(format!("  attempt {}", attempt.attempt)),
                Painted::plain(""),
                Painted::plain(""),
                palette.task(attempt.state, attempt.state.to_string()),
                since(Some(attempt.started_at)),
                since(attempt.finished_at),
                waited,
                ran,
                deferred,
            ]);
        }
    }
    table
}

/// The attempts that have rows of their own: a task that was tried once is its attempt.
fn told_apart(task: &TaskDetails) -> &[AttemptDetails] {
    match &task.attempts[..] {
        [one] if one.state == task.state => &[],
        attempts => attempts,
    }
}

/// How long an attempt, or all of a task's, did what; nothing where that is not known.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    waited: Option<Duration>,
    ran: Option<Duration>,
    deferred: Option<Duration>,
}

impl Times {
    fn of_attempt(attempt: &AttemptDetails, now: Option<Timestamp>) -> Self {
        let Phases { waited, ran, deferred } = Phases::of(attempt, now);
        Self { waited: waited.map(Span::took), ran: ran.map(Span::took), deferred: deferred.map(Span::took) }
    }

    fn of_task(task: &TaskDetails, now: Option<Timestamp>) -> Self {
        let pending = Phases::pending(task, now).map(Span::took);
        let start = Self { waited: pending, ..Self::default() };
        task.attempts.iter().map(|attempt| Self::of_attempt(attempt, now)).fold(start, Self::and)
    }

    fn and(self, other: Self) -> Self {
        let sum = |a: Option<Duration>, b: Option<Duration>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        Self {
            waited: sum(self.waited, other.waited),
            ran: sum(self.ran, other.ran),
            deferred: sum(self.deferred, other.deferred),
        }
    }

    fn cells(self) -> [Painted<String>; 3] {
        [self.waited, self.ran, self.deferred]
            .map(|time| Painted::plain(time.map(duration).unwrap_or_default()))
    }
}

/// Why tasks and attempts did not succeed, each reason once.
fn errors(run: &RunDetails, palette: Palette) -> String {
    let mut text = String::new();
    for task in &run.tasks {
        for attempt in &task.attempts {
            let Some(error) = &attempt.error else { continue };
            let number = if told_apart(task).is_empty() {
                String::new()
            } else {
                format!(" attempt {}", attempt.attempt)
            };
            let state = palette.task(attempt.state, attempt.state);
            let name = palette.strong(format!("{}{number}", task.task_id));
            text += &format!("{name} {state}: {}\n", one_line(&error.message));
        }
        let last = task.attempts.last().and_then(|attempt| attempt.error.as_ref());
        if let Some(error) = task.error.as_ref().filter(|error| Some(*error) != last) {
            let state = palette.task(task.state, task.state);
            text += &format!("{} {state}: {}\n", palette.strong(&task.task_id), one_line(&error.message));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::tests::{at, attempt, task};
    use oxidag_core::event::{Failure, FailureKind};
    use oxidag_core::state::{RunState, TaskState as S};
    use oxidag_core::store::RunHead;

    fn failed(mut attempt: AttemptDetails, message: &str) -> AttemptDetails {
        attempt.error = Some(Failure { kind: FailureKind::Failed, message: message.to_owned() });
        attempt
    }

    /// One task of each kind: done, tried again, deferred, between two attempts, waiting, not reached.
    fn run() -> RunDetails {
        let first = failed(attempt(1, S::Failed, (Some(0), 10, None, Some(510))), "exit status 3\n");
        let mut retried = task(
            "load",
            S::Success,
            vec![first.clone(), attempt(2, S::Success, (Some(1510), 1600, None, Some(2600)))],
        );
        retried.engine = "shell".to_owned();
        let mut between = task("again", S::UpForRetry, vec![first.clone()]);
        between.error = first.error;
        let mut waiting = task("waits", S::Waiting, vec![]);
        waiting.scheduled_at = Some(at(2600));
        RunDetails {
            growth: Vec::new(),
            head: RunHead {
                run_id: "r1".to_owned(),
                dag_id: "nightly".to_owned(),
                state: RunState::Running,
                started_at: at(0),
                finished_at: None,
                interrupted: false,
                owner: Some(42),
                error: None,
                unread: None,
            },
            environment: Some("prod".to_owned()),
            plugins: None,
            dag_path: "nightly.yaml".to_owned(),
            dag_source: String::new(),
            params: serde_json::json!({"day": 1}),
            script_cache: Some(CacheCounts { hits: 2, misses: 1 }),
            tasks: vec![
                task("done", S::Success, vec![attempt(1, S::Success, (Some(0), 0, None, Some(1500)))]),
                retried,
                task("remote", S::Deferred, vec![attempt(1, S::Deferred, (Some(0), 5, Some(105), None))]),
                between,
                waiting,
                task("later", S::None, vec![]),
            ],
        }
    }

    #[test]
    fn every_attempt_is_shown_with_what_it_did_when() {
        insta::assert_snapshot!(text(&run(), at(60_000), None, Palette::PLAIN), @r#"
        run       r1
        dag       nightly (nightly.yaml)
        state     running
        started   1970-01-01 00:16:40 UTC
        env       prod
        params    {"day":1}
        scripts   2 from the script cache, 1 fetched
        process   42
        tasks     1 none, 1 waiting, 1 deferred, 1 up_for_retry, 2 success

        TASK         ENGINE  STATE         START  END    WAITED  RAN    DEFERRED
        done         noop    success       0ms    1.5s   0ms     1.5s
        load         shell   success       10ms   2.6s   100ms   1.5s
          attempt 1          failed        10ms   510ms  10ms    500ms
          attempt 2          success       1.6s   2.6s   90ms    1.0s
        remote       noop    deferred      5ms           5ms     100ms  59.9s
        again        noop    up_for_retry  10ms          10ms    500ms
          attempt 1          failed        10ms   510ms  10ms    500ms
        waits        noop    waiting                     57.4s
        later        noop    none

        load attempt 1 failed: exit status 3
        again attempt 1 failed: exit status 3

        oxidag runs logs r1 TASK --attempt N
        "#);
    }

    #[test]
    fn what_a_dead_process_ran_has_no_end() {
        let mut run = run();
        run.head.interrupted = true;
        let table = tasks(&run, at(60_000), Palette::PLAIN).render(Palette::PLAIN, None);
        let remote = table.lines().find(|line| line.starts_with("remote")).unwrap();
        assert_eq!(
            remote.split_whitespace().collect::<Vec<_>>(),
            ["remote", "noop", "deferred", "5ms", "5ms", "100ms"]
        );
    }

    #[test]
    fn columns_of_what_did_not_happen_are_left_out() {
        let mut run = run();
        run.tasks.truncate(1);
        run.tasks[0].attempts[0].scheduled_at = None;
        let head = tasks(&run, at(60_000), Palette::PLAIN).render(Palette::PLAIN, None);
        assert!(head.starts_with("TASK  ENGINE  STATE    START  END   RAN\n"), "{head}");
    }
}
