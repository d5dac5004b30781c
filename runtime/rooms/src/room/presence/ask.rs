//! What clients ask of their own presence. Owns how such a wish reaches the room, and the answer to who is there.
//!
//! Invariant: a wish wakes no guest, and is metered as a message is. It does not know frames.

use super::super::handle::full_is_asked;
use super::super::mail::{MailClass, MailType, OperatorMail};
use super::super::mailbox::Refused;
use super::super::{JoinedConnection, RoomError, RoomHandle, RoomLeft};
use room_core::id::Serial;
use room_core::limits::ms;

/// A client's wish for its own user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresenceAsk {
    /// The client's number for it, if the client wants to know what became of it.
    pub reference: Option<u64>,
    /// What the user shows from now on, the text of a JSON value; the inner `None` ends its presence.
    pub data: Option<Option<String>>,
    /// A flag, and for how many milliseconds the user has it; 0 ends it.
    pub flag: Option<(String, u64)>,
}

/// A wish in the mailbox of its room.
#[derive(Debug)]
pub(in super::super) struct PresenceOrder {
    pub(in super::super) who: Serial,
    /// The transport by which it came.
    pub(in super::super) transport: u32,
    pub(in super::super) ask: PresenceAsk,
}

impl MailType for PresenceOrder {
    const CLASS: MailClass = MailClass { bounded: true, wakes: false, is_use: true };

    fn bytes(&self) -> usize {
        self.ask.bytes()
    }
}

impl PresenceAsk {
    /// Returns its size, in bytes.
    pub fn bytes(&self) -> usize {
        let data = self.data.as_ref().and_then(Option::as_ref).map_or(0, String::len);
        data + self.flag.as_ref().map_or(0, |(flag, _)| flag.len())
    }
}

impl JoinedConnection {
    /// Passes on a wish for the client's own presence. It may pass messages of the client that wait for space in the room's
    /// mailbox.
    ///
    /// # Errors
    /// [`RoomError::TooFast`]; [`RoomError::Busy`] if the mailbox is full, [`RoomError::Gone`] if the room has ended.
    pub fn present(&self, ask: PresenceAsk) -> Result<(), RoomError> {
        self.meter(ask.bytes())?;
        let (who, transport) = (self.admission.serial, self.admission.transport);
        self.admission.mailbox.push(PresenceOrder { who, transport, ask }).map_err(|refused| {
            match refused {
                Refused::Full(_) => RoomError::Busy,
                Refused::Closed(_) => RoomError::Gone,
            }
        })
    }
}

impl RoomHandle {
    /// Asks who is in the room. The future returns the answer as JSON, or `None` if the party keeps no presence.
    ///
    /// # Errors
    /// [`RoomLeft`]; [`RoomError::Busy`] or [`RoomError::TimedOut`]: the room is busy.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub fn present_users(
        &self,
    ) -> Result<impl Future<Output = Result<Option<String>, RoomError>> + use<>, RoomLeft<()>> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        // A full mailbox drops the reply.
        self.mailbox().push(OperatorMail::Users { reply }).or_else(full_is_asked)?;
        let patience = ms(self.parts.limits.inspect_ms_max);
        Ok(async move {
            let answer = tokio::time::timeout(patience, answer).await;
            answer.map_err(|_| RoomError::TimedOut)?.map_err(|_| RoomError::Busy)
        })
    }
}
