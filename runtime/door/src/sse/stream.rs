//! The driver of one event stream. Owns the way of its bytes into the body of an HTTP response.
//!
//! Invariant: the next bytes are made when the client has taken those before, and a stream that was not closed ends without
//! the end of its body. It does not know what the events mean.

use super::events::{self, ReturnTag};
use crate::carrier::{Carrier, Farewell, OutgoingFrame, WireEnd};
use crate::socket::driver::{Driver, FrameMarks, FrameSink, RoomMembership, SinkClosed};
use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt, unfold};
use room_core::limits::Limits;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What goes into the body.
enum EventChunk {
    Bytes(Bytes),
    /// The stream was closed, and its body is complete.
    End,
}

/// The client's stream ended before it was closed.
#[derive(Debug, thiserror::Error)]
#[error("the stream of events broke off")]
struct StreamCutOff;

/// The room's end of the body.
pub(super) struct EventSink {
    chunks: mpsc::Sender<EventChunk>,
    /// What the ids of this connection end with.
    tag: ReturnTag,
}

impl EventSink {
    /// Makes a body that begins with these bytes.
    pub(super) fn beginning_with(first: Bytes) -> (Self, Body) {
        let (chunks, rest) = mpsc::channel(1);
        let body = unfold((Some(first), Some(rest)), |(first, rest)| async move {
            if let Some(first) = first {
                return Some((Ok(first), (None, rest)));
            }
            let mut rest: mpsc::Receiver<EventChunk> = rest?;
            match rest.recv().await {
                Some(EventChunk::Bytes(bytes)) => Some((Ok(bytes), (None, Some(rest)))),
                Some(EventChunk::End) => None,
                None => Some((Err(StreamCutOff), (None, None))),
            }
        });
        (Self { chunks, tag: ReturnTag::default() }, Body::from_stream(body))
    }

    /// Returns a sink whose future ends when the client is gone.
    fn watch(&self) -> mpsc::Sender<EventChunk> {
        self.chunks.clone()
    }
}

impl FrameSink for EventSink {
    async fn send<'a>(
        &'a mut self,
        frames: &'a mut Vec<OutgoingFrame>,
    ) -> Result<FrameMarks, SinkClosed> {
        let mut marks = FrameMarks::default();
        // With space first: until the client has taken the bytes before, no copy of these is made.
        let place = self.chunks.reserve().await.map_err(|_| SinkClosed)?;
        let mut bytes = Vec::new();
        for frame in frames.drain(..) {
            match &frame {
                OutgoingFrame::Message(message) => events::write_message(&mut bytes, message),
                OutgoingFrame::Entry(entry) => events::write_entry(&mut bytes, entry, &self.tag),
                OutgoingFrame::Presence(event) => events::write_presence(&mut bytes, event),
                OutgoingFrame::Welcome(welcome) => {
                    self.tag = ReturnTag::of(welcome);
                    events::write_welcome(&mut bytes, welcome, &self.tag);
                }
                OutgoingFrame::Ping => events::write_sign_of_life(&mut bytes),
                OutgoingFrame::Close(close) => events::write_close(&mut bytes, close),
            }
            if marks.note(&frame) {
                break;
            }
        }
        match bytes.is_empty() {
            true => drop(place),
            false => place.send(EventChunk::Bytes(bytes.into())),
        }
        Ok(marks)
    }
}

/// Carries events to the client until the stream is closed, or the client is gone.
pub(super) async fn run(
    mut sink: EventSink,
    carrier: impl Carrier,
    membership: RoomMembership,
    limits: Arc<Limits>,
    closing: CancellationToken,
) {
    let watch = sink.watch();
    let driver = Driver::new(carrier, membership, limits, Arc::default());
    let farewell = {
        let gone = async {
            watch.closed().await;
            driver.end(WireEnd::Lost).await
        };
        let mut sides = FuturesUnordered::<BoxFuture<'_, Farewell>>::new();
        sides.push(Box::pin(gone));
        sides.push(Box::pin(driver.write(&mut sink)));
        sides.push(Box::pin(driver.keep_time(&closing)));
        sides.next().await.unwrap_or(Farewell::Drop)
    };
    // The room has the report of the end by now.
    drop(driver);
    match farewell {
        Farewell::Reply | Farewell::ShutDown => {
            // A client that takes nothing for too long has its connection ended by the listener.
            drop(watch.send(EventChunk::End).await);
        }
        Farewell::Drop => {}
    }
}
