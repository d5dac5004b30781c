//! What a party answers outside of its rooms, and what its hooks may change.

use room_sdk::prelude::*;
use room_sdk::test::TestRoom;

#[derive(Default)]
struct Front;

impl Room for Front {
    fn on_request(&mut self, _: &Context, request: Request) -> Result<Response> {
        Ok(Response::text(request.uri()))
    }

    fn on_before_request(request: Request, lobby: &Lobby) -> Result<Verdict> {
        Ok(Verdict::forward(match request.rest() {
            "/moved" => request.with_rest("/new").with_query("user", lobby.room()),
            "/other" => request.with_uri("http://localhost:1999/parties/main/other"),
            _ => request,
        }))
    }

    fn on_fetch(request: Request, project: &ProjectEnv) -> Result<Option<Response>> {
        match request.path() {
            "/hello" => Ok(Some(Response::text(project.var("GREETING").unwrap_or_default()))),
            "/bad" => Ok(Some(Response::status(99))),
            "/fails" => bail!("asked to fail"),
            "/panics" => panic!("asked to panic"),
            _ => Ok(None),
        }
    }

    fn on_socket(request: Request, _: &ProjectEnv) -> Result<SocketVerdict> {
        match request.path() {
            "/chat" => Ok(SocketVerdict::enter("main", "lobby")),
            "/gone" => Ok(SocketVerdict::refuse(4410, "gone")),
            "/wrong" => Ok(SocketVerdict::refuse(1000, "wrong")),
            "/fails" => bail!("asked to fail"),
            _ => Ok(SocketVerdict::Unknown),
        }
    }
}

#[test]
fn a_project_answers_outside_of_its_rooms() {
    let room = TestRoom::<Front>::builder("lobby").var("GREETING", "hi").build();
    let fetch = |path: &str| room.fetch(Request::get(path));
    assert_eq!(fetch("/hello").map(|own| own.body_text()), Some("hi".to_owned()));
    assert_eq!(fetch("/missing"), None);
    for path in ["/bad", "/fails", "/panics"] {
        assert_eq!(fetch(path).map(|own| own.status_code()), Some(500), "{path}");
        assert_eq!(room.take_errors().len(), 1, "{path}");
    }
    let socket = |path: &str| room.socket(Request::get(path));
    assert_eq!(socket("/chat"), Some(SocketVerdict::enter("main", "lobby")));
    assert_eq!(socket("/gone"), Some(SocketVerdict::refuse(4410, "gone")));
    assert_eq!(socket("/missing"), Some(SocketVerdict::Unknown));
    for path in ["/wrong", "/fails"] {
        assert_eq!(socket(path), None, "{path}");
        assert_eq!(room.take_errors().len(), 1, "{path}");
    }
}

#[test]
fn a_hook_changes_the_url_but_not_the_room() {
    let room = TestRoom::<Front>::new("lobby");
    let seen = room.request(Request::get("/moved?user=eve&x=1")).body_text();
    assert_eq!(seen, "http://localhost:1999/parties/main/lobby/new?x=1&user=lobby");
    assert_eq!(room.request(Request::get("/other")).status_code(), 500);
    assert!(room.take_errors()[0].contains("another room"));
}
