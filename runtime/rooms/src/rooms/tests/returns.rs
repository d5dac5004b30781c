//! Clients that are lost and come back, in a party that remembers what its rooms send.

mod continues;

use super::*;
use crate::room::{ClientArrival, Gap, ReturningClient, Rewind, Welcome};
use room_core::config::{HistorySetting, RetentionSettings};
use room_core::event::{CloseHandshake, Ending};
use room_core::id::{ConnectionSecret, SequenceNumber};
use room_core::identity::{Capabilities, Identity};

/// Settings with which clients may be away for a minute, and everybody may read what was sent.
fn settings(limits: &Limits, resume: &str) -> Option<Retention> {
    let history = HistorySetting { keep: Some(8), keep_for: None, durable: false };
    let settings =
        RetentionSettings { resume: Some(resume.parse().unwrap()), history: Some(history) };
    settings.parse(limits).unwrap()
}

async fn node() -> TestNode {
    with(Limits::default(), |party| party.retention = settings(&Limits::default(), "1m")).await
}

async fn with(limits: Limits, change: impl FnOnce(&mut Party)) -> TestNode {
    TestNode::of(Disk::default(), limits, change).await
}

/// What a client keeps of a connection: its secret, and the id of the last message.
#[derive(Clone, Copy)]
struct Card {
    secret: ConnectionSecret,
    since: SequenceNumber,
}

impl TestNode {
    async fn arrive(&self, visitor: ConnectingClient) -> Client {
        let entrance = self.rooms.entrance(&lobby()).unwrap();
        let outboxes = self.rooms.outboxes();
        let to = (&outboxes, ConnectionKey(0));
        let joined = within(self.rooms.connect(&entrance, visitor, to)).await.unwrap().unwrap();
        Client { joined, outboxes }
    }

    /// Lets a client in that may come back, and returns its card.
    async fn meet(&self, id: &str) -> (Client, Card) {
        let client = self.arrive(new(id)).await;
        let Welcome { secret, at, arrival, .. } = welcome(&client).await;
        assert_eq!(arrival, ClientArrival::New);
        (client, Card { secret, since: at.unwrap() })
    }

    /// Lets a client come back with its card.
    async fn back(&self, id: &str, card: Card) -> (Client, ClientArrival) {
        let client = self.arrive(returning(id, Some(card.secret), card.since)).await;
        let arrival = welcome(&client).await.arrival;
        (client, arrival)
    }

    /// Returns the events that the room has noted.
    async fn events(&self) -> Vec<String> {
        let events = self.request(r#"[{"get":"~events"}]"#).await.unwrap();
        let said: Vec<String> = serde_json::from_str(&events).unwrap();
        serde_json::from_str(&said[0]).unwrap()
    }

    /// Waits until the room has noted an event that begins like this.
    async fn noted(&self, begin: &str) -> String {
        let noted = async {
            loop {
                let found = self.events().await.into_iter().find(|own| own.starts_with(begin));
                match found {
                    Some(found) => return found,
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        within(noted).await
    }

    async fn say(&self, script: &str) {
        assert!(self.request(script).await.is_ok(), "{script}");
    }
}

fn new(id: &str) -> ConnectingClient {
    ConnectingClient { secret: Some(ConnectionSecret::random()), ..visitor(id) }
}

fn returning(
    id: &str,
    secret: Option<ConnectionSecret>,
    since: SequenceNumber,
) -> ConnectingClient {
    ConnectingClient { returning: Some(ReturningClient { secret, since }), ..new(id) }
}

/// Takes the first item of a client's outbox.
async fn welcome(client: &Client) -> Welcome {
    match heard(client, 1).await.pop() {
        Some(OutboxItem::Welcome(welcome)) => *welcome,
        other => panic!("no welcome: {other:?}"),
    }
}

/// Returns the next messages of a client, and keeps the id of the last one.
async fn read(client: &Client, count: usize, card: &mut Card) -> Vec<String> {
    let said = heard(client, count).await;
    said.into_iter().map(|item| noted(item, card)).collect()
}

fn noted(item: OutboxItem, card: &mut Card) -> String {
    match item {
        OutboxItem::Entry(entry) => {
            assert!(entry.number() > card.since, "ids grow");
            card.since = entry.number();
            match entry.message() {
                Message::Text(text) => text.as_str().to_owned(),
                Message::Binary(_) => "binary".to_owned(),
            }
        }
        other => panic!("no message with an id: {other:?}"),
    }
}

#[tokio::test]
async fn a_lost_client_has_its_connection_again_and_gets_what_it_missed_once_and_in_order() {
    let node = node().await;
    let (a, mut card) = node.meet("a").await;
    let (b, mut others) = node.meet("b").await;
    node.say(r#"[{"broadcast":"1"},{"send_to":["b","for b"]}]"#).await;
    assert_eq!(read(&a, 1, &mut card).await, ["1"]);
    drop(a);
    settle().await;
    node.say(r#"[{"broadcast":"2"},{"send_to":["a","3"]},{"broadcast_except":["4",["a"]]}]"#).await;
    node.say(r#"[{"send_to":["b","for b"]},{"broadcast_tagged":["5","a"]}]"#).await;
    let (a, arrival) = node.back("a", card).await;
    assert_eq!(arrival, ClientArrival::Resumed);
    node.say(r#"[{"broadcast":"6"}]"#).await;
    assert_eq!(read(&a, 4, &mut card).await, ["2", "3", "5", "6"]);
    assert_eq!(read(&b, 6, &mut others).await, ["1", "for b", "2", "4", "for b", "6"]);
    // It is the same connection: it can still speak, and the guest heard of nothing.
    tell(&a, "hello").await;
    assert_eq!(read(&a, 1, &mut card).await, ["hello"]);
    assert_eq!(node.events().await, ["connect a", "connect b"]);
}

#[tokio::test]
async fn a_client_that_lost_messages_on_their_way_gets_them_again() {
    let node = node().await;
    let (a, mut card) = node.meet("a").await;
    node.say(r#"[{"broadcast":"read"},{"broadcast":"lost"}]"#).await;
    assert_eq!(read(&a, 1, &mut card).await, ["read"]);
    heard(&a, 1).await;
    drop(a);
    let (a, arrival) = node.back("a", card).await;
    assert_eq!(
        (arrival, read(&a, 1, &mut card).await),
        (ClientArrival::Resumed, vec!["lost".to_owned()])
    );
}

#[tokio::test]
async fn the_guest_gets_the_close_of_a_client_that_stays_away_when_its_time_is_over() {
    let node = with(Limits::default(), |party| {
        party.retention = settings(&Limits::default(), "1s");
    });
    let node = node.await;
    let (a, card) = node.meet("a").await;
    drop(a);
    assert_eq!(node.noted("close a").await, r#"close a 1006 "" clean=false state="""#);
    let (_a, arrival) = node.back("a", card).await;
    assert_eq!(arrival, ClientArrival::Gap(Gap::UnknownConnection));
    assert_eq!(node.events().await.len(), 3);
}

#[tokio::test]
async fn a_client_that_closes_its_connection_is_not_expected_back() {
    let node = node().await;
    let (a, card) = node.meet("a").await;
    let frame = CloseFrame::new(1000, "");
    a.joined.ended(Ending { frame, handshake: CloseHandshake::Clean });
    assert_eq!(node.noted("close a").await, r#"close a 1000 "" clean=true state="""#);
    let (_a, arrival) = node.back("a", card).await;
    assert_eq!(arrival, ClientArrival::Gap(Gap::UnknownConnection));
}

#[tokio::test]
async fn a_wrong_secret_gets_nothing_of_the_connection() {
    let node = node().await;
    let (a, card) = node.meet("a").await;
    tell(&a, r#"[{"set_state":"mine"},{"say":"private"}]"#).await;
    heard(&a, 1).await;
    let wrong = Card { secret: ConnectionSecret::random(), ..card };
    let (thief, arrival) = node.back("a", wrong).await;
    // As for any newcomer with this id, the older connection is replaced.
    assert_eq!(arrival, ClientArrival::Gap(Gap::UnknownConnection));
    assert!(matches!(&heard(&a, 1).await[..], [OutboxItem::Goodbye(frame)] if frame.code == 4409));
    tell(&thief, r#"["state"]"#).await;
    assert_eq!(read(&thief, 1, &mut card.clone()).await, ["null"]);
    let unreadable = node.arrive(returning("a", None, card.since)).await;
    let arrival = welcome(&unreadable).await.arrival;
    assert_eq!(arrival, ClientArrival::Gap(Gap::UnknownConnection));
}

#[tokio::test]
async fn a_client_that_comes_back_is_the_one_that_it_was_and_may_do_what_its_newest_token_says() {
    let node = node().await;
    let who =
        |subject: &str, may| Some(Identity::new(format!(r#"{{"sub":"{subject}"}}"#), may, None));
    let identity = who("ada", Capabilities::ALL);
    let first = node.arrive(ConnectingClient { identity, ..new("a") }).await;
    let Welcome { secret, at, .. } = welcome(&first).await;
    let mut card = Card { secret, since: at.unwrap() };
    let back = async |identity, since| {
        let client = returning("a", Some(secret), since);
        let client = node.arrive(ConnectingClient { identity, ..client }).await;
        let arrival = welcome(&client).await.arrival;
        (client, arrival)
    };
    drop(first);
    settle().await;
    node.say(r#"[{"broadcast":"missed"}]"#).await;
    // Without `read` it has its connection, and hears neither what it missed nor what comes.
    let (deaf, arrival) = back(who("ada", Capabilities::WRITE), card.since).await;
    assert_eq!(arrival, ClientArrival::Resumed);
    node.say(r#"[{"broadcast":"live"}]"#).await;
    tell(&deaf, r#"[{"broadcast":"its own"}]"#).await;
    settle().await;
    assert_eq!(deaf.take(9), []);
    drop(deaf);
    settle().await;
    let (hears, arrival) = back(who("ada", Capabilities::ALL), card.since).await;
    assert_eq!(arrival, ClientArrival::Resumed);
    node.say(r#"[{"broadcast":"heard"}]"#).await;
    assert_eq!(read(&hears, 1, &mut card).await, ["heard"]);
    drop(hears);
    settle().await;
    // The secret alone is not enough for somebody else.
    let (_eve, arrival) = back(who("eve", Capabilities::ALL), card.since).await;
    assert_eq!(arrival, ClientArrival::Gap(Gap::UnknownConnection));
}

#[tokio::test]
async fn a_user_with_too_many_connections_replaces_nobody() {
    let limits = Limits { user_connections_max: 1, ..Limits::default() };
    let node = with(limits, |party| party.retention = settings(&Limits::default(), "1m")).await;
    let of = |id: &str, user: &str| {
        let claims = format!(r#"{{"sub":"{user}"}}"#);
        let identity = Some(Identity::new(claims, Capabilities::ALL, None));
        ConnectingClient { identity, ..new(id) }
    };
    let _ada = node.arrive(of("a", "ada")).await;
    let bob = node.arrive(of("b", "bob")).await;
    let entrance = node.rooms.entrance(&lobby()).unwrap();
    let outboxes = node.rooms.outboxes();
    let to = (&outboxes, ConnectionKey(0));
    let refused = within(node.rooms.connect(&entrance, of("b", "ada"), to)).await;
    assert!(matches!(refused, Err(Unreachable::Room(RoomError::UserFull(1)))));
    node.say(r#"[{"broadcast":"still here"}]"#).await;
    settle().await;
    assert!(bob.take(9).iter().any(|item| matches!(item, OutboxItem::Entry(_))), "bob is still in");
    // His own connection is no reason to refuse him.
    node.arrive(of("b", "bob")).await;
}

#[tokio::test]
async fn a_second_transport_with_the_secret_takes_the_connection_over() {
    let node = node().await;
    let (old, mut card) = node.meet("a").await;
    node.say(r#"[{"broadcast":"1"}]"#).await;
    assert_eq!(read(&old, 1, &mut card).await, ["1"]);
    let (new, arrival) = node.back("a", card).await;
    assert_eq!(arrival, ClientArrival::Resumed);
    assert!(
        matches!(&heard(&old, 1).await[..], [OutboxItem::Goodbye(frame)] if frame.code == 4409)
    );
    // What the old transport reports is late.
    old.joined.failed("late".to_owned());
    old.joined.ended(Ending { frame: CloseFrame::new(1000, ""), handshake: CloseHandshake::Clean });
    drop(old);
    node.say(r#"[{"broadcast":"2"}]"#).await;
    assert_eq!(read(&new, 1, &mut card).await, ["2"]);
    assert_eq!(node.events().await, ["connect a"]);
}

#[tokio::test]
async fn outputs_that_the_gate_holds_reach_a_client_that_comes_back_once() {
    let node = node().await;
    let (a, mut card) = node.meet("a").await;
    let b = node.connect("b").await;
    drop(a);
    settle().await;
    tell(&b, r#"[{"broadcast":"durable"}]"#).await;
    heard(&b, 1).await;
    node.disk.hold();
    tell(&b, r#"[{"put":["k",1]},{"broadcast":"held"}]"#).await;
    node.held().await;
    let mut coming = std::pin::pin!(node.back("a", card));
    assert!(futures_util::poll!(coming.as_mut()).is_pending());
    settle().await;
    tell(&b, r#"[{"broadcast":"after"}]"#).await;
    settle().await;
    assert!(futures_util::poll!(coming.as_mut()).is_pending(), "it is let in behind the gate");
    node.disk.work();
    let (a, arrival) = coming.await;
    assert_eq!(arrival, ClientArrival::Resumed);
    assert_eq!(read(&a, 3, &mut card).await, ["durable", "held", "after"]);
    assert_eq!(a.take(9), []);
}

#[tokio::test]
async fn outputs_that_the_disk_lost_never_reach_a_client_that_comes_back() {
    let node = node().await;
    let (a, card) = node.meet("a").await;
    let b = node.connect("b").await;
    drop(a);
    settle().await;
    node.disk.hold();
    tell(&b, r#"[{"put":["k",1]},{"broadcast":"lost"}]"#).await;
    node.held().await;
    let mut coming = std::pin::pin!(async {
        let entrance = node.rooms.entrance(&lobby()).unwrap();
        let outboxes = node.rooms.outboxes();
        let back = returning("a", Some(card.secret), card.since);
        node.rooms.connect(&entrance, back, (&outboxes, ConnectionKey(0))).await.map(drop)
    });
    assert!(futures_util::poll!(coming.as_mut()).is_pending());
    settle().await;
    node.disk.fail();
    assert!(within(coming).await.is_err(), "the room broke, and its connections with it");
    node.disk.work();
    node.works_again().await;
    let (a, arrival) = node.back("a", card).await;
    assert_eq!(arrival, ClientArrival::Gap(Gap::UnknownConnection));
    settle().await;
    assert_eq!(a.take(9), []);
}

#[tokio::test]
async fn a_room_that_forgot_what_a_client_missed_tells_it_of_the_gap() {
    let limits = Limits { history_messages_max: 8, ..Limits::default() };
    let node = with(limits.clone(), |party| party.retention = settings(&limits, "1m")).await;
    let (a, mut card) = node.meet("a").await;
    node.say(r#"[{"broadcast":"1"}]"#).await;
    assert_eq!(read(&a, 1, &mut card).await, ["1"]);
    let early = Card { since: SequenceNumber { seq: card.since.seq - 1, ..card.since }, ..card };
    drop(a);
    settle().await;
    // It missed nothing, although the room has long forgotten the message that it names.
    node.say(r#"[{"send_to":["a","2"]}]"#).await;
    let (a, arrival) = node.back("a", card).await;
    assert_eq!(
        (arrival, read(&a, 1, &mut card).await),
        (ClientArrival::Resumed, vec!["2".to_owned()])
    );
    let b = node.connect("b").await;
    for _ in 0..9 {
        tell(&b, "for b").await;
    }
    heard(&b, 9).await;
    drop(a);
    let (a, arrival) = node.back("a", card).await;
    assert_eq!(arrival, ClientArrival::Resumed);
    assert_eq!(a.take(9), []);
    drop(a);
    let (a, arrival) = node.back("a", early).await;
    assert_eq!(arrival, ClientArrival::Gap(Gap::TooOld));
    // The end of the connection that it cannot have again came before.
    assert_eq!(
        node.events().await,
        [
            "connect a",
            "connect b",
            r#"close a 4409 "replaced by a newer connection with the same id" clean=false state="""#,
            "connect a",
        ]
    );
    drop(a);
}

#[tokio::test]
async fn an_away_connection_survives_hibernation_and_new_code() {
    let limits = Limits { rooms_active_max: 1, ..Limits::default() };
    let node = with(limits.clone(), |party| {
        (party.retention, party.when_quiet) = (settings(&limits, "1m"), WhenQuiet::Hibernate);
    });
    let node = node.await;
    let (a, mut card) = node.meet("a").await;
    tell(&a, r#"[{"set_state":"kept"}]"#).await;
    node.say(r#"[{"broadcast":"1"}]"#).await;
    assert_eq!(read(&a, 1, &mut card).await, ["1"]);
    drop(a);
    settle().await;
    node.say(r#"[{"broadcast":"2"}]"#).await;
    let other = RoomId::new(PartyName::parse("main").unwrap(), "other", 256).unwrap();
    let entrance = node.rooms.entrance(&other).unwrap();
    within(node.rooms.request(&entrance, post("[]"), BodyDelivery::Whole)).await.unwrap();
    let mut parties = node.parties();
    for party in parties.values_mut() {
        party.code.vars = Arc::from([("VERSION".to_owned(), "2".to_owned())]);
    }
    within(node.rooms.deploy(parties)).await.unwrap();
    node.say(r#"[{"broadcast":"3"}]"#).await;
    let (a, arrival) = node.back("a", card).await;
    assert_eq!(arrival, ClientArrival::Resumed);
    assert_eq!(read(&a, 2, &mut card).await, ["2", "3"]);
    tell(&a, r#"["state"]"#).await;
    assert_eq!(read(&a, 1, &mut card).await, [r#""kept""#]);
}

#[tokio::test]
async fn a_deployment_without_resume_ends_the_connections_that_are_away() {
    let node = node().await;
    let (a, card) = node.meet("a").await;
    drop(a);
    settle().await;
    let mut parties = node.parties();
    parties.values_mut().for_each(|party| party.retention = None);
    within(node.rooms.deploy(parties)).await.unwrap();
    assert_eq!(node.noted("close a").await, r#"close a 1006 "" clean=false state="""#);
    let client = node.arrive(returning("a", Some(card.secret), card.since)).await;
    let told = welcome(&client).await;
    assert_eq!(told.arrival, ClientArrival::Gap(Gap::UnknownConnection));
    assert_eq!((told.at, told.resume_ms), (None, 0));
    tell(&client, "plain").await;
    assert_eq!(heard(&client, 1).await, [text("plain")]);
    drop(client);
    node.noted(r#"close a 1006 "" clean=false state="""#).await;
}

#[tokio::test]
async fn a_room_may_close_a_connection_whose_client_is_away() {
    let node = node().await;
    let (a, card) = node.meet("a").await;
    drop(a);
    settle().await;
    node.say(r#"[{"close_other":["a",4000,"out"]}]"#).await;
    assert_eq!(node.noted("close a").await, r#"close a 1006 "" clean=false state="""#);
    let (_a, arrival) = node.back("a", card).await;
    assert_eq!(arrival, ClientArrival::Gap(Gap::UnknownConnection));
}

#[tokio::test]
async fn a_node_without_memory_for_it_ends_the_connection_of_a_client_that_leaves() {
    let limits = Limits {
        history_node_bytes_max: 12 * 1024,
        connection_state_bytes_max: 64 * 1024,
        ..Limits::default()
    };
    let node = with(limits.clone(), |party| party.retention = settings(&limits, "1m")).await;
    let (small, _card) = node.meet("small").await;
    let (large, _card) = node.meet("large").await;
    let state = "x".repeat(16 * 1024);
    tell(&large, &format!(r#"[{{"set_state":"{state}"}},{{"say":"set"}}]"#)).await;
    heard(&large, 1).await;
    drop((small, large));
    assert!(node.noted("close large").await.starts_with("close large 1006"));
    let closes = node.events().await.into_iter().filter(|own| own.starts_with("close")).count();
    assert_eq!(closes, 1);
}

#[tokio::test]
async fn a_new_client_may_read_what_was_sent_before_and_misses_nothing_after_it() {
    let node = node().await;
    let b = node.connect("b").await;
    for text in ["1", "2", "3"] {
        tell(&b, &format!(r#"[{{"broadcast":"{text}"}},{{"say":"for b"}}]"#)).await;
    }
    heard(&b, 6).await;
    node.disk.hold();
    tell(&b, r#"[{"put":["k",1]},{"broadcast":"4"}]"#).await;
    node.held().await;
    let asked = ConnectingClient { rewind: Some(Rewind::Messages(3)), ..new("late") };
    let mut coming = std::pin::pin!(node.arrive(asked));
    assert!(futures_util::poll!(coming.as_mut()).is_pending());
    settle().await;
    tell(&b, r#"[{"broadcast":"5"}]"#).await;
    node.disk.work();
    let late = coming.await;
    let told = welcome(&late).await;
    let mut card = Card { secret: told.secret, since: SequenceNumber::default() };
    assert_eq!(read(&late, 4, &mut card).await, ["2", "3", "4", "5"]);
    assert!(told.at.unwrap() < card.since);
    // A client without a secret gets the same, without a welcome.
    let plain = ConnectingClient { rewind: Some(Rewind::Since(told.at.unwrap())), ..visitor("c") };
    let plain = node.arrive(plain).await;
    let mut since = Card { since: told.at.unwrap(), ..card };
    assert_eq!(read(&plain, 1, &mut since).await, ["5"]);
    let gap = ConnectingClient {
        rewind: Some(Rewind::Since(SequenceNumber { epoch: 1, seq: 1 })),
        ..new("d")
    };
    assert_eq!(welcome(&node.arrive(gap).await).await.arrival, ClientArrival::Gap(Gap::TooOld));
}

#[tokio::test]
async fn a_party_that_remembers_nothing_sends_messages_without_ids() {
    let node = TestNode::start().await;
    let a = node.arrive(new("a")).await;
    let told = welcome(&a).await;
    assert_eq!((told.at, told.resume_ms, told.arrival), (None, 0, ClientArrival::New));
    tell(&a, "hi").await;
    assert_eq!(heard(&a, 1).await, [text("hi")]);
    drop(a);
    assert!(node.noted("close a").await.starts_with("close a 1006"));
}

#[tokio::test]
async fn a_room_with_a_client_away_stays_in_memory_and_forgets_all_when_it_leaves() {
    let limits = Limits { idle_evict_ms: 50, ..Limits::default() };
    let node = with(limits.clone(), |party| party.retention = settings(&limits, "1s")).await;
    let (a, card) = node.meet("a").await;
    node.say(r#"[{"broadcast":"1"}]"#).await;
    drop(a);
    settle().await;
    let left = async {
        while node.rooms.count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(left).await;
    let asked = ConnectingClient { rewind: Some(Rewind::Since(card.since)), ..new("b") };
    let b = node.arrive(asked).await;
    assert!(matches!(welcome(&b).await.arrival, ClientArrival::Gap(Gap::TooOld)));
    assert_eq!(node.events().await[..2], ["connect a", r#"close a 1006 "" clean=false state="""#]);
}
