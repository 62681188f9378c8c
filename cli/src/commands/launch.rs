//! What `run` and `resume` have in common: prepared DAGs are run to their ends, told of, and their states made one
//! exit status.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use oxidag_core::logs::Uploader;
use oxidag_core::plugins::Plugins;
use oxidag_core::prepare::{self, Engines, Prepared};
use oxidag_core::runner::{self, Mailbox, RunEnd, RunRequest, Session, Start};
use oxidag_core::spec::{Dag, Diagnostics, Notify, SourceFile};
use oxidag_core::state::{RunState, TaskState};
use oxidag_core::store::Store;
use serde_json::{Map, Value};

use crate::args::{Format, NotifyArgs};
use crate::exit::Exit;
use crate::fetching::Fetching;
use crate::names::Names;
use crate::notice::{Notices, PATIENCE};
use crate::report::{self, Forecast, InFlight, Watched};
use crate::signals::{self, Awaited};
use crate::style::Palette;
use crate::uploads::Uploads;
use crate::{output, settings};

/// A run that is about to begin or to go on.
pub(super) struct Planned {
    pub(super) prepared: Arc<Prepared>,
    pub(super) run_id: String,
    pub(super) start: Start,
}

/// How runs are run and told of.
pub(super) struct Manner<'a> {
    /// The plugins.toml.
    pub(super) plugins: Option<&'a Path>,
    pub(super) environment: Option<&'a str>,
    pub(super) workers: u32,
    pub(super) format: Format,
    pub(super) notify: &'a NotifyArgs,
    /// What uploads logs, where they are uploaded.
    pub(super) uploader: Option<&'a Uploader>,
}

/// Makes a DAG ready to run, and says what there is to say of that.
pub(super) fn prepare(
    dag: Dag,
    source: SourceFile,
    plugins: &Plugins,
    engines: &mut Engines,
    overrides: Map<String, Value>,
) -> Result<Prepared, Diagnostics> {
    let mut fetching = Fetching::new();
    let prepared =
        prepare::prepare(dag, source, plugins, engines, overrides, &mut |progress| fetching.tell(progress));
    drop(fetching);
    if let Some(remark) = prepared.as_ref().ok().and_then(|prepared| prepared.remark.as_ref()) {
        output::remark(format_args!("{} {remark}", Palette::stderr().warning("warning:")));
    }
    prepared
}

pub(super) fn launch(store: &Store, runs: Vec<Planned>, manner: &Manner<'_>) -> anyhow::Result<Exit> {
    let mailbox = Mailbox::new();
    let in_flight = InFlight::default();
    let among_others = runs.len() > 1;
    let (mut requests, mut notify, mut notices) = (Vec::new(), None, Vec::new());
    let mut uploads = Uploads::new(manner.uploader);
    for Planned { prepared, run_id, start } in runs {
        let names = Names::new(Arc::clone(match &start {
            Start::Resume { from, .. } => from.graph(),
            Start::New { .. } => &prepared.graph,
        }));
        let watched = Watched {
            run_id: run_id.clone(),
            dag_id: prepared.dag.dag_id.clone(),
            names: names.clone(),
            home: settings::home(),
            workers: manner.workers,
            begun: begun(&prepared, &start),
            among_others,
        };
        let forecast = || forecast(store, &prepared, manner.workers);
        let reporting = report::start(watched, manner.format, &in_flight, forecast);
        notify.get_or_insert(reporting.notify);
        let told: Vec<Notify> = prepared.dag.notify.iter().chain(&manner.notify.notices).cloned().collect();
        let told = Arc::new(Notices::new(&told, prepared.working_dir().to_owned()));
        notices.push((Arc::clone(&told), Arc::clone(&prepared)));
        let reporter = Box::new(report::Noticing::new(reporting.reporter, told, run_id.clone()));
        let goes_on = matches!(start, Start::Resume { .. });
        let reporter = uploads.watch(reporter, (&prepared.dag.dag_id, &run_id), names, goes_on);
        requests.push(RunRequest { prepared, run_id, reporter, start });
    }
    let notify = notify.context("there is nothing to run")?;
    let told = notices.iter().map(|(notices, _)| Arc::clone(notices)).collect();
    let awaited = Awaited { notices: told, uploads: uploads.of_runs() };
    signals::listen(mailbox.controller(), in_flight, notify, awaited).context("cannot listen to signals")?;
    let session = Session {
        store,
        home: settings::home(),
        environment: manner.environment,
        plugins: manner.plugins,
        workers: manner.workers,
        mailbox,
    };
    let ended = runner::run(session, requests);
    let remarks = ended.iter().flatten().filter_map(|end| end.remark.as_ref());
    remarks.for_each(output::remark);
    for (notices, prepared) in notices {
        // Also where the runs could not be brought to their ends.
        notices.run_is_over();
        // What a command says may hold a secret.
        notices.finish(PATIENCE).iter().for_each(|said| output::remark(prepared.masker.mask(said)));
    }
    uploads.finish(manner.format);
    Ok(exit(&ended?))
}

/// The worst of the ends: interrupted, then failed, then success.
fn exit(ends: &[RunEnd]) -> Exit {
    let any = |state: RunState| ends.iter().any(|end| end.state == state);
    [RunState::Cancelled, RunState::Failed]
        .into_iter()
        .find(|&state| any(state))
        .unwrap_or(RunState::Success)
        .into()
}

/// Each task's state as the run begins or goes on.
fn begun(prepared: &Prepared, start: &Start) -> Vec<TaskState> {
    match start {
        Start::New { .. } => vec![TaskState::None; prepared.graph.len()],
        Start::Resume { from, .. } => from.states().collect(),
    }
}

/// What past runs took. Where that cannot be read, there is no forecast; the run itself says why.
fn forecast(store: &Store, prepared: &Prepared, workers: u32) -> Option<Forecast> {
    let history = store.durations(&prepared.dag.dag_id).ok()?;
    Forecast::new(prepared, &history, workers)
}
