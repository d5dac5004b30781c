//! The messages of a room, as its operator watches them.

use room_tests::{
    EventStream, RawClient, Requests, Setup, TestNode, guest, until, variant, within,
};
use serde_json::{Value, json};

/// Returns the next message, without its time, the epoch of its number, and unset fields.
async fn next(watcher: &mut EventStream) -> Value {
    let event = watcher.next().await.unwrap();
    assert_eq!(event.name, "message", "{event:?}");
    let mut passed = event.data;
    let fields = passed.as_object_mut().unwrap();
    assert!(fields.remove("time_ms").unwrap().as_u64() > Some(0));
    fields.retain(|_, value| !value.is_null() && *value != json!(false));
    if let Some(number) = fields.get_mut("number") {
        let (epoch, seq) = number.as_str().unwrap().split_once('-').unwrap();
        assert!(epoch.parse::<u64>().unwrap() > 0);
        *number = seq.parse::<u64>().unwrap().into();
    }
    passed
}

/// Returns everything up to a text, which is `in` or `out` of the room.
async fn up_to(watcher: &mut EventStream, text: &str) -> Vec<Value> {
    let mut all = Vec::new();
    while all.last().is_none_or(|last: &Value| last["text"] != text) {
        all.push(next(watcher).await);
    }
    all
}

async fn ask(node: &TestNode, method: &str, path: &str, body: &[u8]) -> u16 {
    let bearer = format!("Bearer {}", node.secret());
    let path = format!("/_room/admin/rooms/main/{path}");
    node.request(method, &path, &[("authorization", &bearer)], body).await.status
}

#[tokio::test]
async fn a_watcher_sees_connects_messages_and_closes() {
    let node = Setup::memory().start().await;
    let mut watcher = EventStream::watch(&node, "lobby").await;
    let mut a = node.connect("lobby?_pk=a").await;
    let mut b = node.connect("lobby?_pk=b").await;
    let mut elsewhere = node.connect("other?_pk=x").await;
    assert_eq!(elsewhere.echo("not here").await, "not here");
    let opened = |id: &str| json!({"direction": "in", "kind": "open", "connection": id});
    assert_eq!(next(&mut watcher).await, opened("a"));
    assert_eq!(next(&mut watcher).await, opened("b"));
    a.send_binary(&[0, 159]).await;
    let came =
        json!({"direction": "in", "kind": "binary", "connection": "a", "bytes": 2, "text": "009f"});
    assert_eq!(next(&mut watcher).await, came);
    a.recv().await;
    // Before it were the start, two connections, and the message that it answers.
    let said = json!({"direction": "out", "kind": "binary", "connection": "a", "bytes": 2, "text": "009f", "number": 5});
    assert_eq!(next(&mut watcher).await, said);
    a.tell(json!([{"broadcast": "<b>to all</b>"}, {"say": "done"}])).await;
    let all = up_to(&mut watcher, "done").await;
    let cast = json!({"direction": "out", "kind": "text", "to": 2, "bytes": 13, "text": "<b>to all</b>", "number": 7});
    assert_eq!((all.len(), &all[1]), (3, &cast));
    b.close(Some((4001, "bye"))).await;
    let left = json!({"direction": "in", "kind": "close", "connection": "b", "code": 4001, "text": "bye", "clean": true});
    assert_eq!(next(&mut watcher).await, left);
    let body = json!({"connection": "a", "reason": "enough"}).to_string();
    assert_eq!(ask(&node, "POST", "lobby/kick", body.as_bytes()).await, 200);
    // The end of `b` is 9, and the room's output in that event is 10.
    let kicked = json!({"direction": "out", "kind": "close", "connection": "a", "code": 4403, "text": "enough", "number": 11});
    assert_eq!(next(&mut watcher).await, kicked);
}

#[tokio::test]
async fn a_watcher_sees_a_fault_and_no_output_of_its_turn() {
    let node = Setup::memory().start().await;
    let mut watcher = EventStream::watch(&node, "lobby").await;
    let mut a = node.connect("lobby?_pk=a").await;
    a.tell(json!([{"say": "never said"}, {"err": "no such move"}])).await;
    assert_eq!(a.echo("goes on").await, "goes on");
    let all = up_to(&mut watcher, "goes on").await;
    let fault = &all[2];
    assert_eq!((&fault["kind"], &fault["event"]), (&json!("fault"), &json!("message")));
    assert!(fault["text"].as_str().unwrap().contains("no such move"), "{fault}");
    assert!(all.iter().all(|one| one["text"] != "never said"), "{all:?}");
}

#[tokio::test]
async fn a_watch_survives_deployments_hibernation_and_the_rooms_end() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.hibernate_ms, limits.idle_evict_ms) = (20, 20);
    };
    let node = Setup::memory().hibernate().limits(limits).start().await;
    // It is not in memory, and nothing is stored for it: watching does not change that.
    let mut watcher = EventStream::watch(&node, "lobby").await;
    assert_eq!(node.running().await, 0);
    let mut a = node.connect("lobby?_pk=a").await;
    node.deploy(variant(&guest("puppet"), 1), &[]).await.unwrap();
    assert_eq!(a.echo("new code").await, "new code");
    up_to(&mut watcher, "new code").await;
    until("the room to sleep", async || node.live().await == 0).await;
    assert_eq!(a.echo("awake").await, "awake");
    let woken = up_to(&mut watcher, "awake").await;
    assert!(woken.iter().all(|one| one["kind"] == "text"), "{woken:?}");
    assert_eq!(ask(&node, "POST", "lobby/close", &[]).await, 200);
    assert_eq!(a.closed().await.0, 1012);
    until("the room to leave memory", async || node.running().await == 0).await;
    let mut b = node.connect("lobby?_pk=b").await;
    assert_eq!(b.echo("second life").await, "second life");
    let all = up_to(&mut watcher, "second life").await;
    assert!(all.iter().any(|one| one["code"] == 1012), "{all:?}");
    drop(b);
    within("a node to stop", node.stop()).await;
    while watcher.next().await.is_some() {}
}

#[tokio::test]
async fn a_slow_room_watcher_reads_what_it_missed_and_never_delays_the_room() {
    let limits = |limits: &mut room_runtime::Limits| limits.tap_lines_max = 64;
    let node = Setup::memory().limits(limits).start().await;
    let mut a = node.connect("lobby?_pk=a").await;
    // The test opens its stream and does not read it while more passes than the sockets can hold.
    let mut slow = EventStream::watch(&node, "lobby").await;
    let mut passed = 0;
    let big = "x".repeat(2_000);
    while passed < 16_000 {
        a.tell(json!([{"say_many": [500, &big]}, {"say": "end"}])).await;
        while a.text().await != "end" {}
        passed += 502;
    }
    assert_eq!(a.echo("last").await, "last");
    let (mut read, mut missed) = (0, 0);
    loop {
        let event = slow.next().await.unwrap();
        match event.name.as_str() {
            "missed" => missed += event.data["missed"].as_u64().unwrap(),
            _ => read += 1,
        }
        if event.data["text"] == "last" && event.data["direction"] == "out" {
            break;
        }
    }
    assert!(missed > 0);
    assert_eq!(read + missed, passed + 2);
}

#[tokio::test]
async fn room_watchers_are_bounded_and_need_the_token() {
    let node = Setup::memory().limits(|limits| limits.tap_watchers_max = 1).start().await;
    let path = "/_room/admin/rooms/main/lobby/messages";
    assert_eq!(node.get(path).await.status, 401);
    assert_eq!(ask(&node, "POST", "lobby/messages", b"x").await, 405);
    assert_eq!(ask(&node, "GET", "lobby/messages?tail=1", &[]).await, 400);
    assert_eq!(ask(&node, "GET", "%00/messages", &[]).await, 400);
    let first = EventStream::watch(&node, "lobby").await;
    assert_eq!(ask(&node, "GET", "lobby/messages", &[]).await, 503);
    drop(first);
    let secret = node.secret();
    until("its place to be free", async || {
        let mut client = RawClient::open(node.addr()).await;
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n\r\n");
        client.write(head.as_bytes()).await;
        client.head().await.starts_with("HTTP/1.1 200")
    })
    .await;
}
