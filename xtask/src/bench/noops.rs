//! Tasks that do nothing: what is left is what oxidag does itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::dags::Shape;
use super::measure::{Sample, measure};
use super::report::{Report, per_task};
use super::{Bench, dags};

/// Very many tasks.
const MANY: u32 = 1_000_000;
/// Tasks of which each should cost about as much as each of very many.
const SOME: u32 = 10_000;

/// A name, and the shape of so many tasks.
type Named = (&'static str, fn(u32) -> Shape);

const SHAPES: [Named; 3] = [
    ("independent", |_| Shape::Independent),
    ("in a chain", |_| Shape::Chain),
    ("in layers", |tasks| Shape::Layers(tasks.isqrt())),
];

impl Bench {
    pub(super) fn one_task(&self, report: &mut Report) -> Result<()> {
        let dag = self.dag("one", |path| dags::noops(path, Shape::Independent, 1))?;
        // So short that many of them are needed for a median that stays.
        let samples = (0..self.rounds * 5).map(|round| self.run(&dag, round)).collect::<Result<Vec<_>>>()?;
        report.add("one noop task, start to exit", "ms", samples.iter().map(|s| s.seconds * 1000.0), 12.0);
        Ok(())
    }

    /// A million tasks in three shapes, and ten thousand of the same.
    pub(super) fn no_ops(&self, report: &mut Report) -> Result<()> {
        for (name, shape) in SHAPES {
            let stem = name.replace(' ', "-");
            let many = self.dag(&format!("million-{stem}"), |path| dags::noops(path, shape(MANY), MANY))?;
            let some = self.dag(&format!("some-{stem}"), |path| dags::noops(path, shape(SOME), SOME))?;
            let (mut runs, mut checks, mut fews) = (Vec::new(), Vec::new(), Vec::new());
            for round in 0..self.rounds {
                checks.push(self.check(&many)?);
                runs.push(self.run(&many, round)?);
                fews.push(self.run(&some, round)?);
            }
            let each = |samples: &[Sample], tasks| -> Vec<f64> {
                samples.iter().map(|sample| per_task(sample.seconds, tasks)).collect()
            };
            let (whole, checked) = (each(&runs, MANY), each(&checks, MANY));
            let ran: Vec<f64> = whole.iter().zip(&checked).map(|(whole, checked)| whole - checked).collect();
            let grown: Vec<f64> = whole.iter().zip(each(&fews, SOME)).map(|(many, few)| many / few).collect();
            report.add(format!("each of 1,000,000 {name}: parse, check"), "µs", checked, 2.0);
            report.add("  run", "µs", ran, 3.0);
            report.add("  memory", "B", runs.iter().map(|run| run.peak_megabytes), 700.0);
            report.add("  all over each of 10,000", "×", grown, 1.2);
        }
        Ok(())
    }

    /// The same tasks with their engine in oxidag's process and in one of its own, in turn.
    pub(super) fn isolated(&self, report: &mut Report) -> Result<()> {
        let (here, apart) = (self.plugins("in-process")?, self.plugins("process")?);
        let dag = |stem| self.dag(stem, |path| dags::noops(path, Shape::Independent, SOME));
        let (near, far) = (dag("near")?, dag("far")?);
        let (mut nears, mut fars) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            nears.push(per_task(self.run_on(&here, &near, round)?.seconds, SOME));
            fars.push(per_task(self.run_on(&apart, &far, round)?.seconds, SOME));
        }
        let added: Vec<f64> = fars.iter().zip(&nears).map(|(far, near)| far - near).collect();
        report.add_baseline("each of 10,000 noop tasks", "µs", nears);
        report.add_baseline("the same, isolation = \"process\"", "µs", fars);
        report.add("what isolation adds to each", "µs", added, 100.0);
        Ok(())
    }

    /// Plugins with the `noop` engine alone.
    pub(super) fn plugins(&self, isolation: &str) -> Result<PathBuf> {
        let engine = "[engines.noop]\npath = \"oxidag_engine_noop\"\nisolation";
        self.write(&format!("{isolation}.toml"), &format!("{engine} = \"{isolation}\"\n"))
    }

    /// Reads a DAG file and checks it, without running it.
    fn check(&self, dag: &Path) -> Result<Sample> {
        let mut oxidag = Command::new(&self.built.oxidag);
        oxidag.arg("validate").arg(dag).arg("--plugins").arg(self.plugins("in-process")?);
        measure(oxidag.current_dir(self.folder.path()))
    }
}
