//! The promises of every store, checked on each of them, and the further promises of the disk.

mod cluster;
mod damage;
mod formats;
mod image;
mod inputs;
mod loaded;
mod model;
mod names;
mod recovery;
mod refused;
mod shared;

use super::backend::Tree;
use super::memory::Memory;
use super::sled::Sled;
use super::testing::{Disk, alarms, uses};
use super::{RoomStore, Settled, Store, StoreError};
use bytes::Bytes;
use futures_util::FutureExt;
use hashbrown::HashSet;
use room_core::id::{ModuleHash, PartyName, RoomId};
use room_core::limits::Limits;
use room_core::span::{Direction, ListOptions, Overlay, Span};
use room_core::turn::{AlarmChange, Cleared, Refusal, Turn, Writes};
use std::path::Path;
use std::sync::Arc;

fn room(name: &str) -> RoomId {
    RoomId::new(PartyName::parse("main").unwrap(), name, 256).unwrap()
}

fn limits() -> Limits {
    Limits { chunk_bytes: 8, ..Limits::default() }
}

fn value(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

fn batch(changes: &[(&str, Option<&str>)]) -> Overlay {
    changes.iter().map(|(key, text)| (key.as_bytes().to_vec(), text.and_then(value))).collect()
}

fn found(tree: &dyn Tree, options: ListOptions) -> String {
    let entries = tree.scan(&Span::of(&options).unwrap(), HashSet::new()).map(|entry| {
        let (key, value) = entry.unwrap();
        format!("{}={}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value))
    });
    entries.collect::<Vec<_>>().join(" ")
}

fn any_tree_keeps_bytes(tree: &dyn Tree) {
    let long = "longer than one piece";
    tree.apply(&batch(&[("a", Some("1")), ("b", Some("2")), ("c", Some(long))])).unwrap();
    tree.sync().unwrap();
    tree.apply(&batch(&[("b", None), ("d", Some("")), ("c", Some("shorter"))])).unwrap();
    assert_eq!(tree.get(b"a"), Ok(value("1")));
    assert_eq!(tree.get(b"b"), Ok(None));
    assert_eq!(tree.get(b"d"), Ok(value("")));
    let key = |text: &str| Some(text.as_bytes().to_vec());
    let from_a = ListOptions { start: key("a"), ..ListOptions::default() };
    assert_eq!(found(tree, from_a.clone()), "a=1 c=shorter d=");
    let reverse = ListOptions { direction: Direction::Reverse, ..from_a };
    assert_eq!(found(tree, reverse), "d= c=shorter a=1");
    let between = ListOptions { start_after: key("a"), end: key("d"), ..ListOptions::default() };
    assert_eq!(found(tree, between), "c=shorter");
    let nothing = ListOptions { start: key("d"), end: key("a"), ..ListOptions::default() };
    assert_eq!(found(tree, nothing), "");
    for size in [7, 8, 9, 16, 17, 1_000] {
        tree.apply(&Overlay::from([(b"size".to_vec(), Some(vec![7; size].into()))])).unwrap();
        assert_eq!(tree.get(b"size").unwrap().map(|value| value.len()), Some(size));
    }
}

#[test]
fn a_tree_in_memory_keeps_bytes() {
    any_tree_keeps_bytes(&Memory::default());
}

#[test]
fn a_tree_on_disk_keeps_bytes() {
    let dir = tempfile::tempdir().unwrap();
    any_tree_keeps_bytes(&Sled::open(dir.path(), &limits()).unwrap());
}

fn writes(changes: &[(&str, Option<&str>)]) -> Writes {
    Writes { keys: batch(changes), ..Writes::default() }
}

/// Commits and waits until the commit is settled.
async fn commit(store: &Store, room: &RoomStore, writes: Writes) -> Settled {
    let mut settled = store.settled();
    let offset = room.commit(writes, ModuleHash::NONE, None).await.unwrap();
    settled.wait_for(|at| *at >= offset).await.unwrap();
    room.settled(offset)
}

/// Waits until the store has found out that its disk works again.
async fn works_again(store: &Store) {
    while store.failure().is_some()
        || store.applied().await.is_err()
        || store.room(&room("any")).await.is_err()
    {
        tokio::task::yield_now().await;
    }
}

fn listed(room: &RoomStore) -> String {
    let view = room.view();
    let keys = view.scan(&Span::ALL).map(|entry| String::from_utf8(entry.unwrap().0).unwrap());
    keys.collect::<Vec<_>>().join(" ")
}

async fn any_store_keeps_rooms_apart(store: Store) {
    let (one, two) =
        (store.room(&room("one")).await.unwrap(), store.room(&room("two")).await.unwrap());
    let done = commit(&store, &one, writes(&[("a", Some("1")), ("b", Some("2"))])).await;
    assert_eq!(done, Settled::Durable);
    commit(&store, &two, writes(&[("c", Some("3"))])).await;
    assert_eq!((listed(&one), listed(&two)), ("a b".to_owned(), "c".to_owned()));
    let cleared = Writes { cleared: Cleared::Yes, ..writes(&[("d", Some("4"))]) };
    commit(&store, &one, cleared).await;
    assert_eq!((listed(&one), listed(&two)), ("d".to_owned(), "c".to_owned()));
    assert_eq!(one.view().get(b"a"), Ok(None));
    // An alarm is found by its time, and once.
    for (room, due) in [(&one, 20), (&two, 10), (&one, 30)] {
        commit(&store, room, Writes { alarm: AlarmChange::Set(due), ..Writes::default() }).await;
    }
    store.applied().await.unwrap();
    assert_eq!(alarms(&store), [(10, room("two")), (30, room("one"))]);
    commit(&store, &two, Writes { alarm: AlarmChange::Delete, ..Writes::default() }).await;
    store.applied().await.unwrap();
    assert_eq!(alarms(&store), [(30, room("one"))]);
    store.close();
    assert_eq!(
        one.commit(writes(&[("e", None)]), ModuleHash::NONE, None).await,
        Err(StoreError::Closed)
    );
}

#[tokio::test]
async fn a_store_in_memory_keeps_rooms_apart() {
    any_store_keeps_rooms_apart(Store::in_memory(&limits()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_a_database_keeps_rooms_apart() {
    let cluster = cluster::Cluster::start();
    any_store_keeps_rooms_apart(cluster.node(0..room_database::SHARDS).store()).await;
}

#[tokio::test]
async fn a_store_on_disk_keeps_rooms_apart() {
    let dir = tempfile::tempdir().unwrap();
    any_store_keeps_rooms_apart(Store::open(dir.path(), &limits()).unwrap()).await;
}

#[tokio::test]
async fn a_room_reads_its_commits_before_they_are_durable() {
    let disk = Disk::default();
    let store = disk.store(&limits());
    let one = store.room(&room("one")).await.unwrap();
    commit(&store, &one, writes(&[("a", Some("1")), ("b", Some("1"))])).await;
    disk.hold();
    let first =
        one.commit(writes(&[("a", Some("2")), ("b", None)]), ModuleHash::NONE, None).await.unwrap();
    let second = one.commit(writes(&[("c", Some("3"))]), ModuleHash::NONE, None).await.unwrap();
    assert_eq!(one.settled(first), Settled::Waiting);
    assert_eq!(one.view().get(b"a"), Ok(value("2")));
    assert_eq!(listed(&one), "a c");
    let cleared = Writes { cleared: Cleared::Yes, ..writes(&[("d", Some("4"))]) };
    let third = one.commit(cleared, ModuleHash::NONE, None).await.unwrap();
    assert_eq!(listed(&one), "d");
    assert!(first < second && second < third);
    disk.work();
    store.settled().wait_for(|at| *at >= third).await.unwrap();
    assert_eq!((one.settled(third), listed(&one)), (Settled::Durable, "d".to_owned()));
}

#[tokio::test]
async fn a_failed_flush_loses_its_rooms_writes_for_good_and_no_others() {
    let disk = Disk::default();
    let store = disk.store(&limits());
    let (one, two) =
        (store.room(&room("one")).await.unwrap(), store.room(&room("two")).await.unwrap());
    commit(&store, &one, writes(&[("kept", Some("1"))])).await;
    disk.fail();
    let lost = Settled::Lost(StoreError::Io("asked to fail".to_owned()));
    assert_eq!(commit(&store, &one, writes(&[("lost", Some("1"))])).await, lost);
    let refused = two.commit(writes(&[("not", None)]), ModuleHash::NONE, None).await;
    assert!(matches!(refused, Err(StoreError::Io(_))) && store.failure().is_some(), "{refused:?}");
    disk.work();
    works_again(&store).await;
    // The room's commits that build on the lost one do not reach the disk either.
    assert_eq!(commit(&store, &one, writes(&[("after", Some("1"))])).await, lost);
    assert_eq!(commit(&store, &two, writes(&[("fine", Some("1"))])).await, Settled::Durable);
    drop(one);
    assert_eq!(listed(&store.room(&room("one")).await.unwrap()), "kept");
}

#[tokio::test]
async fn a_sync_wakes_only_the_rooms_whose_commits_it_settles() {
    let disk = Disk::default();
    let store = disk.store(&limits());
    let (one, two) =
        (store.room(&room("one")).await.unwrap(), store.room(&room("two")).await.unwrap());
    assert_eq!(commit(&store, &two, writes(&[("a", Some("1"))])).await, Settled::Durable);
    two.settles().await;
    assert!(one.settles().now_or_never().is_none());
    assert!(two.settles().now_or_never().is_none());
}

#[tokio::test]
async fn a_panic_of_the_committer_fails_every_waiter() {
    let disk = Disk::default();
    let store = disk.store(&limits());
    let (one, two) =
        (store.room(&room("one")).await.unwrap(), store.room(&room("two")).await.unwrap());
    disk.hold();
    let at_work = one.commit(writes(&[("a", Some("1"))]), ModuleHash::NONE, None).await.unwrap();
    while !disk.is_waited_for() {
        tokio::task::yield_now().await;
    }
    let behind = two.commit(writes(&[("b", Some("1"))]), ModuleHash::NONE, None).await.unwrap();
    disk.fall_over();
    one.settles().await;
    two.settles().await;
    assert_eq!(one.settled(at_work), Settled::Lost(StoreError::Closed));
    assert_eq!(two.settled(behind), Settled::Lost(StoreError::Closed));
    let refused = two.commit(writes(&[("c", Some("1"))]), ModuleHash::NONE, None).await;
    assert_eq!((refused, store.failure()), (Err(StoreError::Closed), Some(StoreError::Closed)));
}

#[tokio::test]
async fn commits_queued_behind_a_failed_flush_are_lost_with_it() {
    let disk = Disk::default();
    let store = disk.store(&limits());
    let (one, two) =
        (store.room(&room("one")).await.unwrap(), store.room(&room("two")).await.unwrap());
    disk.hold();
    let first = one.commit(writes(&[("a", Some("1"))]), ModuleHash::NONE, None).await.unwrap();
    while !disk.is_waited_for() {
        tokio::task::yield_now().await;
    }
    let behind = two.commit(writes(&[("b", Some("1"))]), ModuleHash::NONE, None).await.unwrap();
    disk.fail();
    let mut settled = store.settled();
    settled.wait_for(|offset| *offset >= behind).await.unwrap();
    assert_eq!(one.settled(first), Settled::Lost(StoreError::Io("asked to fail".to_owned())));
    assert_eq!(two.settled(behind), Settled::Lost(StoreError::Io("asked to fail".to_owned())));
}

#[tokio::test]
async fn a_listing_does_not_read_values_that_are_being_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &limits()).unwrap();
    let one = store.room(&room("one")).await.unwrap();
    let (long, short) = ("long ".repeat(2_000), "short".to_owned());
    for round in 0..200 {
        let text = if round % 2 == 0 { &long } else { &short };
        one.commit(writes(&[("a", Some(text)), ("b", Some(text))]), ModuleHash::NONE, None)
            .await
            .unwrap();
        let view = one.view();
        for entry in view.scan(&Span::ALL) {
            assert_eq!(entry.unwrap().1.len(), text.len());
        }
    }
}

async fn write_and_close(dir: &Path) {
    let store = Store::open(dir, &limits()).unwrap();
    let one = store.room(&room("one")).await.unwrap();
    let set = Writes { alarm: AlarmChange::Set(5), ..writes(&[("a", Some("a value in pieces"))]) };
    assert_eq!(commit(&store, &one, set).await, Settled::Durable);
    store.close();
}

#[tokio::test]
async fn a_store_opened_again_has_what_was_durable() {
    let dir = tempfile::tempdir().unwrap();
    write_and_close(dir.path()).await;
    let store = Store::open(dir.path(), &limits()).unwrap();
    let one = store.room(&room("one")).await.unwrap();
    assert_eq!(one.view().get(b"a"), Ok(value("a value in pieces")));
    assert_eq!(one.alarm().map(|alarm| (alarm.due_ms, alarm.tries)), Some((5, 0)));
    assert_eq!(alarms(&store), [(5, room("one"))]);
}

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _store = Store::open(dir.path(), &limits()).unwrap();
    let again = Store::open(dir.path(), &limits()).err();
    assert_eq!(again, Some(StoreError::InUse(dir.path().display().to_string())));
}

#[tokio::test]
async fn the_size_of_a_full_room_is_exact() {
    let limits = Limits { room_bytes_max: 100, ..limits() };
    let store = Store::in_memory(&limits).unwrap();
    let one = store.room(&room("one")).await.unwrap();
    let turn = || Turn::new(one.view(), Arc::default(), None, Arc::new(limits.clone()));
    let put = |turn: &mut Turn, key: &str, len: usize| {
        turn.put(vec![(key.as_bytes().to_vec(), vec![1; len].into())])
    };
    let mut first = turn();
    assert_eq!(put(&mut first, "a", 59), Ok(()));
    assert_eq!(put(&mut first, "b", 40), Err(Refusal::UsedUp("room_bytes_max")));
    assert_eq!(put(&mut first, "b", 39), Ok(()));
    one.commit(first.finish().unwrap().writes, ModuleHash::NONE, None).await.unwrap();
    // The turn read no value to learn that the room is full, and replacing a value adds nothing.
    let mut second = turn();
    assert_eq!(put(&mut second, "c", 0), Err(Refusal::UsedUp("room_bytes_max")));
    assert_eq!(put(&mut second, "a", 59), Ok(()));
    assert_eq!(put(&mut second, "a", 60), Err(Refusal::UsedUp("room_bytes_max")));
    let lowered = Limits { room_bytes_max: 10, ..limits.clone() };
    let mut third = Turn::new(one.view(), Arc::default(), None, Arc::new(lowered));
    assert_eq!(put(&mut third, "a", 58), Ok(()));
    assert_eq!(put(&mut third, "a", 59), Err(Refusal::UsedUp("room_bytes_max")));
    assert_eq!(second.delete(vec![b"b".to_vec()]), Ok(1));
    assert_eq!(put(&mut second, "c", 39), Ok(()));
    second.delete_all();
    assert_eq!(put(&mut second, "d", 99), Ok(()));
}

/// Checks that a slow disk, or a tree that is far behind, stops only the rooms that wait for it.
#[tokio::test]
async fn an_activation_waits_only_for_its_own_rooms_commits() {
    let limits = Limits { apply_gather_ms: 3_600_000, ..limits() };
    let store = Disk::default().store(&limits);
    let busy = store.room(&room("busy")).await.unwrap();
    assert_eq!(commit(&store, &busy, writes(&[("a", Some("1"))])).await, Settled::Durable);
    let behind = |store: &Store| *store.applier.applied().borrow() < store.committer.last();
    drop(store.room(&room("other")).await.unwrap());
    assert!(behind(&store), "another room's activation waited for the tree");
    // The room itself finds its own commits.
    drop(busy);
    let again = store.room(&room("busy")).await.unwrap();
    assert_eq!((listed(&again), behind(&store)), ("a".to_owned(), false));
}
