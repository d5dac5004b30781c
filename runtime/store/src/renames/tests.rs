//! Renames that are broken off after every single commit, and continued or turned back.

use super::*;
use crate::AlarmRecord;
use crate::testing::Disk;
use bytes::Bytes;
use room_core::jobs::Wake;
use room_core::limits::Limits;
use room_core::turn::{AlarmChange, Writes};
use std::collections::BTreeSet;

fn limits() -> Limits {
    // Rooms are copied in pieces of 16 bytes, two at a time.
    Limits { commit_bytes_max: 64, rename_rooms_max: 2, ..Limits::default() }
}

fn party(name: &str) -> PartyName {
    PartyName::parse(name).unwrap()
}

fn rename() -> PartyRename {
    PartyRename { was: party("main"), now: party("chat") }
}

fn room(party_name: &str, name: &str) -> RoomId {
    RoomId::new(party(party_name), name, 256).unwrap()
}

/// Everything that is known of a room.
type Known = (Vec<(Key, Bytes)>, Option<AlarmRecord>, Option<u64>, Wake, JobsAndMessages);
type JobsAndMessages = (Vec<(Key, Bytes)>, Vec<(room_core::id::SequenceNumber, Bytes)>);

/// Returns the rooms of a party with their contents.
async fn known(store: &Store, of: &str) -> BTreeMap<String, Known> {
    let mut found = BTreeMap::new();
    for (room, facts) in store.rooms(RoomSpan::of(&party(of)), 100).await.unwrap() {
        let entries = store.piece(&room, None).unwrap();
        assert_eq!(facts.keys, store.count_of(&room).await, "{room}");
        let mut keys: Vec<(Key, Bytes)> = Vec::new();
        let (mut piece, mut last) = entries;
        loop {
            keys.extend(piece.into_iter().map(|(key, value)| (key, value.unwrap())));
            if last.is_none() {
                break;
            }
            (piece, last) = store.piece(&room, last).unwrap();
        }
        let tree = store.applier.shared().tree();
        let jobs = apply::jobs_of(&*tree, &room, &facts).unwrap();
        let touch = facts.touch.map(|touch| touch.at_ms);
        let sent = outbound::entries_of(&*tree, &room, &keys::outbound(&room)).unwrap();
        assert_eq!(facts.outbound.map_or(0, |facts| facts.entries), sent.len() as u64);
        found.insert(room.name().to_owned(), (keys, facts.alarm, touch, facts.wake, (jobs, sent)));
    }
    found
}

impl Store {
    async fn count_of(&self, room: &RoomId) -> u64 {
        self.facts(room).await.unwrap().unwrap_or_default().keys
    }
}

/// Makes rooms of all kinds: with many keys, an alarm, jobs, a use, and almost nothing.
async fn filled() -> (Disk, BTreeMap<String, Known>) {
    let disk = Disk::default();
    let store = disk.store(&limits());
    for (name, count) in [("large", 7), ("small", 1), ("alarm", 0), ("job", 1), ("é", 2)] {
        let room = store.room(&room("main", name)).await.unwrap();
        let key = |number: u8| (vec![b'k', number], Some(Bytes::from(vec![number; 9])));
        let mut writes = Writes { keys: (0..count).map(key).collect(), ..Writes::default() };
        if name == "alarm" {
            writes.alarm = AlarmChange::Set(7);
        }
        if name == "job" {
            let entries = [(b"j".to_vec(), Some(Bytes::from_static(b"job")))].into();
            writes.jobs = Some(JobsChange { entries, wake: Some(Wake::At(9)) });
        }
        let touch = (name == "small").then_some(crate::LastUse { at_ms: 5, tries: 0 });
        let mut extras = crate::CommitExtras::default();
        if name == "large" {
            let id = |seq| room_core::id::SequenceNumber { epoch: 7, seq };
            let entries = (4..9).map(|seq| (id(seq), Bytes::from(vec![b'm'; 40]))).collect();
            let sent = OutboundChange { is_fresh: false, floor: Some(id(3)), entries };
            extras.outbound = Some(Box::new(sent));
        }
        let offset = room.commit_with(writes, ModuleHash::NONE, touch, extras).await.unwrap();
        room.durable(offset).await.unwrap();
    }
    let all = known(&store, "main").await;
    assert_eq!(all.len(), 5);
    store.close();
    (disk, all)
}

/// Opens the disk as it was after so many commits, with the note of this progress.
fn cut(disk: &Disk, records: usize, progress: Option<Progress>) -> (Disk, Store) {
    let disk = disk.cut(records);
    let store = disk.store(&limits());
    store.note_rename(&rename(), progress).unwrap();
    (disk, store)
}

/// Checks that all rooms are under one name, and nothing under the other.
async fn all_under(store: &Store, side: RenameSide, all: &BTreeMap<String, Known>) {
    let (here, there) = match side {
        RenameSide::Was => ("main", "chat"),
        RenameSide::Now => ("chat", "main"),
    };
    assert_eq!(&known(store, here).await, all);
    assert_eq!(known(store, there).await, BTreeMap::new());
    assert!(store.is_renamed(&rename(), side));
}

/// Checks that no room is lost: each is whole under the name from which it is on its way, or else under the other.
async fn none_lost(store: &Store, from: &str, into: &str, all: &BTreeMap<String, Known>) {
    let (truth, copies) = (known(store, from).await, known(store, into).await);
    let names: BTreeSet<&String> = truth.keys().chain(copies.keys()).collect();
    assert_eq!(names, all.keys().collect());
    for (name, known) in all {
        assert_eq!(truth.get(name).or(copies.get(name)), Some(known), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_is_broken_off_anywhere_is_continued_or_turned_back() {
    let (disk, all) = filled().await;
    let first = disk.records();
    let store = disk.store(&limits());
    assert_eq!(store.rename(&rename(), RenameSide::Now).await, Ok(5));
    all_under(&store, RenameSide::Now, &all).await;
    let last = disk.records();
    for at in first..=last {
        for side in [RenameSide::Now, RenameSide::Was] {
            let (_, store) = cut(&disk, at, Some(Progress::Forth));
            none_lost(&store, "main", "chat", &all).await;
            store.rename(&rename(), side).await.unwrap();
            all_under(&store, side, &all).await;
        }
    }
    // The same on the way back.
    assert_eq!(store.rename(&rename(), RenameSide::Was).await, Ok(5));
    all_under(&store, RenameSide::Was, &all).await;
    for at in last..=disk.records() {
        for side in [RenameSide::Now, RenameSide::Was] {
            let (_, store) = cut(&disk, at, Some(Progress::Back));
            none_lost(&store, "chat", "main", &all).await;
            store.rename(&rename(), side).await.unwrap();
            all_under(&store, side, &all).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_turns_back_may_be_broken_off_again() {
    let (disk, all) = filled().await;
    let first = disk.records();
    disk.store(&limits()).rename(&rename(), RenameSide::Now).await.unwrap();
    for at in first..disk.records() {
        let (again, store) = cut(&disk, at, Some(Progress::Forth));
        store.drop_copies(&party("main"), &party("chat")).await.unwrap();
        let turned = again.records();
        store.rename(&rename(), RenameSide::Was).await.unwrap();
        for at in at..=again.records() {
            // The note changes when the void copies are gone.
            let progress = if at < turned { Progress::Forth } else { Progress::Back };
            for side in [RenameSide::Now, RenameSide::Was] {
                let (_, store) = cut(&again, at, Some(progress));
                store.rename(&rename(), side).await.unwrap();
                all_under(&store, side, &all).await;
            }
        }
    }
}

#[tokio::test]
async fn a_rename_is_done_once_and_refused_over_other_rooms() {
    let (disk, all) = filled().await;
    let store = disk.store(&limits());
    assert_eq!(store.rename(&rename(), RenameSide::Was).await, Ok(0));
    assert_eq!(store.rename(&rename(), RenameSide::Now).await, Ok(5));
    assert_eq!(store.rename(&rename(), RenameSide::Now).await, Ok(0));
    assert_eq!(store.renames(), [rename()]);
    all_under(&store, RenameSide::Now, &all).await;
    // Confirmed, the party's rooms are its own. A new party with the old name has others.
    store.confirm_rename(&rename()).unwrap();
    assert!(store.renames().is_empty());
    let other = store.room(&room("main", "other")).await.unwrap();
    let writes = Writes { alarm: AlarmChange::Set(1), ..Writes::default() };
    let offset = other.commit(writes, ModuleHash::NONE, None).await.unwrap();
    other.durable(offset).await.unwrap();
    drop(other);
    let refused = store.rename(&rename(), RenameSide::Now).await.unwrap_err().to_string();
    assert!(refused.contains("party chat") && refused.contains("for main"), "{refused}");
    assert_eq!((known(&store, "main").await.len(), known(&store, "chat").await), (1, all));
}

#[tokio::test]
async fn a_renamed_room_gives_numbers_behind_its_old_ones() {
    let (disk, _) = filled().await;
    let store = disk.store(&limits());
    let old = store.room(&room("main", "small")).await.unwrap().sequence().take(3);
    store.rename(&rename(), RenameSide::Now).await.unwrap();
    let new = store.room(&room("chat", "small")).await.unwrap().sequence().take(1);
    assert!(new > old, "{new:?} {old:?}");
}
