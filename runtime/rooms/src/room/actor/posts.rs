//! Messages that come by plain HTTP. Owns whose a client's message is, and that a publication is carried out once.
//!
//! Invariant: a message is handled as if it had come by a socket, if its sender knows the connection's secret; otherwise
//! the guest does not learn of it. The answer leaves when the turn is durable. It does not know headers or keys of
//! publishers.

use super::super::RoomError;
use super::super::outlet::{DueOutputs, Reply};
use super::super::posts::{ClientPost, Publication, RepeatedPublication};
use super::super::rates::RoomRates;
use super::Actor;
use room_core::event::Event;
use room_core::jobs::{JobAccount, OutcallAnswer, OutcallFailure};
use room_guest::GuestFault;
use room_store::StoreError;
use tokio::sync::oneshot;

/// The sender of the answer to a client.
type PostReply = oneshot::Sender<Result<(), RoomError>>;
/// The sender of the answer to a publisher.
type PublishReply = oneshot::Sender<Result<OutcallAnswer, RoomError>>;

impl Actor {
    /// Handles a message of a client without a socket.
    pub(super) async fn post(
        &mut self,
        post: ClientPost,
        rates: Option<&RoomRates>,
        reply: PostReply,
    ) -> Result<(), StoreError> {
        let ClientPost { connection, secret, message } = post;
        let owner = self.turns.outlet.roster.owner(&connection, secret).and_then(|serial| {
            self.turns.outlet.roster.meter(serial, rates, message.len()).map(|()| serial)
        });
        let admitted =
            owner.and_then(|serial| self.turns.admit(serial, message).ok_or(RoomError::Over));
        let outcome = match admitted {
            Ok((connection, message)) => {
                match self.turn(&Event::Message { connection, message }, None).await? {
                    Ok(turn) => {
                        self.turns.hold(turn, Reply::Posted(DueOutputs::new(reply, Ok(()))));
                        return Ok(());
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        self.refuse(Reply::Posted(DueOutputs::new(reply, outcome)));
        Ok(())
    }

    /// Carries out a publication of another server, unless that was done before.
    pub(super) async fn publish(
        &mut self,
        publication: Publication,
        reply: PublishReply,
    ) -> Result<(), StoreError> {
        let Publication { message, once } = publication;
        if let Some(once) = &once
            && let Some(outcome) = self.published_before(once)
        {
            self.refuse(Reply::Called(DueOutputs::new(reply, outcome)));
            return Ok(());
        }
        // A failed start says nothing about the publication: its server tries again.
        if let Err(error) = self.ready().await? {
            self.refuse(Reply::Called(DueOutputs::new(reply, Err(error))));
            return Ok(());
        }
        let receipt = once.as_ref().map(|once| Box::new(once.interrupted()));
        let event = Event::Publish { message, receipt };
        match self.turn(&event, None).await? {
            Ok(turn) => {
                let failed = || {
                    let failure = OutcallFailure::new("failed", "the room returned nothing");
                    OutcallAnswer::NotReturned(failure)
                };
                let answer = turn.answer.for_call().unwrap_or_else(failed);
                self.turns.hold(turn, Reply::Called(DueOutputs::new(reply, Ok(answer))));
            }
            Err(error) => self.refuse(Reply::Called(DueOutputs::new(reply, Err(error)))),
        }
        Ok(())
    }

    /// Returns the answer to a publication that needs no turn: it was carried out before, or the room cannot keep that it
    /// is carried out.
    fn published_before(
        &self,
        once: &RepeatedPublication,
    ) -> Option<Result<OutcallAnswer, RoomError>> {
        let least = once.interrupted();
        if let Some((_, receipt)) = self.turns.jobs.receipt(&least.call) {
            return Some(match &receipt.answer {
                OutcallAnswer::Returned(id) => Ok(OutcallAnswer::Returned(id.clone())),
                OutcallAnswer::NotReturned(failure) | OutcallAnswer::NoResponse(failure) => {
                    Err(GuestFault::Rejected(failure.to_string()).into())
                }
                OutcallAnswer::Response(_) => Err(RoomError::Gone),
            });
        }
        let receipts = self.turns.jobs.tally(JobAccount::Receipts);
        // Before the guest runs: a full room must not carry out what it cannot keep.
        least.fits(receipts, &self.turns.parts.limits).is_err().then_some(Err(RoomError::Busy))
    }
}
