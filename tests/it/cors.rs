//! Pages of other sites that read a party's responses.

use room_runtime::CorsSetting;
use room_tests::{Reply, Requests, Setup, TestNode};

const PAGE: (&str, &str) = ("Origin", "https://app.example");
const OTHER: (&str, &str) = ("Origin", "https://evil.example");

async fn every() -> TestNode {
    Setup::memory().cors(CorsSetting::Every(true)).start().await
}

async fn listed() -> TestNode {
    let origins = vec!["https://app.example".to_owned(), "https://*.b.example".to_owned()];
    Setup::memory().cors(CorsSetting::Origins(origins)).start().await
}

async fn preflight(node: &TestNode, origin: (&str, &str), method: &str) -> Reply {
    let headers = [
        origin,
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", "authorization,x-mine"),
    ];
    node.request("OPTIONS", "/party/lobby/x", &headers, &[]).await
}

/// Returns the three headers that decide whether a page may read a response.
fn right(reply: &Reply) -> (Option<&str>, Option<&str>, bool) {
    let varies = reply.all("vary").contains(&"origin");
    let credentials = reply.header("access-control-allow-credentials");
    (reply.header("access-control-allow-origin"), credentials, varies)
}

#[tokio::test]
async fn a_preflight_is_answered_without_the_room() {
    for (node, allowed) in [
        (every().await, (Some("*"), None, false)),
        (listed().await, (Some("https://app.example"), Some("true"), true)),
    ] {
        for method in ["POST", "DELETE", "PROPFIND"] {
            let reply = preflight(&node, PAGE, method).await;
            assert_eq!((reply.status, right(&reply)), (204, allowed), "{method}");
            let methods = reply.header("access-control-allow-methods").unwrap();
            assert!(methods.split(", ").any(|listed| listed == method), "{methods}");
            let headers = reply.header("access-control-allow-headers");
            assert_eq!(headers, Some("authorization,x-mine"));
            assert!(reply.header("access-control-max-age").is_some());
        }
        assert_eq!(node.running().await, 0, "a room was woken");
        // An OPTIONS that asks for nothing of CORS is the room's.
        let reply = node.request("OPTIONS", "/party/lobby/reflect", &[PAGE], &[]).await;
        assert_eq!(reply.json()["method"], "OPTIONS");
    }
}

#[tokio::test]
async fn a_page_that_is_not_listed_is_refused() {
    let node = listed().await;
    for origin in
        [OTHER, ("Origin", "null"), ("Origin", "https://b.example"), ("Origin", "nonsense")]
    {
        let reply = preflight(&node, origin, "POST").await;
        assert_eq!((reply.status, right(&reply)), (403, (None, None, true)), "{origin:?}");
        let reply = node.request("GET", "/party/lobby", &[origin], &[]).await;
        assert_eq!((reply.status, right(&reply)), (200, (None, None, true)), "{origin:?}");
        assert_eq!(reply.header("access-control-expose-headers"), None);
    }
    let twice = [PAGE, OTHER];
    assert_eq!(right(&node.request("GET", "/party/lobby", &twice, &[]).await), (None, None, true));
}

#[tokio::test]
async fn every_answer_has_the_headers_errors_and_hooks_included() {
    for (node, allowed) in [
        (every().await, (Some("*"), None, false)),
        (listed().await, (Some("https://app.example"), Some("true"), true)),
    ] {
        for (path, status) in [
            ("/party/lobby", 200),
            ("/party/lobby?verdict=respond", 418),
            ("/party/lobby?verdict=refuse", 403),
            ("/party/lobby?verdict=err", 401),
            ("/party/lobby?verdict=panic", 500),
            ("/party/lobby/status?code=99", 500),
        ] {
            let reply = node.request("GET", path, &[PAGE], &[]).await;
            assert_eq!((reply.status, right(&reply)), (status, allowed), "{path}");
        }
        let path = "/party/lobby/status?code=201&header=x-mine:1&header=set-cookie:a&header=etag:2";
        let reply = node.request("GET", path, &[PAGE], &[]).await;
        let exposed = reply.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("x-mine") && exposed.contains("etag"), "{exposed}");
        assert!(!exposed.contains("set-cookie") && !exposed.contains("content-type"), "{exposed}");
        // A party that does not exist has no setting.
        let reply = node.request("GET", "/parties/nobody/x", &[PAGE], &[]).await;
        assert_eq!((reply.status, right(&reply)), (404, (None, None, false)));
    }
}

#[tokio::test]
async fn headers_that_a_room_sets_itself_stay() {
    let node = listed().await;
    let path =
        "/party/lobby/status?code=200&header=access-control-allow-origin:https://own.example";
    let reply = node.request("GET", path, &[PAGE], &[]).await;
    assert_eq!(right(&reply), (Some("https://own.example"), None, false));
    assert_eq!(reply.all("access-control-allow-origin").len(), 1);
    let path =
        "/party/lobby/status?code=200&header=access-control-expose-headers:x-a&header=vary:cookie";
    let reply = node.request("GET", path, &[PAGE], &[]).await;
    assert_eq!(reply.all("access-control-expose-headers"), ["x-a"]);
    assert_eq!(reply.all("vary"), ["cookie", "origin"]);
    // Never every page together with the user's cookies.
    let node = every().await;
    let path = "/party/lobby/status?code=200&header=access-control-allow-credentials:true";
    assert_eq!(right(&node.request("GET", path, &[PAGE], &[]).await), (Some("*"), None, false));
}

#[tokio::test]
async fn without_the_setting_rooms_answer_for_themselves() {
    let node = Setup::memory().start().await;
    let headers = [PAGE, ("Access-Control-Request-Method", "POST")];
    let reply = node.request("OPTIONS", "/party/lobby/reflect", &headers, &[]).await;
    assert_eq!(
        (reply.json()["method"].as_str(), right(&reply)),
        (Some("OPTIONS"), (None, None, false))
    );
}

#[tokio::test]
async fn an_invalid_origin_is_refused_at_the_deployment() {
    let bad = CorsSetting::Origins(vec!["app.example".to_owned()]);
    let node = Setup::memory().cors(bad).start_empty().await;
    let error = node.deploy(room_tests::guest("puppet"), &[]).await.unwrap_err().to_string();
    assert!(error.contains("app.example") && error.contains("https://"), "{error}");
}
