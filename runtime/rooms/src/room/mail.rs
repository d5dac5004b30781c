//! The mails before a room: events, for which the guest is called, and orders, which concern the room itself.
//! Owns the closed list of mails.
//!
//! Invariant: the treatment of a mail (whether the mailbox's bounds hold for it, whether it wakes the room,
//! whether it is a use) is a property of its type ([`MailType::CLASS`]), so that a new kind cannot be forgotten
//! in one place. It does not know how a mail is handled.

use super::deliveries::DeliveryMail;
use super::edit::{Edit, EditReply};
use super::handle::IncomingRequest;
use super::outbox::OutboxSender;
use super::outcome::OutcallOutcome;
use super::outside::RoomCall;
use super::polls::PollRequest;
use super::posts::{ClientPost, Publication};
use super::presence::PresenceOrder;
use super::rates::RoomRates;
use super::responses::{PieceVerdict, RoomAnswer};
use super::{
    ActorReport, Admission, ClientWindow, ConnectingClient, RoomError, RoomOrders, StartFallback,
};
use room_core::event::{
    BodyDelivery, BodyPiece, CallPayload, CloseFrame, Ending, Message, ResponseChunk, StreamEnd,
};
use room_core::id::{RequestId, Serial};
use room_core::identity::Identity;
use room_core::jobs::{CallId, JobId, OutcallAnswer};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A mail before a room, with the sender for its answer.
#[derive(Debug)]
pub(super) enum Mail {
    Event(EventMail),
    Order(OrderMail),
}

/// The guest is called for it.
#[derive(Debug)]
pub(super) enum EventMail {
    Visit(Visit),
    Parting(ConnectionEnd),
    Piece(Box<PieceMail>),
    Gone(StreamGone),
    Alarm(AlarmRing),
    Outcall(OutcallMail),
    Chunk(ChunkMail),
    Cron(CronCall),
}

/// The room itself handles it.
#[derive(Debug)]
pub(super) enum OrderMail {
    Command(NodeOrder),
    Errand(OperatorMail),
    Forget(ForgetMail),
    Edit(EditOrder),
    Renew(Box<RenewOrder>),
    Present(Box<PresenceOrder>),
}

/// The treatment of all mails of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MailClass {
    /// True if the mailbox refuses it at its bounds. False for mails that must get through and are few by
    /// themselves.
    pub(super) bounded: bool,
    /// True if it keeps the room in memory.
    pub(super) wakes: bool,
    /// True for mails from clients, and for changes of stored data.
    pub(super) is_use: bool,
}

/// A type of mail.
pub(super) trait MailType: Into<Mail> {
    /// The treatment of mails of this type.
    const CLASS: MailClass;

    /// Returns its size in a mailbox, in bytes.
    fn bytes(&self) -> usize {
        0
    }

    /// Answers the sender that it will not be handled. Does nothing where no sender waits, or the loss of the
    /// reply informs the sender.
    fn fail(self, _error: &RoomError) {}
}

/// Requests of clients.
#[derive(Debug)]
pub(super) enum Visit {
    /// A client wants to connect.
    Connect(Box<JoinRequest>),
    /// An open connection sent a message.
    Message { from: Serial, message: Message },
    /// An open connection sent a message with an id, or wants to know what becomes of it.
    Deliver(Box<DeliveryMail>),
    /// A plain request. Pieces of its body may follow as long as its response is open.
    Request {
        request: Box<IncomingRequest>,
        body: BodyDelivery,
        reply: oneshot::Sender<Result<RoomAnswer, RoomError>>,
    },
    /// A client without a socket sent a message.
    Post {
        post: Box<ClientPost>,
        rates: Option<Arc<RoomRates>>,
        reply: oneshot::Sender<Result<(), RoomError>>,
    },
    /// A client without a socket asks for what its connection has for it.
    Poll(Box<PollRequest>),
    /// Another server publishes a message.
    Publish {
        publication: Box<Publication>,
        reply: oneshot::Sender<Result<OutcallAnswer, RoomError>>,
    },
    /// Another room calls.
    Call { call: Box<RoomCall>, reply: oneshot::Sender<Result<OutcallAnswer, RoomError>> },
}

/// A client that wants to connect.
#[derive(Debug)]
pub(super) struct JoinRequest {
    pub(super) visitor: Box<ConnectingClient>,
    pub(super) outbox: OutboxSender,
    pub(super) reply: oneshot::Sender<Result<Admission, RoomError>>,
}

/// A report about the end of a connection: at most two a connection.
#[derive(Debug)]
pub(super) enum ConnectionEnd {
    /// An open connection broke the protocol.
    Failed { who: Serial, transport: u32, error: String },
    /// The transport of a connection ended.
    Closed { who: Serial, transport: u32, ending: Ending },
}

/// A piece of a request's body: at most one of each request waits.
#[derive(Debug)]
pub(super) struct PieceMail {
    pub(super) id: RequestId,
    pub(super) piece: BodyPiece,
    /// For what became of it.
    pub(super) taken: oneshot::Sender<PieceVerdict>,
}

/// A report that an open response has ended: at most two a response.
#[derive(Debug)]
pub(super) struct StreamGone {
    pub(super) id: RequestId,
    pub(super) end: StreamEnd,
}

/// The alarm or timers may be due: at most one a room. It is a use if one is due, which the room decides.
#[derive(Debug)]
pub(super) struct AlarmRing {
    pub(super) done: AlarmGuard,
    /// The number of due timers that the room still handles for this ring.
    pub(super) timers: u64,
}

/// A request of the room ended: at most one for each that is under way.
#[derive(Debug)]
pub(super) struct OutcallMail {
    pub(super) id: JobId,
    pub(super) outcome: OutcallOutcome,
}

/// A part of a response: at most one for each request that is under way.
#[derive(Debug)]
pub(super) struct ChunkMail {
    pub(super) chunk: ResponseChunk,
    /// Completed when the chunk's turn is committed, and dropped if the request is to end.
    pub(super) taken: oneshot::Sender<()>,
}

/// A cron of the project is due.
#[derive(Debug)]
pub(super) struct CronCall {
    pub(super) name: String,
    /// The planned time, in milliseconds since 1970.
    pub(super) at_ms: u64,
    pub(super) reach: CronReach,
    pub(super) reply: oneshot::Sender<Result<(), RoomError>>,
}

/// The rooms that a cron calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CronReach {
    /// One room that the project names. The call is a use of it, as an alarm is.
    OneRoom,
    /// Each stored room of a party. The call is no use, because otherwise none of them would ever expire.
    EveryRoom,
}

/// Held while a room handles an alarm, timers or its expiry: completed when that is done, and dropped if it was not.
pub type AlarmGuard = oneshot::Sender<()>;

/// An order of the node.
#[derive(Debug)]
pub(super) enum NodeOrder {
    /// The room takes over other code. The reply is how many connections stayed, or `None` if the room runs
    /// that code already.
    Reload {
        to: Box<RoomOrders>,
        otherwise: StartFallback,
        /// The permit for the new instance to start before the old one is gone.
        spare: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<Option<usize>, RoomError>>,
    },
    /// The room ends, and closes its connections with this frame.
    Stop(CloseFrame),
}

/// A request to a room that is in memory anyway. It wakes no guest.
#[derive(Debug)]
pub(super) enum OperatorMail {
    /// An operator asks for the room's state.
    Inspect { window: ClientWindow, reply: oneshot::Sender<ActorReport> },
    /// An operator ends a connection. The reply says whether it was there.
    Kick { id: String, frame: CloseFrame, reply: oneshot::Sender<bool> },
    /// A client asks who is there. The reply is JSON; `None` if the party keeps no presence.
    Users { reply: oneshot::Sender<Option<String>> },
    /// The room may have been unused for too long.
    Expire { done: AlarmGuard },
}

/// Another room will not repeat a call: at most one for each call that was carried out.
#[derive(Debug)]
pub(super) struct ForgetMail(pub(super) Box<CallId>);

/// An operator changes stored data.
#[derive(Debug)]
pub(super) struct EditOrder {
    pub(super) edit: Edit,
    pub(super) reply: EditReply,
}

/// A client has shown a newer token for its connection.
#[derive(Debug)]
pub(super) struct RenewOrder {
    pub(super) who: Serial,
    /// The transport that showed it.
    pub(super) transport: u32,
    pub(super) identity: Identity,
    pub(super) reply: oneshot::Sender<Result<(), RoomError>>,
}

impl MailType for Visit {
    const CLASS: MailClass = MailClass { bounded: true, wakes: true, is_use: true };

    fn bytes(&self) -> usize {
        match self {
            Self::Connect(joining) => joining.visitor.size(),
            Self::Message { message, .. } => message.len(),
            Self::Deliver(mail) => {
                mail.delivery.message.len() + mail.delivery.id.as_ref().map_or(0, |id| id.len())
            }
            Self::Request { request, .. } => request.size(),
            Self::Post { post, .. } => post.message.len(),
            Self::Poll(_) => 0,
            Self::Publish { publication, .. } => publication.bytes(),
            Self::Call { call, .. } => match &call.payload {
                CallPayload::Data(data) => data.len(),
                CallPayload::Request(request) => request.size(),
            },
        }
    }

    fn fail(self, error: &RoomError) {
        // A caller that has left needs no answer.
        match self {
            Self::Connect(joining) => drop(joining.reply.send(Err(error.clone()))),
            // A room that handles no mail any more ends its connections, too.
            Self::Message { .. } | Self::Deliver(_) => {}
            Self::Request { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Post { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Poll(asked) => drop(asked.reply.send(Err(error.clone()))),
            Self::Publish { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Call { reply, .. } => drop(reply.send(Err(error.clone()))),
        }
    }
}

impl MailType for ConnectionEnd {
    const CLASS: MailClass = MailClass { bounded: false, wakes: true, is_use: true };

    fn bytes(&self) -> usize {
        match self {
            Self::Failed { error, .. } => error.len(),
            Self::Closed { .. } => 0,
        }
    }
}

impl MailType for PieceMail {
    const CLASS: MailClass = MailClass { bounded: true, wakes: true, is_use: true };

    fn bytes(&self) -> usize {
        self.piece.len()
    }
}

impl MailType for StreamGone {
    const CLASS: MailClass = MailClass { bounded: false, wakes: true, is_use: true };
}

impl MailType for AlarmRing {
    const CLASS: MailClass = MailClass { bounded: false, wakes: true, is_use: false };
}

impl MailType for OutcallMail {
    const CLASS: MailClass = MailClass { bounded: false, wakes: true, is_use: true };

    fn bytes(&self) -> usize {
        match &self.outcome {
            OutcallOutcome::Answered(answer) | OutcallOutcome::NotNow { answer, .. } => {
                answer.bytes()
            }
        }
    }
}

impl MailType for ChunkMail {
    const CLASS: MailClass = MailClass { bounded: false, wakes: true, is_use: true };

    fn bytes(&self) -> usize {
        self.chunk.bytes.len()
    }
}

impl MailType for CronCall {
    const CLASS: MailClass = MailClass { bounded: true, wakes: true, is_use: false };

    fn bytes(&self) -> usize {
        self.name.len()
    }

    fn fail(self, error: &RoomError) {
        drop(self.reply.send(Err(error.clone())));
    }
}

impl MailType for NodeOrder {
    const CLASS: MailClass = MailClass { bounded: false, wakes: true, is_use: false };

    fn fail(self, error: &RoomError) {
        match self {
            Self::Reload { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Stop(_) => {}
        }
    }
}

impl MailType for OperatorMail {
    const CLASS: MailClass = MailClass { bounded: true, wakes: false, is_use: false };
}

impl MailType for ForgetMail {
    const CLASS: MailClass = MailClass { bounded: false, wakes: false, is_use: false };
}

impl MailType for EditOrder {
    const CLASS: MailClass = MailClass { bounded: true, wakes: false, is_use: true };

    fn bytes(&self) -> usize {
        self.edit.size()
    }

    fn fail(self, error: &RoomError) {
        drop(self.reply.send(Err(error.clone())));
    }
}

impl MailType for RenewOrder {
    const CLASS: MailClass = MailClass { bounded: true, wakes: false, is_use: true };

    fn bytes(&self) -> usize {
        self.identity.claims().len()
    }

    fn fail(self, error: &RoomError) {
        drop(self.reply.send(Err(error.clone())));
    }
}

impl Mail {
    /// Returns its treatment.
    pub(super) fn class(&self) -> MailClass {
        match self {
            Self::Event(EventMail::Visit(_)) => Visit::CLASS,
            Self::Event(EventMail::Parting(_)) => ConnectionEnd::CLASS,
            Self::Event(EventMail::Piece(_)) => PieceMail::CLASS,
            Self::Event(EventMail::Gone(_)) => StreamGone::CLASS,
            Self::Event(EventMail::Alarm(_)) => AlarmRing::CLASS,
            Self::Event(EventMail::Outcall(_)) => OutcallMail::CLASS,
            Self::Event(EventMail::Chunk(_)) => ChunkMail::CLASS,
            Self::Event(EventMail::Cron(_)) => CronCall::CLASS,
            Self::Order(OrderMail::Command(_)) => NodeOrder::CLASS,
            Self::Order(OrderMail::Errand(_)) => OperatorMail::CLASS,
            Self::Order(OrderMail::Forget(_)) => ForgetMail::CLASS,
            Self::Order(OrderMail::Edit(_)) => EditOrder::CLASS,
            Self::Order(OrderMail::Renew(_)) => RenewOrder::CLASS,
            Self::Order(OrderMail::Present(_)) => PresenceOrder::CLASS,
        }
    }

    /// Returns its size in a mailbox, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Event(EventMail::Visit(post)) => post.bytes(),
            Self::Event(EventMail::Parting(post)) => post.bytes(),
            Self::Event(EventMail::Piece(post)) => post.bytes(),
            Self::Event(EventMail::Gone(post)) => post.bytes(),
            Self::Event(EventMail::Alarm(post)) => post.bytes(),
            Self::Event(EventMail::Outcall(post)) => post.bytes(),
            Self::Event(EventMail::Chunk(post)) => post.bytes(),
            Self::Event(EventMail::Cron(post)) => post.bytes(),
            Self::Order(OrderMail::Command(post)) => post.bytes(),
            Self::Order(OrderMail::Errand(post)) => post.bytes(),
            Self::Order(OrderMail::Forget(post)) => post.bytes(),
            Self::Order(OrderMail::Edit(post)) => post.bytes(),
            Self::Order(OrderMail::Renew(post)) => post.bytes(),
            Self::Order(OrderMail::Present(post)) => post.bytes(),
        }
    }

    /// Answers the sender that it will not be handled.
    pub(super) fn fail(self, error: &RoomError) {
        match self {
            Self::Event(EventMail::Visit(post)) => post.fail(error),
            Self::Event(EventMail::Parting(post)) => post.fail(error),
            Self::Event(EventMail::Piece(post)) => post.fail(error),
            Self::Event(EventMail::Gone(post)) => post.fail(error),
            Self::Event(EventMail::Alarm(post)) => post.fail(error),
            Self::Event(EventMail::Outcall(post)) => post.fail(error),
            Self::Event(EventMail::Chunk(post)) => post.fail(error),
            Self::Event(EventMail::Cron(post)) => post.fail(error),
            Self::Order(OrderMail::Command(post)) => post.fail(error),
            Self::Order(OrderMail::Errand(post)) => post.fail(error),
            Self::Order(OrderMail::Forget(post)) => post.fail(error),
            Self::Order(OrderMail::Edit(post)) => post.fail(error),
            Self::Order(OrderMail::Renew(post)) => post.fail(error),
            Self::Order(OrderMail::Present(post)) => post.fail(error),
        }
    }
}

impl From<Visit> for Mail {
    fn from(post: Visit) -> Self {
        Self::Event(EventMail::Visit(post))
    }
}

impl From<ConnectionEnd> for Mail {
    fn from(post: ConnectionEnd) -> Self {
        Self::Event(EventMail::Parting(post))
    }
}

impl From<PieceMail> for Mail {
    fn from(post: PieceMail) -> Self {
        Self::Event(EventMail::Piece(Box::new(post)))
    }
}

impl From<StreamGone> for Mail {
    fn from(post: StreamGone) -> Self {
        Self::Event(EventMail::Gone(post))
    }
}

impl From<AlarmRing> for Mail {
    fn from(post: AlarmRing) -> Self {
        Self::Event(EventMail::Alarm(post))
    }
}

impl From<OutcallMail> for Mail {
    fn from(post: OutcallMail) -> Self {
        Self::Event(EventMail::Outcall(post))
    }
}

impl From<ChunkMail> for Mail {
    fn from(post: ChunkMail) -> Self {
        Self::Event(EventMail::Chunk(post))
    }
}

impl From<CronCall> for Mail {
    fn from(post: CronCall) -> Self {
        Self::Event(EventMail::Cron(post))
    }
}

impl From<NodeOrder> for Mail {
    fn from(post: NodeOrder) -> Self {
        Self::Order(OrderMail::Command(post))
    }
}

impl From<OperatorMail> for Mail {
    fn from(post: OperatorMail) -> Self {
        Self::Order(OrderMail::Errand(post))
    }
}

impl From<ForgetMail> for Mail {
    fn from(post: ForgetMail) -> Self {
        Self::Order(OrderMail::Forget(post))
    }
}

impl From<EditOrder> for Mail {
    fn from(post: EditOrder) -> Self {
        Self::Order(OrderMail::Edit(post))
    }
}

impl From<PresenceOrder> for Mail {
    fn from(post: PresenceOrder) -> Self {
        Self::Order(OrderMail::Present(Box::new(post)))
    }
}

impl From<RenewOrder> for Mail {
    fn from(post: RenewOrder) -> Self {
        Self::Order(OrderMail::Renew(Box::new(post)))
    }
}
