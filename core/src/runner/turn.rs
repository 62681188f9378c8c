//! All runs of this process, and what one turn does: take what happened, let the schedulers decide, carry that out.
//! Whoever holds the lock around [`Runs`] has the turn.

use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, never};

use super::call::Post;
use super::message::Message;
use super::outlet::Outlet;
use super::request::{Opening, RunEnd};
use super::run::Run;
use super::workers::{Left, Threads, Workers};
use super::{BATCH, LINES};
use crate::event::{Event, Timestamp};
use crate::scheduler::{Places, next_to_start};

/// A log line and the run that it belongs to.
pub(super) type Line = (u32, Event);

/// All runs of this process.
pub(super) struct Runs {
    pub(super) runs: Vec<Run>,
    places: Places,
    pub(super) workers: Workers,
    post: Arc<Post>,
    /// What workers have posted, while a turn takes it.
    posted: Vec<Message>,
    lines: Receiver<Line>,
    /// Until when the loop rests, if nothing wakes it.
    alarm: Option<Timestamp>,
}

/// How the loop waits for its next turn.
pub(super) struct Rest {
    /// When a scheduler wants a turn.
    pub(super) alarm: Option<Timestamp>,
    /// A reporter is behind.
    pub(super) without_lines: bool,
}

impl Runs {
    pub(super) fn new(places: Places, workers: Workers, post: Arc<Post>, lines: Receiver<Line>) -> Self {
        Self { runs: Vec::new(), places, workers, post, posted: Vec::new(), lines, alarm: None }
    }

    /// One more run.
    pub(super) fn begin(&mut self, mut run: Run, opening: Opening) {
        run.begin(opening);
        self.runs.push(run);
    }

    /// A turn of the loop, after it took what happened; `None` when all runs have ended. All that happened until
    /// `caught_up_to` is known: no alarm that is due later goes off, since what it is about may have happened in time.
    pub(super) fn turn_of_loop(&mut self, caught_up_to: Option<Timestamp>) -> Option<Rest> {
        self.take_posted();
        let without_lines = !self.runs.iter().all(Run::keeps_up);
        if !without_lines {
            self.take_lines(BATCH);
        }
        if let Some(until) = caught_up_to {
            self.runs.iter_mut().for_each(|run| run.tick(until, &mut self.places));
        }
        self.settle_and_store();
        self.alarm = self.next_tick();
        (!self.have_ended()).then_some(Rest { alarm: self.alarm, without_lines })
    }

    /// A turn of a worker that has posted how its attempt went. What is left to do after it is for the worker; where it is
    /// given a run's outlet, that is to be locked before the turn ends, and the events put into it.
    pub(super) fn turn_of_worker(&mut self, left: &mut Left) -> Option<(u32, Arc<Mutex<Outlet>>)> {
        // Somebody else's turn may have taken it, or the runs be over.
        if self.have_ended() || !self.take_posted() {
            return None;
        }
        self.settle();
        let mut with_events = self.runs.iter_mut().zip(0..).filter(|(run, _)| run.has_events());
        let outlet = match (with_events.next(), with_events.next()) {
            (Some((run, number)), None) => Some((number, run.give_events(&mut left.events))),
            (None, _) => None,
            _ => {
                self.store();
                None
            }
        };
        std::mem::swap(self.workers.started(), &mut left.jobs);
        self.wake_loop();
        outlet
    }

    /// A turn of a worker whose engine waits for the answer to a message.
    pub(super) fn turn_in_call(&mut self, message: Message) {
        // An answer that cannot be given any more is dropped with the message.
        if !self.have_ended() {
            self.take(message);
            self.settle_and_store();
            self.wake_loop();
        }
    }

    fn wake_loop(&mut self) {
        let alarm = self.next_tick();
        let earlier = alarm.is_some_and(|alarm| self.alarm.is_none_or(|known| alarm < known));
        if earlier || self.have_ended() {
            self.alarm = alarm;
            self.post.send(Message::Wake);
        }
    }

    pub(super) fn take(&mut self, message: Message) {
        if matches!(message, Message::Ended { .. }) {
            // Every line of the attempt is here already, and is told before its end.
            self.take_lines(LINES);
        }
        let run = match message {
            Message::Ended { run, .. }
            | Message::Deferred { run, .. }
            | Message::Checkpoint { run, .. }
            | Message::Append { run, .. }
            | Message::Query { run, .. }
            | Message::Progress { run, .. }
            | Message::Unwritten { run, .. } => run,
            Message::All(request) => {
                return self.runs.iter_mut().for_each(|run| run.ask(request, &mut self.places));
            }
            Message::Wake => return,
        };
        self.runs[run as usize].take(message, &mut self.places);
    }

    fn take_line(&mut self, (run, line): Line) {
        self.runs[run as usize].tell(line);
    }

    fn take_lines(&mut self, most: usize) {
        for _ in 0..most {
            let Ok(line) = self.lines.try_recv() else { break };
            self.take_line(line);
        }
    }

    /// Takes what workers have posted; whether there was anything.
    fn take_posted(&mut self) -> bool {
        let mut posted = std::mem::take(&mut self.posted);
        self.post.take_posted(&mut posted);
        let any = !posted.is_empty();
        posted.drain(..).for_each(|message| self.take(message));
        self.posted = posted;
        any
    }

    /// Carries out what follows, and what follows from that.
    fn settle(&mut self) {
        loop {
            let Some(now) = self.runs.first().map(|run| run.shared.clock.now()) else { return };
            while let Some(run) = next_to_start(self.runs.iter().map(|run| &run.scheduler), &self.places) {
                self.runs[run].start_next(now, &mut self.places);
            }
            let mut more = false;
            for run in &mut self.runs {
                more |= run.carry_out(now, &mut self.places, &mut self.workers);
            }
            if !more {
                return;
            }
        }
    }

    /// The same, and what follows is stored, told and begun.
    fn settle_and_store(&mut self) {
        self.settle();
        self.store();
        self.workers.send_all();
    }

    /// Stores and tells what has happened. Of a run that cannot store it nothing begins.
    fn store(&mut self) {
        while let Some(number) = self.runs.iter().position(Run::has_events) {
            if self.runs[number].put_events().is_err() {
                let run = self.runs[number].info.index;
                self.workers.refuse(run);
                self.settle();
            }
        }
        #[cfg(test)]
        for job in self.workers.started() {
            let run = &self.runs[job.run.index as usize];
            assert!(run.has_stored(job.task, job.attempt), "an engine sees what is not stored");
        }
    }

    fn next_tick(&self) -> Option<Timestamp> {
        self.runs.iter().filter_map(|run| run.scheduler.next_tick()).min()
    }

    fn have_ended(&self) -> bool {
        self.runs.iter().all(|run| run.ended.is_some())
    }

    /// All runs have ended. The threads are the caller's to wait for, without the lock.
    pub(super) fn finish(&mut self) -> (Threads, Vec<RunEnd>) {
        while let Ok(line) = self.lines.try_recv() {
            self.take_line(line);
        }
        // From here on no engine waits for somebody to read its lines.
        self.lines = never();
        let Self { runs, workers, .. } = self;
        let ends = std::mem::take(runs).into_iter().map(|run| run.finish(workers)).collect();
        (self.workers.close(), ends)
    }
}
