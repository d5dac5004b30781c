//! The reads, writes and outputs of one guest call. Owns the rules of a turn's effects and their limits.
//!
//! Invariant: nothing leaves from here; a turn that is dropped leaves no trace. Reads see the turn's own
//! writes. Plain data: it does not know wasm, the store's kind, or where outputs go.

use crate::connection::{Connection, Connections, Link};
use crate::event::{CloseFrame, Message};
use crate::id::Serial;
use crate::limits::{Limits, size};
use crate::presence::PresenceDraft;
use crate::span::{Direction, Entries, Key, ListOptions, Overlay, Span, merged, over};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

mod delivery;
mod effects;
mod history;
mod jobs;
mod outcalls;
mod presence;
mod responses;
mod savepoint;
mod space;
mod view;

pub use delivery::{DeliveryMode, FleetingMessage, FleetingReceivers};
use effects::entry_bytes;
pub use effects::is_meant_for;
pub use effects::{AlarmChange, Cleared, Effects, Output, Tags, TickChange, Writes};
pub use history::{History, HistoryPage, HistoryQuery, HistoryRefusal, SentMessage};
use jobs::TurnJobs;
pub use jobs::{CarriedJobs, TimerPlan};
pub use outcalls::OutcallPlan;
use responses::TurnResponses;
pub use responses::{OpenResponses, OwnRequest, ResponseFinish, ResponsePhase, ResponseRest};
pub use savepoint::NoSavepoint;
use savepoint::Savepoints;
pub use view::{EmptyView, ReadError, View};

/// The reason why a call of the guest was refused. The turn continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No open connection has this id.
    NotFound,
    /// A message or value is larger than this many bytes.
    TooLarge(u64),
    /// A connection's state is larger than this many bytes.
    StateTooLarge(u64),
    /// This turn has used up the limit with this name.
    UsedUp(&'static str),
    /// Something shall come more often than the limit with this name allows.
    TooOften(&'static str),
    /// An argument is invalid; the sentence says why.
    Invalid(String),
    /// A key is empty or longer than this many bytes.
    Key(u64),
    /// The store could not read.
    Unavailable,
}

/// One call of a guest: what it may read, and what it has done so far.
#[cfg_attr(test, derive(Clone))]
pub struct Turn {
    view: Arc<dyn View>,
    /// The connections as they were before the turn, which notes its changes in its effects.
    connections: Arc<Connections>,
    /// The connection that the event is about. The guest finds it even if it is not open.
    subject: Option<Serial>,
    /// The failed tries of the alarm that the event is about.
    alarm_tries: u32,
    jobs: TurnJobs,
    responses: TurnResponses,
    history: Option<Arc<dyn History>>,
    /// The users of the room with the turn's changes; `None` if its party keeps no presence.
    presence: Option<Box<PresenceDraft>>,
    effects: Effects,
    savepoints: Savepoints,
    send_bytes: usize,
    write_bytes: usize,
    read_error: Option<ReadError>,
    limits: Arc<Limits>,
}

/// One page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub entries: Vec<(Key, Bytes)>,
    /// True if the page ended at a limit, so that there may be more.
    pub more: bool,
}

impl Turn {
    /// Makes a turn over stored entries and connections. `subject` is the connection that the event is about;
    /// the guest finds it even when it is no longer open.
    #[inline]
    pub fn new(
        view: Arc<dyn View>,
        connections: Arc<Connections>,
        subject: Option<Serial>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            view,
            connections,
            subject,
            alarm_tries: 0,
            jobs: TurnJobs::default(),
            responses: TurnResponses::default(),
            history: None,
            presence: None,
            effects: Effects::default(),
            savepoints: Savepoints::default(),
            send_bytes: 0,
            write_bytes: 0,
            read_error: None,
            limits,
        }
    }

    /// Makes it the turn of the alarm's own event, after this many failed tries: while the guest handles it no
    /// alarm is set, and unless the guest sets another the commit removes it.
    #[must_use]
    pub fn for_alarm(mut self, tries: u32) -> Self {
        self.effects.writes.alarm = AlarmChange::Delete;
        self.with_alarm_tries(tries)
    }

    /// Makes it a turn that continues the alarm's own event after a flush.
    #[must_use]
    pub fn with_alarm_tries(mut self, tries: u32) -> Self {
        self.alarm_tries = tries;
        self
    }

    /// Returns the turn without anything that it did.
    #[must_use]
    pub fn undone(self) -> Self {
        let turn = Self::new(self.view, self.connections, self.subject, self.limits);
        let CarriedJobs { next, call, .. } = self.jobs.carried;
        let mut turn = turn.with_jobs(self.jobs.table, next).with_history(self.history);
        turn.jobs.carried.call = call;
        turn.with_presence(self.presence.map(|draft| draft.undone()))
    }

    /// Ends the turn, and returns its effects, which the room applies or drops.
    ///
    /// # Errors
    /// [`ReadError`] if the store could not read during the turn: the guest's conclusions from that must not
    /// be committed.
    #[inline]
    pub fn finish(mut self) -> Result<Effects, ReadError> {
        if let Some(error) = self.read_error {
            return Err(error);
        }
        if let Some(change) = self.jobs.change() {
            self.effects.writes.jobs = Some(change);
            self.effects.asked = self.jobs.asked();
        }
        if let Some(draft) = self.presence {
            self.effects.presence = draft.into_edits();
        }
        Ok(self.effects)
    }

    /// Ends a turn in the middle of a callback. Returns its effects, and what the next turn continues with.
    ///
    /// # Errors
    /// As [`Turn::finish`].
    pub fn finish_part(mut self) -> Result<(Effects, CarriedJobs), ReadError> {
        self.keep_interrupted();
        let carried = self.jobs.part();
        Ok((self.finish()?, carried))
    }

    // Connections.

    /// Returns the open connections without those that this turn closed, and only those with `tag` if one is
    /// given.
    pub fn open<'a>(&'a self, tag: Option<&'a str>) -> impl Iterator<Item = &'a Connection> {
        let carries = move |c: &Connection| {
            tag.is_none_or(|tag| c.id.as_str() == tag || self.tags_of(c).iter().any(|t| t == tag))
        };
        self.connections
            .open(None)
            .filter(move |c| carries(c) && !self.effects.closed.contains(&c.serial))
    }

    /// Returns a connection's tags as this turn sees them.
    pub fn tags_of<'a>(&'a self, connection: &'a Connection) -> &'a [String] {
        match &self.effects.tags {
            Some(Tags { to, tags }) if *to == connection.serial => tags,
            _ => &connection.tags,
        }
    }

    /// Gives the connection that this turn opens its tags.
    ///
    /// # Errors
    /// [`Refusal::UsedUp`] with more than [`Limits::connection_tags_max`]; [`Refusal::Invalid`] for a
    /// tag that is empty or longer than [`Limits::tag_bytes_max`].
    pub fn set_tags(&mut self, serial: Serial, tags: Vec<String>) -> Result<(), Refusal> {
        if tags.len() > size(self.limits.connection_tags_max) {
            return Err(Refusal::UsedUp("connection_tags_max"));
        }
        let longest = size(self.limits.tag_bytes_max);
        if let Some(tag) = tags.iter().find(|tag| !(1..=longest).contains(&tag.len())) {
            return Err(Refusal::Invalid(format!(
                "a tag has 1 to {longest} bytes, this one has {}",
                tag.len()
            )));
        }
        self.effects.tags = Some(Tags { to: serial, tags: tags.into() });
        Ok(())
    }

    /// Finds the connection with this id: an open one, or the one that the event is about.
    pub fn connection(&self, id: &str) -> Option<&Connection> {
        let about = self.subject.and_then(|serial| self.connections.get(serial));
        about.filter(|c| c.id.as_str() == id).or_else(|| self.open_by_id(id))
    }

    /// Returns a connection's state as this turn sees it.
    pub fn state_of<'a>(&'a self, connection: &'a Connection) -> &'a Bytes {
        self.effects.states.get(&connection.serial).unwrap_or(&connection.state)
    }

    fn open_by_id(&self, id: &str) -> Option<&Connection> {
        self.connections
            .by_id(id)
            .filter(|c| c.link == Link::Open && !self.effects.closed.contains(&c.serial))
    }

    fn target(&self, id: &str) -> Result<Serial, Refusal> {
        self.open_by_id(id).map(|c| c.serial).ok_or(Refusal::NotFound)
    }

    /// Sends to one connection.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::TooLarge`], [`Refusal::UsedUp`].
    pub fn send(&mut self, id: &str, message: Message) -> Result<(), Refusal> {
        let to = self.target(id)?;
        self.admit(&message)?;
        self.effects.outputs.push(Output::Send { to, message });
        Ok(())
    }

    /// Sends to all open connections, or those with `tag`, except those in `without`.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`], [`Refusal::UsedUp`].
    pub fn broadcast(
        &mut self,
        message: Message,
        tag: Option<String>,
        without: &[String],
    ) -> Result<(), Refusal> {
        if tag.as_ref().is_some_and(|tag| tag.len() > size(self.limits.tag_bytes_max)) {
            // No connection carries such a tag.
            return Ok(());
        }
        self.admit(&message)?;
        // Ids are looked up now, so the number of connections bounds what the turn keeps, not the number of
        // ids passed.
        let without: BTreeSet<Serial> =
            without.iter().filter_map(|id| self.open_by_id(id)).map(|c| c.serial).collect();
        self.effects.outputs.push(Output::Broadcast { message, tag, without });
        Ok(())
    }

    /// Closes a connection after the messages that were sent to it so far. A connection that is closed
    /// already, or whose end the event is about, stays as it is.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Invalid`] if a room may not send the code, or the reason is too
    /// long; [`Refusal::UsedUp`].
    pub fn close(&mut self, id: &str, frame: CloseFrame) -> Result<(), Refusal> {
        check_close(&frame)?;
        let Ok(to) = self.target(id) else {
            return self.connections.by_id(id).map(|_| ()).ok_or(Refusal::NotFound);
        };
        self.count_output()?;
        self.effects.closed.insert(to);
        self.effects.outputs.push(Output::Close { to, frame });
        Ok(())
    }

    /// Replaces the state kept with a connection.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::StateTooLarge`].
    pub fn set_state(&mut self, id: &str, state: Bytes) -> Result<(), Refusal> {
        let serial = self.connection(id).map(|c| c.serial).ok_or(Refusal::NotFound)?;
        if state.len() > size(self.limits.connection_state_bytes_max) {
            return Err(Refusal::StateTooLarge(self.limits.connection_state_bytes_max));
        }
        self.savepoints.note_state(serial, self.effects.states.get(&serial));
        self.effects.states.insert(serial, state);
        Ok(())
    }

    fn count_output(&self) -> Result<(), Refusal> {
        let full = self.effects.outputs.len() >= size(self.limits.turn_sends_max);
        if full { Err(Refusal::UsedUp("turn_sends_max")) } else { Ok(()) }
    }

    fn admit(&mut self, message: &Message) -> Result<(), Refusal> {
        if message.len() > size(self.limits.room_message_bytes_max) {
            return Err(Refusal::TooLarge(self.limits.room_message_bytes_max));
        }
        self.count_output()?;
        self.count_sent(message.len())
    }

    fn count_sent(&mut self, bytes: usize) -> Result<(), Refusal> {
        if self.send_bytes + bytes > size(self.limits.turn_send_bytes_max) {
            return Err(Refusal::UsedUp("turn_send_bytes_max"));
        }
        self.send_bytes += bytes;
        Ok(())
    }

    // Storage.

    /// Returns the value of a key.
    ///
    /// # Errors
    /// [`Refusal::Key`], [`Refusal::Unavailable`].
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, Refusal> {
        self.check_key(key)?;
        if let Some(value) = self.effects.writes.keys.get(key) {
            return Ok(value.clone());
        }
        if self.effects.writes.cleared == Cleared::Yes {
            return Ok(None);
        }
        let read = self.view.get(key);
        read.map_err(|error| self.unavailable(error))
    }

    /// Sets keys: all of them, or none if one is refused.
    ///
    /// # Errors
    /// [`Refusal::Key`], [`Refusal::TooLarge`], [`Refusal::UsedUp`].
    pub fn put(&mut self, entries: Vec<(Key, Bytes)>) -> Result<(), Refusal> {
        for (key, value) in &entries {
            self.check_key(key)?;
            if value.len() > size(self.limits.value_bytes_max) {
                return Err(Refusal::TooLarge(self.limits.value_bytes_max));
            }
        }
        let changes = entries.into_iter().map(|(key, value)| (key, Some(value)));
        self.write(changes.collect())
    }

    /// Removes keys. Returns how many of them existed.
    ///
    /// # Errors
    /// [`Refusal::Key`], [`Refusal::UsedUp`], [`Refusal::Unavailable`].
    pub fn delete(&mut self, keys: Vec<Key>) -> Result<u32, Refusal> {
        let mut there = Overlay::new();
        for key in keys {
            if self.get(&key)?.is_some() {
                there.insert(key, None);
            }
        }
        let count = u32::try_from(there.len()).unwrap_or(u32::MAX);
        self.write(there)?;
        Ok(count)
    }

    /// Removes every key, the alarm, the timers, and the requests that wait for an answer.
    pub fn delete_all(&mut self) {
        let writes = &mut self.effects.writes;
        self.savepoints.note_all(std::mem::take(&mut writes.keys));
        writes.cleared = Cleared::Yes;
        self.write_bytes = 0;
        self.clear_jobs();
        self.delete_alarm();
    }

    /// Returns a page of entries in key order.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::Unavailable`].
    pub fn list(&mut self, options: &ListOptions) -> Result<Page, Refusal> {
        let span = Span::of(options).map_err(|why| Refusal::Invalid(why.to_owned()))?;
        let asked = options.limit.map_or(usize::MAX, |limit| limit as usize);
        let read = read_page(&self.view, &self.effects.writes, &span, asked, &self.limits);
        read.map_err(|error| self.unavailable(error))
    }

    fn write(&mut self, changes: Overlay) -> Result<(), Refusal> {
        let keys = &self.effects.writes.keys;
        let new = changes.keys().filter(|key| !keys.contains_key(*key)).count();
        if keys.len() + new > size(self.limits.turn_writes_max) {
            return Err(Refusal::UsedUp("turn_writes_max"));
        }
        let added: usize = changes.iter().map(|(k, v)| entry_bytes(k, v.as_ref())).sum();
        let replaced: usize = changes
            .keys()
            .filter_map(|key| keys.get(key).map(|old| entry_bytes(key, old.as_ref())))
            .sum();
        let bytes = self.write_bytes + added - replaced;
        if bytes > size(self.limits.turn_write_bytes_max) {
            return Err(Refusal::UsedUp("turn_write_bytes_max"));
        }
        if changes.values().any(Option::is_some) && !self.has_room_for(&changes, bytes)? {
            return Err(Refusal::UsedUp("room_bytes_max"));
        }
        self.write_bytes = bytes;
        self.savepoints.note_keys(&self.effects.writes.keys, &changes);
        self.effects.writes.keys.extend(changes);
        Ok(())
    }

    fn check_key(&self, key: &[u8]) -> Result<(), Refusal> {
        let max = self.limits.key_bytes_max;
        if (1..=size(max)).contains(&key.len()) { Ok(()) } else { Err(Refusal::Key(max)) }
    }

    fn unavailable(&mut self, error: ReadError) -> Refusal {
        self.read_error.get_or_insert(error);
        Refusal::Unavailable
    }

    // The alarm.

    /// Returns when the alarm is due, in milliseconds since 1970.
    pub fn alarm(&self) -> Option<u64> {
        match self.effects.writes.alarm {
            AlarmChange::Keep => self.view.alarm(),
            AlarmChange::Set(at_ms) => Some(at_ms),
            AlarmChange::Delete => None,
        }
    }

    /// Returns how often the alarm that the event is about has failed before.
    pub fn alarm_tries(&self) -> u32 {
        self.alarm_tries
    }

    /// Sets the alarm in place of the one before.
    pub fn set_alarm(&mut self, at_ms: u64) {
        self.effects.writes.alarm = AlarmChange::Set(at_ms);
    }

    /// Removes the alarm.
    pub fn delete_alarm(&mut self) {
        self.effects.writes.alarm = AlarmChange::Delete;
    }
}

/// Checks a close frame: a room may send any code that a frame can carry, and no code at all.
fn check_close(frame: &CloseFrame) -> Result<(), Refusal> {
    if frame.code == CloseFrame::NO_CODE && !frame.reason.is_empty() {
        return Err(Refusal::Invalid("a close without a code has no reason".to_owned()));
    }
    if frame.code != CloseFrame::NO_CODE && !frame.has_sendable_code() {
        return Err(Refusal::Invalid(format!(
            "a room may close with {}, not {}",
            CloseFrame::CODES,
            frame.code
        )));
    }
    if frame.reason.len() > CloseFrame::REASON_BYTES_MAX {
        return Err(Refusal::Invalid(format!(
            "a close reason has at most {} bytes, this one has {}",
            CloseFrame::REASON_BYTES_MAX,
            frame.reason.len()
        )));
    }
    Ok(())
}

fn read_page(
    view: &Arc<dyn View>,
    writes: &Writes,
    span: &Span,
    asked: usize,
    limits: &Limits,
) -> Result<Page, ReadError> {
    let stored: Entries<'_, ReadError> = match writes.cleared {
        Cleared::Yes => Box::new(std::iter::empty()),
        Cleared::No => view.scan(span),
    };
    let entries_max = asked.min(size(limits.list_page_entries_max));
    let mut page = Page::default();
    let mut bytes = 0;
    for entry in merged(over(&writes.keys, span), stored, span.direction) {
        let (key, value) = entry?;
        bytes += key.len() + value.len();
        let full = page.entries.len() >= entries_max
            || (bytes > size(limits.list_page_bytes_max) && !page.entries.is_empty());
        if full {
            page.more = page.entries.len() < asked;
            break;
        }
        page.entries.push((key, value));
    }
    Ok(page)
}

impl Direction {
    /// Returns the direction for a `reverse` flag as the contract spells it.
    pub fn of_reverse(reverse: bool) -> Self {
        if reverse { Self::Reverse } else { Self::Forward }
    }
}

#[cfg(test)]
mod tests;
