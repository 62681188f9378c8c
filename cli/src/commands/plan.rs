//! `oxidag plan`.

use std::sync::Arc;

use anyhow::Context as _;
use oxidag_core::plan::{Plan, Work};
use oxidag_core::prepare::{self, Engines};
use oxidag_core::spec::{self, Dag, Diagnostics, Task};
use oxidag_core::store::Durations;

use crate::args::PlanArgs;
use crate::chart::Chart;
use crate::format::{count, seconds};
use crate::style::Palette;
use crate::{output, settings};

pub(super) fn plan(args: &PlanArgs) -> anyhow::Result<()> {
    let plugins = settings::plugins(&args.environment, Some(&args.dag))?;
    let (dag, source) = spec::load(&args.dag)?;
    let params = args.params.map();
    let checked = match prepare::check(&dag, source.path(), &plugins, &mut Engines::default(), &params) {
        Ok(checked) if checked.mistakes.is_empty() => checked,
        Ok(checked) => return Err(Diagnostics::new(source, checked.mistakes).into()),
        Err(cycles) => return Err(Diagnostics::new(source, cycles).into()),
    };
    let history = match settings::existing_store()? {
        Some(store) => store.durations(&dag.dag_id)?,
        None => Durations::default(),
    };
    let workers = args.workers.count();
    let unfolded = checked.unfolded(&dag, &history, &params);
    let work = Work::new(&unfolded.graph, unfolded.infos, dag.processors);
    let plan = work.plan(&checked.limits(workers)).context("a bug in the scheduler")?;
    let plan = Plan { counted_once: unfolded.unknown, ..plan };
    let printed = if args.json {
        output::print_json(&plan)
    } else {
        output::print(&text(&plan, &dag, &unfolded.tasks, &history, workers))
    };
    printed.context("cannot print the plan")
}

fn text(plan: &Plan, dag: &Dag, tasks: &[(String, Arc<Task>)], history: &Durations, workers: u32) -> String {
    let palette = Palette::stdout();
    let title = format!(
        "{}: {} on {}, {} (no schedule takes less than {})",
        dag.dag_id,
        count(tasks.len(), "task"),
        count(workers as usize, "worker"),
        seconds(plan.makespan),
        seconds(plan.lower_bound),
    );
    let chart = Chart::of_plan(title, plan).text(output::drawing_width(), palette);
    let path = plan.critical_path.join(" → ");
    let mut text = format!(
        "{chart}\n{} {path}\n{}\n",
        palette.strong("critical path:"),
        palette.faint(basis(tasks, history))
    );
    if !plan.counted_once.is_empty() {
        let names = plan.counted_once.join(", ");
        text += &format!("counted as one task each, since only the run tells how many there are: {names}\n");
    }
    if !dag.rules.is_empty() {
        text += "not counted: what rules add\n";
    }
    text
}

/// What the durations are taken from.
fn basis(tasks: &[(String, Arc<Task>)], history: &Durations) -> String {
    let is_past = |name: &String| history.by_task.contains_key(name);
    let past = tasks.iter().filter(|(name, _)| is_past(name)).count();
    let said = tasks.iter().filter(|(name, task)| !is_past(name) && task.expected_duration.is_some()).count();
    let rest = tasks.len() - past - said;
    format!("durations: {past} from past runs, {said} from expected_duration, {rest} guessed")
}
