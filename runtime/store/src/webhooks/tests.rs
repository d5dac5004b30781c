//! Webhooks in the store: with their turn, without their room, and through every way out of a crash.

use super::*;
use crate::CommitExtras;
use crate::testing::Disk;
use room_core::id::{PartyName, RoomId};
use room_core::jobs::JobId;
use room_core::limits::Limits;
use room_core::turn::Writes;

fn room(name: &str) -> RoomId {
    RoomId::new(PartyName::parse("main").unwrap(), name, 256).unwrap()
}

fn id(name: &str, seq: u64) -> WebhookId {
    let number = SequenceNumber { epoch: 1, seq };
    WebhookId { room: room(name), job: JobId::first_of(number) }
}

fn one(id: &WebhookId, text: &'static str) -> WebhookChanges {
    [(id.clone(), Some(Bytes::from_static(text.as_bytes())))].into()
}

async fn commit(store: &Store, name: &str, webhooks: WebhookChanges) {
    let room = store.room(&room(name)).await.unwrap();
    let writes = Writes::default();
    let offset = room.commit_with(writes, ModuleHash::NONE, None, extras(webhooks)).await.unwrap();
    room.durable(offset).await.unwrap();
}

async fn stored(store: &Store) -> Vec<(WebhookId, Bytes)> {
    store.webhooks().await.unwrap()
}

fn extras(webhooks: WebhookChanges) -> CommitExtras {
    CommitExtras { webhooks, outbound: None }
}

#[tokio::test]
async fn a_webhook_outlives_its_room_and_a_restart_in_the_order_of_its_room() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(dir.path(), &Limits::default()).unwrap();
    let store = open();
    commit(&store, "b", one(&id("b", 9), "late")).await;
    commit(&store, "a", one(&id("a", 2), "first")).await;
    let ending = store.room(&room("a")).await.unwrap();
    let gone = ending.commit_end_with(ModuleHash::NONE, one(&id("a", 10), "gone")).await.unwrap();
    ending.durable(gone).await.unwrap();
    drop(ending);
    let wanted = [(id("a", 2), "first"), (id("a", 10), "gone"), (id("b", 9), "late")];
    let wanted = wanted.map(|(id, text)| (id, Bytes::from_static(text.as_bytes())));
    assert_eq!(stored(&store).await, wanted);
    assert_eq!(store.facts(&room("a")).await.unwrap(), None);
    let copy = dir.path().join("copy");
    store.backup(copy.clone()).await.unwrap();
    store.close();
    drop(store);
    let store = open();
    assert_eq!(stored(&store).await, wanted);
    store.keep_webhooks([(id("a", 2), None)].into()).await.unwrap();
    assert_eq!(stored(&store).await, wanted[1..]);
    assert_eq!(store.verify().await.unwrap().problems, [""; 0]);
    // A backup has them, too.
    let other = tempfile::tempdir().unwrap();
    Store::restore(&copy, &other.path().join("data")).unwrap();
    let restored = Store::open(&other.path().join("data"), &Limits::default()).unwrap();
    assert_eq!(stored(&restored).await, wanted);
}

#[tokio::test]
async fn the_bell_reports_webhooks_of_rooms_when_their_commit_is_durable() {
    let disk = Disk::default();
    let store = disk.store(&Limits::default());
    let bell = store.webhook_bell();
    disk.hold();
    let writer = store.room(&room("a")).await.unwrap();
    let webhook = one(&id("a", 1), "text");
    writer.commit_with(Writes::default(), ModuleHash::NONE, None, extras(webhook)).await.unwrap();
    while !disk.is_waited_for() {
        tokio::task::yield_now().await;
    }
    assert!(bell.take().new.is_empty());
    disk.work();
    bell.rings().await;
    let fresh = bell.take();
    assert_eq!(fresh.new.into_keys().collect::<Vec<_>>(), [id("a", 1)]);
    assert!(!fresh.missed && bell.take().new.is_empty());
    // The node's own notes are not new.
    store.keep_webhooks(one(&id("a", 1), "tried")).await.unwrap();
    assert_eq!(stored(&store).await, [(id("a", 1), Bytes::from_static(b"tried"))]);
    assert!(bell.take().new.is_empty());
}

#[tokio::test]
async fn a_webhook_of_a_lost_commit_does_not_exist() {
    let disk = Disk::default();
    let store = disk.store(&Limits::default());
    disk.fail();
    let writer = store.room(&room("a")).await.unwrap();
    let webhook = one(&id("a", 1), "text");
    let offset =
        writer.commit_with(Writes::default(), ModuleHash::NONE, None, extras(webhook)).await;
    assert!(writer.durable(offset.unwrap()).await.is_err());
    disk.work();
    drop(writer);
    commit(&disk.crashed().store(&Limits::default()), "b", WebhookChanges::new()).await;
    assert_eq!(disk.crashed().store(&Limits::default()).webhooks().await, Ok(vec![]));
    assert!(store.webhook_bell().take().new.is_empty());
}

#[tokio::test]
async fn a_bell_with_too_many_reports_says_that_all_must_be_read() {
    let limits = Limits { webhooks_pending_max: 2, ..Limits::default() };
    let store = Store::in_memory(&limits).unwrap();
    for seq in 1..=4 {
        commit(&store, "a", one(&id("a", seq), "text")).await;
    }
    assert_eq!(stored(&store).await.len(), 4);
    let fresh = store.webhook_bell().take();
    assert!(fresh.missed && fresh.new.len() <= 2, "{fresh:?}");
}
