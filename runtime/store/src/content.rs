//! The stored content of one room, as a value. Owns its form for people.
//!
//! Invariant: content that is written and read back is the same, byte for byte. It does not know the store.
//!
//! One JSON value a line. The first line is a head; each further line is an entry, in the order of keys:
//!
//! ```text
//! {"room-export":1,"party":"main","room":"lobby","alarm":{"due_ms":1700000000000,"tries":0}}
//! {"key":"count","json":3}
//! {"key":"note","text":"any text"}
//! {"key_base64":"/wA=","base64":"AAEC"}
//! {"job_base64":"dAE=","base64":"AAEC"}
//! ```
//!
//! `entry.rs` has the form of an entry. Messages that the room remembers follow as `{"sent":"7-42","base64":"…"}`, and the
//! head has `"sent_floor"`, which is the id up to which everything is forgotten. Jobs (timers and effects that wait) come
//! last; the head then has `"wake"`, which is when the room has to be awake for them, or 0.

use crate::entry::EntryLine;
use crate::outbound::ID_BYTES;
use crate::{AlarmRecord, Record, StoreError, Wipe};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use room_core::id::{CursorError, PartyName, RoomId, SequenceNumber};
use room_core::jobs::Wake;
use room_core::limits::{Limits, size};
use room_core::span::{Key, Overlay};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

/// The version of the lines.
const FORMAT: u64 = 1;

/// Everything that is stored for a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomContent {
    pub(super) room: RoomId,
    pub(super) turns: u64,
    pub(super) alarm: Option<AlarmRecord>,
    pub(super) entries: BTreeMap<Key, Bytes>,
    pub(super) jobs: BTreeMap<Key, Bytes>,
    pub(super) wake: Wake,
    pub(super) sent: BTreeMap<SequenceNumber, Bytes>,
    /// The id up to which all messages are forgotten; `None` if the room never remembered any.
    pub(super) sent_floor: Option<SequenceNumber>,
}

/// The reason why lines are not the content of a room.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// They cannot be read.
    #[error("cannot read line {line}: {source}")]
    Read {
        /// Counted from 1.
        line: usize,
        /// The operating system's error.
        source: io::Error,
    },
    /// A line cannot be understood.
    #[error("line {line}: {problem}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The reason.
        problem: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContentHead {
    #[serde(rename = "room-export")]
    format: u64,
    party: String,
    room: String,
    alarm: Option<Alarm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wake: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent_floor: Option<String>,
}

/// The line of a job. Its key and value are bytes of the runtime.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobLine {
    job_base64: String,
    base64: String,
}

/// The line of a message that the room remembers. Its value is bytes of the runtime.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SentLine {
    sent: String,
    base64: String,
}

/// One line behind the head, read.
enum ContentLine {
    Key(Key, Bytes),
    Job(Key, Bytes),
    Sent(SequenceNumber, Bytes),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Alarm {
    due_ms: u64,
    tries: u32,
}

impl RoomContent {
    /// Makes the content of a room without stored entries.
    pub(super) fn of(room: RoomId) -> Self {
        let (entries, jobs, sent) = Default::default();
        let (wake, sent_floor) = (Wake::NoJobs, None);
        Self { room, turns: 0, alarm: None, entries, jobs, wake, sent, sent_floor }
    }

    /// Returns the room.
    pub fn room(&self) -> &RoomId {
        &self.room
    }

    /// Returns the same content for another room.
    #[must_use]
    pub fn renamed(self, room: RoomId) -> Self {
        Self { room, ..self }
    }

    /// Returns the number of keys.
    pub fn keys(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if anything was ever stored.
    pub(super) fn is_known(&self) -> bool {
        let has_alarm = self.turns > 0 || self.alarm.is_some() || self.sent_floor.is_some();
        has_alarm || !self.entries.is_empty() || !self.jobs.is_empty()
    }

    /// Applies the change of a record.
    pub(super) fn apply(&mut self, record: Record) -> Result<(), StoreError> {
        if record.change.wipe != Wipe::Nothing {
            self.entries.clear();
        }
        if record.change.wipe == Wipe::Room {
            (self.alarm, self.wake) = (None, Wake::NoJobs);
            self.jobs.clear();
            self.sent.clear();
            self.sent_floor = None;
        }
        self.alarm = record.change.alarm.unwrap_or(self.alarm);
        replay(&mut self.entries, record.change.keys);
        if let Some(jobs) = record.change.jobs {
            replay(&mut self.jobs, jobs.entries);
            self.wake = jobs.wake.unwrap_or(self.wake);
        }
        if let Some(outbound) = record.change.outbound {
            self.sent_floor = outbound.replay(&mut self.sent, self.sent_floor);
        }
        let is_empty = self.entries.is_empty() && self.jobs.is_empty() && self.sent_floor.is_none();
        let is_gone = record.change.wipe == Wipe::Room && is_empty;
        self.turns = if is_gone && self.alarm.is_none() { 0 } else { self.turns.max(record.turn) };
        Ok(())
    }

    /// Writes the content as lines of JSON.
    ///
    /// # Errors
    /// The errors of the writer.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        let alarm = self.alarm.map(|AlarmRecord { due_ms, tries }| Alarm { due_ms, tries });
        let (party, room) = (self.room.party().to_string(), self.room.name().to_owned());
        let wake = (!self.jobs.is_empty()).then(|| self.wake.due_ms().unwrap_or_default());
        let sent_floor = self.sent_floor.map(|floor| floor.to_string());
        put_line(&mut out, &ContentHead { format: FORMAT, party, room, alarm, wake, sent_floor })?;
        self.entries
            .iter()
            .try_for_each(|(key, value)| put_line(&mut out, &EntryLine::of(key, value)))?;
        self.sent
            .iter()
            .try_for_each(|(id, value)| put_line(&mut out, &SentLine::of(*id, value)))?;
        self.jobs.iter().try_for_each(|(key, value)| put_line(&mut out, &JobLine::of(key, value)))
    }

    /// Reads lines that [`RoomContent::write`] wrote, or a person by hand.
    ///
    /// # Errors
    /// [`ContentError`] names the line, and what is wrong with it. The limits on keys, values and rooms bound
    /// the sizes.
    pub fn read(lines: impl BufRead, limits: &Limits) -> Result<Self, ContentError> {
        let mut lines = lines.lines().enumerate().map(|(at, text)| (at + 1, text));
        let (_, head) = lines.next().unwrap_or((1, Ok(String::new())));
        let head = head.map_err(|source| ContentError::Read { line: 1, source })?;
        let mut content =
            read_head(&head, limits).map_err(|problem| ContentError::Line { line: 1, problem })?;
        let (mut bytes, mut sent_bytes) = (0, 0);
        for (line, text) in lines {
            let wrong = |problem| ContentError::Line { line, problem };
            let text = text.map_err(|source| ContentError::Read { line, source })?;
            let entry = ContentLine::read(&text, limits).map_err(wrong)?;
            let (counted, len) = match &entry {
                ContentLine::Key(key, value) | ContentLine::Job(key, value) => {
                    (&mut bytes, key.len() + value.len())
                }
                ContentLine::Sent(_, value) => (&mut sent_bytes, ID_BYTES + value.len()),
            };
            *counted += len as u64;
            if bytes > limits.room_bytes_max {
                return Err(wrong(format!("more than room_bytes_max ({})", limits.room_bytes_max)));
            }
            // A room forgets in steps, so it may have some more than it shows.
            if sent_bytes / 2 > limits.history_bytes_max {
                let max = limits.history_bytes_max;
                return Err(wrong(format!(
                    "the messages have more than twice history_bytes_max ({max})"
                )));
            }
            let old = match entry {
                ContentLine::Key(key, value) => content.entries.insert(key, value),
                ContentLine::Job(key, value) => content.jobs.insert(key, value),
                ContentLine::Sent(id, _) if content.sent_floor.is_none_or(|floor| id <= floor) => {
                    let problem = "the message is not behind `sent_floor`, which the head has";
                    return Err(wrong(problem.to_owned()));
                }
                ContentLine::Sent(id, value) => content.sent.insert(id, value),
            };
            if old.is_some() {
                return Err(wrong("the key was there already".to_owned()));
            }
        }
        if content.jobs.is_empty() != (content.wake == Wake::NoJobs) {
            let problem = "`wake` belongs in the head if lines with `job_base64` follow".to_owned();
            return Err(ContentError::Line { line: 1, problem });
        }
        Ok(content)
    }
}

impl JobLine {
    fn of(key: &[u8], value: &Bytes) -> Self {
        Self { job_base64: BASE64_STANDARD.encode(key), base64: BASE64_STANDARD.encode(value) }
    }

    /// Reads a line of a job. Returns `None` if it is the line of something else.
    fn read(text: &str) -> Option<Result<(Key, Bytes), String>> {
        let value: Value = serde_json::from_str(text).ok()?;
        value.get("job_base64")?;
        let read = || {
            let line: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
            let decode = |text| {
                BASE64_STANDARD.decode(text).map_err(|error| format!("invalid base64: {error}"))
            };
            Ok((decode(line.job_base64)?, decode(line.base64)?.into()))
        };
        Some(read())
    }
}

impl SentLine {
    fn of(id: SequenceNumber, value: &Bytes) -> Self {
        Self { sent: id.to_string(), base64: BASE64_STANDARD.encode(value) }
    }

    /// Reads a line of a message. Returns `None` if it is the line of something else.
    fn read(text: &str) -> Option<Result<(SequenceNumber, Bytes), String>> {
        let value: Value = serde_json::from_str(text).ok()?;
        value.get("sent")?;
        let read = || {
            let line: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
            let value = BASE64_STANDARD.decode(line.base64);
            let value = value.map_err(|error| format!("invalid base64: {error}"))?;
            Ok((id_of(&line.sent)?, value.into()))
        };
        Some(read())
    }
}

impl ContentLine {
    fn read(text: &str, limits: &Limits) -> Result<Self, String> {
        if let Some(job) = JobLine::read(text) {
            return job.map(|(key, value)| Self::Job(key, value));
        }
        if let Some(sent) = SentLine::read(text) {
            return sent.map(|(id, value)| Self::Sent(id, value));
        }
        EntryLine::read(text, limits).map(|(key, value)| Self::Key(key, value))
    }
}

/// Makes changes to entries.
fn replay(entries: &mut BTreeMap<Key, Bytes>, changes: Overlay) {
    for (key, value) in changes {
        match value {
            Some(value) => entries.insert(key, value),
            None => entries.remove(&key),
        };
    }
}

fn id_of(text: &str) -> Result<SequenceNumber, String> {
    text.parse().map_err(|error: CursorError| error.to_string())
}

fn put_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn read_head(text: &str, limits: &Limits) -> Result<RoomContent, String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("an export begins with {{\"room-export\":1,…}}: {error}"))?;
    match value.get("room-export").and_then(Value::as_u64) {
        Some(FORMAT) => {}
        Some(found) => return Err(format!("format {found}; this version reads format {FORMAT}")),
        None => return Err("an export begins with {\"room-export\":1,…}".to_owned()),
    }
    let head: ContentHead = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let party = PartyName::parse(&head.party).map_err(|error| error.to_string())?;
    let room = RoomId::new(party, &head.room, size(limits.room_name_bytes_max));
    let mut content = RoomContent::of(room.map_err(|error| error.to_string())?);
    content.wake = match head.wake {
        None => Wake::NoJobs,
        Some(0) => Wake::Idle,
        Some(due_ms) => Wake::At(due_ms),
    };
    content.sent_floor = head.sent_floor.as_deref().map(id_of).transpose()?;
    content.alarm = head.alarm.map(|Alarm { due_ms, tries }| AlarmRecord { due_ms, tries });
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(entries: &[(&[u8], &[u8])]) -> RoomContent {
        let room = RoomId::new(PartyName::parse("main").unwrap(), "lobby", 256).unwrap();
        let entries = entries.iter();
        let entries =
            entries.map(|(key, value)| (key.to_vec(), Bytes::copy_from_slice(value))).collect();
        let alarm = Some(AlarmRecord { due_ms: 5, tries: 1 });
        RoomContent { turns: 0, alarm, entries, ..RoomContent::of(room) }
    }

    fn written(content: &RoomContent) -> String {
        let mut out = Vec::new();
        content.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn read(text: &str) -> Result<RoomContent, String> {
        RoomContent::read(text.as_bytes(), &Limits::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_shown_by_their_kind() {
        let content =
            content(&[(b"a", b"{\"b\":[1,null]}"), (b"t", b"{ spaced }"), (b"\xff", b"\0\xff")]);
        expect_test::expect![[r#"
            {"room-export":1,"party":"main","room":"lobby","alarm":{"due_ms":5,"tries":1}}
            {"key":"a","json":{"b":[1,null]}}
            {"key":"t","text":"{ spaced }"}
            {"key_base64":"/w==","base64":"AP8="}
        "#]]
        .assert_eq(&written(&content));
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let head = "{\"room-export\":1,\"party\":\"main\",\"room\":\"x\",\"alarm\":null}\n";
        for (text, problem) in [
            ("".to_owned(), "line 1: an export begins with"),
            ("{\"room-export\":2}".to_owned(), "line 1: format 2; this version reads format 1"),
            (format!("{head}{{\"key\":\"a\"}}"), "line 2: an entry has one of `json`, `text`"),
            (format!("{head}{{\"json\":1}}"), "line 2: an entry has either `key` or"),
            (format!("{head}{{\"key\":\"\",\"json\":1}}"), "line 2: a key has 1 to 2048 bytes"),
            (format!("{head}{{\"kye\":\"a\",\"json\":1}}"), "line 2: unknown field `kye`"),
            (format!("{head}{0}\n{0}", "{\"key\":\"a\",\"json\":1}"), "line 3: the key was there"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
    }

    #[test]
    fn remembered_messages_are_read_back_with_the_end_of_what_is_remembered() {
        let id = |seq| SequenceNumber { epoch: 7, seq };
        let mut content = content(&[(b"a", b"1")]);
        content.sent_floor = Some(id(40));
        content.sent = [(id(41), Bytes::from_static(&[0, 255])), (id(44), Bytes::new())].into();
        let text = written(&content);
        assert!(text.contains("{\"sent\":\"7-41\",\"base64\":\"AP8=\"}"), "{text}");
        assert_eq!(read(&text), Ok(content));
        for (line, problem) in [
            (r#"{"sent":"7-40","base64":""}"#, "line 5: the message is not behind `sent_floor`"),
            (r#"{"sent":"7-41","base64":""}"#, "line 5: the key was there already"),
            (r#"{"sent":"seven","base64":""}"#, "line 5: an id is two numbers"),
        ] {
            let error = read(&format!("{text}{line}\n")).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
    }

    proptest! {
        #[test]
        fn written_content_is_read_back(
            entries in prop::collection::btree_map(
                prop::collection::vec(any::<u8>(), 1..9),
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..20),
                    "[\\[\\]{}\",:0-9a. ]{0,9}".prop_map(String::into_bytes),
                    Just(b"null".to_vec()),
                    any::<f64>().prop_map(|number| number.to_string().into_bytes()),
                ],
                0..6,
            ),
        ) {
            let entries: Vec<_> = entries.iter().map(|(k, v)| (k.as_slice(), v.as_slice())).collect();
            let content = content(&entries);
            prop_assert_eq!(read(&written(&content)), Ok(content));
        }
    }
}
