//! Clients that fetch their messages. Owns how the next poll of a connection is queued.
//!
//! Invariant: a poll proves by its connection's secret whose it is, and the room alone judges that. It starts no room and
//! no connection. It does not know HTTP.

use super::handle::Admission;
use super::mail::Visit;
use super::mailbox::Refused;
use super::outbox::{ConnectionKey, OutboxSender, Outboxes};
use super::rates::ConnectionMeters;
use super::returning::ReturningClient;
use super::{JoinedConnection, RoomError, RoomHandle, RoomLeft};
use room_core::id::ConnectionId;
use room_core::identity::Identity;
use std::sync::Mutex;
use tokio::sync::oneshot;

/// The next poll of a connection.
#[derive(Clone, Debug)]
pub struct ClientPoll {
    /// The id of the connection.
    pub connection: ConnectionId,
    /// Its secret, and the id of the last message that its client got.
    pub client: ReturningClient,
    /// The number of the presence that its client knows, if it asks for what changed since.
    pub presence_at: Option<u64>,
}

/// A poll in the mailbox of its room.
#[derive(Debug)]
pub(super) struct PollRequest {
    pub(super) poll: ClientPoll,
    pub(super) outbox: OutboxSender,
    pub(super) reply: oneshot::Sender<Result<ContinuedPoll, RoomError>>,
}

/// A connection that a poll continues.
#[derive(Debug)]
pub(super) struct ContinuedPoll {
    pub(super) admission: Admission,
    pub(super) identity: Option<Identity>,
}

impl RoomHandle {
    /// Gives a connection to the next poll of its client. When the future returns, an outbox with this key holds what the
    /// client has not got yet.
    ///
    /// # Errors
    /// [`RoomLeft`]; [`RoomError::NotYours`]: the connection has ended, or messages after the id are forgotten, or the
    /// secret is another one.
    ///
    /// # Cancel safety
    /// If the future is dropped, nothing is lost: the client gets the same messages with its next poll.
    pub fn poll(
        &self,
        poll: ClientPoll,
        (outboxes, key): (&Outboxes, ConnectionKey),
    ) -> Result<
        impl Future<Output = Result<JoinedConnection, RoomError>> + use<>,
        RoomLeft<ClientPoll>,
    > {
        let (sender, outbox) = outboxes.open(key);
        let (reply, answer) = oneshot::channel();
        let asked = Box::new(PollRequest { poll, outbox: sender, reply });
        let queued = match self.mailbox().push(Visit::Poll(asked)) {
            Err(Refused::Closed(Visit::Poll(asked))) => return Err(RoomLeft(asked.poll)),
            outcome => outcome.map_err(|_| RoomError::Busy),
        };
        let answered = self.answered(queued, answer);
        let answers = self.answers.clone();
        let rates = self.rates.clone();
        Ok(async move {
            let ContinuedPoll { admission, identity } = answered.await?;
            let capabilities = Identity::capabilities_of(identity.as_ref());
            let ends_ms = identity.as_ref().and_then(Identity::ends_ms);
            let rates = rates.map(|rates| Box::new((rates, Mutex::new(ConnectionMeters::new()))));
            Ok(JoinedConnection { admission, answers, outbox, capabilities, ends_ms, rates })
        })
    }
}
