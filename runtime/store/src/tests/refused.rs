//! A journal that refuses one room's record.

use super::super::testing::Disk;
use super::super::{Settled, StoreError};
use super::{commit, limits, listed, room, writes};
use room_core::id::ModuleHash;

#[tokio::test]
async fn a_refused_record_is_lost_to_its_room_alone() {
    let disk = Disk::default();
    let store = disk.store(&limits());
    let (one, two) =
        (store.room(&room("one")).await.unwrap(), store.room(&room("two")).await.unwrap());
    commit(&store, &one, writes(&[("kept", Some("1"))])).await;
    // Commits that come while a sync waits become one group.
    disk.hold();
    let ahead = two.commit(writes(&[("a", Some("1"))]), ModuleHash::NONE, None).await.unwrap();
    while !disk.is_waited_for() {
        tokio::task::yield_now().await;
    }
    let refused = one.commit(writes(&[("lost", Some("1"))]), ModuleHash::NONE, None).await.unwrap();
    let beside = two.commit(writes(&[("b", Some("1"))]), ModuleHash::NONE, None).await.unwrap();
    let behind = one.commit(writes(&[("too", Some("1"))]), ModuleHash::NONE, None).await.unwrap();
    disk.refuse(&room("one"), true);
    disk.work();
    store.settled().wait_for(|at| *at >= behind).await.unwrap();
    assert_eq!([two.settled(ahead), two.settled(beside)], [Settled::Durable, Settled::Durable]);
    let lost = Settled::Lost(StoreError::Io("asked to refuse".to_owned()));
    assert_eq!([one.settled(refused), one.settled(behind)], [lost.clone(), lost.clone()]);
    // The store itself has not failed. The room's commits that build on the lost one are lost, too.
    assert_eq!(store.failure(), None);
    disk.refuse(&room("one"), false);
    assert_eq!(commit(&store, &one, writes(&[("after", Some("1"))])).await, lost);
    drop(one);
    let one = store.room(&room("one")).await.unwrap();
    assert_eq!((listed(&one), listed(&two)), ("kept".to_owned(), "a b".to_owned()));
    assert_eq!(commit(&store, &one, writes(&[("again", Some("1"))])).await, Settled::Durable);
    assert_eq!(store.verify().await.unwrap().problems, Vec::<String>::new());
}

#[tokio::test]
async fn commits_before_a_refused_record_in_the_same_group_stay_durable() {
    let disk = Disk::default();
    let store = disk.store(&limits());
    let one = store.room(&room("one")).await.unwrap();
    let kept = one.commit(writes(&[("kept", Some("1"))]), ModuleHash::NONE, None).await.unwrap();
    store.settled().wait_for(|at| *at >= kept).await.unwrap();
    disk.refuse(&room("one"), true);
    let refused = one.commit(writes(&[("lost", Some("1"))]), ModuleHash::NONE, None).await.unwrap();
    store.settled().wait_for(|at| *at >= refused).await.unwrap();
    assert_eq!(one.settled(kept), Settled::Durable);
    assert!(matches!(one.settled(refused), Settled::Lost(_)));
}
