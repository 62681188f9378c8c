//! `oxidag runs list` and `runs show`, and how the commands for one run find it.

use anyhow::Context as _;
use oxidag_core::event::Timestamp;
use oxidag_core::state::TaskState;
use oxidag_core::store::{RunDetails, RunFilter, RunHead, Store, StoreError, TaskDetails};

use crate::args::{ListArgs, ShownState};
use crate::format::{between, duration, one_line, time};
use crate::style::{Painted, Palette};
use crate::table::Table;
use crate::{output, settings};

/// The store, and the run that is meant.
pub(super) fn find(run: &str) -> anyhow::Result<(Store, RunDetails)> {
    let store = settings::existing_store()?.ok_or_else(|| match run {
        "latest" => StoreError::NoRuns,
        run => StoreError::UnknownRun(run.to_owned()),
    })?;
    let run_id = store.resolve_run(run)?;
    let details = store.run(&run_id)?.ok_or(StoreError::UnknownRun(run_id))?;
    Ok((store, details))
}

/// Now, as events count time.
pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::default().after(since.unwrap_or_default())
}

pub(super) fn list(args: &ListArgs) -> anyhow::Result<()> {
    let heads = match settings::existing_store()? {
        Some(store) => matching(&store, args)?,
        None => Vec::new(),
    };
    if args.json {
        return output::print_json(&heads).context("cannot print the runs");
    }
    if heads.is_empty() {
        output::remark("no runs");
        return Ok(());
    }
    let palette = Palette::stdout();
    let mut table = Table::new(["RUN", "DAG", "STATE", "STARTED (UTC)", "TOOK"], 1);
    for head in &heads {
        let took = if head.interrupted {
            None
        } else {
            Some(between(head.started_at, head.finished_at.unwrap_or_else(now)))
        };
        table.row([
            Painted::plain(&head.run_id),
            Painted::plain(&head.dag_id),
            state(head, palette),
            Painted::plain(time(head.started_at)),
            Painted::plain(took.map(duration).unwrap_or_default()),
        ]);
    }
    output::print(&table.render(palette, output::terminal_width())).context("cannot print the runs")
}

/// The runs that are asked for. Whether a run was interrupted is not stored, so that is looked at here.
fn matching(store: &Store, args: &ListArgs) -> Result<Vec<RunHead>, StoreError> {
    let of_running = matches!(args.state, Some(ShownState::Running | ShownState::Interrupted));
    let mut heads = store.list_runs(&RunFilter {
        dag_id: args.dag.clone(),
        state: args.state.map(ShownState::stored),
        since: None,
        limit: if of_running { u32::MAX } else { args.limit },
    })?;
    if let Some(state) = args.state {
        heads.retain(|head| {
            head.state == state.stored() && head.interrupted == (state == ShownState::Interrupted)
        });
        heads.truncate(args.limit as usize);
    }
    Ok(heads)
}

fn state(head: &RunHead, palette: Palette) -> Painted<String> {
    if head.interrupted {
        palette.warning("interrupted".to_owned())
    } else {
        palette.run(head.state, head.state.to_string())
    }
}

pub(super) fn show(run: &str, json: bool) -> anyhow::Result<()> {
    let (_, run) = find(run)?;
    let printed = if json { output::print_json(&run) } else { output::print(&text(&run, Palette::stdout())) };
    printed.context("cannot print the run")
}

fn text(run: &RunDetails, palette: Palette) -> String {
    let mut text = about(run, palette);
    text.push('\n');
    text += &tasks(run, palette).render(palette, output::terminal_width());
    let failed = run.tasks.iter().filter_map(|task| Some((task, task.error.as_ref()?)));
    for (task, error) in failed {
        let state = palette.task(task.state, task.state);
        text += &format!("\n{} {state}: {}", palette.strong(&task.task_id), one_line(&error.message));
    }
    if run.tasks.iter().any(|task| task.error.is_some()) {
        text +=
            &format!("\n\n{}\n", palette.faint(format_args!("oxidag runs logs {} TASK", run.head.run_id)));
    }
    text
}

/// The run itself, a line for each thing that is known of it.
fn about(run: &RunDetails, palette: Palette) -> String {
    let head = &run.head;
    let mut lines = vec![
        ("run", head.run_id.clone()),
        ("dag", format!("{} ({})", head.dag_id, run.dag_path)),
        ("state", state(head, palette).to_string()),
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

fn tasks(run: &RunDetails, palette: Palette) -> Table<6> {
    let mut table = Table::new(["TASK", "ENGINE", "STATE", "ATTEMPTS", "START", "TOOK"], 0);
    for task in &run.tasks {
        let started = task.started_at.map(|at| between(run.head.started_at, at));
        table.row([
            Painted::plain(&task.task_id),
            Painted::plain(&task.engine),
            palette.task(task.state, task.state.to_string()),
            Painted::plain(task.attempts.len().to_string()),
            Painted::plain(started.map(duration).unwrap_or_default()),
            Painted::plain(took(run, task).unwrap_or_default()),
        ]);
    }
    table
}

/// How long a task took, or has been running; unknown where its process died.
fn took(run: &RunDetails, task: &TaskDetails) -> Option<String> {
    let end = match task.finished_at {
        Some(at) => at,
        None if run.head.interrupted || task.state == TaskState::None => return None,
        None => now(),
    };
    Some(duration(between(task.started_at?, end)))
}
