//! What a run would take on several numbers of workers, as a table.

use oxidag_core::plan::{Comparison, OnWorkers};

use crate::format::{count, seconds};
use crate::style::{Painted, Palette};
use crate::table::Table;

/// What more workers no longer pay for.
const ENOUGH: &str = "enough";

/// The table, and below it what follows from it.
pub(super) fn text(compared: &Comparison, palette: Palette, width: Option<usize>) -> String {
    let mut table = Table::new(["WORKERS", "MAKESPAN", "NO LESS THAN", "FIFO", "GAIN", "BUSY", ""], 6);
    for plan in &compared.plans {
        table.row(row(plan, compared.enough_workers == Some(plan.workers)));
    }
    table.render(palette, width) + &conclusion(compared)
}

fn row(plan: &OnWorkers, is_enough: bool) -> [Painted<String>; 7] {
    let note = if is_enough { ENOUGH } else { "" };
    [
        plan.workers.to_string(),
        seconds(plan.makespan),
        seconds(plan.lower_bound),
        seconds(plan.fifo_makespan),
        percent(plan.gain),
        percent(plan.utilisation),
        note.to_owned(),
    ]
    .map(Painted::plain)
}

fn conclusion(compared: &Comparison) -> String {
    match (compared.enough_workers, compared.plans.last()) {
        (Some(enough), _) => {
            format!("with more than {} the run gets at most 1 % shorter\n", count(enough as usize, "worker"))
        }
        (None, Some(last)) => {
            format!(
                "with more than {} the run may get shorter still\n",
                count(last.workers as usize, "worker")
            )
        }
        (None, None) => String::new(),
    }
}

/// `12.3 %`.
pub(super) fn percent(part: f64) -> String {
    let rounded = (part * 1000.0).round() / 10.0;
    // Nothing lost is not written as `-0.0 %`.
    format!("{:.1} %", if rounded == 0.0 { 0.0 } else { rounded })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(enough_workers: Option<u32>) -> Comparison {
        let plan = |workers, makespan, lower_bound, fifo_makespan, gain, utilisation| OnWorkers {
            workers,
            makespan,
            lower_bound,
            fifo_makespan,
            gain,
            utilisation,
        };
        Comparison {
            critical_path: Vec::new(),
            plans: vec![
                plan(1, 100.0, 100.0, 100.0, -0.0001, 1.0),
                plan(8, 20.0, 19.5, 25.0, 0.2, 0.625),
                plan(16, 20.0, 19.5, 20.0, 0.0, 0.3125),
            ],
            enough_workers,
            tasks: Vec::new(),
            counted_once: Vec::new(),
        }
    }

    #[test]
    fn the_number_of_workers_that_is_enough_is_marked() {
        insta::assert_snapshot!(text(&compared(Some(8)), Palette::PLAIN, None), @"
        WORKERS  MAKESPAN  NO LESS THAN  FIFO   GAIN    BUSY
        1        1m40s     1m40s         1m40s  0.0 %   100.0 %
        8        20.0s     19.5s         25.0s  20.0 %  62.5 %   enough
        16       20.0s     19.5s         20.0s  0.0 %   31.3 %
        with more than 8 workers the run gets at most 1 % shorter
        ");
    }

    #[test]
    fn where_more_workers_may_pay_that_is_said() {
        let text = text(&compared(None), Palette::PLAIN, None);
        assert!(!text.contains(ENOUGH), "{text}");
        assert!(text.ends_with("with more than 16 workers the run may get shorter still\n"), "{text}");
    }
}
