//! What a room has sent, as far as its party remembers it. Owns the entries, their order and their end.
//!
//! Invariant: what the log answers to a cursor is all that followed it, or a gap, and never less. Entries are in the order
//! of their ids, and one whose turn may still be lost is shown to no client. Pure, but for its share of the node's
//! memory: it does not know outboxes, nor when a turn is durable.

mod kept;

pub(super) use kept::KeptLog;

use super::returning::{ClientMark, Gap, Rewind};
use room_core::byte_budget::{ByteBudget, BytePermit};
use room_core::config::{HistoryAccess, Retention};
use room_core::connection::Connection;
use room_core::event::Message;
use room_core::id::{SequenceNumber, Serial};
use room_core::identity::{Capabilities, Identity};
use room_core::lock::lock;
use room_core::turn::{
    History, HistoryPage, HistoryQuery, HistoryRefusal, Output, SentMessage, is_meant_for,
};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// A message that a room has sent, with its id.
#[derive(Debug)]
pub struct LogEntry {
    number: SequenceNumber,
    message: Message,
    audience: LogAudience,
    /// In milliseconds since 1970.
    at_ms: u64,
    /// The clients that it was sent to by name, or not sent to, in a log that is stored.
    marks: Box<[ClientMark]>,
    framed: OnceLock<Message>,
}

/// The connections that a message was sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LogAudience {
    One(Serial),
    Many {
        tag: Option<String>,
        without: BTreeSet<Serial>,
        /// The newest connection at the time: later ones did not get it.
        horizon: Option<Serial>,
    },
}

/// The messages that a room remembers.
pub(super) struct OutboundLog {
    entries: VecDeque<Arc<LogEntry>>,
    /// The number of entries, from the oldest, that clients may see.
    released: usize,
    /// The id of the newest entry that is forgotten, or the number before the first one.
    floor: SequenceNumber,
    bytes: usize,
    retention: Retention,
    permit: BytePermit,
    /// The part of it in the store, if the party wants it there.
    kept: Option<Box<KeptLog>>,
}

/// The log of a running room, which its turns read, too.
pub(super) struct SharedLog(Mutex<OutboundLog>);

/// A room's log as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSummary {
    /// The id of the newest message that clients may see.
    pub newest: SequenceNumber,
    /// The id that a client must have seen, at least, to come back without a gap.
    pub floor: SequenceNumber,
    /// The messages that are remembered.
    pub entries: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The connections whose clients are away.
    pub suspended: usize,
}

impl LogEntry {
    /// Makes the entry of an output with this number; `None` if the output is no message to connections.
    pub(super) fn of(
        number: SequenceNumber,
        output: &Output,
        horizon: Option<Serial>,
        at_ms: u64,
    ) -> Option<Self> {
        let (message, audience) = match output {
            Output::Send { to, message } => (message, LogAudience::One(*to)),
            Output::Broadcast { message, tag, without } => {
                let (tag, without) = (tag.clone(), without.clone());
                (message, LogAudience::Many { tag, without, horizon })
            }
            _ => return None,
        };
        Some(Self {
            number,
            message: message.clone(),
            audience,
            at_ms,
            marks: Box::default(),
            framed: OnceLock::new(),
        })
    }

    /// Returns its id.
    pub fn number(&self) -> SequenceNumber {
        self.number
    }

    /// Returns the message itself.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Returns the message in the form in which a socket sends it with its id. `frame` makes that form once, and all
    /// sockets share it.
    pub fn framed(&self, frame: impl FnOnce(&Self) -> Message) -> Message {
        self.framed.get_or_init(|| frame(self)).clone()
    }

    /// Returns true if this connection is one of those that it was sent to, and its client may hear it.
    pub(super) fn is_for(&self, connection: &Connection) -> bool {
        may_read(connection)
            && match &self.audience {
                LogAudience::One(to) => *to == connection.serial,
                LogAudience::Many { tag, without, horizon } => {
                    Some(connection.serial) <= *horizon
                        && is_meant_for(connection, tag.as_deref(), without)
                }
            }
    }

    /// Returns true if this connection may read it although it came later: it was sent to all, or to a tag that the
    /// connection has.
    pub(super) fn is_history_for(&self, connection: &Connection) -> bool {
        may_read(connection)
            && match &self.audience {
                LogAudience::One(_) => false,
                LogAudience::Many { tag, .. } => {
                    tag.as_deref().is_none_or(|tag| connection.has_tag(tag))
                }
            }
    }

    /// Returns true if it was sent to the former connection of a client that has this one now, and so not to this one.
    pub(super) fn was_for(&self, connection: &Connection, mark: ClientMark) -> bool {
        may_read(connection)
            && match &self.audience {
                LogAudience::One(to) => *to != connection.serial && self.marks.contains(&mark),
                LogAudience::Many { horizon, .. } => {
                    *horizon < Some(connection.serial)
                        && self.is_history_for(connection)
                        && !self.marks.contains(&mark)
                }
            }
    }

    fn bytes(&self) -> usize {
        let audience = match &self.audience {
            LogAudience::One(_) => 0,
            LogAudience::Many { tag, without, .. } => {
                tag.as_ref().map_or(0, String::len) + without.len() * size_of::<Serial>()
            }
        };
        self.message.len() + audience + size_of_val(&*self.marks) + size_of::<Self>()
    }
}

impl PartialEq for LogEntry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
            && self.message == other.message
            && self.audience == other.audience
    }
}

impl Eq for LogEntry {}

/// Returns true if the client of a connection gets what the room sends.
fn may_read(connection: &Connection) -> bool {
    Identity::capabilities_of(connection.identity.as_ref()).has(Capabilities::READ)
}

impl OutboundLog {
    /// Makes an empty log whose first entry comes after this number.
    pub(super) fn new(before: SequenceNumber, retention: Retention, budget: &ByteBudget) -> Self {
        let (entries, permit, kept) = (VecDeque::new(), budget.permit(), None);
        Self { entries, released: 0, floor: before, bytes: 0, retention, permit, kept }
    }

    /// Returns what the party's settings say.
    pub(super) fn retention(&self) -> &Retention {
        &self.retention
    }

    /// Follows other settings.
    pub(super) fn set_retention(&mut self, retention: Retention, now_ms: u64) {
        self.retention = retention;
        self.prune(now_ms);
    }

    /// Adds what a turn sends, which may still be lost. The first output has this number, which is greater than all
    /// before. Returns the entries.
    pub(super) fn append(
        &mut self,
        first: SequenceNumber,
        outputs: &[Output],
        horizon: Option<Serial>,
        now_ms: u64,
    ) -> Vec<Arc<LogEntry>> {
        self.append_marked((first, outputs), horizon, now_ms, |_| None)
    }

    /// As [`OutboundLog::append`], with the marks of the clients that the outputs name.
    pub(super) fn append_marked(
        &mut self,
        (first, outputs): (SequenceNumber, &[Output]),
        horizon: Option<Serial>,
        now_ms: u64,
        mark_of: impl Fn(Serial) -> Option<ClientMark>,
    ) -> Vec<Arc<LogEntry>> {
        let numbered = outputs.iter().enumerate();
        let made = numbered.filter_map(|(at, output)| {
            let mut entry = LogEntry::of(first.after(at as u64), output, horizon, now_ms)?;
            entry.marks = match &entry.audience {
                LogAudience::One(to) => mark_of(*to).into_iter().collect(),
                LogAudience::Many { without, .. } => {
                    without.iter().copied().filter_map(&mark_of).collect()
                }
            };
            Some(Arc::new(entry))
        });
        let made: Vec<_> = made.collect();
        self.bytes += made.iter().map(|entry| entry.bytes()).sum::<usize>();
        self.entries.extend(made.iter().cloned());
        made
    }

    /// Shows clients the entries up to this id: their turns are durable.
    pub(super) fn release(&mut self, newest: SequenceNumber, now_ms: u64) {
        while self.entries.get(self.released).is_some_and(|entry| entry.number <= newest) {
            self.released += 1;
        }
        self.prune(now_ms);
    }

    /// Forgets everything: the room is over. What comes is after this number.
    pub(super) fn clear(&mut self, before: SequenceNumber) {
        (self.released, self.bytes, self.floor) = (0, 0, before);
        self.entries.clear();
        self.permit.shrink(0);
        if let Some(kept) = &mut self.kept {
            kept.restart();
        }
    }

    /// Returns the id of the newest entry that clients may see, or the number before the first one.
    pub(super) fn position(&self) -> SequenceNumber {
        let newest = self.released.checked_sub(1).and_then(|at| self.entries.get(at));
        newest.map_or(self.floor, |entry| entry.number)
    }

    /// Returns the entries after the one with this id, which clients may see.
    ///
    /// # Errors
    /// [`Gap`]: some of them are forgotten, or no entry ever had this id.
    pub(super) fn since(
        &mut self,
        cursor: SequenceNumber,
        now_ms: u64,
    ) -> Result<impl Iterator<Item = &Arc<LogEntry>>, Gap> {
        self.prune(now_ms);
        if cursor < self.floor {
            self.load();
        }
        let first = self.place_after(cursor)?;
        Ok(self.entries.range(first..self.released))
    }

    /// Returns the entries that a new connection asks for.
    ///
    /// # Errors
    /// As [`OutboundLog::since`]; [`Gap::TooOld`], too, if the party's settings show nothing to new connections.
    pub(super) fn rewound(
        &mut self,
        rewind: Rewind,
        connection: &Connection,
        now_ms: u64,
    ) -> Result<Vec<Arc<LogEntry>>, Gap> {
        if self.retention.history != HistoryAccess::Everyone {
            return Err(Gap::TooOld);
        }
        self.prune(now_ms);
        if !matches!(rewind, Rewind::Since(cursor) if cursor >= self.floor) {
            self.load();
        }
        let seen = self.entries.range(..self.released);
        let own = |entry: &&Arc<LogEntry>| entry.is_history_for(connection);
        Ok(match rewind {
            Rewind::Messages(count) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                let mut newest: Vec<_> = seen.rev().filter(own).take(count).cloned().collect();
                newest.reverse();
                newest
            }
            Rewind::Ms(ms) => {
                let from = now_ms.saturating_sub(ms);
                seen.filter(|entry| entry.at_ms >= from).filter(own).cloned().collect()
            }
            Rewind::Since(cursor) => {
                let first = self.place_after(cursor)?;
                self.entries.range(first..self.released).filter(own).cloned().collect()
            }
        })
    }

    /// Returns what a turn asks for. What earlier turns committed is there before clients may see it.
    fn page(&self, query: &HistoryQuery, bytes_max: usize) -> Result<HistoryPage, HistoryRefusal> {
        if self.retention.history != HistoryAccess::Everyone {
            return Err(HistoryRefusal::NotKept);
        }
        let first = match query.after {
            Some(after) => self.place_before(after).map_err(|_| HistoryRefusal::Forgotten)?,
            None => 0,
        };
        let end = match query.before {
            Some(before) => self.entries.partition_point(|entry| entry.number < before),
            None => self.entries.len(),
        };
        let mut page = HistoryPage::default();
        let (limit, mut bytes) = (query.limit.unwrap_or(u32::MAX), 0);
        for entry in self.entries.range(first.min(end)..end).rev() {
            let LogAudience::Many { tag, .. } = &entry.audience else { continue };
            bytes += entry.bytes();
            let is_full = bytes > bytes_max && !page.messages.is_empty();
            if is_full || page.messages.len() as u64 >= u64::from(limit) {
                page.more = true;
                break;
            }
            let (tag, message) = (tag.clone(), entry.message.clone());
            let (number, at_ms) = (entry.number, entry.at_ms);
            page.messages.push(SentMessage { number, at_ms, tag, message });
        }
        page.messages.reverse();
        Ok(page)
    }

    /// Returns what an operator sees.
    pub(super) fn summary(&self, suspended: usize) -> LogSummary {
        let (mut floor, mut entries, mut bytes) = (self.floor, self.entries.len(), self.bytes);
        if let Some((start, below, below_bytes)) = self.kept.as_ref().and_then(|kept| kept.below())
        {
            (floor, entries, bytes) = (start, entries + below, bytes + below_bytes);
        }
        LogSummary { newest: self.position(), floor, entries, bytes, suspended }
    }

    /// Returns the place after the entry with this id, which clients may see.
    fn place_after(&self, cursor: SequenceNumber) -> Result<usize, Gap> {
        self.place_before(cursor).and_then(|first| match first > self.released {
            true => Err(Gap::UnknownId),
            false => Ok(first),
        })
    }

    /// Returns the place of the first entry that the one with this id is before.
    fn place_before(&self, cursor: SequenceNumber) -> Result<usize, Gap> {
        if cursor <= self.floor {
            return if cursor == self.floor { Ok(0) } else { Err(Gap::TooOld) };
        }
        let at = self.entries.partition_point(|entry| entry.number < cursor);
        match self.entries.get(at) {
            Some(entry) if entry.number == cursor => Ok(at + 1),
            _ => Err(Gap::UnknownId),
        }
    }

    /// Forgets the oldest entries that are too many, too old or too large together, and those for which the node has no
    /// memory. Entries that no client may see yet stay: the gate bounds them.
    pub(super) fn prune(&mut self, now_ms: u64) {
        if self.kept.is_some() {
            self.prune_kept(now_ms);
        }
        self.forget_over(now_ms);
        while self.released > 0 && !self.permit.cover(self.bytes) {
            self.forget_oldest(false);
        }
        self.permit.shrink(self.bytes);
    }

    /// Forgets the oldest entries that the party's settings exclude.
    fn forget_over(&mut self, now_ms: u64) {
        let Retention { messages_max, bytes_max, keep_ms, .. } = self.retention;
        let before = now_ms.saturating_sub(keep_ms);
        while self.released > 0
            && (self.entries.len() > messages_max
                || self.bytes > bytes_max
                || self.entries.front().is_some_and(|oldest| oldest.at_ms < before))
        {
            self.forget_oldest(true);
        }
    }

    /// Takes the oldest entry out of memory, and out of the store if it is over.
    fn forget_oldest(&mut self, is_over: bool) {
        let Some(oldest) = self.entries.pop_front() else { return };
        if let Some(kept) = &mut self.kept {
            kept.leave(&oldest, is_over);
        }
        self.bytes -= oldest.bytes();
        self.floor = oldest.number;
        self.released -= 1;
    }
}

impl SharedLog {
    /// Shares a log.
    pub(super) fn new(log: OutboundLog) -> Arc<Self> {
        Arc::new(Self(Mutex::new(log)))
    }

    /// Returns the log. Only the room's own task asks, so nobody waits.
    pub(super) fn lock(&self) -> MutexGuard<'_, OutboundLog> {
        lock(&self.0)
    }
}

impl History for SharedLog {
    fn read(&self, query: &HistoryQuery, bytes_max: usize) -> Result<HistoryPage, HistoryRefusal> {
        let mut log = self.lock();
        if query.after.is_none_or(|after| after < log.floor) {
            log.load();
        }
        log.page(query, bytes_max)
    }
}

#[cfg(test)]
mod tests;
