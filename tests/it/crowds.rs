//! Many clients that take everything and do nothing: the node bounds its memory, serves others, and closes them.

use futures_util::FutureExt;
use room_runtime::{Limits, Preamble};
use room_tests::{RawClient, Requests, Setup, TestClient, TestNode, masked, until};
use serde_json::json;
use std::net::SocketAddr;

/// Returns what the node keeps for its clients and rooms, in bytes.
async fn buffered(node: &TestNode) -> u64 {
    metric(node, "room_buffered_bytes").await
}

/// Returns a number that the node prints.
async fn metric(node: &TestNode, name: &str) -> u64 {
    let text = node.get("/_room/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[tokio::test]
async fn clients_that_send_only_a_first_fragment_stay_within_the_budget_and_are_closed() {
    const BUDGET: u64 = 4 << 20;
    let limits = |limits: &mut Limits| {
        (limits.buffered_bytes_max, limits.message_ms_max) = (BUDGET, 3_000);
    };
    let node = Setup::memory().limits(limits).start().await;
    let mut other = node.connect("other").await;
    let piece = masked(0x02, &vec![7; 60_000]);
    let mut clients = Vec::new();
    for number in 0..300 {
        let mut client = RawClient::upgrade(node.addr(), &format!("/party/r{}", number % 8)).await;
        client.write(&piece).await;
        clients.push(client);
        if number % 50 == 0 {
            assert!(buffered(&node).await <= BUDGET);
            assert_eq!(other.echo("served").await, "served");
        }
    }
    until("the budget to be in use", async || buffered(&node).await > 0).await;
    let mut codes = Vec::new();
    for mut client in clients {
        assert!(buffered(&node).await <= BUDGET);
        codes.push(client.frame().await.and_then(|frame| frame.close_code()));
        client.ended().await.expect("a clean end");
    }
    let count = |code| codes.iter().filter(|found| **found == Some(code)).count();
    assert_eq!(count(1008) + count(1013), 300, "{codes:?}");
    assert!(count(1008) > 0 && count(1013) > 0, "{codes:?}");
    until("the budget to be free", async || buffered(&node).await == 0).await;
    assert_eq!(other.echo(&"x".repeat(100_000)).await.len(), 100_000);
}

#[tokio::test]
async fn an_unfinished_message_closes_its_connection_despite_control_frames() {
    let node = Setup::memory().limits(|limits| limits.message_ms_max = 300).start().await;
    let piece = masked(0x01, b"piece");
    let cases = [
        ("half a head", vec![0x81]),
        ("a head without its payload", masked(0x81, b"payload")[..6].to_vec()),
        ("half a payload", masked(0x81, b"payload")[..9].to_vec()),
        ("a first piece", piece.clone()),
        ("a piece and a ping", [piece.clone(), masked(0x89, b"p")].concat()),
        ("a message and a piece", [masked(0x81, b"hi"), piece].concat()),
        ("half a ping", masked(0x89, b"ping")[..7].to_vec()),
    ];
    for (what, bytes) in cases {
        let mut client = RawClient::upgrade(node.addr(), "/party/lobby").await;
        client.write(&bytes).await;
        let code = loop {
            let frame = client.frame().await.expect(what);
            if frame.opcode == 8 {
                break frame.close_code();
            }
        };
        assert_eq!(code, Some(1008), "{what}");
        client.ended().await.expect("a clean end");
    }
}

#[tokio::test]
async fn pings_do_not_extend_an_unfinished_message_and_a_slow_room_makes_none_late() {
    let node = Setup::memory().limits(|limits| limits.message_ms_max = 1_000).start().await;
    let mut client = RawClient::upgrade(node.addr(), "/party/lobby").await;
    client.write(&masked(0x01, b"piece")).await;
    // Pings go on for as long as the connection does.
    let (mut pongs, ping) = (0, masked(0x89, b"still here"));
    let code = loop {
        client.write(&ping).await;
        match client.frame().await {
            Some(frame) if frame.opcode == 10 => pongs += 1,
            frame => break frame.and_then(|frame| frame.close_code()),
        }
    };
    assert_eq!((code, pongs > 0), (Some(1008), true));
    // A room that takes longer than that for a message makes no client late.
    let mut client = node.connect("lobby").await;
    client.tell(json!([{"sleep": 2_000}])).await;
    for _ in 0..15 {
        client.send("x".repeat(200_000)).await;
    }
    for _ in 0..15 {
        assert_eq!(client.text().await.len(), 200_000);
    }
}

#[tokio::test]
async fn clients_that_never_read_stay_within_the_budget_and_delay_nobody() {
    const BUDGET: u64 = 4 << 20;
    let limits = |limits: &mut Limits| {
        limits.buffered_bytes_max = BUDGET;
        (limits.message_bytes_max, limits.close_ms_max) = (64 << 10, 200);
    };
    let node = Setup::memory().limits(limits).start().await;
    let mut silent = Vec::new();
    for number in 0..100 {
        let path = format!("/party/lobby?_pk=silent{number}");
        let mut client = RawClient::narrow(node.addr()).await;
        client.write(handshake(&path).as_bytes()).await;
        client.head().await;
        silent.push(client);
    }
    let mut fast = node.connect("lobby?_pk=fast").await;
    let left = async || metric(&node, "room_outbox_overflows_total").await;
    let mut rounds = 0;
    while left().await < 100 {
        fast.tell(json!([{"broadcast_bytes": 60_000}])).await;
        assert_eq!(fast.text().await.len(), 60_000);
        assert!(buffered(&node).await <= BUDGET);
        rounds += 1;
        assert!(rounds < 1_000, "members that read nothing stay");
    }
    until("the budget to be free", async || buffered(&node).await == 0).await;
    assert_eq!(fast.echo("still here").await, "still here");
}

fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

#[tokio::test]
async fn bodies_draw_from_the_budget_and_get_503_beyond_it() {
    let limits = |limits: &mut Limits| {
        (limits.buffered_bytes_max, limits.body_bytes_max) = (1 << 20, 1 << 20);
    };
    let node = Setup::memory().limits(limits).start().await;
    let head = "POST /party/x HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n";
    let mut slow = RawClient::open(node.addr()).await;
    slow.write(&[head.as_bytes(), &vec![b'x'; 800_000]].concat()).await;
    until("the body to be counted", async || buffered(&node).await >= 780_000).await;
    let reply = node.request("POST", "/party/x/reflect", &[], &vec![b'x'; 500_000]).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert_eq!(reply.text(), "the server's buffers are full");
    assert_eq!(node.request("POST", "/party/x/reflect", &[], b"small").await.status, 200);
    drop(slow);
    until("the budget to be free", async || buffered(&node).await == 0).await;
    let reply = node.request("POST", "/party/x/reflect", &[], &vec![b'x'; 300_000]).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn half_open_connections_are_bounded_in_number_and_yield_to_others() {
    let limits = |limits: &mut Limits| {
        (limits.half_open_max, limits.header_ms_max) = (16, 600_000);
    };
    let node = Setup::memory().limits(limits).start().await;
    let mut served = node.connect("lobby").await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        let mut client = RawClient::open(node.addr()).await;
        client.write(b"GET /party/x HTTP/1.1\r\n").await;
        silent.push(client);
    }
    assert_eq!(node.connect("other").await.echo("served").await, "served");
    let closed = silent.drain(..184).collect::<Vec<_>>();
    for mut client in closed {
        client.rest().await;
    }
    // A client that has sent a request is not half open, however long it is silent.
    assert_eq!(served.echo("still here").await, "still here");
    let text = node.get("/_room/metrics").await.text();
    assert!(text.contains(r#"room_connections_refused_total{reason="half_open"}"#), "{text}");
}

#[tokio::test]
async fn half_open_connections_are_bounded_in_time() {
    // The served client sends all of its head in far less.
    let node = Setup::memory().limits(|limits| limits.header_ms_max = 2_000).start().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(RawClient::open(node.addr()).await);
    }
    assert_eq!(node.connect("lobby").await.echo("served").await, "served");
    for mut client in silent {
        client.rest().await;
    }
}

#[tokio::test]
async fn connections_of_one_address_are_bounded() {
    let limits = |limits: &mut Limits| limits.connections_per_address_max = 8;
    let node = Setup::memory().limits(limits).start().await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(node.connect("lobby").await);
    }
    let reply = node.get("/party/x").await;
    let text = "this address has 8 connections open, as many as it may have: close one first";
    assert_eq!((reply.status, reply.text().as_str()), (429, text));
    assert_eq!(
        (reply.header("retry-after"), reply.header("connection")),
        (Some("1"), Some("close"))
    );
    let handshake = TestClient::try_connect(node.addr(), "/party/lobby", &[]).await;
    assert_eq!(handshake.err(), Some(429));
    clients.pop().unwrap().close(Some((1000, ""))).await;
    until("a place to be free", async || node.get("/party/x").await.status == 200).await;
    for client in &mut clients {
        assert_eq!(client.echo("still here").await, "still here");
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_clients_own_address_is_counted() {
    let limits = |limits: &mut Limits| limits.connections_per_address_max = 2;
    let setup = Setup::memory().limits(limits).proxies(&["127.0.0.1"], Preamble::Nothing);
    let node = setup.start().await;
    let connect = async |addr: &str| {
        TestClient::try_connect(node.addr(), "/party/lobby", &[("x-forwarded-for", addr)]).await
    };
    let mut clients = Vec::new();
    for addr in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"] {
        clients.push(connect(addr).await.unwrap());
    }
    for addr in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(connect(addr).await.err(), Some(429));
        let reply = node.request("GET", "/party/x", &[("X-Forwarded-For", addr)], &[]).await;
        assert_eq!(reply.status, 429);
    }
    let reply = node.request("GET", "/party/x", &[("X-Forwarded-For", "192.0.2.3")], &[]).await;
    assert_eq!(reply.status, 200);
    for client in &mut clients {
        assert_eq!(client.echo("still here").await, "still here");
    }
}

#[tokio::test]
async fn all_addresses_of_a_node_share_its_connection_slots() {
    let limits = |limits: &mut Limits| limits.connections_max = 4;
    let mut node = Setup::memory().limits(limits).start().await;
    let first = node.addr();
    let second = SocketAddr::from(([127, 0, 0, 2], first.port()));
    node.listen_too(second).await;
    let mut clients = Vec::new();
    for addr in [first, second, second, second] {
        clients.push(TestClient::connect(addr, "/party/lobby?quiet=1").await);
    }
    let mut late = RawClient::open(first).await;
    late.write(b"GET /_room/health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    // The node looks at all its sockets in each of these rounds.
    for round in 0..20 {
        assert_eq!(clients[0].echo(&round.to_string()).await, round.to_string());
    }
    let mut head = Box::pin(late.head());
    assert_eq!(head.as_mut().now_or_never(), None, "there is no place");
    clients.pop().unwrap().close(Some((1000, ""))).await;
    assert!(head.await.starts_with("HTTP/1.1 200"));
    for client in &mut clients {
        assert_eq!(client.echo("still here").await, "still here");
    }
}
