//! `oxidag runs list`, and how the commands for one run find it.

use anyhow::Context as _;
use oxidag_core::event::Timestamp;
use oxidag_core::store::{RunDetails, RunFilter, RunHead, Store, StoreError};

use crate::args::{ListArgs, ShownState};
use crate::format::{between, duration, time};
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
    tell_unread(&details.head);
    Ok((store, details))
}

/// Says that there is more to know of a run than can be read here.
fn tell_unread(head: &RunHead) {
    if let Some(reason) = &head.unread {
        output::remark(format_args!(
            "the last events of the run {} are in its journal, which cannot be brought into the database: {reason}",
            head.run_id
        ));
    }
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
    heads.iter().for_each(tell_unread);
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
        since: args.since.map(|since| since.time(now())),
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

pub(super) fn state(head: &RunHead, palette: Palette) -> Painted<String> {
    if head.interrupted {
        palette.warning("interrupted".to_owned())
    } else {
        palette.run(head.state, head.state.to_string())
    }
}
