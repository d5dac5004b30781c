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
//! `entry.rs` has the form of an entry. Jobs (timers and effects that wait) follow the keys; the head then has
//! `"wake"`, which is when the room has to be awake for them, or 0.

use crate::entry::EntryLine;
use crate::{AlarmRecord, Record, StoreError, Wipe};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use room_core::id::{PartyName, RoomId};
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
}

/// The line of a job. Its key and value are bytes of the runtime.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobLine {
    job_base64: String,
    base64: String,
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
        let (entries, jobs) = (BTreeMap::new(), BTreeMap::new());
        Self { room, turns: 0, alarm: None, entries, jobs, wake: Wake::NoJobs }
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
        self.turns > 0 || self.alarm.is_some() || !self.entries.is_empty() || !self.jobs.is_empty()
    }

    /// Applies the change of a record.
    pub(super) fn apply(&mut self, record: Record) -> Result<(), StoreError> {
        if record.change.wipe != Wipe::Nothing {
            self.entries.clear();
        }
        if record.change.wipe == Wipe::Room {
            (self.alarm, self.wake) = (None, Wake::NoJobs);
            self.jobs.clear();
        }
        self.alarm = record.change.alarm.unwrap_or(self.alarm);
        replay(&mut self.entries, record.change.keys);
        if let Some(jobs) = record.change.jobs {
            replay(&mut self.jobs, jobs.entries);
            self.wake = jobs.wake.unwrap_or(self.wake);
        }
        let is_empty = self.entries.is_empty() && self.jobs.is_empty();
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
        put_line(&mut out, &ContentHead { format: FORMAT, party, room, alarm, wake })?;
        self.entries
            .iter()
            .try_for_each(|(key, value)| put_line(&mut out, &EntryLine::of(key, value)))?;
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
        let mut bytes = 0;
        for (line, text) in lines {
            let text = text.map_err(|source| ContentError::Read { line, source })?;
            let (is_job, entry) = match JobLine::read(&text) {
                Some(job) => (true, job),
                None => (false, EntryLine::read(&text, limits)),
            };
            let (key, value) = entry.map_err(|problem| ContentError::Line { line, problem })?;
            let entries = if is_job { &mut content.jobs } else { &mut content.entries };
            bytes += (key.len() + value.len()) as u64;
            if bytes > limits.room_bytes_max {
                let problem = format!("more than room_bytes_max ({})", limits.room_bytes_max);
                return Err(ContentError::Line { line, problem });
            }
            if entries.insert(key, value).is_some() {
                let problem = "the key was there already".to_owned();
                return Err(ContentError::Line { line, problem });
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

/// Makes changes to entries.
fn replay(entries: &mut BTreeMap<Key, Bytes>, changes: Overlay) {
    for (key, value) in changes {
        match value {
            Some(value) => entries.insert(key, value),
            None => entries.remove(&key),
        };
    }
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
