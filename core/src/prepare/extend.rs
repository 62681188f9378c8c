//! What engines add to a running DAG: made ready to run as the DAG itself was.

use std::sync::Arc;

use serde_json::Value;

use super::check::Check;
use super::{Engines, Prepared, PreparedTask};
use crate::params::ConnectionKey;
use crate::spec::{Task, parse_addition};

impl Prepared {
    /// Makes all tasks of an addition ready, in their order. Scripts of remote locations are fetched.
    ///
    /// What the run began with is what there is: engines, pools and connections that the DAG does not name are refused.
    ///
    /// # Errors
    ///
    /// All mistakes, for people.
    pub(crate) fn extend(&self, addition: &Value) -> Result<Vec<PreparedTask>, String> {
        let addition = parse_addition(addition.to_string(), 0).map_err(|mistakes| mistakes.to_string())?;
        let tasks: Vec<&Task> = addition.all_tasks().into_iter().map(|task| &**task).collect();
        #[cfg(test)]
        if self.engines.is_empty() {
            return Ok(tasks.iter().map(|_| PreparedTask::nothing()).collect());
        }
        let unknown: Vec<String> = tasks.iter().flat_map(|task| self.unknown(task)).collect();
        if !unknown.is_empty() {
            return Err(unknown.join("; "));
        }
        let own = addition.tasks.iter().map(|task| Task::clone(task)).collect();
        let dag = self.dag.around(own, addition.rules.clone());
        let mut loaded = Engines::default();
        for engine in &self.engines {
            loaded.0.insert(engine.name().into(), Ok(Arc::clone(engine)));
        }
        let mut check = Check::new(&dag, &self.working_dir, &self.environment, &mut loaded, &self.overrides);
        let places: Vec<_> = tasks.iter().map(|task| check.place(task)).collect();
        check.fetch(&tasks, &places, &mut |_| {});
        let ready: Vec<Option<PreparedTask>> =
            tasks.iter().zip(&places).map(|(task, place)| check.task(task, place)).collect();
        check.rules();
        let found = check.found().finish();
        let problems = found.mistakes.iter().chain(&found.missing);
        let problems = problems.map(|problem| problem.message.clone());
        let problems: Vec<String> = problems.chain(found.elsewhere.iter().cloned()).collect();
        if !problems.is_empty() {
            return Err(self.masker.mask(&problems.join("; ")).into_owned());
        }
        let number =
            |task: &Task| self.engines.iter().zip(0..).find(|(e, _)| e.name() == &*task.script.engine);
        let placed = ready.into_iter().zip(&tasks).filter_map(|(ready, task)| {
            let (_, engine) = number(task)?;
            Some(PreparedTask { engine, ..ready? })
        });
        Ok(placed.collect())
    }

    /// What a task names that this run did not begin with.
    fn unknown(&self, task: &Task) -> Vec<String> {
        let mut unknown = Vec::new();
        let id = &task.task_id;
        if task.dag.is_some() {
            return vec![format!("task `{id}`: an engine cannot add a DAG file; its tasks can be added")];
        }
        let engine = &task.script.engine;
        if self.engines.iter().all(|known| known.name() != &**engine) {
            unknown.push(format!(
                "task `{id}`: no task of the DAG has the engine `{engine}`, so it is not loaded"
            ));
        }
        if let Some(pool) =
            task.pool.as_ref().filter(|pool| self.pools.iter().all(|known| known.name != **pool))
        {
            unknown.push(format!("task `{id}`: no task of the DAG is in the pool `{pool}`"));
        }
        for key in task.params.keys().filter_map(|key| ConnectionKey::parse(key)) {
            if !self.connections.contains_key(&(key.section.to_owned(), key.key.to_owned())) {
                unknown.push(format!("task `{id}`: no task of the DAG has the connection `{}`", key.name));
            }
        }
        unknown
    }
}
