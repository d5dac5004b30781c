//! The operator's view of rooms, and the operator's changes: lists, one room, its storage, its clients.

use futures_util::StreamExt;
use futures_util::stream::iter;
use room_runtime::Limits;
use room_tests::{Got, Reply, Requests, Setup, TestNode, until};
use serde_json::{Value, json};
use std::collections::HashSet;

const ROOMS: &str = "/_room/admin/rooms";

/// Sends a request as the operator.
async fn ask(node: &TestNode, method: &str, path: &str, body: &[u8]) -> Reply {
    let secret = format!("Bearer {}", node.secret());
    node.request(method, &format!("/_room/admin/{path}"), &[("authorization", &secret)], body).await
}

/// Returns the answer to the operator, which must be good.
async fn told(node: &TestNode, method: &str, path: &str, body: &[u8]) -> Value {
    let reply = ask(node, method, path, body).await;
    assert_eq!(reply.status, 200, "{method} {path}: {}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    reply.json()
}

async fn look(node: &TestNode, path: &str) -> Value {
    told(node, "GET", path, &[]).await
}

/// Returns the report about the room `lobby`.
async fn lobby(node: &TestNode) -> Value {
    look(node, "rooms/main/lobby").await
}

fn names(page: &Value) -> Vec<String> {
    let rooms = page["rooms"].as_array().unwrap().iter();
    rooms.map(|room| room["room"].as_str().unwrap().to_owned()).collect()
}

/// Returns all pages of a list.
async fn all(node: &TestNode, query: &str) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = look(node, &format!("rooms?{query}&after={after}")).await;
        found.extend(names(&page));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => return found,
        }
    }
}

/// Stores a room with a value of so many bytes, without waking it.
async fn store(node: &TestNode, room: &str, bytes: usize) {
    let value = "x".repeat(bytes);
    let lines = format!(
        "{{\"room-export\":1,\"party\":\"main\",\"room\":\"x\",\"alarm\":null}}\n\
         {{\"key\":\"k\",\"text\":\"{value}\"}}\n"
    );
    told(node, "PUT", &format!("rooms/main/{room}/import"), lines.as_bytes()).await;
}

fn quick(limits: &mut Limits) {
    (limits.hibernate_ms, limits.idle_evict_ms) = (20, 20);
}

#[tokio::test]
async fn ten_thousand_stored_rooms_are_paged_searched_and_sorted() {
    const COUNT: usize = 10_000;
    let limits = |limits: &mut Limits| {
        (limits.admin_transfers_max, limits.admin_scan_rooms_max) = (64, 3_000);
    };
    let node = Setup::disk().limits(limits).start().await;
    let stored = (0..COUNT).map(|room| {
        let node = &node;
        async move { store(node, &format!("room-{room}"), 1 + room % 100).await }
    });
    iter(stored).buffer_unordered(32).for_each(async |()| {}).await;
    // A room in memory that is not stored is in the list, too.
    let _client = node.connect("room-5000-live?quiet=1").await;

    let found = all(&node, "limit=999").await;
    assert_eq!(found.len(), COUNT + 1);
    let wanted: Vec<String> = (0..COUNT).map(|room| format!("room-{room}")).collect();
    assert_eq!(found[..COUNT], wanted, "the shorter of two names comes first");
    assert_eq!(found[COUNT], "room-5000-live");
    let mut backwards = all(&node, "limit=1000&order=desc").await;
    backwards.reverse();
    assert_eq!(backwards, found);

    // A search with few matches reads many rooms, in several pages if need be.
    assert_eq!(all(&node, "search=room-99?7").await.len(), 10);
    assert_eq!(all(&node, "search=*-777").await, ["room-777"]);
    assert_eq!(all(&node, "search=nothing").await, [""; 0]);
    assert_eq!(all(&node, "party=other").await, [""; 0]);
    let page = look(&node, "rooms?search=nothing").await;
    assert!(names(&page).is_empty() && page["next"].is_string(), "{page}");

    let largest = all(&node, "sort=bytes&limit=1000").await;
    assert_eq!(largest.len(), COUNT + 1);
    assert_eq!(largest.iter().collect::<HashSet<_>>().len(), COUNT + 1);
    assert_eq!(largest[..3], ["room-99", "room-199", "room-299"]);
    let smallest = look(&node, "rooms?sort=bytes&order=asc&limit=2&search=room-?").await;
    assert_eq!(names(&smallest), ["room-0", "room-1"]);
    assert_eq!(smallest["rooms"][1]["bytes"], 3);
    assert_eq!(smallest["rooms"][1]["phase"], "asleep");

    let overview = look(&node, "overview").await;
    assert_eq!(overview["stored"]["rooms"], COUNT + 1);
    assert_eq!(overview["rooms"]["running"], 1);
    assert_eq!(overview["node"], "node-1");
    assert_eq!(overview["connections"], 1);
}

#[tokio::test]
async fn a_listing_by_bytes_includes_rooms_without_stored_data() {
    let limits = |limits: &mut Limits| limits.admin_scan_rooms_max = 3;
    let node = Setup::disk().limits(limits).start().await;
    let name = |number: usize| format!("fail-start-always-{number:02}");
    for number in (0..20).step_by(2) {
        store(&node, &name(number), 1).await;
    }
    // They fail to start, and so have stored nothing.
    for number in [1, 11, 19, 21] {
        assert_eq!(node.get(&format!("/party/{}", name(number))).await.status, 500);
    }
    let empty = [1, 11, 19, 21].map(name);
    let stored: Vec<String> = (0..20).step_by(2).map(name).collect();
    for limit in [1, 3, 100] {
        let query = format!("sort=bytes&limit={limit}");
        assert_eq!(all(&node, &query).await, [&stored[..], &empty].concat());
        assert_eq!(all(&node, &format!("{query}&order=asc")).await, [&empty, &stored[..]].concat());
    }
}

#[tokio::test]
async fn rooms_in_memory_are_sorted_by_their_counters() {
    let node = Setup::disk().start().await;
    let mut clients = Vec::new();
    for (room, count) in [("few", 1), ("many", 3), ("some", 2)] {
        for _ in 0..count {
            clients.push(node.connect(&format!("{room}?quiet=1")).await);
        }
    }
    for (client, messages) in [(0, 9), (1, 1), (4, 5)] {
        for _ in 0..messages {
            assert_eq!(clients[client].echo("hi").await, "hi");
        }
    }
    store(&node, "asleep", 5).await;
    assert_eq!(all(&node, "sort=connections&limit=1").await, ["many", "some", "few"]);
    assert_eq!(all(&node, "sort=connections&order=asc").await, ["few", "some", "many"]);
    assert_eq!(all(&node, "sort=messages&limit=2").await, ["few", "some", "many"]);
    assert_eq!(all(&node, "sort=active").await, ["some", "many", "few"]);
    assert_eq!(all(&node, "sort=active&search=?e*").await, ["few"]);
    let page = look(&node, "rooms?search=few").await;
    let few = &page["rooms"][0];
    assert_eq!((&few["messages_in"], &few["messages_out"]), (&json!(9), &json!(9)));
    assert_eq!((&few["connections"], &few["phase"]), (&json!(1), &json!("running")));
    let totals = look(&node, "overview").await;
    assert_eq!((&totals["messages_in"], &totals["connections"]), (&json!(15), &json!(6)));
}

#[tokio::test]
async fn inspecting_a_live_room_shows_the_memory_of_its_guest() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby").await;
    client.ask(json!(["report"])).await;
    let memory = &lobby(&node).await["memory"];
    let (bytes, max) = (memory["bytes"].as_u64().unwrap(), memory["max"].as_u64().unwrap());
    assert_eq!(max, Limits::default().memory_bytes_max);
    assert!(bytes > 0 && bytes <= max && bytes.is_multiple_of(64 * 1024), "{memory}");
}

#[tokio::test]
async fn inspecting_a_room_shows_its_state_without_waking_it() {
    let node = Setup::disk().hibernate().limits(quick).start().await;
    let mut client = node.connect("lobby?_pk=a&state=kept&tags=red&token=s3cret").await;
    let _other = node.connect("lobby?_pk=b").await;
    // It may also have slept while they connected.
    let before = client.ask(json!([{"put": ["n", 1]}, {"alarm_in": 600_000}, "report"])).await;
    let before: Value = serde_json::from_str(&before).unwrap();
    until("it to hibernate", async || lobby(&node).await["phase"] == "hibernated").await;
    // Keys are counted when their commit reaches the tree, which is later than it is durable.
    until("its keys to be counted", async || lobby(&node).await["storage"]["keys"] == 3).await;
    // Looking at it for longer than it takes to leave memory changes nothing.
    let seen = lobby(&node).await;
    let first = &seen["connections"][0];
    assert_eq!((&first["id"], &first["tags"]), (&json!("a"), &json!(["red"])));
    assert_eq!(first["state"], json!({"json": "kept"}));
    assert_eq!(seen["memory"], Value::Null, "a room without an instance has no memory");
    assert_eq!(first["lag"], json!({"messages": 0, "bytes": 0}));
    assert_eq!(first["transport"], "websocket");
    let uri = first["uri"].as_str().unwrap();
    assert!(uri.ends_with("/parties/main/lobby?_pk=a&state=…&tags=…&token=…"), "{uri}");
    assert_eq!((&seen["connection_count"], &seen["busy"]), (&json!(2), &json!(false)));
    assert_eq!(seen["module"].as_str().map(str::len), Some(12));
    assert!(seen["alarm"]["due_ms"].as_u64() > seen["last_active_ms"].as_u64());
    assert!(seen["turn_times"]["count"].as_u64() >= Some(4), "{seen}");
    let page = look(&node, "rooms/main/lobby?connections=1").await;
    assert_eq!(page["connections"].as_array().map(Vec::len), Some(1));
    let next = page["next"].as_str().unwrap();
    let rest = look(&node, &format!("rooms/main/lobby?connections=1&after={next}")).await;
    assert_eq!((&rest["connections"][0]["id"], &rest["next"]), (&json!("b"), &Value::Null));
    assert_eq!((node.running().await, node.live().await), (1, 0));
    let report: Value = serde_json::from_str(&client.ask(json!(["report"])).await).unwrap();
    let woken_once = before["starts"].as_u64().map(|starts| starts + 1);
    assert_eq!(report["starts"].as_u64(), woken_once, "looking woke it");

    // Its clients leave and it leaves memory, although an operator inspects it constantly.
    client.close(None).await;
    drop(_other);
    until("it to sleep", async || lobby(&node).await["phase"] == "asleep").await;
    let seen = lobby(&node).await;
    assert_eq!((&seen["storage"]["keys"], &seen["connections"]), (&json!(3), &Value::Null));
    assert!(seen["alarm"]["due_ms"].is_u64());
    assert_eq!(node.running().await, 0);
}

#[tokio::test]
async fn a_broken_room_shows_its_faults_and_a_busy_one_its_current_event() {
    let limits = |limits: &mut Limits| {
        limits.faults_max = 3;
        (limits.broken_ms_min, limits.inspect_ms_max) = (60_000, 50);
    };
    let node = Setup::disk().limits(limits).start().await;
    let mut client = node.connect("lobby?_pk=a&quiet=1").await;
    for _ in 0..3 {
        client.tell(json!(["trap"])).await;
    }
    until("it to be broken", async || lobby(&node).await["phase"] == "broken").await;
    let seen = lobby(&node).await;
    assert_eq!(
        (&seen["faults"], &seen["recent_faults"][2]["event"]),
        (&json!(3), &json!("message"))
    );
    let newest = &seen["recent_faults"][0];
    assert!(newest["reason"].as_str().unwrap().contains("the guest trapped"), "{newest}");
    assert!(newest["backtrace"].as_str().unwrap().contains("wasm"), "{newest}");
    assert!(seen["rests_ms"].as_u64() > Some(1_000), "{seen}");
    assert_eq!(look(&node, "overview").await["rooms"]["broken"], 1);
    // An operator who corrects its storage gives it a new chance at once.
    assert_eq!(node.post("lobby", &json!([{"get": "n"}])).await.status, 500);
    told(&node, "PUT", "rooms/main/lobby/storage/n", b"7").await;
    assert_eq!(client.ask(json!([{"get": "n"}])).await, "7");

    client.tell(json!([{"sleep": 2_000}, {"say": "awake"}])).await;
    until("it to be busy", async || lobby(&node).await["busy"] == true).await;
    let seen = lobby(&node).await;
    assert_eq!(seen["at_work"]["event"], "message");
    assert_eq!((&seen["connection_count"], &seen["connections"]), (&json!(1), &Value::Null));
    assert_eq!(client.text().await, "awake");
}

#[tokio::test]
async fn the_next_event_sees_an_edit_and_the_sockets_stay() {
    let node = Setup::disk().start().await;
    let mut client = node.connect("lobby?_pk=a&state=kept&quiet=1").await;
    assert_eq!(client.ask(json!([{"add": "n"}])).await, "1");
    let before: Value = serde_json::from_str(&client.ask(json!(["report"])).await).unwrap();
    let put = told(&node, "PUT", "rooms/main/lobby/storage/n", b"40").await;
    assert_eq!(put, json!({"key": "n", "was_there": true}));
    assert_eq!(client.ask(json!([{"add": "n"}])).await, "41");
    let after: Value = serde_json::from_str(&client.ask(json!(["report"])).await).unwrap();
    // The instance's memory is discarded. The connection and its state stay.
    assert_eq!(after["starts"].as_u64(), before["starts"].as_u64().map(|starts| starts + 1));
    assert_eq!(client.ask(json!(["state"])).await, "\"kept\"");
    let gone = told(&node, "DELETE", "rooms/main/lobby/storage/n", &[]).await;
    assert_eq!(gone, json!({"key": "n", "was_there": true}));
    assert_eq!(client.ask(json!([{"get": "n"}])).await, "null");
    // A missing key changes nothing, and costs no instance.
    let none = told(&node, "DELETE", "rooms/main/lobby/storage/n", &[]).await;
    assert_eq!(none["was_there"], false);

    // A stored room is changed in the store, and stays asleep.
    store(&node, "asleep", 1).await;
    told(&node, "PUT", "rooms/main/asleep/storage/a%2Fb", b"{\"c\":[1]}").await;
    assert_eq!(look(&node, "rooms/main/asleep").await["phase"], "asleep");
    let entry = look(&node, "rooms/main/asleep/storage/a%2Fb").await;
    assert_eq!(entry, json!({"key": "a/b", "bytes": 9, "json": {"c": [1]}}));
    // Many changes at once, of a room that comes and goes, are all kept.
    let edits = (0..50).map(|key| {
        let node = &node;
        async move {
            let path = format!("rooms/main/asleep/storage/key-{key}");
            told(node, "PUT", &path, b"1").await;
            assert_eq!(
                node.post("asleep", &json!([{"get": format!("key-{key}")}])).await.text(),
                "[\"1\"]"
            );
        }
    });
    iter(edits).buffer_unordered(8).for_each(async |()| {}).await;
    let node = node.restart().await;
    assert_eq!(node.post("asleep", &json!([{"get": "key-49"}])).await.text(), "[\"1\"]");
}

#[tokio::test]
async fn keys_of_any_bytes_are_listed_in_pages_and_read_back() {
    let node = Setup::disk().start().await;
    store(&node, "lobby", 1).await;
    let keys = ["%FF%00", "..", "a%20b", "a%2F%2Fb", "%C3%A9", "%25", "%3F%26%23", "+"];
    for (value, key) in keys.iter().enumerate() {
        let put = format!("rooms/main/lobby/storage/{key}");
        told(&node, "PUT", &put, value.to_string().as_bytes()).await;
    }
    told(&node, "PUT", "rooms/main/lobby/storage/bytes", &[0, 255]).await;
    told(&node, "PUT", "rooms/main/lobby/storage/text", b"{ no json").await;
    let (mut found, mut start) = (Vec::new(), String::new());
    loop {
        let path = format!("rooms/main/lobby/storage?limit=3&start={start}");
        let page = look(&node, &path).await;
        found.extend(page["entries"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        start = next.to_owned();
    }
    assert_eq!(found.len(), keys.len() + 3);
    assert_eq!(found.last(), Some(&json!({"key_base64": "/wA=", "bytes": 1, "json": 0})));
    assert!(found.contains(&json!({"key": "bytes", "bytes": 2, "base64": "AP8="})));
    assert!(found.contains(&json!({"key": "text", "bytes": 9, "text": "{ no json"})));
    assert!(found.contains(&json!({"key": "..", "bytes": 1, "json": 1})));
    let page = look(&node, "rooms/main/lobby/storage?prefix=%FF").await;
    assert_eq!(page["entries"].as_array().map(Vec::len), Some(1));
    for (value, key) in keys.iter().enumerate() {
        let entry = look(&node, &format!("rooms/main/lobby/storage/{key}")).await;
        assert_eq!(entry["json"], value, "{key}");
        let gone = told(&node, "DELETE", &format!("rooms/main/lobby/storage/{key}"), &[]).await;
        assert_eq!(gone["was_there"], true, "{key}");
    }
    // A large value makes a page of its own.
    for key in ["a", "b"] {
        let value = vec![b'x'; 1 << 20];
        told(&node, "PUT", &format!("rooms/main/lobby/storage/{key}"), &value).await;
    }
    let page = look(&node, "rooms/main/lobby/storage").await;
    assert_eq!((page["entries"].as_array().map(Vec::len), &page["next"]), (Some(1), &json!("b")));
}

#[tokio::test]
async fn closing_one_client_notifies_the_room() {
    let node = Setup::disk().start().await;
    let mut stays = node.connect("lobby?_pk=b&tags=watches&quiet=1").await;
    let mut goes = node.connect("lobby?_pk=a&quiet=1").await;
    let said = told(&node, "POST", "rooms/main/lobby/kick", br#"{"connection":"a"}"#).await;
    let wanted = json!({
        "room": "main/lobby", "connection": "a", "code": 4403, "reason": "closed by the operator",
    });
    assert_eq!(said, wanted);
    assert_eq!(goes.closed().await, (4403, "closed by the operator".to_owned()));
    assert_eq!(goes.recv().await, Got::End);
    assert_eq!(stays.text().await, "left a");
    let body = br#"{"connection":"b","code":4000,"reason":"why"}"#;
    told(&node, "POST", "rooms/main/lobby/kick", body).await;
    assert_eq!(stays.closed().await, (4000, "why".to_owned()));
    for (body, status, said) in [
        (&br#"{"connection":"a"}"#[..], 404, "the room main/lobby has no open connection \"a\""),
        (
            br#"{"connection":"a","code":1006}"#,
            400,
            "a connection is closed with 1000 to 4999 except",
        ),
        (br#"{"id":"a"}"#, 400, "the body is invalid: expected {\"connection\":ID"),
        (b"", 400, "the body is invalid: expected {\"connection\":ID"),
    ] {
        let reply = ask(&node, "POST", "rooms/main/lobby/kick", body).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        assert!(reply.text().starts_with(said), "{}", reply.text());
    }
}

#[tokio::test]
async fn the_clients_of_a_closed_room_can_reconnect() {
    let node = Setup::disk().start().await;
    let mut client = node.connect("lobby?_pk=a&quiet=1").await;
    assert_eq!(client.ask(json!([{"add": "n"}])).await, "1");
    let closed = told(&node, "POST", "rooms/main/lobby/close", &[]).await;
    assert_eq!(closed, json!({"room": "main/lobby", "connections": 1}));
    assert_eq!(client.closed().await, (1012, "the room was closed by its operator".to_owned()));
    assert_eq!(lobby(&node).await["phase"], "asleep");
    let again = told(&node, "POST", "rooms/main/lobby/close", &[]).await;
    assert_eq!(again["connections"], 0);
    let mut client = node.connect("lobby?_pk=a&quiet=1").await;
    assert_eq!(client.ask(json!([{"add": "n"}])).await, "2");
}

#[tokio::test]
async fn a_deleted_room_is_empty_afterwards() {
    let node = Setup::disk().start().await;
    let mut client = node.connect("lobby?_pk=a&quiet=1").await;
    assert_eq!(client.ask(json!([{"add": "n"}, {"alarm_in": 600_000}])).await, "1");
    let deleted = told(&node, "DELETE", "rooms/main/lobby", &[]).await;
    assert_eq!((&deleted["room"], &deleted["connections"]), (&json!("main/lobby"), &json!(1)));
    assert_eq!(deleted["keys"], 2);
    assert_eq!(client.closed().await, (4410, "the room was deleted".to_owned()));
    assert_eq!(ask(&node, "GET", "rooms/main/lobby", &[]).await.status, 404);
    assert_eq!(ask(&node, "DELETE", "rooms/main/lobby", &[]).await.status, 404);
    assert_eq!(all(&node, "").await, [""; 0]);
    let node = node.restart().await;
    assert_eq!(all(&node, "").await, [""; 0]);
    assert_eq!(node.post("lobby", &json!([{"add": "n"}])).await.json(), json!(["1"]));
}

#[tokio::test]
async fn requests_without_a_token_and_for_absent_rooms_are_refused() {
    let node = Setup::disk().start().await;
    store(&node, "lobby", 1).await;
    let paths = [
        ("GET", "overview"),
        ("GET", "rooms"),
        ("GET", "rooms/main/lobby"),
        ("DELETE", "rooms/main/lobby"),
        ("POST", "rooms/main/lobby/close"),
        ("POST", "rooms/main/lobby/kick"),
        ("GET", "rooms/main/lobby/storage"),
        ("PUT", "rooms/main/lobby/storage/k"),
        ("DELETE", "rooms/main/lobby/storage/k"),
    ];
    for (method, path) in paths {
        let path = format!("/_room/admin/{path}");
        let wrong = [("authorization", "Bearer wrong")];
        assert_eq!(node.request(method, &path, &wrong, &[]).await.status, 401, "{method} {path}");
    }
    assert_eq!(look(&node, "rooms/main/lobby/storage/k").await["text"], "x");
    let body = br#"{"connection":"a"}"#;
    for (method, path) in paths.into_iter().skip(2) {
        let path = path.replace("lobby", "nobody");
        let reply = ask(&node, method, &path, body).await;
        assert_eq!(reply.status, 404, "{method} {path}");
        assert!(reply.text().starts_with("there is no room main/nobody"), "{}", reply.text());
    }
    assert_eq!(all(&node, "").await, ["lobby"]);
    let long = "a".repeat(2_049);
    for (path, status) in [
        ("rooms/main/%00", 400),
        ("rooms/main/%FF", 400),
        ("rooms/m%C3%A9/lobby", 400),
        ("rooms/main/lobby/storage/nothing", 404),
        ("rooms/main/lobby/storage/", 404),
        ("rooms/main/lobby/nothing", 404),
        ("rooms/main//storage", 400),
        ("rooms/main/lobby?connections=0", 400),
        ("rooms?limit=1001", 400),
        (&format!("rooms/main/lobby/storage/{long}"), 400),
    ] {
        let reply = ask(&node, "GET", path, &[]).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
    }
    let large = vec![0; (1 << 20) + 1];
    let reply = ask(&node, "PUT", "rooms/main/lobby/storage/k", &large).await;
    assert_eq!(reply.status, 413, "{}", reply.text());
    assert_eq!(node.get(ROOMS).await.status, 401);
}
