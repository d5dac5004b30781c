//! What a guest reads of its room's messages. Owns the translation of the interface `history`.
//!
//! Invariant: a text that is no id is refused by its name. It does not know what is remembered.

use crate::bindings::remembering::room::runtime::history::{
    HistoryError, Host, Page, Query, Sent, add_to_linker as add_interface,
};
use crate::bindings::remembering::room::runtime::types;
use crate::host::HostState;
use room_core::event::Message;
use room_core::id::{CursorError, SequenceNumber};
use room_core::turn::{HistoryQuery, HistoryRefusal, SentMessage};
use wasmtime::component::{HasSelf, Linker};

/// Gives guests the interface.
pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    add_interface::<_, HasSelf<_>>(linker, |host: &mut HostState| host)
}

impl types::Host for HostState {}

impl Host for HostState {
    fn read(&mut self, query: Query) -> wasmtime::Result<Result<Page, HistoryError>> {
        let turn = self.turn()?;
        let query = match asked(query) {
            Ok(query) => query,
            Err(error) => return Ok(Err(HistoryError::Invalid(error.to_string()))),
        };
        Ok(match turn.history(&query) {
            Ok(page) => {
                let messages = page.messages.into_iter().map(sent).collect();
                Ok(Page { messages, more: page.more })
            }
            Err(HistoryRefusal::NotKept) => Err(HistoryError::NotKept),
            Err(HistoryRefusal::Forgotten) => Err(HistoryError::Forgotten),
        })
    }
}

fn asked(query: Query) -> Result<HistoryQuery, CursorError> {
    let id = |text: Option<String>| text.map(|text| text.parse::<SequenceNumber>()).transpose();
    let Query { limit, before, after } = query;
    Ok(HistoryQuery { limit, before: id(before)?, after: id(after)? })
}

fn sent(message: SentMessage) -> Sent {
    let SentMessage { number, at_ms, tag, message } = message;
    let message = match message {
        Message::Text(text) => types::Message::Text(text.as_str().to_owned()),
        Message::Binary(bytes) => types::Message::Binary(bytes.into()),
    };
    Sent { id: number.to_string(), at: at_ms, tag, message }
}
