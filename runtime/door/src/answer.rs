//! The answers that a socket gives without its room. Owns the comparison, and the party's newest answer.
//!
//! Invariant: only a text that equals the configured request, byte for byte, is answered. The room never receives it,
//! so the room may sleep. It does not know rooms, or how the answer is sent.

use room_core::config::AutoResponse;
use room_core::event::Message;
use std::sync::Arc;
use tokio::sync::watch;

/// The answers of one socket.
pub(super) struct Answers {
    party: watch::Receiver<Option<Arc<AutoResponse>>>,
    /// A copy of the party's newest value, so that a message costs no lock.
    current: Option<Arc<AutoResponse>>,
}

impl Answers {
    pub(super) fn new(mut party: watch::Receiver<Option<Arc<AutoResponse>>>) -> Self {
        let current = party.borrow_and_update().clone();
        Self { party, current }
    }

    /// Returns the answer to this message, if it needs no room.
    pub(super) fn to(&mut self, message: &Message) -> Option<Message> {
        // If the party was removed, its last value stays in use until its sockets are closed.
        if self.party.has_changed().unwrap_or(false) {
            self.current = self.party.borrow_and_update().clone();
        }
        match (&self.current, message) {
            (Some(answer), Message::Text(text)) if text.as_str() == answer.request => {
                Some(Message::text(answer.response.as_str()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(request: &str, response: &str) -> Option<Arc<AutoResponse>> {
        let (request, response) = (request.to_owned(), response.to_owned());
        Some(Arc::new(AutoResponse { request, response }))
    }

    #[test]
    fn only_the_exact_text_is_answered_and_a_change_applies_at_once() {
        let (party, receiver) = watch::channel(None);
        let mut answers = Answers::new(receiver);
        let ping = Message::text("ping");
        assert_eq!(answers.to(&ping), None);
        party.send_replace(answer("ping", "pong"));
        assert_eq!(answers.to(&ping), Some(Message::text("pong")));
        for other in [Message::text("ping "), Message::text(""), Message::Binary("ping".into())] {
            assert_eq!(answers.to(&other), None);
        }
        party.send_replace(answer("hi", ""));
        assert_eq!(
            (answers.to(&ping), answers.to(&Message::text("hi"))),
            (None, Some(Message::text("")))
        );
        drop(party);
        assert_eq!(answers.to(&Message::text("hi")), Some(Message::text("")));
    }
}
