//! Messages that a client may miss. Owns the translation of the interface `delivery`.
//!
//! Invariant: a refusal names the limit that a send exceeds. It does not know how a message waits.

use crate::bindings::fleeting::room::runtime::connections::ConnectionError;
use crate::bindings::fleeting::room::runtime::delivery::{
    DeliveryError, Host, Message as GuestMessage, Mode, add_to_linker as add_interface,
};
use crate::bindings::fleeting::room::runtime::types;
use crate::host::{Call, HostState, narrow};
use room_core::event::Message;
use room_core::limits::Limits;
use room_core::turn::{DeliveryMode, Refusal, Turn};
use wasmtime::component::{HasSelf, Linker};

/// Gives guests the interface.
pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    add_interface::<_, HasSelf<_>>(linker, |host: &mut HostState| host)
}

impl Host for HostState {
    fn send(&mut self, id: String, message: GuestMessage, mode: Mode) -> Call<(), DeliveryError> {
        self.delivered(|turn| turn.send_as(&id, message.into(), mode.into()))
    }

    fn broadcast(
        &mut self,
        message: GuestMessage,
        tag: Option<String>,
        without: Vec<String>,
        mode: Mode,
    ) -> Call<(), DeliveryError> {
        self.delivered(|turn| turn.broadcast_as(message.into(), tag, &without, mode.into()))
    }
}

impl HostState {
    fn delivered(
        &mut self,
        call: impl FnOnce(&mut Turn) -> Result<(), Refusal>,
    ) -> Call<(), DeliveryError> {
        let outcome = call(self.turn()?);
        Ok(outcome.map_err(|refusal| refused(refusal, self.limits())))
    }
}

impl From<Mode> for DeliveryMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Volatile => Self::Volatile,
            Mode::Latest(key) => Self::Latest(key),
        }
    }
}

impl From<GuestMessage> for Message {
    fn from(message: GuestMessage) -> Self {
        match message {
            GuestMessage::Text(text) => Self::Text(text.into()),
            GuestMessage::Binary(bytes) => Self::Binary(bytes.into()),
        }
    }
}

fn refused(refusal: Refusal, limits: &Limits) -> DeliveryError {
    DeliveryError::Connection(match refusal {
        Refusal::Key(max) => return DeliveryError::InvalidKey(narrow(max)),
        Refusal::TooLarge(max) => ConnectionError::MessageTooLarge(narrow(max)),
        Refusal::UsedUp(name) => {
            let max = limits.value_of(name).unwrap_or_default();
            ConnectionError::TooManySends(types::Limit { name: name.to_owned(), max })
        }
        // The others do not occur in sends.
        Refusal::NotFound
        | Refusal::StateTooLarge(_)
        | Refusal::Invalid(_)
        | Refusal::Unavailable
        | Refusal::TooOften(_) => ConnectionError::NotFound,
    })
}
