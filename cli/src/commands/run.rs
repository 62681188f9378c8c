//! `oxidag run`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{bail, ensure};
use oxidag_core::prepare::Engines;
use oxidag_core::spec;
use oxidag_core::store::{RunDetails, RunFilter, Store};

use super::launch::{self, Manner, Planned, launch};
use super::{dry_run, part, resume, runs};
use crate::args::RunArgs;
use crate::exit::Exit;
use crate::settings;

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let repeated = args.part.failed.as_deref().map(runs::find).transpose()?.map(|(_, run)| run);
    let dags = dags(args, repeated.as_ref())?;
    let first = dags.first().map(PathBuf::as_path);
    let plugins = settings::plugins(&args.environment, first)?;
    let mut engines = Engines::default();
    let mut overrides = args.params.map();
    if let Some(run) = &repeated {
        for (name, value) in run.params.as_object().into_iter().flatten() {
            overrides.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    let mut prepared = Vec::new();
    for path in &dags {
        let (dag, source) = spec::load(path)?;
        prepared.push(Arc::new(launch::prepare(dag, source, &plugins, &mut engines, overrides.clone())?));
    }
    let mut planned = Vec::new();
    for prepared in prepared {
        let start = part::start(&prepared, &args.part, repeated.as_ref())?;
        let run_id = args.run_id.clone().unwrap_or_else(|| new_run_id(SystemTime::now()));
        planned.push(Planned { prepared, run_id, start });
    }
    if args.dry_run {
        return dry_run::dry_run(&planned, args.workers.count(), args.json);
    }
    let store = Store::open(&settings::home())?;
    if args.resume
        && let Some(dag) = planned.first()
        && let Some(run_id) = interrupted(&store, &dag.prepared.dag.dag_id)?
    {
        drop(store);
        return resume::latest(&run_id, args);
    }
    let uploader = plugins.uploader()?;
    let plugins = settings::chosen_plugins(&args.environment, first);
    let manner = Manner {
        plugins: plugins.as_deref(),
        environment: args.environment.env.as_deref(),
        workers: args.workers.count(),
        format: args.format,
        notify: &args.notify,
        uploader: uploader.as_ref(),
    };
    launch(&store, planned, &manner)
}

/// The DAG files that are meant.
fn dags(args: &RunArgs, repeated: Option<&RunDetails>) -> anyhow::Result<Vec<PathBuf>> {
    if args.dags.len() > 1 {
        ensure!(args.part.is_whole(), "--only, --from and --failed are for one DAG; name one");
        ensure!(args.run_id.is_none(), "--run-id is for one DAG; name one");
        ensure!(!args.resume, "--resume is for one DAG; name one");
    }
    match repeated {
        Some(run) if args.dags.is_empty() => {
            let path = Path::new(&run.dag_path);
            if !path.exists() {
                bail!(
                    "the DAG file of the run {}, {}, is not there any more; name one",
                    run.head.run_id,
                    path.display()
                );
            }
            Ok(vec![path.to_owned()])
        }
        _ => Ok(args.dags.clone()),
    }
}

/// The DAG's newest run, if its process died before it had ended.
fn interrupted(store: &Store, dag_id: &str) -> anyhow::Result<Option<String>> {
    let newest = RunFilter { dag_id: Some(dag_id.to_owned()), limit: 1, ..RunFilter::default() };
    let newest = store.list_runs(&newest)?.into_iter().next();
    if let Some(head) = &newest
        && let Some(pid) = head.owner
    {
        bail!("the run {} of {dag_id} is still going on, in process {pid}", head.run_id);
    }
    Ok(newest.filter(|head| head.interrupted).map(|head| head.run_id))
}

/// The time and four random characters: sorts as time does, and can be read aloud.
fn new_run_id(now: SystemTime) -> String {
    // Without those that are easily taken for another.
    const END: &[u8] = b"23456789abcdefghjkmnpqrstuvwxyz";
    let mut id = humantime::format_rfc3339_millis(now).to_string();
    id.retain(|c| c != '-' && c != ':');
    id.push('-');
    id.extend((0..4).map(|_| char::from(END[fastrand::usize(..END.len())])));
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn run_ids_sort_as_time_does_and_differ() {
        let id = |ms| new_run_id(SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
        let (first, second) = (id(1_795_373_045_123), id(1_795_373_045_124));
        assert!(first.starts_with("20261122T184405.123Z-") && first.len() == 25, "{first}");
        assert!(first < second);
        let ids: std::collections::HashSet<String> = (0..20).map(|_| id(0)).collect();
        assert!(ids.len() > 15, "{ids:?}");
    }
}
