//! The decisions of a party before a client reaches a room.

use room_tests::{RawClient, Requests, Setup, TestClient, TestNode};
use serde_json::json;

async fn untouched(node: &TestNode) {
    assert_eq!(
        node.report("lobby").await["handled"],
        1,
        "the room received an event of a refused visitor"
    );
}

#[tokio::test]
async fn a_refused_socket_opens_and_closes_with_the_hooks_code() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby?verdict=refuse").await;
    assert_eq!(client.closed().await, (4403, "not you".to_owned()));
    untouched(&node).await;
}

#[tokio::test]
async fn a_hooks_error_refuses_with_4401() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby?verdict=err").await;
    assert_eq!(client.closed().await, (4401, "asked to fail".to_owned()));
    untouched(&node).await;
}

#[tokio::test]
async fn a_hooks_response_answers_the_handshake_unchanged() {
    let node = Setup::memory().start().await;
    let answer = TestClient::try_connect(node.addr(), "/party/lobby?verdict=respond", &[]).await;
    assert_eq!(answer.err(), Some(418));
    untouched(&node).await;
}

#[tokio::test]
async fn a_header_that_the_hook_adds_reaches_the_room() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby?verdict=header").await;
    assert_eq!(client.text().await, "x-added: main/lobby");
    let seen = node.get("/party/lobby/reflect?verdict=header").await.json();
    assert!(seen["headers"].as_array().unwrap().contains(&json!(["x-added", "main/lobby"])));
}

#[tokio::test]
async fn the_hook_decides_about_plain_requests() {
    let node = Setup::memory().start().await;
    let ask = async |how: &str| {
        let reply = node.get(&format!("/party/lobby?verdict={how}")).await;
        (reply.status, reply.text())
    };
    assert_eq!(ask("refuse").await, (403, "not you".to_owned()));
    assert_eq!(ask("respond").await, (418, "teapot".to_owned()));
    assert_eq!(ask("err").await, (401, "asked to fail".to_owned()));
    assert_eq!(ask("panic").await.0, 500);
    assert_eq!(ask("respond-99").await.0, 500);
    assert_eq!(ask("refuse-1000").await.0, 500);
    untouched(&node).await;
}

#[tokio::test]
async fn a_failing_hook_refuses_its_client_and_affects_nobody_else() {
    let node = Setup::memory().limits(|limits| limits.turn_ms_max = 500).start().await;
    let mut friend = node.connect("other").await;
    for how in ["trap", "panic", "loop", "alloc", "recurse", "respond-99", "refuse-1000"] {
        let mut client = node.connect(&format!("lobby?verdict={how}")).await;
        assert_eq!(client.closed().await.0, 1011, "{how}");
        assert_eq!(friend.echo("fine").await, "fine");
    }
    untouched(&node).await;
}

#[tokio::test]
async fn a_hook_changes_the_path_and_the_query_of_what_goes_on() {
    let node = Setup::memory().start().await;
    let base = format!("http://{}/party/lobby", node.addr());
    // Whatever the client claims under the name that the hook sets is gone.
    let seen = node.get("/party/lobby/x?user=eve&verdict=rest&%75ser=eve").await.json();
    assert_eq!(seen["uri"], format!("{base}/reflect?user=lobby&verdict="));
    let mut client = node.connect("lobby?verdict=rest&_pk=ann").await;
    assert_eq!(client.echo("open").await, "open");
    let report = node.report("lobby").await;
    let connection = &report["connections"][0];
    let uri = connection["uri"].as_str().unwrap();
    assert!(uri.ends_with("/parties/main/lobby/reflect?_pk=ann&user=lobby&verdict="), "{uri}");
    assert_eq!(connection["id"], "ann");
}

#[tokio::test]
async fn a_hook_cannot_send_a_client_to_another_room_or_host() {
    let node = Setup::memory().start().await;
    let addr = node.addr();
    for to in [
        format!("http://{addr}/party/other"),
        format!("http://{addr}/parties/nobody/lobby"),
        format!("http://{addr}/"),
        format!("https://{addr}/party/lobby"),
        "http://evil.example/party/lobby".to_owned(),
        "nonsense".to_owned(),
    ] {
        let query = format!("verdict=uri&to={to}");
        let reply = node.get(&format!("/party/lobby?{query}")).await;
        assert_eq!((reply.status, reply.text().contains("a hook")), (500, true), "{to}");
        let mut client = node.connect(&format!("lobby?{query}")).await;
        assert_eq!(client.closed().await.0, 1011, "{to}");
    }
    untouched(&node).await;
    assert_eq!(node.report("other").await["handled"], 1);
}

#[tokio::test]
async fn a_hook_chooses_among_the_offered_subprotocols() {
    let node = Setup::memory().start().await;
    let offer = [("sec-websocket-protocol", "first, second, third")];
    let answer = async |choose: &str| {
        let path = format!("/party/lobby?verdict=protocol&choose={choose}");
        let client = TestClient::try_connect(node.addr(), &path, &offer).await;
        client.map(|client| client.header("sec-websocket-protocol").map(str::to_owned))
    };
    for chosen in ["first", "second", "third"] {
        assert_eq!(answer(chosen).await, Ok(Some(chosen.to_owned())), "{chosen}");
    }
    // The client's offers in the hook's own order.
    assert_eq!(answer("third,first").await, Ok(Some("third".to_owned())));
    // A client of the tests that offers subprotocols fails without one, as browsers do. So the head is read as it is.
    let mut raw = RawClient::open(node.addr()).await;
    let head = format!(
        "GET /party/lobby?verdict=protocol HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: first\r\n\r\n",
        node.addr()
    );
    raw.write(head.as_bytes()).await;
    let head = raw.head().await.to_lowercase();
    assert!(head.starts_with("http/1.1 101") && !head.contains("sec-websocket-protocol"), "{head}");
    let path = "/party/lobby?verdict=protocol&choose=other";
    let mut client = TestClient::try_connect(node.addr(), path, &offer).await.unwrap();
    assert_eq!(client.closed().await.0, 1011, "the client did not offer it");
}

#[tokio::test]
async fn several_cookies_pass_in_both_directions() {
    let node = Setup::memory().start().await;
    let cookies = ["a=1; Path=/", "b=2; HttpOnly", "a=3"];
    let query: String = cookies
        .iter()
        .map(|own| format!("&header=set-cookie:{}", own.replace("; ", "%3B%20")))
        .collect();
    for path in ["?verdict=respond-header", "/status?code=200"] {
        let reply = node.get(&format!("/party/lobby{path}{query}")).await;
        assert_eq!(reply.all("set-cookie"), cookies, "{path}");
    }
    // The response of a hook to a handshake.
    let mut raw = RawClient::open(node.addr()).await;
    let head = format!(
        "GET /party/lobby?verdict=respond-header{query} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        node.addr()
    );
    raw.write(head.as_bytes()).await;
    let head = raw.head().await;
    let set: Vec<&str> =
        head.lines().filter_map(|line| line.strip_prefix("set-cookie: ")).collect();
    assert_eq!(set, cookies, "{head}");
    let sent = [("Cookie", "a=1"), ("Cookie", "b=2"), ("X-Is", "1"), ("X-Is", "2")];
    let seen = node.request("GET", "/party/lobby/reflect", &sent, &[]).await.json();
    let headers = seen["headers"].as_array().unwrap();
    for (name, value) in sent {
        assert!(headers.contains(&json!([name.to_lowercase(), value])), "{name} {value}");
    }
}

/// A query by which a hook adds these headers.
fn adding(headers: &[&str]) -> String {
    headers.iter().map(|own| format!("&add={}", own.replace("; ", "%3B%20"))).collect()
}

#[tokio::test]
async fn a_hook_adds_headers_to_the_answer_of_a_handshake() {
    let node = Setup::memory().start().await;
    let query = adding(&["set-cookie:a=1; Path=/", "Set-Cookie:b=2", "x-own:1"]);
    let offer = [("sec-websocket-protocol", "first, second")];
    let path = format!("/party/lobby?verdict=protocol&choose=second{query}");
    let mut client = TestClient::try_connect(node.addr(), &path, &offer).await.unwrap();
    assert_eq!(client.all("set-cookie"), ["a=1; Path=/", "b=2"]);
    assert_eq!((client.header("x-own"), client.all("connection")), (Some("1"), vec!["Upgrade"]));
    assert_eq!(client.all("sec-websocket-protocol"), ["second"]);
    assert_eq!(client.echo("open").await, "open");
    // A refusal is a handshake that succeeds, and closes.
    let mut client = node.connect(&format!("other?verdict=refuse{query}")).await;
    assert_eq!(client.all("set-cookie"), ["a=1; Path=/", "b=2"]);
    assert_eq!(client.closed().await, (4403, "not you".to_owned()));
    // An error of the hook, and a failure of the room, are the server's own answers.
    for (failing, code) in [("verdict=err", 4401), ("verdict=panic", 1011), ("connect=err", 1011)] {
        let mut client = node.connect(&format!("other?{failing}{query}")).await;
        assert_eq!(client.header("set-cookie"), None, "{failing}");
        assert_eq!(client.closed().await.0, code, "{failing}");
    }
}

#[tokio::test]
async fn a_hook_adds_headers_to_the_response_of_its_room() {
    let node = Setup::memory().start().await;
    let query = adding(&["set-cookie:a=1", "set-cookie:b=2"]);
    for (path, status, cookies) in [
        ("/status?code=201&header=set-cookie:own=1", 201, vec!["own=1", "a=1", "b=2"]),
        ("?verdict=respond", 418, vec!["a=1", "b=2"]),
        ("?verdict=refuse", 403, vec!["a=1", "b=2"]),
        ("?verdict=err", 401, vec![]),
        ("/status?code=99", 500, vec![]),
    ] {
        let reply = node.get(&format!("/party/lobby{path}{query}")).await;
        assert_eq!((reply.status, reply.all("set-cookie")), (status, cookies), "{path}");
    }
}

#[tokio::test]
async fn a_header_that_a_hook_may_not_add_fails_the_hook() {
    let node = Setup::memory().start().await;
    for query in [
        adding(&["connection:close"]),
        adding(&["Content-Length:3"]),
        adding(&["sec-websocket-protocol:other"]),
        adding(&["Sec-WebSocket-Extensions:permessage-deflate"]),
        adding(&["x%20y:1"]),
        adding(&["x-own:a%0d%0aset-cookie:stolen=1"]),
        adding(&["set-cookie:a=1"; 65]),
        // 63 headers of 206 bytes, and one that is too large for what is left of 16 KiB.
        adding(&[format!("x-large:{}", "x".repeat(3_500)).as_str()]) + "&add-many=63",
    ] {
        let mut client = node.connect(&format!("lobby?verdict={query}")).await;
        assert_eq!(client.header("set-cookie"), None, "{query}");
        assert_eq!(client.closed().await.0, 1011, "{query}");
        let reply = node.get(&format!("/party/lobby?verdict={query}")).await;
        assert_eq!((reply.status, reply.header("set-cookie")), (500, None), "{query}");
    }
    untouched(&node).await;
    // As many as are allowed.
    let client = node.connect("lobby?verdict=&add-many=64").await;
    assert_eq!(client.all("x-many").len(), 64);
}
