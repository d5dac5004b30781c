//! The listener of operators: which requests it refuses, and which secrets it never shows.

use crate::operated::Operated;
use room_runtime::server::BlobId;
use room_tests::{RawClient, Requests, guest, within};
use serde_json::{Value, json};
use std::net::SocketAddr;

const SECRET: &str = "s3cret-of-the-project";

/// Returns all bytes that come back for these bytes, to the end of the connection.
async fn answers(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut client = RawClient::open(addr).await;
    client.write(bytes).await;
    client.finish().await;
    String::from_utf8_lossy(&client.rest().await).into_owned()
}

#[tokio::test]
async fn an_ambiguous_operator_request_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    let (admin, token) = (operated.server.admin_addr(), &operated.token);
    let body = json!({"name": "smuggled", "scope": "admin"}).to_string();
    let smuggled = format!(
        "POST /_room/admin/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let head = "POST /_room/admin/nowhere HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer none\r\n";
    for (what, lines) in [
        ("two lengths", "Content-Length: 0\r\nContent-Length: 50\r\n"),
        ("a list of lengths", "Content-Length: 0, 50\r\n"),
        ("a folded line", "X-One: 1\r\n Transfer-Encoding: chunked\r\n"),
        ("a bare carriage return", "X-One: 1\rContent-Length: 0\r\n"),
        ("a space before the colon", "Content-Length : 0\r\n"),
        ("two encodings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("a hidden length", "X-One: 1\nContent-Length: 0\r\nContent-Length: 9\r\n"),
    ] {
        let said = answers(admin, format!("{head}{lines}\r\n{smuggled}").as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 400"), "{what}: {said}");
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{what}: {said}");
    }
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
    ] {
        let request = format!("{head}{lines}\r\n\r\n0\r\n\r\n{smuggled}");
        let said = answers(admin, request.as_bytes()).await;
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
    }
    // Lines with bare line feeds make one request, whose body has the length that it says.
    let plain = format!(
        "POST /_room/admin/nowhere HTTP/1.1\nHost: x\nConnection: close\nContent-Length: {}\n\n{smuggled}",
        smuggled.len()
    );
    let mut client = RawClient::open(admin).await;
    client.write(plain.as_bytes()).await;
    let said = String::from_utf8_lossy(&client.rest().await).into_owned();
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
    let tokens = operated.good("GET", "tokens", Value::Null).await;
    assert_eq!(tokens.as_array().map(Vec::len), Some(1), "{tokens}");
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn no_upload_escapes_its_folder_or_inflates() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let operated = Operated::start(&data).await;
    let id = BlobId::of(b"x").to_string();
    for path in [
        format!("blobs/..%2f{id}"),
        format!("blobs/..%2f..%2f{id}"),
        format!("blobs/{id}%2f..%2f..%2fescaped"),
        format!("blobs/{}", id.to_uppercase().replace(|c: char| c.is_ascii_digit(), "/")),
        "blobs/..".to_owned(),
        "blobs/%2e%2e%2fescaped".to_owned(),
        "blobs/%00".to_owned(),
        "blobs/".to_owned(),
    ] {
        let status = operated.ask("PUT", &path, b"x").await.status;
        assert!(matches!(status, 400 | 404), "{path}: {status}");
    }
    let mut release = operated.release(&guest("puppet"), "1").await;
    for path in
        ["../escaped", "/escaped", "a/../../escaped", "a\\..\\escaped", ".", "", "a//b", "a/\0"]
    {
        release["assets"][0]["path"] = json!(path);
        operated.refused(400, "POST", "projects/chat/deploy", &release).await;
    }
    release["assets"][0]["path"] = json!("index.html");
    for name in ["..", "%2e%2e", "..%2fescaped", "a%2fb", "a%00", "A"] {
        let path = format!("projects/{name}/deploy");
        let status = operated.ask("POST", &path, release.to_string().as_bytes()).await.status;
        assert!(matches!(status, 400 | 404), "{name}: {status}");
    }
    let beside = std::fs::read_dir(dir.path()).unwrap();
    assert_eq!(beside.count(), 1, "something was written beside the data folder");
    assert!(!data.join("escaped").exists() && !data.join("projects/escaped").exists());
    assert_eq!(std::fs::read_dir(data.join("projects")).unwrap().count(), 0);
    // The server keeps a packed upload as its bytes and never unpacks it.
    let packed = [31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 75, 76, 74, 6, 0];
    let bearer = format!("Bearer {}", operated.token);
    let headers = [("authorization", bearer.as_str()), ("content-encoding", "gzip")];
    let path = format!("/_room/admin/blobs/{}", BlobId::of(&packed));
    let reply = operated.server.admin_addr().request("PUT", &path, &headers, &packed).await;
    assert_eq!((reply.status, reply.json()["bytes"].clone()), (200, json!(packed.len())));
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn no_secret_appears_in_operators_output_or_in_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    operated.deploy("chat", &guest("puppet"), "1").await;
    let secret = json!({"value": SECRET, "secret": true});
    operated.good("PUT", "projects/chat/env/START", secret).await;
    assert_eq!(operated.report("lobby").await["starts"], 1);
    // An error answer has its reasons.
    let clients = operated.server.addr();
    for step in [json!([{"panic": "ouch"}]), json!(["trap"]), json!([{"err": "no"}])] {
        let reply = clients.post("lobby", &step).await;
        assert_eq!(reply.status, 500);
        assert!(!reply.text().contains(SECRET), "{}", reply.text());
    }
    let nothing = json!({"parties": [{"name": "main", "module": BlobId::of(b"none").to_string()}]});
    let mut shown = String::new();
    for (method, path, body) in [
        ("GET", "projects", Value::Null),
        ("GET", "projects/chat/env", Value::Null),
        ("GET", "projects/chat/versions", Value::Null),
        ("POST", "projects/chat/plan", nothing.clone()),
        ("POST", "projects/chat/deploy", nothing),
        ("DELETE", "projects/chat/env/NONE", Value::Null),
        ("GET", "tokens", Value::Null),
        ("GET", "projects/chat/node/logs?tail=1000", Value::Null),
        ("GET", "projects/chat/node/metrics", Value::Null),
        ("GET", "projects/chat/node/rooms", Value::Null),
        ("GET", "projects/chat/node/rooms/main/lobby", Value::Null),
        ("GET", "projects/chat/node/rooms/main/lobby/storage", Value::Null),
        ("POST", "projects/chat/node/backup", Value::Null),
    ] {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let reply = operated.ask(method, path, &body).await;
        let known =
            matches!(reply.status, 200) || path.ends_with("deploy") || path.ends_with("NONE");
        assert!(known, "{method} {path} {}: {}", reply.status, reply.text());
        shown.push_str(&format!("{method} {path} {}\n{}\n", reply.status, reply.text()));
    }
    assert!(shown.contains("asked to") || shown.contains("ouch"), "{shown}");
    assert!(!shown.contains(SECRET) && !shown.contains(&operated.token), "{shown}");
    // A room may log its own secrets: that is its author's choice.
    clients.post("lobby", &json!([{"var": "START"}])).await;
    let file = std::fs::metadata(dir.path().join("projects/chat/env.json")).unwrap();
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&file) & 0o077, 0);
    let rooms = dir.path().join("projects/chat/rooms");
    within("a server to stop", operated.server.drain()).await;
    let mut folders = vec![rooms, dir.path().join("blobs"), dir.path().join("audit.log")];
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            folders.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
            assert!(!found, "{} has the secret", path.display());
        }
    }
}
