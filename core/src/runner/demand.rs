//! What several DAGs ask of the same engines and pools: the limits that they share, and each task's place in them.

use std::sync::Arc;

use crate::engine::Engine;
use crate::prepare::Prepared;
use crate::scheduler::{Limits, TaskInfo};

/// The limits that all runs of this process share.
pub(super) struct Demand {
    pub(super) limits: Limits,
    /// For each DAG, what its own engines and pools are in the limits.
    places: Vec<Numbers>,
}

/// Places in the limits by a DAG's own numbers.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    engines: Vec<u32>,
    pools: Vec<u32>,
}

impl Demand {
    pub(super) fn new(dags: &[&Prepared], workers: u32) -> Self {
        let mut engines: Vec<&Arc<Engine>> = Vec::new();
        // The environment's pools by name; those of a DAG are its own.
        let mut shared: Vec<(&str, u32)> = Vec::new();
        let mut slots = Vec::new();
        let mut places = Vec::new();
        for dag in dags {
            let engines = dag.engines.iter().map(|engine| {
                number(engines.iter().position(|known| known.name() == engine.name()).unwrap_or_else(|| {
                    engines.push(engine);
                    engines.len() - 1
                }))
            });
            let engines = engines.collect();
            let pools = dag.pools.iter().map(|pool| {
                let known = shared.iter().find(|(name, _)| pool.shared && **name == *pool.name);
                known.map(|(_, place)| *place).unwrap_or_else(|| {
                    slots.push(pool.slots);
                    let place = number(slots.len() - 1);
                    if pool.shared {
                        shared.push((&pool.name, place));
                    }
                    place
                })
            });
            places.push(Numbers { engines, pools: pools.collect() });
        }
        let engines = engines.iter().map(|engine| engine.max_concurrent()).collect();
        Self { limits: Limits { workers, engines, pools: slots }, places }
    }

    /// What a DAG's own numbers are in the limits.
    pub(super) fn numbers(&self, dag: usize) -> Numbers {
        self.places[dag].clone()
    }
}

impl Numbers {
    /// What the scheduler needs to know of a task, in terms of the limits.
    pub(super) fn placed(&self, info: TaskInfo) -> TaskInfo {
        TaskInfo {
            engine: self.engines[info.engine as usize],
            pool: info.pool.map(|pool| self.pools[pool as usize]),
            ..info
        }
    }

    /// Those of a DAG that has the limits for itself, with one engine.
    #[cfg(test)]
    pub(super) fn alone(pools: usize) -> Self {
        Self { engines: vec![0], pools: (0..pools).map(number).collect() }
    }
}

fn number(place: usize) -> u32 {
    // A process has no more engines or pools than that.
    u32::try_from(place).unwrap_or(u32::MAX)
}
