//! Pages that open WebSockets to a server of another site.

use room_tests::{Requests, Setup, TestClient, TestNode};
use serde_json::json;

/// Returns the result of a page's WebSocket: `None` if it is admitted, otherwise the close frame.
async fn page(node: &TestNode, origin: &str) -> Option<(u16, String)> {
    let path = "/parties/main/lobby?_pk=page";
    let client = TestClient::try_connect(node.addr(), path, &[("origin", origin)]).await;
    let mut client = client.unwrap_or_else(|status| panic!("{origin} was answered with {status}"));
    // A room that let it in answers. A door that did not has closed before.
    client.try_send("hello").await;
    match client.recv().await {
        room_tests::Got::Close(code, reason) => Some((code, reason)),
        got => {
            assert_eq!(got, room_tests::Got::Text("hello".to_owned()));
            client.close(None).await;
            assert!(matches!(client.recv().await, room_tests::Got::Close(..)));
            None
        }
    }
}

#[tokio::test]
async fn a_page_of_an_unlisted_origin_is_refused() {
    let own = ["https://chat.example.com", "https://*.apps.example.com"];
    let node = Setup::memory().origins(&own).start().await;
    for origin in ["https://evil.example", "http://chat.example.com", "null"] {
        let reason = format!("the project's origins do not list {origin}");
        assert_eq!(page(&node, origin).await, Some((4403, reason)), "{origin}");
    }
    // The room received no event of them: this is its first one.
    assert_eq!(node.report("lobby").await["events"], json!([]));
    for origin in ["https://chat.example.com", "https://a.apps.example.com"] {
        assert_eq!(page(&node, origin).await, None, "{origin}");
    }
    // A page of the server itself, and a client that is not a browser.
    assert_eq!(page(&node, &format!("http://{}", node.addr())).await, None);
    assert_eq!(node.connect("lobby").await.echo("hello").await, "hello");
}

#[tokio::test]
async fn all_ports_of_a_host_and_opaque_origins_can_be_listed() {
    let node = Setup::memory().origins(&["http://localhost:*", "null"]).start().await;
    for origin in ["http://localhost:3000", "http://localhost", "null"] {
        assert_eq!(page(&node, origin).await, None, "{origin}");
    }
    for origin in ["https://localhost:3000", "http://localhost.evil.example:3000"] {
        let reason = format!("the project's origins do not list {origin}");
        assert_eq!(page(&node, origin).await, Some((4403, reason)), "{origin}");
    }
}

#[tokio::test]
async fn without_listed_origins_every_page_is_admitted() {
    let node = Setup::memory().start().await;
    for origin in ["https://evil.example", "null"] {
        assert_eq!(page(&node, origin).await, None, "{origin}");
    }
}

#[tokio::test]
async fn two_origins_must_both_be_listed() {
    let node = Setup::memory().origins(&["https://chat.example.com"]).start().await;
    let headers = [("origin", "https://chat.example.com"), ("origin", "https://evil.example")];
    let client = TestClient::try_connect(node.addr(), "/party/lobby", &headers).await;
    assert_eq!(client.expect("it is accepted").closed().await.0, 4403);
}

#[tokio::test]
async fn a_project_with_invalid_origins_is_refused_and_the_previous_version_continues() {
    let node = Setup::memory().origins(&["chat.example.com"]).start_empty().await;
    let refused = node.deploy(room_tests::guest("puppet"), &[]).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "\"chat.example.com\" is not an origin: it must start with a scheme, such as https://chat.example.com"
    );
    assert_eq!(node.get("/party/lobby").await.status, 503);
}
