//! Checks that the facts of rooms agree with their contents. Owns the list of possible mistakes.
//!
//! Invariant: it changes nothing, and reads every key once. It does not know how a mistake would come about.

use crate::apply::info_of;
use crate::backend::Tree;
use crate::keys::{self, RoomFacts};
use crate::{OutboundFacts, Store, StoreError, blocking, outbound};
use hashbrown::{HashMap, HashSet};
use room_core::id::RoomId;
use room_core::jobs::Wake;

/// The result of a check of everything that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Rooms with stored facts.
    pub rooms: u64,
    /// Keys of all rooms.
    pub keys: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// A sentence for each disagreement, at most a hundred of them.
    pub problems: Vec<String>,
}

/// The largest number of listed problems: the first ones say what is wrong.
const PROBLEMS_MAX: usize = 100;

impl Store {
    /// Reads everything that is stored, and checks that the counts of keys and bytes, the alarm and the last
    /// use of each room agree with its keys. If rooms commit during the check, their changes show up as
    /// problems, except in a database.
    ///
    /// # Errors
    /// [`StoreError`] if something cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub async fn verify(&self) -> Result<Verified, StoreError> {
        self.applied().await?;
        let tree = self.applier.shared().tree();
        blocking(|| match tree.frozen()? {
            Some(frozen) => verify(&*frozen),
            None => verify(&*tree),
        })
    }
}

fn verify(tree: &dyn Tree) -> Result<Verified, StoreError> {
    let mut found = Verified::default();
    for key in tree.keys(&keys::all_infos()) {
        found.rooms += 1;
        check_times(tree, &keys::decode_info_key(&key?)?, &mut found)?;
    }
    let mut counted: Option<(RoomId, RoomFacts)> = None;
    for entry in tree.scan(&keys::all_guests(), HashSet::new()) {
        let (key, value) = entry?;
        let (room, key) = keys::decode_guest(&key)?;
        if counted.as_ref().is_none_or(|(counted, _)| *counted != room) {
            check_counts(tree, counted.take(), &mut found)?;
        }
        let (_, info) = counted.get_or_insert_with(|| (room, RoomFacts::default()));
        info.keys += 1;
        info.bytes += (key.len() + value.len()) as u64;
    }
    check_counts(tree, counted, &mut found)?;
    let (mut keys_known, mut bytes_known) = (0, 0);
    for entry in tree.scan(&keys::all_infos(), HashSet::new()) {
        let info = keys::decode_info(&entry?.1)?;
        keys_known += info.keys;
        bytes_known += info.bytes;
    }
    // A room whose facts claim keys but which has none is not met above.
    if (keys_known, bytes_known) != (found.keys, found.bytes) {
        found.problem(format!(
            "the rooms are said to have {keys_known} keys of {bytes_known} bytes, and have {} of {}",
            found.keys, found.bytes
        ));
    }
    for key in tree.keys(&keys::all_alarms()) {
        let (due_ms, room) = keys::decode_due(&key?)?;
        if info_of(tree, &room)?.due_ms() != Some(due_ms) {
            found.problem(format!("{room} has no alarm or job at {due_ms}, though it is listed"));
        }
    }
    for key in tree.keys(&keys::all_jobs()) {
        let (room, _) = keys::decode_job(&key?)?;
        if info_of(tree, &room)?.wake == Wake::NoJobs {
            found.problem(format!("{room} has a job, though its facts say that it has none"));
        }
    }
    check_outbound(tree, &mut found)?;
    for key in tree.keys(&keys::all_webhooks()) {
        if let Err(error) = keys::decode_webhook_key(&key?) {
            found.problem(error.to_string());
        }
    }
    for key in tree.keys(&keys::all_touched()) {
        let (at_ms, room) = keys::decode_touched(&key?)?;
        if info_of(tree, &room)?.touch.is_none_or(|touch| touch.at_ms != at_ms) {
            found.problem(format!("{room} was not used at {at_ms}, though it is listed"));
        }
    }
    Ok(found)
}

/// Compares the remembered messages with what the facts of their rooms say.
fn check_outbound(tree: &dyn Tree, found: &mut Verified) -> Result<(), StoreError> {
    let mut counted: HashMap<RoomId, OutboundFacts> = HashMap::new();
    for entry in tree.scan(&keys::all_outbound(), HashSet::new()) {
        let (key, value) = entry?;
        let (room, key) = keys::decode_outbound(&key)?;
        let id = match outbound::id_of(key) {
            Ok(id) => id,
            Err(error) => {
                found.problem(format!("{room}: {error}"));
                continue;
            }
        };
        let known = info_of(tree, &room)?.outbound;
        if known.is_none_or(|known| id <= known.floor || id > known.newest) {
            found.problem(format!("{room} remembers message {id}, which its facts do not have"));
        }
        let counts = counted.entry(room).or_default();
        counts.entries += 1;
        counts.bytes += (outbound::ID_BYTES + value.len()) as u64;
    }
    for entry in tree.scan(&keys::all_infos(), HashSet::new()) {
        let (key, info) = entry?;
        let Some(known) = keys::decode_info(&info)?.outbound else { continue };
        let room = keys::decode_info_key(&key)?;
        let counts = counted.get(&room).copied().unwrap_or_default();
        if (known.entries, known.bytes) != (counts.entries, counts.bytes) {
            found.problem(format!(
                "{room} is said to remember {} messages of {} bytes, and remembers {} of {}",
                known.entries, known.bytes, counts.entries, counts.bytes
            ));
        }
    }
    Ok(())
}

fn check_times(tree: &dyn Tree, room: &RoomId, found: &mut Verified) -> Result<(), StoreError> {
    let info = info_of(tree, room)?;
    if let Some(due_ms) = info.due_ms()
        && tree.get(&keys::due(due_ms, room))?.is_none()
    {
        found.problem(format!("the alarm or job of {room} at {due_ms} is not listed"));
    }
    if let Some(touch) = info.touch
        && tree.get(&keys::touched(touch.at_ms, room))?.is_none()
    {
        found.problem(format!("the use of {room} at {} is not listed", touch.at_ms));
    }
    Ok(())
}

fn check_counts(
    tree: &dyn Tree,
    counted: Option<(RoomId, RoomFacts)>,
    found: &mut Verified,
) -> Result<(), StoreError> {
    let Some((room, counted)) = counted else { return Ok(()) };
    found.keys += counted.keys;
    found.bytes += counted.bytes;
    let known = info_of(tree, &room)?;
    if (known.keys, known.bytes) != (counted.keys, counted.bytes) {
        found.problem(format!(
            "{room} is said to have {} keys of {} bytes, and has {} of {}",
            known.keys, known.bytes, counted.keys, counted.bytes
        ));
    }
    Ok(())
}

impl Verified {
    fn problem(&mut self, sentence: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(sentence);
        }
    }
}
