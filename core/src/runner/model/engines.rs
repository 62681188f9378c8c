//! What the engines do, and the service behind them: one effect at a time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::bounded;
use oxidag_plugin_api::abi::End;
use oxidag_plugin_api::{Error, ErrorKind, Outcome};
use serde_json::{Map, json};

use super::{Outside, Phase, Process, World, number};
use crate::event::{TaskIdx, Timestamp};
use crate::runner::message::{Appended, Message, Question};

impl World {
    /// One effect of one engine.
    pub(super) fn advance(&mut self, process: &mut Process, which: usize) {
        let attempt = &mut process.attempts[which];
        let fate = &self.fates[number(attempt.job.entry().task_id)];
        let (task, number) = (attempt.job.task, attempt.job.attempt);
        match attempt.phase {
            Phase::New if attempt.stopped && !fate.deaf && !self.service.contains_key(&attempt.key) => {
                process.end(which, End::Error(Error::new(ErrorKind::Cancelled, "before it began")));
            }
            Phase::New => {
                let name = attempt.job.entry().task_id.to_owned();
                // Instances of one mapped task would all add the same.
                if let Some(new) = fate.adds.filter(|_| !name.contains('[')) {
                    add(process, which, new);
                }
                let attempt = &mut process.attempts[which];
                let known =
                    attempt.job.checkpoint.as_ref().map(|job| job["job"].as_str().unwrap_or_default());
                let is_blocking = fate.blocking;
                attempt.phase =
                    if known.is_some() || is_blocking { Phase::Waiting } else { Phase::Submitted };
                if known.is_none() {
                    let key = attempt.key.clone();
                    let duration = fate.duration;
                    self.submit(process, &key, (task, number), is_blocking, duration);
                } else {
                    assert_eq!(known, Some(attempt.key.as_str()), "the checkpoint of another attempt");
                }
                if !is_blocking {
                    let deferred = Message::Deferred { run: 0, task, attempt: number };
                    process.runs.take(deferred);
                    process.turn();
                }
            }
            Phase::Submitted => {
                attempt.phase = Phase::Waiting;
                let (stored, answer) = bounded(1);
                let checkpoint = json!({"job": attempt.key});
                process.runs.take(Message::Checkpoint { run: 0, task, attempt: number, checkpoint, stored });
                assert_eq!(answer.recv().unwrap(), Ok(()));
                process.turn();
            }
            Phase::Waiting => self.look(process, which),
        }
    }

    /// A job of this key; a local process is begun anew, since its engine ended what was left of the old one.
    fn submit(
        &mut self,
        process: &Process,
        key: &str,
        (task, attempt): (TaskIdx, u32),
        is_blocking: bool,
        duration: Duration,
    ) {
        self.check_start(process, task, attempt);
        let now = Timestamp(self.clock.load(Ordering::Relaxed));
        let ends_at = now.after(duration);
        let job = Outside { task, attempt, ends_at, cancelled: false, done: false };
        match self.service.get_mut(key) {
            // Its effect is the process's last act, and the scheduler may have died before it heard of it.
            Some(known) if is_blocking && !known.done => *known = job,
            Some(known) => {
                assert_eq!((known.task, known.attempt), (task, attempt), "one key for two attempts")
            }
            None => drop(self.service.insert(key.to_owned(), job)),
        }
    }

    /// The engine looks at its job.
    fn look(&mut self, process: &mut Process, which: usize) {
        let attempt = &process.attempts[which];
        let fate = &self.fates[number(attempt.job.entry().task_id)];
        let Some(job) = self.service.get_mut(&attempt.key) else { panic!("a job was lost") };
        let has_ended = job.ends_at.0 <= self.clock.load(Ordering::Relaxed);
        if has_ended && !job.cancelled {
            let end = if attempt.job.attempt <= fate.failing {
                End::Error(Error::new(fate.kind, "as it was decided"))
            } else {
                job.done = true;
                let result = Some(json!({"n": attempt.job.task.0}));
                End::Outcome(Outcome { result, metrics: Map::new() })
            };
            process.end(which, end);
        } else if job.cancelled || (attempt.stopped && !fate.deaf) {
            // Also one that was cancelled for a scheduler that died before it heard of it.
            job.cancelled = true;
            process.end(which, End::Error(Error::new(ErrorKind::Cancelled, "asked to stop")));
        }
    }
}

impl Process {
    fn end(&mut self, which: usize, end: End) {
        self.attempts.swap_remove(which).job.call.end(end);
    }
}

/// The engine adds a task behind its own, and goes on once that is stored; another one asks at the same time.
fn add(process: &mut Process, which: usize, new: usize) {
    let job = &process.attempts[which].job;
    let script = json!({"engine": "noop", "inline": ""});
    let addition =
        json!({"tasks": [{"task_id": format!("t{new}"), "script": script, "dependencies": ["{task}"]}]});
    let ready = job.run.prepared.extend(&addition).unwrap();
    let (answer, answered) = bounded(1);
    let asked = Box::new(Appended { addition, ready, answer });
    let (task, attempt) = (job.task, job.attempt);
    process.runs.take(Message::Append { run: 0, task, attempt, asked });
    let (answer, told) = bounded(1);
    process.runs.take(Message::Query { run: 0, task, question: Question::default(), answer });
    process.turn();
    assert_eq!(told.try_recv().unwrap().unwrap().as_array().map(Vec::len), Some(1));
    let said = answered.try_recv().unwrap();
    assert!(said.is_ok() || said == Err("the run is being stopped".to_owned()), "{said:?}");
}
