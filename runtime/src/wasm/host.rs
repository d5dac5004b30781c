//! The functions a guest can call. Owns the translation between the contract and a [`Turn`].
//!
//! Invariant: a call changes the turn or is refused with a reason; nothing leaves from here. It does
//! not know what becomes of the turn.

use super::bindings::Module as World;
use super::bindings::room::runtime::{alarm, connections, log, room, storage, types};
use super::budget::Budget;
use super::fault::Overrun;
use super::log::GuestLog;
use crate::connection::Connection;
use crate::event::{CloseFrame, Message};
use crate::limits::size;
use crate::span::{Direction, ListOptions};
use crate::turn::{Refusal, Turn};
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// What a store holds for its guest.
pub(super) struct Host {
    pub(super) budget: Budget,
    pub(super) log: GuestLog,
    /// The turn that a call is part of; none before the first and in the hooks at the door.
    pub(super) turn: Option<Turn>,
    pub(super) flushes: Option<mpsc::Sender<Flush>>,
    party: String,
    room: String,
    wasi: WasiCtx,
    table: ResourceTable,
}

/// A guest asks to commit what its turn did so far.
pub(crate) struct Flush {
    /// The turn up to here.
    pub(crate) turn: Turn,
    /// Where the next turn goes.
    pub(crate) resume: oneshot::Sender<Turn>,
}

impl Host {
    pub(super) fn new(
        budget: Budget,
        log: GuestLog,
        wasi: WasiCtx,
        party: &str,
        room: &str,
    ) -> Self {
        Self {
            budget,
            log,
            turn: None,
            flushes: None,
            party: party.to_owned(),
            room: room.to_owned(),
            wasi,
            table: ResourceTable::new(),
        }
    }

    fn turn(&mut self) -> wasmtime::Result<&mut Turn> {
        self.turn.as_mut().ok_or_else(|| {
            wasmtime::format_err!(
                "a hook at the door belongs to no room: it has no storage, connections or alarm"
            )
        })
    }
}

/// A linker with everything a guest may import.
pub(super) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    World::add_to_linker::<_, HasSelf<_>>(&mut linker, |host: &mut Host| host)?;
    Ok(linker)
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for Host {}

impl connections::Host for Host {
    fn list(&mut self, tag: Option<String>) -> wasmtime::Result<Vec<connections::Connection>> {
        let turn = self.turn()?;
        Ok(turn.open(tag.as_deref()).map(|connection| record(turn, connection)).collect())
    }

    fn ids(&mut self, tag: Option<String>) -> wasmtime::Result<Vec<String>> {
        Ok(self.turn()?.open(tag.as_deref()).map(|connection| connection.id.to_string()).collect())
    }

    fn get(&mut self, id: String) -> wasmtime::Result<Option<connections::Connection>> {
        let turn = self.turn()?;
        Ok(turn.connection(&id).map(|connection| record(turn, connection)))
    }

    fn send(&mut self, id: String, message: connections::Message) -> Call<(), ConnectionError> {
        Ok(self.turn()?.send(&id, message.into()).map_err(Into::into))
    }

    fn broadcast(
        &mut self,
        message: connections::Message,
        tag: Option<String>,
        without: Vec<String>,
    ) -> Call<(), ConnectionError> {
        Ok(self.turn()?.broadcast(message.into(), tag, &without).map_err(Into::into))
    }

    fn close(&mut self, id: String, frame: connections::CloseFrame) -> Call<(), ConnectionError> {
        Ok(self.turn()?.close(&id, frame.into()).map_err(Into::into))
    }

    fn set_state(&mut self, id: String, state: Vec<u8>) -> Call<(), ConnectionError> {
        Ok(self.turn()?.set_state(&id, state.into()).map_err(Into::into))
    }
}

impl storage::Host for Host {
    fn get(&mut self, key: Vec<u8>) -> Call<Option<Vec<u8>>, StorageError> {
        Ok(self.turn()?.get(&key).map(|value| value.map(Vec::from)).map_err(Into::into))
    }

    fn get_many(&mut self, keys: Vec<Vec<u8>>) -> Call<Vec<Option<Vec<u8>>>, StorageError> {
        let limits = self.budget.limits().clone();
        if keys.len() > size(limits.turn_writes_max) {
            return Ok(Err(StorageError::TooManyWrites("turn_writes_max".to_owned())));
        }
        let (turn, mut bytes) = (self.turn()?, 0);
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            match turn.get(&key) {
                Ok(value) => values.push(value.map(Vec::from)),
                Err(refusal) => return Ok(Err(refusal.into())),
            }
            bytes += values.last().and_then(Option::as_ref).map_or(0, Vec::len);
            // The guest could not take it anyway, and we need not hold it.
            if bytes > size(limits.memory_bytes_max) {
                return Err(Overrun::Memory { bytes: limits.memory_bytes_max }.into());
            }
        }
        Ok(Ok(values))
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Call<(), StorageError> {
        Ok(self.turn()?.put(vec![(key, value.into())]).map_err(Into::into))
    }

    fn put_many(&mut self, entries: Vec<storage::Entry>) -> Call<(), StorageError> {
        let entries = entries.into_iter().map(|(key, value)| (key, value.into()));
        Ok(self.turn()?.put(entries.collect()).map_err(Into::into))
    }

    fn delete(&mut self, key: Vec<u8>) -> Call<bool, StorageError> {
        Ok(self.turn()?.delete(vec![key]).map(|count| count > 0).map_err(Into::into))
    }

    fn delete_many(&mut self, keys: Vec<Vec<u8>>) -> Call<u32, StorageError> {
        Ok(self.turn()?.delete(keys).map_err(Into::into))
    }

    fn list(&mut self, options: storage::ListOptions) -> Call<storage::Page, StorageError> {
        let page = self.turn()?.list(&options.into()).map_err(Into::into);
        Ok(page.map(|page| storage::Page {
            entries: page.entries.into_iter().map(|(key, value)| (key, value.into())).collect(),
            more: page.more,
        }))
    }

    fn delete_all(&mut self) -> Call<(), StorageError> {
        self.turn()?.delete_all();
        Ok(Ok(()))
    }
}

impl alarm::Host for Host {
    fn get(&mut self) -> wasmtime::Result<Option<u64>> {
        Ok(self.turn()?.alarm())
    }

    fn set(&mut self, at: u64) -> wasmtime::Result<()> {
        self.turn()?.set_alarm(at);
        Ok(())
    }

    fn delete(&mut self) -> wasmtime::Result<()> {
        self.turn()?.delete_alarm();
        Ok(())
    }
}

impl room::Host for Host {
    fn party(&mut self) -> wasmtime::Result<String> {
        Ok(self.party.clone())
    }

    fn name(&mut self) -> wasmtime::Result<String> {
        Ok(self.room.clone())
    }

    async fn flush(&mut self) -> wasmtime::Result<()> {
        self.turn()?;
        let (Some(turn), Some(flushes)) = (self.turn.take(), &self.flushes) else {
            return Ok(());
        };
        let (resume, resumed) = oneshot::channel();
        // Either end is gone only when the room stops in the middle of this call.
        flushes.send(Flush { turn, resume }).await.map_err(|_| stopped())?;
        self.turn = Some(resumed.await.map_err(|_| stopped())?);
        Ok(())
    }
}

fn stopped() -> wasmtime::Error {
    wasmtime::format_err!("the room could not commit what the callback flushed")
}

impl log::Host for Host {
    fn write(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        self.log.write(level, message, &fields);
        Ok(())
    }
}

/// What an import returns: a trap outside, the guest's own error inside.
type Call<T, E> = wasmtime::Result<Result<T, E>>;
use connections::ConnectionError;
use storage::StorageError;

fn record(turn: &Turn, connection: &Connection) -> connections::Connection {
    connections::Connection {
        id: connection.id.to_string(),
        uri: connection.uri.to_string(),
        tags: turn.tags_of(connection).to_vec(),
        state: turn.state_of(connection).to_vec(),
    }
}

impl From<types::MessageResult> for Message {
    fn from(message: types::MessageResult) -> Self {
        match message {
            types::MessageResult::Text(text) => Self::Text(text.into()),
            types::MessageResult::Binary(bytes) => Self::Binary(bytes.into()),
        }
    }
}

impl From<types::CloseFrameResult> for CloseFrame {
    fn from(frame: types::CloseFrameResult) -> Self {
        Self { code: frame.code, reason: frame.reason }
    }
}

impl From<storage::ListOptions> for ListOptions {
    fn from(options: storage::ListOptions) -> Self {
        Self {
            start: options.start,
            start_after: options.start_after,
            end: options.end,
            prefix: options.prefix,
            direction: Direction::of_reverse(options.reverse),
            limit: options.limit,
        }
    }
}

/// A limit as the contract's `u32`; the limits that cross are far below it.
fn narrow(limit: u64) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

impl From<Refusal> for ConnectionError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLarge(max) => Self::MessageTooLarge(narrow(max)),
            Refusal::StateTooLarge(max) => Self::StateTooLarge(narrow(max)),
            Refusal::UsedUp(limit) => Self::TooManySends(limit.to_owned()),
            Refusal::Invalid(why) => Self::InvalidClose(why),
            // Keys and the store do not occur in calls about connections.
            Refusal::NotFound | Refusal::Key(_) | Refusal::Unavailable => Self::NotFound,
        }
    }
}

impl From<Refusal> for StorageError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Key(max) => Self::InvalidKey(narrow(max)),
            Refusal::TooLarge(max) => Self::ValueTooLarge(narrow(max)),
            Refusal::UsedUp(limit) => Self::TooManyWrites(limit.to_owned()),
            Refusal::Invalid(why) => Self::InvalidRange(why),
            // Connections do not occur in calls about storage.
            Refusal::Unavailable | Refusal::NotFound | Refusal::StateTooLarge(_) => {
                Self::Unavailable
            }
        }
    }
}
