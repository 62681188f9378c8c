//! Tasks that are processes, beside other programs that start the same ones.

use std::process::Command;

use anyhow::Result;

use super::measure::measure;
use super::report::{Report, median};
use super::{Bench, dags, peers};

/// How many tasks start a process.
const PROCESSES: u32 = 10_000;

impl Bench {
    /// All in turn, so that a machine that slows down slows all of them down; on a disk that has nothing left to write of
    /// what was measured before.
    pub(super) fn processes(&self, report: &mut Report) -> Result<()> {
        let dag = self.dag("processes", |path| dags::processes(path, PROCESSES))?;
        let bare = peers::bare_loop(self.folder.path(), PROCESSES)?;
        let peers = peers::all(self.folder.path(), PROCESSES, &self.peers)?;
        let (mut ours, mut bares) = (Vec::new(), Vec::new());
        let mut theirs: Vec<Vec<f64>> = vec![Vec::new(); peers.len()];
        measure(&mut Command::new("sync"))?;
        let each = |seconds: f64, tasks: u32| seconds * 1000.0 / f64::from(tasks);
        for round in 0..self.rounds {
            ours.push(each(self.run(&dag, round)?.seconds, PROCESSES));
            bares.push(each(measure(&mut bare.command())?.seconds, bare.tasks));
            for (peer, times) in peers.iter().zip(&mut theirs) {
                times.push(each(measure(&mut peer.command())?.seconds, peer.tasks));
            }
        }
        let over =
            |others: &[f64]| ours.iter().zip(others).map(|(ours, other)| ours / other).collect::<Vec<_>>();
        report.add("oxidag over a bare loop", "×", over(&bares), 1.15);
        for (peer, times) in peers.iter().zip(&theirs) {
            // Whether the others are met or not says nothing about oxidag, but for those that the targets name.
            let target = (peer.tasks == PROCESSES && !peer.what.starts_with("xargs")).then_some(1.0);
            report.add_with(format!("oxidag over {}", peer.what), "×", over(times), target);
        }
        let target = median(&bares).map_or(f64::NAN, |bare| bare * 1.15);
        report.add("each of 10,000 shell tasks, /bin/true", "ms", ours, target);
        report.add_baseline(format!("the same by {}", bare.what), "ms", bares);
        for (peer, times) in peers.iter().zip(theirs) {
            report.add_baseline(format!("the same by {}", peer.what), "ms", times);
        }
        Ok(())
    }
}
