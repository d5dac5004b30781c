//! Rooms that may not stay, or not start: what leaves them, and what their clients read.

use super::*;
use crate::cluster::{Homes, Incarnation, Lease, ProjectHomes, ShardSet};
use crate::room::MOVED;
use room_core::clock::Moment;
use room_database::{SHARDS, shard_of};

const LONG: Duration = Duration::from_secs(3_600);

/// Makes a node of a cluster that has all shards, with its lease.
async fn leased() -> (TestNode, Lease) {
    let lease = Lease::none();
    lease.own(ShardSet::of(0..SHARDS));
    lease.renew(Incarnation(1), Moment::now(), LONG);
    let homes = ProjectHomes::new(Homes::leased(lease.clone()), "chat");
    let node = TestNode::among(homes, Disk::default(), Limits::default(), |_| {}).await;
    (node, lease)
}

fn goodbye() -> OutboxItem {
    OutboxItem::Goodbye(CloseFrame::new(1012, MOVED))
}

#[tokio::test]
async fn nothing_leaves_a_room_when_the_lease_is_over() {
    let (node, lease) = leased().await;
    let a = node.connect("a").await;
    tell(&a, r#"[{"say":"certain"}]"#).await;
    assert_eq!(heard(&a, 1).await, [text("certain")]);
    lease.end();
    // It writes nothing, so no storage stops it.
    tell(&a, r#"[{"say":"late"}]"#).await;
    assert_eq!(heard(&a, 1).await, [goodbye()]);
    assert_eq!(node.request("[]").await, Err(RoomError::Moved.into()));
    within(node.rooms.leave_all()).await;
    assert_eq!((a.take(9), node.rooms.count()), (vec![], 0));
    // The node has come back: the room starts afresh, and nothing of before leaves it.
    lease.own(ShardSet::of(0..SHARDS));
    lease.renew(Incarnation(2), Moment::now(), LONG);
    assert!(node.request("[]").await.is_ok() && a.take(9).is_empty());
}

#[tokio::test]
async fn an_output_that_waits_for_the_disk_when_the_lease_ends_never_leaves() {
    let (node, lease) = leased().await;
    let a = node.connect("a").await;
    node.disk.hold();
    tell(&a, r#"[{"put":["k",1]},{"say":"wrote"}]"#).await;
    let mut asked = std::pin::pin!(node.request("[]"));
    assert!(futures_util::poll!(asked.as_mut()).is_pending());
    node.held().await;
    // The process was paused for longer than its lease, and goes on.
    lease.renew(Incarnation(1), Moment::now(), Duration::ZERO);
    node.disk.work();
    assert_eq!(heard(&a, 1).await, [goodbye()]);
    assert_eq!(within(asked).await, Err(RoomError::Moved.into()));
    assert_eq!(a.take(9), []);
}

#[tokio::test]
async fn a_room_that_leaves_completes_its_turns_first_and_does_not_start_again() {
    let (node, lease) = leased().await;
    let a = node.connect("a").await;
    node.disk.hold();
    tell(&a, r#"[{"put":["k",1]},{"say":"wrote"}]"#).await;
    node.held().await;
    let gone = ShardSet::of([shard_of("chat", &lobby())]);
    lease.own_but(ShardSet::of(0..SHARDS), |shard| gone.has(shard));
    let mut leaving = std::pin::pin!(node.rooms.leave_shards(&gone));
    assert!(futures_util::poll!(leaving.as_mut()).is_pending());
    settle().await;
    assert_eq!(a.take(9), []);
    node.disk.work();
    within(leaving).await;
    assert_eq!(heard(&a, 2).await, [text("wrote"), goodbye()]);
    assert_eq!((node.rooms.count(), node.request("[]").await), (0, Err(RoomError::Moved.into())));
    // An operator does not start it either.
    assert_eq!(node.rooms.delete(&lobby(), CloseFrame::new(1000, "")).await, Err(RoomError::Moved));
    // Rooms of other shards stay.
    let others =
        (0..99).map(|n| RoomId::new(PartyName::parse("main").unwrap(), &n.to_string(), 9).unwrap());
    let other = others.into_iter().find(|room| !gone.has(shard_of("chat", room))).unwrap();
    let entrance = node.rooms.entrance(&other).unwrap();
    let asked = node.rooms.request(&entrance, post("[]"), BodyDelivery::Whole);
    assert!(within(asked).await.is_ok());
    within(node.rooms.leave_shards(&gone)).await;
    assert_eq!(node.rooms.count(), 1);
}
