//! The rules of RFC 9110 and RFC 9112 for every response and every connection, row by row.

use room_tests::{RawClient, Requests, Setup};
use std::path::Path;

/// Statuses that have no content, with the lines about a body that their responses must have.
const WITHOUT_CONTENT: [(u16, Option<&str>); 3] =
    [(204, None), (205, Some("content-length: 0")), (304, None)];

#[tokio::test]
async fn a_response_whose_status_forbids_content_has_none() {
    let node = Setup::memory().start().await;
    for (status, line) in WITHOUT_CONTENT {
        let mut client = RawClient::open(node.addr()).await;
        let one = format!(
            "POST /party/x/status?code={status} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
        );
        // The client reads the bytes after it on the same connection as the next response.
        let two = "GET /party/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        client.write([one.as_bytes(), two.as_bytes()].concat().as_slice()).await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
        assert_eq!(head.lines().find(|line| line.starts_with("content-length")), line, "{head}");
        let next = client.head().await;
        assert!(next.starts_with("HTTP/1.1 200 "), "{status} is followed by {next}");
    }
}

/// Returns a request whose head has exactly so many bytes.
fn head_of(bytes: usize) -> String {
    let begin = "GET /party/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: ";
    format!("{begin}{}\r\n\r\n", "a".repeat(bytes - begin.len() - 4))
}

#[tokio::test]
async fn request_heads_are_bounded_in_bytes_and_headers() {
    let node = Setup::memory().start().await;
    let limits = node.limits().clone();
    let bytes = usize::try_from(limits.header_bytes_max).unwrap();
    let headers = |count: u64| {
        let more: String = (2..count).map(|number| format!("X-{number}: x\r\n")).collect();
        format!("GET /party/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n")
    };
    let rows = [
        ("as many bytes as may be", head_of(bytes), 200),
        ("one byte more", head_of(bytes + 1), 431),
        ("many bytes more", head_of(110_000), 431),
        ("far too many bytes", head_of(1 << 20), 431),
        ("as many headers as may be", headers(limits.headers_max), 200),
        ("one header more", headers(limits.headers_max + 1), 431),
    ];
    for (what, request, status) in rows {
        let mut client = RawClient::open(node.addr()).await;
        client.write(request.as_bytes()).await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {head}");
        assert!(client.ended().await.is_ok(), "{what} ends with a reset");
    }
    let few = Setup::memory().limits(|limits| limits.headers_max = 8).start().await;
    for (count, status) in [(8, 200), (9, 431)] {
        let mut client = RawClient::open(few.addr()).await;
        client.write(headers(count).as_bytes()).await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{count} headers: {head}");
    }
}

#[tokio::test]
async fn a_kept_alive_connection_has_its_own_idle_limit() {
    // The time for the first head is far shorter than for the next one.
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.header_ms_max, limits.keep_alive_ms_max) = (300, 600_000);
    };
    let node = Setup::memory().limits(limits).start().await;
    let mut kept = RawClient::open(node.addr()).await;
    kept.write(b"HEAD /party/x HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(kept.head().await.starts_with("HTTP/1.1 200"));
    // Connections that never send a request are closed one after the other: the kept one outlives them.
    for _ in 0..3 {
        RawClient::open(node.addr()).await.rest().await;
    }
    kept.write(b"HEAD /party/x HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(kept.head().await.starts_with("HTTP/1.1 200"));

    let node = Setup::memory().limits(|limits| {
        (limits.header_ms_max, limits.keep_alive_ms_max) = (100, 100);
    });
    let node = node.start().await;
    let mut kept = RawClient::open(node.addr()).await;
    kept.write(b"HEAD /party/x HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(kept.head().await.starts_with("HTTP/1.1 200"));
    assert_eq!(kept.rest().await, b"");
    assert!(
        room_runtime::Limits::default().keep_alive_ms_max >= 75_000,
        "proxies keep theirs for 60 s"
    );
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap();
}

#[tokio::test]
async fn a_range_is_sent_only_for_the_version_that_the_client_has() {
    let site = tempfile::tempdir().unwrap();
    write(site.path(), "a.txt", "the first text");
    let node = Setup::memory().assets(site.path()).start().await;
    let first = node.get("/a.txt").await;
    let tag = first.header("etag").unwrap().to_owned();
    let date = first.header("last-modified").unwrap().to_owned();
    let part = async |if_range: Option<&str>| {
        let mut headers = vec![("Range", "bytes=4-8")];
        headers.extend(if_range.map(|value| ("If-Range", value)));
        let reply = node.request("GET", "/a.txt", &headers, &[]).await;
        (reply.status, reply.text())
    };
    assert_eq!(part(None).await, (206, "first".to_owned()));
    assert_eq!(part(Some(&tag)).await, (206, "first".to_owned()));
    // A date does not identify a version for certain: the whole file is never wrong.
    assert_eq!(part(Some(&date)).await, (200, "the first text".to_owned()));
    for other in ["\"another\"", &format!("W/{tag}"), "nonsense"] {
        assert_eq!(part(Some(other)).await, (200, "the first text".to_owned()), "{other}");
    }
    write(site.path(), "a.txt", "the second text, which is longer");
    assert_eq!(part(Some(&tag)).await, (200, "the second text, which is longer".to_owned()));
}

#[tokio::test]
async fn text_files_declare_their_charset() {
    let site = tempfile::tempdir().unwrap();
    let rows = [
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.wasm", "application/wasm"),
        ("a.png", "image/png"),
    ];
    rows.iter().for_each(|(name, _)| write(site.path(), name, "é"));
    let node = Setup::memory().assets(site.path()).start().await;
    for (name, kind) in rows {
        assert_eq!(
            node.get(&format!("/{name}")).await.header("content-type"),
            Some(kind),
            "{name}"
        );
    }
}
