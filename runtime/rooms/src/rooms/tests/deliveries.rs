//! Messages whose client asks what became of them: when that is said, and that a repetition changes nothing.

use super::*;
use crate::room::{ClientDelivery, DeliveryAck, OfferRefused, ReturningClient};
use room_core::config::RetentionSettings;
use room_core::id::{ConnectionSecret, SequenceNumber};
use room_core::identity::{Capabilities, Identity};
use room_guest::GuestFault;

fn delivery(reference: Option<u64>, id: &str, script: &str) -> ClientDelivery {
    let id = (!id.is_empty()).then(|| id.into());
    ClientDelivery { message: Message::text(script), id, reference }
}

/// Sends a message. Waits as long as the room has no space for it.
async fn deliver(client: &Client, reference: u64, id: &str, script: &str) {
    within(client.joined.deliver(delivery(Some(reference), id, script))).await.unwrap();
}

fn ack(reference: u64) -> OutboxItem {
    OutboxItem::Ack(Box::new(DeliveryAck { reference, outcome: Ok(()) }))
}

fn failure(reference: u64, text: &str) -> OutboxItem {
    let outcome = Err(GuestFault::Rejected(text.to_owned()).into());
    OutboxItem::Ack(Box::new(DeliveryAck { reference, outcome }))
}

async fn small(change: impl FnOnce(&mut Limits)) -> TestNode {
    let mut limits = Limits::default();
    change(&mut limits);
    TestNode::of(Disk::default(), limits, |_| {}).await
}

#[tokio::test]
async fn an_acknowledgement_waits_for_the_disk_in_the_order_of_the_outputs() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    node.disk.hold();
    deliver(&a, 1, "", r#"[{"put":["k",1]},{"say":"wrote"}]"#).await;
    tell(&a, "behind").await;
    deliver(&a, 2, "", "free").await;
    node.held().await;
    assert_eq!(a.take(9), []);
    node.disk.work();
    let expected = [text("wrote"), ack(1), text("behind"), text("free"), ack(2)];
    assert_eq!(heard(&a, 5).await, expected);
}

#[tokio::test]
async fn a_repeated_message_is_acknowledged_and_not_handled_again() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    let add = r#"[{"add":"n"}]"#;
    deliver(&a, 1, "m1", add).await;
    deliver(&a, 2, "m1", add).await;
    assert_eq!(heard(&a, 3).await, [text("1"), ack(1), ack(2)]);
    node.disk.hold();
    deliver(&a, 3, "m2", add).await;
    deliver(&a, 4, "m2", add).await;
    node.held().await;
    assert_eq!(a.take(9), [], "the first one is not durable");
    node.disk.work();
    assert_eq!(heard(&a, 3).await, [text("2"), ack(3), ack(4)]);
    // Ids are those of one connection.
    let b = node.connect("b").await;
    deliver(&b, 1, "m1", add).await;
    assert_eq!(heard(&b, 2).await, [text("3"), ack(1)]);
    // Without a number, the message is handled once, too.
    for _ in 0..2 {
        within(b.joined.deliver(delivery(None, "quiet", add))).await.unwrap();
    }
    deliver(&b, 2, "", "after").await;
    assert_eq!(heard(&b, 3).await, [text("4"), text("after"), ack(2)]);
}

#[tokio::test]
async fn a_failed_turn_is_answered_with_its_error_and_a_repetition_with_the_same() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    let fails = r#"[{"add":"n"},"flush",{"err":"no"}]"#;
    deliver(&a, 1, "m1", fails).await;
    deliver(&a, 2, "m1", fails).await;
    let no = [text("1"), failure(1, "no"), failure(2, "no")];
    assert_eq!(heard(&a, 3).await, no);
    let long = format!(r#"[{{"err":"{}"}}]"#, "é".repeat(500));
    deliver(&a, 3, "", &long).await;
    assert_eq!(heard(&a, 1).await, [failure(3, &"é".repeat(100))]);
    deliver(&a, 4, "m1", "[]").await;
    assert_eq!(heard(&a, 1).await, [failure(4, "no")]);
}

#[tokio::test]
async fn a_start_that_fails_uses_up_no_id() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    deliver(&a, 1, "", r#"[{"plan":["on_start",1,[{"err":"not now"}]]}]"#).await;
    assert_eq!(heard(&a, 1).await, [ack(1)]);
    deliver(&a, 2, "", r#"["trap"]"#).await;
    let trapped = heard(&a, 1).await;
    assert!(matches!(&trapped[0], OutboxItem::Ack(ack) if ack.outcome.is_err()), "{trapped:?}");
    let add = r#"[{"add":"n"}]"#;
    deliver(&a, 3, "m1", add).await;
    assert_eq!(heard(&a, 1).await, [failure(3, "not now")]);
    deliver(&a, 4, "m1", add).await;
    assert_eq!(heard(&a, 2).await, [text("1"), ack(4)]);
}

#[tokio::test]
async fn a_connection_forgets_its_oldest_ids_at_the_bound() {
    let node = small(|limits| limits.message_ids_max = 2).await;
    let a = node.connect("a").await;
    let add = r#"[{"add":"n"}]"#;
    for (reference, id) in [(1, "m1"), (2, "m2"), (3, "m3"), (4, "m2"), (5, "m1")] {
        deliver(&a, reference, id, add).await;
    }
    let expected =
        [text("1"), ack(1), text("2"), ack(2), text("3"), ack(3), ack(4), text("4"), ack(5)];
    assert_eq!(heard(&a, 9).await, expected);
}

#[tokio::test]
async fn a_lost_commit_is_not_acknowledged() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    node.disk.hold();
    deliver(&a, 1, "m1", r#"[{"put":["lost",1]}]"#).await;
    node.held().await;
    node.disk.fail();
    let end = OutboxItem::Goodbye(CloseFrame::new(1011, "the room's storage failed"));
    assert_eq!(heard(&a, 1).await, [end]);
    settle().await;
    assert_eq!(a.take(9), []);
    node.disk.work();
    node.works_again().await;
    // The connection is a new one, and so are its ids: the lost turn is carried out.
    let a = node.connect("a").await;
    deliver(&a, 1, "m1", r#"[{"add":"n"}]"#).await;
    assert_eq!(heard(&a, 2).await, [text("1"), ack(1)]);
}

#[tokio::test]
async fn ids_outlive_a_lost_transport_and_acknowledgements_do_not_change_it() {
    let limits = Limits::default();
    let resume = Some("1m".parse().unwrap());
    let settings = RetentionSettings { resume, history: None }.parse(&limits).unwrap();
    let node = TestNode::of(Disk::default(), limits, |party| party.retention = settings).await;
    let entrance = node.rooms.entrance(&lobby()).unwrap();
    let arrive = async |returning| {
        let secret = Some(ConnectionSecret::random());
        let visitor = ConnectingClient { secret, returning, ..visitor("a") };
        let outboxes = node.rooms.outboxes();
        let to = (&outboxes, ConnectionKey(0));
        let joined = within(node.rooms.connect(&entrance, visitor, to)).await.unwrap().unwrap();
        let client = Client { joined, outboxes };
        let first = heard(&client, 1).await.pop();
        let Some(OutboxItem::Welcome(welcome)) = first else { panic!("{first:?}") };
        (client, *welcome)
    };
    let (a, welcome) = arrive(None).await;
    let since: SequenceNumber = welcome.at.unwrap();
    deliver(&a, 1, "m1", r#"[{"add":"n"}]"#).await;
    assert_eq!(heard(&a, 2).await.pop(), Some(ack(1)));
    node.disk.hold();
    deliver(&a, 2, "m2", r#"[{"add":"n"}]"#).await;
    node.held().await;
    drop(a);
    settle().await;
    let mut back =
        std::pin::pin!(arrive(Some(ReturningClient { secret: Some(welcome.secret), since })));
    assert!(futures_util::poll!(back.as_mut()).is_pending());
    settle().await;
    node.disk.work();
    let (a, _) = within(back).await;
    // The number 2 means nothing on the newer transport: the client repeats what it does not know of.
    for (reference, id) in [(7, "m1"), (8, "m2"), (9, "m3")] {
        deliver(&a, reference, id, r#"[{"add":"n"}]"#).await;
    }
    let mut acks = Vec::new();
    let mut texts = Vec::new();
    while acks.len() < 3 {
        for item in heard(&a, 1).await {
            match item {
                OutboxItem::Ack(ack) => acks.push((ack.reference, ack.outcome)),
                OutboxItem::Entry(entry) => texts.push(entry.message().clone()),
                item => panic!("{item:?}"),
            }
        }
    }
    assert_eq!(acks, [(7, Ok(())), (8, Ok(())), (9, Ok(()))]);
    assert_eq!(texts, ["1", "2", "3"].map(Message::text));
}

#[tokio::test]
async fn a_full_mailbox_hands_an_offered_message_back() {
    let node = small(|limits| limits.mailbox_events_max = 1).await;
    let a = node.connect("a").await;
    let first = delivery(Some(1), "m1", "first");
    let second = delivery(Some(2), "m2", "second");
    // The room does not run in between: the test has not waited for anything.
    a.joined.offer(first).unwrap();
    match a.joined.offer(second.clone()) {
        Err(OfferRefused::Full(back)) => assert_eq!(back, second),
        other => panic!("{other:?}"),
    }
    let plain = ClientDelivery { id: None, reference: None, ..second };
    match a.joined.offer(plain.clone()) {
        Err(OfferRefused::Full(back)) => assert_eq!(back, plain),
        other => panic!("{other:?}"),
    }
    assert_eq!(heard(&a, 2).await, [text("first"), ack(1)]);
}

#[tokio::test]
async fn a_newer_identity_holds_from_the_next_message_on() {
    let node = TestNode::start().await;
    let identity = |capabilities, exp: u64| {
        Identity::new(format!(r#"{{"sub":"ann","exp":{exp}}}"#), capabilities, None)
    };
    let entrance = node.rooms.entrance(&lobby()).unwrap();
    let visitor =
        ConnectingClient { identity: Some(identity(Capabilities::ALL, 1)), ..visitor("a") };
    let outboxes = node.rooms.outboxes();
    let to = (&outboxes, ConnectionKey(0));
    let joined = within(node.rooms.connect(&entrance, visitor, to)).await.unwrap().unwrap();
    let a = Client { joined, outboxes };
    let deaf = identity(Capabilities::WRITE, 2);
    within(a.joined.renew(deaf)).await.unwrap();
    deliver(&a, 1, "", "unheard").await;
    assert_eq!(heard(&a, 1).await, [ack(1)], "it may send, and gets no messages");
    within(a.joined.renew(identity(Capabilities::ALL, 3))).await.unwrap();
    deliver(&a, 2, "", r#"["report"]"#).await;
    let said = heard(&a, 2).await;
    assert!(
        matches!(&said[0], OutboxItem::Message(Message::Text(text))
        if text.as_str().contains(r#""claims":{"exp":3,"sub":"ann"}"#)),
        "{said:?}"
    );
}
