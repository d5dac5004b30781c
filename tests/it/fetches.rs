//! Requests of rooms to other servers: after their turn is durable, kept until they are answered, answered in a turn.

use crate::operated::Operated;
use room_tests::{
    Origin, Requests, Setup, TestNode, guest, response, script, until, variant, within,
};
use serde_json::{Value, json};

fn fetch(origin: &Origin, path: &str, tag: &str, more: &Value) -> Value {
    let mut fetch = json!({"url": origin.url(path), "tag": tag});
    for (name, value) in more.as_object().into_iter().flatten() {
        fetch[name] = value.clone();
    }
    json!({"ask": {"fetch": fetch}})
}

/// Returns what happened in a room about requests, in order.
async fn events(node: &TestNode, room: &str) -> Vec<String> {
    let events = node.report(room).await["events"].clone();
    events.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

async fn until_events(node: &TestNode, room: &str, wanted: &[&str]) {
    until("the events", async || events(node, room).await.len() >= wanted.len()).await;
    assert_eq!(events(node, room).await, wanted);
}

#[tokio::test]
async fn a_room_fetches_and_the_response_is_a_turn() {
    let origin =
        Origin::start(|request, _| Some(response(201, &format!("got {}", request.body)))).await;
    let node = Setup::disk().fetch_hosts(&[origin.host()]).start().await;
    let post = json!({"method": "POST", "body": "hello", "headers": [["x-own", "1"]]});
    node.post("ada", &json!([fetch(&origin, "/path?q=1", "post", &post)])).await;
    until_events(&node, "ada", &["response post 201 got hello"]).await;
    let [request] = &origin.received()[..] else { panic!("one request") };
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/path?q=1"));
    assert_eq!(request.header("x-own"), Some("1"));
    let key = request.header("idempotency-key").expect("a key");
    let (store, own) = key.split_once('.').expect("the key's parts");
    assert!(store.len() == 32 && own.starts_with("main.ada."), "{key}");
    assert_eq!(script(&node.post("ada", &json!([{"ask": "pending"}])).await), [""]);
}

#[tokio::test]
async fn a_turn_that_fails_or_gives_up_fetches_nothing() {
    let origin = Origin::of(200, "ok").await;
    let node = Setup::memory().fetch_hosts(&[origin.host()]).start().await;
    let never = fetch(&origin, "/never", "never", &json!({}));
    assert_eq!(node.post("ada", &json!([never, {"err": "no"}])).await.status, 500);
    let undone = json!([{"transaction": [never, {"err": "no"}]}]);
    node.post("ada", &undone).await;
    node.post("ada", &json!([never, {"ask": {"cancel": "never"}}])).await;
    for best_effort in [false, true] {
        let last = fetch(&origin, "/last", "last", &json!({"best_effort": best_effort}));
        node.post("ada", &json!([last])).await;
    }
    until_events(&node, "ada", &["response last 200 ok", "response last 200 ok"]).await;
    assert!(origin.received().iter().all(|request| request.path == "/last"));
}

#[tokio::test]
async fn a_host_that_the_project_does_not_list_is_refused_by_name() {
    let origin = Origin::of(200, "ok").await;
    let node = Setup::memory().start().await;
    node.post("ada", &json!([fetch(&origin, "/", "t", &json!({}))])).await;
    until("the answer", async || events(&node, "ada").await.len() == 1).await;
    let answer = &events(&node, "ada").await[0];
    assert!(answer.contains("[fetch]") && answer.ends_with("(host-not-allowed)"), "{answer}");
    // An invalid request fails in its own turn.
    let invalid =
        json!([{"ask": {"fetch": {"url": origin.url("/"), "tag": "t", "method": "CONNECT"}}}]);
    assert_eq!(node.post("ada", &invalid).await.status, 500);
    assert!(origin.received().is_empty());
}

#[tokio::test]
async fn a_request_without_an_answer_is_sent_again_after_a_restart_with_the_same_key() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let origin = Origin::behind(gate, |_, _| Some(response(200, "second"))).await;
    let node = Setup::disk().fetch_hosts(&[origin.host()]).start().await;
    node.post("ada", &json!([fetch(&origin, "/", "t", &json!({}))])).await;
    until("the first request", async || !origin.received().is_empty()).await;
    let node = node.restart().await;
    until("the second request", async || origin.received().len() == 2).await;
    open.send(true).unwrap();
    until_events(&node, "ada", &["response t 200 second"]).await;
    let received = origin.received();
    let keys: Vec<_> = received.iter().map(|request| request.header("idempotency-key")).collect();
    assert!(keys.len() == 2 && keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
}

#[tokio::test]
async fn a_transient_failure_is_tried_again_as_often_as_the_room_wants() {
    let origin = Origin::start(|request, before| match request.path.as_str() {
        "/busy" if before == 0 => Some(response(503, "busy")),
        "/busy" => Some(response(200, "done")),
        _ => Some(response(503, "always")),
    })
    .await;
    let node = Setup::disk().fetch_hosts(&[origin.host()]).start().await;
    node.post("ada", &json!([fetch(&origin, "/busy", "busy", &json!({"retries": 1}))])).await;
    until_events(&node, "ada", &["response busy 200 done"]).await;
    // Without retries, and after the last one, the response is the answer.
    node.post("eve", &json!([fetch(&origin, "/always", "none", &json!({}))])).await;
    until_events(&node, "eve", &["response none 503 always"]).await;
    assert_eq!(origin.received().len(), 3);
}

#[tokio::test]
async fn a_body_comes_in_chunks_with_a_turn_each() {
    let origin = Origin::start(|_, _| {
        let chunk = |bytes: usize| format!("{bytes:x}\r\n{}\r\n", "x".repeat(bytes));
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        Some(format!("{head}{}{}{}0\r\n\r\n", chunk(10), chunk(20), chunk(30)))
    })
    .await;
    let few = |limits: &mut room_runtime::Limits| limits.fetch_chunk_bytes_max = 20;
    let node = Setup::disk().limits(few).fetch_hosts(&[origin.host()]).start().await;
    node.post("ada", &json!([fetch(&origin, "/", "t", &json!({"chunks": true}))])).await;
    let is_over = |event: &String| event.starts_with("response");
    until("the end", async || events(&node, "ada").await.iter().any(is_over)).await;
    let events = events(&node, "ada").await;
    assert_eq!(events.last().map(String::as_str), Some("response t 200 "));
    let mut at = 0;
    for event in &events[..events.len() - 1] {
        let part = event.strip_prefix("chunk t ").unwrap();
        let (offset, bytes) = part.split_once('+').unwrap();
        assert_eq!(offset.parse::<usize>().unwrap(), at, "{events:?}");
        at += bytes.parse::<usize>().unwrap();
    }
    assert_eq!(at, 60);
}

#[tokio::test]
async fn a_chunk_whose_turn_fails_ends_its_request() {
    let origin = Origin::of(200, "some bytes").await;
    let node = Setup::memory().fetch_hosts(&[origin.host()]).start().await;
    node.post("ada", &json!([fetch(&origin, "/", "fails-1", &json!({"chunks": true}))])).await;
    until("the answer", async || events(&node, "ada").await.len() == 1).await;
    let answer = &events(&node, "ada").await[0];
    assert!(answer.ends_with("(chunk-failed)"), "{answer}");
}

#[tokio::test]
async fn a_room_with_a_request_under_way_stays_and_others_wait_for_their_turn() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let origin = Origin::behind(gate, |_, _| Some(response(200, "ok"))).await;
    let few = |limits: &mut room_runtime::Limits| {
        (limits.outcalls_running_max, limits.idle_evict_ms) = (2, 10);
    };
    let node = Setup::memory().limits(few).fetch_hosts(&[origin.host()]).start().await;
    let many: Vec<_> =
        (0..9).map(|number| fetch(&origin, "/", &number.to_string(), &json!({}))).collect();
    node.post("ada", &json!(many)).await;
    until("two requests", async || origin.received().len() == 2).await;
    // Longer than a room without work stays in memory: it is still there, and asks no third time.
    node.post("idle", &json!([])).await;
    until("an idle room to be gone", async || node.running().await == 1).await;
    assert_eq!(origin.received().len(), 2);
    open.send(true).unwrap();
    until("all answers", async || events(&node, "ada").await.len() == 9).await;
    until("the room to be gone", async || node.running().await == 0).await;
}

#[tokio::test]
async fn an_answer_meets_the_code_that_replaced_its_own() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let origin = Origin::behind(gate, |_, _| Some(response(200, "late"))).await;
    let node = Setup::memory().fetch_hosts(&[origin.host()]).start().await;
    node.post("ada", &json!([fetch(&origin, "/", "t", &json!({}))])).await;
    until("the request", async || !origin.received().is_empty()).await;
    node.deploy(variant(&guest("puppet"), 1), &[("VERSION", "2")]).await.unwrap();
    open.send(true).unwrap();
    until_events(&node, "ada", &["response t 200 late"]).await;
    assert_eq!(node.report("ada").await["version"], "2");
}

#[tokio::test]
async fn two_projects_and_two_servers_never_send_the_same_key() {
    let origin = Origin::of(200, "ok").await;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&one, &two] {
        let operated = Operated::start(dir.path()).await;
        for project in ["chat", "shop"] {
            let mut release = operated.release(&guest("puppet"), "1").await;
            release["fetch"] = json!({"hosts": [origin.host()]});
            release["hosts"] = json!([format!("{project}.example.com")]);
            operated.good("POST", &format!("projects/{project}/deploy"), release).await;
            let url = format!("http://{project}.example.com/parties/main/ada");
            let body = json!([fetch(&origin, "/", "t", &json!({}))]).to_string();
            let addr = operated.server.addr();
            assert_eq!(addr.request("POST", &url, &[], body.as_bytes()).await.status, 200);
        }
        within("a server to stop", operated.server.drain()).await;
    }
    until("all requests", async || origin.received().len() >= 4).await;
    let received = origin.received();
    // The store, the project, the party, the room and the number.
    let key = |request: &room_tests::Received| -> Vec<String> {
        let key = request.header("idempotency-key").expect("a key");
        key.splitn(5, '.').map(str::to_owned).collect()
    };
    let mut keys: Vec<_> = received.iter().map(key).collect();
    keys.sort_by_key(|key| key[1].clone());
    keys.dedup();
    let names: Vec<_> = keys.iter().map(|key| key[1..4].join(".")).collect();
    assert_eq!(names, ["chat.main.ada", "chat.main.ada", "shop.main.ada", "shop.main.ada"]);
    let stores: std::collections::BTreeSet<_> = keys.iter().map(|key| &key[0]).collect();
    assert_eq!(stores.len(), 4, "{keys:?}");
}
