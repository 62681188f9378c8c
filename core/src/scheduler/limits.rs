//! How many tasks may be in flight, and how many are.

/// The limits of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The machine's workers; only blocking attempts need one.
    pub workers: u32,
    /// The DAG's own limit on tasks in flight, deferred ones included.
    pub processors: Option<u32>,
    /// Each engine's limit on its tasks in flight; the index is [`super::TaskInfo::engine`].
    pub engines: Vec<Option<u32>>,
}

/// The limits, and what is taken of them.
#[derive(Debug)]
pub(super) struct Usage {
    limits: Limits,
    workers: u32,
    in_flight: u32,
    engines: Vec<u32>,
}

impl Usage {
    pub(super) fn new(limits: Limits) -> Self {
        Self { engines: vec![0; limits.engines.len()], workers: 0, in_flight: 0, limits }
    }

    /// Whether one more attempt may start.
    pub(super) fn has_place(&self, engine: u32, blocking: bool) -> bool {
        let engine = engine as usize;
        (!blocking || self.workers < self.limits.workers)
            && self.limits.processors.is_none_or(|limit| self.in_flight < limit)
            && self.limits.engines[engine].is_none_or(|limit| self.engines[engine] < limit)
    }

    pub(super) fn take(&mut self, engine: u32, blocking: bool) {
        self.workers += u32::from(blocking);
        self.in_flight += 1;
        self.engines[engine as usize] += 1;
    }

    pub(super) fn release(&mut self, engine: u32, holds_worker: bool) {
        self.workers -= u32::from(holds_worker);
        self.in_flight -= 1;
        self.engines[engine as usize] -= 1;
    }

    pub(super) fn release_worker(&mut self) {
        self.workers -= 1;
    }
}
