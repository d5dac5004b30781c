//! Responses that later turns write to and end, and those that a later turn gives.

use room_tests::{
    RawClient, Requests, Setup, TestClient, TestNode, guest, script, until, variant, within,
};
use serde_json::{Value, json};

/// A client in the middle of a response.
struct Reader {
    client: RawClient,
    head: String,
}

impl Reader {
    /// Asks the lobby, and reads the head of its response.
    async fn open(node: &TestNode, rest: &str) -> Self {
        let mut client = ask(node, rest).await;
        let head = client.head().await;
        Self { client, head }
    }

    /// Returns the next piece; an empty one at the end of the response, `None` if it broke off.
    async fn next(&mut self) -> Option<String> {
        let chunk = self.client.chunk().await?;
        Some(String::from_utf8(chunk).unwrap())
    }

    /// Reads pieces until the body ends so.
    async fn up_to(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            text.push_str(&self.next().await.unwrap());
        }
        text
    }

    /// Reads the rest, and returns true if the response broke off.
    async fn breaks_off(mut self) -> bool {
        loop {
            match self.client.chunk().await {
                None => return true,
                Some(chunk) if chunk.is_empty() => return false,
                Some(_) => {}
            }
        }
    }
}

async fn ask(node: &TestNode, rest: &str) -> RawClient {
    send(RawClient::open(node.addr()).await, rest).await
}

async fn send(mut client: RawClient, rest: &str) -> RawClient {
    let request = format!("GET /parties/main/lobby{rest} HTTP/1.1\r\nHost: x\r\n\r\n");
    client.write(request.as_bytes()).await;
    client
}

/// Carries out a step about the newest open response of the lobby.
async fn step(node: &TestNode, step: Value) {
    let reply = node.post("lobby", &json!([{ "stream": step }])).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

async fn open_ids(node: &TestNode) -> Vec<String> {
    serde_json::from_value(node.report("lobby").await["streams"].clone()).unwrap()
}

async fn is_open(node: &TestNode) {
    until("the request to be there", async || !open_ids(node).await.is_empty()).await;
}

/// Waits until the room has handled the end of a response.
async fn ended(node: &TestNode, how: &str) {
    let told = format!("stream {how}");
    until("the end of a response", async || {
        let events = node.report("lobby").await["events"].clone();
        events.as_array().unwrap().iter().any(|event| *event == told)
    })
    .await;
    assert!(open_ids(node).await.is_empty());
}

async fn ends_heard(node: &TestNode) -> usize {
    let events = node.report("lobby").await["events"].clone();
    let events = events.as_array().unwrap().iter().filter_map(Value::as_str);
    events.filter(|event| event.starts_with("stream ")).count()
}

/// Returns what the operator sees of the open responses.
async fn seen(node: &TestNode) -> Value {
    let bearer = format!("Bearer {}", node.secret());
    let headers = [("authorization", bearer.as_str())];
    let path = "/_room/admin/rooms/main/lobby";
    node.request("GET", path, &headers, &[]).await.json()["streams"].clone()
}

async fn counted(node: &TestNode, name: &str) -> u64 {
    let text = node.get("/_room/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn later_turns_write_events_and_end_the_response() {
    let node = Setup::memory().start().await;
    let mut reader = Reader::open(&node, "/events").await;
    assert!(reader.head.contains("content-type: text/event-stream\r\n"), "{}", reader.head);
    assert_eq!(reader.up_to("\n\n").await, "retry: 10\n\n");
    step(&node, json!({"event": ["", "progress", "half\nway"]})).await;
    assert_eq!(reader.up_to("\n\n").await, "event: progress\ndata: half\ndata: way\n\n");
    assert_eq!(seen(&node).await, json!({"count": 1, "bytes": 0}));
    // A failed turn writes nothing.
    let fails =
        json!([{"stream": {"write": ["", "lost"]}}, {"stream": {"end": ""}}, {"err": "no"}]);
    assert_eq!(node.post("lobby", &fails).await.status, 500);
    step(&node, json!({"event": ["", "", "done"]})).await;
    assert_eq!(reader.up_to("\n\n").await, "event: \ndata: done\n\n");
    step(&node, json!({"end": ""})).await;
    assert_eq!(reader.next().await.as_deref(), Some(""));
    assert_eq!((open_ids(&node).await.len(), ends_heard(&node).await), (0, 0));
    assert_eq!(seen(&node).await, json!({"count": 0, "bytes": 0}));
    assert_eq!(counted(&node, "room_streams_opened_total").await, 1);
    // The connection takes the next request.
    let Reader { client, .. } = reader;
    let mut again = send(client, "/status?code=201").await;
    assert!(again.head().await.starts_with("HTTP/1.1 201"));
}

#[tokio::test]
async fn a_response_that_its_room_gives_up_breaks_off_after_what_was_written() {
    let node = Setup::memory().start().await;
    let mut reader = Reader::open(&node, "/stream?first=half").await;
    assert_eq!(reader.up_to("half").await, "half");
    let write = json!({ "stream": { "write": ["", " and more"] } });
    let reply = node.post("lobby", &json!([write, { "stream": { "abort": "" } }])).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reader.up_to("more").await, " and more");
    assert!(reader.breaks_off().await);
    // The room knows, so it is not told.
    assert_eq!((open_ids(&node).await, ends_heard(&node).await), (Vec::new(), 0));
    let early = ask(&node, "/later").await;
    is_open(&node).await;
    let reply = node.post("lobby", &json!([{ "stream": { "abort": "" } }])).await;
    assert!(reply.text().contains("has not begun"), "{}", reply.text());
    drop(early);
}

#[tokio::test]
async fn an_event_source_connects_again_with_the_last_id() {
    let node = Setup::disk().start().await;
    let mut reader = Reader::open(&node, "/events").await;
    reader.up_to("\n\n").await;
    let stopped = tokio::spawn(node.stop());
    // No last chunk: the client knows that the response is not complete.
    assert_eq!(within("the end of the response", reader.next()).await, None);
    let node = stopped.await.unwrap().start().await;
    let mut client = RawClient::open(node.addr()).await;
    let again = "GET /parties/main/lobby/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 7\r\n\r\n";
    client.write(again.as_bytes()).await;
    let head = client.head().await;
    let mut reader = Reader { client, head };
    assert_eq!(reader.up_to("\n\n").await, "retry: 10\n\n");
    // The response before ended with the room.
    assert_eq!(open_ids(&node).await.len(), 1);
    step(&node, json!({"end": ""})).await;
    assert_eq!(reader.next().await.as_deref(), Some(""));
}

#[tokio::test]
async fn a_later_turn_gives_the_whole_response_or_begins_it() {
    let node = Setup::memory().start().await;
    let mut client = ask(&node, "/later").await;
    is_open(&node).await;
    step(&node, json!({"respond": ["", 201, "at last"]})).await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 201"), "{head}");
    assert!(head.contains("content-length: 7\r\n"), "{head}");
    let mut reader = Reader { client: ask(&node, "/later").await, head: String::new() };
    is_open(&node).await;
    // What is written before the beginning follows it.
    step(&node, json!({"write": ["", "one,"]})).await;
    step(&node, json!({"begin": ""})).await;
    assert!(reader.client.head().await.starts_with("HTTP/1.1 200"));
    step(&node, json!({"write": ["", "two"]})).await;
    assert_eq!(reader.up_to("two").await, "one,two");
    let twice = node.post("lobby", &json!([{"stream": {"respond": ["", 200, "no"]}}])).await;
    assert!(twice.text().contains("has begun"), "{}", twice.text());
    step(&node, json!({"end": ""})).await;
    assert_eq!(reader.next().await.as_deref(), Some(""));
    assert_eq!(ends_heard(&node).await, 0);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_504() {
    let node = Setup::memory().limits(|limits| limits.answer_later_ms_max = 50).start().await;
    let mut client = ask(&node, "/later").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 504"), "{head}");
    ended(&node, "Late").await;
    assert_eq!(counted(&node, "room_streams_cut_total{reason=\"late\"}").await, 1);
}

#[tokio::test]
async fn the_room_hears_once_of_a_client_that_leaves() {
    let node = Setup::memory().start().await;
    for rest in ["/events", "/stream", "/later"] {
        let client = ask(&node, rest).await;
        is_open(&node).await;
        let id = open_ids(&node).await.remove(0);
        drop(client);
        until("the room to hear of it", async || open_ids(&node).await.is_empty()).await;
        let late = node.post("lobby", &json!([{"stream": {"write": [id, "late"]}}])).await;
        assert!(late.text().contains("no open response has this id"), "{}", late.text());
    }
    ended(&node, "Left").await;
    assert_eq!(ends_heard(&node).await, 3);
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_and_others_are_not() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.outbox_bytes_max, limits.room_message_bytes_max) = (1 << 20, 256 << 10);
    };
    let node = Setup::memory().limits(limits).start().await;
    let mut quick = Reader::open(&node, "/stream").await;
    let quick_id = open_ids(&node).await.remove(0);
    let slow = send(RawClient::narrow(node.addr()).await, "/stream").await;
    until("the slow one to be there", async || open_ids(&node).await.len() == 2).await;
    let slow_id = open_ids(&node).await.remove(1);
    let flood = json!([{"stream": {"write_often": [slow_id, 8, 64 << 10]}}]);
    let is_cut = async || {
        node.post("lobby", &flood).await;
        ends_heard(&node).await == 1
    };
    until("the slow reader to be cut off", is_cut).await;
    assert_eq!(open_ids(&node).await, std::slice::from_ref(&quick_id));
    step(&node, json!({"write": [quick_id, "on time"]})).await;
    assert_eq!(quick.up_to("time").await, "on time");
    let slow = Reader { client: slow, head: String::new() };
    let events = node.report("lobby").await["events"].clone();
    assert_eq!(events, json!(["stream Slow"]));
    let mut slow = slow;
    slow.client.head().await;
    assert!(slow.breaks_off().await);
}

/// Neither the room nor hyper asks for more of a response whose client takes nothing, so nobody else would end it.
#[tokio::test]
async fn a_client_that_never_reads_loses_its_connection() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.outbox_bytes_max, limits.room_message_bytes_max) = (1 << 20, 256 << 10);
        (limits.write_ms_max, limits.connections_per_address_max) = (300, 2);
        // Nothing else ends the connection while the test waits.
        (limits.stream_idle_ms_max, limits.linger_ms_max) = (600_000, 600_000);
    };
    let node = Setup::memory().limits(limits).start().await;
    let slow = send(RawClient::narrow(node.addr()).await, "/stream").await;
    until("the stream to be open", async || !open_ids(&node).await.is_empty()).await;
    let slow_id = open_ids(&node).await.remove(0);
    let flood = json!([{"stream": {"write_often": [slow_id, 8, 64 << 10]}}]);
    until("the slow reader to be cut off", async || {
        node.post("lobby", &flood).await;
        ends_heard(&node).await == 1
    })
    .await;
    // The address has two places, and the client of the stream has one until its connection ends.
    let second = within("the second place", async {
        loop {
            let client = TestClient::try_connect(node.addr(), "/party/other", &[]).await;
            if let Ok(client) = client {
                return client;
            }
        }
    });
    let second = second.await;
    until("the first place", async || node.get("/party/other").await.status == 200).await;
    drop((slow, second));
}

#[tokio::test]
async fn a_stream_goes_on_in_other_code_and_after_a_fault() {
    let node = Setup::memory().start().await;
    let mut reader = Reader::open(&node, "/stream?first=a").await;
    assert_eq!(reader.up_to("a").await, "a");
    node.deploy(variant(&guest("puppet"), 1), &[("VERSION", "2")]).await.unwrap();
    step(&node, json!({"write": ["", "b"]})).await;
    assert_eq!(reader.up_to("b").await, "b");
    assert_eq!(node.post("lobby", &json!(["trap"])).await.status, 500);
    step(&node, json!({"write": ["", "c"]})).await;
    assert_eq!(reader.up_to("c").await, "c");
    assert_eq!(node.report("lobby").await["version"], "2");
}

#[tokio::test]
async fn a_room_with_a_stream_hibernates_and_stays_in_memory() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.hibernate_ms, limits.idle_evict_ms) = (20, 20);
    };
    let node = Setup::memory().hibernate().limits(limits).start().await;
    let mut reader = Reader::open(&node, "/stream").await;
    let id = open_ids(&node).await.remove(0);
    node.report("other").await;
    until("both to drop their instances", async || node.live().await == 0).await;
    until("the other to leave memory", async || node.running().await == 1).await;
    step(&node, json!({"write": [id, "awake"]})).await;
    assert_eq!(reader.up_to("awake").await, "awake");
    assert!(node.report("lobby").await["starts"].as_u64() >= Some(2));
    step(&node, json!({"end": ""})).await;
    assert_eq!(reader.next().await.as_deref(), Some(""));
    until("the room to leave memory", async || node.running().await == 0).await;
}

#[tokio::test]
async fn a_stream_without_a_write_is_cut_and_events_have_signs_of_life() {
    let limits = |limits: &mut room_runtime::Limits| limits.stream_keep_alive_ms = 10;
    let node = Setup::memory().limits(limits).start().await;
    let mut reader = Reader::open(&node, "/events").await;
    assert_eq!(reader.up_to(":\n:\n").await, "retry: 10\n\n:\n:\n");
    // In the middle of a line there is no place for a comment.
    step(&node, json!({"write": ["", "data: x"]})).await;
    let so_far = reader.up_to("x").await;
    step(&node, json!({"write": ["", "y\n\n"]})).await;
    assert_eq!(reader.up_to("y\n\n").await, "y\n\n", "after {so_far:?}");
    step(&node, json!({"end": ""})).await;

    let limits = |limits: &mut room_runtime::Limits| {
        (limits.stream_keep_alive_ms, limits.stream_idle_ms_max) = (10, 100);
    };
    let node = Setup::memory().limits(limits).start().await;
    let mut plain = Reader::open(&node, "/stream?first=a").await;
    assert_eq!(plain.up_to("a").await, "a");
    assert_eq!(plain.next().await, None);
    ended(&node, "Idle").await;
}

#[tokio::test]
async fn too_many_streams_and_other_mistakes_are_named() {
    let node = Setup::memory().limits(|limits| limits.streams_max = 1).start().await;
    let mistaken = node.get("/parties/main/lobby/mistaken").await;
    assert_eq!(mistaken.status, 500);
    assert!(mistaken.text().contains("Response::stream(&stream)"), "{}", mistaken.text());
    let _reader = Reader::open(&node, "/stream").await;
    let refused = node.get("/parties/main/lobby/stream").await;
    assert_eq!(refused.status, 500);
    assert!(refused.text().contains("streams_max = 1"), "{}", refused.text());
    for (steps, why) in [
        (json!({"write_bytes": ["", (32 << 20) + 1]}), "room_message_bytes_max"),
        (json!({"write_often": ["", 10_001, 1]}), "turn_sends_max = 10000"),
        (json!({"write_often": ["", 2, 17 << 20]}), "turn_send_bytes_max"),
        (json!({"respond": ["", 200, "x"]}), "has begun"),
        (json!({"end": "1-1"}), "no open response has this id"),
        (json!({"end": "nonsense"}), "no open response has this id"),
    ] {
        let refused = node.post("lobby", &json!([{ "stream": steps }])).await;
        assert_eq!(refused.status, 500);
        assert!(refused.text().contains(why), "{why}: {}", refused.text());
    }
    assert_eq!(script(&node.post("lobby", &json!([{"stream": {"ids": null}}])).await).len(), 1);
}

#[tokio::test]
async fn a_flush_sends_what_was_written_and_a_later_failure_cuts_the_response() {
    let node = Setup::memory().start().await;
    assert_eq!(node.get("/parties/main/lobby/flushed").await.text(), "flushed,ended");
    let mut reader = Reader::open(&node, "/flushed?fails=1").await;
    assert_eq!(reader.up_to(",").await, "flushed,");
    assert_eq!(reader.next().await, None);
    ended(&node, "Failed").await;
}

#[tokio::test]
async fn a_room_that_rests_hears_of_the_end_later() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.faults_max, limits.broken_ms_min, limits.broken_ms_max) = (1, 100, 100);
    };
    let node = Setup::memory().limits(limits).start().await;
    let reader = Reader::open(&node, "/stream").await;
    assert_eq!(node.post("lobby", &json!(["trap"])).await.status, 500);
    drop(reader);
    until("the rest to be over", async || node.get("/parties/main/lobby").await.status == 200)
        .await;
    ended(&node, "Left").await;
    assert_eq!(ends_heard(&node).await, 1);
}

/// Returns the puppet without one of its interfaces.
pub(super) fn without(interface: &str) -> Vec<u8> {
    let known = format!("room:runtime/{interface}@0.1.0");
    let other = known.replace("events@", "evenxs@");
    let mut module = guest("puppet").to_vec();
    let places = module.windows(known.len()).enumerate();
    let named: Vec<usize> =
        places.filter_map(|(at, bytes)| (bytes == known.as_bytes()).then_some(at)).collect();
    assert!(!named.is_empty());
    for at in named {
        module[at..at + other.len()].copy_from_slice(other.as_bytes());
    }
    module
}

#[tokio::test]
async fn a_module_without_stream_events_has_streams_and_no_pieces() {
    let node = Setup::memory().start_empty().await;
    node.deploy(without("stream-events").into(), &[]).await.unwrap();
    let mut reader = Reader::open(&node, "/stream?first=a").await;
    assert_eq!(reader.up_to("a").await, "a");
    drop(reader);
    until("the room to hear of it", async || open_ids(&node).await.is_empty()).await;
    assert_eq!(ends_heard(&node).await, 0);
    let pieces = Setup::memory().pieces().start_empty().await;
    let refused = pieces.deploy(without("stream-events").into(), &[]).await.unwrap_err();
    assert!(refused.to_string().contains("request_bodies"), "{refused}");
}
