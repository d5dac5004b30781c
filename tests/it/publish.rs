//! Messages that other servers publish to rooms by HTTP.

use room_runtime::{CorsSetting, Limits, PublishKeySetting, ScopedPublishKey};
use room_tests::{Got, Reply, Requests, Setup, TestClient, TestNode, guest};
use serde_json::{Value, json};

const KEY: &str = "a-key-that-is-for-all-rooms";
const SCOPED: &str = "a-key-that-is-for-some-rooms";
const VARS: [(&str, &str); 2] = [("ALL", KEY), ("SOME", SCOPED)];
const LOBBY: &str = "/_room/publish/main/lobby";
const BATCH: &str = "/_room/publish";

fn keys() -> Vec<PublishKeySetting> {
    let scoped = ScopedPublishKey {
        secret: "SOME".to_owned(),
        parties: Some(vec!["main".to_owned()]),
        rooms: Some(vec!["team-*".to_owned(), "lobby".to_owned()]),
    };
    vec![PublishKeySetting::Name("ALL".to_owned()), PublishKeySetting::Scoped(scoped)]
}

async fn started(setup: Setup) -> TestNode {
    let node = setup.publish(keys()).start_empty().await;
    node.deploy(guest("puppet"), &VARS).await.unwrap();
    node
}

async fn start(change: impl FnOnce(&mut Limits)) -> TestNode {
    started(Setup::memory().limits(change)).await
}

async fn send(node: &TestNode, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let bearer = format!("Bearer {KEY}");
    let headers = [&[("authorization", bearer.as_str())], headers].concat();
    node.request("POST", path, &headers, body).await
}

async fn publish(node: &TestNode, text: &str) -> Reply {
    send(node, LOBBY, &[("content-type", "text/plain")], text.as_bytes()).await
}

async fn publish_once(node: &TestNode, key: &str, text: &str) -> Reply {
    let headers = [("content-type", "text/plain"), ("idempotency-key", key)];
    send(node, LOBBY, &headers, text.as_bytes()).await
}

async fn batch(node: &TestNode, messages: Value) -> Vec<Value> {
    let body = json!({ "messages": messages }).to_string();
    let reply = send(node, BATCH, &[], body.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["results"].as_array().unwrap().clone()
}

async fn published(node: &TestNode, room: &str) -> Vec<String> {
    let events = node.report(room).await["events"].clone();
    let events = events.as_array().unwrap().iter().map(|event| event.as_str().unwrap().to_owned());
    events.filter_map(|event| event.strip_prefix("published ").map(str::to_owned)).collect()
}

fn id_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_publication_is_a_turn_of_its_room_and_answered_with_its_number() {
    let node = start(|_| {}).await;
    let mut client = TestClient::connect(node.addr(), "/parties/main/lobby").await;
    let first = id_of(&publish(&node, "hello").await);
    assert_eq!(client.text().await, "hello");
    let json = send(&node, LOBBY, &[("content-type", "application/json")], b"{\"a\":1}").await;
    assert_eq!(client.text().await, "{\"a\":1}");
    let bytes = send(&node, LOBBY, &[("content-type", "image/png")], &[0, 255]).await;
    assert_eq!(client.recv().await, Got::Binary(vec![0, 255]));
    let mut ids = vec![first, id_of(&json), id_of(&bytes)];
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
    // A room that nobody has visited is started.
    let path = "/_room/publish/main/fresh%20room";
    id_of(&send(&node, path, &[("content-type", "text/plain")], b"x").await);
    assert_eq!(published(&node, "fresh%20room").await, ["x"]);
    // A turn that fails is answered with 500, and leaves nothing.
    let failed = publish(&node, r#"[{"put": ["k", 1]}, {"say": "lost"}, {"err": "no"}]"#).await;
    assert_eq!(failed.status, 500);
    assert_eq!(client.echo("after").await, "after");
}

#[tokio::test]
async fn only_a_key_that_is_for_the_room_publishes() {
    let node = start(|_| {}).await;
    let with = async |key: &str, path: &str| {
        node.request("POST", path, &[("authorization", key)], b"x").await
    };
    for key in ["", "Bearer", "Bearer ", "Bearer wrong-wrong-wrong-wrong", "Basic a-key", KEY] {
        for path in [LOBBY, BATCH] {
            let reply = with(key, path).await;
            assert_eq!(
                (reply.status, reply.header("www-authenticate")),
                (401, Some("Bearer")),
                "{key}"
            );
            assert!(!reply.text().contains("key-that"), "{}", reply.text());
        }
    }
    assert_eq!(node.request("POST", LOBBY, &[], b"x").await.status, 401);
    let scoped = format!("bearer {SCOPED}");
    for (room, status) in
        [("main/lobby", 200), ("main/team-7", 200), ("main/other", 403), ("main/team", 403)]
    {
        let reply = with(&scoped, &format!("{BATCH}/{room}")).await;
        assert_eq!(reply.status, status, "{room} {}", reply.text());
    }
    for (method, path, status) in [
        ("GET", LOBBY, 405),
        ("PUT", BATCH, 405),
        ("POST", "/_room/publish/main", 404),
        ("POST", "/_room/publish/main/lobby/more", 404),
        ("POST", "/_room/publish/nobody/lobby", 404),
        ("POST", "/_room/publish/main/%00", 400),
    ] {
        let bearer = format!("Bearer {KEY}");
        let reply = node.request(method, path, &[("authorization", &bearer)], b"x").await;
        assert_eq!(reply.status, status, "{method} {path} {}", reply.text());
    }
    // A project without keys has no such paths.
    let none = Setup::memory().start().await;
    assert_eq!(publish(&none, "x").await.status, 404);
}

#[tokio::test]
async fn a_project_whose_key_is_not_set_is_refused() {
    let node = Setup::memory().publish(keys()).start_empty().await;
    let refused = node.deploy(guest("puppet"), &VARS[..1]).await.unwrap_err().to_string();
    assert!(refused.contains("SOME") && refused.contains("room env set"), "{refused}");
}

#[tokio::test]
async fn a_repeated_publication_is_answered_and_not_carried_out_again() {
    let mut node = started(Setup::disk()).await;
    let first = id_of(&publish_once(&node, "order-1", "one").await);
    let again = id_of(&publish_once(&node, "order-1", "something else").await);
    assert_eq!(first, again);
    // Without a key, or with another one, it is another publication.
    assert_ne!(id_of(&publish(&node, "two").await), first);
    assert_ne!(id_of(&publish_once(&node, "order-2", "three").await), first);
    node = node.stop().await.start_empty().await;
    node.deploy(guest("puppet"), &VARS).await.unwrap();
    assert_eq!(id_of(&publish_once(&node, "order-1", "one").await), first);
    assert_eq!(published(&node, "lobby").await, ["one", "two", "three"]);
    // One that failed may be tried again with the same key.
    let fails = publish_once(&node, "order-3", r#"[{"err": "no"}]"#).await;
    assert_eq!(fails.status, 500);
    id_of(&publish_once(&node, "order-3", "four").await);
    assert_eq!(published(&node, "lobby").await, ["one", "two", "three", "four"]);
    for key in ["", "  ", &"x".repeat(257)] {
        let reply = publish_once(&node, key, "x").await;
        assert_eq!(reply.status, 400, "{key} {}", reply.text());
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    assert_eq!(send(&node, LOBBY, &twice, b"x").await.status, 400);
}

#[tokio::test]
async fn a_room_forgets_a_key_when_its_time_is_over() {
    let node = start(|limits| limits.publish_once_ms = 1).await;
    let first = id_of(&publish_once(&node, "k", "one").await);
    room_tests::until("the key to be forgotten", async || {
        id_of(&publish_once(&node, "k", "again").await) != first
    })
    .await;
}

#[tokio::test]
async fn each_message_of_a_batch_has_its_own_result_in_its_order() {
    let node = start(|limits| {
        (limits.message_bytes_max, limits.auto_response_bytes_max) = (1_000, 100);
    })
    .await;
    let mut client = TestClient::connect(node.addr(), "/parties/main/lobby").await;
    let results = batch(
        &node,
        json!([
            {"room": "lobby", "text": "one"},
            {"party": "main", "room": "lobby", "json": {"b": [2]}},
            {"room": "fail-start-always", "text": "x"},
            {"party": "nobody", "room": "lobby", "text": "x"},
            {"room": "lobby", "base64": "AP8="},
            {"room": "lobby", "base64": "not base64"},
            {"room": "lobby", "text": "x".repeat(1_001)},
            {"room": "lobby"},
            {"room": "lobby", "text": "x", "json": 1},
            {"room": "", "text": "x"},
            {"party": "a b", "room": "x", "text": "x"},
            {"room": "other", "text": "elsewhere", "idempotency_key": "k"},
            {"room": "other", "text": "elsewhere", "idempotency_key": "k"},
            {"room": "other", "text": "x", "idempotency_key": ""},
            {"room": "lobby", "text": "last"},
        ]),
    )
    .await;
    let statuses: Vec<_> =
        results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    let expected = [200, 200, 500, 404, 200, 400, 413, 400, 400, 400, 400, 200, 200, 400, 200];
    assert_eq!(statuses, expected, "{results:?}");
    for result in &results {
        assert_eq!(result["status"] == 200, result["id"].is_string(), "{result}");
        assert_eq!(result["status"] == 200, result["error"].is_null(), "{result}");
    }
    assert_eq!(results[11]["id"], results[12]["id"]);
    let mut heard = Vec::new();
    for _ in 0..4 {
        heard.push(client.recv().await);
    }
    let text = |text: &str| Got::Text(text.to_owned());
    let all = [text("one"), text("{\"b\":[2]}"), Got::Binary(vec![0, 255]), text("last")];
    assert_eq!(heard, all);
    assert_eq!(published(&node, "other").await, ["elsewhere"]);
}

#[tokio::test]
async fn an_invalid_batch_publishes_nothing() {
    let node = start(|limits| {
        (limits.publish_batch_max, limits.publish_batch_bytes_max) = (3, 4_000);
    })
    .await;
    let many = json!({"messages": vec![json!({"room": "lobby", "text": "x"}); 4]}).to_string();
    let large = json!({"messages": [{"room": "lobby", "text": "x".repeat(4_000)}]}).to_string();
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("{\"messages\": 1}", 400),
        ("{\"messages\": [{}]}", 400),
        ("{\"messages\": [], \"more\": 1}", 400),
        ("{\"messages\": [{\"room\": \"lobby\", \"text\": 1}]}", 400),
        ("{\"messages\": [{\"room\": \"lobby\", \"texts\": \"x\"}]}", 400),
        (&many, 413),
        (&large, 413),
    ] {
        let reply = send(&node, BATCH, &[], body.as_bytes()).await;
        assert_eq!(reply.status, status, "{body:.60} {}", reply.text());
    }
    assert_eq!(batch(&node, json!([])).await, Vec::<Value>::new());
    assert_eq!(node.running().await, 0, "a room was woken");
    let huge = send(&node, LOBBY, &[], &vec![b'x'; 10_000_000]).await;
    assert_eq!(huge.status, 413);
}

#[tokio::test]
async fn pages_that_cors_lists_may_publish_if_they_have_a_key() {
    let origins = CorsSetting::Origins(vec!["https://app.example".to_owned()]);
    let node = started(Setup::memory().cors(origins)).await;
    let page = ("Origin", "https://app.example");
    let asks = [
        page,
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,idempotency-key"),
    ];
    let reply = node.request("OPTIONS", LOBBY, &asks, &[]).await;
    assert_eq!((reply.status, reply.header("access-control-max-age")), (204, Some("86400")));
    let reply = send(&node, LOBBY, &[page], b"x").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example"));
}
