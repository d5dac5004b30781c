//! The queues between rooms and the clients after one socket. Owns the outputs of rooms that the network has
//! not taken yet.
//!
//! Invariant: a room never waits for a client. At its bound a queue is thrown away and ends, and nothing
//! follows its end. Each queue that is not empty stands once in one line of the socket, so that the socket
//! task sleeps only while all are empty, and takes from each in turn. It does not know sockets, frames or
//! protocols.

mod followed;
mod latest;

use super::deliveries::DeliveryAck;
use super::outbound::LogEntry;
use super::presence::PresenceEvent;
use super::returning::Welcome;
use followed::FollowedPresence;
use latest::LatestKeys;
use room_core::byte_budget::{ByteBudget, BytePermit};
use room_core::event::{CloseFrame, Message};
use room_core::limits::{Limits, size};
use room_core::lock::lock;
use room_core::metrics::{MissedMessage, RoomMetrics};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// A socket's number for one of its connections. Rooms do not know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionKey(pub usize);

/// One item of an outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxItem {
    /// A message.
    Message(Message),
    /// A message that the room's log remembers, with its id. All outboxes share it.
    Entry(Arc<LogEntry>),
    /// The first item of a transport with a secret.
    Welcome(Box<Welcome>),
    /// Who is in the room, or what of that changed. All outboxes share it, and at most one waits in each.
    Presence(Arc<PresenceEvent>),
    /// What became of a message of the client.
    Ack(Box<DeliveryAck>),
    /// The last item: the connection is over.
    Goodbye(CloseFrame),
    /// The last item, instead of all waiting items: the client was too slow.
    Overflow,
}

/// All outboxes of one socket, for its task to read. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Outboxes(Arc<OutboxesInner>);

/// A room's end of an outbox.
pub struct OutboxSender {
    socket: Arc<OutboxesInner>,
    slot: usize,
}

/// The socket's end of an outbox.
pub struct Outbox {
    socket: Arc<OutboxesInner>,
    slot: usize,
}

struct OutboxesInner {
    state: Mutex<OutboxesState>,
    /// Signalled when the line gets its first outbox, and by [`Outboxes::wake`].
    filled: Notify,
    /// Signalled when an outbox reaches its bound.
    overflowed: Notify,
    bytes_max: usize,
    messages_max: usize,
    /// The bytes and messages up to which a volatile message is queued.
    volatile_max: (usize, usize),
    budget: ByteBudget,
    metrics: Arc<RoomMetrics>,
}

#[derive(Default)]
struct OutboxesState {
    /// A slot is reused when both ends of its outbox are gone.
    slots: Vec<OutboxSlot>,
    /// The slots with items, each once. The one that has waited longest comes first.
    line: VecDeque<usize>,
    /// The slot from which the task took last.
    taken_from: Option<usize>,
    woken: bool,
}

struct OutboxSlot {
    key: ConnectionKey,
    queue: OutboxQueue,
    has_sender: bool,
    has_reader: bool,
}

struct OutboxQueue {
    said: VecDeque<OutboxItem>,
    bytes: usize,
    /// Bytes that the task took last: the socket is about to write them.
    taken: usize,
    /// Covers `bytes` and `taken`.
    permit: BytePermit,
    ended: bool,
    /// True if the slot stands in the line.
    in_line: bool,
    /// The keys of waiting messages, once the room has sent one with a key.
    latest: Option<Box<LatestKeys>>,
    /// The presence that its client follows, if it does.
    followed: Option<Box<FollowedPresence>>,
}

impl Outboxes {
    /// Makes the set of outboxes of a socket, empty at first.
    pub fn new(limits: &Limits, metrics: Arc<RoomMetrics>, budget: ByteBudget) -> Self {
        Self(Arc::new(OutboxesInner {
            state: Mutex::default(),
            filled: Notify::new(),
            overflowed: Notify::new(),
            bytes_max: size(limits.outbox_bytes_max),
            messages_max: size(limits.outbox_frames_max),
            volatile_max: (size(limits.volatile_bytes_max), size(limits.volatile_frames_max)),
            budget,
            metrics,
        }))
    }

    /// Makes a new, empty outbox, and returns its two ends.
    pub fn open(&self, key: ConnectionKey) -> (OutboxSender, Outbox) {
        let permit = self.0.budget.permit();
        let (said, bytes, taken, ended, in_line) = (VecDeque::new(), 0, 0, false, false);
        let (latest, followed) = (None, None);
        let queue = OutboxQueue { said, bytes, taken, permit, ended, in_line, latest, followed };
        let new = OutboxSlot { key, queue, has_sender: true, has_reader: true };
        let mut state = self.0.state();
        let free = state.slots.iter().position(|slot| !slot.has_sender && !slot.has_reader);
        let slot = free.unwrap_or(state.slots.len());
        match state.slots.get_mut(slot) {
            Some(free) => *free = new,
            None => state.slots.push(new),
        }
        drop(state);
        let socket = self.0.clone();
        (OutboxSender { socket: socket.clone(), slot }, Outbox { socket, slot })
    }

    /// Takes the next items of one connection, at most `max`, as soon as there are any. Returns `None` if
    /// [`Outboxes::wake`] woke it. Only the one task that writes may call it, and only after it has written
    /// the items that it took before.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, nothing was taken.
    pub async fn next(&self, max: usize, into: &mut Vec<OutboxItem>) -> Option<ConnectionKey> {
        loop {
            if let Some(woken) = self.take(max, into) {
                return woken;
            }
            self.0.filled.notified().await;
        }
    }

    /// As [`Outboxes::next`], without waiting. The outer `None` means that all outboxes are empty.
    pub fn take(&self, max: usize, into: &mut Vec<OutboxItem>) -> Option<Option<ConnectionKey>> {
        let mut state = self.0.state();
        state.written();
        if std::mem::take(&mut state.woken) {
            return Some(None);
        }
        let slot = state.line.pop_front()?;
        let OutboxSlot { key, queue, .. } = &mut state.slots[slot];
        let key = *key;
        // One by one: for the one or two items that usually wait, a drain costs more than all else here.
        let (mut taken, mut shown, mut messages, mut is_full) = (0, 0, 0, false);
        let has_keys = queue.latest.as_ref().is_some_and(|keys| keys.are_waiting());
        for _ in 0..queue.said.len().min(max) {
            let said = match &mut queue.latest {
                Some(keys) if has_keys => keys.pop(&mut queue.said),
                _ => queue.said.pop_front(),
            };
            let Some(mut said) = said else { break };
            if let OutboxItem::Presence(event) = &mut said {
                if let Some(followed) = &mut queue.followed {
                    *event = followed.taken(event.clone());
                }
                let bytes = event.json().len();
                // A client that leaves gets its close in any case.
                is_full = !queue.covers(bytes) && !queue.ended;
                if is_full {
                    break;
                }
                shown = bytes;
            }
            taken += said.bytes();
            messages += u64::from(said.is_message());
            into.push(said);
        }
        queue.taken = taken + shown;
        queue.bytes -= taken;
        if is_full {
            self.0.overflow(queue);
            into.extend(queue.said.pop_front());
        }
        queue.in_line = !queue.said.is_empty();
        if queue.in_line {
            state.line.push_back(slot);
        }
        state.taken_from = Some(slot);
        drop(state);
        self.0.metrics.messages_sent.increment(messages);
        Some(Some(key))
    }

    /// Makes [`Outboxes::next`] return, because the task has something else to do.
    pub fn wake(&self) {
        self.0.state().woken = true;
        self.0.filled.notify_one();
    }

    /// Returns when an outbox has reached its bound: the client takes too little, so its socket should not
    /// wait long for it. Only the one task that writes may call it.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, the next call still reports an overflow.
    pub async fn overflowed(&self) {
        self.0.overflowed.notified().await;
    }
}

impl OutboxSender {
    /// Queues a message, or ends the outbox if the client is too slow.
    pub fn send(&self, message: &Message) {
        self.socket.send(self.slot, OutboxItem::Message(message.clone()));
    }

    /// Queues a message that the log remembers, or ends the outbox if the client is too slow.
    pub fn send_entry(&self, entry: &Arc<LogEntry>) {
        self.socket.send(self.slot, OutboxItem::Entry(entry.clone()));
    }

    /// Queues a message, unless the client is behind. Returns false if the client does not get it.
    pub fn send_volatile(&self, message: &Message) -> bool {
        self.socket.send_volatile(self.slot, message)
    }

    /// Queues a message in place of the one with this key that waits, or ends the outbox if the client is too slow.
    /// Returns false if the outbox has ended.
    pub fn send_latest(&self, key: &str, message: &Message) -> bool {
        self.socket.send_latest(self.slot, key, message)
    }

    /// Queues what the client has to know first.
    pub fn welcome(&self, welcome: Welcome) {
        self.socket.send(self.slot, OutboxItem::Welcome(Box::new(welcome)));
    }

    /// Queues what became of a message, or ends the outbox if the client is too slow.
    pub fn acknowledge(&self, ack: DeliveryAck) {
        self.socket.send(self.slot, OutboxItem::Ack(Box::new(ack)));
    }

    /// Returns true if the socket is gone, so that no task takes the queued items.
    pub fn is_gone(&self) -> bool {
        !self.socket.state().slots[self.slot].has_reader
    }

    /// Returns true if it has ended, so that it takes no further items.
    pub fn is_over(&self) -> bool {
        self.socket.state().slots[self.slot].queue.ended
    }

    /// Returns the client's backlog: messages and bytes that wait for its socket.
    pub fn lag(&self) -> (usize, usize) {
        let state = self.socket.state();
        let queue = &state.slots[self.slot].queue;
        // Only the first and the last item may be something else. An acknowledgement or an event of presence between them
        // counts as a message.
        let ends = queue.waiting().min(2);
        let (first, last) = (queue.said.front(), queue.said.back());
        let others = first.into_iter().chain(last).take(ends).filter(|said| !said.is_message());
        (queue.waiting() - others.count(), queue.bytes)
    }

    /// Ends the outbox with this frame, after the queued items. Has no effect if it has ended.
    pub fn close(&self, frame: CloseFrame) {
        self.socket.end(self.slot, frame);
    }
}

impl std::fmt::Debug for OutboxSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OutboxSender")
    }
}

impl Drop for OutboxSender {
    /// Ends the outbox, because the room is gone. Its clients may come back.
    fn drop(&mut self) {
        self.close(CloseFrame::new(1011, "the room stopped"));
        self.socket.state().slots[self.slot].has_sender = false;
    }
}

impl Outbox {
    /// Queues an auto-response after the room's items, with the same bound.
    pub fn answer(&self, message: &Message) {
        self.socket.send(self.slot, OutboxItem::Message(message.clone()));
    }

    /// Queues what became of a message after the room's items, with the same bound.
    pub fn acknowledge(&self, ack: DeliveryAck) {
        self.socket.send(self.slot, OutboxItem::Ack(Box::new(ack)));
    }

    /// Ends the outbox with this frame, after the queued items, without waiting for the room. Has no effect
    /// if it has ended.
    pub fn end(&self, frame: CloseFrame) {
        self.socket.end(self.slot, frame);
    }

    /// Throws away the queued items, and keeps nothing that the room sends later.
    pub fn discard(&self) {
        self.socket.state().silence(self.slot);
    }
}

impl Drop for Outbox {
    /// Throws away the queued items, because no task takes them any more.
    fn drop(&mut self) {
        let mut state = self.socket.state();
        state.silence(self.slot);
        state.taken_from = state.taken_from.filter(|from| *from != self.slot);
        let OutboxSlot { queue, has_reader, .. } = &mut state.slots[self.slot];
        *has_reader = false;
        queue.taken = 0;
        queue.permit.shrink(0);
    }
}

impl OutboxItem {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Entry(entry) => entry.message().len(),
            Self::Ack(ack) => ack.bytes(),
            // All outboxes share an event of presence until it is taken. From then on it counts.
            Self::Welcome(_) | Self::Presence(_) | Self::Goodbye(_) | Self::Overflow => 0,
        }
    }

    fn is_message(&self) -> bool {
        matches!(self, Self::Message(_) | Self::Entry(_))
    }
}

impl OutboxQueue {
    fn clear(&mut self) {
        self.said.clear();
        self.latest = None;
        if let Some(followed) = &mut self.followed {
            followed.clear();
        }
        self.bytes = 0;
        self.permit.shrink(self.taken);
    }

    /// Returns the number of items.
    fn waiting(&self) -> usize {
        self.said.len() - self.latest.as_ref().map_or(0, |keys| keys.holes())
    }

    /// Returns true if there is memory for this many bytes more. A client that keeps up gets its message in
    /// any case.
    fn covers(&mut self, more: usize) -> bool {
        let keeps_up = self.said.is_empty() && self.taken == 0;
        self.permit.cover(self.bytes + self.taken + more) || keeps_up
    }

    fn end(&mut self, last: OutboxItem) {
        self.said.push_back(last);
        self.ended = true;
    }
}

impl OutboxesState {
    /// Notes that the socket has written the items taken last.
    fn written(&mut self) {
        if let Some(slot) = self.taken_from.take() {
            let queue = &mut self.slots[slot].queue;
            queue.taken = 0;
            queue.permit.shrink(queue.bytes);
        }
    }

    /// Ends a slot's queue without a last item, and discards the waiting items.
    fn silence(&mut self, slot: usize) {
        self.line.retain(|waiting| *waiting != slot);
        let queue = &mut self.slots[slot].queue;
        queue.clear();
        queue.said = VecDeque::new();
        (queue.ended, queue.in_line) = (true, false);
    }

    /// Puts a slot with items into the line. Returns true if it did not stand there.
    fn line_up(&mut self, slot: usize) -> bool {
        let was_in_line = std::mem::replace(&mut self.slots[slot].queue.in_line, true);
        if !was_in_line {
            self.line.push_back(slot);
        }
        !was_in_line
    }
}

impl OutboxesInner {
    fn send(&self, slot: usize, item: OutboxItem) {
        let mut state = self.state();
        let queue = &mut state.slots[slot].queue;
        if queue.ended {
            return;
        }
        self.push(queue, item);
        self.ring(state, slot);
    }

    /// Queues an item, or ends the queue if there is no space for it.
    #[inline]
    fn push(&self, queue: &mut OutboxQueue, item: OutboxItem) {
        let more = item.bytes();
        let is_long = queue.said.len() >= self.messages_max && queue.waiting() >= self.messages_max;
        if is_long || queue.bytes + more > self.bytes_max || !queue.covers(more) {
            self.overflow(queue);
        } else {
            queue.bytes += more;
            queue.said.push_back(item);
        }
    }

    /// Throws a queue away and ends it.
    fn overflow(&self, queue: &mut OutboxQueue) {
        queue.clear();
        queue.end(OutboxItem::Overflow);
        self.metrics.outbox_overflows.increment(1);
        self.overflowed.notify_one();
    }

    /// Returns true if the client gets it.
    fn send_volatile(&self, slot: usize, message: &Message) -> bool {
        let mut state = self.state();
        let queue = &mut state.slots[slot].queue;
        if queue.ended {
            return false;
        }
        let (bytes_max, frames_max) = self.volatile_max;
        let is_behind = queue.waiting() > frames_max || queue.bytes + queue.taken > bytes_max;
        let is_full = queue.waiting() >= self.messages_max
            || queue.bytes + message.len() > self.bytes_max
            || !queue.covers(message.len());
        if is_behind || is_full {
            self.metrics.missed.count(MissedMessage::Volatile);
            return false;
        }
        self.push(queue, OutboxItem::Message(message.clone()));
        self.ring(state, slot);
        true
    }

    /// Returns true if it waits for the client.
    fn send_latest(&self, slot: usize, key: &str, message: &Message) -> bool {
        let mut state = self.state();
        let queue = &mut state.slots[slot].queue;
        if queue.ended {
            return false;
        }
        let mut keys = queue.latest.take().unwrap_or_default();
        if let Some(replaced) = keys.take(key, &mut queue.said) {
            queue.bytes -= replaced.bytes();
            self.metrics.missed.count(MissedMessage::Replaced);
        }
        queue.latest = Some(keys);
        self.push(queue, OutboxItem::Message(message.clone()));
        // Not if that has ended the queue.
        if let Some(keys) = &mut queue.latest {
            keys.note(key, queue.said.len());
        }
        let waits = !queue.ended;
        self.ring(state, slot);
        waits
    }

    fn end(&self, slot: usize, frame: CloseFrame) {
        let mut state = self.state();
        let queue = &mut state.slots[slot].queue;
        if !queue.ended {
            queue.end(OutboxItem::Goodbye(frame));
            self.ring(state, slot);
        }
    }

    /// Lines a slot up, and wakes the socket task, which looks at the line before it sleeps.
    fn ring(&self, mut state: MutexGuard<'_, OutboxesState>, slot: usize) {
        let is_new = state.line_up(slot);
        drop(state);
        if is_new {
            self.filled.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, OutboxesState> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests;
