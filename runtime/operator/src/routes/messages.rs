//! `GET /rooms/:party/:room/messages`: what passes through a room, as server-sent events. Owns the format.
//!
//! Invariant: a client that reads nothing costs its queue and one batch, and no room waits for it. The client gets the
//! number of dropped events. The room is not woken, need not be in memory, and may be evicted and activated again: the
//! stream stays open until the node stops. It does not know what passes.
//!
//! ```text
//! data: {…}     an event: time_ms, direction (in, out, null), kind (open, text, binary, close, fault),
//!               connection or to (the number of receivers), bytes, text (an excerpt; of a binary its digits),
//!               cut (whether there is more), code and clean of a close, event of a fault
//! event: missed        data: {"missed":N}: N events were dropped before the client read them
//! ```
//!
//! A client's message is reported before the room handles it. A room's message is reported when its turn is durable,
//! and not before. A text that a party's `auto_response` answers does not pass the room, so it is not reported.

use super::query::Query;
use super::target::RoomTarget;
use crate::{Operator, OperatorError};
use axum::response::Response;
use http::Uri;
use room_core::limits::ms;
use room_door::events::{self, Events};
use room_rooms::taps::{Tap, TapBatch};
use std::fmt::Write;

pub(super) async fn watch(operator: Operator, uri: Uri) -> Result<Response, OperatorError> {
    let target = RoomTarget::of(&operator, &uri)?;
    Query::of(&uri, &[])?;
    let tap = operator.0.rooms.taps().watch(target.room)?;
    Ok(events::stream(MessageEventStream(tap), ms(operator.0.limits.log_heartbeat_ms)))
}

/// A response that is being sent.
struct MessageEventStream(Tap);

impl Events for MessageEventStream {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(batch) = self.0.read() {
                return Some(written(&batch));
            }
            if !self.0.wait().await {
                return None;
            }
        }
    }
}

fn written(TapBatch { missed, passed }: &TapBatch) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail, and neither can converting an event to JSON.
    if *missed > 0 {
        let _ = write!(out, "event: missed\ndata: {{\"missed\":{missed}}}\n\n");
    }
    for passed in passed {
        let json = serde_json::to_string(&**passed).unwrap_or_default();
        let _ = write!(out, "data: {json}\n\n");
    }
    out
}
