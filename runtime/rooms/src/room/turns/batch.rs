//! Turns that share a call of the guest. Owns the order of delivery, commit and release between two of them.
//!
//! Invariant: each turn has what a turn in a call of its own has: its number, its span, its budget, its commit
//! and its outcome. While the guest waits for the next message it has no turn, and nothing of the turns
//! before is undone by what follows. It does not know where messages come from.

use super::super::RoomError;
use super::super::live::LiveInstance;
use super::super::outlet::Reply;
use super::commit::unreadable;
use super::{Committed, Turns};
use room_core::connection::Link;
use room_core::event::{GuestAnswer, Message};
use room_core::id::{ConnectionId, Serial};
use room_core::limits::size;
use room_core::report;
use room_guest::{BatchCall, Flushes, GuestFault};
use room_store::StoreError;
use std::pin::pin;

/// The name of a message's event.
const EVENT: &str = "message";

impl Turns {
    /// Returns true if there is an instance that takes several messages in one call.
    pub(in super::super) fn takes_batches(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.instance.takes_batches())
    }

    /// Admits a message of a connection that is still open, and returns it with its sender.
    pub(in super::super) fn admit(
        &mut self,
        from: Serial,
        message: Message,
    ) -> Option<(ConnectionId, Message)> {
        let sender = self.outlet.roster.get(from).filter(|c| c.link == Link::Open);
        let connection = sender.map(|sender| sender.id.clone())?;
        // A client that has left cannot receive an answer. While the guest fails, each message that the
        // client left behind may take the guest's whole time, and the clients that are there would wait for
        // that.
        if self.is_failing() && self.outlet.roster.has_left(from) {
            report!(
                debug,
                self.log(),
                [],
                "dropped a message of {connection}, which is gone, as the guest fails"
            );
            return None;
        }
        self.figures.note_received();
        self.tap.came(&connection, &message);
        Some((connection, message))
    }

    /// Notes the outcome of a message with an id.
    pub(in super::super) fn note_delivered(
        &mut self,
        from: Serial,
        id: Option<Box<str>>,
        fault: Option<&GuestFault>,
    ) {
        if let Some(id) = id {
            self.outlet.roster.note_delivered(from, (id, fault), &self.parts);
        }
    }

    /// Delivers messages in one call of the guest, as long as `next` returns one. Stops early when a fault
    /// ends the instance, when the gate holds more than `held_bytes_max`, and when a tick is due. The room has an instance that
    /// takes batches.
    pub(in super::super) async fn batch(
        &mut self,
        mut next: impl FnMut(&mut Self) -> Option<(ConnectionId, Message)>,
    ) -> Result<(), StoreError> {
        let Some(mut message) = next(self) else { return Ok(()) };
        let Some(mut live) = self.live.take() else { return Ok(()) };
        let LiveInstance { instance, flushes, .. } = &mut *live;
        let Some(mut call) = instance.batch_call() else { return Ok(()) };
        loop {
            let outcome = self.turn_of(&mut call, &message, flushes).await?;
            self.count(&outcome);
            self.judge(EVENT, &outcome);
            match outcome {
                Ok(turn) => self.hold(turn, Reply::Nobody),
                Err(RoomError::Guest(fault)) if fault.spares_instance() => {}
                Err(_) => return Ok(()),
            }
            self.release()?;
            // While the disk is behind, the mailbox fills up and slows the clients down. A tick that is due has its
            // turn before the next message.
            let is_behind = self.outlet.held_bytes() > size(self.parts.limits.held_bytes_max);
            if is_behind || self.ticks.is_due() {
                break;
            }
            match next(self) {
                Some(another) => message = another,
                None => break,
            }
        }
        let ended = {
            let ending = pin!(call.end());
            self.deliver(ending, None, flushes).await?
        };
        match ended {
            Ok(()) => self.live = Some(live),
            Err(fault) => self.fault(EVENT, &fault.into()),
        }
        Ok(())
    }

    /// Delivers one message of a call, and keeps all of its effects or none.
    async fn turn_of(
        &mut self,
        call: &mut BatchCall<'_>,
        message: &(ConnectionId, Message),
        flushes: &Flushes,
    ) -> Result<Result<Committed, RoomError>, StoreError> {
        let turn = self.begin(None);
        let delivered = {
            let delivery = pin!(call.turn(message, turn));
            self.observed(EVENT, None, delivery, flushes).await?
        };
        match delivered {
            Ok(turn) => {
                let (said, offset) = self.commit(turn.finish().map_err(unreadable)?).await?;
                Ok(Ok(Committed { answer: GuestAnswer::Done, said, offset }))
            }
            Err(fault) => Ok(Err(fault.into())),
        }
    }
}
