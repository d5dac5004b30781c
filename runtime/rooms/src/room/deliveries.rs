//! Messages whose client asks what became of them. Owns their acknowledgements, and which ids a connection has sent.
//!
//! Invariant: a message with an id that its connection has sent before is not handled again, and gets the outcome of the
//! first one. Ids are remembered with the connection, so they outlive a lost transport and end with the connection. The
//! memory is bounded by count and, for the node, by bytes: the oldest id is forgotten first. It does not know frames.

use super::handle::JoinedConnection;
use super::mail::{RenewOrder, Visit};
use super::mailbox::Refused;
use super::{RoomError, RoomParts};
use room_core::byte_budget::BytePermit;
use room_core::event::Message;
use room_core::id::Serial;
use room_core::identity::Identity;
use room_core::limits::size;
use room_core::lock::lock;
use room_guest::GuestFault;
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// Bytes of a failure's text that are kept and sent.
const FAILURE_BYTES: usize = 200;

/// A message of a client, and what the client asks about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientDelivery {
    /// The message.
    pub message: Message,
    /// The client's own id of the message, by which a repetition is known.
    pub id: Option<Box<str>>,
    /// The client's number for the acknowledgement, if it wants one.
    pub reference: Option<u64>,
}

/// What became of a message. It leaves the room when the message's turn is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryAck {
    /// The client's number for it.
    pub reference: u64,
    /// Whether the turn took effect.
    pub outcome: Result<(), RoomError>,
}

/// The reason why a room did not take a message at once.
#[derive(Debug)]
pub enum OfferRefused {
    /// Its mailbox has no space now, or other senders wait for space.
    Full(ClientDelivery),
    /// It stopped, and ends the connection.
    Gone,
}

/// A message of an open connection with an id or a number for its acknowledgement.
#[derive(Debug)]
pub(super) struct DeliveryMail {
    pub(super) from: Serial,
    /// The transport by which it came. The acknowledgement leaves by no other one.
    pub(super) transport: u32,
    pub(super) delivery: ClientDelivery,
}

/// An acknowledgement that waits for its turn to be durable.
#[derive(Debug)]
pub(super) struct DueAck {
    pub(super) to: Serial,
    pub(super) transport: u32,
    pub(super) ack: DeliveryAck,
}

/// The ids of messages that a connection has sent, the oldest first.
#[derive(Debug)]
pub(super) struct DeliveredIds {
    ids: VecDeque<DeliveredId>,
    bytes: usize,
    /// Covers `bytes`.
    permit: BytePermit,
}

#[derive(Debug)]
struct DeliveredId {
    id: Box<str>,
    /// Why the turn failed, if it failed.
    fault: Option<Box<GuestFault>>,
}

impl DeliveryAck {
    /// Returns its size in an outbox, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let fault = match &self.outcome {
            Err(RoomError::Guest(fault)) => text_bytes(fault),
            _ => 0,
        };
        size_of::<Self>() + fault
    }
}

impl DeliveredId {
    fn bytes(&self) -> usize {
        let fault =
            self.fault.as_ref().map_or(0, |fault| size_of::<GuestFault>() + text_bytes(fault));
        size_of::<Self>() + self.id.len() + fault
    }
}

impl DeliveredIds {
    pub(super) fn new(parts: &RoomParts) -> Self {
        Self { ids: VecDeque::new(), bytes: 0, permit: parts.history.permit() }
    }

    /// Returns the outcome of the message with this id; `None` if it has not been handled.
    pub(super) fn outcome(&self, id: &str) -> Option<Result<(), RoomError>> {
        let known = self.ids.iter().find(|known| &*known.id == id)?;
        Some(match &known.fault {
            Some(fault) => Err((**fault).clone().into()),
            None => Ok(()),
        })
    }

    /// Notes the outcome of a message that the guest has handled. At its bounds the oldest ids are forgotten.
    pub(super) fn note(&mut self, id: Box<str>, fault: Option<&GuestFault>, parts: &RoomParts) {
        let new = DeliveredId { id, fault: fault.map(|fault| Box::new(shortened(fault))) };
        self.bytes += new.bytes();
        self.ids.push_back(new);
        let max = size(parts.limits.message_ids_max);
        // The newest one stays: less than a page of bytes is always granted.
        while self.ids.len() > max || (self.ids.len() > 1 && !self.permit.cover(self.bytes)) {
            let Some(oldest) = self.ids.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
        self.permit.shrink(self.bytes);
    }
}

/// Returns a guest's fault as it is kept and sent.
pub(super) fn brief(error: RoomError) -> RoomError {
    match error {
        RoomError::Guest(fault) => shortened(&fault).into(),
        error => error,
    }
}

/// Returns a fault with a short text, and without its backtrace, which the room's log has.
fn shortened(fault: &GuestFault) -> GuestFault {
    let short = |text: &str| {
        let max = FAILURE_BYTES.min(text.len());
        let end = (0..=max).rev().find(|at| text.is_char_boundary(*at));
        text[..end.unwrap_or_default()].to_owned()
    };
    match fault {
        GuestFault::Rejected(text) => GuestFault::Rejected(short(text)),
        GuestFault::Trapped { message, .. } => {
            GuestFault::Trapped { message: short(message), backtrace: String::new() }
        }
        fault => fault.clone(),
    }
}

fn text_bytes(fault: &GuestFault) -> usize {
    match fault {
        GuestFault::Rejected(text) | GuestFault::Trapped { message: text, .. } => text.len(),
        GuestFault::Overrun(_) => 0,
    }
}

impl JoinedConnection {
    /// Counts a message of this many bytes against the rates of the connection and of the room.
    ///
    /// # Errors
    /// [`RoomError::TooFast`].
    pub fn meter(&self, bytes: usize) -> Result<(), RoomError> {
        match &self.rates {
            Some(rates) => Ok(rates.0.admit(&mut lock(&rates.1), bytes)?),
            None => Ok(()),
        }
    }

    /// Passes on a message that was metered, if the room has space for it now.
    ///
    /// # Errors
    /// [`OfferRefused`].
    pub fn offer(&self, delivery: ClientDelivery) -> Result<(), OfferRefused> {
        match self.admission.mailbox.offer(self.mail(delivery)) {
            Ok(()) => Ok(()),
            Err(Refused::Closed(_)) => Err(OfferRefused::Gone),
            Err(Refused::Full(Visit::Deliver(mail))) => Err(OfferRefused::Full(mail.delivery)),
            Err(Refused::Full(Visit::Message { message, .. })) => {
                Err(OfferRefused::Full(ClientDelivery { message, id: None, reference: None }))
            }
            Err(Refused::Full(_)) => Err(OfferRefused::Gone),
        }
    }

    /// Passes on a message that was metered, as soon as the room has space for it.
    ///
    /// # Errors
    /// [`RoomError::Busy`] if there was no space in time, [`RoomError::Gone`] if the room stopped.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, the message is lost.
    pub async fn deliver(&self, delivery: ClientDelivery) -> Result<(), RoomError> {
        self.admission.mailbox.push_when_free(self.mail(delivery)).await
    }

    /// Gives the connection a newer identity of the same client, after the messages that it has sent so far.
    ///
    /// # Errors
    /// [`RoomError::Busy`] if the mailbox is full, [`RoomError::Gone`] if the room or the connection has ended.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room still takes the identity.
    pub async fn renew(&self, identity: Identity) -> Result<(), RoomError> {
        let (reply, renewed) = oneshot::channel();
        let (who, transport) = (self.admission.serial, self.admission.transport);
        let order = RenewOrder { who, transport, identity, reply };
        match self.admission.mailbox.push(order) {
            Ok(()) => {}
            Err(Refused::Full(_)) => return Err(RoomError::Busy),
            Err(Refused::Closed(_)) => return Err(RoomError::Gone),
        }
        renewed.await.unwrap_or(Err(RoomError::Gone))
    }

    fn mail(&self, delivery: ClientDelivery) -> Visit {
        let (from, transport) = (self.admission.serial, self.admission.transport);
        match delivery {
            // As from any other socket, so that such messages share calls of the guest.
            ClientDelivery { message, id: None, reference: None } => {
                Visit::Message { from, message }
            }
            delivery => Visit::Deliver(Box::new(DeliveryMail { from, transport, delivery })),
        }
    }
}
