//! The project's own path of its rooms.

use room_tests::{Requests, Setup, TestClient, guest};

#[tokio::test]
async fn rooms_answer_below_the_projects_own_path_too() {
    let site = tempfile::tempdir().unwrap();
    std::fs::create_dir(site.path().join("api")).unwrap();
    std::fs::write(site.path().join("api/index.html"), "the api").unwrap();
    let node = Setup::memory().assets(site.path()).prefix("/api/rooms").start().await;
    let at = "/api/rooms/main/lobby";
    let mut client = TestClient::connect(node.addr(), &format!("{at}?_pk=ann")).await;
    assert_eq!(client.echo("hi").await, "hi");
    // One room, however it is asked for.
    for path in [at, "/parties/main/lobby", "/party/lobby"] {
        assert_eq!(node.get(path).await.json()["connections"][0]["id"], "ann", "{path}");
        let seen = node.get(&format!("{path}/reflect?a=b")).await.json();
        assert_eq!(seen["uri"], format!("http://{}{path}/reflect?a=b", node.addr()));
    }
    // A hook knows the sub-path there, and stays in the room.
    let seen = node.get(&format!("{at}/x?verdict=rest")).await.json();
    assert_eq!(seen["uri"], format!("http://{}{at}/reflect?user=lobby&verdict=", node.addr()));
    let other = format!("http://{}/api/rooms/main/other", node.addr());
    assert_eq!(node.get(&format!("{at}?verdict=uri&to={other}")).await.status, 500);
    // Names are checked as below /parties, and what names no room is a file or 404.
    for (path, status) in [
        ("/api/rooms/main/%00", 400),
        ("/api/rooms/nobody/x", 404),
        ("/api/rooms/main", 404),
        ("/api/rooms/", 404),
        ("/api/roomsx/main/lobby", 404),
        ("/api/", 200),
    ] {
        assert_eq!(node.get(path).await.status, status, "{path}");
    }
    let mut client = TestClient::connect(node.addr(), "/api/rooms/nobody/x").await;
    assert_eq!(client.closed().await.0, 4404);
}

#[tokio::test]
async fn a_prefix_of_the_servers_own_is_refused_at_the_deployment() {
    let node = Setup::memory().prefix("/_room/rooms").start_empty().await;
    let error = node.deploy(guest("puppet"), &[]).await.unwrap_err().to_string();
    assert!(error.contains("/_room is the server's own"), "{error}");
}
