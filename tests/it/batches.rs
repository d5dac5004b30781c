//! Messages that share a call of the guest: each is a turn of its own all the same.

use room_tests::{
    EventStream, RawClient, Requests, Setup, TestNode, guest, masked, until, variant,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// The part of a backtrace that shows that the guest was called for a batch.
const RUN: &str = "batch@0.1.0#run";

/// Connects a client whose messages can arrive in one piece, and so wait for the room together.
async fn connect(node: &TestNode) -> RawClient {
    RawClient::upgrade(node.addr(), "/parties/main/lobby?_pk=a&quiet=1").await
}

async fn tell(client: &mut RawClient, scripts: &[Value]) {
    let frames = scripts.iter().flat_map(|script| masked(0x81, script.to_string().as_bytes()));
    client.write(&frames.collect::<Vec<_>>()).await;
}

/// Returns the next text, or the code of the close frame.
async fn next(client: &mut RawClient) -> Result<String, Option<u16>> {
    loop {
        match client.frame().await {
            Some(frame) if frame.opcode == 1 => {
                return Ok(String::from_utf8(frame.payload).unwrap());
            }
            Some(frame) if frame.opcode == 8 => return Err(frame.close_code()),
            Some(_) => {}
            None => return Err(None),
        }
    }
}

async fn texts<const COUNT: usize>(client: &mut RawClient) -> [String; COUNT] {
    let mut texts = [const { String::new() }; COUNT];
    for text in &mut texts {
        *text = next(client).await.unwrap();
    }
    texts
}

async fn told(node: &TestNode, method: &str, path: &str, body: &[u8]) -> Value {
    let secret = format!("Bearer {}", node.secret());
    let path = format!("/_room/admin/{path}");
    let reply = node.request(method, &path, &[("authorization", &secret)], body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// Returns the newest fault of the room.
async fn fault(node: &TestNode) -> Value {
    told(node, "GET", "rooms/main/lobby", b"").await["recent_faults"][0].clone()
}

/// Returns a script that says each of these numbers in a turn of its own.
fn numbers(numbers: std::ops::Range<u32>) -> Vec<Value> {
    numbers.map(|number| json!([{"add": "n"}, {"log": format!("turn {number}")}])).collect()
}

#[tokio::test]
async fn a_fault_in_the_middle_costs_its_own_turn_and_none_beside_it() {
    for (fault_of, reason, starts) in [
        (json!("trap"), "the guest trapped", 2),
        (json!({"panic": "ouch"}), "the guest trapped", 2),
        (json!("loop"), "turn_ms_max", 2),
        (json!({"sleep": 60_000}), "turn_wall_ms_max", 2),
        (json!("alloc"), "memory_bytes_max", 2),
        (json!({"err": "no"}), "no", 1),
    ] {
        let quick = |limits: &mut room_runtime::Limits| {
            (limits.turn_ms_max, limits.turn_wall_ms_max) = (1_000, 3_000);
        };
        let node = Setup::memory().limits(quick).start().await;
        let mut client = connect(&node).await;
        let write = |name: &str| json!([{"put": [name, 1]}, {"say": name}]);
        let lost = json!([{"put": ["lost", 1]}, {"say": "lost"}, {"alarm_in": 0}, fault_of]);
        let scripts =
            [write("before"), lost.clone(), write("between"), lost, write("after"), write("last")];
        tell(&mut client, &scripts).await;
        assert_eq!(texts(&mut client).await, ["before", "between", "after", "last"], "{fault_of}");
        let report = node.report("lobby").await;
        assert_eq!(report["keys"], json!(["after", "before", "between", "last"]), "{fault_of}");
        assert_eq!(report["alarm"], Value::Null);
        assert_eq!(report["starts"], 2 * starts - 1, "{fault_of}");
        let seen = fault(&node).await;
        assert_eq!(seen["event"], "message");
        assert!(seen["reason"].as_str().unwrap().contains(reason), "{seen}");
    }
}

#[tokio::test]
async fn messages_that_wait_together_share_a_call() {
    let node = Setup::memory().start().await;
    let mut client = connect(&node).await;
    tell(&mut client, &[json!([{"say": "before"}]), json!(["trap"])]).await;
    assert_eq!(texts(&mut client).await, ["before"]);
    until("the fault to be noted", async || fault(&node).await != Value::Null).await;
    assert!(fault(&node).await["backtrace"].as_str().unwrap().contains(RUN));
}

#[tokio::test]
async fn a_guest_that_asks_for_messages_forever_is_stopped() {
    let quick = |limits: &mut room_runtime::Limits| limits.turn_ms_max = 500;
    let node = Setup::memory().limits(quick).start().await;
    let mut client = connect(&node).await;
    let write = |name: &str| json!([{"put": [name, 1]}, {"say": name}]);
    let forever = json!([{"put": ["asked", 1]}, "next_forever"]);
    let is_stopped = async |faults: u64| {
        let seen = told(&node, "GET", "rooms/main/lobby", b"").await;
        seen["faults"] == faults
            && seen["recent_faults"][0]["reason"].as_str().unwrap().contains("turn_ms_max")
    };
    // In a call for one message there is no other to ask for.
    tell(&mut client, &[json!([{"put": ["lost", 1]}, "next_forever"])]).await;
    until("the guest to be stopped", async || is_stopped(1).await).await;
    // In a call for several it takes the one behind its own, and goes on asking.
    tell(&mut client, &[write("before"), forever, write("taken")]).await;
    assert_eq!(texts(&mut client).await, ["before"]);
    until("the guest to be stopped", async || is_stopped(2).await).await;
    tell(&mut client, &[write("after")]).await;
    assert_eq!(texts(&mut client).await, ["after"]);
    // It asked for the next message in the middle of its callback, which ended that turn well.
    assert_eq!(node.report("lobby").await["keys"], json!(["after", "asked", "before"]));
}

#[tokio::test]
async fn a_module_without_batches_gets_each_message_by_itself() {
    let node = Setup::memory().start_empty().await;
    let (known, other) = (b"room:runtime/batch@0.1.0", b"room:runtime/botch@0.1.0");
    let mut module = guest("puppet").to_vec();
    let windows = module.windows(known.len()).enumerate();
    let named = windows.filter_map(|(at, bytes)| (bytes == known).then_some(at));
    let named: Vec<usize> = named.collect();
    assert!(!named.is_empty());
    for at in named {
        module[at..at + other.len()].copy_from_slice(other);
    }
    node.deploy(module.into(), &[]).await.unwrap();
    let mut client = connect(&node).await;
    let scripts = [json!([{"say": "before"}]), json!(["trap"]), json!([{"say": "after"}])];
    tell(&mut client, &scripts).await;
    assert_eq!(texts(&mut client).await, ["before", "after"]);
    let seen = fault(&node).await;
    let backtrace = seen["backtrace"].as_str().unwrap();
    assert!(backtrace.contains("events@0.1.0#on-message") && !backtrace.contains("#run"), "{seen}");
}

#[tokio::test]
async fn the_limits_of_a_turn_hold_for_each_turn_of_a_call() {
    let few = |limits: &mut room_runtime::Limits| {
        (limits.turn_sends_max, limits.log_lines_max) = (100, 2);
        (limits.turn_wall_ms_max, limits.turn_writes_max) = (4_000, 10);
    };
    let node = Setup::memory().limits(few).start().await;
    let mut watcher = EventStream::follow(&node, "room=lobby&level=info").await;
    let mut client = connect(&node).await;
    let turn = json!([
        {"flood_anyway": 60}, {"put_many": 9}, {"log": "one"}, {"log": "two"}, {"sleep": 1_500},
        {"say": "done"},
    ]);
    tell(&mut client, &[turn.clone(), turn.clone(), turn]).await;
    for _ in 0..3 {
        for _ in 0..60 {
            assert_eq!(texts(&mut client).await, ["flood"]);
        }
        assert_eq!(texts(&mut client).await, ["done"]);
    }
    tell(&mut client, &[json!([{"flood_anyway": 200}]), json!([{"log": "last"}])]).await;
    for _ in 0..100 {
        assert_eq!(texts(&mut client).await, ["flood"]);
    }
    let lines = watcher.texts_to("last").await;
    let lines = lines.iter().filter(|line| ["one", "two", "last"].contains(&line.as_str()));
    assert_eq!(lines.collect::<Vec<_>>(), ["one", "two", "one", "two", "one", "two", "last"]);
    assert_eq!(fault(&node).await, Value::Null);
}

#[tokio::test]
async fn each_turn_of_a_call_is_counted_and_logged() {
    let node = Setup::memory().start().await;
    let mut watcher = EventStream::follow(&node, "room=lobby&level=info").await;
    let mut client = connect(&node).await;
    let metrics = async || node.get("/_room/metrics").await.text();
    let value = |text: &str, metric: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        line.unwrap().parse().unwrap()
    };
    let before = metrics().await;
    tell(&mut client, &numbers(1..21)).await;
    for number in 1..=20 {
        assert_eq!(texts(&mut client).await, [number.to_string()]);
    }
    let after = metrics().await;
    for metric in [
        "room_turns_total{outcome=\"ok\"}",
        "room_turn_seconds_count",
        "room_messages_received_total",
        "room_messages_sent_total",
    ] {
        assert_eq!(value(&after, metric) - value(&before, metric), 20.0, "{metric}");
    }
    let lines = watcher.texts_to("turn 20").await;
    let expected: Vec<_> = (1..=20).map(|number| format!("turn {number}")).collect();
    assert!(lines.ends_with(&expected), "{lines:?}");
    let seen = told(&node, "GET", "rooms/main/lobby", b"").await;
    assert_eq!((&seen["messages_in"], &seen["faults"]), (&json!(20), &json!(0)));
}

#[tokio::test]
async fn each_turn_of_a_call_and_its_output_have_the_next_numbers() {
    let node = Setup::memory().start().await;
    let mut client = connect(&node).await;
    let mut watcher = EventStream::watch(&node, "lobby").await;
    tell(&mut client, &vec![json!([{"say": "hi"}]); 20]).await;
    let mut numbers: Vec<u64> = Vec::new();
    while numbers.len() < 20 {
        let seen = watcher.next().await.unwrap();
        let number = seen.data["number"].as_str().and_then(|number| number.split_once('-'));
        numbers.extend(number.map(|(_, seq)| seq.parse::<u64>().unwrap()));
    }
    // One for the turn, and one for what it says.
    assert!(numbers.windows(2).all(|two| two[1] - two[0] == 2), "{numbers:?}");
}

#[tokio::test]
async fn code_is_replaced_and_nothing_is_lost_while_messages_share_calls() {
    let node = Setup::memory().start().await;
    let mut client = connect(&node).await;
    for mark in 0..5 {
        let first = u32::from(mark) * 150;
        tell(&mut client, &numbers(first..first + 150)).await;
        let module: Arc<[u8]> = variant(&guest("puppet"), mark);
        assert_eq!(node.deploy(module, &[]).await.unwrap().rooms, 1);
    }
    for number in 1..=750 {
        assert_eq!(texts(&mut client).await, [number.to_string()]);
    }
    assert_eq!(node.report("lobby").await["starts"], 6);
}

#[tokio::test]
async fn a_client_is_sent_away_between_two_calls() {
    let node = Setup::memory().start().await;
    let (mut client, mut other) = (connect(&node).await, node.connect("lobby?quiet=1").await);
    // The client's own turn closes it: the messages behind it, in the same call, find it closed.
    let away = json!([{"say": "bye"}, {"close": [4_000, "bye"]}]);
    tell(&mut client, &[json!([{"add": "n"}]), away, json!([{"add": "n"}])]).await;
    assert_eq!(texts(&mut client).await, ["1", "bye"]);
    assert_eq!(next(&mut client).await, Err(Some(4_000)));
    assert_eq!(other.ask(json!([{"add": "n"}])).await, "2");
    // An operator sends it away, while its messages wait.
    let mut client = connect(&node).await;
    tell(&mut client, &vec![json!([{"broadcast": "hi"}]); 100]).await;
    told(&node, "POST", "rooms/main/lobby/kick", br#"{"connection":"a"}"#).await;
    let mut heard = 0;
    let code = loop {
        match next(&mut client).await {
            Ok(text) => assert_eq!(text, "hi"),
            Err(code) => break code,
        }
        heard += 1;
    };
    assert_eq!(code, Some(4_403));
    for _ in 0..heard {
        assert_eq!(other.text().await, "hi");
    }
    assert_eq!(other.ask(json!([{"add": "n"}])).await, "3");
}

#[tokio::test]
async fn a_node_that_stops_keeps_what_it_has_answered() {
    let node = Setup::disk().start().await;
    let mut client = connect(&node).await;
    tell(&mut client, &numbers(1..301)).await;
    assert_eq!(texts(&mut client).await, ["1"]);
    let setup = node.stop().await;
    let mut heard = 1_u32;
    let code = loop {
        match next(&mut client).await {
            Ok(text) => assert_eq!(text, (heard + 1).to_string()),
            Err(code) => break code,
        }
        heard += 1;
    };
    assert_eq!(code, Some(1012));
    // Turns whose answers came behind the close frame are kept, too.
    let node = setup.start().await;
    let stored = node.connect("lobby?quiet=1").await.ask(json!([{"get": "n"}])).await;
    assert!(stored.parse::<u32>().unwrap() >= heard, "{stored} of {heard}");
}
