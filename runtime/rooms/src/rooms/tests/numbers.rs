//! The numbers of a room's events and outputs, and the fate of a room whose record is refused.

use super::*;
use room_core::id::SequenceNumber;

/// Returns the positions of the numbers that commits of the lobby made durable, all of one epoch.
fn places(node: &TestNode) -> Vec<u64> {
    let numbers = node.disk.numbers(&lobby());
    assert!(numbers.iter().all(|number| number.epoch == numbers[0].epoch), "{numbers:?}");
    numbers.iter().map(|number| number.seq).collect()
}

fn last(node: &TestNode) -> SequenceNumber {
    *node.disk.numbers(&lobby()).last().unwrap()
}

#[tokio::test]
async fn every_event_and_every_output_has_the_next_number() {
    let node = TestNode::start().await;
    let mut tap = node.rooms.taps().watch(lobby()).unwrap();
    // The start is 1 and the connection 2.
    let a = node.connect("a").await;
    // 3, which sends 4 and 5.
    tell(&a, r#"[{"say":"x"},{"broadcast":"y"}]"#).await;
    // 6, whose outputs are dropped with it.
    tell(&a, r#"[{"say":"never"},{"err":"no"}]"#).await;
    // 7, which sends 8 before it flushes and 9 after that.
    tell(&a, r#"[{"put":["k",1]},{"say":"z"},"flush",{"say":"w"}]"#).await;
    assert_eq!(heard(&a, 4).await, ["x", "y", "z", "w"].map(text));
    // The goodbye is 10, the end of the old connection 11, which sends 12 to the remaining clients, and the
    // new connection 13.
    let _again = node.connect("a").await;
    assert_eq!(places(&node), [1, 2, 8, 12, 13]);
    let numbers: Vec<_> = std::iter::from_fn(|| tap.read())
        .flat_map(|batch| batch.passed)
        .filter_map(|passed| {
            let passed = serde_json::to_value(&*passed).unwrap();
            passed["number"].as_str().map(str::to_owned)
        })
        .collect();
    let epoch = last(&node).epoch;
    assert_eq!(numbers, [4, 5, 8, 9, 10].map(|seq| format!("{epoch}-{seq}")));
}

#[tokio::test]
async fn numbers_continue_after_a_room_slept() {
    let node = TestNode::with(WhenQuiet::Hibernate, 1).await;
    let a = node.connect("a").await;
    tell(&a, "free").await;
    assert_eq!(heard(&a, 1).await, [text("free")]);
    assert_eq!(places(&node), [1, 2]);
    // Another room takes the only place, and gives it back: the lobby starts again.
    let other = RoomId::new(PartyName::parse("main").unwrap(), "other", 256).unwrap();
    let entrance = node.rooms.entrance(&other).unwrap();
    assert!(
        within(node.rooms.request(&entrance, post("[]"), BodyDelivery::Whole))
            .await
            .unwrap()
            .is_some()
    );
    tell(&a, "free").await;
    assert_eq!(heard(&a, 1).await, [text("free")]);
    assert_eq!(places(&node), [1, 2, 5]);
}

#[tokio::test]
async fn no_number_seen_before_a_crash_is_reused() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    let before = last(&node);
    // Clients see these numbers, and no commit has them.
    tell(&a, "free").await;
    assert_eq!(heard(&a, 1).await, [text("free")]);
    assert_eq!(last(&node), before);
    // Nothing that the room does after this reaches the disk.
    let disk = node.disk.crashed();
    let node = TestNode::on(disk, WhenQuiet::Stay, 4).await;
    assert_eq!(node.request(r#"[{"put":["k",1]}]"#).await, Ok("[]".to_owned()));
    let after: Vec<_> = node.disk.numbers(&lobby()).into_iter().filter(|n| *n > before).collect();
    assert!(after.iter().all(|number| number.epoch > before.epoch), "{before:?} {after:?}");
    let places: Vec<_> = after.iter().map(|number| number.seq - before.seq).collect();
    assert_eq!(places, [1, 2]);
}

#[tokio::test]
async fn a_refused_record_breaks_its_room_alone() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    let other = RoomId::new(PartyName::parse("main").unwrap(), "other", 256).unwrap();
    node.disk.hold();
    tell(&a, r#"[{"put":["lost",1]},{"say":"lost"}]"#).await;
    let other = node.rooms.entrance(&other).unwrap();
    let mut asked =
        std::pin::pin!(node.rooms.request(&other, post(r#"[{"add":"n"}]"#), BodyDelivery::Whole));
    assert!(futures_util::poll!(asked.as_mut()).is_pending());
    node.held().await;
    node.disk.refuse(&lobby(), true);
    node.disk.work();
    let end = OutboxItem::Goodbye(CloseFrame::new(1011, "the room's storage failed"));
    assert_eq!(heard(&a, 1).await, [end]);
    assert_eq!(within(asked).await.unwrap().unwrap().whole().unwrap().status, 200);
    assert_eq!(node.rooms.storage_failure(), None);
    node.disk.refuse(&lobby(), false);
    assert_eq!(node.request(r#"[{"list":{}}]"#).await, Ok(r#"[""]"#.to_owned()));
}
