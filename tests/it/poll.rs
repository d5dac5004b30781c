//! Clients that connect by long polling.

use room_auth::testing::Issuer;
use room_runtime::clock::Clock;
use room_runtime::{CorsSetting, Limits, PublishKeySetting, RetentionSettings};
use room_tests::{RawClient, Reply, Requests, Setup, TestClient, TestNode, guest, until};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const ROOM: &str = "/parties/main/lobby";

/// A client that polls.
struct Poller {
    query: String,
    connection: String,
    secret: String,
    since: String,
    /// What its first answer had.
    messages: Vec<Value>,
}

impl Poller {
    async fn open(node: &TestNode, query: &str) -> Self {
        let reply = node.get(&format!("{ROOM}?_poll&{query}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let answer = reply.json();
        assert_eq!(answer["welcome"]["arrival"], "new", "{answer}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let welcome = &answer["welcome"];
        let connection = text(&welcome["connection"]);
        Self {
            query: format!("_pk={connection}"),
            connection,
            secret: text(&welcome["secret"]),
            since: text(&answer["since"]),
            messages: answer["messages"].as_array().unwrap().clone(),
        }
    }

    fn path(&self) -> String {
        format!("{ROOM}?_poll&_since={}&_resume={}&{}", self.since, self.secret, self.query)
    }

    /// Polls, and goes on after what the answer has.
    async fn poll(&mut self, node: &TestNode) -> Value {
        let reply = node.get(&self.path()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let answer = reply.json();
        assert_eq!(answer["welcome"], Value::Null, "{answer}");
        self.since = answer["since"].as_str().unwrap().to_owned();
        answer
    }

    /// Polls for this many texts, and returns them.
    async fn heard(&mut self, node: &TestNode, count: usize) -> Vec<String> {
        let mut heard = Vec::new();
        while heard.len() < count {
            let answer = self.poll(node).await;
            heard.extend(texts(&answer["messages"]));
            assert_eq!(answer["closed"], Value::Null, "{answer}");
        }
        heard
    }

    async fn post(&self, node: &TestNode, kind: &str, body: &[u8]) -> Reply {
        let headers = [("x-room-secret", self.secret.as_str()), ("content-type", kind)];
        let path = format!("{ROOM}?_connection={}", self.connection);
        node.request("POST", &path, &headers, body).await
    }

    /// Posts a script to the puppet, which is carried out.
    async fn tell(&self, node: &TestNode, script: Value) {
        let reply = self.post(node, "application/json", script.to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.text().as_str()), (204, ""));
    }
}

fn texts(messages: &Value) -> Vec<String> {
    let text = |message: &Value| message["text"].as_str().unwrap().to_owned();
    messages.as_array().unwrap().iter().map(text).collect()
}

fn setup() -> Setup {
    let resume = Some("1m".parse().unwrap());
    Setup::memory().sse().remembering(RetentionSettings { resume, history: None })
}

async fn start(change: impl FnOnce(&mut Limits)) -> TestNode {
    setup().limits(change).start().await
}

/// Waits until this many clients of the lobby are between two polls.
async fn away(node: &TestNode, count: u64) {
    let bearer = format!("Bearer {}", node.secret());
    let headers = [("authorization", bearer.as_str())];
    until("clients to be away", async || {
        let seen = node.request("GET", "/_room/admin/rooms/main/lobby", &headers, &[]).await.json();
        seen["log"]["away"] == count
    })
    .await;
}

/// Waits until the room has noted an event.
async fn noted(node: &TestNode, words: &str) {
    until(words, async || {
        let events = node.report("lobby").await["events"].clone();
        events.as_array().unwrap().iter().any(|event| event.as_str().unwrap().contains(words))
    })
    .await;
}

#[tokio::test]
async fn a_client_that_polls_is_a_connection_of_its_room() {
    let node = start(|_| {}).await;
    let mut other = TestClient::connect(node.addr(), &format!("{ROOM}?_pk=bob&tags=red")).await;
    let reply = node.get(&format!("{ROOM}?_poll&_pk=eve")).await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let mut ada = Poller::open(&node, "_pk=ada&hello=one,two&tags=red&state=s").await;
    assert_eq!((ada.connection.as_str(), ada.secret.len()), ("ada", 32));
    assert_eq!(texts(&json!(ada.messages)), ["one", "two"]);
    assert_eq!(ada.post(&node, "text/plain", b"hello").await.status, 204);
    assert_eq!(ada.heard(&node, 1).await, ["hello"]);
    ada.tell(&node, json!([{"say": "mine"}, {"broadcast_tagged": ["to red", "red"]}])).await;
    assert_eq!(ada.heard(&node, 2).await, ["mine", "to red"]);
    assert_eq!(other.text().await, "to red");
    ada.tell(&node, json!(["transport"])).await;
    assert_eq!(ada.heard(&node, 1).await, ["long-poll"]);
    let bytes = ada.post(&node, "application/octet-stream", &[0, 255, 10]).await;
    assert_eq!(bytes.status, 204);
    let answer = ada.poll(&node).await;
    assert_eq!(answer["messages"][0]["base64"], "AP8K");
    assert_eq!(answer["messages"][0]["id"], answer["since"]);
    let bearer = format!("Bearer {}", node.secret());
    let headers = [("authorization", bearer.as_str())];
    let seen = node.request("GET", "/_room/admin/rooms/main/lobby", &headers, &[]).await.json();
    assert_eq!(seen["connections"][2]["transport"], "long-poll", "{seen}");
    let report = node.report("lobby").await;
    let connection = &report["connections"][2];
    assert_eq!((&connection["id"], &connection["state"]), (&json!("ada"), &json!("s")));
    // The room sees neither the secret nor that the client polls.
    assert!(!connection["uri"].as_str().unwrap().contains("_poll"), "{connection}");
    assert!(!report["events"].to_string().contains("close"), "{report}");
}

#[tokio::test]
async fn a_poll_waits_for_a_message_and_is_answered_without_one_in_the_end() {
    let node = start(|limits| limits.poll_ms_max = 300).await;
    let mut ada = Poller::open(&node, "_pk=ada").await;
    let (begun, since) = (Instant::now(), ada.since.clone());
    let answer = ada.poll(&node).await;
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(answer, json!({ "messages": [], "since": since }));
    let node = start(|_| {}).await;
    let mut ada = Poller::open(&node, "_pk=ada").await;
    away(&node, 1).await;
    let speaks = async {
        away(&node, 0).await;
        let mut bob = node.connect("lobby?_pk=bob").await;
        bob.tell(json!([{"broadcast": "now"}])).await;
    };
    let (heard, ()) = tokio::join!(ada.heard(&node, 1), speaks);
    assert_eq!(heard, ["now"]);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_given_again() {
    let node = start(|_| {}).await;
    let mut bob = node.connect("lobby?_pk=bob").await;
    let mut ada = Poller::open(&node, "_pk=ada").await;
    bob.tell(json!([{"broadcast": "1"}, {"broadcast": "2"}])).await;
    let before = ada.since.clone();
    assert_eq!(ada.heard(&node, 2).await, ["1", "2"]);
    ada.since = before.clone();
    assert_eq!(ada.heard(&node, 2).await, ["1", "2"]);
    // A client that leaves while its poll waits.
    let mut leaves = RawClient::open(node.addr()).await;
    leaves.write(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", ada.path()).as_bytes()).await;
    away(&node, 0).await;
    drop(leaves);
    away(&node, 1).await;
    bob.tell(json!([{"broadcast": "3"}])).await;
    // An answer that is never read.
    let mut deaf = RawClient::open(node.addr()).await;
    deaf.write(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", ada.path()).as_bytes()).await;
    assert!(deaf.head().await.starts_with("HTTP/1.1 200"));
    drop(deaf);
    assert_eq!(ada.heard(&node, 1).await, ["3"]);
    ada.since = before;
    assert_eq!(ada.heard(&node, 3).await, ["1", "2", "3"]);
    let events = node.report("lobby").await["events"].to_string();
    assert!(!events.contains("close ada"), "{events}");
}

#[tokio::test]
async fn a_newer_poll_takes_the_place_of_the_one_that_waits() {
    let node = start(|_| {}).await;
    let mut bob = node.connect("lobby?_pk=bob").await;
    let ada = Poller::open(&node, "_pk=ada").await;
    away(&node, 1).await;
    let (node, path) = (std::sync::Arc::new(node), ada.path());
    let older = tokio::spawn({
        let (node, path) = (node.clone(), path.clone());
        async move { node.get(&path).await.json() }
    });
    away(&node, 0).await;
    let newer = tokio::spawn({
        let node = node.clone();
        async move { node.get(&path).await.json() }
    });
    let since = ada.since.as_str();
    let expected = json!({ "messages": [], "since": since, "superseded": true });
    assert_eq!(older.await.unwrap(), expected);
    bob.tell(json!([{"broadcast": "hi"}])).await;
    assert_eq!(texts(&newer.await.unwrap()["messages"]), ["hi"]);
}

#[tokio::test]
async fn a_close_of_the_room_is_in_an_answer_also_between_two_polls() {
    let node = start(|_| {}).await;
    let mut bob = node.connect("lobby?_pk=bob").await;
    for (id, waits) in [("ada", true), ("ann", false)] {
        let mut ada = Poller::open(&node, &format!("_pk={id}")).await;
        away(&node, 1).await;
        let close = json!([{"broadcast": "last"}, {"close_other": [id, 4001, "bye"]}]);
        let answer = if waits {
            let closes = async {
                away(&node, 0).await;
                bob.tell(close).await;
            };
            tokio::join!(ada.poll(&node), closes).0
        } else {
            bob.tell(close).await;
            assert_eq!(bob.text().await, "last");
            ada.poll(&node).await
        };
        assert_eq!(texts(&answer["messages"]), ["last"], "{answer}");
        assert_eq!(answer["closed"], json!({ "code": 4001, "reason": "bye" }));
        noted(&node, &format!("close {id} 4001 \"bye\" clean=true")).await;
        assert_eq!(ada.post(&node, "text/plain", b"late").await.status, 410);
        if waits {
            assert_eq!(bob.text().await, "last");
        }
    }
    // A client that does not come for it.
    let node = start(|limits| limits.close_ms_max = 100).await;
    let mut bob = node.connect("lobby?_pk=bob").await;
    let ada = Poller::open(&node, "_pk=ada").await;
    away(&node, 1).await;
    bob.tell(json!([{"close_other": ["ada", 4001, "bye"]}])).await;
    noted(&node, "close ada 4001 \"bye\" clean=false").await;
    let answer = node.get(&ada.path()).await.json();
    assert_eq!(answer["welcome"]["gap"], "unknown_connection", "{answer}");
}

#[tokio::test]
async fn answers_are_bounded_and_nothing_is_lost_at_the_bound() {
    let node = start(|limits| limits.poll_answer_bytes_max = 5_000).await;
    let mut ada = Poller::open(&node, "_pk=ada").await;
    let mut bob = node.connect("lobby?_pk=bob&quiet=1").await;
    for number in 0..300 {
        bob.tell(json!([{"send_to": ["ada", number.to_string()]}])).await;
    }
    bob.tell(json!([{"send_to": ["ada", "x".repeat(20_000)]}])).await;
    bob.tell(json!([{"close_other": ["ada", 4001, "bye"]}, {"say": "done"}])).await;
    assert_eq!(bob.text().await, "done");
    let (mut heard, mut answers) = (Vec::new(), 0);
    let closed = loop {
        let answer = ada.poll(&node).await;
        answers += 1;
        let more = texts(&answer["messages"]);
        assert!(more.len() < 200, "{}", more.len());
        heard.extend(more);
        if answer["closed"] != Value::Null {
            break answer["closed"]["code"].clone();
        }
    };
    let mut expected: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    expected.push("x".repeat(20_000));
    assert!(heard == expected, "{} messages", heard.len());
    assert_eq!(closed, 4001);
    assert!(answers >= 3, "{answers}");
}

#[tokio::test]
async fn a_client_that_cannot_go_on_gets_a_new_connection_that_names_the_gap() {
    let node = start(|limits| limits.history_messages_max = 3).await;
    let mut bob = node.connect("lobby?_pk=bob").await;
    let ada = Poller::open(&node, "_pk=ada").await;
    let (secret, since) = (&ada.secret, &ada.since);
    let zeros = "0".repeat(32);
    for number in 0..9 {
        bob.tell(json!([{"broadcast": number.to_string()}])).await;
    }
    for (query, gap) in [
        (format!("_since={since}&_resume={zeros}&_pk=eve"), "unknown_connection"),
        (format!("_since={since}&_resume={secret}&_pk=eve"), "unknown_connection"),
        (format!("_since={since}&_resume={secret}"), "unknown_connection"),
        (format!("_since={since}&_resume={secret}&_pk=ada"), "too_old"),
    ] {
        let answer = node.get(&format!("{ROOM}?_poll&{query}")).await.json();
        let welcome = &answer["welcome"];
        assert_eq!((&welcome["arrival"], &welcome["gap"]), (&json!("gap"), &json!(gap)), "{query}");
        assert_ne!(welcome["secret"].as_str().unwrap(), secret);
        assert_eq!(welcome["at"], answer["since"]);
    }
    noted(&node, "close ada 4409").await;
}

#[tokio::test]
async fn a_client_that_polls_no_more_is_gone_after_the_resume_time_of_its_party() {
    let resume = Some("1s".parse().unwrap());
    let settings = RetentionSettings { resume, history: None };
    let node = Setup::memory().sse().remembering(settings).start().await;
    let _ada = Poller::open(&node, "_pk=ada").await;
    noted(&node, "close ada 1006").await;
}

#[tokio::test]
async fn a_connection_goes_on_over_another_transport() {
    let node = start(|_| {}).await;
    let mut ada = Poller::open(&node, "_pk=ada&state=kept").await;
    let query = format!("_pk=ada&_since={}&_resume={}", ada.since, ada.secret);
    let headers = [("sec-websocket-protocol", "room.ids")];
    let path = format!("{ROOM}?{query}");
    let mut socket = TestClient::try_connect(node.addr(), &path, &headers).await.unwrap();
    let welcome: Value = serde_json::from_str(&socket.text().await).unwrap();
    assert_eq!(welcome["welcome"]["arrival"], "resumed");
    socket.tell(json!(["transport", "state"])).await;
    let text = |framed: String| framed.split_once(' ').unwrap().1.to_owned();
    assert_eq!(text(socket.text().await), "websocket");
    assert_eq!(text(socket.text().await), "\"kept\"");
    assert_eq!(ada.heard(&node, 2).await, ["websocket", "\"kept\""]);
    assert_eq!(socket.closed().await.0, 4409);
    ada.tell(&node, json!(["transport"])).await;
    assert_eq!(ada.heard(&node, 1).await, ["long-poll"]);
}

/// Asks for a connection that there will not be, and returns the status and what the JSON says.
async fn refused(node: &TestNode, query: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let reply = node.request("GET", &format!("{ROOM}?_poll&{query}"), headers, &[]).await;
    assert_eq!(reply.header("content-type"), Some("application/json"), "{}", reply.text());
    let said = reply.json();
    let text = |key: &str| said[key].as_str().unwrap().to_owned();
    let seconds = reply.header("retry-after").map(|seconds| seconds.parse::<u64>().unwrap());
    assert_eq!(said["retry_after"].as_u64(), seconds);
    (reply.status, text("error"), text("message"))
}

#[tokio::test]
async fn a_poll_is_refused_in_json_with_the_name_of_the_error() {
    let origins = ["https://app.example"];
    let limits = |limits: &mut Limits| {
        (limits.room_connections_max, limits.address_connects_per_s) = (1, 3);
        limits.rates_burst_s = 3;
    };
    let node = setup().limits(limits).origins(&origins).start().await;
    let evil = [("Origin", "https://evil.example")];
    let is =
        |status: u16, error: &str, message: &str| (status, error.to_owned(), message.to_owned());
    for (query, headers, expected) in [
        ("verdict=refuse", &[][..], is(403, "hook", "not you")),
        ("verdict=err", &[], is(401, "hook", "asked to fail")),
        ("", &evil, is(403, "origin", "the project's origins do not list https://evil.example")),
        (
            "_since=x&_resume=y",
            &[],
            is(
                400,
                "malformed",
                "_since is invalid: an id is two numbers with a dash between, such as 7-42",
            ),
        ),
    ] {
        assert_eq!(refused(&node, query, headers).await, expected, "{query}");
    }
    let mut ada = Poller::open(&node, "_pk=ada").await;
    assert_eq!(refused(&node, "_pk=b", &[]).await, is(503, "full", "the room is full"));
    // Polls of a connection are no connections.
    for number in 0..12 {
        ada.tell(&node, json!([{"say": number.to_string()}])).await;
        assert_eq!(ada.heard(&node, 1).await, [number.to_string()]);
    }
    let mut last = refused(&node, "_pk=b", &[]).await;
    while last.1 == "full" {
        last = refused(&node, "_pk=b", &[]).await;
    }
    assert_eq!((last.0, last.1.as_str()), (429, "rate"), "{}", last.2);
    let node = Setup::memory().sse().start().await;
    let (status, _, message) = refused(&node, "", &[]).await;
    assert_eq!(status, 501);
    assert!(message.contains("resume = \"2m\""), "{message}");
    let unknown = node.get("/parties/nobody/lobby?_poll").await;
    let message = unknown.json()["message"].as_str().unwrap().to_owned();
    assert!(unknown.status == 404 && message.contains("nobody"), "{message}");
    // Without the setting, the room answers such requests itself.
    let node = Setup::memory().start().await;
    assert_eq!(node.get(&format!("{ROOM}?_poll")).await.json()["name"], "lobby");
}

#[tokio::test]
async fn polls_need_the_token_once_and_end_with_it() {
    let secret = "0123456789abcdef0123456789abcdef";
    let token = |seconds: i64| {
        let exp = (Clock::system().wall_ms() / 1_000).saturating_add_signed(seconds);
        Issuer::hs(secret).token(&json!({ "sub": "ada", "exp": exp }))
    };
    let node = setup().auth(&json!({ "secret": "AUTH_SECRET" })).start_empty().await;
    node.deploy(guest("puppet"), &[("AUTH_SECRET", secret)]).await.unwrap();
    let missing = refused(&node, "_pk=ada", &[]).await;
    assert_eq!((missing.0, missing.1.as_str()), (401, "auth"));
    let expired = refused(&node, &format!("_pk=ada&token={}", token(-60)), &[]).await;
    assert_eq!((expired.0, expired.2.as_str()), (401, "the token has expired"));
    let mut ada = Poller::open(&node, &format!("_pk=ada&token={}", token(60))).await;
    ada.tell(&node, json!([{"say": "hi"}])).await;
    assert_eq!(ada.heard(&node, 1).await, ["hi"]);
    // The secret alone is not enough for somebody else, and a newer token takes the older one's place.
    let forged = ada.path().replace(&ada.secret, &"0".repeat(32));
    assert_eq!(node.get(&forged).await.status, 401);
    ada.tell(&node, json!([{"say": "again"}])).await;
    // Within the time for which clocks may differ.
    let reply = node.get(&format!("{}&token={}", ada.path(), token(-27))).await;
    assert_eq!(texts(&reply.json()["messages"]), ["again"]);
    ada.since = reply.json()["since"].as_str().unwrap().to_owned();
    let answer = ada.poll(&node).await;
    assert_eq!(answer["closed"], json!({ "code": 4401, "reason": "the token has expired" }));
    assert_eq!(node.get(&ada.path()).await.status, 401);
}

#[tokio::test]
async fn a_node_that_stops_answers_polls_at_once() {
    let node = start(|_| {}).await;
    let ada = Poller::open(&node, "_pk=ada").await;
    away(&node, 1).await;
    let mut client = RawClient::open(node.addr()).await;
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", ada.path());
    client.write(request.as_bytes()).await;
    away(&node, 0).await;
    let begun = Instant::now();
    let stopping = tokio::spawn(node.stop());
    let head = client.head().await;
    let reply = Reply::of(&head, client.rest().await);
    assert_eq!((reply.status, &reply.json()["messages"]), (200, &json!([])), "{head}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    stopping.await.unwrap();
}

#[tokio::test]
async fn the_secret_may_be_in_a_header_and_pages_that_cors_lists_may_poll() {
    let origins = CorsSetting::Origins(vec!["https://app.example".to_owned()]);
    let node = setup().cors(origins).start().await;
    let ada = Poller::open(&node, "_pk=ada").await;
    ada.tell(&node, json!([{"say": "hi"}])).await;
    let path = format!("{ROOM}?_poll&_pk=ada&_since={}", ada.since);
    let headers = [("x-room-secret", ada.secret.as_str()), ("origin", "https://app.example")];
    let reply = node.request("GET", &path, &headers, &[]).await;
    assert_eq!(texts(&reply.json()["messages"]), ["hi"]);
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example"));
    let metrics = node.get("/_room/metrics").await.text();
    for line in
        ["room_polls_total{answer=\"welcome\"} 1", "room_polls_total{answer=\"messages\"} 1"]
    {
        assert!(metrics.contains(line), "{line}");
    }
}

#[tokio::test]
async fn clients_read_which_paths_there_are_and_each_answers_as_described() {
    let keys = vec![PublishKeySetting::Name("PUBLISH_KEY".to_owned())];
    let node = setup().publish(keys).start_empty().await;
    let key = "0123456789abcdef";
    node.deploy(guest("puppet"), &[("PUBLISH_KEY", key)]).await.unwrap();
    let described = node.get("/_room/openapi.json").await.json();
    let mut asked = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        assert!(!path.contains("admin"), "{path}");
        let path = path.replace("{party}", "main").replace("{room}", "lobby");
        for (method, told) in methods.as_object().unwrap() {
            let Some(responses) = told["responses"].as_object() else { continue };
            let bearer = format!("Bearer {key}");
            let secrets = [("authorization", bearer.as_str()), ("x-room-secret", "none")];
            for (query, headers) in
                [("", &[][..]), ("?_poll&_since=x", &[]), ("?_connection=ada", &secrets[..])]
            {
                let body: &[u8] = if method == "post" { b"[]" } else { b"" };
                let asked_for = format!("{path}{query}");
                let reply = node.request(&method.to_uppercase(), &asked_for, headers, body).await;
                let status = reply.status.to_string();
                assert!(responses.contains_key(&status), "{method} {asked_for} is {status}");
                asked += 1;
            }
        }
    }
    assert_eq!(asked, 18);
}
