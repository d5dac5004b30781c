//! What leaves a room, and when: with a real guest, and a disk that waits or fails.

mod build;
mod deliveries;
mod numbers;
mod posts;
mod presence;
mod requests;
mod returns;
mod shards;
mod streams;
mod timers;
mod webhooks;

use super::*;
use crate::room::{ConnectingClient, ConnectionKey, JoinedConnection, OutboxItem, Outboxes};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use room_core::connection::Transport;
use room_core::event::{BodyDelivery, CloseFrame, Message, Request};
use room_core::id::ConnectionId;
use room_core::limits::Limits;
use room_core::logs::{LogFilter, LogLevel, WatchStart, WatchedLines};
use room_core::metrics::Metrics;
use room_store::RoomContent;
use room_store::testing::Disk;
use std::time::Duration;

/// Rooms that run the puppet, on a disk that obeys the test.
struct TestNode {
    rooms: Rooms,
    disk: Disk,
    metrics: Metrics,
}

impl TestNode {
    async fn connect(&self, id: &str) -> Client {
        let entrance = self.rooms.entrance(&lobby()).unwrap();
        self.enter(&entrance, id).await.unwrap()
    }

    /// Lets a client in, unless the code or the settings have changed since the entrance was taken.
    async fn enter(&self, entrance: &RoomEntrance, id: &str) -> Option<Client> {
        let outboxes = self.rooms.outboxes();
        let to = (&outboxes, ConnectionKey(0));
        let joined = within(self.rooms.connect(entrance, visitor(id), to)).await.unwrap()?;
        Some(Client { joined, outboxes })
    }

    async fn request(&self, script: &str) -> Result<String, Unreachable> {
        let entrance = self.rooms.entrance(&lobby())?;
        let asked = self.rooms.request(&entrance, post(script), BodyDelivery::Whole);
        let response = within(asked).await?.unwrap().whole().unwrap();
        Ok(String::from_utf8_lossy(&response.body).into_owned())
    }

    /// Returns the parties of the last deployment.
    fn parties(&self) -> HashMap<PartyName, Party> {
        let state = self.rooms.state();
        state.parties.iter().map(|(name, party)| (name.clone(), (**party).clone())).collect()
    }

    /// Waits until a commit waits for the disk, and every output that does not depend on it has left.
    async fn held(&self) {
        let waits = async {
            while !self.disk.is_waited_for() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within(waits).await;
        settle().await;
    }

    /// Waits until the store has found out by itself that its disk works again.
    async fn works_again(&self) {
        let waits = async {
            while self.rooms.storage_failure().is_some() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within(waits).await;
    }
}

/// A client that is connected to the lobby.
struct Client {
    joined: JoinedConnection,
    outboxes: Outboxes,
}

impl Client {
    /// Takes the room's outputs to it, at most `max`.
    fn take(&self, max: usize) -> Vec<OutboxItem> {
        let mut said = Vec::new();
        self.outboxes.take(max, &mut said);
        said
    }
}

/// Runs every task that can run: the test's runtime has one thread.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap()
}

fn lobby() -> RoomId {
    RoomId::new(PartyName::parse("main").unwrap(), "lobby", 256).unwrap()
}

fn post(script: &str) -> Request {
    Request {
        method: "POST".to_owned(),
        uri: "http://localhost/parties/main/lobby".to_owned(),
        headers: Vec::new(),
        body: Bytes::copy_from_slice(script.as_bytes()),
    }
}

fn visitor(id: &str) -> ConnectingClient {
    let request = Request { method: "GET".to_owned(), ..post("") };
    let id = ConnectionId::parse(id, 256).unwrap();
    ConnectingClient {
        id,
        request,
        transport: Transport::WebSocket,
        identity: None,
        secret: None,
        returning: None,
        rewind: None,
    }
}

async fn tell(client: &Client, text: &str) {
    within(client.joined.message(Message::text(text))).await.unwrap();
}

/// Returns the next `count` outputs.
async fn heard(client: &Client, count: usize) -> Vec<OutboxItem> {
    let mut said = Vec::new();
    while said.len() < count {
        within(client.outboxes.next(count - said.len(), &mut said)).await;
    }
    said
}

fn text(text: &str) -> OutboxItem {
    OutboxItem::Message(Message::text(text))
}

#[tokio::test]
async fn no_output_leaves_before_the_writes_it_depends_on_are_durable() {
    let node = TestNode::start().await;
    let (a, b) = (node.connect("a").await, node.connect("b").await);
    tell(&a, "free").await;
    assert_eq!(heard(&a, 1).await, [text("free")]);
    node.disk.hold();
    tell(&a, r#"[{"put":["k",1]},{"say":"wrote"},{"broadcast":"to all"}]"#).await;
    tell(&a, "behind").await;
    tell(&a, r#"[{"close":[4000,"bye"]}]"#).await;
    node.held().await;
    assert_eq!((a.take(9), b.take(9)), (Vec::new(), Vec::new()));
    node.disk.work();
    let bye = OutboxItem::Goodbye(CloseFrame::new(4000, "bye"));
    let all = [text("wrote"), text("to all"), text("behind"), bye];
    assert_eq!(heard(&a, 4).await, all);
    assert_eq!(heard(&b, 1).await, [text("to all")]);
}

#[tokio::test]
async fn a_watcher_sees_an_output_only_once_it_is_durable() {
    let node = TestNode::start().await;
    let mut tap = node.rooms.taps().watch(lobby()).unwrap();
    let mut passed = || {
        let batches = std::iter::from_fn(|| tap.read()).flat_map(|batch| batch.passed);
        let told = |one: &crate::taps::TapEvent| {
            let one = serde_json::to_value(one).unwrap();
            let word = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", word("direction"), word("kind"), word("text"))
        };
        batches.map(|one| told(&one)).collect::<Vec<_>>()
    };
    let a = node.connect("a").await;
    assert_eq!(passed(), ["in open "]);
    node.disk.hold();
    tell(&a, r#"[{"put":["k",1]},{"say":"wrote"}]"#).await;
    tell(&a, r#"[{"close":[4000,"bye"]}]"#).await;
    node.held().await;
    let mut joining = std::pin::pin!(node.connect("late"));
    assert!(futures_util::poll!(joining.as_mut()).is_pending());
    settle().await;
    assert_eq!(
        passed(),
        [r#"in text [{"put":["k",1]},{"say":"wrote"}]"#, r#"in text [{"close":[4000,"bye"]}]"#]
    );
    node.disk.work();
    joining.await;
    assert_eq!(passed(), ["out text wrote", "out close bye", "in open "]);
}

#[tokio::test]
async fn a_watcher_never_sees_a_lost_output() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    let mut tap = node.rooms.taps().watch(lobby()).unwrap();
    node.disk.hold();
    tell(&a, r#"[{"put":["k",1]},{"say":"never said"}]"#).await;
    node.held().await;
    node.disk.fail();
    let mut seen = String::new();
    while !seen.contains("\"fault\"") {
        assert!(within(tap.wait()).await);
        let passed = tap.read().unwrap().passed;
        seen +=
            &passed.iter().map(|one| serde_json::to_string(&**one).unwrap()).collect::<String>();
    }
    assert!(!seen.contains("\"text\":\"never said\""), "{seen}");
}

#[tokio::test]
async fn responses_and_handshakes_wait_for_the_disk() {
    let node = TestNode::start().await;
    let _first = node.connect("first").await;
    node.disk.hold();
    let mut asked = std::pin::pin!(node.request(r#"[{"add":"n"}]"#));
    let mut joining = std::pin::pin!(node.connect("late"));
    for _ in 0..100 {
        assert!(futures_util::poll!(asked.as_mut()).is_pending());
        assert!(futures_util::poll!(joining.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    node.held().await;
    assert!(futures_util::poll!(asked.as_mut()).is_pending());
    assert!(futures_util::poll!(joining.as_mut()).is_pending());
    node.disk.work();
    assert_eq!(asked.await, Ok(r#"["1"]"#.to_owned()));
    joining.await;
}

#[tokio::test]
async fn a_room_runs_its_next_turn_while_the_disk_is_busy() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    node.disk.hold();
    for _ in 0..10 {
        tell(&a, r#"[{"add":"n"}]"#).await;
    }
    node.held().await;
    assert_eq!(a.take(9), []);
    node.disk.work();
    let sums: Vec<OutboxItem> = (1..=10).map(|sum| text(&sum.to_string())).collect();
    assert_eq!(heard(&a, 10).await, sums);
}

#[tokio::test]
async fn outputs_of_a_failed_flush_are_never_sent() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    assert_eq!(node.request(r#"[{"put":["kept",1]}]"#).await, Ok("[]".to_owned()));
    node.disk.hold();
    tell(&a, r#"[{"put":["lost",1]},{"say":"lost"}]"#).await;
    tell(&a, "behind").await;
    let mut asked = std::pin::pin!(node.request(r#"[{"list":{}}]"#));
    assert!(futures_util::poll!(asked.as_mut()).is_pending());
    node.held().await;
    node.disk.fail();
    let end = OutboxItem::Goodbye(CloseFrame::new(1011, "the room's storage failed"));
    assert_eq!(heard(&a, 1).await, [end]);
    assert!(matches!(asked.await, Err(Unreachable::Room(RoomError::Storage(_)))));
    settle().await;
    assert_eq!(a.take(9), []);
    node.disk.work();
    node.works_again().await;
    // The next activation starts with what the disk has.
    assert_eq!(node.request(r#"[{"list":{}}]"#).await, Ok(r#"["kept"]"#.to_owned()));
}

#[tokio::test]
async fn a_room_with_a_broken_disk_serves_nobody_and_other_rooms_go_on() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    node.disk.fail();
    for _ in 0..3 {
        let refused = node.request(r#"[{"put":["k",1]}]"#).await;
        assert!(matches!(refused, Err(Unreachable::Room(RoomError::Storage(_)))), "{refused:?}");
    }
    assert!(matches!(&heard(&a, 1).await[..], [OutboxItem::Goodbye(frame)] if frame.code == 1011));
    node.disk.work();
    node.works_again().await;
    assert_eq!(node.request(r#"[{"put":["k",1]}]"#).await, Ok("[]".to_owned()));
}

/// Asserts that the node prints this metric's line.
#[track_caller]
fn prints(node: &TestNode, line: &str) {
    node.rooms.measure();
    let text = node.metrics.text();
    assert!(text.contains(&format!("{line}\n")), "{line} is not in\n{text}");
}

#[tokio::test]
async fn a_store_that_fails_shows_in_the_metrics_until_it_works_again() {
    let node = TestNode::start().await;
    let _a = node.connect("a").await;
    prints(&node, "room_store_up 1");
    node.disk.fail();
    assert!(node.request(r#"[{"put":["k",1]}]"#).await.is_err());
    for line in ["room_store_up 0", "room_store_failures_total 1", "room_rooms_broken_total 1"] {
        prints(&node, line);
    }
    // No client gets into a room during that.
    assert!(node.request("[]").await.is_err());
    prints(&node, "room_rooms_broken_total 2");
    node.disk.work();
    node.works_again().await;
    prints(&node, "room_store_up 1");
    assert!(node.request(r#"[{"put":["k",1]}]"#).await.is_ok());
    prints(&node, "room_activations_total 2");
    prints(&node, "room_store_failures_total 1");
}

#[tokio::test]
async fn a_watcher_is_notified_when_its_room_breaks() {
    let node = TestNode::start().await;
    let filter = LogFilter { level: Some(LogLevel::Warn), ..LogFilter::default() };
    let mut watcher = node.rooms.logs().watch(WatchStart::Oldest, filter).unwrap();
    let _a = node.connect("a").await;
    node.disk.fail();
    assert!(node.request(r#"[{"put":["k",1]}]"#).await.is_err());
    assert!(node.request("[]").await.is_err());
    let mut texts = Vec::new();
    while texts.len() < 2 && within(watcher.wait()).await {
        texts.extend(watcher.read().unwrap_or_default().into_iter().map(|seen| match seen {
            WatchedLines::Line(line) => line.text.to_string(),
            seen => panic!("{seen:?}"),
        }));
    }
    assert!(texts[0].starts_with("the room breaks: its storage failed: "), "{texts:?}");
    assert!(texts[1].starts_with("the room does not begin: its storage failed: "), "{texts:?}");
}

#[tokio::test]
async fn outputs_that_wait_for_the_disk_are_counted_and_timed() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    let held = |node: &TestNode| {
        let text = node.metrics.text();
        let count = text.lines().find_map(|line| line.strip_prefix("room_gate_seconds_count "));
        count.unwrap().parse::<u64>().unwrap()
    };
    let before = held(&node);
    tell(&a, "free").await;
    assert_eq!(heard(&a, 1).await, [text("free")]);
    assert_eq!(held(&node), before, "a turn that waits for nothing is not measured");
    node.disk.hold();
    tell(&a, r#"[{"put":["k",1]},{"say":"wrote"}]"#).await;
    tell(&a, "behind").await;
    node.held().await;
    prints(&node, "room_store_waiting_for_disk 1");
    node.disk.work();
    assert_eq!(heard(&a, 2).await, [text("wrote"), text("behind")]);
    prints(&node, "room_store_waiting_for_disk 0");
    assert_eq!(held(&node), before + 2);
}

#[tokio::test]
async fn a_replaced_client_receives_earlier_broadcasts_first() {
    let node = TestNode::start().await;
    let (a, b) = (node.connect("a").await, node.connect("b").await);
    node.disk.hold();
    tell(&b, r#"[{"put":["k",1]},{"broadcast":"to all"}]"#).await;
    let mut again = std::pin::pin!(node.connect("a"));
    for _ in 0..100 {
        assert!(futures_util::poll!(again.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    // Sent after it was replaced, and before it knows.
    tell(&b, r#"[{"broadcast":"to the others"}]"#).await;
    node.held().await;
    assert_eq!(a.take(9), []);
    node.disk.work();
    let replaced = OutboxItem::Goodbye(CloseFrame::new(
        4409,
        "replaced by a newer connection with the same id",
    ));
    assert_eq!(heard(&a, 2).await, [text("to all"), replaced]);
    assert_eq!(heard(&again.await, 1).await, [text("to the others")]);
    assert_eq!(heard(&b, 2).await, [text("to all"), text("to the others")]);
}

#[tokio::test]
async fn an_evicted_room_still_sends_its_held_outputs() {
    let node = TestNode::with(WhenQuiet::Hibernate, 1).await;
    let a = node.connect("a").await;
    node.disk.hold();
    tell(&a, r#"[{"put":["k",1]},{"say":"wrote"}]"#).await;
    node.held().await;
    let other = RoomId::new(PartyName::parse("main").unwrap(), "other", 256).unwrap();
    let entrance = node.rooms.entrance(&other).unwrap();
    let mut asked = std::pin::pin!(node.rooms.request(&entrance, post("[]"), BodyDelivery::Whole));
    for _ in 0..100 {
        // The writes of its own start wait for the disk, too.
        assert!(futures_util::poll!(asked.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(a.take(9), []);
    node.disk.work();
    assert_eq!(heard(&a, 1).await, [text("wrote")]);
    assert!(within(asked).await.is_ok());
    assert_eq!(node.request(r#"[{"get":"~starts"}]"#).await, Ok(r#"["2"]"#.to_owned()));
}

#[tokio::test]
async fn draining_waits_for_held_outputs() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    node.disk.hold();
    tell(&a, r#"[{"put":["k",1]},{"say":"wrote"}]"#).await;
    node.held().await;
    let mut draining = std::pin::pin!(node.rooms.drain());
    assert!(futures_util::poll!(draining.as_mut()).is_pending());
    settle().await;
    assert_eq!(a.take(9), []);
    node.disk.work();
    within(draining).await;
    let goodbye = OutboxItem::Goodbye(CloseFrame::new(1012, "the server is shutting down"));
    assert_eq!(heard(&a, 2).await, [text("wrote"), goodbye]);
    assert!(matches!(node.request("[]").await, Err(Unreachable::Room(RoomError::Draining))));
}

/// Returns the content of a room with one key, `imported`.
fn content(room: &RoomId) -> RoomContent {
    let lines = "{\"room-export\":1,\"party\":\"main\",\"room\":\"other\",\"alarm\":null}\n\
                 {\"key\":\"imported\",\"json\":1}\n";
    RoomContent::read(lines.as_bytes(), &Limits::default()).unwrap().renamed(room.clone())
}

/// Reads the keys of the lobby, and how often it has started.
const LOOK: &str = r#"[{"list":{}},{"get":"~starts"}]"#;

#[tokio::test]
async fn visitors_during_an_import_wait_and_find_the_new_content() {
    let node = TestNode::start().await;
    node.disk.hold();
    let mut importing = std::pin::pin!(node.rooms.import(content(&lobby())));
    assert!(futures_util::poll!(importing.as_mut()).is_pending());
    node.held().await;
    let asking: Vec<_> = (0..100).map(|_| Box::pin(node.request(LOOK))).collect();
    let mut asking: FuturesUnordered<_> = asking.into_iter().collect();
    for _ in 0..100 {
        assert!(futures_util::poll!(asking.next()).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(node.rooms.live(), 0);
    assert!(futures_util::poll!(importing.as_mut()).is_pending());
    node.disk.work();
    assert_eq!(within(importing).await, Ok(()));
    while let Some(found) = within(asking.next()).await {
        assert_eq!(found, Ok(r#"["imported","1"]"#.to_owned()));
    }
}

#[tokio::test]
async fn an_import_ends_the_room_first_and_its_clients_are_asked_to_reconnect() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    node.disk.hold();
    tell(&a, r#"[{"put":["old",1]},{"say":"wrote"}]"#).await;
    node.held().await;
    let mut importing = std::pin::pin!(node.rooms.import(content(&lobby())));
    assert!(futures_util::poll!(importing.as_mut()).is_pending());
    let mut asked = std::pin::pin!(node.request(LOOK));
    for _ in 0..100 {
        assert!(futures_util::poll!(asked.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(a.take(9), []);
    node.disk.work();
    // The room finishes what it had started, and its outputs leave before it goes.
    let goodbye = OutboxItem::Goodbye(CloseFrame::new(1012, "the room's storage was replaced"));
    assert_eq!(heard(&a, 2).await, [text("wrote"), goodbye]);
    assert_eq!(within(importing).await, Ok(()));
    assert_eq!(asked.await, Ok(r#"["imported","1"]"#.to_owned()));
    let _back = node.connect("a").await;
}

#[tokio::test]
async fn a_failed_import_changes_nothing_and_the_room_continues() {
    let node = TestNode::start().await;
    assert_eq!(node.request(r#"[{"put":["kept",1]}]"#).await, Ok("[]".to_owned()));
    node.disk.hold();
    let mut importing = std::pin::pin!(node.rooms.import(content(&lobby())));
    assert!(futures_util::poll!(importing.as_mut()).is_pending());
    node.held().await;
    node.disk.fail();
    let failed = within(importing).await;
    assert!(matches!(failed, Err(Unreachable::Room(RoomError::Storage(_)))), "{failed:?}");
    node.disk.work();
    node.works_again().await;
    assert_eq!(node.request(r#"[{"list":{}}]"#).await, Ok(r#"["kept"]"#.to_owned()));
}

#[tokio::test]
async fn an_import_affects_no_other_room_and_leaves_no_old_entry() {
    let node = TestNode::start().await;
    let a = node.connect("a").await;
    let other = RoomId::new(PartyName::parse("main").unwrap(), "other", 256).unwrap();
    assert_eq!(within(node.rooms.import(content(&other))).await, Ok(()));
    tell(&a, "still here").await;
    assert_eq!(heard(&a, 1).await, [text("still here")]);
    settle().await;
    assert_eq!(node.rooms.count(), 1);
    let nobody = RoomId::new(PartyName::parse("nobody").unwrap(), "x", 256).unwrap();
    let refused = within(node.rooms.import(content(&nobody))).await;
    assert_eq!(refused, Err(Unreachable::UnknownParty(nobody.party().clone())));
}

#[tokio::test]
async fn imports_of_one_room_are_serial_and_do_not_block_a_deployment() {
    let node = TestNode::start().await;
    let parties = node.parties();
    node.disk.hold();
    let imports = (0..3).map(|_| node.rooms.import(content(&lobby())));
    let mut imports = std::pin::pin!(futures_util::future::join_all(imports));
    assert!(futures_util::poll!(imports.as_mut()).is_pending());
    node.held().await;
    // A room that waits for its content does not hold up the code of the others.
    assert_eq!(within(node.rooms.deploy(parties)).await, Ok(Reloaded::default()));
    node.disk.work();
    assert_eq!(within(imports).await, [Ok(()), Ok(()), Ok(())]);
    assert_eq!(node.request(LOOK).await, Ok(r#"["imported","1"]"#.to_owned()));
}

#[tokio::test]
async fn the_deployment_that_admits_a_client_is_the_one_its_room_runs() {
    let node = TestNode::start().await;
    let before = node.rooms.entrance(&lobby()).unwrap();
    node.rooms.deploy(node.parties()).await.unwrap();
    // The room does not run yet: it would start with the code that is deployed now.
    assert!(node.enter(&before, "a").await.is_none());
    assert!(node.rooms.request(&before, post("[]"), BodyDelivery::Whole).await.unwrap().is_none());
    assert_eq!(node.rooms.count(), 0, "an entrance that is closed activates nothing");
    let _a = node.connect("a").await;
    // The room runs, and does not know of the deployment yet.
    let spares = node.rooms.0.parts.spares.clone();
    let all = u32::try_from(spares.available_permits()).unwrap();
    let kept = spares.acquire_many(all).await.unwrap();
    let before = node.rooms.entrance(&lobby()).unwrap();
    let mut deploying = std::pin::pin!(node.rooms.deploy(node.parties()));
    assert!(futures_util::poll!(deploying.as_mut()).is_pending());
    assert!(node.enter(&before, "b").await.is_some());
    let other = RoomId::new(PartyName::parse("main").unwrap(), "other", 256).unwrap();
    let newest = node.rooms.entrance(&other).unwrap();
    let leads_to_newest = || {
        let entrance = node.rooms.entrance(&lobby()).unwrap();
        std::ptr::eq(newest.party(), entrance.party())
    };
    assert!(!leads_to_newest());
    assert!(
        within(node.rooms.request(&newest, post("[]"), BodyDelivery::Whole))
            .await
            .unwrap()
            .is_some()
    );
    // From the moment of its report on, the old entrance is closed, and the entrance of all rooms leads to
    // it, too.
    drop(kept);
    within(deploying).await.unwrap();
    assert!(node.enter(&before, "c").await.is_none());
    assert!(leads_to_newest());
    node.connect("c").await;
}
