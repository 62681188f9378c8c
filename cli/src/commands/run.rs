//! `oxidag run`.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use oxidag_core::prepare::{self, Prepared};
use oxidag_core::runner::{self, Mailbox, RunRequest};
use oxidag_core::spec;
use oxidag_core::store::Store;

use super::dry_run;
use crate::args::RunArgs;
use crate::exit::Exit;
use crate::report::{self, Forecast, Watched};
use crate::{settings, signals};

pub(super) fn run(args: RunArgs) -> anyhow::Result<Exit> {
    let plugins = settings::plugins(&args.environment, Some(&args.dag))?;
    let (dag, source) = spec::load(&args.dag)?;
    let prepared = Arc::new(prepare::prepare(dag, source, &plugins, args.params.map())?);
    if args.dry_run {
        return dry_run::dry_run(&prepared, args.workers.count(), args.json);
    }
    let home = settings::home();
    let store = Store::open(&home)?;
    let run = Watched {
        run_id: args.run_id.unwrap_or_else(|| new_run_id(SystemTime::now())),
        dag_id: prepared.dag.dag_id.clone(),
        graph: Arc::clone(&prepared.graph),
        home,
        workers: args.workers.count(),
    };
    let mailbox = Mailbox::new();
    let reporting = report::start(run.clone(), args.format, || forecast(&store, &prepared, run.workers));
    signals::listen(mailbox.controller(), reporting.in_flight, reporting.notify)
        .context("cannot listen to signals")?;
    let end = runner::run(
        prepared,
        RunRequest {
            store: &store,
            home: run.home,
            run_id: run.run_id,
            environment: args.environment.env.as_deref(),
            workers: run.workers,
            mailbox,
            reporter: reporting.reporter,
        },
    )?;
    Ok(end.state.into())
}

/// What past runs took. Where that cannot be read, there is no forecast; the run itself says why.
fn forecast(store: &Store, prepared: &Prepared, workers: u32) -> Option<Forecast> {
    let history = store.durations(&prepared.dag.dag_id).ok()?;
    Forecast::new(prepared, &history, workers)
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
