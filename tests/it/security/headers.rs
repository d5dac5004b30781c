//! Headers with which guests or clients try to inject further headers or messages.

use room_tests::{RawClient, Requests, Setup, TestClient};
use serde_json::json;

/// URL-encoded pairs of a name and a value, each of which would end its line or the head.
const BROKEN: [&str; 9] = [
    "x-room:a%0d%0aset-cookie:stolen%3d1",
    "x-room:a%0aset-cookie:stolen%3d1",
    "x-room:a%0dset-cookie:stolen%3d1",
    "x-room:a%0d%0a%0d%0a%3cscript%3e",
    "x-room:a%00",
    "x-room%0d%0aset-cookie:stolen%3d1",
    "x-room%20:a",
    "x(room):a",
    ":a",
];

#[tokio::test]
async fn a_rooms_response_cannot_end_its_own_head() {
    let node = Setup::memory().start().await;
    for header in BROKEN {
        let path = format!("/party/r/status?code=200&header={header}");
        let reply = node.request("POST", &path, &[], b"body").await;
        assert_eq!(reply.status, 500, "{header}");
        assert_eq!(reply.header("set-cookie"), None, "{header}");
    }
}

#[tokio::test]
async fn a_hooks_response_cannot_end_its_own_head() {
    let node = Setup::memory().start().await;
    let hooked = async |header: &str| {
        let path = format!("/party/r?verdict=respond-header&header={header}");
        (node.get(&path).await, TestClient::try_connect(node.addr(), &path, &[]).await)
    };
    let (reply, _) = hooked("x-room:a").await;
    assert_eq!((reply.status, reply.header("x-room")), (200, Some("a")));
    for header in BROKEN {
        let (reply, socket) = hooked(header).await;
        assert_eq!((reply.status, reply.header("set-cookie")), (500, None), "{header}");
        // A hook that fails turns a socket away with a close frame.
        let mut socket = socket.unwrap();
        assert_eq!(socket.header("set-cookie"), None, "{header}");
        assert_eq!(socket.closed().await.0, 1011, "{header}");
    }
}

#[tokio::test]
async fn a_repeated_header_stays_repeated_in_both_directions() {
    let node = Setup::memory().start().await;
    let cookies = "header=set-cookie:a%3d1&header=x-one:1&header=set-cookie:b%3d2";
    for path in [
        format!("/party/r/status?code=200&{cookies}"),
        format!("/party/r?verdict=respond-header&{cookies}"),
    ] {
        let reply = node.request("POST", &path, &[], b"body").await;
        let set = reply.headers.iter().filter(|(name, _)| name == "set-cookie");
        let set: Vec<&str> = set.map(|(_, value)| value.as_str()).collect();
        assert_eq!(set, ["a=1", "b=2"], "{path}");
        assert_eq!(reply.header("x-one"), Some("1"));
    }
    let sent = [("x-tag", "a"), ("x-other", "o"), ("X-Tag", "b, c"), ("x-tag", "a")];
    for path in ["/party/r/reflect", "/party/r/reflect?verdict=header"] {
        let seen = node.request("GET", path, &sent, &[]).await.json();
        let headers = seen["headers"].as_array().unwrap().iter();
        let tags: Vec<_> =
            headers.filter(|header| header[0] == "x-tag").map(|header| &header[1]).collect();
        assert_eq!(tags, ["a", "b, c", "a"], "{path}");
    }
    let seen = node.get("/party/r/reflect?verdict=header").await.json();
    for value in ["main/r", "too"] {
        assert!(seen["headers"].as_array().unwrap().contains(&json!(["x-added", value])));
    }
}

/// Every name that could come back in a head: rooms, ids, files and folders.
#[tokio::test]
async fn a_header_name_with_a_line_break_does_not_end_a_head() {
    let site = tempfile::tempdir().unwrap();
    std::fs::create_dir(site.path().join("docs")).unwrap();
    std::fs::write(site.path().join("docs/index.html"), "docs").unwrap();
    let node = Setup::memory().assets(site.path()).start().await;
    const EVIL: &str = "%0d%0aset-cookie:stolen%3d1%0d%0a%0d%0a";
    for path in [
        format!("/party/a{EVIL}"),
        format!("/parties/main{EVIL}/a"),
        format!("/party/a/rest{EVIL}?x={EVIL}"),
        format!("/party/a?_pk={EVIL}"),
        format!("/docs{EVIL}"),
        format!("/docs?{EVIL}"),
        format!("/docs/{EVIL}/.."),
        format!("//{EVIL}evil.example/docs"),
        format!("/_room/{EVIL}"),
    ] {
        let reply = node.get(&path).await;
        assert_eq!(reply.header("set-cookie"), None, "{path}");
        // A redirect of a folder to its index stays on this server.
        let leads = reply.header("location").unwrap_or("/");
        assert!(leads.starts_with('/') && !leads.starts_with("//"), "{path} leads to {leads}");
        let socket = TestClient::try_connect(node.addr(), &path, &[]).await;
        if let Ok(socket) = socket {
            assert_eq!(socket.header("set-cookie"), None, "{path}");
        }
    }
}

#[tokio::test]
async fn a_guest_cannot_set_the_framing_of_a_response() {
    let node = Setup::memory().start().await;
    for header in
        ["transfer-encoding:chunked", "content-length:2", "connection:upgrade", "trailer:x"]
    {
        let path = format!("/party/r/status?code=200&header={header}");
        assert_eq!(node.request("POST", &path, &[], b"body").await.status, 500, "{header}");
        let path = format!("/party/r?verdict=respond-header&header={header}");
        assert_eq!(node.get(&path).await.status, 500, "{header}");
    }
}

#[tokio::test]
async fn a_request_with_no_host_or_two_reaches_no_room() {
    let node = Setup::memory().start().await;
    for (lines, problem) in [
        ("", "it has no Host header"),
        ("Host: a\r\nHost: b\r\n", "it has two Host headers"),
        ("Host: a\r\nHost: a\r\n", "it has two Host headers"),
        ("Host: a/party/other\r\n", "its Host header names no host"),
        ("Host: me@evil.example\r\n", "its Host header names no host"),
        ("Host:\r\n", "its Host header names no host"),
    ] {
        let mut client = RawClient::open(node.addr()).await;
        let head = format!("GET /party/lobby HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
        client.write(head.as_bytes()).await;
        assert!(client.head().await.starts_with("HTTP/1.1 400"), "{lines:?}");
        let text = String::from_utf8(client.rest().await).unwrap();
        assert_eq!(text, format!("this is not a valid HTTP request: {problem}"), "{lines:?}");
    }
    assert_eq!(node.report("lobby").await["handled"], 1);
}

#[tokio::test]
async fn an_offered_subprotocol_is_answered_in_one_line() {
    let node = Setup::memory().start().await;
    let offered = [("sec-websocket-protocol", "chat, x\tset-cookie: a=1")];
    let client = TestClient::try_connect(node.addr(), "/party/lobby", &offered).await;
    assert_eq!(client.err(), Some(400));
    let offered = [("sec-websocket-protocol", "chat"), ("sec-websocket-protocol", "set-cookie")];
    let client = TestClient::try_connect(node.addr(), "/party/lobby", &offered).await;
    let client = client.unwrap();
    assert_eq!(client.header("sec-websocket-protocol"), Some("chat"));
    assert_eq!(client.header("set-cookie"), None);
    // Compression is not accepted either: one small frame could become a large one.
    let offered = [("sec-websocket-extensions", "permessage-deflate")];
    let client = TestClient::try_connect(node.addr(), "/party/lobby", &offered).await;
    assert_eq!(client.unwrap().header("sec-websocket-extensions"), None);
}

#[tokio::test]
async fn a_compressed_body_reaches_the_room_unchanged() {
    let node = Setup::memory().start().await;
    // The start of a zip bomb: the server treats it as plain bytes.
    let packed = [31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 75, 76, 74, 6, 0];
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let headers = [("Content-Encoding", encoding), ("Accept-Encoding", "gzip, br")];
        let reply = node.request("POST", "/party/x/reflect", &headers, &packed).await;
        assert_eq!(reply.json()["body"], json!(packed), "{encoding}");
        assert_eq!(reply.header("content-encoding"), None);
    }
}
