//! `oxidag plan`.

mod table;

use anyhow::Context as _;
use oxidag_core::plan::{Comparison, Expectation, Plan, Work};
use oxidag_core::prepare::{self, Engines};
use oxidag_core::scheduler::ExpectedFrom;
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
    let unfolded = checked.unfolded(&dag, &history, &params);
    let work = Work::new(&unfolded.graph, unfolded.infos, dag.processors);
    let head = format!("{}: {}", dag.dag_id, count(unfolded.tasks.len(), "task"));
    let workers = args.workers();
    let printed = if let [workers] = workers[..] {
        let plan = work.plan(&checked.limits(workers)).context("a bug in the scheduler")?;
        let plan = Plan { counted_once: unfolded.unknown, ..plan };
        print(args, &plan, || one(&head, &dag, &plan))
    } else {
        let compared = work.compare(&checked.limits(1), &workers).context("a bug in the scheduler")?;
        let compared = Comparison { counted_once: unfolded.unknown, ..compared };
        print(args, &compared, || several(&head, &dag, &compared))
    };
    printed.context("cannot print the plan")
}

fn print(
    args: &PlanArgs,
    answer: &impl serde::Serialize,
    text: impl FnOnce() -> String,
) -> std::io::Result<()> {
    if args.json { output::print_json(answer) } else { output::print(&text()) }
}

/// A plan for one number of workers.
fn one(head: &str, dag: &Dag, plan: &Plan) -> String {
    let palette = Palette::stdout();
    let title = format!(
        "{head} on {}, {} (no schedule takes less than {})",
        count(plan.workers as usize, "worker"),
        seconds(plan.makespan),
        seconds(plan.lower_bound),
    );
    let chart = Chart::of_plan(title, plan).text(output::drawing_width(), palette);
    let expected: Vec<Expectation> = plan.tasks.iter().map(|task| task.expected).collect();
    let about = about(palette, &plan.critical_path, &expected, &plan.counted_once, dag);
    format!("{chart}\n{}\n{about}", compared_with_fifo(plan))
}

/// Plans for several numbers of workers.
fn several(head: &str, dag: &Dag, compared: &Comparison) -> String {
    let palette = Palette::stdout();
    let table = table::text(compared, palette, output::terminal_width());
    let expected: Vec<Expectation> = compared.tasks.iter().map(|task| task.expected).collect();
    let about = about(palette, &compared.critical_path, &expected, &compared.counted_once, dag);
    format!("{}\n{table}\n{about}", palette.strong(head))
}

/// What the order is good for.
fn compared_with_fifo(plan: &Plan) -> String {
    format!(
        "first come, first served would take {}: the order gains {}; workers are busy {} of the time",
        seconds(plan.fifo_makespan),
        table::percent(plan.gain),
        table::percent(plan.utilisation),
    )
}

/// What holds on any number of workers.
fn about(
    palette: Palette,
    path: &[String],
    expected: &[Expectation],
    counted_once: &[String],
    dag: &Dag,
) -> String {
    let (path, strong) = (path.join(" → "), palette.strong("critical path:"));
    let mut text = format!("{strong} {path}\n{}\n", palette.faint(basis(expected)));
    if !counted_once.is_empty() {
        let names = counted_once.join(", ");
        text += &format!("counted as one task each, since only the run tells how many there are: {names}\n");
    }
    if !dag.rules.is_empty() {
        text += "not counted: what rules add\n";
    }
    text
}

/// Where the durations are from, by the words of the chart.
fn basis(expected: &[Expectation]) -> String {
    let kinds = [
        (ExpectedFrom::History, "from past runs (past)"),
        (ExpectedFrom::File, "from expected_duration (file)"),
        (ExpectedFrom::Engine, "from other tasks of the engine (engine)"),
        (ExpectedFrom::Default, "guessed (guess)"),
    ];
    let counts = kinds.map(|(from, words)| {
        let count = expected.iter().filter(|one| one.expected_from == from).count();
        (count > 0).then(|| format!("{count} {words}"))
    });
    let known: Vec<String> = counts.into_iter().flatten().collect();
    format!("durations: {}", known.join(", "))
}
