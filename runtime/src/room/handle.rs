//! The way into a room, and what a client that is in holds of it. Owns what may be asked of a room, and how long an
//! answer is waited for.
//!
//! Invariant: [`RoomHandle`] and the [`Joined`] that it leads to are the only ways into a room: nobody outside
//! `room/` can make a mail. It does not know where the room is in its life: a room that has left hands back what it
//! was given ([`Left`]), and is to be asked for again.

use super::edit::{Edit, EditReply};
use super::mail::{AlarmRing, Command, EditOrder, Errand, Joining, Parting, Visit};
use super::mailbox::{Mailbox, Refused};
use super::outbox::{ConnectionKey, Outbox, Outboxes};
use super::{AlarmGuard, Inspection, Orders, Otherwise, Parts, RoomError, Window};
use crate::config::AutoResponse;
use crate::event::{CloseFrame, Ending, Message, Request, Response};
use crate::id::{ConnectionId, Serial};
use crate::limits::ms;
use crate::turn::Refusal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

/// The only way to talk to a room. Cheap to clone; clones lead to the same room.
///
/// What is asked is queued when a method is called; where it returns a future, that waits for the answer. Dropped
/// before it ends, the room does all the same what it was asked.
#[derive(Clone)]
pub(crate) struct RoomHandle {
    mailbox: Mailbox,
    /// What is answered without the room.
    answers: watch::Receiver<Option<Arc<AutoResponse>>>,
    parts: Arc<Parts>,
}

/// The room has left memory, and took nothing: this is handed back, for a room that is asked for again.
#[derive(Debug)]
pub(crate) struct Left<T>(pub(crate) T);

/// A client that asks to be let in.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) id: ConnectionId,
    /// The request that opens its connection.
    pub(crate) request: Request,
}

/// A connection that a room has let in, as its socket holds it.
pub(crate) struct Joined {
    admission: Admission,
    /// What is answered without the room, as it changes with the party's configuration.
    pub(crate) answers: watch::Receiver<Option<Arc<AutoResponse>>>,
    /// What the room says to it comes from there.
    pub(crate) outbox: Outbox,
}

/// A place in a room. If it is dropped before it said goodbye, the room receives a close event with 1006.
#[derive(Debug)]
pub(crate) struct Admission {
    mailbox: Mailbox,
    pub(super) serial: Serial,
    said_goodbye: AtomicBool,
}

impl RoomHandle {
    /// The handle of a room that nobody has asked for anything. `answers` is what its party answers without it.
    pub(crate) fn new(
        answers: watch::Receiver<Option<Arc<AutoResponse>>>,
        parts: Arc<Parts>,
    ) -> Self {
        let mailbox = Mailbox::new(parts.limits.clone(), &parts.bytes);
        Self { mailbox, answers, parts }
    }

    /// The room's own end, for the actor and for the list of rooms.
    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Asks to let a client in, whom the room answers through an outbox of its socket with this key. When the future
    /// returns, what the room said to it since waits there.
    ///
    /// # Errors
    /// [`Left`]; [`RoomError`] says why the client is not let in.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the room hears that the connection broke off, if it let it in.
    pub(crate) fn connect(
        &self,
        visitor: Visitor,
        (outboxes, key): (&Outboxes, ConnectionKey),
    ) -> Result<impl Future<Output = Result<Joined, RoomError>> + use<>, Left<Visitor>> {
        let (sender, outbox) = outboxes.open(key);
        let (reply, answer) = oneshot::channel();
        let joining = Joining { visitor, outbox: sender, reply };
        let queued = match self.mailbox.push(Visit::Connect(Box::new(joining))) {
            Err(Refused::Closed(Visit::Connect(joining))) => return Err(Left(joining.visitor)),
            outcome => outcome.map_err(|_| RoomError::Busy),
        };
        let (patience, answers) = (ms(self.parts.limits.connect_ms_max), self.answers.clone());
        Ok(async move {
            queued?;
            match tokio::time::timeout(patience, answer).await {
                Ok(Ok(admission)) => Ok(Joined { admission: admission?, answers, outbox }),
                Ok(Err(_)) => Err(RoomError::Gone),
                Err(_) => Err(RoomError::TimedOut),
            }
        })
    }

    /// Asks for a response.
    ///
    /// # Errors
    /// [`Left`]; [`RoomError`] says why there is no response.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the room still handles the request.
    pub(crate) fn request(
        &self,
        request: Request,
    ) -> Result<impl Future<Output = Result<Response, RoomError>> + use<>, Left<Request>> {
        let (reply, answer) = oneshot::channel();
        let queued = match self.mailbox.push(Visit::Request { request: Box::new(request), reply }) {
            Err(Refused::Closed(Visit::Request { request, .. })) => return Err(Left(*request)),
            outcome => outcome.map_err(|_| RoomError::Busy),
        };
        let patience = ms(self.parts.limits.request_ms_max);
        Ok(async move {
            queued?;
            let answer = tokio::time::timeout(patience, answer).await;
            answer.map_err(|_| RoomError::TimedOut)?.unwrap_or(Err(RoomError::Gone))
        })
    }

    /// Reports that the alarm may be due. A room that is just leaving drops `done`, and the alarm is found due once
    /// more.
    pub(crate) fn alarm(&self, done: AlarmGuard) {
        drop(self.mailbox.push(AlarmRing(done)));
    }

    /// Reports that nobody may have used the room for too long; `done` as with [`RoomHandle::alarm`].
    pub(crate) fn expire(&self, done: AlarmGuard) {
        drop(self.mailbox.push(Errand::Expire { done }));
    }

    /// Ends the room, and closes its connections with this frame. One that is just leaving has none.
    pub(crate) fn stop(&self, frame: CloseFrame) {
        drop(self.mailbox.push(Command::Stop(frame)));
    }

    /// Lets the room take over other code between two turns. The future returns how many connections stayed; none
    /// if it runs that code already.
    ///
    /// # Errors
    /// [`Left`]; [`RoomError`] says why the code did not start.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the room takes over all the same.
    pub(crate) fn reload(
        &self,
        to: Orders,
        otherwise: Otherwise,
        spare: OwnedSemaphorePermit,
    ) -> Result<impl Future<Output = Result<Option<usize>, RoomError>> + use<>, Left<()>> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Reload { to: Box::new(to), otherwise, spare, reply };
        self.mailbox.push(command).map_err(|_| Left(()))?;
        Ok(async move { answer.await.unwrap_or(Err(RoomError::Gone)) })
    }

    /// Asks the room how it is. The future returns none if it does not answer in time: it is busy.
    ///
    /// # Errors
    /// [`Left`].
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub(crate) fn inspect(
        &self,
        window: Window,
    ) -> Result<impl Future<Output = Option<Inspection>> + use<>, Left<()>> {
        let (reply, answer) = oneshot::channel();
        // One that is full drops the reply.
        self.mailbox.push(Errand::Inspect { window, reply }).or_else(full_is_asked)?;
        let patience = ms(self.parts.limits.inspect_ms_max);
        Ok(async move { tokio::time::timeout(patience, answer).await.ok()?.ok() })
    }

    /// Closes one connection. The future returns false if nobody has this id.
    ///
    /// # Errors
    /// [`Left`]; [`RoomError::Busy`] or [`RoomError::TimedOut`]: the room works, and may do it all the same.
    ///
    /// # Cancel safety
    /// Dropped before it returns, it is done all the same.
    pub(crate) fn kick(
        &self,
        id: String,
        frame: CloseFrame,
    ) -> Result<impl Future<Output = Result<bool, RoomError>> + use<>, Left<()>> {
        let (reply, kicked) = oneshot::channel();
        let queued = match self.mailbox.push(Errand::Kick { id, frame, reply }) {
            Err(Refused::Closed(_)) => return Err(Left(())),
            outcome => outcome.map_err(|_| RoomError::Busy),
        };
        let patience = ms(self.parts.limits.request_ms_max);
        Ok(async move {
            queued?;
            let kicked = tokio::time::timeout(patience, kicked).await;
            // One that ends closes everybody.
            Ok(kicked.map_err(|_| RoomError::TimedOut)?.unwrap_or(true))
        })
    }

    /// Changes one key. The future returns when that is durable: whether the key was there before. The inner error
    /// is a limit's.
    ///
    /// # Errors
    /// [`Left`]; [`RoomError`]: nothing was changed; if it is [`RoomError::TimedOut`], it may be changed yet.
    ///
    /// # Cancel safety
    /// Dropped before it returns, it is done all the same.
    pub(crate) fn edit(
        &self,
        edit: Edit,
    ) -> Result<impl Future<Output = Result<Result<bool, Refusal>, RoomError>> + use<>, Left<Edit>>
    {
        let (reply, edited): (EditReply, _) = oneshot::channel();
        let queued = match self.mailbox.push(EditOrder { edit, reply }) {
            Err(Refused::Closed(order)) => return Err(Left(order.edit)),
            outcome => outcome.map_err(|_| RoomError::Busy),
        };
        let patience = ms(self.parts.limits.request_ms_max);
        Ok(async move {
            queued?;
            let edited = tokio::time::timeout(patience, edited).await;
            edited.map_err(|_| RoomError::TimedOut)?.unwrap_or(Err(RoomError::Gone))
        })
    }
}

/// A room at its bounds counts as asked: it is too busy to answer.
fn full_is_asked<P>(refused: Refused<P>) -> Result<(), Left<()>> {
    match refused {
        Refused::Full(_) => Ok(()),
        Refused::Closed(_) => Err(Left(())),
    }
}

impl Admission {
    pub(super) fn new(mailbox: Mailbox, serial: Serial) -> Self {
        Self { mailbox, serial, said_goodbye: AtomicBool::new(false) }
    }

    fn tell(&self, parting: Parting) {
        // A room that is gone has told its connections already.
        drop(self.mailbox.push(parting));
    }

    fn ended(&self, ending: Ending) {
        if !self.said_goodbye.swap(true, Ordering::Relaxed) {
            self.tell(Parting::Closed { who: self.serial, ending });
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
        let visit = Visit::Message { from: self.admission.serial, message };
        self.admission.mailbox.push_when_free(visit).await
    }

    /// Reports what was wrong with what the client sent.
    pub(crate) fn failed(&self, error: String) {
        self.admission.tell(Parting::Failed { who: self.admission.serial, error });
    }

    /// Reports how the connection ended. What the room had to say to it until it hears of the end still
    /// comes out of the outbox, and the outbox ends behind that.
    pub(crate) fn ended(&self, ending: Ending) {
        self.admission.ended(ending);
    }
}
