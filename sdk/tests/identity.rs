//! Claims and tickets, as their author tests them.

use std::time::Duration;

use room_sdk::prelude::*;
use room_sdk::test::{TestClient, TestRoom};
use serde::Deserialize;
use serde_json::{Value, json};

/// Says who its clients are, and makes tickets.
#[derive(Default)]
struct Club;

#[derive(Deserialize)]
struct Member {
    sub: String,
}

impl Room for Club {
    fn on_before_connect(request: Request, _: &Lobby) -> Result<Verdict> {
        Ok(match request.claims::<Member>()? {
            Some(member) if member.sub == "mallory" => Verdict::refuse(4403, "not you"),
            _ => Verdict::forward(request),
        })
    }

    fn on_connect(&mut self, ctx: &Context, conn: &Connection, _: &Request) -> Result {
        ctx.broadcast(&format!("{} came", name(conn)?));
        Ok(())
    }

    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        ctx.broadcast(&format!("{}: {}", name(conn)?, message.as_text().unwrap_or_default()));
        Ok(())
    }

    fn on_close(&mut self, ctx: &Context, conn: &Connection, _: Close) -> Result {
        ctx.broadcast(&format!("{} left", name(conn)?));
        Ok(())
    }

    fn on_request(&mut self, ctx: &Context, request: Request) -> Result<Response> {
        let here = || Ticket::room(ctx.party(), ctx.name());
        let ticket = match request.rest() {
            "/who" => return Response::json(&request.claims::<Value>()?),
            "/look" => here().read_only(),
            "/mute" => here().capabilities(Capabilities::WRITE),
            "/once" => here().once().claims(&json!({ "sub": "guest" })),
            "/other" => Ticket::room(ctx.party(), "another"),
            "/all" => Ticket::party(ctx.party()).lasting(Duration::from_secs(10)),
            "/endless" => here().lasting(Duration::MAX),
            "/all-once" => Ticket::party(ctx.party()).once(),
            _ => here().claims("no object"),
        };
        Ok(match ctx.ticket(ticket) {
            Ok(ticket) => Response::text(ticket),
            Err(why) => Response::text(format!("{why:#}")).with_status(400),
        })
    }
}

/// What a client is called.
fn name(conn: &Connection) -> Result<String> {
    Ok(conn.claims::<Member>()?.map_or_else(|| "nobody".to_owned(), |member| member.sub))
}

fn texts(client: &TestClient<Club>) -> Vec<String> {
    client.received_json()
}

/// A ticket, or why there is none.
fn asked(room: &TestRoom<Club>, path: &str) -> String {
    room.request(Request::get(path)).body_text()
}

/// With which code and reason a client with a ticket was refused.
fn refused(room: &TestRoom<Club>, ticket: &str) -> Option<(u16, String)> {
    let client = room.client("refused").ticket(ticket).connect();
    client.closed().map(|close| (close.code, close.reason))
}

#[test]
fn claims_stay_with_a_connection_until_it_closes() {
    let room = TestRoom::<Club>::new("lobby");
    let watcher = room.connect("watcher");
    let ann = room.client("tab").claims(&json!({ "sub": "ann" })).connect();
    ann.send_text("hi");
    room.restart();
    ann.send_text("again");
    room.hibernate();
    ann.send_text("still");
    ann.close(1000, "");
    let expected = ["nobody came", "ann came", "ann: hi", "ann: again", "ann: still", "ann left"];
    assert_eq!(texts(&watcher), expected);
    watcher.send_text("and me?");
    assert_eq!(texts(&watcher), ["nobody: and me?"]);
}

#[test]
fn a_client_that_comes_back_has_the_claims_of_its_new_token() {
    let room = TestRoom::<Club>::new("lobby");
    drop(room.client("tab").claims(&json!({ "sub": "ann" })).connect());
    let bob = room.client("tab").claims(&json!({ "sub": "bob" })).connect();
    drop(texts(&bob));
    bob.send_text("me");
    assert_eq!(texts(&bob), ["bob: me"]);
    let nobody = room.connect("tab");
    drop(texts(&nobody));
    nobody.send_text("me");
    assert_eq!(texts(&nobody), ["nobody: me"]);
}

#[test]
fn hooks_and_requests_know_the_claims_of_their_sender() {
    let room = TestRoom::<Club>::new("lobby");
    let mallory = room.client("m").claims(&json!({ "sub": "mallory" })).connect();
    assert_eq!(mallory.closed().map(|close| close.code), Some(4403));
    let claims = json!({ "sub": "ann", "roles": ["editor"] });
    let reply = room.request(Request::get("/who").with_claims(&claims));
    assert_eq!(serde_json::from_slice::<Value>(reply.body()).unwrap(), claims);
    let forged = Request::get("/who").with_header("x-room-claims", r#"{"sub":"ann"}"#);
    assert_eq!(room.request(forged).body_text(), "null");
}

#[test]
fn a_ticket_opens_its_room_until_its_end_and_once_if_it_says_so() {
    let room = TestRoom::<Club>::new("lobby");
    let once = asked(&room, "/once");
    let guest = room.client("guest").ticket(&once).connect();
    guest.send_text("hi");
    assert_eq!(texts(&guest), ["guest came", "guest: hi"]);
    let used = (4401, "the ticket was used already: it is valid once".to_owned());
    assert_eq!(refused(&room, &once), Some(used));

    let elsewhere = (4401, "the ticket is for another room".to_owned());
    assert_eq!(refused(&room, &asked(&room, "/other")), Some(elsewhere));

    let all = asked(&room, "/all");
    assert_eq!(refused(&room, &all), None);
    room.advance(Duration::from_secs(10));
    assert_eq!(refused(&room, &all), Some((4401, "the token has expired".to_owned())));
    let malformed = "the token is malformed: it is not a whole ticket".to_owned();
    assert_eq!(refused(&room, "a.b.c"), Some((4401, malformed)));
}

#[test]
fn a_client_does_what_its_ticket_allows_and_nothing_else() {
    let room = TestRoom::<Club>::new("lobby");
    let viewer = room.client("viewer").ticket(&asked(&room, "/look")).connect();
    let mute = room.client("mute").ticket(&asked(&room, "/mute")).connect();
    let ann = room.client("tab").claims(&json!({ "sub": "ann" })).connect();
    ann.send_text("hi");
    mute.send_text("unheard by me");
    assert_eq!(texts(&mute), [""; 0]);
    assert_eq!(
        texts(&viewer),
        ["nobody came", "nobody came", "ann came", "ann: hi", "nobody: unheard by me"]
    );
    viewer.send_text("mine");
    assert_eq!(viewer.closed().map(|close| close.code), Some(4403));
    let heard = ["ann came", "ann: hi", "nobody: unheard by me", "nobody left"];
    assert_eq!(texts(&ann), heard);
}

#[test]
fn a_ticket_that_no_server_would_make_is_refused_with_the_reason() {
    let room = TestRoom::<Club>::new("lobby");
    assert!(asked(&room, "/endless").contains("ticket_ms_max"));
    assert!(asked(&room, "/all-once").contains("is for one room"));
    assert!(asked(&room, "/text").contains("must be a JSON object"));
}
