//! What the scheduler needs to know of a DAG's tasks, and the pools that they name.

use std::collections::HashMap;
use std::sync::Arc;

use super::Pool;
use crate::event::TaskIdx;
use crate::plugins::Plugins;
use crate::scheduler::{ExpectedFrom, MAX_RETRY_DELAY, TaskInfo};
use crate::spec::{Dag, Task, TriggerRule};
use crate::store::Durations;

/// The pools that tasks name and that there are; the environment's win over the DAG's.
pub(super) fn pools(dag: &Dag, plugins: &Plugins) -> Vec<Pool> {
    let templates = dag.templates();
    let all = dag.tasks.iter().chain(templates.iter().map(|task| &***task));
    let mut names: Vec<&Arc<str>> = all.filter_map(|task| task.pool.as_ref()).collect();
    names.sort_unstable();
    names.dedup();
    let pool = |name: &Arc<str>| {
        let shared = plugins.pools.get(&**name);
        let slots = *shared.or_else(|| dag.pools.get(name))?;
        Some(Pool { name: Arc::clone(name), slots, shared: shared.is_some() })
    };
    names.into_iter().filter_map(pool).collect()
}

/// The median of the task's past successful attempts, else what its author says, else the median of its engine, else one
/// second.
fn expected(task_id: &str, task: &Task, history: &Durations) -> (f64, ExpectedFrom) {
    let past = history.by_task.get(task_id).map(|&seconds| (seconds, ExpectedFrom::History));
    past.or(task.expected_duration.map(|said| (said.as_secs_f64(), ExpectedFrom::File)))
        .or_else(|| Some((*history.by_engine.get(&*task.script.engine)?, ExpectedFrom::Engine)))
        .unwrap_or((1.0, ExpectedFrom::Default))
}

pub(super) fn info(
    (task_id, task): (&str, &Task),
    engine: u32,
    blocking: bool,
    pools: &[Pool],
    history: &Durations,
) -> TaskInfo {
    let (expected, expected_from) = expected(task_id, task, history);
    TaskInfo {
        priority: task.priority,
        expected,
        expected_from,
        rule: task.trigger_rule,
        retries: task.retries,
        retry_delay: task.retry_delay,
        backoff: task.retry_backoff,
        max_retry_delay: task.max_retry_delay.unwrap_or(MAX_RETRY_DELAY),
        timeout: task.timeout,
        engine,
        pool: task
            .pool
            .as_ref()
            .and_then(|pool| pools.iter().zip(0..).find(|(p, _)| p.name == *pool))
            .map(|(_, n)| n),
        blocking,
        conditional: task.when.is_some(),
        teardown: task.teardown,
        fails_run: !task.teardown || task.on_failure_fail_dagrun,
        mapped: task.for_each.is_some() || task.dag.is_some(),
        sub: task.dag.is_some() && task.for_each.is_none(),
        max_active: task.max_active,
        follows: None,
        instance_of: None,
    }
}

/// Fills in which tasks follow others instance by instance. Their own rules are their instances'; they themselves wait
/// for success.
pub(super) fn follow(dag: &Dag, infos: &mut [TaskInfo]) {
    for (task, info) in dag.tasks.iter().zip(&mut *infos) {
        if let Some(sub) =
            task.dag.as_ref().filter(|_| task.for_each.is_none()).and_then(|sub| dag.subs.get(&**sub))
        {
            info.max_active = sub.dag.processors;
        }
    }
    if dag.tasks.iter().all(|task| task.follows().is_none()) {
        return;
    }
    let places: HashMap<&str, u32> = dag.tasks.iter().map(|task| &*task.task_id).zip(0..).collect();
    for (task, info) in dag.tasks.iter().zip(infos) {
        let followed = task.follows().and_then(|followed| places.get(&*followed.task_id));
        if let Some(&followed) = followed {
            info.follows = Some(TaskIdx(followed));
            info.rule = TriggerRule::AllSuccess;
        }
    }
}
