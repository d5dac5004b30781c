//! The way into a room, and the handles of a client inside. Owns the requests that a room takes, and how long
//! the caller waits for an answer.
//!
//! Invariant: [`RoomHandle`] and the [`JoinedConnection`] that it leads to are the only ways into a room: only `room/`
//! can make a mail. It does not know the phase of the room: a room that has left memory hands the request
//! back ([`RoomLeft`]), and the caller looks the room up again.

use super::edit::{Edit, EditReply};
use super::mail::{
    AlarmRing, ConnectionEnd, CronCall, CronReach, EditOrder, ForgetMail, JoinRequest, NodeOrder,
    OperatorMail, Visit,
};
use super::mailbox::{Mailbox, Refused};
use super::outbox::{ConnectionKey, Outbox, Outboxes};
use super::outside::RoomCall;
use super::rates::{ConnectionMeters, RoomRates};
use super::responses::RoomAnswer;
use super::returning::{ReturningClient, Rewind};
use super::{
    ActorReport, AlarmGuard, ClientWindow, RoomError, RoomOrders, RoomParts, StartFallback,
};
use room_core::config::AutoResponse;
use room_core::connection::Transport;
use room_core::event::{BodyDelivery, CloseFrame, Ending, Message, Request};
use room_core::id::{ConnectionId, ConnectionSecret, Serial};
use room_core::identity::{Capabilities, Identity};
use room_core::jobs::{CallId, OutcallAnswer};
use room_core::limits::ms;
use room_core::turn::Refusal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

/// The only way to talk to a room. Cheap to clone; clones lead to the same room.
///
/// A method queues the request when it is called; a future that it returns waits for the answer. If the
/// caller drops the future, the room still handles the request.
#[derive(Clone)]
pub struct RoomHandle {
    mailbox: Mailbox,
    /// The party's answer to pings of clients, which the room's code never sees.
    pub(super) answers: watch::Receiver<Option<Arc<AutoResponse>>>,
    pub(super) parts: Arc<RoomParts>,
    /// `None` if no limit bounds how fast clients send.
    pub(super) rates: Option<Arc<RoomRates>>,
}

/// The room has left memory and took nothing: the caller gets its request back, to look the room up again.
#[derive(Debug)]
pub struct RoomLeft<T>(pub T);

/// A client that asks to be admitted.
#[derive(Debug)]
pub struct ConnectingClient {
    /// The id that it asks for.
    pub id: ConnectionId,
    /// The request that opens its connection.
    pub request: Request,
    /// What carries its messages.
    pub transport: Transport,
    /// Who it is, if the door checked that.
    pub identity: Option<Identity>,
    /// What its further requests for this connection prove themselves with, if its transport has such requests. The
    /// first item of its outbox is a [`super::Welcome`] then.
    pub secret: Option<ConnectionSecret>,
    /// What it shows to have the connection again that it had. `secret` is for the case that it gets a new one.
    pub returning: Option<ReturningClient>,
    /// How much of what the room sent before it asks for, if it gets a new connection.
    pub rewind: Option<Rewind>,
}

/// A request for a room, and who sent it.
#[derive(Debug)]
pub struct IncomingRequest {
    /// The request.
    pub request: Request,
    /// Who sent it, if the door checked that.
    pub identity: Option<Identity>,
}

impl From<Request> for IncomingRequest {
    fn from(request: Request) -> Self {
        Self { request, identity: None }
    }
}

impl IncomingRequest {
    /// Returns its size in a mailbox, in bytes.
    pub(super) fn size(&self) -> usize {
        self.request.size() + claims_bytes(self.identity.as_ref())
    }
}

impl ConnectingClient {
    /// Returns its size in a mailbox, in bytes.
    pub(super) fn size(&self) -> usize {
        self.request.size() + claims_bytes(self.identity.as_ref())
    }
}

fn claims_bytes(identity: Option<&Identity>) -> usize {
    identity.map_or(0, |identity| identity.claims().len())
}

/// A connection that a room has admitted, as its socket holds it.
pub struct JoinedConnection {
    pub(super) admission: Admission,
    /// The auto-response, as it changes with the party's configuration.
    pub answers: watch::Receiver<Option<Arc<AutoResponse>>>,
    /// The queue from which the socket task takes the room's outputs.
    pub outbox: Outbox,
    /// What the client may do.
    pub capabilities: Capabilities,
    /// When the connection is closed because its token ends, in milliseconds since 1970.
    pub ends_ms: Option<u64>,
    /// The rates of the room, with the connection's own meters, if there are any.
    pub(super) rates: Option<Box<(Arc<RoomRates>, Mutex<ConnectionMeters>)>>,
}

/// A drop guard of a connection in a room. If it is dropped before it said goodbye, the room receives a close
/// event with 1006.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(super) mailbox: Mailbox,
    pub(super) serial: Serial,
    /// Counts the transports of the connection, from 0.
    pub(super) transport: u32,
    said_goodbye: AtomicBool,
}

impl RoomHandle {
    /// Makes the handle of a room that nothing was queued for yet. `answers` holds the auto-response of its
    /// party.
    pub fn new(answers: watch::Receiver<Option<Arc<AutoResponse>>>, parts: Arc<RoomParts>) -> Self {
        let mailbox = Mailbox::new(parts.limits.clone(), &parts.bytes);
        let rates = RoomRates::of(&parts.limits, &parts.metrics);
        Self { mailbox, answers, parts, rates }
    }

    /// Returns the room's mailbox, for the actor and for the list of rooms.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Asks the room to let a client in. The room sends to it through an outbox of its socket with this key.
    /// When the future returns, the outbox already holds what the room sent since.
    ///
    /// # Errors
    /// [`RoomLeft`]; [`RoomError`] says why the room refused the client.
    ///
    /// # Cancel safety
    /// If the future is dropped and the room let the client in, the room receives a close event.
    pub fn connect(
        &self,
        visitor: Box<ConnectingClient>,
        (outboxes, key): (&Outboxes, ConnectionKey),
    ) -> Result<
        impl Future<Output = Result<JoinedConnection, RoomError>> + use<>,
        RoomLeft<Box<ConnectingClient>>,
    > {
        let (sender, outbox) = outboxes.open(key);
        let (reply, answer) = oneshot::channel();
        let capabilities = Identity::capabilities_of(visitor.identity.as_ref());
        let ends_ms = visitor.identity.as_ref().and_then(Identity::ends_ms);
        let joining = JoinRequest { visitor, outbox: sender, reply };
        let queued = match self.mailbox.push(Visit::Connect(Box::new(joining))) {
            Err(Refused::Closed(Visit::Connect(joining))) => return Err(RoomLeft(joining.visitor)),
            outcome => outcome.map_err(|_| RoomError::Busy),
        };
        let (patience, answers) = (ms(self.parts.limits.connect_ms_max), self.answers.clone());
        let rates = self.rates.clone();
        let rates = rates.map(|rates| Box::new((rates, Mutex::new(ConnectionMeters::new()))));
        Ok(async move {
            queued?;
            match tokio::time::timeout(patience, answer).await {
                Ok(Ok(admission)) => {
                    let admission = admission?;
                    Ok(JoinedConnection {
                        admission,
                        answers,
                        outbox,
                        capabilities,
                        ends_ms,
                        rates,
                    })
                }
                Ok(Err(_)) => Err(RoomError::Gone),
                Err(_) => Err(RoomError::TimedOut),
            }
        })
    }

    /// Asks the room for a response. With [`BodyDelivery::Pieces`] the request's body follows on the way that an open
    /// response has for it.
    ///
    /// # Errors
    /// [`RoomLeft`]; [`RoomError`] says why there is no response.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room still handles the request.
    pub fn request(
        &self,
        request: IncomingRequest,
        body: BodyDelivery,
    ) -> Result<
        impl Future<Output = Result<RoomAnswer, RoomError>> + use<>,
        RoomLeft<IncomingRequest>,
    > {
        let (reply, answer) = oneshot::channel();
        let visit = Visit::Request { request: Box::new(request), body, reply };
        let queued = match self.mailbox.push(visit) {
            Err(Refused::Closed(Visit::Request { request, .. })) => return Err(RoomLeft(*request)),
            outcome => outcome.map_err(|_| RoomError::Busy),
        };
        Ok(self.answered(queued, answer))
    }

    /// Asks the room to carry out a call of another room.
    ///
    /// # Errors
    /// [`RoomLeft`]; [`RoomError`] says why there is no answer now.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room still carries the call out.
    pub fn call(
        &self,
        call: Box<RoomCall>,
    ) -> Result<
        impl Future<Output = Result<OutcallAnswer, RoomError>> + use<>,
        RoomLeft<Box<RoomCall>>,
    > {
        let (reply, answer) = oneshot::channel();
        let queued = match self.mailbox.push(Visit::Call { call, reply }) {
            Err(Refused::Closed(Visit::Call { call, .. })) => return Err(RoomLeft(call)),
            outcome => outcome.map_err(|_| RoomError::Busy),
        };
        Ok(self.answered(queued, answer))
    }

    /// Waits for the answer to a request that was queued, or was not, for as long as a request may take.
    pub(super) fn answered<T>(
        &self,
        queued: Result<(), RoomError>,
        answer: oneshot::Receiver<Result<T, RoomError>>,
    ) -> impl Future<Output = Result<T, RoomError>> + use<T> {
        let patience = ms(self.parts.limits.request_ms_max);
        async move {
            queued?;
            let answer = tokio::time::timeout(patience, answer).await;
            answer.map_err(|_| RoomError::TimedOut)?.unwrap_or(Err(RoomError::Gone))
        }
    }

    /// Tells the room that a call will not be repeated. A room that is leaving memory keeps its receipt until that ends.
    pub fn forget(&self, call: CallId) {
        drop(self.mailbox.push(ForgetMail(Box::new(call))));
    }

    /// Reports that the alarm may be due. A room that is leaving memory drops `done`, and the search finds
    /// the alarm due again.
    pub fn alarm(&self, done: AlarmGuard) {
        let timers = self.parts.limits.timers_batch_max;
        drop(self.mailbox.push(AlarmRing { done, timers }));
    }

    /// Calls the room for a cron with this name and planned time. The future waits until the turn is durable.
    ///
    /// # Errors
    /// [`RoomLeft`]; [`RoomError`]: the turn did nothing. After [`RoomError::TimedOut`] the room may still handle it.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room still handles the call.
    pub fn cron(
        &self,
        (name, at_ms): (&str, u64),
        reach: CronReach,
    ) -> Result<impl Future<Output = Result<(), RoomError>> + use<>, RoomLeft<()>> {
        let (reply, answer) = oneshot::channel();
        let call = CronCall { name: name.to_owned(), at_ms, reach, reply };
        let queued = match self.mailbox.push(call) {
            Err(Refused::Closed(_)) => return Err(RoomLeft(())),
            outcome => outcome.map_err(|_| RoomError::Busy),
        };
        Ok(self.answered(queued, answer))
    }

    /// Reports that the room may have been unused for too long; `done` works as with [`RoomHandle::alarm`].
    pub fn expire(&self, done: AlarmGuard) {
        drop(self.mailbox.push(OperatorMail::Expire { done }));
    }

    /// Ends the room, and closes its connections with this frame. A room that is leaving memory has no
    /// connections.
    pub fn stop(&self, frame: CloseFrame) {
        drop(self.mailbox.push(NodeOrder::Stop(frame)));
    }

    /// Lets the room take over other code between two turns. The future returns how many connections stayed,
    /// or `None` if the room runs that code already.
    ///
    /// # Errors
    /// [`RoomLeft`]; [`RoomError`] says why the code did not start.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room still takes over.
    pub fn reload(
        &self,
        to: RoomOrders,
        otherwise: StartFallback,
        spare: OwnedSemaphorePermit,
    ) -> Result<impl Future<Output = Result<Option<usize>, RoomError>> + use<>, RoomLeft<()>> {
        let (reply, answer) = oneshot::channel();
        let command = NodeOrder::Reload { to: Box::new(to), otherwise, spare, reply };
        self.mailbox.push(command).map_err(|_| RoomLeft(()))?;
        Ok(async move { answer.await.unwrap_or(Err(RoomError::Gone)) })
    }

    /// Asks the room for its state. The future returns `None` if the room is busy and does not answer in
    /// time.
    ///
    /// # Errors
    /// [`RoomLeft`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub fn inspect(
        &self,
        window: ClientWindow,
    ) -> Result<impl Future<Output = Option<ActorReport>> + use<>, RoomLeft<()>> {
        let (reply, answer) = oneshot::channel();
        // A full mailbox drops the reply.
        self.mailbox.push(OperatorMail::Inspect { window, reply }).or_else(full_is_asked)?;
        let patience = ms(self.parts.limits.inspect_ms_max);
        Ok(async move { tokio::time::timeout(patience, answer).await.ok()?.ok() })
    }

    /// Closes one connection. The future returns false if no connection has this id.
    ///
    /// # Errors
    /// [`RoomLeft`]; [`RoomError::Busy`] or [`RoomError::TimedOut`]: the room is busy, and may still close it.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room still closes it.
    pub fn kick(
        &self,
        id: String,
        frame: CloseFrame,
    ) -> Result<impl Future<Output = Result<bool, RoomError>> + use<>, RoomLeft<()>> {
        let (reply, kicked) = oneshot::channel();
        let queued = match self.mailbox.push(OperatorMail::Kick { id, frame, reply }) {
            Err(Refused::Closed(_)) => return Err(RoomLeft(())),
            outcome => outcome.map_err(|_| RoomError::Busy),
        };
        let patience = ms(self.parts.limits.request_ms_max);
        Ok(async move {
            queued?;
            let kicked = tokio::time::timeout(patience, kicked).await;
            // A room that ends closes all connections.
            Ok(kicked.map_err(|_| RoomError::TimedOut)?.unwrap_or(true))
        })
    }

    /// Changes one key. The future waits until the change is durable, and returns whether the key existed
    /// before. The inner error names a limit that the change exceeds.
    ///
    /// # Errors
    /// [`RoomLeft`]; [`RoomError`]: nothing was changed. After [`RoomError::TimedOut`] the room may still change
    /// it.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room still changes it.
    pub fn edit(
        &self,
        edit: Edit,
    ) -> Result<
        impl Future<Output = Result<Result<bool, Refusal>, RoomError>> + use<>,
        RoomLeft<Edit>,
    > {
        let (reply, edited): (EditReply, _) = oneshot::channel();
        let queued = match self.mailbox.push(EditOrder { edit, reply }) {
            Err(Refused::Closed(order)) => return Err(RoomLeft(order.edit)),
            outcome => outcome.map_err(|_| RoomError::Busy),
        };
        Ok(self.answered(queued, edited))
    }
}

/// Treats a full mailbox as asked: the room is too busy to answer, but it has not left.
pub(super) fn full_is_asked<P>(refused: Refused<P>) -> Result<(), RoomLeft<()>> {
    match refused {
        Refused::Full(_) => Ok(()),
        Refused::Closed(_) => Err(RoomLeft(())),
    }
}

impl Admission {
    pub(super) fn new(mailbox: Mailbox, serial: Serial, transport: u32) -> Self {
        Self { mailbox, serial, transport, said_goodbye: AtomicBool::new(false) }
    }

    /// Returns true if the connection is new, and not one that its client had before.
    pub(super) fn is_new(&self) -> bool {
        self.transport == 0
    }

    fn tell(&self, parting: ConnectionEnd) {
        // A room that is gone has closed its connections already.
        drop(self.mailbox.push(parting));
    }

    fn ended(&self, ending: Ending) {
        if !self.said_goodbye.swap(true, Ordering::Relaxed) {
            let (who, transport) = (self.serial, self.transport);
            self.tell(ConnectionEnd::Closed { who, transport, ending });
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.ended(Ending::broken_off());
    }
}

impl JoinedConnection {
    /// Passes on a message, as soon as the room has space for it.
    ///
    /// # Errors
    /// [`RoomError::Busy`] if there was no space in time, [`RoomError::Gone`] if the room stopped,
    /// [`RoomError::TooFast`] if the connection or the room has had too many.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, the message is lost.
    pub async fn message(&self, message: Message) -> Result<(), RoomError> {
        self.meter(message.len())?;
        let visit = Visit::Message { from: self.admission.serial, message };
        self.admission.mailbox.push_when_free(visit).await
    }

    /// Reports an error in what the client sent.
    pub fn failed(&self, error: String) {
        let Admission { serial: who, transport, .. } = self.admission;
        self.admission.tell(ConnectionEnd::Failed { who, transport, error });
    }

    /// Reports how the connection ended. The outbox still yields what the room sends until it handles this
    /// report, and ends after that.
    pub fn ended(&self, ending: Ending) {
        self.admission.ended(ending);
    }
}
