//! The functions a guest can call. Owns the translation between the contract and a [`Turn`].
//!
//! Invariant: a call changes the turn or is refused with a reason; nothing leaves from here. It does
//! not know what becomes of the turn.

use crate::answer;
use crate::attachment;
use crate::batch::{self, Inbox};
use crate::bindings::Core as World;
use crate::bindings::room::runtime::{
    alarm, connections, log, room, storage, timers, transports, types,
};
use crate::budget::Budget;
use crate::delivery;
use crate::fault::Overrun;
use crate::flush::Flushes;
use crate::history;
use crate::log::GuestLog;
use crate::outcalls;
use crate::outside::HookAllowance;
use crate::presence;
use crate::samples::Samples;
use room_auth::TicketMint;
use room_core::connection::{Connection, Transport};
use room_core::event::{AddedHeaders, CloseFrame, Message, Response};
use room_core::id::RoomId;
use room_core::identity::Identity;
use room_core::jobs::{JobId, Timer};
use room_core::limits::{Limits, size};
use room_core::span::{Direction, ListOptions};
use room_core::turn::{Refusal, TimerPlan, Turn};
use std::sync::Arc;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// The data of a wasmtime store for its guest.
pub(super) struct HostState {
    pub(super) budget: Budget,
    pub(super) log: GuestLog,
    /// The turn of the present call; `None` before the first call and in the hooks at the door.
    pub(super) turn: Option<Box<Turn>>,
    /// The way of the guest's flushes; `None` in the hooks at the door.
    pub(super) flushes: Option<Flushes>,
    /// The messages of the present call; `None` unless that is a call for a batch.
    pub(super) inbox: Option<Inbox>,
    /// What the client of the running request gets if its callback returns an error.
    pub(super) refusal: Option<Response>,
    /// The headers that the hook has added to its client's answer; `None` outside of the hooks before a room.
    pub(super) added: Option<AddedHeaders>,
    /// The way of a hook to other servers; `None` in a room.
    pub(super) hook: Option<HookAllowance>,
    /// What the builder put behind the guest's code.
    pub(super) attachment: Arc<[u8]>,
    /// Who sent the request that the present call is about.
    pub(super) identity: Option<Identity>,
    /// What makes tickets.
    pub(super) mint: Option<TicketMint>,
    party: String,
    room: String,
    wasi: WasiCtx,
    pub(super) samples: Samples,
    table: ResourceTable,
}

impl HostState {
    pub(super) fn new(
        budget: Budget,
        log: GuestLog,
        (wasi, samples): (WasiCtx, Samples),
        attachment: Arc<[u8]>,
        room: &RoomId,
    ) -> Self {
        Self {
            budget,
            log,
            turn: None,
            flushes: None,
            inbox: None,
            refusal: None,
            added: None,
            hook: None,
            attachment,
            identity: None,
            mint: None,
            party: room.party().as_str().to_owned(),
            room: room.name().to_owned(),
            wasi,
            samples,
            table: ResourceTable::new(),
        }
    }

    pub(super) fn turn(&mut self) -> wasmtime::Result<&mut Turn> {
        self.turn.as_deref_mut().ok_or_else(|| {
            wasmtime::format_err!(
                "no turn is in work: a hook at the door, and what follows the last message of a batch, \
                 have no storage, connections or alarm"
            )
        })
    }

    /// Returns the guest's time, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        self.samples.wall_ms()
    }

    /// Returns the project's limits.
    pub(super) fn limits(&self) -> &Limits {
        self.budget.limits()
    }

    /// Carries out a call about connections, and returns its result or the turn's refusal.
    fn connected<T>(
        &mut self,
        call: impl FnOnce(&mut Turn) -> Result<T, Refusal>,
    ) -> Call<T, ConnectionError> {
        let outcome = call(self.turn()?);
        Ok(outcome.map_err(|refusal| connection_error(refusal, self.budget.limits())))
    }

    /// Carries out a call about storage, and returns its result or the turn's refusal.
    fn stored<T>(
        &mut self,
        call: impl FnOnce(&mut Turn) -> Result<T, Refusal>,
    ) -> Call<T, StorageError> {
        let outcome = call(self.turn()?);
        Ok(outcome.map_err(|refusal| storage_error(refusal, self.budget.limits())))
    }
}

/// Makes a linker with everything that a guest may import.
pub(super) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    World::add_to_linker::<_, HasSelf<_>>(&mut linker, |host: &mut HostState| host)?;
    batch::add_to_linker(&mut linker)?;
    outcalls::add_to_linker(&mut linker)?;
    answer::add_to_linker(&mut linker)?;
    attachment::add_to_linker(&mut linker)?;
    history::add_to_linker(&mut linker)?;
    delivery::add_to_linker(&mut linker)?;
    presence::add_to_linker(&mut linker)?;
    Ok(linker)
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for HostState {}

impl connections::Host for HostState {
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
        self.connected(|turn| turn.send(&id, message.into()))
    }

    fn broadcast(
        &mut self,
        message: connections::Message,
        tag: Option<String>,
        without: Vec<String>,
    ) -> Call<(), ConnectionError> {
        self.connected(|turn| turn.broadcast(message.into(), tag, &without))
    }

    fn close(&mut self, id: String, frame: connections::CloseFrame) -> Call<(), ConnectionError> {
        self.connected(|turn| turn.close(&id, frame.into()))
    }

    fn set_state(&mut self, id: String, state: Vec<u8>) -> Call<(), ConnectionError> {
        self.connected(|turn| turn.set_state(&id, state.into()))
    }
}

impl transports::Host for HostState {
    fn transport_of(&mut self, id: String) -> wasmtime::Result<Option<transports::Transport>> {
        let turn = self.turn()?;
        Ok(turn.connection(&id).map(|connection| match connection.transport {
            Transport::WebSocket => transports::Transport::Websocket,
            Transport::Sse => transports::Transport::Sse,
            Transport::LongPoll => transports::Transport::LongPoll,
        }))
    }
}

impl storage::Host for HostState {
    fn get(&mut self, key: Vec<u8>) -> Call<Option<Vec<u8>>, StorageError> {
        self.stored(|turn| Ok(turn.get(&key)?.map(Vec::from)))
    }

    fn get_many(&mut self, keys: Vec<Vec<u8>>) -> Call<Vec<Option<Vec<u8>>>, StorageError> {
        let limits = self.budget.limits().clone();
        if keys.len() > size(limits.turn_writes_max) {
            return self.stored(|_| Err(Refusal::UsedUp("turn_writes_max")));
        }
        let mut bytes = 0;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            match self.stored(|turn| Ok(turn.get(&key)?.map(Vec::from)))? {
                Ok(value) => values.push(value),
                Err(refused) => return Ok(Err(refused)),
            }
            bytes += values.last().and_then(Option::as_ref).map_or(0, Vec::len);
            // The guest could not take it anyway, and the host need not hold it.
            if bytes > size(limits.memory_bytes_max) {
                return Err(Overrun::Memory { bytes: limits.memory_bytes_max }.into());
            }
        }
        Ok(Ok(values))
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Call<(), StorageError> {
        self.stored(|turn| turn.put(vec![(key, value.into())]))
    }

    fn put_many(&mut self, entries: Vec<storage::Entry>) -> Call<(), StorageError> {
        let entries = entries.into_iter().map(|(key, value)| (key, value.into()));
        self.stored(|turn| turn.put(entries.collect()))
    }

    fn delete(&mut self, key: Vec<u8>) -> Call<bool, StorageError> {
        self.stored(|turn| Ok(turn.delete(vec![key])? > 0))
    }

    fn delete_many(&mut self, keys: Vec<Vec<u8>>) -> Call<u32, StorageError> {
        self.stored(|turn| turn.delete(keys))
    }

    fn list(&mut self, options: storage::ListOptions) -> Call<storage::Page, StorageError> {
        self.stored(|turn| {
            let page = turn.list(&options.into())?;
            let entries = page.entries.into_iter().map(|(key, value)| (key, value.into()));
            Ok(storage::Page { entries: entries.collect(), more: page.more })
        })
    }

    fn delete_all(&mut self) -> Call<(), StorageError> {
        self.stored(|turn| {
            turn.delete_all();
            Ok(())
        })
    }

    fn bytes(&mut self) -> Call<u64, StorageError> {
        self.stored(Turn::bytes)
    }

    fn bytes_max(&mut self) -> wasmtime::Result<u64> {
        Ok(self.budget.limits().room_bytes_max)
    }
}

impl alarm::Host for HostState {
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

    fn tries(&mut self) -> wasmtime::Result<u32> {
        Ok(self.turn()?.alarm_tries())
    }
}

impl timers::Host for HostState {
    fn schedule(
        &mut self,
        at: u64,
        every: Option<u64>,
        tag: String,
        data: Vec<u8>,
    ) -> Call<String, TimerError> {
        let plan = TimerPlan { at_ms: at, every_ms: every, tag, data: data.into() };
        let scheduled = self.turn()?.schedule(plan);
        // The contract has no error for it.
        if let Err(Refusal::Invalid(why)) = scheduled {
            return Err(wasmtime::Error::msg(why));
        }
        let limits = self.budget.limits();
        Ok(scheduled.map(|id| id.to_string()).map_err(|refusal| timer_error(&refusal, limits)))
    }

    fn cancel(&mut self, id: String) -> wasmtime::Result<bool> {
        Ok(self.turn()?.cancel(&id))
    }

    fn list(&mut self) -> wasmtime::Result<Vec<timers::Timer>> {
        Ok(self.turn()?.timers().into_iter().map(timers::Timer::of).collect())
    }

    fn tick(&mut self, every: Option<u32>) -> Call<(), TimerError> {
        let changed = self.turn()?.tick(every.map(u64::from));
        Ok(changed.map_err(|refusal| timer_error(&refusal, self.budget.limits())))
    }
}

impl room::Host for HostState {
    fn party(&mut self) -> wasmtime::Result<String> {
        Ok(self.party.clone())
    }

    fn name(&mut self) -> wasmtime::Result<String> {
        Ok(self.room.clone())
    }

    async fn flush(&mut self) -> wasmtime::Result<()> {
        if self.turn()?.has_savepoint() {
            wasmtime::bail!("a turn cannot be flushed while a savepoint is open");
        }
        let (Some(turn), Some(flushes)) = (self.turn.take(), &self.flushes) else {
            return Ok(());
        };
        self.turn = Some(flushes.ask(turn).await.ok_or_else(stopped)?);
        Ok(())
    }

    fn savepoint(&mut self) -> Call<u32, types::Limit> {
        let savepoint = self.turn()?.savepoint();
        Ok(savepoint.map_err(|_| limit("turn_savepoints_max", self.budget.limits())))
    }

    fn rollback(&mut self, savepoint: u32) -> wasmtime::Result<()> {
        Ok(self.turn()?.roll_back(savepoint)?)
    }

    fn release(&mut self, savepoint: u32) -> wasmtime::Result<()> {
        Ok(self.turn()?.release(savepoint)?)
    }

    fn refuse(&mut self, response: room::Response) -> wasmtime::Result<()> {
        self.turn()?;
        self.refusal = Some(response.into());
        Ok(())
    }
}

fn stopped() -> wasmtime::Error {
    wasmtime::format_err!("the room could not commit what the callback flushed")
}

impl log::Host for HostState {
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

/// The result of an import: a trap outside, the guest's own error inside.
pub(crate) type Call<T, E> = wasmtime::Result<Result<T, E>>;
use connections::ConnectionError;
use storage::StorageError;
use timers::TimerError;

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

impl From<&Message> for types::MessageResult {
    fn from(message: &Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.as_str().to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
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

/// Converts a limit to the contract's `u32`. The limits that cross are far below its maximum.
pub(super) fn narrow(limit: u64) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// Names the limit that a turn used up.
pub(super) fn limit(name: &str, limits: &Limits) -> types::Limit {
    types::Limit { name: name.to_owned(), max: limits.value_of(name).unwrap_or_default() }
}

fn connection_error(refusal: Refusal, limits: &Limits) -> ConnectionError {
    match refusal {
        Refusal::TooLarge(max) => ConnectionError::MessageTooLarge(narrow(max)),
        Refusal::StateTooLarge(max) => ConnectionError::StateTooLarge(narrow(max)),
        Refusal::UsedUp(name) => ConnectionError::TooManySends(limit(name, limits)),
        Refusal::Invalid(why) => ConnectionError::InvalidClose(why),
        // The others do not occur in calls about connections.
        Refusal::NotFound | Refusal::Key(_) | Refusal::Unavailable | Refusal::TooOften(_) => {
            ConnectionError::NotFound
        }
    }
}

fn storage_error(refusal: Refusal, limits: &Limits) -> StorageError {
    match refusal {
        Refusal::Key(max) => StorageError::InvalidKey(narrow(max)),
        Refusal::TooLarge(max) => StorageError::ValueTooLarge(narrow(max)),
        Refusal::UsedUp(name) => StorageError::TooManyWrites(limit(name, limits)),
        Refusal::Invalid(why) => StorageError::InvalidRange(why),
        // The others do not occur in calls about storage.
        Refusal::Unavailable
        | Refusal::NotFound
        | Refusal::StateTooLarge(_)
        | Refusal::TooOften(_) => StorageError::Unavailable,
    }
}

fn timer_error(refusal: &Refusal, limits: &Limits) -> TimerError {
    match refusal {
        Refusal::TooOften(name) => TimerError::TooOften(limit(name, limits)),
        Refusal::UsedUp(name) => TimerError::BeyondLimit(limit(name, limits)),
        // The others do not occur in calls about timers.
        _ => TimerError::BeyondLimit(limit("timers_max", limits)),
    }
}

impl timers::Timer {
    /// Makes the contract's form of a timer.
    pub(super) fn of((id, timer): (JobId, Timer)) -> Self {
        let Timer { at_ms, every_ms, tag, data, tries, .. } = timer;
        Self { id: id.to_string(), at: at_ms, every: every_ms, tag, data: data.into(), tries }
    }
}
