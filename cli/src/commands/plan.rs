//! `oxidag plan`.

use anyhow::Context as _;
use oxidag_core::plan::{self, Plan};
use oxidag_core::prepare::{self, Engines};
use oxidag_core::spec::{self, Dag, Diagnostics};
use oxidag_core::store::Durations;

use crate::args::PlanArgs;
use crate::chart::Chart;
use crate::format::{count, seconds};
use crate::style::Palette;
use crate::{output, settings};

pub(super) fn plan(args: &PlanArgs) -> anyhow::Result<()> {
    let plugins = settings::plugins(&args.environment, Some(&args.dag))?;
    let (dag, source) = spec::load(&args.dag)?;
    let checked =
        match prepare::check(&dag, source.path(), &plugins, &mut Engines::default(), &args.params.map()) {
            Ok(checked) if checked.mistakes.is_empty() => checked,
            Ok(checked) => return Err(Diagnostics::new(source, checked.mistakes).into()),
            Err(cycles) => return Err(Diagnostics::new(source, cycles).into()),
        };
    let history = match settings::existing_store()? {
        Some(store) => store.durations(&dag.dag_id)?,
        None => Durations::default(),
    };
    let workers = args.workers.count();
    let plan =
        plan::plan(&checked.graph, checked.infos(&dag, &history), checked.limits(workers), dag.processors)
            .context("a bug in the scheduler")?;
    let printed = if args.json {
        output::print_json(&plan)
    } else {
        output::print(&text(&plan, &dag, &history, workers))
    };
    printed.context("cannot print the plan")
}

fn text(plan: &Plan, dag: &Dag, history: &Durations, workers: u32) -> String {
    let palette = Palette::stdout();
    let title = format!(
        "{}: {} on {}, {} (no schedule takes less than {})",
        dag.dag_id,
        count(dag.tasks.len(), "task"),
        count(workers as usize, "worker"),
        seconds(plan.makespan),
        seconds(plan.lower_bound),
    );
    let chart = Chart::of_plan(title, plan).text(output::drawing_width(), palette);
    let path = plan.critical_path.join(" → ");
    format!("{chart}\n{} {path}\n{}\n", palette.strong("critical path:"), palette.faint(basis(dag, history)))
}

/// What the durations are taken from.
fn basis(dag: &Dag, history: &Durations) -> String {
    let from = |known: &dyn Fn(&spec::Task) -> bool| dag.tasks.iter().filter(|task| known(task)).count();
    let past = from(&|task| history.by_task.contains_key(&task.task_id));
    let said = from(&|task| !history.by_task.contains_key(&task.task_id) && task.expected_duration.is_some());
    let rest = dag.tasks.len() - past - said;
    format!("durations: {past} from past runs, {said} from expected_duration, {rest} guessed")
}
