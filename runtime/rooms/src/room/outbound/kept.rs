//! The part of a room's log that the store has. Owns what a commit changes of it, and the form of its entries.
//!
//! Invariant: an entry that a client may see is in the store, until everything up to it is forgotten there, too. What the
//! store has and memory does not is older than what memory has. An entry names its audience by tags and marks, which
//! outlive connections. It does not know when a commit is durable.
//!
//! ```text
//! u8 version · u64 at ms · u8 kind · [tag: u16 len, text] · u32 count · count × 16 bytes mark · message
//! ```

use super::super::returning::ClientMark;
use super::{LogAudience, LogEntry, OutboundLog};
use bytes::{Buf, BufMut, Bytes};
use room_core::config::Retention;
use room_core::event::Message;
use room_core::id::{SequenceNumber, Serial};
use room_core::limits::fixed::HISTORY_FORGOTTEN_MAX;
use room_core::logs::{Logs, RoomLog};
use room_core::report;
use room_store::{OutboundChange, OutboundFacts, OutboundReader};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};

/// The first byte of an entry.
const VERSION: u8 = 1;
/// Flags of its kind.
const BINARY: u8 = 1;
const ONE: u8 = 2;
const TAG: u8 = 4;
/// Bytes of a mark.
const MARK_BYTES: usize = 16;
/// The part of what the party allows that may be too much in the store before the oldest messages are looked for.
const TRIMMED_PART: usize = 16;

/// What the store has of a room's log.
pub(in super::super) struct KeptLog {
    source: OutboundReader,
    logs: Logs,
    /// The id up to which the last commit forgot everything; `None` until a commit has said where the log begins.
    floor: Option<SequenceNumber>,
    /// The entries that memory does not have, and their bytes.
    below: usize,
    below_bytes: usize,
    /// Forgotten entries that no commit has deleted yet, from the oldest.
    forgotten: VecDeque<SequenceNumber>,
    now_ms: u64,
}

impl KeptLog {
    /// Goes on with what the store has.
    pub(in super::super) fn of(
        (source, logs): (OutboundReader, Logs),
        facts: Option<OutboundFacts>,
    ) -> Self {
        let whole = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let OutboundFacts { entries, bytes, .. } = facts.unwrap_or_default();
        Self {
            source,
            logs,
            floor: facts.map(|facts| facts.floor),
            below: whole(entries),
            below_bytes: whole(bytes),
            forgotten: VecDeque::new(),
            now_ms: 0,
        }
    }

    /// Restarts with the next commit: what there was is gone.
    pub(super) fn restart(&mut self) {
        (self.floor, self.below, self.below_bytes) = (None, 0, 0);
        self.forgotten.clear();
    }

    /// Returns what memory does not have: where it begins, its entries and their bytes; `None` if that is nothing.
    pub(super) fn below(&self) -> Option<(SequenceNumber, usize, usize)> {
        (self.below > 0).then(|| (self.start(), self.below, self.below_bytes))
    }

    fn log(&self) -> RoomLog<'_> {
        self.logs.of_room(self.source.room())
    }

    /// Returns the id up to which everything is forgotten.
    fn start(&self) -> SequenceNumber {
        self.forgotten.back().copied().or(self.floor).unwrap_or_default()
    }

    /// Forgets as many of the entries that memory does not have, and others while their bytes are too many.
    fn trim(&mut self, mut entries: usize, mut bytes: usize) {
        while self.below > 0 && (entries > 0 || bytes > 0) {
            let wanted = entries.clamp(1, HISTORY_FORGOTTEN_MAX).min(self.below);
            let oldest = match self.source.oldest(self.start(), wanted) {
                Ok(oldest) => oldest,
                Err(error) => {
                    report!(error, self.log(), [], "old messages cannot be forgotten yet: {error}");
                    return;
                }
            };
            for (number, size) in &oldest {
                let size = usize::try_from(*size).unwrap_or(usize::MAX);
                self.forgotten.push_back(*number);
                self.below -= 1;
                self.below_bytes = self.below_bytes.saturating_sub(size);
                (entries, bytes) = (entries.saturating_sub(1), bytes.saturating_sub(size));
            }
            if oldest.len() < wanted {
                // The tree does not have the rest yet.
                return;
            }
        }
    }

    /// Notes that memory no longer has its oldest entry: because it is forgotten, or only for lack of memory.
    pub(super) fn leave(&mut self, entry: &LogEntry, is_forgotten: bool) {
        if self.floor.is_none_or(|floor| entry.number <= floor) {
            return;
        }
        match is_forgotten {
            true => {
                self.forgotten.push_back(entry.number);
                (self.below, self.below_bytes) = (0, 0);
            }
            false => {
                self.below += 1;
                self.below_bytes += entry.bytes();
            }
        }
    }
}

impl OutboundLog {
    /// Follows the party's wish that the store has the log, too. Without `kept`, memory alone has it from now on.
    pub(in super::super) fn keep(&mut self, kept: Option<KeptLog>, facts: Option<OutboundFacts>) {
        self.kept = kept.map(Box::new);
        if let (Some(_), Some(facts), true) = (&self.kept, facts, self.entries.is_empty()) {
            self.floor = facts.newest.max(facts.floor);
        }
    }

    /// Returns true if the store has the log, too.
    pub(in super::super) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Returns true if no commit has said yet where the log begins. Clients that may come back get ids behind that.
    pub(in super::super) fn has_to_begin(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.floor.is_none())
    }

    /// Takes what the next commit changes of the stored log: these entries, which were appended, are new. Returns `None`
    /// if it changes nothing.
    pub(in super::super) fn take_change(
        &mut self,
        new: &[Arc<LogEntry>],
    ) -> Option<Box<OutboundChange>> {
        let earlier = self.entries.len().saturating_sub(new.len());
        let newest = earlier.checked_sub(1).and_then(|at| self.entries.get(at));
        let newest = newest.map_or(self.floor, |entry| entry.number);
        let kept = self.kept.as_mut()?;
        let entries = new.iter().map(|entry| (entry.number, encode(entry))).collect();
        let mut change = OutboundChange { is_fresh: false, floor: None, entries };
        if kept.floor.is_none() {
            (change.is_fresh, change.floor) = (true, Some(newest));
        } else {
            let due = (HISTORY_FORGOTTEN_MAX + 2 * new.len()).min(kept.forgotten.len());
            change.floor = kept.forgotten.drain(..due).next_back();
        }
        kept.floor = kept.floor.max(change.floor);
        (!change.is_empty()).then(|| Box::new(change))
    }

    /// Reads into memory what only the store has. What cannot be read is forgotten: a client that asks for it gets a gap.
    #[cold]
    pub(super) fn load(&mut self) {
        let Some(kept) = self.kept.as_mut().filter(|kept| kept.below > 0) else { return };
        let start = kept.start();
        let read = match kept.source.read(start, self.floor) {
            Ok(read) => read,
            Err(error) => {
                report!(error, kept.log(), [], "the stored messages cannot be read now: {error}");
                return;
            }
        };
        let (mut loaded, mut from) = (Vec::with_capacity(read.len()), start);
        if read.len() != kept.below {
            let (found, wanted) = (read.len(), kept.below);
            report!(
                error,
                kept.log(),
                [],
                "of {wanted} stored messages {found} can be read: the room forgets them all"
            );
            from = self.floor;
        } else {
            for (number, bytes) in read {
                match decode(number, bytes) {
                    Some(entry) => loaded.push(Arc::new(entry)),
                    None => {
                        report!(
                            error,
                            kept.log(),
                            [],
                            "the stored message {number} is damaged: the room forgets all up to it"
                        );
                        loaded.clear();
                        from = number;
                    }
                }
            }
        }
        if from > start {
            kept.forgotten.push_back(from);
        }
        (kept.below, kept.below_bytes) = (0, 0);
        let now_ms = kept.now_ms;
        self.floor = from;
        self.released += loaded.len();
        self.bytes += loaded.iter().map(|entry| entry.bytes()).sum::<usize>();
        loaded.into_iter().rev().for_each(|entry| self.entries.push_front(entry));
        // The client that asked gets what was read. If the node has no memory for it, the next turn takes it out again.
        self.forget_over(now_ms);
    }

    /// Forgets what is too much of the entries that memory does not have.
    pub(super) fn prune_kept(&mut self, now_ms: u64) {
        let Some(kept) = &mut self.kept else { return };
        kept.now_ms = now_ms;
        if kept.below > 0 {
            let Retention { messages_max, bytes_max, .. } = self.retention;
            let entries = (self.entries.len() + kept.below).saturating_sub(messages_max);
            let bytes = (self.bytes + kept.below_bytes).saturating_sub(bytes_max);
            // Not for each message: to look for the oldest ones is to read. Nobody sees what is too much: a client that asks
            // for messages that only the store has gets all of them into memory first.
            if entries > messages_max / TRIMMED_PART || bytes > bytes_max / TRIMMED_PART {
                kept.trim(entries, bytes);
            }
        }
    }
}

/// Encodes an entry. A message to a client that cannot come back is stored without its content, for its id alone.
fn encode(entry: &LogEntry) -> Bytes {
    let mut out = Vec::with_capacity(32 + entry.message.len());
    out.put_u8(VERSION);
    out.put_u64(entry.at_ms);
    let (kind, tag) = match &entry.audience {
        LogAudience::One(_) => (ONE, None),
        LogAudience::Many { tag: None, .. } => (0, None),
        LogAudience::Many { tag: Some(tag), .. } => (TAG, Some(tag)),
    };
    let (format, content) = match &entry.message {
        Message::Text(text) => (0, text.as_str().as_bytes()),
        Message::Binary(bytes) => (BINARY, &bytes[..]),
    };
    out.put_u8(kind | format);
    if let Some(tag) = tag {
        // Tags are bounded far below this by `tag_bytes_max`.
        out.put_u16(u16::try_from(tag.len()).unwrap_or(u16::MAX));
        out.put_slice(tag.as_bytes());
    }
    out.put_u32(u32::try_from(entry.marks.len()).unwrap_or(u32::MAX));
    entry.marks.iter().for_each(|ClientMark(mark)| out.put_slice(mark));
    if kind != ONE || !entry.marks.is_empty() {
        out.put_slice(content);
    }
    out.into()
}

/// Decodes what [`encode`] made. Returns `None` for anything else.
fn decode(number: SequenceNumber, mut bytes: Bytes) -> Option<LogEntry> {
    if bytes.try_get_u8().ok()? != VERSION {
        return None;
    }
    let (at_ms, kind) = (bytes.try_get_u64().ok()?, bytes.try_get_u8().ok()?);
    let tag = match kind & TAG {
        0 => None,
        _ => {
            let len = usize::from(bytes.try_get_u16().ok()?);
            let text = (len <= bytes.len()).then(|| bytes.split_to(len))?;
            Some(String::from_utf8(text.to_vec()).ok()?)
        }
    };
    let count = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
    let len = count.checked_mul(MARK_BYTES).filter(|len| *len <= bytes.len())?;
    let marks = bytes.split_to(len);
    let marks = marks.chunks_exact(MARK_BYTES).map(|mark| mark.try_into().map(ClientMark));
    let marks = marks.collect::<Result<_, _>>().ok()?;
    let message = match kind & BINARY {
        0 => Message::text(String::from_utf8(bytes.to_vec()).ok()?),
        _ => Message::Binary(bytes),
    };
    let audience = match kind & !BINARY {
        ONE => LogAudience::One(NOBODY),
        0 | TAG => LogAudience::Many { tag, without: BTreeSet::new(), horizon: None },
        _ => return None,
    };
    Some(LogEntry { number, message, audience, at_ms, marks, framed: OnceLock::new() })
}

/// The serial of no connection.
const NOBODY: Serial = Serial(0);

#[cfg(test)]
mod tests;
