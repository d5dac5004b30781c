//! What reaches a room by plain HTTP besides requests: messages of clients without a socket, and publications of other
//! servers. Owns both, and how they are queued.
//!
//! Invariant: a post proves by its connection's secret whose it is, and the room alone judges that. It does not know
//! headers, or who may publish.

use super::mail::Visit;
use super::mailbox::Refused;
use super::{RoomError, RoomHandle, RoomLeft};
use room_core::event::Message;
use room_core::id::ConnectionSecret;
use room_core::jobs::{CallId, CallReceipt, OutcallAnswer, OutcallFailure};
use tokio::sync::oneshot;

/// A message of a client that has no socket.
#[derive(Debug)]
pub struct ClientPost {
    /// The id of the connection, as the client names it.
    pub connection: String,
    /// What the client proves with that the connection is its own.
    pub secret: ConnectionSecret,
    /// The message.
    pub message: Message,
}

/// A message of another server to a room.
#[derive(Debug)]
pub struct Publication {
    /// The message.
    pub message: Message,
    /// What distinguishes it from all others, if the server may repeat it.
    pub once: Option<RepeatedPublication>,
}

/// A publication that its server may repeat.
#[derive(Clone, Debug)]
pub struct RepeatedPublication {
    /// The server's own key for it.
    pub key: String,
    /// Until when a repetition is known, in milliseconds since 1970.
    pub until_ms: u64,
}

impl RepeatedPublication {
    /// Returns the receipt of a publication whose callback may not end, after a part of it was committed.
    pub(super) fn interrupted(&self) -> CallReceipt {
        let message = "it was carried out in part: on_publish ended after a flush";
        let answer =
            OutcallAnswer::NotReturned(OutcallFailure::new("interrupted", message.to_owned()));
        CallReceipt { call: CallId::of_publication(&self.key), answer, until_ms: self.until_ms }
    }
}

impl Publication {
    pub(super) fn bytes(&self) -> usize {
        self.message.len() + self.once.as_ref().map_or(0, |once| once.key.len())
    }
}

impl RoomHandle {
    /// Passes on a client's message. The future waits until its turn is durable.
    ///
    /// # Errors
    /// [`RoomLeft`]; [`RoomError`]: the turn did nothing. After [`RoomError::TimedOut`] the room may still handle it.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room still handles the message.
    pub fn post(
        &self,
        post: ClientPost,
    ) -> Result<impl Future<Output = Result<(), RoomError>> + use<>, RoomLeft<ClientPost>> {
        let (reply, answer) = oneshot::channel();
        let visit = Visit::Post { post: Box::new(post), rates: self.rates.clone(), reply };
        let queued = match self.mailbox().push(visit) {
            Err(Refused::Closed(Visit::Post { post, .. })) => return Err(RoomLeft(*post)),
            outcome => outcome.map_err(|_| RoomError::Busy),
        };
        Ok(self.answered(queued, answer))
    }

    /// Passes on a publication. The future waits until its turn is durable, and returns the number of the turn's event
    /// as text; that of the first turn, if it is a repetition.
    ///
    /// # Errors
    /// As [`RoomHandle::post`].
    ///
    /// # Cancel safety
    /// As [`RoomHandle::post`].
    pub fn publish(
        &self,
        publication: Publication,
    ) -> Result<impl Future<Output = Result<OutcallAnswer, RoomError>> + use<>, RoomLeft<Publication>>
    {
        let (reply, answer) = oneshot::channel();
        let bytes = publication.message.len();
        let admitted = self.rates.as_ref().map_or(Ok(()), |rates| rates.admit_publication(bytes));
        let visit = Visit::Publish { publication: Box::new(publication), reply };
        let queued = match admitted.map(|()| self.mailbox().push(visit)) {
            Ok(Err(Refused::Closed(Visit::Publish { publication, .. }))) => {
                return Err(RoomLeft(*publication));
            }
            Ok(outcome) => outcome.map_err(|_| RoomError::Busy),
            Err(overrun) => Err(overrun.into()),
        };
        Ok(self.answered(queued, answer))
    }
}
