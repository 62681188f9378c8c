//! One attempt on the test host: how it is started, what a test does to it, and what it has done.

use std::sync::Arc;
use std::time::Duration;

use abi_stable::std_types::RStr;
use serde_json::Value;

use super::engine::{Process, text};
use super::vtable::{Context, handle};
use crate::abi::End;
use crate::host::Level;
use crate::task::{Outcome, Result, Task};

/// Answers questions about the graph.
type Answer = Arc<dyn Fn(&Value) -> Result<Value, String> + Send + Sync>;

/// What the host does that does not come by itself.
#[derive(Default)]
pub(super) struct Planned {
    pub(super) answer: Option<Answer>,
    pub(super) refuse_additions: Option<String>,
    pub(super) refuse_checkpoints: Option<String>,
    /// The number of a checkpoint, from 1.
    pub(super) crash_before: Option<usize>,
    pub(super) crash_after: Option<usize>,
}

/// An attempt that is to be started, by [`start`](Self::start) or [`run`](Self::run).
#[must_use]
pub struct Start {
    process: Arc<Process>,
    task: Task,
    /// Whether its waits are those of `tokio::time`.
    waits_async: bool,
    deadline: Option<Duration>,
    planned: Planned,
}

/// An attempt under way.
#[derive(Debug)]
pub struct Attempt {
    process: Arc<Process>,
    task: Task,
    number: usize,
}

/// What an attempt has done so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    /// The lines of its log.
    pub logs: Vec<(Level, String)>,
    /// What it told of its progress.
    pub progress: Vec<Progress>,
    /// The checkpoints that were stored.
    pub checkpoints: Vec<Value>,
    /// What it added to the graph.
    pub additions: Vec<Value>,
    /// What it asked about the graph.
    pub queries: Vec<Value>,
}

/// How far an attempt has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// From 0 to 1, or `None` where that is not known.
    pub fraction: Option<f64>,
    /// What it says to that.
    pub message: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// What it left, or why it did not succeed.
    pub result: Result<Outcome>,
    /// What it had done.
    pub seen: Seen,
}

impl Start {
    pub(super) fn new(process: Arc<Process>, task: Task, waits_async: bool) -> Self {
        Self { process, task, waits_async, deadline: None, planned: Planned::default() }
    }

    /// Asks the attempt to stop once so much time has passed, as a task's `timeout` does.
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = Some(time);
        self
    }

    /// Answers [`Host::query`](crate::Host::query); otherwise, every question is refused.
    pub fn answer(
        mut self,
        answer: impl Fn(&Value) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        self.planned.answer = Some(Arc::new(answer));
        self
    }

    /// Refuses what the attempt adds to the graph; otherwise, it is recorded as it is.
    pub fn refuse_additions(mut self, why: &str) -> Self {
        self.planned.refuse_additions = Some(why.to_owned());
        self
    }

    /// Stores no checkpoint, as on a disk that is full.
    pub fn refuse_checkpoints(mut self, why: &str) -> Self {
        self.planned.refuse_checkpoints = Some(why.to_owned());
        self
    }

    /// Lets the scheduler die before it stores the attempt's checkpoint of this number, from 1.
    pub fn crash_before_checkpoint(mut self, number: usize) -> Self {
        self.planned.crash_before = Some(number);
        self
    }

    /// Lets the scheduler die once it has stored the attempt's checkpoint of this number, from 1.
    pub fn crash_after_checkpoint(mut self, number: usize) -> Self {
        self.planned.crash_after = Some(number);
        self
    }

    /// Starts it; what blocks, on a thread of its own.
    ///
    /// # Panics
    ///
    /// When there is no thread to be had.
    #[track_caller]
    pub fn start(self) -> Attempt {
        let Self { process, task, deadline, planned, waits_async } = self;
        let number = process.world.add(planned);
        if let Some(time) = deadline {
            process.set_deadline(number, time, waits_async);
        }
        let (called, json) = (Arc::clone(&process), text(&task));
        let call = move || called.call(number, &json);
        if waits_async {
            // It returns at once; and before it has, no time may fly.
            call();
        } else {
            process.world.enter();
            let thread = std::thread::Builder::new().name("oxidag-test-worker".to_owned());
            let world = Arc::clone(&process.world);
            if let Err(error) = thread.spawn(move || world.call(call)) {
                panic!("cannot start a thread for the attempt: {error}");
            }
        }
        Attempt { process, task, number }
    }

    /// Starts it and lets the time fly until it has ended.
    ///
    /// # Panics
    ///
    /// As [`Attempt::end`].
    #[track_caller]
    pub fn run(self) -> Ended {
        self.start().end()
    }
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start").field("task", &self.task).finish_non_exhaustive()
    }
}

impl Process {
    /// Calls the engine's `run` on this thread.
    fn call(&self, attempt: usize, task: &str) {
        let context = Context {
            world: Arc::clone(&self.world),
            attempt,
            #[cfg(feature = "async")]
            runtime: self.driver.as_ref().map(|driver| driver.runtime.clone()),
        };
        (self.module.run())(self.instance, RStr::from_str(task), handle(Arc::new(context)));
    }

    fn set_deadline(&self, attempt: usize, time: Duration, waits_async: bool) {
        #[cfg(feature = "async")]
        if let Some(driver) = self.driver.as_ref().filter(|_| waits_async) {
            let world = Arc::clone(&self.world);
            driver.runtime.spawn(async move {
                tokio::time::sleep(time).await;
                world.stop(attempt);
            });
            return;
        }
        let _ = waits_async;
        self.world.set_deadline(attempt, time);
    }

    fn fly(&self, on: bool) {
        #[cfg(feature = "async")]
        if let Some(driver) = &self.driver {
            driver.fly(on);
        }
        let _ = on;
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").finish_non_exhaustive()
    }
}

impl Attempt {
    /// Asks it to stop, as a user does.
    pub fn cancel(&self) {
        self.process.world.stop(self.number);
    }

    /// Asks it to stop since its time is up, without moving the time. An engine cannot tell it from [`cancel`](Self::cancel).
    pub fn time_out(&self) {
        self.process.world.stop(self.number);
    }

    /// What it has done so far. After [`TestEngine::advance`](super::TestEngine::advance) that is all it does until the time moves
    /// again, for an engine that waits for nothing else.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.process.world.seen(self.number)
    }

    /// Waits, without moving the time, until what it has done is enough.
    ///
    /// # Panics
    ///
    /// When that does not come.
    #[track_caller]
    pub fn wait_for(&self, enough: impl Fn(&Seen) -> bool) -> Seen {
        self.process.world.wait_for(self.number, enough)
    }

    /// Lets the time fly until it has ended.
    ///
    /// # Panics
    ///
    /// When it does not end, or the scheduler has died.
    #[must_use]
    #[track_caller]
    pub fn end(self) -> Ended {
        let ended = self.fly(|seen, end, dead| match end.take() {
            Some(End::Outcome(outcome)) => Some(Some((Ok(outcome), seen.clone()))),
            Some(End::Error(error)) => Some(Some((Err(error), seen.clone()))),
            None => dead.then_some(None),
        });
        match ended {
            Some((result, seen)) => Ended { result, seen },
            None => panic!(
                "the attempt did not end: the scheduler has died; `Attempt::until_crash` waits for that"
            ),
        }
    }

    /// Lets the time fly until the scheduler has died, and returns the task as the next one hands it over: the same attempt
    /// with the last checkpoint that was stored.
    ///
    /// # Panics
    ///
    /// When the attempt ends before, or the scheduler does not die.
    #[must_use]
    #[track_caller]
    pub fn until_crash(self) -> Task {
        let crashed = self.fly(|seen, end, dead| match end {
            _ if dead => Some(Ok(seen.checkpoints.last().cloned())),
            Some(end) => Some(Err(format!("{end:?}"))),
            None => None,
        });
        match crashed {
            Ok(last) => {
                let checkpoint = last.or(self.task.checkpoint);
                Task { checkpoint, resumed: true, ..self.task }
            }
            Err(end) => panic!("the scheduler was to die, but the attempt ended before: {end}"),
        }
    }

    #[track_caller]
    fn fly<T>(&self, done: impl FnMut(&mut Seen, &mut Option<End>, bool) -> Option<T>) -> T {
        self.process.fly(true);
        let answer = self.process.world.fly(self.number, done);
        self.process.fly(false);
        answer
    }
}

impl Seen {
    /// The lines of the log without their levels.
    #[must_use]
    pub fn lines(&self) -> Vec<&str> {
        self.logs.iter().map(|(_, line)| line.as_str()).collect()
    }
}
