//! Who is in a room: what waits for the disk, what a failed turn leaves, and how long a room stays for its users.

use super::*;
use crate::room::{
    ClientDelivery, ClientPoll, DeliveryAck, PresenceAsk, PresenceEvent, ReturningClient,
};
use room_core::config::{Presence, PresentBy, RetentionSettings};
use room_core::id::ConnectionSecret;
use room_core::identity::{Capabilities, Identity};
use room_core::presence::PresenceRefusal;
use serde_json::{Value, json};
use std::sync::Arc;

const SETTINGS: Presence = Presence { grace_ms: 60_000, every_ms: 10, by: PresentBy::Client };

async fn with(disk: Disk, change: impl FnOnce(&mut Presence)) -> TestNode {
    let limits = Limits { idle_evict_ms: 20, hibernate_ms: 20, ..Limits::default() };
    let mut settings = SETTINGS;
    change(&mut settings);
    TestNode::of(disk, limits, |party| party.presence = Some(settings)).await
}

/// Returns the next event of presence, and nothing else may come before it.
async fn event(client: &Client) -> Value {
    match &heard(client, 1).await[0] {
        OutboxItem::Presence(event) => serde_json::from_str(event.json()).unwrap(),
        other => panic!("{other:?} is not an event of presence"),
    }
}

fn entry(user: &str, data: &Value, connections: u64) -> Value {
    json!({ "user": user, "data": data, "connections": connections })
}

fn shows(data: &Value, reference: Option<u64>) -> PresenceAsk {
    PresenceAsk { reference, data: Some(Some(data.to_string())), flag: None }
}

fn ack(reference: u64, outcome: Result<(), RoomError>) -> OutboxItem {
    OutboxItem::Ack(Box::new(DeliveryAck { reference, outcome }))
}

/// Sends a message, and waits until its turn is over. Returns its outcome.
async fn tells(client: &Client, script: &str) -> Result<(), RoomError> {
    let delivery = ClientDelivery { message: Message::text(script), id: None, reference: Some(99) };
    within(client.joined.deliver(delivery)).await.unwrap();
    loop {
        if let OutboxItem::Ack(ack) = &heard(client, 1).await[0] {
            return ack.outcome.clone();
        }
    }
}

/// Connects a client, and takes nothing of what it gets.
async fn arrives(node: &TestNode, visitor: ConnectingClient) -> Client {
    let entrance = node.rooms.entrance(&lobby()).unwrap();
    let outboxes = node.rooms.outboxes();
    let to = (&outboxes, ConnectionKey(0));
    let joined = within(node.rooms.connect(&entrance, visitor, to)).await.unwrap().unwrap();
    Client { joined, outboxes }
}

/// Returns who is in the lobby.
async fn users(node: &TestNode) -> Option<Value> {
    let users = within(node.rooms.present_users(&lobby())).await.unwrap();
    users.map(|users| serde_json::from_str::<Value>(&users).unwrap()["users"].clone())
}

#[tokio::test]
async fn nothing_of_presence_leaves_before_what_its_turn_wrote_is_durable() {
    let node = with(Disk::default(), |_| {}).await;
    let (a, b) = (node.connect("a").await, node.connect("b").await);
    assert_eq!((event(&a).await, event(&b).await), (json!({"sync": []}), json!({"sync": []})));
    node.disk.hold();
    tell(&a, r#"[{"put":["k",1]},{"presence":{"set":1}}]"#).await;
    node.held().await;
    // What a client asks for itself waits behind that turn, and so does its acknowledgement.
    b.joined.present(shows(&json!(2), Some(7))).unwrap();
    settle().await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!((a.take(9), b.take(9)), (Vec::new(), Vec::new()));
    assert_eq!(users(&node).await, Some(json!([])));
    node.disk.work();
    assert_eq!(heard(&b, 1).await, [ack(7, Ok(()))]);
    let both = json!({"joined": [entry("a", &json!(1), 1), entry("b", &json!(2), 1)]});
    assert_eq!((event(&a).await, event(&b).await), (both.clone(), both));
}

#[tokio::test]
async fn nobody_hears_what_a_lost_commit_showed() {
    let node = with(Disk::default(), |_| {}).await;
    let a = node.connect("a").await;
    event(&a).await;
    node.disk.hold();
    tell(&a, r#"[{"put":["lost",1]},{"presence":{"set":"never"}}]"#).await;
    node.held().await;
    node.disk.fail();
    let end = OutboxItem::Goodbye(CloseFrame::new(1011, "the room's storage failed"));
    assert_eq!(heard(&a, 1).await, [end]);
}

#[tokio::test]
async fn a_failed_turn_changes_nobody_and_its_instance_takes_nobody_along() {
    let node = with(Disk::default(), |_| {}).await;
    let (a, b) = (node.connect("a").await, node.connect("b").await);
    event(&b).await;
    assert_eq!(tells(&a, r#"[{"presence":{"set":"kept"}}]"#).await, Ok(()));
    assert_eq!(event(&b).await, json!({"joined": [entry("a", &json!("kept"), 1)]}));
    for fault in [r#"{"err":"no"}"#, "\"trap\"", r#"{"panic":"no"}"#] {
        let script =
            format!(r#"[{{"presence":{{"set":"never"}}}},{{"presence":"clear"}},{fault}]"#);
        assert!(tells(&a, &script).await.is_err(), "{fault}");
    }
    let said = r#"[{"presence":{"set":"never"}},"flush",{"err":"no"}]"#;
    assert!(tells(&b, said).await.is_err());
    // The flush has committed what was before it.
    let never = json!({"joined": [entry("b", &json!("never"), 1)]});
    assert_eq!(event(&b).await, never);
    tell(&b, r#"[{"presence":"users"}]"#).await;
    assert_eq!(heard(&b, 1).await, [text(r#"a "kept" 1 ,b "never" 1 "#)]);
}

#[tokio::test]
async fn a_turn_reads_its_own_changes_and_a_transaction_undoes_its_part() {
    let node = with(Disk::default(), |_| {}).await;
    let a = node.connect("a").await;
    event(&a).await;
    let script = r#"[
        {"presence":{"set":1}}, {"presence":{"flag":["typing",5000]}},
        {"transaction":[{"presence":{"set":2}},{"presence":"users"},{"err":"no"}]},
        {"presence":"users"}, {"presence":"clear"}, {"presence":{"user":"a"}}, {"presence":{"set":3}}
    ]"#;
    tell(&a, script).await;
    let said = ["undone: no", "a 1 1 typing", "nobody"].map(text);
    assert_eq!(heard(&a, 3).await, said);
    assert_eq!(event(&a).await, json!({"joined": [entry("a", &json!(3), 1)]}));
}

#[tokio::test]
async fn a_room_stays_in_memory_for_a_user_whose_grace_goes_on() {
    let node = with(Disk::default(), |settings| settings.grace_ms = 300).await;
    let a = node.connect("a").await;
    assert_eq!(tells(&a, r#"[{"presence":{"set":1}}]"#).await, Ok(()));
    drop(a);
    within(async {
        while users(&node).await != Some(json!([entry("a", &json!(1), 0)])) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The grace ends, and the room is idle from then on.
        while users(&node).await.is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let b = node.connect("b").await;
    assert_eq!(event(&b).await, json!({"sync": []}));
}

#[tokio::test]
async fn a_wish_wakes_no_guest_and_is_refused_by_name() {
    let node = TestNode::of(
        Disk::default(),
        Limits { hibernate_ms: 20, presence_users_max: 1, ..Limits::default() },
        |party| (party.presence, party.when_quiet) = (Some(SETTINGS), WhenQuiet::Hibernate),
    )
    .await;
    let (a, b) = (node.connect("a").await, node.connect("b").await);
    event(&a).await;
    event(&b).await;
    within(async {
        while node.rooms.live() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    a.joined.present(shows(&json!({"x": 1}), Some(1))).unwrap();
    b.joined.present(shows(&json!(2), Some(2))).unwrap();
    let full = PresenceRefusal::Full { limit: "presence_users_max", max: 1 };
    assert_eq!(heard(&a, 1).await, [ack(1, Ok(()))]);
    assert_eq!(heard(&b, 1).await, [ack(2, Err(full.into()))]);
    assert_eq!(event(&b).await, json!({"joined": [entry("a", &json!({"x": 1}), 1)]}));
    let typing = |for_ms| PresenceAsk {
        reference: Some(3),
        data: None,
        flag: Some(("typing".to_owned(), for_ms)),
    };
    b.joined.present(typing(1)).unwrap();
    assert_eq!(heard(&b, 1).await, [ack(3, Err(PresenceRefusal::NotPresent.into()))]);
    for (for_ms, flags) in [(60_000, json!(["typing"])), (0, Value::Null)] {
        a.joined.present(typing(for_ms)).unwrap();
        assert_eq!(event(&b).await["updated"][0]["flags"], flags);
    }
    assert_eq!(node.rooms.live(), 0, "the guest was woken");
}

#[tokio::test]
async fn a_party_that_gives_presence_up_has_nobody_left() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    let refused = tells(&a, r#"[{"presence":{"set":1}}]"#).await.unwrap_err();
    assert!(refused.to_string().contains("write `presence = true`"), "{refused}");
    a.joined.present(shows(&json!(1), Some(1))).unwrap();
    assert_eq!(heard(&a, 1).await, [ack(1, Err(PresenceRefusal::NotKept.into()))]);
    assert_eq!(users(&node).await, None);
    // Connections that were there before count, too.
    let deploy = async |presence| {
        let mut parties = node.parties();
        parties.values_mut().for_each(|party| party.presence = presence);
        within(node.rooms.deploy(parties)).await.unwrap();
    };
    deploy(Some(SETTINGS)).await;
    assert_eq!(event(&a).await, json!({"sync": []}));
    assert_eq!(tells(&a, r#"[{"presence":{"set":1}}]"#).await, Ok(()));
    assert_eq!(event(&a).await, json!({"joined": [entry("a", &json!(1), 1)]}));
    deploy(None).await;
    assert_eq!(event(&a).await, json!({"sync": []}));
    assert!(tells(&a, r#"[{"presence":"users"}]"#).await.is_err());
}

#[tokio::test]
async fn a_client_that_may_no_longer_read_does_not_get_who_is_there() {
    let node = with(Disk::default(), |_| {}).await;
    let identity = |capabilities| Identity::new(r#"{"sub":"ann"}"#.to_owned(), capabilities, None);
    let ann = ConnectingClient { identity: Some(identity(Capabilities::ALL)), ..visitor("a") };
    let a = arrives(&node, ann).await;
    within(a.joined.renew(identity(Capabilities::WRITE))).await.unwrap();
    assert_eq!(a.take(9), []);
    within(a.joined.renew(identity(Capabilities::ALL))).await.unwrap();
    assert_eq!(event(&a).await, json!({"sync": []}));
}

#[tokio::test]
async fn a_client_that_polls_a_party_without_presence_forgets_the_users_that_it_knew() {
    let settings = RetentionSettings { resume: Some("1m".parse().unwrap()), history: None };
    let retention = settings.parse(&Limits::default()).unwrap();
    let change = |party: &mut Party| party.retention = retention;
    let node = TestNode::of(Disk::default(), Limits::default(), change).await;
    let (transport, secret) = (Transport::LongPoll, Some(ConnectionSecret::random()));
    let first = arrives(&node, ConnectingClient { transport, secret, ..visitor("a") }).await;
    let said = heard(&first, 1).await;
    let OutboxItem::Welcome(welcome) = &said[0] else { panic!("{said:?}") };
    let client = ReturningClient { secret, since: welcome.at.unwrap() };
    let poll = async |presence_at| {
        let connection = ConnectionId::parse("a", 256).unwrap();
        let poll = ClientPoll { connection, client, presence_at };
        let outboxes = node.rooms.outboxes();
        let to = (&outboxes, ConnectionKey(0));
        let joined = within(node.rooms.poll(&lobby(), poll, to)).await.unwrap();
        let said = Client { joined, outboxes }.take(9);
        said.into_iter().filter(|item| !matches!(item, OutboxItem::Welcome(_))).collect::<Vec<_>>()
    };
    let nobody = PresenceEvent::new(0, r#"{"sync":[]}"#.to_owned());
    assert_eq!(poll(Some(7)).await, [OutboxItem::Presence(Arc::new(nobody))]);
    // It knows nobody by now, or does not ask.
    assert_eq!((poll(Some(0)).await, poll(None).await), (Vec::new(), Vec::new()));
}
