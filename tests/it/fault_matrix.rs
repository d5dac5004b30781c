//! Every fault in every callback, while other rooms are busy: it costs its turn and affects no other room.

use room_runtime::Limits;
use room_tests::{Got, RawClient, Requests, Setup, TestClient, TestNode, until};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Whether a fault costs the room's instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instance {
    Lost,
    Kept,
}

/// The limit of one message; a turn may send four times the bytes. It is small, so that exceeding it takes little
/// time.
const MESSAGE_BYTES: u64 = 64 << 10;

/// Returns the faults of a guest, with their cost and the text that the author reads.
fn faults() -> Vec<(Value, Instance, &'static str)> {
    let mib = 1 << 20;
    vec![
        (json!("trap"), Instance::Lost, "the guest trapped"),
        (json!({"panic": "ouch"}), Instance::Lost, "the guest trapped"),
        (json!("loop"), Instance::Lost, "turn_ms_max"),
        (json!("alloc"), Instance::Lost, "memory_bytes_max"),
        (json!("ask_too_much"), Instance::Lost, "memory_bytes_max"),
        (json!("recurse"), Instance::Lost, "stack_bytes_max"),
        (json!("recurse_wide"), Instance::Lost, "out of bounds memory access"),
        (json!({"exit": 0}), Instance::Lost, "exit"),
        (json!({"sleep": 60_000}), Instance::Lost, "turn_wall_ms_max"),
        (json!({"err": "no"}), Instance::Kept, "no"),
        (json!("flood"), Instance::Kept, "turn_sends_max"),
        (json!({"broadcast_bytes": MESSAGE_BYTES + 1}), Instance::Kept, "room_message_bytes_max"),
        (json!({"broadcast_often": [5, MESSAGE_BYTES]}), Instance::Kept, "turn_send_bytes_max"),
        (json!({"put_bytes": ["big", mib + 1]}), Instance::Kept, "value_bytes_max"),
        (json!({"put_many_bytes": [9, mib]}), Instance::Kept, "turn_write_bytes_max"),
        (json!({"put_many": 5_001}), Instance::Kept, "turn_writes_max"),
    ]
}

/// Returns a turn that has effects before it fails. No client may ever see them.
fn doomed(fault: &Value) -> Value {
    json!([
        {"put": ["lost", 1]}, {"delete": "before"}, {"broadcast": "lost"}, {"alarm_in": 0},
        {"timer_in": [0, "lost"]},
        {"close_other": ["witness", 4000, "lost"]}, fault,
    ])
}

async fn node(limits: impl FnOnce(&mut Limits)) -> TestNode {
    // Normal work comes nowhere near these limits, however busy the machine is: neighbours may fail for nothing but
    // the fault beside them.
    let quick = |limits: &mut Limits| {
        (limits.turn_ms_max, limits.turn_wall_ms_max) = (1_000, 5_000);
        (limits.connect_ms_max, limits.request_ms_max) = (60_000, 60_000);
        limits.room_message_bytes_max = MESSAGE_BYTES;
        limits.turn_send_bytes_max = 4 * MESSAGE_BYTES;
        (limits.turn_sends_max, limits.turn_writes_max) = (1_000, 5_000);
        limits.alarm_retry_ms_min = 5;
    };
    Setup::memory().limits(quick).limits(limits).start().await
}

/// Rooms that are busy as long as this exists: in each a client that counts durably, with several messages in flight,
/// and one that listens.
struct Neighbours {
    stop: watch::Sender<bool>,
    busy: Vec<JoinHandle<()>>,
}

impl Neighbours {
    const ROOMS: u32 = 3;
    const IN_FLIGHT: u64 = 8;

    async fn start(node: &TestNode) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut busy = Vec::new();
        for n in 0..Self::ROOMS {
            let speaker = node.connect(&format!("neighbour-{n}?_pk=speaker&quiet=1")).await;
            let listener = node.connect(&format!("neighbour-{n}?_pk=listener&quiet=1")).await;
            busy.push(tokio::spawn(Self::talk(speaker, listener, stopped.clone())));
        }
        Self { stop, busy }
    }

    /// Counts, and checks that both clients receive every number once and in order.
    async fn talk(mut speaker: TestClient, mut listener: TestClient, stop: watch::Receiver<bool>) {
        let (mut sent, mut heard) = (0, 0);
        while !*stop.borrow() && stop.has_changed().is_ok() {
            while sent < heard + Self::IN_FLIGHT {
                sent += 1;
                let number = sent.to_string();
                speaker.tell(json!([{"add": "n"}, {"broadcast": number}])).await;
            }
            heard += 1;
            let number = heard.to_string();
            assert_eq!(speaker.text().await, number, "what is stored");
            assert_eq!(speaker.text().await, number, "what the speaker hears");
            assert_eq!(listener.text().await, number, "what the listener hears");
        }
        for number in heard + 1..=sent {
            let number = number.to_string();
            assert_eq!([speaker.text().await, speaker.text().await], [&*number, &*number]);
            assert_eq!(listener.text().await, number);
        }
        assert_eq!(speaker.ask(json!([{"get": "n"}])).await, sent.to_string());
    }

    /// Ends them, and fails if one of them missed anything.
    async fn all_is_well(self) {
        assert_eq!(self.stop.send(true), Ok(()), "a neighbour gave up");
        for talk in self.busy {
            talk.await.unwrap();
        }
    }
}

/// One case: a room with a witness, who stays, and an actor, who causes the callback.
struct Case<'a> {
    node: &'a TestNode,
    room: String,
    witness: TestClient,
    actor: TestClient,
}

impl<'a> Case<'a> {
    async fn open(node: &'a TestNode, room: String) -> Self {
        let witness = node.connect(&format!("{room}?_pk=witness&state=kept&quiet=1")).await;
        let actor = node.connect(&format!("{room}?_pk=actor&quiet=1")).await;
        Self { node, room, witness, actor }
    }

    /// Stores something, and makes the callback fail the next so many times.
    async fn plan(&mut self, callback: &str, times: u32, fault: &Value) {
        let plan = json!([{"put": ["before", 1]}, {"plan": [callback, times, doomed(fault)]}, {"say": "planned"}]);
        assert_eq!(self.witness.ask(plan).await, "planned");
    }

    /// Sends a script as a request, which fails with these words.
    async fn fails(&self, script: Value, words: &str) {
        let reply = self.node.post(&self.room, &script).await;
        assert_eq!(reply.status, 500, "{}: {}", self.room, reply.text());
        assert!(reply.text().contains(words), "{}: {}", self.room, reply.text());
    }

    /// Causes the callback, and checks the answer to its caller.
    async fn trigger(&mut self, callback: &str, words: &str) {
        match callback {
            "on_start" => {
                self.fails(json!([{"panic": "the next event meets a new instance"}]), "trap").await;
                self.fails(json!([]), words).await;
            }
            "tags" | "on_connect" => {
                let mut late = self.node.connect(&format!("{}?_pk=late&quiet=1", self.room)).await;
                // A close frame's reason is too short for all of the words.
                assert_eq!(late.closed().await.0, 1011);
            }
            "on_message" => self.actor.tell(json!([{"say": "lost"}])).await,
            "on_request" => self.fails(json!([{"say": "lost"}]), words).await,
            "on_alarm" => {
                self.actor.tell(json!([{"alarm_in": 1}])).await;
                // The node retries the failed alarm, once the plan is spent.
                assert_eq!(self.witness.text().await, "alarm");
                assert_eq!(self.actor.text().await, "alarm");
            }
            "on_timer" => {
                self.actor.tell(json!([{"timer_in": [1, "again"]}])).await;
                // The node retries the failed timer, once the plan is spent.
                assert_eq!(self.witness.text().await, "timer again");
                assert_eq!(self.actor.text().await, "timer again");
            }
            "on_tick" => {
                self.actor.tell(json!([{"tick": 10}])).await;
                // The ticks continue after the failed one, until they are stopped.
                assert!(self.witness.text().await.starts_with("tick "));
                self.actor.tell(json!(["stop_ticks", {"broadcast": "stopped"}])).await;
                for client in [&mut self.witness, &mut self.actor] {
                    while client.text().await != "stopped" {}
                }
            }
            "on_error" => {
                self.actor.try_send(&"x".repeat((1 << 20) + 1)).await;
                self.gone(1009).await;
            }
            "on_stream_close" => {
                let path = format!("/parties/main/{}/stream", self.room);
                let mut reader = RawClient::open(self.node.addr()).await;
                reader.write(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
                assert!(reader.head().await.starts_with("HTTP/1.1 200"));
                drop(reader);
                until("the end of the response", async || {
                    self.node.report(&self.room).await["streams"] == json!([])
                })
                .await;
            }
            "on_close" => {
                self.actor.close(Some((4001, "bye"))).await;
                self.gone(4001).await;
            }
            other => panic!("no callback {other}"),
        }
    }

    /// Waits until the actor's connection has ended with this code and the room knows.
    async fn gone(&mut self, code: u16) {
        let got = self.actor.recv().await;
        assert!(matches!(got, Got::Close(with, _) if with == code), "{got:?}");
        until("the actor to leave", async || {
            let report = self.node.report(&self.room).await;
            report["connections"].as_array().is_some_and(|connections| connections.len() == 1)
        })
        .await;
    }

    /// Checks that each client is still connected and received nothing, and that storage is unchanged.
    async fn is_as_before(&mut self, callback: &str) {
        assert_eq!(self.witness.echo("next").await, "next");
        assert_eq!(self.witness.ask(json!(["state"])).await, r#""kept""#);
        let report = self.node.report(&self.room).await;
        assert_eq!(report["keys"], json!(["before"]));
        assert_eq!(report["alarm"], Value::Null);
        let ids = report["connections"].as_array().into_iter().flatten();
        let ids: Vec<&Value> = ids.map(|connection| &connection["id"]).collect();
        if matches!(callback, "on_close" | "on_error") {
            assert_eq!(ids, ["witness"]);
        } else {
            assert_eq!(ids, ["witness", "actor"]);
            assert_eq!(self.actor.echo("next").await, "next");
        }
    }
}

/// Makes every fault happen in a callback, each in a room of its own.
async fn each_costs_only_its_turn(callback: &str) {
    let node = node(|_| {}).await;
    let neighbours = Neighbours::start(&node).await;
    // Faults that sleep run beside the others, as each takes as long as `turn_wall_ms_max`.
    let (asleep, awake): (Vec<_>, Vec<_>) =
        faults().into_iter().enumerate().partition(|(_, (fault, ..))| fault.get("sleep").is_some());
    futures_util::join!(in_a_row(&node, callback, asleep), in_a_row(&node, callback, awake));
    neighbours.all_is_well().await;
}

/// Makes these faults happen in a callback, one after the other.
async fn in_a_row(
    node: &TestNode,
    callback: &str,
    faults: Vec<(usize, (Value, Instance, &'static str))>,
) {
    for (number, (fault, instance, words)) in faults {
        let mut case = Case::open(node, format!("room-{number}")).await;
        case.plan(callback, 1, &fault).await;
        case.trigger(callback, words).await;
        case.is_as_before(callback).await;
        // An instance that could not start is gone, whatever the fault.
        let again = instance == Instance::Lost || callback == "on_start";
        let report = node.report(&case.room).await;
        assert_eq!(report["starts"], if again { 2 } else { 1 }, "{fault}");
        if callback == "on_error" {
            // The callback after it has its own turn.
            assert!(
                report["events"][0]
                    .as_str()
                    .is_some_and(|event| event.contains("close actor 1009"))
            );
        }
    }
}

#[tokio::test]
async fn every_fault_in_on_start_costs_only_its_turn() {
    each_costs_only_its_turn("on_start").await;
}

#[tokio::test]
async fn every_fault_in_tags_costs_only_its_turn() {
    each_costs_only_its_turn("tags").await;
}

#[tokio::test]
async fn every_fault_in_on_connect_costs_only_its_turn() {
    each_costs_only_its_turn("on_connect").await;
}

#[tokio::test]
async fn every_fault_in_on_message_costs_only_its_turn() {
    each_costs_only_its_turn("on_message").await;
}

#[tokio::test]
async fn every_fault_in_on_request_costs_only_its_turn() {
    each_costs_only_its_turn("on_request").await;
}

#[tokio::test]
async fn every_fault_in_on_alarm_costs_only_its_turn() {
    each_costs_only_its_turn("on_alarm").await;
}

#[tokio::test]
async fn every_fault_in_on_timer_costs_only_its_turn() {
    each_costs_only_its_turn("on_timer").await;
}

#[tokio::test]
async fn every_fault_in_on_tick_costs_only_its_turn() {
    each_costs_only_its_turn("on_tick").await;
}

#[tokio::test]
async fn every_fault_in_on_stream_close_costs_only_its_turn() {
    each_costs_only_its_turn("on_stream_close").await;
}

#[tokio::test]
async fn every_fault_in_on_error_costs_only_its_turn() {
    each_costs_only_its_turn("on_error").await;
}

#[tokio::test]
async fn every_fault_in_on_close_costs_only_its_turn() {
    each_costs_only_its_turn("on_close").await;
}

/// Faults in a row that give a room a rest.
const IN_A_ROW: u32 = 3;

/// Repeats a fault: the room rests, reports it, and recovers by itself.
async fn rests_and_recovers(node: &TestNode, callback: &str, number: usize) {
    let (fault, _, words) = faults().swap_remove(number);
    let mut case = Case::open(node, format!("{callback}-{number}")).await;
    case.plan(callback, IN_A_ROW, &fault).await;
    if callback == "on_start" {
        // This fault counts, too, so the plan is not spent when the rest starts.
        case.fails(json!([{"panic": "the next event meets a new instance"}]), "trap").await;
    }
    let more = if callback == "on_start" { IN_A_ROW - 1 } else { IN_A_ROW };
    for _ in 0..more {
        case.fails(json!([]), words).await;
    }
    case.fails(json!([]), "the room failed repeatedly and rests").await;
    // A dropped message has no other sign. A silent client stays connected.
    let mut talker = case.actor;
    talker.tell(json!([{"say": "lost"}])).await;
    assert_eq!(talker.closed().await.0, 1013);
    until("the room to recover", async || {
        node.get(&format!("/party/{}", case.room)).await.status == 200
    })
    .await;
    assert_eq!(case.witness.echo("still here").await, "still here");
    assert_eq!(case.witness.ask(json!(["state"])).await, r#""kept""#);
    assert_eq!(node.report(&case.room).await["keys"], json!(["before"]));
}

#[tokio::test]
async fn repeated_faults_of_each_kind_break_the_room_until_its_rest_ends() {
    let patient = |limits: &mut Limits| {
        (limits.faults_max, limits.fault_window_ms) = (u64::from(IN_A_ROW), 60_000);
        // All rooms fail at the same time: no room ends its rest before the test has checked it.
        (limits.broken_ms_min, limits.broken_ms_max) = (8_000, 8_000);
        // All rooms fail at the same time, and wait for one another.
        limits.turn_wall_ms_max = 60_000;
    };
    let node = node(patient).await;
    let neighbours = Neighbours::start(&node).await;
    let lost = faults().into_iter().enumerate().filter(|(_, (fault, instance, _))| {
        // A fault that only returns an error keeps its instance and never counts. Sleeping takes too long.
        *instance == Instance::Lost && fault.get("sleep").is_none()
    });
    let cases: Vec<_> = lost
        .flat_map(|(number, _)| [("on_request", number), ("on_start", number)])
        .map(|(callback, number)| rests_and_recovers(&node, callback, number))
        .collect();
    futures_util::future::join_all(cases).await;
    neighbours.all_is_well().await;
}

#[tokio::test]
async fn a_memory_leak_costs_the_turn_at_the_limit_and_the_instance() {
    let node = node(|_| {}).await;
    let neighbours = Neighbours::start(&node).await;
    let mut client = node.connect("lobby?quiet=1").await;
    let mut counted = 0_u32;
    for turn in 0..50 {
        client.tell(json!([{"add": "n"}, {"leak": 4 << 20}])).await;
        client.send(format!("after {turn}")).await;
        let said = client.text().await;
        if said == format!("after {turn}") {
            continue;
        }
        counted += 1;
        assert_eq!(said, counted.to_string(), "a completed turn counts once");
        assert_eq!(client.text().await, format!("after {turn}"));
    }
    assert_eq!(client.ask(json!([{"get": "n"}])).await, counted.to_string());
    let report = node.report("lobby").await;
    let faults = 50 - counted;
    assert!((2..=10).contains(&faults), "{faults} faults in 50 turns");
    assert_eq!(report["starts"], 1 + faults);
    neighbours.all_is_well().await;
}
