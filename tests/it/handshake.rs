//! The WebSocket handshake, requirement by requirement: RFC 6455 sections 4.2.1, 4.2.2 and 4.4.

use room_tests::{RawClient, Requests, Setup, TestClient};
use serde_json::json;

/// A handshake that keeps all rules.
const GOOD: [(&str, &str); 5] = [
    ("Host", "x"),
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// The difference from a good handshake, and the status of the answer.
struct Row {
    what: &'static str,
    line: &'static str,
    /// Headers that replace those with their names. Those without a value are left out.
    headers: &'static [(&'static str, &'static str)],
    status: u16,
}

const fn row(
    what: &'static str,
    headers: &'static [(&'static str, &'static str)],
    status: u16,
) -> Row {
    Row { what, line: "GET /party/x HTTP/1.1", headers, status }
}

const ROWS: &[Row] = &[
    row("all rules kept", &[], 101),
    row("4.2.1 (1) the method is GET", &[], 101),
    Row { line: "POST /party/x HTTP/1.1", ..row("4.2.1 (1) the method is POST", &[], 400) },
    Row { line: "HEAD /party/x HTTP/1.1", ..row("4.2.1 (1) the method is HEAD", &[], 400) },
    Row { line: "GET /party/x HTTP/1.0", ..row("4.2.1 (1) HTTP/1.0", &[], 400) },
    Row { line: "GET http://x/party/x HTTP/1.1", ..row("4.2.1 (1) a whole URL", &[], 101) },
    row("4.2.1 (2) no Host", &[("Host", "")], 400),
    row("4.2.1 (3) Upgrade in capitals", &[("Upgrade", "WebSocket")], 101),
    row("4.2.1 (3) Upgrade as a list", &[("Upgrade", "h2c, websocket")], 101),
    row("4.2.1 (4) no Connection", &[("Connection", "")], 400),
    row("4.2.1 (4) another Connection", &[("Connection", "keep-alive")], 400),
    row("4.2.1 (4) Connection in lower case", &[("Connection", "upgrade")], 101),
    row("4.2.1 (4) Connection as a list", &[("Connection", "keep-alive, Upgrade")], 101),
    row("4.2.1 (5) no key", &[("Sec-WebSocket-Key", "")], 400),
    row(
        "4.2.1 (5) a key that is not base64",
        &[("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!==")],
        400,
    ),
    row("4.2.1 (5) a key without padding", &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ")], 400),
    row("4.2.1 (5) a key of 15 bytes", &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j")], 400),
    row("4.2.1 (5) a key of 17 bytes", &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZSE=")], 400),
    row(
        "4.2.1 (5) two keys",
        &[
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ],
        400,
    ),
    row("4.2.1 (6) no version", &[("Sec-WebSocket-Version", "")], 400),
    row("4.4 version 8", &[("Sec-WebSocket-Version", "8")], 426),
    row("4.4 version 14", &[("Sec-WebSocket-Version", "14")], 426),
    row("4.4 a list of versions", &[("Sec-WebSocket-Version", "13, 8")], 426),
    row("4.4 a version that is not a number", &[("Sec-WebSocket-Version", "hybi")], 426),
    row(
        "4.2.1 (6) two versions",
        &[("Sec-WebSocket-Version", "8"), ("Sec-WebSocket-Version", "13")],
        400,
    ),
    row("4.2.1 (8) protocols", &[("Sec-WebSocket-Protocol", "chat, superchat")], 101),
    row("4.2.1 (8) a protocol that is not a token", &[("Sec-WebSocket-Protocol", "a b")], 400),
    row("4.2.1 (9) extensions", &[("Sec-WebSocket-Extensions", "permessage-deflate")], 101),
    row("a body", &[("Content-Length", "2")], 400),
    row("a body in chunks", &[("Transfer-Encoding", "chunked")], 400),
    row("an empty body", &[("Content-Length", "0")], 101),
];

fn request(row: &Row) -> String {
    let is_other = |name: &str| row.headers.iter().any(|(other, _)| *other == name);
    let kept = GOOD.iter().filter(|(name, _)| !is_other(name));
    let changed = row.headers.iter().filter(|(_, value)| !value.is_empty());
    let lines: String =
        kept.chain(changed).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{}\r\n{lines}\r\n", row.line)
}

#[tokio::test]
async fn each_rule_of_the_handshake_is_kept() {
    let node = Setup::memory().start().await;
    for row in ROWS {
        let mut client = RawClient::open(node.addr()).await;
        client.write(request(row).as_bytes()).await;
        let head = client.head().await.to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        assert_eq!(status, Some(row.status), "{}: {head}", row.what);
        let has = |line: &str| head.contains(&format!("\r\n{line}\r\n"));
        match row.status {
            101 => {
                assert!(has("upgrade: websocket") && has("connection: upgrade"), "{head}");
                // The example of RFC 6455 section 1.3.
                assert!(has("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
                assert!(!head.contains("sec-websocket-extensions"), "{head}");
                let protocol =
                    row.headers.iter().any(|(name, _)| *name == "Sec-WebSocket-Protocol");
                assert_eq!(has("sec-websocket-protocol: chat"), protocol, "{head}");
            }
            426 => {
                assert!(has("sec-websocket-version: 13"), "{head}");
                assert!(has("upgrade: websocket") && has("connection: upgrade"), "{head}");
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_handshake_that_is_refused_reaches_no_room() {
    let node = Setup::memory().start().await;
    for row in ROWS.iter().filter(|row| row.status != 101) {
        let mut client = RawClient::open(node.addr()).await;
        client.write(request(row).as_bytes()).await;
        client.head().await;
    }
    assert_eq!(node.report("x").await["events"], json!([]));
}

#[tokio::test]
async fn a_websocket_to_a_path_without_a_room_gets_a_final_close_code() {
    let site = tempfile::tempdir().unwrap();
    std::fs::write(site.path().join("index.html"), "a page").unwrap();
    for node in [Setup::memory().start().await, Setup::memory().assets(site.path()).start().await] {
        for path in [
            "/",
            "/index.html",
            "/nowhere",
            "/parties/main",
            "/party/",
            "/_room/health",
            "/_room/nowhere",
        ] {
            let mut client = TestClient::connect(node.addr(), path).await;
            let (code, why) = client.closed().await;
            assert_eq!((code, why.as_str()), (4404, "not found"), "{path}");
        }
    }
}
