//! What goes on to each channel of a session. Owns the messages that wait for space in mailboxes.
//!
//! Invariant: what waits is bounded for the session, and a lane that ends gives back what waited in it. It does not know
//! rooms, or how a message is passed on.

use crate::answer::Answers;
use hashbrown::HashMap;
use room_core::byte_budget::BytePermit;
use room_core::limits::{Limits, size};
use room_rooms::room::{ClientDelivery, ConnectionKey};
use std::collections::VecDeque;

/// The lanes of a session.
pub(super) struct Lanes {
    lanes: HashMap<usize, Lane>,
    waiting: WaitingMessages,
}

/// What goes on to one channel.
pub(super) struct Lane {
    pub(super) answers: Answers,
    /// What waits behind the message that is waiting for space.
    pub(super) queue: VecDeque<LaneItem>,
    /// True while a message waits for space.
    pub(super) is_waiting: bool,
    /// True when the client leaves behind what waits.
    pub(super) is_leaving: bool,
}

pub(super) enum LaneItem {
    Send(ClientDelivery),
    Leave(Option<u64>),
}

/// The messages of a session that wait for space in mailboxes.
struct WaitingMessages {
    count: usize,
    bytes: usize,
    /// Covers `bytes`.
    permit: BytePermit,
}

impl WaitingMessages {
    /// Takes a message in, if the bounds allow it. One message may wait in any case.
    fn take(&mut self, bytes: usize, limits: &Limits) -> bool {
        let sum = self.bytes + bytes;
        let fits = self.count < size(limits.session_waiting_max)
            && sum <= size(limits.session_waiting_bytes_max)
            && self.permit.cover(sum);
        let may_wait = fits || self.count == 0;
        if may_wait {
            self.count += 1;
            self.bytes = sum;
        }
        may_wait
    }

    fn give_back(&mut self, bytes: usize) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.permit.shrink(self.bytes);
    }
}

impl Lane {
    fn new(answers: Answers) -> Self {
        Self { answers, queue: VecDeque::new(), is_waiting: false, is_leaving: false }
    }
}

impl Lanes {
    /// Makes the lanes of a session without messages. `permit` covers those that wait.
    pub(super) fn new(permit: BytePermit) -> Self {
        Self { lanes: HashMap::new(), waiting: WaitingMessages { count: 0, bytes: 0, permit } }
    }

    /// Returns the lane of a channel, if something went on to it.
    pub(super) fn get(&mut self, key: ConnectionKey) -> Option<&mut Lane> {
        self.lanes.get_mut(&key.0)
    }

    /// Returns the lane of a channel.
    pub(super) fn of(
        &mut self,
        key: ConnectionKey,
        answers: impl FnOnce() -> Answers,
    ) -> &mut Lane {
        self.lanes.entry(key.0).or_insert_with(|| Lane::new(answers()))
    }

    /// Takes in a message that is to wait, if the bounds allow it.
    pub(super) fn take(&mut self, bytes: usize, limits: &Limits) -> bool {
        self.waiting.take(bytes, limits)
    }

    /// Gives back the space of a message that waits no more.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.waiting.give_back(bytes);
    }

    /// Returns true if no message waits.
    pub(super) fn are_idle(&self) -> bool {
        self.waiting.count == 0
    }

    /// Ends the lane of a channel, and forgets what waits in it.
    pub(super) fn end(&mut self, key: ConnectionKey) {
        let Some(lane) = self.lanes.remove(&key.0) else { return };
        for item in lane.queue {
            if let LaneItem::Send(delivery) = item {
                self.waiting.give_back(delivery.message.len());
            }
        }
    }

    /// Ends the lanes of the channels that are over.
    pub(super) fn sweep(&mut self, is_open: impl Fn(ConnectionKey) -> bool) {
        let keys = self.lanes.keys().map(|key| ConnectionKey(*key));
        let over: Vec<_> = keys.filter(|key| !is_open(*key)).collect();
        over.into_iter().for_each(|key| self.end(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::byte_budget::ByteBudget;
    use room_core::event::Message;
    use tokio::sync::watch;

    #[test]
    fn a_channel_that_is_over_gives_back_what_waited_for_it() {
        let limits = Limits { session_waiting_max: 3, ..Limits::default() };
        let budget = ByteBudget::new(1 << 20);
        let mut lanes = Lanes::new(budget.permit());
        let party = watch::channel(None).1;
        for key in [0, 1] {
            lanes.of(ConnectionKey(key), || Answers::new(party.clone())).is_waiting = true;
        }
        // The first message waits for space, and the others behind it.
        let bytes = 10_000;
        for _ in 0..3 {
            assert!(lanes.take(bytes, &limits));
        }
        for _ in 0..2 {
            let message = Message::Binary(vec![0; bytes].into());
            let delivery = ClientDelivery { message, id: None, reference: None };
            lanes.get(ConnectionKey(1)).unwrap().queue.push_back(LaneItem::Send(delivery));
        }
        assert!(!lanes.take(bytes, &limits), "the session has as many as may wait");
        lanes.sweep(|key| key == ConnectionKey(0));
        assert!(lanes.get(ConnectionKey(1)).is_none() && lanes.get(ConnectionKey(0)).is_some());
        assert!(budget.granted() <= 10_000 && !lanes.are_idle());
        lanes.give_back(bytes);
        assert!(lanes.are_idle());
        assert_eq!(budget.granted(), 0);
    }
}
