//! What a store does with a room's messages beyond what the model of all stores checks.

use super::*;
use crate::testing::Disk;
use crate::{CommitExtras, Offset, Record, Store};
use proptest::prelude::*;
use room_core::id::{ModuleHash, PartyName};
use room_core::limits::Limits;
use room_core::turn::{Cleared, Writes};

fn room(name: &str) -> RoomId {
    RoomId::new(PartyName::parse("main").unwrap(), name, 256).unwrap()
}

fn id(seq: u64) -> SequenceNumber {
    SequenceNumber { epoch: 7, seq }
}

fn change(floor: Option<u64>, entries: &[u64]) -> OutboundChange {
    let entries = entries.iter().map(|seq| (id(*seq), Bytes::from(vec![b'm'; 10]))).collect();
    OutboundChange { is_fresh: false, floor: floor.map(id), entries }
}

async fn commit(store: &Store, room: &RoomId, change: OutboundChange) {
    let own = store.room(room).await.unwrap();
    let extras = CommitExtras { outbound: Some(Box::new(change)), ..CommitExtras::default() };
    let offset = own.commit_with(Writes::default(), ModuleHash::NONE, None, extras).await.unwrap();
    own.durable(offset).await.unwrap();
}

fn seqs(entries: Vec<(SequenceNumber, Bytes)>) -> Vec<u64> {
    entries.into_iter().map(|(id, _)| id.seq).collect()
}

#[tokio::test]
async fn messages_are_no_keys_of_the_guest_and_end_with_their_room() {
    let store = Store::in_memory(&Limits::default()).unwrap();
    let lobby = room("lobby");
    commit(&store, &lobby, change(Some(3), &[4, 6])).await;
    let facts = store.facts(&lobby).await.unwrap().unwrap();
    assert_eq!((facts.keys, facts.bytes, facts.turns), (0, 0, 1));
    let counted = OutboundFacts { floor: id(3), newest: id(6), entries: 2, bytes: 52 };
    assert_eq!(facts.outbound, Some(counted));
    let own = store.room(&lobby).await.unwrap();
    let writes = Writes { cleared: Cleared::Yes, ..Writes::default() };
    let offset = own.commit(writes, ModuleHash::NONE, None).await.unwrap();
    own.durable(offset).await.unwrap();
    assert_eq!(store.facts(&lobby).await.unwrap().unwrap().outbound, Some(counted));
    assert_eq!(own.outbound().read(id(4), id(9)).map(seqs), Ok(vec![6]));
    assert_eq!(own.outbound().read(id(3), id(5)).map(seqs), Ok(vec![4]));
    assert_eq!(own.outbound().oldest(id(3), 1), Ok(vec![(id(4), 26)]));
    let offset = own.commit_end(ModuleHash::NONE).await.unwrap();
    own.durable(offset).await.unwrap();
    assert_eq!(store.facts(&lobby).await.unwrap(), None);
    assert_eq!(own.outbound().read(id(0), id(9)).map(seqs), Ok(vec![]));
}

#[tokio::test]
async fn a_rooms_numbers_go_on_behind_messages_that_came_from_another_store() {
    let store = Store::in_memory(&Limits::default()).unwrap();
    let later = SequenceNumber { epoch: u64::MAX / 2, seq: 90 };
    let entries = [(later, Bytes::new())].into();
    let there = OutboundChange { is_fresh: false, floor: Some(id(1)), entries };
    commit(&store, &room("moved"), there).await;
    let next = store.room(&room("moved")).await.unwrap().sequence().take(1);
    assert!(next > later && next.epoch > later.epoch, "{next}");
}

#[tokio::test]
async fn a_backup_and_a_snapshot_have_the_messages() {
    let limits = Limits::default();
    let disk = Disk::default();
    let store = disk.store(&limits);
    commit(&store, &room("lobby"), change(Some(3), &[4, 6, 7])).await;
    commit(&store, &room("lobby"), change(Some(4), &[9])).await;
    let scratch = tempfile::tempdir().unwrap();
    let backup = scratch.path().join("backup");
    store.backup(backup.clone()).await.unwrap();
    store.close();
    let dir = scratch.path().join("restored");
    Store::restore(&backup, &dir).unwrap();
    let restored = Store::open(&dir, &limits).unwrap();
    assert_eq!(restored.verify().await.unwrap().problems, Vec::<String>::new());
    let own = restored.room(&room("lobby")).await.unwrap();
    assert_eq!(own.outbound().read(id(4), id(99)).map(seqs), Ok(vec![6, 7, 9]));
    assert_eq!(own.facts().outbound.map(|facts| facts.floor), Some(id(4)));
    drop(own);
    restored.close();
}

#[tokio::test]
async fn a_check_names_the_room_whose_messages_are_damaged() {
    let store = Store::in_memory(&Limits::default()).unwrap();
    commit(&store, &room("lobby"), change(Some(3), &[4, 6])).await;
    // The tree has the commit from here on.
    store.facts(&room("lobby")).await.unwrap();
    let key = |key: &[u8]| [keys::outbound_prefix(&room("lobby")).as_slice(), key].concat();
    let tree = store.applier.shared().tree();
    let lost = [(key(&key_of(id(4))), None), (key(b"odd"), Some(Bytes::new()))];
    tree.apply(&lost.into_iter().collect()).unwrap();
    let problems = store.verify().await.unwrap().problems;
    let text = problems.join("\n");
    assert!(
        text.contains("main/lobby: the stored data is damaged: invalid key of a sent message"),
        "{text}"
    );
    assert!(
        text.contains(
            "main/lobby is said to remember 2 messages of 52 bytes, and remembers 1 of 26"
        ),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_not_read_from_a_tree_that_is_behind() {
    let store = Store::in_memory(&Limits::default()).unwrap();
    let lobby = room("lobby");
    commit(&store, &lobby, change(None, &[4])).await;
    let own = store.room(&lobby).await.unwrap();
    let reader = own.outbound();
    assert_eq!(reader.read(id(0), id(9)).map(seqs), Ok(vec![4]));
    // A commit that no applier knows of.
    let pending = Arc::new(PendingCell::new(own.facts(), 0));
    pending.lock().stage(&Record {
        offset: Offset(u64::MAX),
        room: lobby,
        turn: 2,
        number: id(9),
        module: ModuleHash::NONE,
        change: Default::default(),
        fence: None,
    });
    let behind = OutboundReader { pending, wait_max: Duration::ZERO, ..reader };
    let error = behind.read(id(0), id(9)).unwrap_err().to_string();
    assert_eq!(error, "the disk failed: it is behind with what the room has written");
}

proptest! {
    #[test]
    fn any_bytes_are_a_change_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut bytes = Bytes::from(bytes);
        if let Some(change) = OutboundChange::decode(&mut bytes) {
            let mut written = Vec::new();
            change.encode(&mut written);
            prop_assert_eq!(OutboundChange::decode(&mut written.into()), Some(change));
        }
    }
}
