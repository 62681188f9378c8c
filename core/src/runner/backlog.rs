//! Until when everything that happened is known, though more is told all the time: alarms wait for that, not for silence.

use crossbeam_channel::Receiver;

use super::BATCH;
use super::message::Message;
use crate::event::Timestamp;

/// The messages that waited at some time. Once they are taken, all that had happened by then is known.
pub(super) struct Backlog {
    at: Timestamp,
    left: usize,
}

impl Backlog {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { at: now, left: 0 }
    }

    /// Takes some messages; the time until which all that happened is known by then, if that is news.
    pub(super) fn take(
        &mut self,
        messages: &Receiver<Message>,
        now: Timestamp,
        take: impl FnMut(Message),
    ) -> Option<Timestamp> {
        let waiting = messages.len();
        let taken = messages.try_iter().take(BATCH).map(take).count();
        if messages.is_empty() {
            *self = Self::new(now);
            return Some(now);
        }
        if taken < self.left {
            self.left -= taken;
            return None;
        }
        let known = std::mem::replace(self, Self { at: now, left: waiting.saturating_sub(taken) });
        Some(known.at)
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;

    #[test]
    fn what_happened_by_some_time_is_known_though_messages_keep_coming() {
        let (tell, messages) = unbounded();
        let tell = |count: usize| (0..count).for_each(|_| tell.send(Message::Wake).unwrap());
        let mut backlog = Backlog::new(Timestamp(0));
        let mut take = |now| backlog.take(&messages, Timestamp(now), |_| ()).map(|known| known.0);
        assert_eq!(take(1), Some(1), "there is nothing");
        tell(3 * BATCH);
        assert_eq!(take(2), Some(1), "what waits may have happened since");
        tell(BATCH);
        assert_eq!(take(3), None);
        tell(BATCH);
        assert_eq!(take(4), Some(2), "the last of what waited then is taken");
        tell(BATCH);
        assert_eq!((take(5), take(6)), (None, Some(4)));
        assert_eq!(take(7), Some(7), "nothing waits any more");
    }
}
