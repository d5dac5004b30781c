//! The operator's requests to a serving node: backups, exports, imports, and who may make them.

use room_runtime::{Limits, PartyName, RoomId, offline};
use room_tests::{RawClient, Reply, Requests, Setup, TestNode, until};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const EXPORT: &str = "/_room/admin/rooms/main/lobby/export";
const IMPORT: &str = "/_room/admin/rooms/main/lobby/import";

/// Sends a request as the operator.
async fn ask(node: &TestNode, method: &str, path: &str, body: &[u8]) -> Reply {
    let secret = format!("Bearer {}", node.secret());
    node.request(method, path, &[("authorization", &secret)], body).await
}

fn lobby() -> RoomId {
    RoomId::new(PartyName::parse("main").unwrap(), "lobby", 256).unwrap()
}

/// Returns the number of the operator's temporary files.
fn scratch_files(node: &TestNode) -> usize {
    let dir = node.data_dir().unwrap().join("scratch");
    std::fs::read_dir(dir).unwrap().count()
}

/// Returns the entries of an export.
async fn stored(dir: &Path) -> Vec<Value> {
    let content = offline::export(dir, &lobby(), &Limits::default()).await.unwrap().unwrap();
    let mut lines = Vec::new();
    content.write(&mut lines).unwrap();
    lines
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

/// Returns the number that is stored under a key.
fn number(entries: &[Value], key: &str) -> u64 {
    entries.iter().find(|entry| entry["key"] == key).unwrap()["json"].as_u64().unwrap()
}

#[tokio::test]
async fn a_request_without_the_token_gets_only_401() {
    let node = Setup::disk().start().await;
    node.post("lobby", &json!([{"put": ["k", 1]}])).await;
    let secret = node.secret();
    let wrong = [
        None,
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Bearer {}", &secret[1..])),
        Some(format!("Bearer {secret}0")),
        Some(format!("Basic {secret}")),
        Some(secret),
    ];
    let paths = ["backup", "rooms/main/lobby/export", "rooms/main/lobby/import", "nowhere", ""];
    for header in &wrong {
        let headers: Vec<(&str, &str)> =
            header.iter().map(|value| ("authorization", value.as_str())).collect();
        for path in paths {
            for method in ["GET", "POST", "PUT", "OPTIONS"] {
                let path = format!("/_room/admin/{path}");
                let reply = node.request(method, &path, &headers, &[]).await;
                assert_eq!(reply.status, 401, "{method} {path} {header:?}");
                assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
                assert_eq!(reply.header("access-control-allow-origin"), None);
                assert_eq!(reply.text(), "this needs the token of the server's operator");
            }
        }
    }
    assert_eq!(node.get("/_room/admin").await.status, 401);
    assert_eq!(ask(&node, "GET", "/_room/admin/nowhere", &[]).await.status, 404);
    assert_eq!(ask(&node, "GET", "/_room/admin/backup", &[]).await.status, 405);
}

#[tokio::test]
async fn an_in_memory_store_is_not_backed_up_or_exported() {
    let node = Setup::memory().start().await;
    node.post("lobby", &json!([{"put": ["k", 1]}])).await;
    assert_eq!(node.request("POST", "/_room/admin/backup", &[], &[]).await.status, 401);
    for (method, path) in [("POST", "/_room/admin/backup"), ("GET", EXPORT), ("PUT", IMPORT)] {
        let reply = ask(&node, method, path, b"x").await;
        assert_eq!(reply.status, 409, "{method} {path}");
        assert!(reply.text().contains("in memory"), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_token_is_valid_for_one_start() {
    let node = Setup::disk().start().await;
    let old = format!("Bearer {}", node.secret());
    let node = node.restart().await;
    let headers = [("authorization", old.as_str())];
    assert_eq!(node.request("POST", "/_room/admin/backup", &headers, &[]).await.status, 401);
}

#[tokio::test]
async fn a_backup_under_load_is_a_past_consistent_state() {
    let node = Setup::disk().start().await;
    let (done, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let load = async {
        let mut client = node.connect("lobby").await;
        while !ended.load(Ordering::SeqCst) {
            client.ask(json!([{"add": "twin"}, {"add": "n"}])).await;
            let count = client.text().await;
            done.store(count.parse().unwrap(), Ordering::SeqCst);
        }
    };
    let backups = async {
        let mut taken = Vec::new();
        for round in 0..5 {
            let wanted = done.load(Ordering::SeqCst) + 20;
            until("some load", async || done.load(Ordering::SeqCst) > wanted).await;
            let before = done.load(Ordering::SeqCst);
            let reply = ask(&node, "POST", "/_room/admin/backup", &[]).await;
            assert_eq!(reply.status, 200, "round {round}: {}", reply.text());
            // One more may have started without an answer yet.
            taken.push((before, done.load(Ordering::SeqCst) + 1, reply.body));
        }
        ended.store(true, Ordering::SeqCst);
        taken
    };
    let ((), taken) = tokio::join!(load, backups);
    for (before, after, backup) in taken {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("backup"), backup).unwrap();
        offline::restore(&dir.path().join("backup"), &dir.path().join("data")).unwrap();
        let entries = stored(&dir.path().join("data")).await;
        let count = number(&entries, "n");
        assert!((before..=after).contains(&count), "{count} is not in {before} to {after}");
        assert_eq!(count, number(&entries, "twin"));
    }
    assert_eq!(scratch_files(&node), 0);
}

#[tokio::test]
async fn an_export_that_was_edited_is_imported_and_the_room_shows_it() {
    let node = Setup::disk().start().await;
    node.post("lobby", &json!([{"put": ["n", 1]}, {"put": ["gone", 1]}])).await;
    let mut client = node.connect("lobby?_pk=a").await;
    assert_eq!(client.ask(json!([{"add": "n"}])).await, "2");
    let export = ask(&node, "GET", EXPORT, &[]).await;
    assert_eq!(export.header("content-type"), Some("application/x-ndjson"));
    let text = export.text();
    assert!(text.starts_with("{\"room-export\":1,\"party\":\"main\",\"room\":\"lobby\""), "{text}");
    let lines = text.lines().filter(|line| !line.contains("\"gone\""));
    let edited: Vec<String> =
        lines.map(|line| line.replace("\"n\",\"json\":2", "\"n\",\"json\":40")).collect();
    let reply = ask(&node, "PUT", IMPORT, edited.join("\n").as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json(), json!({"room": "main/lobby", "keys": edited.len() - 1}));
    // A stock client comes back after this.
    assert_eq!(client.closed().await, (1012, "the room's storage was replaced".to_owned()));
    let mut client = node.connect("lobby?_pk=a").await;
    assert_eq!(client.ask(json!([{"add": "n"}])).await, "41");
    assert_eq!(client.ask(json!([{"get": "gone"}])).await, "null");
    // The lines of one room also make another one, with a name of any letters.
    let other = "/_room/admin/rooms/main/a%20b%2Fc/import";
    assert_eq!(ask(&node, "PUT", other, text.as_bytes()).await.json()["room"], "main/a b/c");
    let node = node.restart().await;
    assert_eq!(node.post("lobby", &json!([{"get": "n"}])).await.json(), json!(["41"]));
    assert_eq!(node.post("a%20b%2Fc", &json!([{"get": "n"}])).await.json(), json!(["2"]));
    assert_eq!(scratch_files(&node), 0);
}

#[tokio::test]
async fn an_impossible_export_or_import_is_named_and_changes_nothing() {
    let node = Setup::disk().limits(|limits| limits.import_bytes_max = 1_000).start().await;
    node.post("lobby", &json!([{"put": ["k", 1]}])).await;
    let missing = ask(&node, "GET", "/_room/admin/rooms/main/nobody/export", &[]).await;
    let said = "nothing is stored for the room main/nobody".to_owned();
    assert_eq!((missing.status, missing.text()), (404, said));
    let head = r#"{"room-export":1,"party":"main","room":"lobby","alarm":null}"#;
    for (lines, status, said) in [
        (format!("{head}\n{{\"key\":\"a\",\"json\":1}}\n{{\"key\":"), 400, "line 3: EOF"),
        (head.replace(":1,", ":2,"), 400, "line 1: format 2; this version reads format 1"),
        (String::new(), 400, "line 1: an export begins with"),
        ("x".repeat(1_001), 413, "the body is larger than 1000 bytes"),
    ] {
        let reply = ask(&node, "PUT", IMPORT, lines.as_bytes()).await;
        assert_eq!(reply.status, status, "{lines}");
        assert!(reply.text().starts_with(said), "{}", reply.text());
    }
    let other = "/_room/admin/rooms/nobody/lobby/import";
    let unknown = ask(&node, "PUT", other, head.as_bytes()).await;
    assert_eq!((unknown.status, unknown.text().as_str()), (404, "party nobody not found"));
    let bad = ask(&node, "GET", "/_room/admin/rooms/m%C3%A9/lobby/export", &[]).await;
    assert_eq!(bad.status, 400);
    assert_eq!(node.post("lobby", &json!([{"get": "k"}])).await.json(), json!(["1"]));
    assert_eq!(scratch_files(&node), 0);
}

#[tokio::test]
async fn a_backup_client_that_does_not_read_holds_one_slot_and_leaves_no_file() {
    let node = Setup::disk().limits(|limits| limits.admin_transfers_max = 1).start().await;
    for key in 0..3 {
        let puts: Vec<Value> =
            (0..6).map(|part| json!({"put_bytes": [format!("{key}-{part}"), 1 << 20]})).collect();
        assert_eq!(node.post("lobby", &json!(puts)).await.status, 200);
    }
    let mut idle = RawClient::open(node.addr()).await;
    let secret = node.secret();
    let request = format!(
        "POST /_room/admin/backup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n\r\n"
    );
    idle.write(request.as_bytes()).await;
    let head = idle.head().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let refused = ask(&node, "POST", "/_room/admin/backup", &[]).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(scratch_files(&node), 1);
    drop(idle);
    until("the place to be free", async || ask(&node, "GET", EXPORT, &[]).await.status == 200)
        .await;
    until("the files to go", async || scratch_files(&node) == 0).await;
    // A client that disconnects before the answer leaves nothing either, and does not keep the folder open.
    let mut hasty = RawClient::open(node.addr()).await;
    hasty.write(request.as_bytes()).await;
    drop(hasty);
    let node = node.restart().await;
    assert_eq!(scratch_files(&node), 0);
}
