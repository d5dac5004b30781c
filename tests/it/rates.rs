//! Clients that connect or send too fast.

use room_auth::testing::Issuer;
use room_runtime::clock::Clock;
use room_runtime::{Limits, Preamble};
use room_tests::{RawClient, Reply, Requests, Setup, TestClient, TestNode, guest, until};
use serde_json::json;

const ROOM: &str = "/parties/main/lobby";

async fn metric(node: &TestNode, name: &str) -> u64 {
    let text = node.get("/_room/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// Asks for a WebSocket as a client behind a proxy, and returns the head of the answer.
async fn handshake(node: &TestNode, client: &str) -> String {
    let mut raw = RawClient::open(node.addr()).await;
    let request = format!(
        "GET {ROOM} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    raw.write(request.as_bytes()).await;
    raw.head().await
}

#[tokio::test]
async fn a_flood_of_connections_from_one_address_leaves_other_addresses_unaffected() {
    let limits = |limits: &mut Limits| {
        (limits.address_connects_per_s, limits.rates_burst_s) = (1, 5);
    };
    let setup = Setup::memory().limits(limits).sse();
    let node = setup.proxies(&["127.0.0.0/8"], Preamble::Nothing).start().await;
    let mut refused = 0;
    for _ in 0..50 {
        let head = handshake(&node, "192.0.2.1").await;
        if head.starts_with("HTTP/1.1 101") {
            continue;
        }
        assert!(head.starts_with("HTTP/1.1 429"), "{head}");
        assert!(head.contains("retry-after: 1\r\n"), "{head}");
        refused += 1;
    }
    assert!(refused > 0);
    assert!(metric(&node, "room_upgrades_refused_total{reason=\"rate\"}").await >= refused);
    for client in ["192.0.2.2", "2001:db8::1", "192.0.2.3"] {
        let head = handshake(&node, client).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{client} {head}");
    }
    // An EventSource gets the time after which it comes again; requests are not connections.
    let headers = [("X-Forwarded-For", "2001:db8::2"), ("Accept", "text/event-stream")];
    for _ in 0..5 {
        let mut raw = RawClient::open(node.addr()).await;
        let head =
            format!("{}: {}\r\n{}: {}\r\n", headers[0].0, headers[0].1, headers[1].0, headers[1].1);
        raw.write(format!("GET {ROOM} HTTP/1.1\r\nHost: x\r\n{head}\r\n").as_bytes()).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 200"));
    }
    let reply: Reply = node.request("GET", ROOM, &headers, &[]).await;
    let text = reply.text();
    assert!(text.contains("event: close") && text.contains("address_connects_per_s"), "{text}");
    for _ in 0..20 {
        assert_eq!(node.request("GET", ROOM, &headers[..1], &[]).await.status, 200);
    }
}

#[tokio::test]
async fn a_client_that_sends_too_fast_is_closed_and_the_others_are_served() {
    let limits = |limits: &mut Limits| {
        (limits.connection_messages_per_s, limits.rates_burst_s) = (1, 20);
    };
    let node = Setup::memory().limits(limits).start().await;
    let mut other = TestClient::connect(node.addr(), ROOM).await;
    let mut flood = TestClient::connect(node.addr(), &format!("{ROOM}?_pk=flood")).await;
    for number in 0..500 {
        flood.try_send(&number.to_string()).await;
    }
    let mut answered = 0;
    let (code, reason) = loop {
        match flood.recv().await {
            room_tests::Got::Text(text) => {
                assert_eq!(text, answered.to_string());
                answered += 1;
            }
            room_tests::Got::Close(code, reason) => break (code, reason),
            other => panic!("{other:?}"),
        }
    };
    assert!((20..500).contains(&answered), "{answered}");
    assert_eq!(code, 1008);
    assert!(
        reason.starts_with("too fast: connection_messages_per_s allows 1; try again"),
        "{reason}"
    );
    for _ in 0..15 {
        assert_eq!(other.echo("on").await, "on");
    }
    let name = "room_messages_refused_total{limit=\"connection_messages_per_s\"}";
    assert_eq!(metric(&node, name).await, 1);
}

#[tokio::test]
async fn a_post_that_comes_too_fast_is_answered_429_and_its_connection_stays() {
    let limits = |limits: &mut Limits| {
        (limits.connection_bytes_per_s, limits.rates_burst_s) = (100, 1);
    };
    let node = Setup::memory().limits(limits).sse().start().await;
    let mut raw = RawClient::open(node.addr()).await;
    let request =
        format!("GET {ROOM}?_pk=ada HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n");
    raw.write(request.as_bytes()).await;
    raw.head().await;
    let mut welcome = String::new();
    while !welcome.ends_with("\n\n") {
        welcome.push_str(std::str::from_utf8(&raw.chunk().await.unwrap()).unwrap());
    }
    let secret = welcome.split("\"secret\":\"").nth(1).unwrap()[..32].to_owned();
    let post = async |bytes: usize| {
        let headers = [("x-room-secret", secret.as_str())];
        let path = format!("{ROOM}?_connection=ada");
        node.request("POST", &path, &headers, &vec![b'x'; bytes]).await
    };
    assert_eq!(post(90).await.status, 204);
    let mut last = post(1_000).await;
    while last.status == 204 {
        last = post(1_000).await;
    }
    assert_eq!(last.status, 429, "{}", last.text());
    let after: u64 = last.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=11).contains(&after), "{after}");
    assert!(last.text().contains("connection_bytes_per_s allows 100"), "{}", last.text());
    assert_eq!(node.report("lobby").await["connections"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn one_room_that_gets_too_much_leaves_other_rooms_their_rate() {
    let limits = |limits: &mut Limits| {
        (limits.room_messages_per_s, limits.rates_burst_s) = (1, 10);
    };
    let node = Setup::memory().limits(limits).start().await;
    let mut closed = 0;
    for _ in 0..30 {
        let mut client = TestClient::connect(node.addr(), ROOM).await;
        client.send("x").await;
        if let room_tests::Got::Close(1008, reason) = client.recv().await {
            assert!(reason.contains("room_messages_per_s"), "{reason}");
            closed += 1;
        }
    }
    assert!(closed > 0);
    let mut other = TestClient::connect(node.addr(), "/parties/main/other").await;
    for _ in 0..10 {
        assert_eq!(other.ask(json!([{"say": "served"}])).await, "served");
    }
}

#[tokio::test]
async fn a_user_has_only_so_many_connections_to_a_room() {
    let secret = "0123456789abcdef0123456789abcdef";
    let exp = Clock::system().wall_ms() / 1_000 + 60;
    let token = |user: &str| Issuer::hs(secret).token(&json!({ "sub": user, "exp": exp }));
    let setup = Setup::memory().sse().limits(|limits| limits.user_connections_max = 2);
    let node = setup.auth(&json!({ "secret": "AUTH_SECRET" })).start_empty().await;
    node.deploy(guest("puppet"), &[("AUTH_SECRET", secret)]).await.unwrap();
    let (ada, bob) = (token("ada"), token("bob"));
    let opens = async |id: &str, token: &str| {
        let mut client = node.connect(&format!("lobby?_pk={id}&token={token}")).await;
        assert_eq!(client.echo("hi").await, "hi");
        client
    };
    let (first, _second) = (opens("1", &ada).await, opens("2", &ada).await);
    let text = "this user has 2 connections to the room, as many as user_connections_max allows: close one first";
    let mut third = node.connect(&format!("lobby?_pk=3&token={ada}")).await;
    assert_eq!(third.closed().await, (1008, text.to_owned()));
    let events = [("Accept", "text/event-stream")];
    let path = format!("{ROOM}?_pk=3&token={ada}");
    let reply = node.request("GET", &path, &events, &[]).await;
    assert_eq!((reply.status, reply.text().as_str()), (429, text));
    // Another user, another room, and a connection that takes the place of an own one.
    let _bob = opens("4", &bob).await;
    let mut elsewhere = node.connect(&format!("other?_pk=3&token={ada}")).await;
    assert_eq!(elsewhere.echo("hi").await, "hi");
    let _replaces = opens("2", &ada).await;
    drop(first);
    until("the first to be gone", async || {
        let mut client = node.connect(&format!("lobby?_pk=5&token={ada}")).await;
        client.try_send("hi").await;
        !matches!(client.recv().await, room_tests::Got::Close(..))
    })
    .await;
    assert!(metric(&node, "room_upgrades_refused_total{reason=\"user_full\"}").await >= 2);
}
