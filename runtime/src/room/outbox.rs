//! The queue behind one connection. Owns what the room said and the network has not taken yet.
//!
//! Invariant: a room never waits for a client. At the bound the queue is thrown away and the
//! connection closed with 1013; after a close frame nothing follows. It does not know sockets.

use crate::byte_budget::{ByteBudget, BytePermit};
use crate::event::{CloseFrame, Message};
use crate::limits::{Limits, size};
use crate::metrics::RoomMetrics;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Something to be written to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A message.
    Message(Message),
    /// The last frame.
    Close(CloseFrame),
    /// Asks the client whether it is there.
    Ping,
}

/// The room's end.
pub(crate) struct OutboxSender(Arc<Inner>);

/// The socket's end.
pub(crate) struct Outbox(Arc<Inner>);

struct Inner {
    queue: Mutex<Queue>,
    filled: Notify,
    /// Told when the bound was hit.
    overflowed: Notify,
    bytes_max: usize,
    frames_max: usize,
    metrics: Arc<RoomMetrics>,
}

struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Bytes of what was taken last: the socket is about to write it.
    taken: usize,
    /// For both.
    permit: BytePermit,
    closed: bool,
    /// What the client is told at the end, whatever the room says: it broke the protocol.
    verdict: Option<CloseFrame>,
    /// A ping goes before everything else.
    pings: bool,
}

/// The two ends of a new, empty outbox.
pub(crate) fn outbox(
    limits: &Limits,
    metrics: Arc<RoomMetrics>,
    budget: &ByteBudget,
) -> (OutboxSender, Outbox) {
    let (frames, permit) = (VecDeque::new(), budget.permit());
    let (bytes, taken, closed, pings) = (0, 0, false, false);
    let inner = Arc::new(Inner {
        queue: Mutex::new(Queue { frames, bytes, taken, permit, closed, verdict: None, pings }),
        filled: Notify::new(),
        overflowed: Notify::new(),
        bytes_max: size(limits.outbox_bytes_max),
        frames_max: size(limits.outbox_frames_max),
        metrics,
    });
    (OutboxSender(inner.clone()), Outbox(inner))
}

impl std::fmt::Debug for OutboxSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OutboxSender")
    }
}

impl OutboxSender {
    /// Queues a message, or closes the connection if it is too far behind.
    pub(crate) fn send(&self, message: &Message) {
        self.0.send(message);
    }

    /// True if the socket is gone: nobody takes what is queued.
    pub(crate) fn is_gone(&self) -> bool {
        // The room has one end and the socket the other.
        Arc::strong_count(&self.0) == 1
    }

    /// How far the client is behind: messages and bytes that wait for its socket.
    pub(crate) fn lag(&self) -> (usize, usize) {
        let queue = self.0.queue();
        let goodbye = matches!(queue.frames.back(), Some(Frame::Close(_)));
        (queue.frames.len() - usize::from(goodbye), queue.bytes)
    }

    /// Queues the last frame. Without effect if there is one.
    pub(crate) fn close(&self, frame: CloseFrame) {
        self.0.close(frame);
    }
}

impl Drop for OutboxSender {
    /// A room that is gone says no more; its clients may come back.
    fn drop(&mut self) {
        self.close(CloseFrame::new(1011, "the room stopped"));
    }
}

impl Queue {
    fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
        self.permit.shrink(self.taken);
    }

    /// True if there is memory for so many bytes more. Who keeps up gets its message in any case.
    fn covers(&mut self, more: usize) -> bool {
        let keeps_up = self.frames.is_empty() && self.taken == 0;
        self.permit.cover(self.bytes + self.taken + more) || keeps_up
    }

    /// What was taken last is written.
    fn written(&mut self) {
        self.taken = 0;
        self.permit.shrink(self.bytes);
    }

    fn end(&mut self, frame: CloseFrame) {
        let frame = self.verdict.take().unwrap_or(frame);
        self.frames.push_back(Frame::Close(frame));
        self.closed = true;
    }
}

impl Outbox {
    /// Queues an answer that needs no room, behind what the room said, with the same bound.
    pub(crate) fn answer(&self, message: &Message) {
        self.0.send(message);
    }

    /// Puts a ping before everything that waits.
    pub(crate) fn ping(&self) {
        self.0.queue().pings = true;
        self.0.filled.notify_one();
    }

    /// Throws away what waits and queues the last frame, as the server stops. Without effect if there is one.
    pub(crate) fn leave(&self, frame: CloseFrame) {
        let mut queue = self.0.queue();
        if !queue.closed {
            queue.clear();
            queue.end(frame);
        }
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Makes this the last frame when the room ends the outbox. Without effect if it has ended.
    pub(crate) fn end_later(&self, frame: CloseFrame) {
        self.0.queue().verdict = Some(frame);
    }

    /// Queues the last frame behind what waits, and waits for the room no longer. Without effect if there
    /// is one.
    pub(crate) fn end_now(&self, frame: CloseFrame) {
        self.0.close(frame);
    }

    /// Takes the next frames, at most `max` and a ping. Empty if there are none. Those of the call before have
    /// been written.
    pub(crate) fn take(&self, max: usize) -> Vec<Frame> {
        let mut queue = self.0.queue();
        queue.written();
        let count = queue.frames.len().min(max);
        let ping = std::mem::take(&mut queue.pings).then_some(Frame::Ping);
        let frames: Vec<Frame> = ping.into_iter().chain(queue.frames.drain(..count)).collect();
        queue.taken = frames.iter().map(Frame::size).sum();
        queue.bytes -= queue.taken;
        drop(queue);
        let messages = frames.iter().filter(|frame| matches!(frame, Frame::Message(_))).count();
        self.0.metrics.messages_sent.increment(messages as u64);
        frames
    }

    /// Returns when there may be something to take. For the one socket that writes, which has written what it took.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the next call returns at once if something came.
    pub(crate) async fn filled(&self) {
        self.0.queue().written();
        self.0.filled.notified().await;
    }

    /// Returns when the bound was hit: the client takes too little, so its socket should not wait long
    /// for it. For the one socket that writes.
    ///
    /// # Cancel safety
    /// As [`Outbox::filled`].
    pub(crate) async fn overflowed(&self) {
        self.0.overflowed.notified().await;
    }
}

impl Frame {
    fn size(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Close(_) | Self::Ping => 0,
        }
    }
}

impl Inner {
    fn send(&self, message: &Message) {
        let mut queue = self.queue();
        if queue.closed {
            return;
        }
        let full =
            queue.frames.len() >= self.frames_max || queue.bytes + message.len() > self.bytes_max;
        if full || !queue.covers(message.len()) {
            queue.clear();
            queue.end(CloseFrame::new(1013, "too slow: the outbox is full"));
            self.metrics.outbox_overflows.increment(1);
            self.overflowed.notify_one();
        } else {
            queue.bytes += message.len();
            queue.frames.push_back(Frame::Message(message.clone()));
        }
        drop(queue);
        self.filled.notify_one();
    }

    fn close(&self, frame: CloseFrame) {
        let mut queue = self.queue();
        if !queue.closed {
            queue.end(frame);
        }
        drop(queue);
        self.filled.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // The queue is changed by moves that cannot panic, so what a panicking holder left is whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn small() -> (OutboxSender, Outbox) {
        let limits = Limits { outbox_frames_max: 2, outbox_bytes_max: 10, ..Limits::default() };
        outbox(&limits, Metrics::new().rooms, &ByteBudget::new(1 << 20))
    }

    #[test]
    fn where_others_keep_everything_who_is_behind_is_closed_and_who_keeps_up_is_not() {
        let budget = ByteBudget::new(64 * 1024);
        let new = || outbox(&Limits::default(), Metrics::new().rooms, &budget);
        let large = Message::text("x".repeat(30 * 1024));
        let (slow, behind) = new();
        slow.send(&large);
        slow.send(&large);
        let (room, socket) = new();
        for _ in 0..3 {
            room.send(&large);
            assert!(matches!(&socket.take(10)[..], [Frame::Message(_)]));
            futures_util::FutureExt::now_or_never(socket.filled()).unwrap();
            // What was taken is written by then.
        }
        assert!(budget.granted() <= 64 * 1024);
        slow.send(&large);
        assert!(matches!(&behind.take(10)[..], [Frame::Close(frame)] if frame.code == 1013));
        assert_eq!(budget.granted(), 0);
    }

    #[test]
    fn a_slow_client_loses_its_queue_and_is_closed_with_1013() {
        let (room, socket) = small();
        for text in ["1", "2", "3", "4"] {
            room.send(&Message::text(text));
        }
        let frames = socket.take(10);
        assert!(matches!(&frames[..], [Frame::Close(frame)] if frame.code == 1013));
        let (room, socket) = small();
        room.send(&Message::text("eleven bytes"));
        assert!(matches!(&socket.take(10)[..], [Frame::Close(frame)] if frame.code == 1013));
    }

    #[test]
    fn nothing_follows_a_close_frame() {
        let (room, socket) = small();
        room.send(&Message::text("hi"));
        room.close(CloseFrame::new(4001, "bye"));
        room.send(&Message::text("lost"));
        drop(room);
        let last = Frame::Close(CloseFrame::new(4001, "bye"));
        assert_eq!(socket.take(10), [Frame::Message(Message::text("hi")), last]);
    }

    #[test]
    fn an_answer_without_the_room_keeps_order_and_bound() {
        let (room, socket) = small();
        room.send(&Message::text("first"));
        socket.answer(&Message::text("pong"));
        let frames = ["first", "pong"].map(|text| Frame::Message(Message::text(text)));
        assert_eq!(socket.take(10), frames);
        (0..3).for_each(|_| socket.answer(&Message::text("pong")));
        assert!(matches!(&socket.take(10)[..], [Frame::Close(frame)] if frame.code == 1013));
        socket.answer(&Message::text("pong"));
        assert_eq!(socket.take(10), []);
    }

    #[test]
    fn a_ping_goes_first_and_a_server_that_stops_says_only_goodbye() {
        let (room, socket) = small();
        room.send(&Message::text("hi"));
        socket.ping();
        socket.ping();
        assert_eq!(socket.take(10), [Frame::Ping, Frame::Message(Message::text("hi"))]);
        room.send(&Message::text("never sent"));
        socket.leave(CloseFrame::new(1012, "bye"));
        room.close(CloseFrame::new(4001, "too late"));
        assert_eq!(socket.take(10), [Frame::Close(CloseFrame::new(1012, "bye"))]);
    }

    #[test]
    fn a_verdict_of_the_socket_goes_over_the_rooms_last_frame() {
        let (room, socket) = small();
        room.send(&Message::text("hi"));
        socket.end_later(CloseFrame::new(1002, "bad frame"));
        assert_eq!(socket.take(10), [Frame::Message(Message::text("hi"))]);
        drop(room);
        assert_eq!(socket.take(10), [Frame::Close(CloseFrame::new(1002, "bad frame"))]);
        let (room, socket) = small();
        socket.end_later(CloseFrame::new(1002, "bad frame"));
        room.send(&Message::text("hi"));
        socket.end_now(CloseFrame::new(1002, "bad frame"));
        drop(room);
        let last = Frame::Close(CloseFrame::new(1002, "bad frame"));
        assert_eq!(socket.take(10), [Frame::Message(Message::text("hi")), last]);
    }

    #[test]
    fn what_was_taken_makes_space() {
        let (room, socket) = small();
        for _ in 0..5 {
            room.send(&Message::text("five5"));
            assert_eq!(socket.take(1).len(), 1);
        }
    }
}
