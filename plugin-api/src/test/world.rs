//! What the attempts of one engine share with their test: the time, and what each of them has done. One lock for all of it; no
//! function of an engine is called under it.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::attempt::{Planned, Seen};
use crate::abi::{Callback, End};
use crate::host::STOPPED;
use crate::task::{Error, Result};

thread_local! {
    /// Whether this is a thread that the test host calls an engine on.
    static CALLS: Cell<bool> = const { Cell::new(false) };
}

pub(super) struct World {
    state: Mutex<State>,
    changed: Condvar,
    /// How long the test really waits for the engine before it fails.
    patience: Duration,
}

#[derive(Default)]
struct State {
    now: Duration,
    /// Threads that have been called and neither returned nor wait for the time.
    busy: usize,
    /// The scheduler has died.
    dead: bool,
    sleepers: Vec<Sleeper>,
    next_sleeper: u64,
    /// When an attempt's time is up.
    deadlines: Vec<(Duration, usize)>,
    attempts: Vec<Record>,
}

/// A thread in [`Host::wait`](crate::Host::wait). Who wakes it takes it out, and counts it as busy from then on.
struct Sleeper {
    id: u64,
    until: Duration,
    attempt: usize,
    counts: bool,
}

struct Record {
    planned: Planned,
    seen: Seen,
    stopped: bool,
    callbacks: Vec<Callback>,
    end: Option<End>,
}

impl World {
    pub(super) fn new(patience: Duration) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: Condvar::new(), patience })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something that somebody may wait for.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let answer = change(&mut self.lock());
        self.changed.notify_all();
        answer
    }

    /// Waits until `done` has an answer.
    ///
    /// # Panics
    ///
    /// With what is missing, when patience runs out.
    #[track_caller]
    fn until<T>(
        &self,
        mut done: impl FnMut(&mut State) -> Option<T>,
        missing: impl Fn(&State) -> String,
    ) -> T {
        let begun = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(answer) = done(&mut state) {
                drop(state);
                self.changed.notify_all();
                return answer;
            }
            let Some(left) = self.patience.checked_sub(begun.elapsed()) else {
                let missing = missing(&state);
                drop(state);
                panic!("waited {:?}, but {missing}", self.patience);
            };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn add(&self, planned: Planned) -> usize {
        self.change(|state| {
            let record =
                Record { planned, seen: Seen::default(), stopped: false, callbacks: Vec::new(), end: None };
            state.attempts.push(record);
            state.attempts.len() - 1
        })
    }

    /// A thread is about to call the engine.
    pub(super) fn enter(&self) {
        self.change(|state| state.busy += 1);
    }

    /// Calls the engine on this thread, after [`enter`](Self::enter).
    pub(super) fn call(&self, call: impl FnOnce()) {
        CALLS.set(true);
        call();
        self.change(|state| state.busy -= 1);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    pub(super) fn die(&self) {
        self.change(|state| {
            state.dead = true;
            state.wake(|_| true);
        });
    }

    pub(super) fn stop(&self, attempt: usize) {
        let callbacks = self.change(|state| state.stop(attempt));
        callbacks.into_iter().for_each(Callback::call);
    }

    pub(super) fn is_stopped(&self, attempt: usize) -> bool {
        self.lock().attempts[attempt].stopped
    }

    /// Gives the callback back where it is to be called at once.
    pub(super) fn on_cancel(&self, attempt: usize, callback: Callback) {
        let (call, discard) = self.change(|state| {
            let record = &mut state.attempts[attempt];
            if record.stopped {
                (Some(callback), None)
            } else if record.end.is_some() {
                (None, Some(callback))
            } else {
                record.callbacks.push(callback);
                (None, None)
            }
        });
        call.into_iter().for_each(Callback::call);
        discard.into_iter().for_each(Callback::discard);
    }

    /// Waits for the time on a thread of the engine.
    pub(super) fn wait(&self, attempt: usize, time: Duration) -> Result<()> {
        let counts = CALLS.get();
        let mut state = self.lock();
        if !state.dead && !state.attempts[attempt].stopped {
            let id = state.next_sleeper;
            state.next_sleeper += 1;
            let until = state.now.saturating_add(time);
            state.sleepers.push(Sleeper { id, until, attempt, counts });
            state.busy -= usize::from(counts);
            self.changed.notify_all();
            while state.sleepers.iter().any(|sleeper| sleeper.id == id) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        if state.attempts[attempt].stopped { Err(Error::cancelled(STOPPED)) } else { Ok(()) }
    }

    pub(super) fn set_deadline(&self, attempt: usize, time: Duration) {
        self.change(|state| state.deadlines.push((state.now.saturating_add(time), attempt)));
    }

    /// Moves the time, from one wait to the next.
    #[track_caller]
    pub(super) fn advance(&self, time: Duration) {
        let target = self.lock().now.saturating_add(time);
        loop {
            let idle = |state: &mut State| (state.busy == 0).then(|| state.step(Some(target)));
            let Some(callbacks) = self.until(idle, State::busy_elsewhere) else { return };
            callbacks.into_iter().for_each(Callback::call);
        }
    }

    /// Lets the time fly until `done` has an answer.
    #[track_caller]
    pub(super) fn fly<T>(
        &self,
        attempt: usize,
        mut done: impl FnMut(&mut Seen, &mut Option<End>, bool) -> Option<T>,
    ) -> T {
        enum Next<T> {
            Done(T),
            Stop(Vec<Callback>),
        }
        loop {
            let next = self.until(
                |state| {
                    let dead = state.dead;
                    let record = &mut state.attempts[attempt];
                    if let Some(answer) = done(&mut record.seen, &mut record.end, dead) {
                        return Some(Next::Done(answer));
                    }
                    if state.busy == 0 { state.step(None).map(Next::Stop) } else { None }
                },
                |state| format!("the attempt has not ended; so far: {:#?}", state.attempts[attempt].seen),
            );
            match next {
                Next::Done(answer) => return answer,
                Next::Stop(callbacks) => callbacks.into_iter().for_each(Callback::call),
            }
        }
    }

    /// Waits for something that the engine does, without moving the time.
    #[track_caller]
    pub(super) fn wait_for(&self, attempt: usize, what: impl Fn(&Seen) -> bool) -> Seen {
        self.until(
            |state| Some(&state.attempts[attempt].seen).filter(|seen| what(seen)).cloned(),
            |state| format!("that did not come; so far: {:#?}", state.attempts[attempt].seen),
        )
    }

    pub(super) fn seen(&self, attempt: usize) -> Seen {
        self.lock().attempts[attempt].seen.clone()
    }

    /// Records something, unless the scheduler has died.
    pub(super) fn see(&self, attempt: usize, see: impl FnOnce(&mut Seen)) {
        self.change(|state| {
            if !state.dead {
                see(&mut state.attempts[attempt].seen);
            }
        });
    }

    pub(super) fn checkpoint(&self, attempt: usize, checkpoint: Value) -> Result<(), String> {
        self.change(|state| {
            if state.dead {
                return Err("the scheduler has died".to_owned());
            }
            let Record { planned, seen, .. } = &mut state.attempts[attempt];
            if let Some(why) = &planned.refuse_checkpoints {
                return Err(why.clone());
            }
            let number = seen.checkpoints.len() + 1;
            if planned.crash_before != Some(number) {
                seen.checkpoints.push(checkpoint);
            }
            if planned.crash_before == Some(number) || planned.crash_after == Some(number) {
                state.dead = true;
                state.wake(|_| true);
            }
            Ok(())
        })
    }

    pub(super) fn append(&self, attempt: usize, addition: Value) -> Result<(), String> {
        self.change(|state| {
            let Record { planned, seen, .. } = &mut state.attempts[attempt];
            match &planned.refuse_additions {
                Some(why) => Err(why.clone()),
                None => {
                    seen.additions.push(addition);
                    Ok(())
                }
            }
        })
    }

    pub(super) fn query(&self, attempt: usize, question: Value) -> Result<Value, String> {
        let answer = self.change(|state| {
            let Record { planned, seen, .. } = &mut state.attempts[attempt];
            seen.queries.push(question.clone());
            planned.answer.clone()
        });
        let Some(answer) = answer else {
            return Err("the test answers no question; `Start::answer` says how it does".to_owned());
        };
        crate::panics::catch(|| answer(&question)).unwrap_or_else(|panicked| Err(panicked.message))
    }

    /// The first end counts; a scheduler that has died hears of none.
    pub(super) fn complete(&self, attempt: usize, end: End) {
        let callbacks = self.change(|state| {
            let record = &mut state.attempts[attempt];
            if !state.dead && record.end.is_none() {
                record.end = Some(end);
            }
            std::mem::take(&mut record.callbacks)
        });
        callbacks.into_iter().for_each(Callback::discard);
    }
}

impl State {
    fn wake(&mut self, who: impl Fn(&Sleeper) -> bool) {
        let woken = self.sleepers.extract_if(.., |sleeper| who(sleeper));
        self.busy += woken.filter(|sleeper| sleeper.counts).count();
    }

    /// Asks an attempt to stop; the callbacks are to be called without the lock.
    fn stop(&mut self, attempt: usize) -> Vec<Callback> {
        let record = &mut self.attempts[attempt];
        record.stopped = true;
        let callbacks = std::mem::take(&mut record.callbacks);
        self.wake(|sleeper| sleeper.attempt == attempt);
        callbacks
    }

    /// Moves the time to the next moment that somebody waits for, at most to `target`; `None` when there is none, and the time
    /// is `target`.
    fn step(&mut self, target: Option<Duration>) -> Option<Vec<Callback>> {
        let waited_for = self.sleepers.iter().map(|sleeper| sleeper.until);
        let next = waited_for.chain(self.deadlines.iter().map(|deadline| deadline.0)).min();
        let Some(next) = next.filter(|next| target.is_none_or(|target| *next <= target)) else {
            self.now = target.unwrap_or(self.now);
            return None;
        };
        self.now = next;
        self.wake(|sleeper| sleeper.until <= next);
        let due: Vec<_> = self.deadlines.extract_if(.., |deadline| deadline.0 <= next).collect();
        Some(due.into_iter().flat_map(|(_, attempt)| self.stop(attempt)).collect())
    }

    fn busy_elsewhere(&self) -> String {
        format!(
            "{} thread(s) of the engine neither ended nor called `Host::wait`: a test cannot move what else they wait for; \
             end the attempt by `Attempt::cancel` or `Attempt::time_out`",
            self.busy
        )
    }
}
