//! The answer to one poll, as JSON. Owns its keys, and how much it holds.
//!
//! Invariant: an answer names the id to continue after, and has every message before it that the client had not got. A
//! message that does not fit, and the close behind it, is in the next answer. What it holds counts among the node's
//! buffered bytes. It does not know when an answer is due.

use crate::carrier::{OutgoingFrame, told};
use crate::socket::driver::{FrameMarks, FrameSink, SinkClosed};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use room_core::byte_budget::BytePermit;
use room_core::event::{CloseFrame, Message};
use room_core::id::SequenceNumber;
use room_core::metrics::PollEnd;
use room_rooms::room::{PresenceEvent, superseded};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What the answer says, as it grows.
pub(super) struct PollAnswer {
    bytes_max: usize,
    /// Covers `messages` and `presence`.
    permit: BytePermit,
    welcome: Option<Value>,
    /// The messages as JSON, with commas between.
    messages: Vec<u8>,
    /// The id to continue after.
    since: Option<SequenceNumber>,
    /// Where a new connection begins.
    at: Option<SequenceNumber>,
    closed: Option<CloseFrame>,
    /// What changed of who is in the room, for a client that asks for it.
    presence: Option<Arc<PresenceEvent>>,
    /// True if the node has no space for what changed of that. The client's next poll gets all of it.
    lacks_presence: bool,
    /// True if it is to be sent.
    is_complete: bool,
    /// True if the node has no space for what it has to have.
    is_refused: bool,
}

/// A message of an answer.
#[derive(Serialize)]
struct PolledMessage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl PollAnswer {
    /// Begins the answer to a client that has got everything up to this id.
    pub(super) fn after(
        since: Option<SequenceNumber>,
        bytes_max: usize,
        permit: BytePermit,
    ) -> Self {
        Self {
            bytes_max,
            permit,
            welcome: None,
            messages: Vec::new(),
            since,
            at: None,
            closed: None,
            presence: None,
            lacks_presence: false,
            is_complete: false,
            is_refused: false,
        }
    }

    /// Returns true if a message was sent before the connection began: it is in the first answer or in none.
    fn is_before(&self, id: Option<SequenceNumber>) -> bool {
        id.is_some() && id <= self.at
    }

    /// Adds a message. Returns false if there is no space for it.
    fn add(&mut self, id: Option<SequenceNumber>, message: &Message) -> bool {
        let is_before = self.is_before(id);
        if self.messages.len() >= self.bytes_max && !is_before {
            return false;
        }
        let had = self.messages.len();
        self.append(id, message);
        let shown = self.presence.as_ref().map_or(0, |event| event.json().len());
        let is_covered = self.permit.cover(self.messages.len() + shown);
        if is_covered {
            self.since = self.since.max(id);
        } else {
            self.messages.truncate(had);
            self.messages.shrink_to_fit();
            // An answer without any message would let its client ask again at once.
            self.is_refused |= is_before || (had == 0 && self.welcome.is_none());
        }
        is_covered
    }

    /// Adds what changed of who is in the room, if there is space for it. Nothing may follow a change that is left out.
    fn show(&mut self, event: &Arc<PresenceEvent>) {
        let shown = event.json().len();
        self.lacks_presence |= !self.permit.cover(self.messages.len() + shown);
        self.presence = (!self.lacks_presence).then(|| event.clone());
    }

    fn append(&mut self, id: Option<SequenceNumber>, message: &Message) {
        let (text, base64) = match message {
            Message::Text(text) => (Some(text.as_str()), None),
            Message::Binary(bytes) => (None, Some(BASE64_STANDARD.encode(bytes))),
        };
        if !self.messages.is_empty() {
            self.messages.push(b',');
        }
        let message = PolledMessage { id: id.map(|id| id.to_string()), text, base64 };
        serde_json::to_writer(&mut self.messages, &message).expect("texts are JSON");
    }

    /// Returns true if the node has no space for what the answer has to have: the client is to come again with the id that
    /// it has.
    pub(super) fn is_refused(&self) -> bool {
        // As without any message.
        let is_empty = self.messages.is_empty() && self.welcome.is_none() && self.closed.is_none();
        self.is_refused || (self.lacks_presence && is_empty)
    }

    /// Returns what the answer is, for the count of polls.
    pub(super) fn end(&self) -> PollEnd {
        match &self.closed {
            Some(frame) if *frame == superseded() => PollEnd::Superseded,
            Some(_) => PollEnd::Closed,
            None if self.welcome.is_some() => PollEnd::Welcome,
            None if self.messages.is_empty() && self.presence.is_none() => PollEnd::Empty,
            None => PollEnd::Messages,
        }
    }

    /// Returns the body, and the permit for it: what is beside the messages is too little to count.
    pub(super) fn into_json(self) -> (Vec<u8>, BytePermit) {
        let mut rest = json!({ "since": self.since.map(|since| since.to_string()) });
        if let Some(welcome) = self.welcome {
            rest["welcome"] = welcome;
        }
        match self.closed {
            Some(frame) if frame == superseded() => rest["superseded"] = true.into(),
            Some(CloseFrame { code, reason }) => {
                rest["closed"] = json!({ "code": code, "reason": reason });
            }
            None => {}
        }
        let presence = self.presence.map(|event| {
            let (json, number) = (event.json(), event.number());
            format!(r#""presence":{json},"presence_at":{number},"#)
        });
        let (rest, presence) = (rest.to_string(), presence.unwrap_or_default());
        let mut body = Vec::with_capacity(self.messages.len() + rest.len() + presence.len() + 16);
        body.extend_from_slice(b"{\"messages\":[");
        body.extend_from_slice(&self.messages);
        body.extend_from_slice(b"],");
        body.extend_from_slice(presence.as_bytes());
        body.extend_from_slice(rest.trim_start_matches('{').as_bytes());
        (body, self.permit)
    }
}

impl FrameSink for PollAnswer {
    async fn send<'a>(
        &'a mut self,
        frames: &'a mut Vec<OutgoingFrame>,
    ) -> Result<FrameMarks, SinkClosed> {
        let mut marks = FrameMarks::default();
        for frame in frames.drain(..) {
            let has_space = match &frame {
                OutgoingFrame::Message(message) => self.add(None, message),
                OutgoingFrame::Entry(entry) => self.add(Some(entry.number()), entry.message()),
                OutgoingFrame::Welcome(welcome) => {
                    (self.since, self.at) = (welcome.at, welcome.at);
                    self.welcome = Some(told(welcome));
                    true
                }
                OutgoingFrame::Presence(event) => {
                    self.show(event);
                    true
                }
                OutgoingFrame::Ping => {
                    self.is_complete = true;
                    true
                }
                // The rest of the room's messages comes before its close.
                OutgoingFrame::Close(_) if self.messages.len() >= self.bytes_max => false,
                OutgoingFrame::Close(close) => {
                    self.closed = Some(close.clone());
                    marks.note(&frame);
                    return Ok(marks);
                }
            };
            if !has_space {
                // Nothing may follow what is left out.
                self.is_complete = true;
                break;
            }
        }
        if self.is_complete {
            marks.note(&OutgoingFrame::Ping);
        }
        Ok(marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::byte_budget::ByteBudget;

    async fn answered(bytes_max: usize, frames: Vec<OutgoingFrame>) -> Value {
        let budget = ByteBudget::new(1 << 20);
        answered_within(&budget, bytes_max, frames).await.0.unwrap()
    }

    /// Returns the answer, `None` if it is refused, and which of its frames the carrier is notified of.
    async fn answered_within(
        budget: &ByteBudget,
        bytes_max: usize,
        mut frames: Vec<OutgoingFrame>,
    ) -> (Option<Value>, FrameMarks) {
        let since = SequenceNumber { epoch: 7, seq: 1 };
        let mut answer = PollAnswer::after(Some(since), bytes_max, budget.permit());
        let marks = answer.send(&mut frames).await.unwrap();
        if answer.is_refused() {
            return (None, marks);
        }
        let (body, _permit) = answer.into_json();
        (Some(serde_json::from_slice(&body).unwrap()), marks)
    }

    fn message(text: &str) -> OutgoingFrame {
        OutgoingFrame::Message(Message::text(text))
    }

    #[tokio::test]
    async fn an_answer_has_the_messages_and_the_id_to_continue_after() {
        assert_eq!(
            answered(9, vec![OutgoingFrame::Ping]).await,
            json!({ "messages": [], "since": "7-1" })
        );
        let bytes = OutgoingFrame::Message(Message::Binary(vec![0, 255, 10].into()));
        let bye = CloseFrame::new(4001, "b\"ye");
        let frames = vec![message("a\"\u{1}}"), bytes, OutgoingFrame::Close(bye), message("late")];
        let expected = json!({
            "messages": [{ "text": "a\"\u{1}}" }, { "base64": "AP8K" }],
            "since": "7-1",
            "closed": { "code": 4001, "reason": "b\"ye" },
        });
        assert_eq!(answered(1_000, frames).await, expected);
        let frames = vec![OutgoingFrame::Close(superseded())];
        let expected = json!({ "messages": [], "since": "7-1", "superseded": true });
        assert_eq!(answered(1_000, frames).await, expected);
    }

    #[tokio::test]
    async fn an_answer_has_who_is_there_also_where_it_is_full() {
        let event = |number, json: &str| {
            OutgoingFrame::Presence(Arc::new(PresenceEvent::new(number, json.to_owned())))
        };
        let frames = vec![message("0123456789"), event(7, r#"{"left":["bob"]}"#)];
        let expected = json!({
            "messages": [{ "text": "0123456789" }],
            "presence": { "left": ["bob"] },
            "presence_at": 7,
            "since": "7-1",
        });
        assert_eq!(answered(1, frames).await, expected);
    }

    #[tokio::test]
    async fn an_answer_leaves_out_who_is_there_without_space_and_is_refused_if_empty() {
        let budget = ByteBudget::new(4_096);
        let event = |bytes| {
            let json = format!(r#"{{"left":["{}"]}}"#, "x".repeat(bytes));
            OutgoingFrame::Presence(Arc::new(PresenceEvent::new(7, json)))
        };
        let frames = vec![event(10_000), message("x"), event(1)];
        let (answer, _) = answered_within(&budget, 1_000, frames).await;
        let expected = json!({ "messages": [{ "text": "x" }], "since": "7-1" });
        assert_eq!(answer, Some(expected));
        let (answer, _) = answered_within(&budget, 1_000, vec![event(10_000)]).await;
        assert_eq!(answer, None);
        // Both count.
        let frames = vec![event(5_000), message("x"), message(&"x".repeat(5_000))];
        let (answer, _) = answered_within(&budget, 1_000, frames).await;
        let answer = answer.unwrap();
        assert_eq!(answer["messages"], json!([{ "text": "x" }]));
        assert_eq!((&answer["presence_at"], budget.granted()), (&json!(7), 0));
    }

    #[tokio::test]
    async fn an_answer_leaves_out_what_does_not_fit_and_the_close_behind_it() {
        let frames = vec![
            message("0123456789"),
            message("x"),
            OutgoingFrame::Close(CloseFrame::new(1000, "")),
        ];
        let answer = answered(10, frames).await;
        assert_eq!(answer, json!({ "messages": [{ "text": "0123456789" }], "since": "7-1" }));
    }

    #[tokio::test]
    async fn an_answer_is_shorter_if_the_node_has_no_space_for_more_and_refused_if_for_nothing() {
        let budget = ByteBudget::new(4_096);
        let text = "x".repeat(5_000);
        let close = || OutgoingFrame::Close(CloseFrame::new(1000, ""));
        let frames = vec![message(&text), OutgoingFrame::Ping, message(&text), close()];
        let (answer, marks) = answered_within(&budget, 1_000_000, frames).await;
        let expected = json!({ "messages": [{ "text": text }], "since": "7-1" });
        assert!(answer.unwrap() == expected && marks.is_complete_without_close(), "{marks:?}");
        let frames = vec![message(&"x".repeat(10_000)), OutgoingFrame::Ping, close()];
        let (answer, marks) = answered_within(&budget, 1_000_000, frames).await;
        assert!(answer.is_none() && marks.is_complete_without_close(), "{marks:?}");
        assert_eq!(budget.granted(), 0);
    }
}
