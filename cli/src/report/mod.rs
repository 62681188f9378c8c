//! What `oxidag run` prints: one reporter for each `--format`, told by the run's events alone.
//!
//! Nothing here changes a run. A reporter that cannot write is dropped, and the run goes on.

mod counting;
mod eta;
mod human;
mod json;
mod live;
mod noticing;
mod quiet;
mod record;
mod screen;
mod summary;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use oxidag_core::event::TaskIdx;
use oxidag_core::growth::Growth;
use oxidag_core::logs::MissedLogs;
use oxidag_core::runner::Reporter;
use oxidag_core::state::TaskState;

use counting::Counting;
pub(crate) use counting::InFlight;
pub(crate) use eta::Forecast;
pub(crate) use noticing::Noticing;

use crate::args::Format;
use crate::names::Names;
use crate::output::{self, WholeLines};
use crate::signals::Notify;
use crate::style::Palette;

/// The run that is reported.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) run_id: String,
    pub(crate) dag_id: String,
    pub(crate) names: Names,
    /// `OXIDAG_HOME`, where the logs are.
    pub(crate) home: PathBuf,
    pub(crate) workers: u32,
    /// Each task's state at the beginning, which is another than `none` where a run goes on.
    pub(crate) begun: Vec<TaskState>,
    /// Whether other runs are told of beside it.
    pub(crate) among_others: bool,
}

impl Watched {
    fn name(&self, task: TaskIdx) -> &str {
        self.names.get(task)
    }

    /// Takes note of tasks that were added.
    fn grow(&mut self, growth: &Growth) {
        self.names.grow(growth);
    }

    /// The task's name, with the DAG's where others run beside it.
    fn full_name(&self, task: TaskIdx) -> String {
        let dag = if self.among_others { format!("{}/", self.dag_id) } else { String::new() };
        dag + self.name(task)
    }
}

/// A reporter, and how it is told something that is no event.
pub(crate) struct Reporting {
    pub(crate) reporter: Box<dyn Reporter>,
    pub(crate) notify: Notify,
}

/// The reporter for a format. `forecast` is asked for where somebody sees it.
pub(crate) fn start(
    run: Watched,
    format: Format,
    in_flight: &InFlight,
    forecast: impl FnOnce() -> Option<Forecast>,
) -> Reporting {
    let to_stderr: Notify = Box::new(|text| output::remark(text));
    let (reporter, notify): (Box<dyn Reporter>, Notify) = match format {
        // A screen has room for one run.
        Format::Human if on_terminal() && !run.among_others => {
            let screen = live::Live::start(run, forecast());
            let notify = screen.notify();
            (Box::new(screen), notify)
        }
        Format::Human => {
            (Box::new(human::Human::new(run, WholeLines::stdout(), Palette::stdout())), to_stderr)
        }
        Format::Json => (Box::new(json::Json::new(run, WholeLines::stdout())), to_stderr),
        Format::Quiet => (Box::new(quiet::Quiet::new(run, io::stderr())), to_stderr),
    };
    let reporter = Box::new(Counting::new(reporter, in_flight.clone()));
    Reporting { reporter, notify }
}

/// Tells, after a run's end, which of its logs were not uploaded.
pub(crate) fn missed_logs(format: Format, missed: &MissedLogs) {
    match format {
        // Nobody reads any more where it cannot be written.
        Format::Json => _ = json::missed_logs(WholeLines::stdout(), missed),
        Format::Human | Format::Quiet => {
            output::remark(format_args!("{} {missed}", Palette::stderr().warning("warning:")));
        }
    }
}

/// Whether there are terminals that can redraw.
fn on_terminal() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdout().is_terminal() && io::stderr().is_terminal() && !is_dumb
}
