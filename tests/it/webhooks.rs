//! Webhooks: what happens to rooms reaches a receiver, signed, after it is durable and until the receiver has it.

use crate::operated::Operated;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use room_runtime::{Limits, WebhookSettings};
use room_tests::{
    Origin, RawClient, Received, Reply, Requests, Setup, TestClient, TestNode, guest, response,
    until, within,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::sync::watch;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY=";
const VARS: [(&str, &str); 1] = [("HOOK_SECRET", SECRET)];

fn quick(limits: &mut Limits) {
    (limits.expiry_look_ms_max, limits.expiry_pause_ms) = (20, 1);
    (limits.alarm_retry_ms_min, limits.alarm_tries_max) = (1, 1);
    limits.webhook_retry_ms_max = 10;
}

fn to(origin: &Origin) -> WebhookSettings {
    let (url, secret) = (origin.url("/hooks?key=1"), "HOOK_SECRET".to_owned());
    WebhookSettings { url, secret, ..WebhookSettings::default() }
}

fn only(origin: &Origin, events: &[&str]) -> WebhookSettings {
    let events = events.iter().map(|event| (*event).to_owned()).collect();
    WebhookSettings { events: Some(events), ..to(origin) }
}

/// Starts a node whose webhooks go there.
async fn start(setup: Setup, settings: WebhookSettings) -> TestNode {
    let node = setup.limits(quick).webhooks(Some(settings)).start_empty().await;
    node.deploy(guest("puppet"), &VARS).await.unwrap();
    node
}

/// Starts a server that answers with the status that is set.
async fn answering(status: &Arc<AtomicU16>) -> Origin {
    let status = status.clone();
    Origin::start(move |_, _| Some(response(status.load(Ordering::SeqCst), ""))).await
}

/// Returns the body of a webhook whose headers and signature are right.
fn verified(received: &Received) -> Value {
    let header = |name: &str| received.header(name).unwrap_or_else(|| panic!("no {name}"));
    let (id, at_s) = (header("webhook-id"), header("webhook-timestamp"));
    assert_eq!((received.method.as_str(), header("content-type")), ("POST", "application/json"));
    assert!(at_s.parse::<u64>().unwrap() > 1_600_000_000, "{at_s}");
    let key = BASE64_STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let tag = header("webhook-signature").strip_prefix("v1,").unwrap();
    let signed = format!("{id}.{at_s}.{}", received.body);
    hmac::verify(&key, signed.as_bytes(), &BASE64_STANDARD.decode(tag).unwrap()).unwrap();
    serde_json::from_str(&received.body).unwrap()
}

/// Returns what a receiver got: the type of each webhook with its room, in order.
fn kinds(origin: &Origin) -> Vec<String> {
    let kind = |received: &Received| {
        let body = verified(received);
        let kind = body["type"].as_str().unwrap().strip_prefix("room.").unwrap().to_owned();
        format!("{kind} {}", body["data"]["room"].as_str().unwrap())
    };
    origin.received().iter().map(kind).collect()
}

async fn until_kinds(origin: &Origin, wanted: &[&str]) {
    until("the webhooks", async || origin.received().len() >= wanted.len()).await;
    assert_eq!(kinds(origin), wanted);
}

fn ids(origin: &Origin) -> Vec<String> {
    let received = origin.received();
    received.iter().map(|one| one.header("webhook-id").unwrap().to_owned()).collect()
}

async fn operated(node: &TestNode, method: &str, path: &str) -> Reply {
    let bearer = format!("Bearer {}", node.secret());
    node.request(method, &format!("/_room/admin/{path}"), &[("authorization", &bearer)], &[]).await
}

async fn listed(node: &TestNode) -> Value {
    operated(node, "GET", "webhooks").await.json()
}

async fn until_dead(node: &TestNode, count: u64) {
    until("dead letters", async || listed(node).await["dead"] == count).await;
}

async fn leave(mut client: TestClient) {
    client.close(None).await;
    client.closed().await;
}

#[tokio::test]
async fn every_event_of_a_room_reaches_its_receiver_in_order_and_signed() {
    let origin = Origin::of(204, "").await;
    let node = start(Setup::disk().ttl("1s"), to(&origin)).await;
    let alice = node.connect("lobby?_pk=alice&token=s3cret").await;
    let bob = node.connect("lobby?_pk=bob").await;
    leave(alice).await;
    leave(bob).await;
    let wanted = [
        "created lobby",
        "connected lobby",
        "connected lobby",
        "disconnected lobby",
        "disconnected lobby",
        "emptied lobby",
        "expired lobby",
    ];
    until_kinds(&origin, &wanted).await;
    let received = origin.received();
    let connected = verified(&received[1])["data"].clone();
    let uri = format!("http://{}/parties/main/lobby", node.addr());
    let alice = json!({"id": "alice", "uri": uri});
    assert_eq!(connected, json!({"party": "main", "room": "lobby", "connection": alice}));
    assert!(received.iter().all(|one| !one.body.contains("s3cret") && one.path == "/hooks?key=1"));
    let mut all = ids(&origin);
    assert!(all.iter().all(|id| id.starts_with("msg_main.lobby.")), "{all:?}");
    all.sort();
    all.dedup();
    assert_eq!(all.len(), wanted.len());
    // A room that comes again is another one.
    let again = node.connect("lobby").await;
    until("a new room", async || kinds(&origin).len() >= wanted.len() + 2).await;
    assert_eq!(kinds(&origin)[wanted.len()..], ["created lobby", "connected lobby"]);
    drop(again);
    until("the gauges", async || listed(&node).await["waiting"] == 0).await;
    let metrics = node.get("/_room/metrics").await.text();
    assert!(!metrics.contains("room_webhooks_delivered_total 0"), "{metrics}");
}

#[tokio::test]
async fn a_turn_that_fails_makes_no_webhook_and_an_end_makes_one_whatever_its_turn_does() {
    let origin = Origin::of(200, "ok").await;
    let node = start(Setup::memory(), to(&origin)).await;
    for how in ["err", "trap"] {
        node.connect(&format!("lobby?connect={how}")).await.closed().await;
    }
    let alice = node.connect("lobby?_pk=alice").await;
    until_kinds(&origin, &["created lobby", "connected lobby"]).await;
    let fails = json!([{"plan": ["on_close", 1, [{"err": "no"}]]}]);
    assert_eq!(node.post("lobby", &fails).await.status, 200);
    leave(alice).await;
    let rest = ["disconnected lobby", "emptied lobby"];
    until_kinds(&origin, &[&["created lobby", "connected lobby"][..], &rest].concat()).await;
    // A room that stores something is created without a connection.
    node.post("stored", &json!([{"put": ["k", 1]}])).await;
    until("the last one", async || origin.received().len() >= 5).await;
    assert_eq!(kinds(&origin)[4..], ["created stored"]);
}

#[tokio::test]
async fn a_webhook_is_sent_again_with_its_id_after_errors_and_a_restart() {
    let status = Arc::new(AtomicU16::new(500));
    let origin = answering(&status).await;
    let tireless = Setup::disk().limits(|limits| limits.webhook_tries_max = u64::MAX);
    let node = start(tireless, only(&origin, &["connected"])).await;
    let client = node.connect("lobby?_pk=alice").await;
    until("three tries", async || origin.received().len() >= 3).await;
    let waiting = listed(&node).await;
    assert_eq!((&waiting["waiting"], &waiting["dead"]), (&json!(1), &json!(0)), "{waiting}");
    let one = &waiting["next"][0];
    assert_eq!((&one["event"], &one["connection"]), (&json!("connected"), &json!("alice")));
    assert!(one["tries"].as_u64() >= Some(1), "{one}");
    assert_eq!(one["error"], "the receiver answered 500");
    let report = operated(&node, "GET", "rooms/main/lobby").await.json();
    assert_eq!(report["webhooks"], json!({"waiting": 1, "dead": 0}));
    drop(client);
    let node = node.stop().await.start_empty().await;
    let tries = origin.received().len();
    status.store(200, Ordering::SeqCst);
    node.deploy(guest("puppet"), &VARS).await.unwrap();
    until("the webhook to be delivered", async || listed(&node).await["waiting"] == 0).await;
    assert_eq!(origin.received().len(), tries + 1);
    let all = ids(&origin);
    assert!(all.iter().all(|id| *id == all[0]), "{all:?}");
    let bodies: Vec<_> = origin.received().iter().map(verified).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    // The first try was neither before the commit nor lost with the stop: nothing is sent twice now.
    let node = node.stop().await.start_empty().await;
    node.deploy(guest("puppet"), &VARS).await.unwrap();
    drop(node.connect("other").await);
    until("another one", async || origin.received().len() > tries + 1).await;
    assert_eq!(kinds(&origin)[tries + 1..], ["connected other"]);
}

#[tokio::test]
async fn an_unwanted_webhook_is_a_dead_letter_that_an_operator_sends_or_discards() {
    let status = Arc::new(AtomicU16::new(410));
    let origin = answering(&status).await;
    let limits = |limits: &mut Limits| limits.webhooks_dead_max = 2;
    let node = start(Setup::disk().limits(limits), only(&origin, &["connected"])).await;
    let mut clients = vec![node.connect("a").await];
    until_dead(&node, 1).await;
    let letter = listed(&node).await["letters"][0].clone();
    assert_eq!((&letter["tries"], &letter["next_ms"]), (&json!(1), &Value::Null));
    assert!(letter["error"].as_str().unwrap().contains("410"), "{letter}");
    assert_eq!(origin.received().len(), 1);
    status.store(200, Ordering::SeqCst);
    let id = letter["id"].as_str().unwrap();
    let path = format!("webhooks/retry?id={}", id.replace('%', "%25"));
    assert_eq!(operated(&node, "POST", &path).await.json()["changed"], 1);
    until_dead(&node, 0).await;
    until("the letter to be delivered", async || listed(&node).await["waiting"] == 0).await;
    assert_eq!(ids(&origin), [id, id]);
    let unknown = operated(&node, "POST", &path).await;
    assert!(unknown.status == 404 && unknown.text().contains(id), "{}", unknown.text());
    // Of three dead letters, the limit keeps two.
    status.store(410, Ordering::SeqCst);
    for room in ["b", "c", "d"] {
        clients.push(node.connect(room).await);
        until("a try", async || kinds(&origin).contains(&format!("connected {room}"))).await;
    }
    until_dead(&node, 2).await;
    until("the oldest to be discarded", async || {
        let letters = listed(&node).await["letters"].clone();
        letters[0]["room"] == "d" && letters[1]["room"] == "c"
    })
    .await;
    let node = node.stop().await.start_empty().await;
    until_dead(&node, 2).await;
    assert_eq!(operated(&node, "POST", "webhooks/discard").await.json()["changed"], 2);
    assert_eq!(listed(&node).await["letters"], json!([]));
    let metrics = node.get("/_room/metrics").await.text();
    assert!(metrics.contains("room_webhooks_dead "), "{metrics}");
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_no_room() {
    let (open, gate) = watch::channel(false);
    let origin = Origin::behind(gate, |_, _| Some(response(200, "ok"))).await;
    let limits = |limits: &mut Limits| {
        (limits.webhooks_running_max, limits.webhooks_pending_max) = (2, 5);
    };
    let node = start(Setup::memory().limits(limits), only(&origin, &["connected"])).await;
    let mut clients = Vec::new();
    for number in 0..4 {
        let mut client = node.connect(&format!("room-{number}?quiet=1")).await;
        assert_eq!(client.echo("served").await, "served");
        clients.push(client);
    }
    until("the webhooks to wait", async || listed(&node).await["waiting"] == 4).await;
    assert_eq!(origin.received().len(), 2);
    // Beyond the limit, a webhook becomes a dead letter, and its room does not notice.
    for number in 4..6 {
        clients.push(node.connect(&format!("room-{number}?quiet=1")).await);
    }
    until_dead(&node, 1).await;
    let error = listed(&node).await["letters"][0]["error"].clone();
    assert!(error.as_str().unwrap().contains("webhooks_pending_max"), "{error}");
    open.send(true).unwrap();
    until("the webhooks to arrive", async || listed(&node).await["waiting"] == 0).await;
    assert_eq!(origin.received().len(), 5);
}

#[tokio::test]
async fn webhooks_of_a_room_that_left_memory_need_no_instance() {
    let status = Arc::new(AtomicU16::new(500));
    let origin = answering(&status).await;
    let limits = |limits: &mut Limits| {
        (limits.idle_evict_ms, limits.webhook_tries_max) = (20, u64::MAX);
    };
    let node = start(Setup::memory().limits(limits), only(&origin, &["created"])).await;
    node.post("lobby", &json!([{"put": ["k", 1]}])).await;
    until("the room to leave memory", async || node.running().await == 0).await;
    let tries = origin.received().len();
    until("more tries", async || origin.received().len() > tries + 2).await;
    assert_eq!(node.running().await, 0);
    status.store(200, Ordering::SeqCst);
    until("the webhook to arrive", async || listed(&node).await["waiting"] == 0).await;
    assert_eq!(node.running().await, 0);
}

#[tokio::test]
async fn webhooks_of_two_projects_go_to_their_own_receivers() {
    let (_closed, gate) = watch::channel(false);
    let hangs = Origin::behind(gate, |_, _| None).await;
    let works = Origin::of(200, "ok").await;
    let dir = tempfile::tempdir().unwrap();
    let server = Operated::start(dir.path()).await;
    for (project, origin) in [("one", &hangs), ("two", &works)] {
        let mut release = server.release(&guest("puppet"), "1").await;
        release["hosts"] = json!([format!("{project}.example.com")]);
        release["vars"] = json!({"HOOK_SECRET": SECRET});
        release["webhooks"] = json!(only(origin, &["created"]));
        let path = format!("projects/{project}/deploy");
        server.good("POST", &path, release.clone()).await;
        let mut wrong = release;
        wrong["webhooks"]["secret"] = json!("OTHER");
        let said = server.refused(422, "POST", &path, &wrong).await;
        assert!(said.contains("room env set OTHER"), "{said}");
    }
    for (project, name) in [("one", "x"), ("two", "y")] {
        let put = "[{\"put\":[\"k\",1]}]";
        let request = format!(
            "POST /parties/main/{name} HTTP/1.1\r\nhost: {project}.example.com\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{put}",
            put.len()
        );
        let mut client = RawClient::open(server.server.addr()).await;
        client.write(request.as_bytes()).await;
        assert!(client.head().await.starts_with("HTTP/1.1 200"), "{project}");
    }
    until_kinds(&works, &["created y"]).await;
    until("the try at the other", async || !hangs.received().is_empty()).await;
    assert_eq!(kinds(&hangs), ["created x"]);
    assert!(ids(&works)[0].starts_with("msg_two.main.y."), "{:?}", ids(&works));
    let waiting = server.good("GET", "projects/one/node/webhooks", Value::Null).await;
    assert_eq!((&waiting["waiting"], &waiting["url"]), (&json!(1), &json!(hangs.url("/hooks"))));
    within("a server to stop", server.server.drain()).await;
}

#[tokio::test]
async fn a_receiver_that_cannot_be_used_is_refused_at_the_deployment() {
    let origin = Origin::of(200, "ok").await;
    let good = to(&origin);
    let wrong = |url: &str| WebhookSettings { url: url.to_owned(), ..good.clone() };
    for (settings, vars, part) in [
        (only(&origin, &["conected"]), &VARS[..], "created, connected, disconnected"),
        (wrong("example.com"), &VARS[..], "a whole URL"),
        (good.clone(), &[], "room env set HOOK_SECRET"),
        (good.clone(), &[("HOOK_SECRET", "short")], "at least 16"),
        (good.clone(), &[("HOOK_SECRET", "whsec_not base64 at all")], "base64"),
    ] {
        let node = Setup::memory().webhooks(Some(settings)).start_empty().await;
        let error = node.deploy(guest("puppet"), vars).await.unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
        assert_eq!(node.get("/party/lobby").await.status, 503);
    }
}

#[tokio::test]
async fn a_deployment_sends_what_waits_to_the_new_receiver_and_without_one_drops_it() {
    let (old, new) = (Origin::of(500, "no").await, Origin::of(200, "ok").await);
    let tireless = Setup::disk().limits(|limits| limits.webhook_tries_max = u64::MAX);
    let node = start(tireless, only(&old, &["connected"])).await;
    let first = node.connect("first").await;
    until("a try", async || !old.received().is_empty()).await;
    let stopped = node.stop().await.webhooks(Some(only(&new, &["connected"])));
    drop(first);
    let node = stopped.start_empty().await;
    node.deploy(guest("puppet"), &VARS).await.unwrap();
    until_kinds(&new, &["connected first"]).await;
    // The old receiver, and then none.
    let node = node.stop().await.webhooks(Some(only(&old, &["connected"]))).start_empty().await;
    node.deploy(guest("puppet"), &VARS).await.unwrap();
    let second = node.connect("second").await;
    until("a webhook to wait", async || listed(&node).await["waiting"] == 1).await;
    let stopped = node.stop().await;
    drop(second);
    let node = stopped.webhooks(None).start_empty().await;
    until("the store to be read", async || listed(&node).await["waiting"] == 1).await;
    node.deploy(guest("puppet"), &VARS).await.unwrap();
    let empty = listed(&node).await;
    assert_eq!((&empty["waiting"], &empty["url"]), (&json!(0), &Value::Null), "{empty}");
    let mut third = node.connect("third?quiet=1").await;
    assert_eq!(third.echo("served").await, "served");
    assert_eq!(listed(&node).await["waiting"], 0);
    let metrics = node.get("/_room/metrics").await.text();
    assert!(metrics.contains("room_webhooks_dropped_total 1"), "{metrics}");
}
