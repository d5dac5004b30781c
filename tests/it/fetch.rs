//! What a project answers outside of its rooms.

use room_runtime::PartyConfig;
use room_tests::{Requests, Setup, TestClient, guest};

#[tokio::test]
async fn the_projects_code_answers_what_is_neither_a_room_nor_a_file() {
    let site = tempfile::tempdir().unwrap();
    std::fs::write(site.path().join("own.html"), "the page").unwrap();
    std::fs::write(site.path().join("404.html"), "sorry").unwrap();
    for assets in [false, true] {
        let setup = Setup::memory();
        let setup = if assets { setup.assets(site.path()) } else { setup };
        let node = setup.start_empty().await;
        assert_eq!(node.get("/own").await.status, 404, "nothing is served yet");
        node.deploy(guest("puppet"), &[("VERSION", "7")]).await.unwrap();
        let reply = node.get("/own").await;
        assert_eq!((reply.status, reply.text()), (201, "own GET  7".to_owned()));
        let reply = node.request("POST", "/own?x", &[], b"body").await;
        assert_eq!((reply.status, reply.text()), (201, "own POST body 7".to_owned()));
        // A file is before it, and 404.html is after it.
        let page = node.get("/own.html").await;
        assert_eq!(page.text(), if assets { "the page" } else { "own GET  7" });
        let missing = node.get("/nothing").await;
        let text = if assets { "sorry" } else { "not found" };
        assert_eq!((missing.status, missing.text()), (404, text.to_owned()));
        // The server's own paths are not the project's.
        assert_eq!(node.get("/_room/own?how=err").await.status, 404);
        // It has no room, and no room is woken.
        assert_eq!(node.running().await, 0);
    }
}

#[tokio::test]
async fn a_project_without_main_is_answered_for_by_the_first_party_by_name() {
    let node = Setup::memory().start_empty().await;
    let party = |name: &str| {
        let own = node.party(guest("puppet"), &[("VERSION", name)]);
        PartyConfig { name: name.to_owned(), ..own }
    };
    node.deploy_project(vec![party("beta"), party("alpha")]).await.unwrap();
    assert_eq!(node.get("/own").await.text(), "own GET  alpha");
    node.deploy_project(vec![party("alpha"), party("main")]).await.unwrap();
    assert_eq!(node.get("/own").await.text(), "own GET  main");
}

#[tokio::test]
async fn a_failing_answer_is_500_and_affects_nobody_else() {
    let node = Setup::memory().limits(|limits| limits.turn_ms_max = 500).start().await;
    let mut friend = node.connect("other").await;
    for path in ["/own?how=err", "/own?how=panic", "/own?how=loop", "/own?how=alloc", "/own/bad"] {
        assert_eq!(node.get(path).await.status, 500, "{path}");
        assert_eq!(friend.echo("fine").await, "fine");
    }
    let body = vec![0; usize::try_from(node.limits().body_bytes_max).unwrap() + 1];
    assert_eq!(node.request("POST", "/own", &[], &body).await.status, 413);
    let long =
        format!("/own?{}", "x".repeat(usize::try_from(node.limits().uri_bytes_max).unwrap()));
    assert_eq!(node.get(&long).await.status, 414);
}

#[tokio::test]
async fn the_projects_code_says_which_room_a_websocket_goes_to() {
    let node = Setup::memory().start().await;
    let open = async |path: &str| TestClient::connect(node.addr(), path).await;
    let mut client = open("/chat?room=lobby&_pk=ann&tags=red").await;
    assert_eq!(client.echo("hi").await, "hi");
    let connection = &node.report("lobby").await["connections"][0];
    assert_eq!((&connection["id"], &connection["tags"][0]), (&"ann".into(), &"red".into()));
    // The hook of the room's party is asked, too.
    assert_eq!(open("/chat?room=lobby&verdict=refuse").await.closed().await.0, 4403);
    for (path, code) in [
        ("/gone", 4410),
        ("/other", 4404),
        ("/chat?room=", 1011),
        ("/chat?room=x&party=a%20b", 1011),
        ("/chat?room=x&party=nobody", 4404),
        ("/chat?room=x&how=err", 1011),
        ("/chat?room=x&how=panic", 1011),
        ("/_room/chat", 4404),
    ] {
        assert_eq!(open(path).await.closed().await.0, code, "{path}");
    }
    let answer = TestClient::try_connect(node.addr(), "/plain", &[]).await;
    assert_eq!(answer.err(), Some(418));
}
