//! `oxidag runs prune`: removes runs that have ended, and says what that were.

use anyhow::Context as _;
use oxidag_core::store::{PruneRule, Pruned, Store, StoreError};
use serde::Serialize;

use super::runs;
use crate::args::PruneArgs;
use crate::format::{bytes, count, time};
use crate::since::before;
use crate::style::{Painted, Palette};
use crate::table::Table;
use crate::{output, settings};

pub(super) fn prune(args: &PruneArgs) -> anyhow::Result<()> {
    let rule = PruneRule {
        keep: args.keep,
        before: args.older_than.map(|age| before(runs::now(), age)),
        dag_id: args.dag.clone(),
        interrupted: args.interrupted,
    };
    let pruned = pruned(&rule, args.dry_run)?;
    if args.json {
        let answer = Answer { dry_run: args.dry_run, pruned: &pruned };
        return output::print_json(&answer).context("cannot print what was removed");
    }
    kept(&pruned).iter().for_each(output::remark);
    let text = text(&pruned, args.dry_run, output::terminal_width(), Palette::stdout());
    output::print(&text).context("cannot print what was removed")
}

fn pruned(rule: &PruneRule, dry_run: bool) -> Result<Pruned, StoreError> {
    let home = settings::home();
    // Who only asks need not be able to write.
    let store = if dry_run { Store::open_existing(&home)? } else { Store::open_if_there(&home)? };
    match (store, &rule.dag_id) {
        (Some(store), _) if dry_run => store.would_prune(rule),
        (Some(store), _) => store.prune(rule),
        (None, Some(dag_id)) => Err(StoreError::UnknownDag(dag_id.clone())),
        (None, None) => Ok(Pruned::default()),
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    dry_run: bool,
    #[serde(flatten)]
    pruned: &'a Pruned,
}

fn text(pruned: &Pruned, dry_run: bool, width: Option<usize>, palette: Palette) -> String {
    if pruned.runs.is_empty() {
        return "there is no run to remove\n".to_owned();
    }
    let mut text = String::new();
    if dry_run {
        let mut table = Table::new(["RUN", "DAG", "STATE", "STARTED (UTC)", "LOGS", "SIZE"], 1);
        for run in &pruned.runs {
            table.row([
                Painted::plain(&run.head.run_id),
                Painted::plain(&run.head.dag_id),
                runs::state(&run.head, palette),
                Painted::plain(time(run.head.started_at)),
                Painted::plain(run.log_files.to_string()),
                Painted::plain(bytes(run.log_bytes)),
            ]);
        }
        text = table.render(palette, width) + "\n";
    }
    let runs = count(pruned.runs.len(), "run");
    let files = count(usize::try_from(pruned.log_files).unwrap_or(usize::MAX), "log file");
    let verb = if dry_run { "would remove" } else { "removed" };
    text += &format!("{verb} {runs} and {files} ({})\n", bytes(pruned.log_bytes));
    if pruned.database_bytes > 0 {
        text += &format!("the database is {} smaller\n", bytes(pruned.database_bytes));
    }
    text
}

/// What is left although it fits, and why.
fn kept(pruned: &Pruned) -> Vec<String> {
    let mut kept = Vec::new();
    if !pruned.kept_interrupted.is_empty() {
        let runs = count(pruned.kept_interrupted.len(), "interrupted run");
        kept.push(format!("kept {runs}, which can still be resumed; --interrupted removes such runs, too"));
    }
    if !pruned.kept_owned.is_empty() {
        kept.push(format!("kept {} that a process owns", count(pruned.kept_owned.len(), "run")));
    }
    if let Some(reason) = &pruned.not_compacted {
        kept.push(format!("the database is not made smaller, its space is used for the next runs: {reason}"));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxidag_core::event::Timestamp;
    use oxidag_core::state::RunState;
    use oxidag_core::store::{PrunedRun, RunHead};

    fn pruned() -> Pruned {
        let run = |run_id: &str, log_files, log_bytes| PrunedRun {
            head: RunHead {
                run_id: run_id.to_owned(),
                dag_id: "nightly".to_owned(),
                state: RunState::Failed,
                started_at: Timestamp(0),
                finished_at: Some(Timestamp(1)),
                interrupted: false,
                owner: None,
                error: None,
                unread: None,
            },
            log_files,
            log_bytes,
        };
        Pruned {
            runs: vec![run("a", 1, 12), run("b", 2, 4096)],
            log_files: 3,
            log_bytes: 4108,
            database_bytes: 2_500_000,
            ..Pruned::default()
        }
    }

    #[test]
    fn what_was_removed_is_counted() {
        insta::assert_snapshot!(text(&pruned(), false, None, Palette::PLAIN), @"
        removed 2 runs and 3 log files (4.1 kB)
        the database is 2.5 MB smaller
        ");
        insta::assert_snapshot!(text(&Pruned::default(), false, None, Palette::PLAIN), @"there is no run to remove");
    }

    #[test]
    fn what_would_be_removed_is_listed() {
        let would = Pruned { database_bytes: 0, ..pruned() };
        insta::assert_snapshot!(text(&would, true, None, Palette::PLAIN), @"
        RUN  DAG      STATE   STARTED (UTC)        LOGS  SIZE
        a    nightly  failed  1970-01-01 00:00:00  1     12 B
        b    nightly  failed  1970-01-01 00:00:00  2     4.1 kB

        would remove 2 runs and 3 log files (4.1 kB)
        ");
    }

    #[test]
    fn what_is_kept_is_said_with_the_reason() {
        let kept_some = Pruned {
            kept_interrupted: vec!["a".to_owned()],
            kept_owned: vec!["b".to_owned(), "c".to_owned()],
            not_compacted: Some("the disk is full".to_owned()),
            ..Pruned::default()
        };
        insta::assert_snapshot!(kept(&kept_some).join("\n"), @"
        kept 1 interrupted run, which can still be resumed; --interrupted removes such runs, too
        kept 2 runs that a process owns
        the database is not made smaller, its space is used for the next runs: the disk is full
        ");
    }
}
