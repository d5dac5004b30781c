//! Who is in a room: over every transport, through reloads of pages and of code, and for those who ask from outside.

use room_auth::testing::Issuer;
use room_runtime::clock::Clock;
use room_runtime::{Limits, PartyConfig, PresenceSetting, PresentBy, RetentionSettings};
use room_tests::{RawClient, Reply, Requests, Setup, TestClient, TestNode, guest, until, variant};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const ROOM: &str = "/parties/main/lobby";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn setting(grace: &str) -> PresenceSetting {
    let (grace, every) = (Some(grace.parse().unwrap()), Some("10ms".parse().unwrap()));
    PresenceSetting { grace, every, by: PresentBy::Client }
}

fn setup(grace: &str) -> Setup {
    let resume = Some("1m".parse().unwrap());
    let remembering = RetentionSettings { resume, history: None };
    Setup::memory().sse().remembering(remembering).present(setting(grace))
}

/// A client of `room.1` in the lobby, and what it knows of the others.
struct Person {
    socket: TestClient,
    references: u64,
    users: BTreeMap<String, Value>,
    /// The names of those that joined and left, in order.
    moves: Vec<String>,
}

impl Person {
    async fn open(node: &TestNode, query: &str) -> Self {
        let path = format!("{ROOM}?quiet=1&{query}");
        let headers = [("sec-websocket-protocol", "room.1")];
        let socket = TestClient::try_connect(node.addr(), &path, &headers).await.unwrap();
        let (users, moves) = Default::default();
        let mut person = Self { socket, references: 0, users, moves };
        assert_eq!(person.frame().await["type"], "joined");
        person
    }

    /// Reads a frame, and applies what it says about the others.
    async fn frame(&mut self) -> Value {
        let frame: Value = serde_json::from_str(&self.socket.text().await).unwrap();
        if frame["type"] == "presence" {
            assert_eq!(frame["channel"], 0, "{frame}");
            self.moves.extend(apply(&mut self.users, &frame));
        }
        frame
    }

    /// Reads until the others are such.
    async fn sees(&mut self, holds: impl Fn(&BTreeMap<String, Value>) -> bool) {
        while !holds(&self.users) {
            self.frame().await;
        }
    }

    /// Sends a wish for its own user, and returns the answer.
    async fn wishes(&mut self, mut frame: Value) -> Value {
        self.references += 1;
        frame["type"] = "presence".into();
        frame["ref"] = self.references.into();
        if frame["channel"].is_null() {
            frame["channel"] = 0.into();
        }
        self.socket.send(frame.to_string()).await;
        loop {
            let heard = self.frame().await;
            if heard["ref"] == self.references {
                return heard;
            }
        }
    }

    async fn shows(&mut self, data: Value) {
        let answer = self.wishes(json!({ "data": data })).await;
        assert_eq!(answer, json!({"type": "ack", "channel": 0, "ref": self.references}));
    }
}

/// Applies an event, and returns who joined and left.
fn apply(users: &mut BTreeMap<String, Value>, event: &Value) -> Vec<String> {
    let mut moves = Vec::new();
    let list = |key: &str| event[key].as_array().cloned().unwrap_or_default();
    if !event["sync"].is_null() {
        users.clear();
    }
    for (key, sign) in [("sync", None), ("joined", Some('+')), ("updated", None)] {
        for entry in list(key) {
            let user = entry["user"].as_str().unwrap().to_owned();
            moves.extend(sign.map(|sign| format!("{sign}{user}")));
            users.insert(user, entry);
        }
    }
    for user in list("left") {
        let user = user.as_str().unwrap();
        users.remove(user);
        moves.push(format!("-{user}"));
    }
    moves
}

fn entry(user: &str, data: Value, connections: u64) -> Value {
    json!({ "user": user, "data": data, "connections": connections })
}

fn only(entries: &[Value]) -> impl Fn(&BTreeMap<String, Value>) -> bool {
    move |users| users.values().collect::<Vec<_>>() == entries.iter().collect::<Vec<_>>()
}

async fn asks(node: &TestNode, headers: &[(&str, &str)]) -> Reply {
    node.request("GET", &format!("{ROOM}?_presence"), headers, &[]).await
}

async fn here(node: &TestNode) -> Value {
    let reply = asks(node, &[]).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["users"].clone()
}

/// Returns the next event of an event stream with this name, as its data.
async fn streamed(client: &mut RawClient, text: &mut String, name: &str) -> Value {
    loop {
        while let Some((block, rest)) = text.split_once("\n\n") {
            let (block, rest) = (block.to_owned(), rest.to_owned());
            *text = rest;
            if block.lines().any(|line| line == format!("event: {name}")) {
                assert!(name != "presence" || !block.contains("id:"), "{block}");
                let data = block.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
                return serde_json::from_str(data).unwrap();
            }
        }
        let chunk = client.chunk().await.unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

#[tokio::test]
async fn everybody_knows_who_is_there_whatever_carries_it() {
    let node = setup("1m").start().await;
    let mut ada = Person::open(&node, "_pk=ada").await;
    ada.shows(json!({"color": "teal"})).await;
    let teal = entry("ada", json!({"color": "teal"}), 1);
    ada.sees(only(std::slice::from_ref(&teal))).await;
    // A plain socket, one with ids, an event stream: each gets all first.
    let sync = json!({"presence": {"sync": [teal]}});
    let mut plain = TestClient::connect(node.addr(), &format!("{ROOM}?_pk=bob&quiet=1")).await;
    let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    assert_eq!(read(plain.text().await), sync);
    let headers = [("sec-websocket-protocol", "room.ids")];
    let path = format!("{ROOM}?_pk=cy&quiet=1");
    let mut ids = TestClient::try_connect(node.addr(), &path, &headers).await.unwrap();
    assert!(ids.text().await.starts_with(r#"{"welcome":"#));
    assert_eq!(read(ids.text().await), sync);
    let mut stream = RawClient::open(node.addr()).await;
    let request = format!(
        "GET {ROOM}?_pk=dan&quiet=1 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
    );
    stream.write(request.as_bytes()).await;
    assert!(stream.head().await.starts_with("HTTP/1.1 200"));
    let mut text = String::new();
    assert_eq!(streamed(&mut stream, &mut text, "presence").await, sync["presence"]);
    // The room's own code shows bob, and each client gets that change alone.
    plain.tell(json!([{"presence": {"set": 7}}])).await;
    let joined = json!({"joined": [entry("bob", json!(7), 1)]});
    assert_eq!(read(plain.text().await), json!({ "presence": joined }));
    assert_eq!(read(ids.text().await), json!({ "presence": joined }));
    assert_eq!(streamed(&mut stream, &mut text, "presence").await, joined);
    ada.sees(|users| users.contains_key("bob")).await;
    assert_eq!(here(&node).await, json!([teal, entry("bob", json!(7), 1)]));
    // The room's code reads the same users.
    assert_eq!(
        plain.ask(json!([{"presence": "users"}])).await,
        r#"ada {"color":"teal"} 1 ,bob 7 1 "#
    );
}

#[tokio::test]
async fn a_client_that_polls_gets_who_is_there_when_it_asks_for_that() {
    let node = setup("1m").limits(|limits| limits.poll_ms_max = 2_000).start().await;
    let mut ada = Person::open(&node, "_pk=ada").await;
    let first = node.get(&format!("{ROOM}?_poll&_pk=bob&quiet=1")).await.json();
    let secret = first["welcome"]["secret"].as_str().unwrap().to_owned();
    let since = first["since"].as_str().unwrap().to_owned();
    let poll = async |at: &str| {
        let path = format!("{ROOM}?_poll&_pk=bob&_since={since}&_resume={secret}{at}");
        node.get(&path).await
    };
    // An answer that is lost is given again.
    for _ in 0..2 {
        let answer = poll("&_presence_at=0").await.json();
        assert_eq!(answer["presence"], json!({"sync": []}), "{answer}");
    }
    let answer = poll("&_presence_at=0").await.json();
    let at = format!("&_presence_at={}", answer["presence_at"]);
    let (answer, ()) = tokio::join!(poll(&at), ada.shows(json!(1)));
    let answer = answer.json();
    let entries = answer["presence"]["joined"].as_array().or(answer["presence"]["sync"].as_array());
    assert_eq!(entries, Some(&vec![entry("ada", json!(1), 1)]), "{answer}");
    // A client that does not ask is not answered because of it.
    let waited = poll("").await.json();
    assert_eq!((&waited["messages"], &waited["presence"]), (&json!([]), &Value::Null));
    assert_eq!(poll("&_presence_at=x").await.status, 400);
}

#[tokio::test]
async fn a_page_that_loads_again_neither_leaves_nor_joins() {
    let node = setup("1m").start().await;
    let mut watch = Person::open(&node, "_pk=watch").await;
    let mut ada = Person::open(&node, "_pk=ada").await;
    ada.shows(json!("here")).await;
    watch.sees(only(&[entry("ada", json!("here"), 1)])).await;
    ada.socket.close(Some((1000, ""))).await;
    watch.sees(only(&[entry("ada", json!("here"), 0)])).await;
    let mut ada = Person::open(&node, "_pk=ada").await;
    watch.sees(only(&[entry("ada", json!("here"), 1)])).await;
    ada.sees(only(&[entry("ada", json!("here"), 1)])).await;
    // A newer tab with the same id takes its place.
    let mut newer = Person::open(&node, "_pk=ada").await;
    newer.shows(json!("newer")).await;
    watch.sees(only(&[entry("ada", json!("newer"), 1)])).await;
    let answer = newer.wishes(json!({ "data": null })).await;
    assert_eq!(answer["type"], "ack");
    watch.sees(BTreeMap::is_empty).await;
    assert_eq!(watch.moves, ["+ada", "-ada"]);
}

#[tokio::test]
async fn a_user_leaves_when_its_last_connection_has_been_gone_for_the_grace() {
    let section = json!({ "secret": "AUTH_SECRET", "skew_s": 0, "required": false });
    let node = setup("20ms").auth(&section).start_empty().await;
    node.deploy(guest("puppet"), &[("AUTH_SECRET", SECRET)]).await.unwrap();
    let exp = Clock::system().wall_ms() / 1_000 + 600;
    let token = |who: &str| Issuer::hs(SECRET).token(&json!({ "sub": who, "exp": exp }));
    let mut watch = Person::open(&node, &format!("token={}", token("watch"))).await;
    let query = format!("token={}", token("ada"));
    let mut one = Person::open(&node, &query).await;
    one.shows(json!(1)).await;
    let mut two = Person::open(&node, &query).await;
    watch.sees(only(&[entry("ada", json!(1), 2)])).await;
    one.socket.close(Some((1000, ""))).await;
    watch.sees(only(&[entry("ada", json!(1), 1)])).await;
    two.shows(json!(2)).await;
    // Somebody without a token who takes the name of a user as an id speaks for nobody.
    let mut false_ada = Person::open(&node, "_pk=ada").await;
    assert_eq!(false_ada.wishes(json!({"data": 3})).await["code"], "forbidden");
    two.socket.close(Some((1000, ""))).await;
    watch.sees(BTreeMap::is_empty).await;
    assert_eq!(watch.moves, ["+ada", "-ada"]);
}

#[tokio::test]
async fn a_client_that_is_away_is_present_until_its_time_is_over() {
    let node = setup("0ms").start().await;
    let mut watch = Person::open(&node, "_pk=watch").await;
    let headers = [("sec-websocket-protocol", "room.ids")];
    let path = format!("{ROOM}?_pk=ada&quiet=1");
    let mut ada = TestClient::try_connect(node.addr(), &path, &headers).await.unwrap();
    let welcome: Value = serde_json::from_str(&ada.text().await).unwrap();
    ada.tell(json!([{"presence": {"set": 1}}])).await;
    watch.sees(only(&[entry("ada", json!(1), 1)])).await;
    drop(ada);
    let bearer = format!("Bearer {}", node.secret());
    let admin = [("authorization", bearer.as_str())];
    until("ada to be away", async || {
        let seen = node.request("GET", "/_room/admin/rooms/main/lobby", &admin, &[]).await.json();
        assert_eq!(seen["presence"], json!({ "users": 1 }));
        seen["log"]["away"] == 1
    })
    .await;
    assert_eq!(here(&node).await, json!([entry("ada", json!(1), 1)]));
    let own = &welcome["welcome"];
    let (since, secret) = (own["at"].as_str().unwrap(), own["secret"].as_str().unwrap());
    let path = format!("{path}&_since={since}&_resume={secret}");
    let mut ada = TestClient::try_connect(node.addr(), &path, &headers).await.unwrap();
    assert!(ada.text().await.contains("resumed"));
    let sync: Value = serde_json::from_str(&ada.text().await).unwrap();
    assert_eq!(sync, json!({"presence": {"sync": [entry("ada", json!(1), 1)]}}));
    ada.close(Some((1000, ""))).await;
    watch.sees(BTreeMap::is_empty).await;
    assert_eq!(watch.moves, ["+ada", "-ada"]);
}

#[tokio::test]
async fn users_stay_through_hibernation_new_code_and_faults() {
    let limits = |limits: &mut Limits| limits.hibernate_ms = 20;
    let node = setup("1m").hibernate().limits(limits).start().await;
    let mut ada = Person::open(&node, "_pk=ada").await;
    ada.shows(json!(1)).await;
    until("the room to sleep", async || node.live().await == 0).await;
    let mut bob = Person::open(&node, "_pk=bob").await;
    bob.sees(only(&[entry("ada", json!(1), 1)])).await;
    until("the room to sleep", async || node.live().await == 0).await;
    let typing = ada.wishes(json!({"flag": "typing", "for_ms": 60_000})).await;
    assert_eq!(typing["type"], "ack");
    bob.sees(|users| users["ada"]["flags"] == json!(["typing"])).await;
    assert_eq!(node.live().await, 0, "a wish wakes no guest");
    let ended = ada.wishes(json!({"flag": "typing", "for_ms": 0, "data": 2})).await;
    assert_eq!(ended["type"], "ack");
    bob.sees(only(&[entry("ada", json!(2), 1)])).await;
    let script = json!({"type": "send", "channel": 0, "data": r#"["trap"]"#});
    ada.socket.send(script.to_string()).await;
    let module = variant(&guest("puppet"), 1);
    node.deploy(module, &[("VERSION", "2")]).await.unwrap();
    ada.shows(json!(3)).await;
    bob.sees(only(&[entry("ada", json!(3), 1)])).await;
    let says = json!({"type": "send", "channel": 0, "data": r#"[{"presence":{"user":"ada"}}]"#});
    bob.socket.send(says.to_string()).await;
    while bob.frame().await["data"] != "3" {}
    assert_eq!(bob.moves, [""; 0]);
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_one_event_with_all_when_it_reads_again() {
    let node = setup("1m").start().await;
    let mut slow = RawClient::narrow(node.addr()).await;
    let request = format!(
        "GET {ROOM}?_pk=slow&quiet=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    slow.write(request.as_bytes()).await;
    assert!(slow.head().await.starts_with("HTTP/1.1 101"));
    let mut quick = Person::open(&node, "_pk=quick").await;
    let large = 256 * 1024;
    let fill = json!({
        "type": "send", "channel": 0, "data": format!(r#"[{{"broadcast_bytes":{large}}}]"#),
    });
    for _ in 0..16 {
        quick.socket.send(fill.to_string()).await;
        while quick.frame().await["type"] != "message" {}
    }
    for data in 0..100 {
        quick.shows(json!(data)).await;
        quick.sees(only(&[entry("quick", json!(data), 1)])).await;
    }
    let last = json!({"type": "send", "channel": 0, "data": r#"[{"broadcast":"end"}]"#});
    quick.socket.send(last.to_string()).await;
    let (mut users, mut events) = (BTreeMap::new(), 0);
    loop {
        let frame = slow.frame().await.unwrap();
        let text = String::from_utf8(frame.payload).unwrap();
        if text == "end" {
            break;
        }
        if let Some(event) = serde_json::from_str::<Value>(&text).ok().filter(Value::is_object) {
            apply(&mut users, &event["presence"]);
            events += 1;
        }
    }
    assert_eq!(users["quick"], entry("quick", json!(99), 1));
    // The sync at the beginning, what the socket had taken, and what waited.
    assert!(events < 20, "{events} events for 100 changes");
}

#[tokio::test]
async fn a_client_that_may_not_or_cannot_show_something_is_refused_by_name() {
    let bounds = |limits: &mut Limits| {
        limits.presence_users_max = 1;
        limits.presence_data_bytes_max = 16;
    };
    let node = setup("0ms").limits(bounds).start().await;
    let mut ada = Person::open(&node, "_pk=ada").await;
    let mut bob = Person::open(&node, "_pk=bob").await;
    for (frame, code) in [
        (json!({}), "malformed"),
        (json!({"data": 1, "channel": 9}), "unknown_channel"),
        (json!({"data": "x".repeat(16)}), "too_large"),
        (json!({"flag": "typing", "for_ms": 60_001}), "malformed"),
        (json!({"flag": "typing", "for_ms": 1}), "not_present"),
        (json!({"flag": "typing"}), "malformed"),
    ] {
        let answer = ada.wishes(frame.clone()).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{frame}");
    }
    ada.shows(json!(1)).await;
    assert_eq!(bob.wishes(json!({"data": 1})).await["code"], "busy");
    for at in 0..8 {
        let flag = ada.wishes(json!({"flag": at.to_string(), "for_ms": 60_000})).await;
        assert_eq!(flag["type"], "ack", "{flag}");
    }
    assert_eq!(ada.wishes(json!({"flag": "8", "for_ms": 1})).await["code"], "busy");
    // What is refused ends neither the channel nor the session.
    assert_eq!(ada.wishes(json!({ "data": null })).await["type"], "ack");
    assert_eq!(bob.wishes(json!({"data": 1})).await["type"], "ack");
}

#[tokio::test]
async fn the_room_alone_may_show_users_and_without_the_setting_nobody_does() {
    let by_room = PresenceSetting { by: PresentBy::Room, ..setting("1m") };
    let node = Setup::memory().present(by_room).start_empty().await;
    let main = node.party(guest("puppet"), &[]);
    let bare = PartyConfig { name: "bare".to_owned(), presence: None, ..main.clone() };
    node.deploy_project(vec![main, bare]).await.unwrap();
    let mut ada = Person::open(&node, "_pk=ada").await;
    assert_eq!(ada.wishes(json!({"data": 1})).await["code"], "forbidden");
    let script = json!({"type": "send", "channel": 0, "data": r#"[{"presence":{"set":1}}]"#});
    ada.socket.send(script.to_string()).await;
    ada.sees(only(&[entry("ada", json!(1), 1)])).await;
    let join = json!({"type": "join", "ref": 90, "party": "bare", "room": "lobby"});
    ada.socket.send(join.to_string()).await;
    while ada.frame().await["ref"] != 90 {}
    let refused = ada.wishes(json!({"data": 1, "channel": 1})).await;
    assert_eq!(refused["code"], "no_presence", "{refused}");
    let reply = node.get("/parties/bare/lobby?_presence").await;
    assert_eq!(reply.status, 501);
    assert!(reply.text().contains("write `presence = true`"), "{}", reply.text());
}

#[tokio::test]
async fn presence_is_read_without_waking_a_room_and_by_those_who_may_read() {
    let cors = room_runtime::CorsSetting::Every(true);
    let node = setup("1m").cors(cors).start().await;
    let page = [("origin", "https://app.example")];
    let reply = asks(&node, &page).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"users": []})));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(node.running().await, 0, "a room was started");
    let section = json!({ "secret": "AUTH_SECRET", "skew_s": 0, "required": false });
    let node = setup("1m").auth(&section).start_empty().await;
    node.deploy(guest("puppet"), &[("AUTH_SECRET", SECRET)]).await.unwrap();
    assert_eq!(asks(&node, &[]).await.status, 401);
    let bearer = format!("Bearer {}", node.secret());
    let ticket = async |capabilities: &[&str]| {
        let body = json!({
            "party": "main", "room": "lobby", "ms": 60_000, "capabilities": capabilities,
            "claims": {"sub": "eve"},
        });
        let headers = [("authorization", bearer.as_str())];
        let body = body.to_string();
        let made = node.request("POST", "/_room/admin/tickets", &headers, body.as_bytes()).await;
        made.json()["ticket"].as_str().unwrap().to_owned()
    };
    let (reads, writes) = (ticket(&["read"]).await, ticket(&["write", "presence"]).await);
    let with = |ticket: &str| format!("{ROOM}?_presence&ticket={ticket}");
    assert_eq!(node.get(&with(&reads)).await.json(), json!({"users": []}));
    assert_eq!(node.get(&with(&writes)).await.status, 403);
    // Without `presence` a client shows nothing, and without `read` it gets no event.
    let mut reader = Person::open(&node, &format!("_pk=r&ticket={reads}")).await;
    assert_eq!(reader.wishes(json!({"data": 1})).await["code"], "forbidden");
    let mut writer = Person::open(&node, &format!("_pk=w&ticket={writes}")).await;
    writer.shows(json!(2)).await;
    reader.sees(only(&[entry("eve", json!(2), 2)])).await;
    assert_eq!(writer.wishes(json!({"flag": "x", "for_ms": 1})).await["type"], "ack");
    assert_eq!(writer.users, BTreeMap::new());
}
