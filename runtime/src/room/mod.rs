//! One room, from the event that reaches it to the output that leaves it. Owns the turn.
//!
//! Invariant: [`RoomHandle`] is the only way into a room, and it says nothing about where the room
//! runs. It does not know sockets, HTTP or other rooms.

mod actor;
mod alarm;
mod edit;
mod faults;
mod figures;
mod gate;
mod live;
mod mailbox;
mod outbox;
mod outlet;
mod places;
mod replacements;
mod roster;
mod turns;
mod usage;

pub(crate) use actor::{Actor, Inspection, Stopped, Window};
pub(crate) use edit::{Edit, EditReply};
pub(crate) use figures::{FaultRecord, Figures, Glance, Stage, Totals};
pub(crate) use mailbox::{Mailbox, Refused};
pub(crate) use outbox::{Frame, Outbox, OutboxSender, outbox};
pub(crate) use places::{Places, SharedPlaces};
pub(crate) use roster::Client;
pub(crate) use turns::Parts;

use crate::byte_budget::ByteBudget;
use crate::config::{AutoResponse, WhenQuiet};
use crate::event::{CloseFrame, Ending, Message, Request, Response};
use crate::id::{ConnectionId, Serial};
use crate::limits::{Limits, ms};
use crate::metrics::RoomMetrics;
use crate::store::StoreError;
use crate::ttl::Lifetime;
use crate::wasm::{Code, GuestFault};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

/// Something that waits before a room, with where its answer goes.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A client wants in.
    Connect(Box<Joining>),
    /// An open connection sent a message.
    Message {
        /// Who.
        from: Serial,
        /// What.
        message: Message,
    },
    /// An open connection broke the protocol.
    Failed {
        /// Who.
        who: Serial,
        /// What was wrong.
        error: String,
    },
    /// A connection ended.
    Closed {
        /// Who.
        who: Serial,
        /// How.
        ending: Ending,
    },
    /// A plain request.
    Request {
        /// The request.
        request: Box<Request>,
        /// Where the response goes.
        reply: oneshot::Sender<Result<Response, RoomError>>,
    },
    /// The alarm may be due.
    Alarm {
        /// Told when it was dealt with; dropped untold, it was not.
        done: AlarmGuard,
    },
    /// Nobody may have used the room for too long.
    Expire {
        /// Told when it was dealt with; dropped untold, it was not.
        done: AlarmGuard,
    },
    /// Other code takes over.
    Reload {
        /// What the room runs from now on.
        to: Box<Orders>,
        /// What becomes of the room if the code does not start.
        otherwise: Otherwise,
        /// What lets the new instance start before the old one is gone.
        spare: OwnedSemaphorePermit,
        /// Where the outcome goes: how many connections stayed, or none if the room runs that code already.
        reply: oneshot::Sender<Result<Option<usize>, RoomError>>,
    },
    /// The room ends; its clients are told this.
    Stop(CloseFrame),
    /// An operator wants to know how it is.
    Inspect {
        /// Which of its clients to tell of.
        window: Window,
        /// Where the answer goes.
        reply: oneshot::Sender<Inspection>,
    },
    /// An operator ends a connection.
    Kick {
        /// Whose.
        id: String,
        /// With what.
        frame: CloseFrame,
        /// Told whether it was there.
        reply: oneshot::Sender<bool>,
    },
    /// An operator changes what is stored.
    Edit {
        /// How.
        edit: Edit,
        /// Where the outcome goes.
        reply: EditReply,
    },
}

/// What a room runs, and how long it stays.
#[derive(Debug)]
pub(crate) struct Orders {
    pub(crate) code: Code,
    /// What it does when it is quiet.
    pub(crate) when_quiet: WhenQuiet,
    /// How long it is kept when nobody uses it; for ever, if none.
    pub(crate) lifetime: Option<Lifetime>,
}

/// What a room does when code that it was given does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// It keeps the code it had.
    KeepOld,
    /// It keeps the code it was given, and meets it fresh at the next event.
    Rest,
}

/// Held while an alarm is on its way.
pub(crate) type AlarmGuard = oneshot::Sender<()>;

/// A client that wants in.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) visitor: Visitor,
    pub(crate) outbox: OutboxSender,
    pub(crate) reply: oneshot::Sender<Result<Admission, RoomError>>,
}

/// A client that asks to be let in.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) id: ConnectionId,
    pub(crate) uri: Arc<str>,
    pub(crate) request: Request,
}

impl std::fmt::Debug for OutboxSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OutboxSender")
    }
}

impl Mail {
    /// Its size in a mailbox, in bytes.
    fn size(&self) -> usize {
        match self {
            Self::Connect(joining) => joining.visitor.request.size(),
            Self::Message { message, .. } => message.len(),
            Self::Request { request, .. } => request.size(),
            Self::Failed { error, .. } => error.len(),
            Self::Edit { edit, .. } => edit.size(),
            Self::Closed { .. } | Self::Alarm { .. } | Self::Reload { .. } | Self::Stop(_) => 0,
            Self::Inspect { .. } | Self::Kick { .. } | Self::Expire { .. } => 0,
        }
    }

    /// False for what must get through and is few by itself: at most two a connection, one alarm, and
    /// what the node says.
    fn is_bounded(&self) -> bool {
        let visits = matches!(self, Self::Connect(_) | Self::Message { .. } | Self::Request { .. });
        visits || !self.is_event()
    }

    /// False for what an operator asks, and for a room's end: it keeps no room in memory.
    fn is_event(&self) -> bool {
        !matches!(
            self,
            Self::Inspect { .. } | Self::Kick { .. } | Self::Edit { .. } | Self::Expire { .. }
        )
    }

    /// True for what clients do, and for changes of what is stored. An alarm is one if it is due.
    fn is_use(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Message { .. } | Self::Request { .. } | Self::Edit { .. } => {
                true
            }
            Self::Failed { .. } | Self::Closed { .. } => true,
            Self::Alarm { .. } | Self::Expire { .. } | Self::Reload { .. } | Self::Stop(_) => false,
            Self::Inspect { .. } | Self::Kick { .. } => false,
        }
    }

    /// Answers whoever waits that it will not happen.
    pub(crate) fn fail(self, error: &RoomError) {
        // Whoever does not wait any more needs no answer.
        match self {
            Self::Connect(joining) => drop(joining.reply.send(Err(error.clone()))),
            Self::Request { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Reload { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Edit { reply, .. } => drop(reply.send(Err(error.clone()))),
            // They hear that nobody answers.
            Self::Inspect { .. } | Self::Kick { .. } => {}
            Self::Message { .. }
            | Self::Expire { .. }
            | Self::Failed { .. }
            | Self::Closed { .. }
            | Self::Alarm { .. }
            | Self::Stop(_) => {}
        }
    }
}

/// Why a room did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    /// Too much waits before it, or too many rooms are live.
    #[error("the room is busy")]
    Busy,
    /// It has as many connections as it may have.
    #[error("the room is full")]
    Full,
    /// Connections with one id replaced each other too often.
    #[error(
        "connections with this id replace each other too often: an id belongs to one connection"
    )]
    Contended,
    /// Its guest failed.
    #[error(transparent)]
    Guest(#[from] GuestFault),
    /// Its storage failed; nothing that depended on it was said.
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// It failed too often and rests.
    #[error("the room failed repeatedly and rests")]
    Broken,
    /// It did not answer in time.
    #[error("the room did not answer in time")]
    TimedOut,
    /// It stopped while it was asked.
    #[error("the room stopped")]
    Gone,
    /// The node stops.
    #[error("the server is shutting down")]
    Draining,
}

impl RoomError {
    /// True if the same call may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy | Self::Broken | Self::TimedOut | Self::Gone | Self::Draining)
    }
}

/// The only way to talk to a room. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RoomHandle {
    pub(crate) mailbox: Mailbox,
    /// What is answered without the room.
    pub(crate) answers: watch::Receiver<Option<Arc<AutoResponse>>>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) metrics: Arc<RoomMetrics>,
    /// From which the outboxes of its connections are taken.
    pub(crate) bytes: ByteBudget,
}

/// A connection that a room has let in, as its socket holds it.
pub(crate) struct Joined {
    admission: Admission,
    /// What is answered without the room, as it changes with the party's configuration.
    pub(crate) answers: watch::Receiver<Option<Arc<AutoResponse>>>,
    /// What the room says to it.
    pub(crate) outbox: Outbox,
}

/// A place in a room. Dropped without a word, wherever it is then, the room hears that the connection
/// broke off.
#[derive(Debug)]
pub(crate) struct Admission {
    mailbox: Mailbox,
    serial: Serial,
    said_goodbye: AtomicBool,
}

impl Admission {
    pub(crate) fn new(mailbox: Mailbox, serial: Serial) -> Self {
        Self { mailbox, serial, said_goodbye: AtomicBool::new(false) }
    }

    fn tell(&self, mail: Mail) {
        // A room that is gone has told its connections already.
        drop(self.mailbox.push(mail));
    }

    /// Reports the end, unless that was done.
    fn ended(&self, ending: Ending) {
        if !self.said_goodbye.swap(true, Ordering::Relaxed) {
            self.tell(Mail::Closed { who: self.serial, ending });
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.ended(Ending::broken_off());
    }
}

impl Joined {
    /// Passes on a message, as soon as the room has space for it.
    ///
    /// # Errors
    /// [`RoomError::Busy`] if there was none in time, [`RoomError::Gone`] if the room stopped.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the message is lost.
    pub(crate) async fn message(&self, message: Message) -> Result<(), RoomError> {
        let mail = Mail::Message { from: self.admission.serial, message };
        self.admission.mailbox.push_when_free(mail).await
    }

    /// Reports what was wrong with what the client sent.
    pub(crate) fn failed(&self, error: String) {
        self.admission.tell(Mail::Failed { who: self.admission.serial, error });
    }

    /// Reports how the connection ended. What the room had to say to it until it hears of the end still
    /// comes out of the outbox, and the outbox ends behind that.
    pub(crate) fn ended(&self, ending: Ending) {
        self.admission.ended(ending);
    }
}

impl RoomHandle {
    /// Asks to let a client in. Its socket may be opened when this returns; what the room said to it
    /// meanwhile waits in the outbox.
    ///
    /// # Errors
    /// [`RoomError`] says why not; `Err` of the outer result hands the mail back, as the room is gone
    /// and must be asked for again.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the room hears that the connection broke off, if it let it in.
    pub(crate) async fn connect(
        &self,
        visitor: Visitor,
    ) -> Result<Result<Joined, RoomError>, Visitor> {
        let (sender, outbox) = outbox(&self.limits, self.metrics.clone(), &self.bytes);
        let (reply, answer) = oneshot::channel();
        let joining = Joining { visitor, outbox: sender, reply };
        match self.mailbox.push(Mail::Connect(Box::new(joining))) {
            Ok(()) => {}
            Err(Refused::Closed(Mail::Connect(joining))) => return Err(joining.visitor),
            Err(_) => return Ok(Err(RoomError::Busy)),
        }
        let answer = tokio::time::timeout(ms(self.limits.connect_ms_max), answer).await;
        Ok(match answer {
            Ok(Ok(Ok(admission))) => {
                Ok(Joined { admission, answers: self.answers.clone(), outbox })
            }
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) => Err(RoomError::Gone),
            Err(_) => Err(RoomError::TimedOut),
        })
    }

    /// Asks for a response.
    ///
    /// # Errors
    /// As [`RoomHandle::connect`].
    ///
    /// # Cancel safety
    /// Dropped before it returns, the room still handles the request.
    pub(crate) async fn request(
        &self,
        request: Request,
    ) -> Result<Result<Response, RoomError>, Request> {
        let (reply, answer) = oneshot::channel();
        match self.mailbox.push(Mail::Request { request: Box::new(request), reply }) {
            Ok(()) => {}
            Err(Refused::Closed(Mail::Request { request, .. })) => return Err(*request),
            Err(_) => return Ok(Err(RoomError::Busy)),
        }
        let answer = tokio::time::timeout(ms(self.limits.request_ms_max), answer).await;
        Ok(match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(RoomError::Gone),
            Err(_) => Err(RoomError::TimedOut),
        })
    }
}
