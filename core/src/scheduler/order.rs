//! The order, checked once a run is over: no task began before those that it had to wait for had ended.

use super::Scheduler;
use crate::event::TaskIdx;

impl Scheduler {
    /// A task that began too early, and the one that it should have waited for. There is none, or the scheduler has a bug.
    #[must_use]
    pub fn out_of_order(&self) -> Option<(TaskIdx, TaskIdx)> {
        self.graph.tasks().filter(|&task| self.waits_for_all(task)).find_map(|task| {
            let began = self.tasks[task.get()].began;
            let too_late = |upstream: &TaskIdx| {
                let progress = &self.tasks[upstream.get()];
                let follows = self.infos[task.get()].follows == Some(*upstream);
                !progress.excluded && !follows && (progress.ended > began || !progress.state.is_terminal())
            };
            self.graph.upstream(task).find(too_late).map(|upstream| (task, upstream))
        })
    }

    /// Whether it has begun here, and its rule has it wait for all of its dependencies.
    fn waits_for_all(&self, task: TaskIdx) -> bool {
        self.tasks[task.get()].began > 0 && self.infos[task.get()].rule.waits_for_all()
    }
}
