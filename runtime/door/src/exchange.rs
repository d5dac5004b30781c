//! Requests that take longer than their own turn. Owns how their bodies reach a room in pieces, and how a response that
//! stays open reaches its client.
//!
//! Invariant: the next piece of a body is read when the room has handled the one before, and the next part of a
//! response is taken when the client has taken the one before. A response that its room did not complete ends without
//! the end of its body. It does not know who writes, or when.

use crate::http::{read_body, respond};
use crate::status::DoorError;
use ::http::{StatusCode, header};
use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use http_body_util::BodyExt;
use room_core::byte_budget::BytePermit;
use room_core::clock::until;
use room_core::event::{BodyDelivery, BodyFault, BodyPiece};
use room_core::limits::{Limits, ms, size};
use room_rooms::room::{
    BodySender, OpenResponse, PieceVerdict, ResponsePart, ResponseStart, RoomAnswer,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// A comment, which keeps proxies from ending a stream of events that has none to send.
const SIGN_OF_LIFE: &[u8] = b":\n";

/// The body of a request on its way to a room.
pub(super) struct RequestBody {
    source: BodySource,
    /// Covers what is read of it.
    permit: BytePermit,
}

enum BodySource {
    Unread(Body),
    Read(Bytes),
}

/// The room did not complete the response.
#[derive(Debug, thiserror::Error)]
#[error("the room did not complete the response")]
struct BrokenOff;

impl RequestBody {
    pub(super) fn new(body: Body, permit: BytePermit) -> Self {
        Self { source: BodySource::Unread(body), permit }
    }

    /// Returns what the event of the request has of the body, and whether pieces follow. A body that comes whole is read
    /// once.
    ///
    /// # Errors
    /// [`DoorError::BodyTooLarge`], [`DoorError::BodyMissing`], [`DoorError::BuffersFull`].
    ///
    /// # Cancel safety
    /// If dropped before it returns, the body is lost.
    pub(super) async fn for_event(
        &mut self,
        delivery: BodyDelivery,
        limits: &Limits,
    ) -> Result<(Bytes, BodyDelivery), DoorError> {
        if delivery == BodyDelivery::Pieces {
            let max = limits.body_pieces_bytes_max;
            return match &self.source {
                // A body whose announced length is too large is refused without reading it.
                BodySource::Unread(body) if body.size_hint().lower() > max => {
                    Err(DoorError::BodyTooLarge(max))
                }
                BodySource::Unread(body) if body.is_end_stream() => {
                    Ok((Bytes::new(), BodyDelivery::Whole))
                }
                BodySource::Read(bytes) if bytes.is_empty() => {
                    Ok((Bytes::new(), BodyDelivery::Whole))
                }
                _ => Ok((Bytes::new(), BodyDelivery::Pieces)),
            };
        }
        if let BodySource::Unread(body) = &mut self.source {
            let body = std::mem::take(body);
            let read = read_body(body, limits.body_bytes_max, limits, &mut self.permit).await?;
            self.source = BodySource::Read(read);
        }
        match &self.source {
            BodySource::Read(bytes) => Ok((bytes.clone(), BodyDelivery::Whole)),
            BodySource::Unread(_) => Ok((Bytes::new(), BodyDelivery::Whole)),
        }
    }

    /// Hands the body to the room in pieces, in a task of its own, until the handle is dropped.
    fn follow(self, room: BodySender, limits: Arc<Limits>) -> AbortOnDropHandle<()> {
        let body = match self.source {
            BodySource::Unread(body) => body,
            BodySource::Read(bytes) => Body::from(bytes),
        };
        let pieces = BodyPieces { body, room, sent: 0, limits, permit: self.permit };
        AbortOnDropHandle::new(tokio::spawn(pieces.send_all()))
    }
}

/// A body, piece by piece.
struct BodyPieces {
    body: Body,
    room: BodySender,
    /// Bytes that the client sent so far.
    sent: u64,
    limits: Arc<Limits>,
    permit: BytePermit,
}

/// What follows a part of a body.
enum Onward {
    Next,
    /// The room has all that it wants.
    Over,
    Failed(BodyFault),
}

impl BodyPieces {
    async fn send_all(mut self) {
        loop {
            match self.send_next().await {
                Onward::Next => {}
                Onward::Over => return,
                Onward::Failed(fault) => {
                    // A room that is too busy for it ends the response when its time is over.
                    let _verdict = self.room.send(BodyPiece::Failed(fault)).await;
                    return;
                }
            }
        }
    }

    /// Reads what the client has sent, and hands it on.
    async fn send_next(&mut self) -> Onward {
        let patience = ms(self.limits.piece_ms_max);
        let mut data = match tokio::time::timeout(patience, self.body.frame()).await {
            Err(_) => return Onward::Failed(BodyFault::Stalled),
            Ok(Some(Err(_))) => return Onward::Failed(BodyFault::Aborted),
            Ok(None) => return hand_on(&self.room, BodyPiece::Last(Bytes::new())).await,
            // Trailers.
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => data,
                Err(_) => return Onward::Next,
            },
        };
        self.sent += data.len() as u64;
        if self.sent > self.limits.body_pieces_bytes_max {
            return Onward::Failed(BodyFault::TooLarge);
        }
        if !self.permit.cover(data.len()) {
            return Onward::Failed(BodyFault::Stalled);
        }
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(size(self.limits.body_piece_bytes_max)));
            let is_last = data.is_empty() && self.body.is_end_stream();
            let piece = if is_last { BodyPiece::Last(piece) } else { BodyPiece::More(piece) };
            match hand_on(&self.room, piece).await {
                Onward::Next => {}
                end => return end,
            }
        }
        self.permit.shrink(0);
        Onward::Next
    }
}

/// Hands on a piece, and waits until the room has handled it.
async fn hand_on(room: &BodySender, piece: BodyPiece) -> Onward {
    let is_last = matches!(piece, BodyPiece::Last(_));
    match room.send(piece).await {
        PieceVerdict::Taken if is_last => Onward::Over,
        PieceVerdict::Taken => Onward::Next,
        PieceVerdict::Unwanted => Onward::Over,
        PieceVerdict::Busy => Onward::Failed(BodyFault::Stalled),
    }
}

/// Returns a room's answer as HTTP, when it begins. One that goes on breaks off at `end`, when its client's token ends.
///
/// # Errors
/// [`DoorError`] says why no response begins.
///
/// # Cancel safety
/// If dropped before it returns, the room learns that the client left.
pub(super) async fn answer(
    answer: RoomAnswer,
    body: RequestBody,
    (follows, end): (BodyDelivery, Option<Instant>),
    limits: &Arc<Limits>,
) -> Result<Response, DoorError> {
    let mut open = match answer {
        RoomAnswer::Whole(response) => return Ok(respond(response)),
        RoomAnswer::Later(open) => open,
    };
    let upload = match follows {
        BodyDelivery::Pieces => Some(body.follow(open.body(), limits.clone())),
        BodyDelivery::Whole => None,
    };
    match open.start().await {
        Ok(ResponseStart::Whole(response)) => Ok(respond(response)),
        Ok(ResponseStart::Stream(head)) => {
            let response = respond(head);
            Ok(continued(response, ResponseStream::new(open, upload, end), limits).await)
        }
        Err(error) => Err(DoorError::Room(error.into())),
    }
}

/// The rest of a response.
struct ResponseStream {
    /// What the body begins with.
    first: Bytes,
    open: Box<OpenResponse>,
    /// The rest of the request's body.
    _upload: Option<AbortOnDropHandle<()>>,
    /// The time without a write after which the client gets a comment, if the response has events.
    keep_alive: Option<Duration>,
    /// True if the last write ended with a line, so that a comment can follow.
    is_at_line_start: bool,
    is_over: bool,
    /// When the client's token ends.
    end: Option<Instant>,
}

/// Returns a response whose body goes on with the stream.
async fn continued(response: Response, mut stream: ResponseStream, limits: &Limits) -> Response {
    let status = response.status();
    if matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    ) {
        // The client would take a body for the next response. The room learns that nobody reads it.
        return response;
    }
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let has_events =
        content_type.is_some_and(|found| found.as_bytes().starts_with(b"text/event-stream"));
    stream.keep_alive = has_events.then(|| ms(limits.stream_keep_alive_ms));
    let (parts, first) = response.into_parts();
    // It is in memory.
    stream.first = first.collect().await.map(|whole| whole.to_bytes()).unwrap_or_default();
    let body = unfold(stream, |mut stream| async move {
        let part = stream.next().await?;
        Some((part, stream))
    });
    Response::from_parts(parts, Body::from_stream(body))
}

impl ResponseStream {
    fn new(
        open: Box<OpenResponse>,
        upload: Option<AbortOnDropHandle<()>>,
        end: Option<Instant>,
    ) -> Self {
        Self {
            first: Bytes::new(),
            open,
            _upload: upload,
            keep_alive: None,
            is_at_line_start: true,
            is_over: false,
            end,
        }
    }

    async fn next(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Some(Ok(self.sent(first)));
        }
        while !self.is_over {
            match self.part().await {
                Some(ResponsePart::Piece(piece)) if piece.is_empty() => {}
                Some(ResponsePart::Piece(piece)) => return Some(Ok(self.sent(piece))),
                Some(ResponsePart::End) => self.is_over = true,
                Some(ResponsePart::Cut) => {
                    self.is_over = true;
                    // While this waits, hyper writes the parts before; an error would throw them away.
                    tokio::task::yield_now().await;
                    return Some(Err(BrokenOff));
                }
                None if self.is_at_line_start => {
                    return Some(Ok(Bytes::from_static(SIGN_OF_LIFE)));
                }
                None => {}
            }
        }
        None
    }

    /// Waits for the next part; `None` if it is time for a sign of life.
    async fn part(&mut self) -> Option<ResponsePart> {
        let next = async {
            tokio::select! {
                biased;
                () = until(self.end) => ResponsePart::Cut,
                part = self.open.next() => part,
            }
        };
        match self.keep_alive {
            Some(pause) => tokio::time::timeout(pause, next).await.ok(),
            None => Some(next.await),
        }
    }

    fn sent(&mut self, piece: Bytes) -> Bytes {
        self.is_at_line_start = piece.ends_with(b"\n");
        piece
    }
}
