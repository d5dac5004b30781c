//! Messages of clients. Owns the choice between a call of the guest for one message and a call for several.
//!
//! Invariant: a message is handled after all that came before it and before all that came after it, whichever
//! call it is part of. Only messages that follow on each other share a call, so that whatever else the room
//! has to do finds the guest between two calls. It does not know what a turn does.

use super::super::RoomError;
use super::super::mail::{EventMail, Mail, Visit};
use super::super::outlet::Reply;
use super::{Actor, Flow};
use room_core::event::{CloseFrame, Event, Message};
use room_core::id::Serial;
use room_core::turn::Output;
use room_store::StoreError;
use std::vec::IntoIter;

impl Actor {
    /// Handles a message. If the room could not take the message, and the guest is not to blame, the room
    /// closes the connection: otherwise the client would not learn that its message was lost.
    pub(super) async fn message(
        &mut self,
        from: Serial,
        message: Message,
    ) -> Result<(), StoreError> {
        let Some((connection, message)) = self.turns.admit(from, message) else { return Ok(()) };
        match self.turn(&Event::Message { connection, message }, None).await? {
            Ok(turn) => self.turns.hold(turn, Reply::Nobody),
            Err(RoomError::Guest(_)) => {}
            Err(error) => self.close_lost(from, &error),
        }
        Ok(())
    }

    /// Closes a connection whose message the room could not take.
    pub(super) fn close_lost(&mut self, from: Serial, error: &RoomError) {
        let frame = CloseFrame::new(1013, &error.to_string());
        self.turns.say(Output::Close { to: from, frame });
    }

    /// Returns true if this mail and the one after it can share a call of the guest.
    pub(super) fn share_a_call(&self, mail: &Mail, after: &[Mail]) -> bool {
        is_message(mail)
            && after.first().is_some_and(is_message)
            && self.failed_start.is_none()
            && self.turns.takes_batches()
    }

    /// Hands the guest this message and those that follow on it in one call. If the guest fails, or the disk
    /// is behind, the rest of the messages stays in `after`.
    pub(super) async fn messages(
        &mut self,
        mail: Mail,
        after: &mut IntoIter<Mail>,
    ) -> Result<Flow, StoreError> {
        self.tell_unheard().await?;
        // The guest may just have failed in its `on_close`.
        if !self.turns.takes_batches() {
            return self.handle(mail).await;
        }
        let mut first = Some(mail);
        let batch = self.turns.batch(|turns| {
            loop {
                let mail = first.take().or_else(|| next_message(after))?;
                if let Mail::Event(EventMail::Visit(Visit::Message { from, message })) = mail
                    && let Some(admitted) = turns.admit(from, message)
                {
                    return Some(admitted);
                }
            }
        });
        batch.await?;
        Ok(Flow::On)
    }
}

fn is_message(mail: &Mail) -> bool {
    matches!(mail, Mail::Event(EventMail::Visit(Visit::Message { .. })))
}

/// Takes the next mail if it is a message.
fn next_message(mails: &mut IntoIter<Mail>) -> Option<Mail> {
    if mails.as_slice().first().is_some_and(is_message) { mails.next() } else { None }
}
