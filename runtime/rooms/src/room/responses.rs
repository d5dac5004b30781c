//! The client's end of a request. Owns what the door reads of a response that stays open, and how it hands on pieces of
//! a body.
//!
//! Invariant: the room learns that a client left an open response, once, whatever becomes of the door's task. It does
//! not know HTTP.

use super::RoomError;
use super::exchanges::COMPLETE;
use super::mail::{PieceMail, StreamGone};
use super::mailbox::Mailbox;
use super::outbox::{Outbox, OutboxItem, Outboxes};
use bytes::Bytes;
use room_core::event::{BodyPiece, Message, Response, StreamEnd};
use room_core::id::RequestId;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;

/// A room's answer to a request.
#[derive(Debug)]
pub enum RoomAnswer {
    /// The whole response.
    Whole(Response),
    /// A later turn responds, or the response has more than one part.
    Later(Box<OpenResponse>),
}

/// What an open response starts with.
#[derive(Debug)]
pub enum ResponseStart {
    /// All of it.
    Whole(Response),
    /// Its head and the first bytes of its body. [`OpenResponse::next`] has the rest.
    Stream(Response),
}

/// The next part of a response's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponsePart {
    /// Bytes.
    Piece(Bytes),
    /// The body is complete.
    End,
    /// There will be no more, and the body is not complete.
    Cut,
}

/// A response that is not complete. If it is dropped before its end, the room learns that the client left.
pub struct OpenResponse {
    started: oneshot::Receiver<Result<ResponseStart, RoomError>>,
    outboxes: Outboxes,
    /// Held for its drop.
    _outbox: Outbox,
    visitor: RequestVisitor,
}

/// A drop guard of a request in a room.
struct RequestVisitor {
    id: RequestId,
    mailbox: Mailbox,
    /// True when the room knows of the response's end.
    over: AtomicBool,
}

/// The way on which a request's body reaches its room, piece by piece.
pub struct BodySender {
    id: RequestId,
    mailbox: Mailbox,
}

/// What became of a piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceVerdict {
    /// The room took it: its turn has committed.
    Taken,
    /// The room wants no more of the body.
    Unwanted,
    /// The room had no space for it in time.
    Busy,
}

impl RoomAnswer {
    /// Returns the response, if it is whole. The room learns that nobody waits for one that is not.
    pub fn whole(self) -> Option<Response> {
        match self {
            Self::Whole(response) => Some(response),
            Self::Later(_) => None,
        }
    }
}

impl OpenResponse {
    pub(super) fn new(
        (id, mailbox): (RequestId, Mailbox),
        started: oneshot::Receiver<Result<ResponseStart, RoomError>>,
        (outboxes, outbox): (Outboxes, Outbox),
    ) -> Self {
        let visitor = RequestVisitor { id, mailbox, over: AtomicBool::new(false) };
        Self { started, outboxes, _outbox: outbox, visitor }
    }

    /// Returns the way on which the request's body reaches the room.
    pub fn body(&self) -> BodySender {
        BodySender { id: self.visitor.id, mailbox: self.visitor.mailbox.clone() }
    }

    /// Waits until the response begins, once. The room bounds the time.
    ///
    /// # Errors
    /// [`RoomError`] says why there is no response.
    ///
    /// # Cancel safety
    /// If the future is dropped, the next call returns what this one would have returned.
    pub async fn start(&mut self) -> Result<ResponseStart, RoomError> {
        let started = (&mut self.started).await.unwrap_or(Err(RoomError::Gone));
        if !matches!(started, Ok(ResponseStart::Stream(_))) {
            self.visitor.over();
        }
        started
    }

    /// Waits for the next part of the body, after what was taken before is written.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, nothing was taken.
    pub async fn next(&mut self) -> ResponsePart {
        let mut items = Vec::with_capacity(1);
        // Nobody wakes these outboxes but for an item.
        let _key = self.outboxes.next(1, &mut items).await;
        let part = match items.pop() {
            Some(OutboxItem::Message(Message::Binary(piece))) => ResponsePart::Piece(piece),
            Some(OutboxItem::Message(Message::Text(text))) => ResponsePart::Piece(text.into()),
            Some(OutboxItem::Goodbye(frame)) if frame.code == COMPLETE => ResponsePart::End,
            // The last four are items of connections, and never in the queue of a response.
            Some(
                OutboxItem::Goodbye(_)
                | OutboxItem::Overflow
                | OutboxItem::Entry(_)
                | OutboxItem::Welcome(_)
                | OutboxItem::Presence(_)
                | OutboxItem::Ack(_),
            )
            | None => ResponsePart::Cut,
        };
        if !matches!(part, ResponsePart::Piece(_)) {
            self.visitor.over();
        }
        part
    }
}

impl std::fmt::Debug for OpenResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenResponse({})", self.visitor.id)
    }
}

impl RequestVisitor {
    fn over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Drop for RequestVisitor {
    fn drop(&mut self) {
        if !self.over.load(Ordering::Relaxed) {
            // A room that is gone has ended all its responses.
            drop(self.mailbox.push(StreamGone { id: self.id, end: StreamEnd::Left }));
        }
    }
}

impl BodySender {
    /// Hands on a piece, and waits until the room has handled it.
    ///
    /// # Cancel safety
    /// If the future is dropped, the piece may be lost, and the room may handle it all the same.
    pub async fn send(&self, piece: BodyPiece) -> PieceVerdict {
        let (taken, answer) = oneshot::channel();
        let mail = PieceMail { id: self.id, piece, taken };
        match self.mailbox.push_when_free(mail).await {
            Ok(()) => answer.await.unwrap_or(PieceVerdict::Unwanted),
            Err(RoomError::Busy) => PieceVerdict::Busy,
            Err(_) => PieceVerdict::Unwanted,
        }
    }
}
