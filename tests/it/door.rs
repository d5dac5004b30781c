//! The answers of the front door, before and around rooms.

use room_runtime::{BodyDelivery, PartyConfig, RetentionSettings, WhenQuiet};
use room_tests::{RawClient, Requests, Setup, TestClient, guest};
use serde_json::{Value, json};
use std::path::Path;

#[tokio::test]
async fn both_kinds_of_paths_lead_to_rooms() {
    let node = Setup::memory().start().await;
    for path in
        ["/parties/main/lobby", "/party/lobby", "/parties/MAIN/lobby/", "/party/lobby/any/where"]
    {
        let report = node.get(path).await.json();
        assert_eq!(
            (&report["party"], &report["name"]),
            (&json!("main"), &json!("lobby")),
            "{path}"
        );
    }
    assert_eq!(node.report("a%20b").await["name"], "a b");
    assert_eq!(node.report("%C3%A9t%C3%A9").await["name"], "été");
    // Decoded once: `%2525` names the room `%25`, and an encoded slash does not end the name.
    assert_eq!(node.report("%2525").await["name"], "%25");
    assert_eq!(node.report("a%2Fb").await["name"], "a/b");
}

#[tokio::test]
async fn party_names_match_in_every_spelling() {
    let node = Setup::memory().start_empty().await;
    let party = |name: &str| PartyConfig {
        name: name.to_owned(),
        was: None,
        module: guest("puppet").into(),
        vars: Vec::new(),
        when_quiet: WhenQuiet::Stay,
        auto_response: None,
        ttl: None,
        cors: None,
        request_bodies: BodyDelivery::Whole,
        retention: RetentionSettings::default(),
        presence: None,
        auth: None,
        sse: Default::default(),
    };
    node.deploy_project(vec![party("main"), party("ChatRoom")]).await.unwrap();
    for spelling in ["chat-room", "ChatRoom", "chat_room", "CHAT_ROOM", "chatRoom"] {
        let report = node.get(&format!("/parties/{spelling}/x")).await.json();
        assert_eq!(report["party"], "chat-room", "{spelling}");
    }
    let twice = node.deploy_project(vec![party("a_b"), party("aB")]).await.unwrap_err();
    assert_eq!(twice.to_string(), "the party a-b is listed twice");
    assert_eq!(node.get("/parties/chat-room/x").await.status, 200);
    assert!(node.deploy_project(Vec::new()).await.is_err());
}

#[tokio::test]
async fn an_unknown_party_gets_404_and_close_4404() {
    let node = Setup::memory().start().await;
    let reply = node.get("/parties/nobody/lobby").await;
    assert_eq!((reply.status, reply.text().as_str()), (404, "party nobody not found"));
    let mut client = TestClient::connect(node.addr(), "/parties/nobody/lobby").await;
    assert_eq!(client.closed().await, (4404, "party nobody not found".to_owned()));
}

#[tokio::test]
async fn invalid_names_get_400_and_close_4400() {
    let node = Setup::memory().start().await;
    let long = "a".repeat(257);
    for room in ["%FF", "%00", "a%0Ab", "%7F", long.as_str()] {
        assert_eq!(node.get(&format!("/parties/main/{room}")).await.status, 400, "{room}");
        let mut client = node.connect(room).await;
        assert_eq!(client.closed().await.0, 4400, "{room}");
    }
    let mut client = node.connect(&format!("lobby?_pk={long}")).await;
    assert_eq!(client.closed().await.0, 4400);
    assert_eq!(node.get("/parties/m%C3%A9/x").await.status, 400);
    assert_eq!(node.report(&long[1..]).await["name"], long[1..]);
}

#[tokio::test]
async fn a_url_that_is_too_long_gets_414_and_close_4414() {
    let node = Setup::memory().limits(|limits| limits.uri_bytes_max = 1_000).start().await;
    let path = format!("/parties/main/lobby/{}", "a".repeat(1_000));
    let query = format!("/parties/main/lobby?{}", "a".repeat(1_000));
    for path in [path, query] {
        assert_eq!(node.get(&path).await.status, 414);
        assert_eq!(TestClient::connect(node.addr(), &path).await.closed().await.0, 4414);
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_gets_413() {
    let node = Setup::memory().limits(|limits| limits.body_bytes_max = 1_000).start().await;
    let send = async |size| node.request("POST", "/party/x/reflect", &[], &vec![b'x'; size]).await;
    assert_eq!(send(1_000).await.json()["body"].as_array().map(Vec::len), Some(1_000));
    let reply = send(1_001).await;
    assert_eq!((reply.status, reply.text().as_str()), (413, "the body is larger than 1000 bytes"));
}

#[tokio::test]
async fn a_room_sees_the_request_unchanged() {
    let node = Setup::memory().start().await;
    let headers = [("X-One", "1"), ("x-two", "a"), ("x-two", "b")];
    let reply = node.request("PUT", "/parties/main/r/reflect?q=1&q=2", &headers, &[0, 255]).await;
    let seen = reply.json();
    assert_eq!(seen["method"], "PUT");
    assert_eq!(seen["uri"], format!("http://{}/parties/main/r/reflect?q=1&q=2", node.addr()));
    assert_eq!(seen["body"], json!([0, 255]));
    let own: Vec<&Value> = seen["headers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|header| header[0].as_str().is_some_and(|name| name.starts_with("x-")))
        .collect();
    // The last address is the server's, in place of the client's own claim.
    let wanted =
        json!([["x-one", "1"], ["x-two", "a"], ["x-two", "b"], ["x-forwarded-for", "127.0.0.1"]]);
    assert_eq!(json!(own), wanted);
}

#[tokio::test]
async fn a_rooms_response_arrives_unchanged() {
    let node = Setup::memory().start().await;
    let path = "/party/r/status?code=202&header=x-room:yes";
    let reply = node.request("POST", path, &[], b"body").await;
    assert_eq!((reply.status, reply.header("x-room")), (202, Some("yes")));
    assert_eq!(reply.body, b"body");
    for bad in
        ["code=199", "code=600", "code=200&header=content-length:1", "code=200&header=a%20b:1"]
    {
        let reply = node.request("POST", &format!("/party/r/status?{bad}"), &[], b"x").await;
        assert_eq!(reply.status, 500, "{bad}");
    }
}

#[tokio::test]
async fn guest_errors_are_shown_in_development_and_hidden_in_production() {
    let secret = json!([{"err": "a secret"}]);
    let node = Setup::memory().start().await;
    let reply = node.post("x", &secret).await;
    assert_eq!(reply.status, 500);
    assert!(reply.text().contains("a secret"));
    let node = Setup::memory().public().start().await;
    let reply = node.post("x", &secret).await;
    assert_eq!(reply.status, 500);
    assert!(!reply.text().contains("secret"), "{}", reply.text());
    assert!(reply.text().contains("the server's log has the cause under"), "{}", reply.text());
}

#[tokio::test]
async fn a_client_that_sends_no_request_is_disconnected() {
    let node = Setup::memory().limits(|limits| limits.header_ms_max = 100).start().await;
    let mut silent = RawClient::open(node.addr()).await;
    let mut slow = RawClient::open(node.addr()).await;
    slow.write(b"GET /party/x HTTP/1.1\r\nHost: ").await;
    // The node ends both; the deadline of the test is far later.
    silent.rest().await;
    slow.rest().await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_gets_408() {
    let node = Setup::memory().limits(|limits| limits.body_ms_max = 100).start().await;
    let mut client = RawClient::open(node.addr()).await;
    client.write(b"POST /party/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf").await;
    assert!(client.head().await.starts_with("HTTP/1.1 408"));
}

#[tokio::test]
async fn the_health_path_answers_only_ok() {
    for node in [Setup::memory(), Setup::memory().public()] {
        let node = node.start().await;
        node.report("one").await;
        let reply = node.get("/_room/health").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "ok\n"));
        for (name, value) in &reply.headers {
            let known = ["content-type", "content-length", "connection", "date"];
            assert!(known.contains(&name.as_str()), "{name}: {value}");
        }
    }
}

#[tokio::test]
async fn the_largest_allowed_response_is_sent_and_a_larger_one_is_refused() {
    let node = Setup::memory().start().await;
    let most = node.limits().response_bytes_max;
    let large = async |bytes: u64| node.get(&format!("/party/r/large?bytes={bytes}")).await;
    let reply = large(most).await;
    assert_eq!((reply.status, reply.body.len() as u64), (200, most));
    let reply = large(most + 1).await;
    assert_eq!(reply.status, 500);
    assert!(reply.text().contains("response_bytes_max"), "{}", reply.text());
}

#[tokio::test]
async fn client_js_is_served_to_any_origin_and_cached() {
    let node = Setup::memory().start().await;
    let reply = node.get("/_room/client.js").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("cross-origin-resource-policy"), Some("cross-origin"));
    assert_eq!(reply.header("cache-control"), Some("public, max-age=3600"));
    assert!(reply.text().contains("export class PartySocket"));
    // What it imports is beside it.
    let module = node.get("/_room/client/session.js").await;
    assert_eq!((module.status, module.header("access-control-allow-origin")), (200, Some("*")));
    assert!(module.text().contains("export class Session"));
    assert_eq!(node.get("/_room/client/nothing.js").await.status, 404);
    let tag = reply.header("etag").unwrap().to_owned();
    let other = r#""other""#.to_owned();
    for (known, status) in [
        (tag.clone(), 304),
        (format!("W/{tag}"), 304),
        (format!("{other}, {tag}"), 304),
        ("*".to_owned(), 304),
        (other, 200),
    ] {
        let headers = [("if-none-match", known.as_str())];
        let again = node.request("GET", "/_room/client.js", &headers, &[]).await;
        assert_eq!((again.status, again.text().is_empty()), (status, status == 304), "{known}");
    }
}

/// Returns a folder with something to see, something hidden, and something beside it.
fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("web/index.html", "<h1>hello</h1>");
    write("web/sub/a b.txt", "spaces");
    write("web/.env", "hidden");
    write("web/.git/config", "hidden");
    write("web/.well-known/thing", "known");
    write("outside.txt", "outside");
    dir
}

#[tokio::test]
async fn static_files_are_served_and_revalidated_each_time() {
    let site = site();
    let node = Setup::memory().assets(site.path().join("web")).start().await;
    let page = node.get("/").await;
    assert_eq!((page.status, page.text().as_str()), (200, "<h1>hello</h1>"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(node.get("/sub/a%20b.txt").await.text(), "spaces");
    assert_eq!(node.get("/.well-known/thing").await.text(), "known");
    let head = node.request("HEAD", "/index.html", &[], &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("14")));
    assert_eq!(head.body, b"");
    // A browser's cached copy is not sent again.
    let validator = page.header("last-modified").unwrap();
    let again = node.request("GET", "/", &[("If-Modified-Since", validator)], &[]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
}

#[tokio::test]
async fn hidden_and_outside_files_get_404() {
    let site = site();
    let node = Setup::memory().assets(site.path().join("web")).start().await;
    let paths = [
        "/nothing.html",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/sub/../../outside.txt",
        "/sub/%2e%2e/%2e%2e/outside.txt",
        "/sub//../..//outside.txt",
        "/%5c..%5coutside.txt",
        "/index.html%00",
        "/%ff",
    ];
    for path in paths {
        let reply = node.get(path).await;
        assert_eq!((reply.status, reply.text().contains("outside")), (404, false), "{path}");
    }
    assert_eq!(node.request("POST", "/index.html", &[], b"x").await.status, 404);
    // Without a folder there are no files.
    let node = Setup::memory().start().await;
    assert_eq!(node.get("/index.html").await.status, 404);
}

#[tokio::test]
async fn hooks_beyond_the_bound_wait_for_each_other() {
    let node = Setup::memory().limits(|limits| limits.door_instances_max = 1).start().await;
    let paths: Vec<String> = (0..8).map(|room| format!("/party/r{room}")).collect();
    let replies = futures_util::future::join_all(paths.iter().map(|path| node.get(path))).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
}

#[tokio::test]
async fn notices_are_sent_in_development_and_their_pages_are_bounded() {
    let public = Setup::memory().public().start().await;
    let script = public.request("GET", "/_room/overlay.js", &[], b"").await;
    assert_eq!((script.status, script.text().lines().count()), (200, 1));
    assert_eq!(public.request("GET", "/_room/overlay", &[], b"").await.status, 404);

    let node = Setup::memory().limits(|limits| limits.overlay_pages_max = 1).start().await;
    let script = node.request("GET", "/_room/overlay.js", &[], b"").await;
    assert!(script.text().contains("textContent"));
    let mut page = RawClient::open(node.addr()).await;
    page.write(b"GET /_room/overlay HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let head = page.head().await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
    assert_eq!(node.request("GET", "/_room/overlay", &[], b"").await.status, 503);
    // A page that stays does not delay the end.
    node.stop().await;
    assert!(String::from_utf8_lossy(&page.rest().await).contains("data: null"));
}
