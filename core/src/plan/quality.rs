//! How good the schedules are: makespan over optimum, on graphs whose optimum is known, or at least what no schedule is
//! shorter than.

mod families;
mod optimum;

use super::improve::Dice;
use super::tests::{info, workers};
use super::*;
use crate::graph::tests::dag;
use families::{FAMILIES, Family};

/// How many tasks the graphs have, about.
const SIZES: [usize; 5] = [50, 100, 200, 500, 1000];

/// A graph whose shortest schedule takes `least`, or at least that.
struct Instance {
    millis: Vec<i64>,
    /// Of each task, some tasks before it.
    upstream: Vec<Vec<usize>>,
    least: i64,
}

impl Instance {
    fn graph(&self) -> Arc<Graph> {
        let mut graph = Graph::new(&dag(&[])).unwrap();
        for (task, upstream) in self.upstream.iter().enumerate() {
            let upstream: Vec<TaskIdx> =
                upstream.iter().map(|&u| TaskIdx(u32::try_from(u).unwrap())).collect();
            graph.append(&format!("t{task}"), &upstream);
        }
        Arc::new(graph)
    }

    /// The makespan by b-levels alone and that of the plan, each over the optimum.
    fn ratios(&self, count: u32) -> [f64; 2] {
        let graph = self.graph();
        let infos = self.millis.iter().map(|&millis| info(millis as f64 / 1e3)).collect();
        let work = Work::new(&graph, infos, None);
        let limits = workers(count);
        let by_level = seconds(work.simulate(&limits, Order::ByLevel).unwrap().makespan);
        let plan = work.plan(&limits).unwrap();
        let least = self.least as f64 / 1e3;
        assert!(plan.lower_bound <= plan.makespan && plan.makespan <= by_level, "{plan:?}");
        assert!(least <= plan.makespan, "{least} is no bound of {plan:?}");
        [by_level / least, plan.makespan / least]
    }
}

/// One graph with so many tasks: the makespan by b-levels alone and that of the plan, each over the optimum.
struct Measured {
    family: &'static str,
    size: usize,
    by_level: f64,
    planned: f64,
}

fn measured(family: &'static Family) -> impl Iterator<Item = Measured> {
    let cases = SIZES.iter().flat_map(|&size| family.workers.iter().map(move |&count| (size, count)));
    cases.map(|(size, count)| {
        let mut dice = Dice(u64::from(count) * 10_000 + size as u64);
        let [by_level, planned] = (family.make)(&mut dice, size, count).ratios(count);
        let bound = 2.0 - 1.0 / f64::from(count);
        assert!(planned <= bound, "{}: {size} tasks on {count} workers: {planned}", family.name);
        Measured { family: family.name, size, by_level, planned }
    })
}

/// How many graphs; by b-levels alone, mean and worst; the plan's mean and worst; how many met the optimum.
fn line(name: &str, measured: &[&Measured]) -> String {
    let worst = |of: fn(&Measured) -> f64| measured.iter().map(|&one| of(one)).fold(0.0, f64::max);
    let met = measured.iter().filter(|one| one.planned < 1.0 + 1e-9).count();
    format!(
        "{name:22} {:4}  {:.4} {:.3}  {:.4} {:.3}  {met:4}\n",
        measured.len(),
        mean(measured, |one| one.by_level),
        worst(|one| one.by_level),
        mean(measured, |one| one.planned),
        worst(|one| one.planned),
    )
}

fn mean(measured: &[&Measured], of: fn(&Measured) -> f64) -> f64 {
    measured.iter().map(|&one| of(one)).sum::<f64>() / measured.len() as f64
}

#[test]
fn plans_are_nearly_as_short_as_can_be() {
    let all: Vec<Measured> = FAMILIES.iter().flat_map(measured).collect();
    let those = |which: &dyn Fn(&Measured) -> bool| all.iter().filter(|one| which(one)).collect::<Vec<_>>();
    let mut table = String::new();
    for family in FAMILIES {
        table += &line(family.name, &those(&|one| one.family == family.name));
    }
    for size in SIZES {
        table += &line(&format!("{size} tasks"), &those(&|one| one.size == size));
    }
    let hard = those(&|one| !one.family.starts_with("unit"));
    table += &line("all but unit", &hard);
    table += &line("all", &those(&|_| true));
    // Without those whose optimum is easy to meet.
    assert!(mean(&hard, |one| one.planned) <= 1.003, "{table}");
    insta::assert_snapshot!(table, @"
    filled, independent      20  1.0031 1.031  1.0005 1.005     9
    filled, layered          20  1.0057 1.046  1.0012 1.013     4
    filled, out-tree         20  1.0039 1.032  1.0012 1.012     7
    filled, in-tree          20  1.0174 1.099  1.0012 1.011     2
    filled, chains           20  1.0021 1.012  1.0005 1.003     6
    filled, fork and join    20  1.0074 1.031  1.0020 1.005     0
    filled, pipelines        20  1.0072 1.047  1.0021 1.026     4
    unit, in-tree            20  1.0000 1.000  1.0000 1.000    20
    unit, out-tree           20  1.0000 1.000  1.0000 1.000    20
    unit, two workers         5  1.0000 1.000  1.0000 1.000     5
    random, any pairs        20  1.0018 1.014  1.0002 1.001     6
    random, layered          20  1.0022 1.029  1.0002 1.001     7
    random, in-tree          20  1.0065 1.031  1.0026 1.020    12
    random, out-tree         20  1.0023 1.013  1.0017 1.010     8
    random, etl              20  1.0071 1.032  1.0022 1.019     6
    50 tasks                 57  1.0119 1.099  1.0024 1.026    26
    100 tasks                57  1.0057 1.048  1.0009 1.008    23
    200 tasks                57  1.0033 1.025  1.0011 1.016    18
    500 tasks                57  1.0018 1.016  1.0006 1.012    22
    1000 tasks               57  1.0008 1.008  1.0004 1.006    27
    all but unit            240  1.0056 1.099  1.0013 1.026    71
    all                     285  1.0047 1.099  1.0011 1.026   116
    ");
}

#[test]
fn the_same_dag_gets_the_same_plan() {
    let family = FAMILIES.iter().find(|family| family.name == "filled, pipelines").unwrap();
    let plan = || {
        let instance = (family.make)(&mut Dice(3), 60, 4);
        let infos = instance.millis.iter().map(|&millis| info(millis as f64 / 1e3)).collect();
        Work::new(&instance.graph(), infos, None).plan(&workers(4)).unwrap()
    };
    assert_eq!(plan(), plan());
}
