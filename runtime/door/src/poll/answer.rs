//! The answer to one poll, as JSON. Owns its keys, and how much it holds.
//!
//! Invariant: an answer names the id to continue after, and has every message before it that the client had not got. A
//! message that does not fit, and the close behind it, is in the next answer. It does not know when an answer is due.

use crate::carrier::{OutgoingFrame, told};
use crate::socket::driver::{FrameMarks, FrameSink, SinkClosed};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use room_core::event::{CloseFrame, Message};
use room_core::id::SequenceNumber;
use room_core::metrics::PollEnd;
use room_rooms::room::superseded;
use serde::Serialize;
use serde_json::{Value, json};

/// What the answer says, as it grows.
pub(super) struct PollAnswer {
    bytes_max: usize,
    welcome: Option<Value>,
    /// The messages as JSON, with commas between.
    messages: Vec<u8>,
    /// The id to continue after.
    since: Option<SequenceNumber>,
    /// Where a new connection begins.
    at: Option<SequenceNumber>,
    closed: Option<CloseFrame>,
    /// True if it is to be sent.
    is_complete: bool,
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
    pub(super) fn after(since: Option<SequenceNumber>, bytes_max: usize) -> Self {
        Self {
            bytes_max,
            welcome: None,
            messages: Vec::new(),
            since,
            at: None,
            closed: None,
            is_complete: false,
        }
    }

    /// Returns true if there is no space for a frame. What was sent before the connection began is in its first answer or
    /// in none, so there is always space for that.
    fn is_full_for(&self, frame: &OutgoingFrame) -> bool {
        let is_before = match frame {
            OutgoingFrame::Entry(entry) => self.at.is_some_and(|at| entry.number() <= at),
            // It takes no space, and says that the answer is complete.
            OutgoingFrame::Ping => return false,
            _ => false,
        };
        self.messages.len() >= self.bytes_max && !is_before
    }

    fn add(&mut self, id: Option<SequenceNumber>, message: &Message) {
        let (text, base64) = match message {
            Message::Text(text) => (Some(text.as_str()), None),
            Message::Binary(bytes) => (None, Some(BASE64_STANDARD.encode(bytes))),
        };
        if !self.messages.is_empty() {
            self.messages.push(b',');
        }
        let message = PolledMessage { id: id.map(|id| id.to_string()), text, base64 };
        serde_json::to_writer(&mut self.messages, &message).expect("texts are JSON");
        self.since = self.since.max(id);
    }

    /// Returns what the answer is, for the count of polls.
    pub(super) fn end(&self) -> PollEnd {
        match &self.closed {
            Some(frame) if *frame == superseded() => PollEnd::Superseded,
            Some(_) => PollEnd::Closed,
            None if self.welcome.is_some() => PollEnd::Welcome,
            None if self.messages.is_empty() => PollEnd::Empty,
            None => PollEnd::Messages,
        }
    }

    /// Returns the body.
    pub(super) fn into_json(self) -> Vec<u8> {
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
        let rest = rest.to_string();
        let mut body = Vec::with_capacity(self.messages.len() + rest.len() + 16);
        body.extend_from_slice(b"{\"messages\":[");
        body.extend_from_slice(&self.messages);
        body.extend_from_slice(b"],");
        body.extend_from_slice(rest.trim_start_matches('{').as_bytes());
        body
    }
}

impl FrameSink for PollAnswer {
    async fn send<'a>(
        &'a mut self,
        frames: &'a mut Vec<OutgoingFrame>,
    ) -> Result<FrameMarks, SinkClosed> {
        let mut marks = FrameMarks::default();
        for frame in frames.drain(..) {
            if self.is_full_for(&frame) {
                // Also in place of a close.
                break;
            }
            match &frame {
                OutgoingFrame::Message(message) => self.add(None, message),
                OutgoingFrame::Entry(entry) => self.add(Some(entry.number()), entry.message()),
                OutgoingFrame::Welcome(welcome) => {
                    (self.since, self.at) = (welcome.at, welcome.at);
                    self.welcome = Some(told(welcome));
                }
                OutgoingFrame::Ping => self.is_complete = true,
                OutgoingFrame::Close(close) => {
                    self.closed = Some(close.clone());
                    marks.note(&frame);
                    return Ok(marks);
                }
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

    async fn answered(bytes_max: usize, mut frames: Vec<OutgoingFrame>) -> Value {
        let since = SequenceNumber { epoch: 7, seq: 1 };
        let mut answer = PollAnswer::after(Some(since), bytes_max);
        answer.send(&mut frames).await.unwrap();
        serde_json::from_slice(&answer.into_json()).unwrap()
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
    async fn an_answer_leaves_out_what_does_not_fit_and_the_close_behind_it() {
        let frames = vec![
            message("0123456789"),
            message("x"),
            OutgoingFrame::Close(CloseFrame::new(1000, "")),
        ];
        let answer = answered(10, frames).await;
        assert_eq!(answer, json!({ "messages": [{ "text": "0123456789" }], "since": "7-1" }));
    }
}
