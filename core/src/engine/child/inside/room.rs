//! How much an attempt may say before the scheduler has taken it: one whose log is slow waits itself, and nobody else does.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::engine::child::lock;
use crate::engine::child::protocol::UNTAKEN;

/// Room for what an attempt says.
#[derive(Debug, Default)]
pub(super) struct Room {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    untaken: u64,
    /// Nobody counts.
    is_free: bool,
}

impl Room {
    /// Waits until there is room for one thing more, and takes it.
    pub(super) fn enter(&self) {
        let is_full = |state: &mut State| !state.is_free && state.untaken >= UNTAKEN;
        let state = self.changed.wait_while(lock(&self.state), is_full);
        state.unwrap_or_else(PoisonError::into_inner).untaken += 1;
    }

    /// So many were taken; without a number, all that ever comes.
    pub(super) fn taken(&self, lines: Option<u64>) {
        let mut state = lock(&self.state);
        match lines {
            Some(lines) => state.untaken = state.untaken.saturating_sub(lines),
            None => state.is_free = true,
        }
        drop(state);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn who_says_much_waits_until_it_is_taken_or_nobody_counts() {
        let room = Arc::new(Room::default());
        (0..UNTAKEN).for_each(|_| room.enter());
        let (entered, seen) = channel();
        let engine = Arc::clone(&room);
        let worker = thread::spawn(move || {
            (0..3).for_each(|n| {
                engine.enter();
                entered.send(n).unwrap();
            });
        });
        for n in 0..2 {
            room.taken(Some(1));
            assert_eq!(seen.recv(), Ok(n));
            assert!(seen.try_recv().is_err(), "there was no room for it");
        }
        room.taken(None);
        assert_eq!(seen.recv(), Ok(2));
        worker.join().unwrap();
        (0..10 * UNTAKEN).for_each(|_| room.enter());
    }
}
