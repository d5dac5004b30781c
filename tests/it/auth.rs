//! `[auth]`: tokens and tickets at the door of a real node.

use room_auth::testing::{Issuer, RSA_2048_PEM, jwks_of};
use room_runtime::AuthMode;
use room_runtime::clock::Clock;
use room_tests::{
    Origin, Reply, Requests, Setup, TestClient, TestNode, guest, response, script, until, variant,
};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const VARS: [(&str, &str); 1] = [("AUTH_SECRET", SECRET)];

fn now_s() -> u64 {
    Clock::system().wall_ms() / 1_000
}

fn issuer() -> Issuer {
    Issuer::hs(SECRET)
}

/// Returns a token for somebody that ends after so many seconds.
fn token(who: &str, seconds: i64) -> String {
    issuer().token(&json!({ "sub": who, "exp": now_s().saturating_add_signed(seconds) }))
}

fn section() -> Value {
    json!({ "secret": "AUTH_SECRET" })
}

async fn started(setup: Setup) -> TestNode {
    let node = setup.start_empty().await;
    node.deploy(guest("puppet"), &VARS).await.unwrap();
    node
}

async fn node() -> TestNode {
    started(Setup::memory().auth(&section())).await
}

/// Returns how a client with this query is refused.
async fn refused(node: &TestNode, query: &str) -> (u16, String) {
    node.connect(&format!("lobby?{query}")).await.closed().await
}

async fn asked(node: &TestNode, path: &str, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    node.request("GET", path, &[("authorization", &bearer)], &[]).await
}

#[tokio::test]
async fn a_client_needs_a_token_and_its_claims_reach_the_room() {
    let node = node().await;
    let missing = "this room needs a token, and the request has none".to_owned();
    assert_eq!(refused(&node, "_pk=a").await, (4401, missing.clone()));
    let reply = node.get("/parties/main/lobby").await;
    assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(reply.text(), missing);
    let ann = token("ann", 60);
    let _ann = node.connect(&format!("lobby?_pk=a&token={ann}&x=1")).await;
    let report = asked(&node, "/parties/main/lobby", &ann).await.json();
    let connection = &report["connections"][0];
    assert_eq!((&connection["claims"]["sub"], &connection["may"]), (&json!("ann"), &json!("rwp")));
    // The room gets the claims in place of the token.
    assert!(connection["uri"].as_str().unwrap().ends_with("/lobby?_pk=a&x=1"), "{connection}");
    let seen = asked(&node, "/parties/main/lobby/reflect?x=1", &ann).await.json();
    assert_eq!(seen["claims"]["sub"], "ann");
    assert!(!seen.to_string().contains("authorization") && !seen.to_string().contains(&ann));
}

#[tokio::test]
async fn each_bad_token_is_refused_with_its_own_reason() {
    let node = node().await;
    let exp = now_s() + 60;
    let forged = Issuer::hs(&"x".repeat(32)).token(&json!({ "exp": exp }));
    let none = issuer().token_with(&json!({ "alg": "none" }), &json!({ "exp": exp }));
    let confused = Issuer::hs(RSA_2048_PEM).token(&json!({ "exp": exp }));
    let text = issuer().token(&json!({ "exp": exp.to_string() }));
    let early = issuer().token(&json!({ "exp": exp, "nbf": exp }));
    let huge = "x".repeat(8_100);
    for (token, reason) in [
        ("nonsense", "the token is malformed: it is not three parts in base64url"),
        ("", "the token is malformed: it is not three parts in base64url"),
        (&forged, "the signature of the token is wrong"),
        (&confused, "the signature of the token is wrong"),
        (&none, "the token is signed with an algorithm that is not allowed here"),
        (&text, "the claims of the token are invalid: `exp` is not a number of seconds"),
        (&early, "the token is not valid yet"),
        (&token("ann", -31), "the token has expired"),
        (&huge, "the token is malformed: it is not three parts in base64url"),
        ("rt1.a.bbbb", "the signature of the token is wrong"),
    ] {
        let (code, found) = refused(&node, &format!("token={token}")).await;
        assert_eq!((code, found.as_str()), (4401, reason), "{token}");
        let reply = asked(&node, "/parties/main/lobby", token).await;
        assert_eq!((reply.status, reply.text().as_str()), (401, reason), "{token}");
        let challenge = Some("Bearer error=\"invalid_token\"");
        assert_eq!(reply.header("www-authenticate"), challenge);
    }
    let ann = token("ann", 60);
    let twice = refused(&node, &format!("token={ann}&token={ann}")).await;
    let several = "the request has more than one token: send it in one place".to_owned();
    assert_eq!(twice, (4400, several.clone()));
    let reply = asked(&node, &format!("/parties/main/lobby?token={ann}"), &ann).await;
    assert_eq!((reply.status, reply.text()), (400, several));
    // Nobody woke the room.
    assert_eq!(node.running().await, 0);
    let metrics = node.get("/_room/metrics").await.text();
    for line in [
        "room_auth_refused_total{reason=\"signature\"} 6",
        "room_auth_refused_total{reason=\"several\"} 2",
        "room_upgrades_refused_total{reason=\"auth\"} 11",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn a_token_may_be_in_a_header_a_cookie_the_query_or_a_subprotocol() {
    let own = json!({ "secret": "AUTH_SECRET", "cookie": "session", "query": "access" });
    let node = started(Setup::memory().auth(&own)).await;
    let path = "/parties/main/lobby?quiet=1";
    let ann = token("ann", 60);
    let (bearer, cookie) = (format!("Bearer {ann}"), format!("a=1; session={ann}"));
    let protocols = format!("chat, bearer.{ann}");
    for headers in [
        [("authorization", bearer.as_str())],
        [("cookie", cookie.as_str())],
        [("sec-websocket-protocol", protocols.as_str())],
    ] {
        let mut client = TestClient::try_connect(node.addr(), path, &headers).await.unwrap();
        assert_eq!(client.echo("hi").await, "hi", "{headers:?}");
        let protocol = client.header("sec-websocket-protocol");
        let wanted = (headers[0].0 == "sec-websocket-protocol").then_some("chat");
        assert_eq!(protocol, wanted);
    }
    let mut client = node.connect(&format!("lobby?quiet=1&access={ann}")).await;
    assert_eq!(client.echo("hi").await, "hi");
    // A token in the query takes precedence over the cookie, which the browser sends by itself.
    let stale = format!("session={}", token("bob", -60));
    let path = format!("/parties/main/lobby/reflect?access={ann}");
    let seen = node.request("GET", &path, &[("cookie", &stale)], &[]).await.json();
    assert_eq!(seen["claims"]["sub"], "ann");
    assert!(!seen.to_string().contains("session"), "{seen}");
    // The parameter has another name here.
    assert_eq!(refused(&node, &format!("token={ann}")).await.0, 4401);
}

#[tokio::test]
async fn a_page_of_another_site_cannot_use_the_cookie() {
    let own = json!({ "secret": "AUTH_SECRET", "cookie": "session" });
    let setup = Setup::memory().auth(&own);
    let node = started(setup).await;
    let cookie = format!("session={}", token("ann", 60));
    let host = node.addr().to_string();
    let own = format!("http://{host}");
    let open = async |origin: &str| {
        let headers = [("cookie", cookie.as_str()), ("origin", origin), ("host", host.as_str())];
        let path = "/parties/main/lobby";
        let headers = &headers[..2];
        let mut client = TestClient::try_connect(node.addr(), path, headers).await.unwrap();
        client.echo("hi").await == "hi"
    };
    assert!(open(&own).await);
    let headers = [("cookie", cookie.as_str()), ("origin", "https://evil.example")];
    let client = TestClient::try_connect(node.addr(), "/parties/main/lobby", &headers).await;
    assert_eq!(client.unwrap().closed().await.0, 4403);
    let reply = node.request("POST", "/parties/main/lobby", &headers, b"[]").await;
    assert_eq!(reply.status, 403);
}

#[tokio::test]
async fn a_party_asks_for_a_token_or_not_as_it_says_itself() {
    let optional = started(Setup::memory().auth(&section()).auth_mode(AuthMode::Optional)).await;
    let seen = optional.get("/parties/main/lobby/reflect").await.json();
    assert_eq!(seen["claims"], Value::Null);
    let seen = asked(&optional, "/parties/main/lobby/reflect", &token("ann", 60)).await.json();
    assert_eq!(seen["claims"]["sub"], "ann");
    assert_eq!(refused(&optional, &format!("token={}", token("ann", -60))).await.0, 4401);
    let off = started(Setup::memory().auth(&section()).auth_mode(AuthMode::Off)).await;
    let seen = off.get("/parties/main/lobby/reflect?token=mine&ticket=too").await.json();
    assert!(seen["uri"].as_str().unwrap().ends_with("?token=mine&ticket=too"));
    // Without the section, nothing is looked at, and a party cannot ask for it.
    let node = Setup::memory().start().await;
    let seen = asked(&node, "/parties/main/lobby/reflect?token=mine", "own").await.json();
    assert!(seen.to_string().contains("Bearer own") && seen.to_string().contains("token=mine"));
    let lonely = Setup::memory().auth_mode(AuthMode::Required).start_empty().await;
    let error = lonely.deploy(guest("puppet"), &VARS).await.unwrap_err().to_string();
    assert!(error.contains("no section [auth]"), "{error}");
}

#[tokio::test]
async fn a_weak_or_missing_key_is_refused_when_it_is_deployed() {
    for (own, vars, part) in [
        (section(), &[("AUTH_SECRET", "hush")][..], "4 bytes"),
        (section(), &[], "room env set AUTH_SECRET"),
        (json!({ "keys": [room_auth::testing::RSA_1024_PEM] }), &[], "2048 bits"),
        (json!({ "algorithms": ["none"] }), &[], "\"none\" is not an algorithm"),
    ] {
        let node = Setup::memory().auth(&own).start_empty().await;
        let error = node.deploy(guest("puppet"), vars).await.unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("hush"), "{part}: {error}");
    }
}

#[tokio::test]
async fn hooks_and_answers_outside_of_rooms_know_who_asks() {
    let node = node().await;
    let ann = token("ann", 60);
    let (code, claims) = refused(&node, &format!("token={ann}&verdict=claims")).await;
    let claims: Value = serde_json::from_str(&claims).unwrap();
    assert_eq!((code, &claims["sub"]), (4403, &json!("ann")));
    let reply = asked(&node, "/parties/main/lobby?verdict=claims", &ann).await;
    assert_eq!(reply.status, 403);
    assert!(reply.text().contains("ann"));
    // A page for signing in has no token, or an old one.
    let own = async |query: &str| node.get(&format!("/own/claims{query}")).await.json();
    assert_eq!(own("").await[0], Value::Null);
    assert_eq!(own(&format!("?token={}", token("ann", -60))).await[0], Value::Null);
    let found = own(&format!("?token={ann}&x=1")).await;
    assert_eq!(found[0]["sub"], "ann");
    assert!(found[1].as_str().unwrap().ends_with("/own/claims?x=1"));
    // A client cannot send its claims.
    let headers = [("x-claims", "{\"sub\":\"bob\"}"), ("claims", "bob")];
    let bearer = format!("Bearer {ann}");
    let all = [headers[0], headers[1], ("authorization", bearer.as_str())];
    let seen = node.request("GET", "/parties/main/lobby/reflect", &all, &[]).await.json();
    assert_eq!(seen["claims"]["sub"], "ann");
}

#[tokio::test]
async fn claims_stay_with_a_connection_through_reload_hibernation_and_close() {
    let setup = Setup::memory().auth(&section()).hibernate().limits(|l| l.hibernate_ms = 20);
    let node = started(setup).await;
    let ann = token("ann", 600);
    let mut client = node.connect(&format!("lobby?_pk=a&token={ann}")).await;
    assert_eq!(client.echo("hi").await, "hi");
    let claims = async || {
        let report = asked(&node, "/parties/main/lobby", &ann).await.json();
        report["connections"][0]["claims"]["sub"].clone()
    };
    until("the room to hibernate", async || node.live().await == 0).await;
    assert_eq!(claims().await, "ann");
    node.deploy(variant(&guest("puppet"), 1), &VARS).await.unwrap();
    assert_eq!(claims().await, "ann");
    client.close(Some((1000, "bye"))).await;
    until("the close", async || {
        let report = asked(&node, "/parties/main/lobby", &ann).await.json();
        let events = report["events"].as_array().unwrap().clone();
        events.iter().any(|event| event.as_str().unwrap().contains("\"sub\":\"ann\""))
    })
    .await;
}

#[tokio::test]
async fn an_open_connection_is_closed_when_its_token_ends() {
    let own = json!({ "secret": "AUTH_SECRET", "skew_s": 0 });
    let node = started(Setup::memory().auth(&own)).await;
    let short = token("ann", 2);
    let mut client = node.connect(&format!("lobby?quiet=1&token={short}")).await;
    let mut other = node.connect(&format!("lobby?quiet=1&token={}", token("bob", 600))).await;
    assert_eq!(client.echo("hi").await, "hi");
    assert_eq!(client.closed().await, (4401, "the token has expired".to_owned()));
    assert_eq!(other.echo("fine").await, "fine");
}

/// An issuer whose server answers what a test says, and counts.
struct Provider {
    server: Origin,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<Option<String>>>,
}

impl Provider {
    async fn start(keys: &[&Issuer]) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(Mutex::new(Some(published(keys))));
        let (count, told) = (asked.clone(), answer.clone());
        let server = Origin::start(move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
            told.lock().unwrap().clone()
        });
        Self { server: server.await, asked, answer }
    }

    fn say(&self, answer: Option<String>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    async fn node(&self) -> TestNode {
        let jwks = self.server.url("/keys");
        let setup = Setup::memory().auth(&json!({ "jwks": jwks, "audience": ["chat"] }));
        started(setup.limits(|l| l.jwks_retry_ms = 1)).await
    }
}

fn published(keys: &[&Issuer]) -> String {
    response(200, &String::from_utf8(jwks_of(keys)).unwrap())
}

fn signed(issuer: &Issuer) -> String {
    issuer.token(&json!({ "sub": "ann", "aud": ["x", "chat"], "exp": now_s() + 60 }))
}

#[tokio::test]
async fn the_keys_of_an_issuer_are_fetched_rotated_and_kept_while_it_is_down() {
    let (ed, es, rs) = (Issuer::ed("ed"), Issuer::es("es"), Issuer::rs("rs"));
    let provider = Provider::start(&[&ed, &es]).await;
    let node = provider.node().await;
    for issuer in [&ed, &es] {
        let reply = asked(&node, "/parties/main/lobby/reflect", &signed(issuer)).await;
        assert_eq!(reply.json()["claims"]["sub"], "ann");
    }
    assert_eq!(provider.asked(), 1);
    let unknown = asked(&node, "/parties/main/lobby", &signed(&rs)).await;
    assert_eq!((unknown.status, provider.asked()), (401, 2));
    provider.say(Some(published(&[&rs])));
    assert_eq!(asked(&node, "/parties/main/lobby", &signed(&rs)).await.status, 200);
    assert_eq!(asked(&node, "/parties/main/lobby", &signed(&ed)).await.status, 401);
    // Broken in every way: the keys that are known stay in use, and unknown ones are unknown.
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n{}".to_owned();
    let away =
        "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";
    for answer in [
        None,
        Some(response(500, "no")),
        Some(response(200, "<html>")),
        Some(long),
        Some(away.to_owned()),
    ] {
        provider.say(answer);
        assert_eq!(asked(&node, "/parties/main/lobby", &signed(&ed)).await.status, 401);
        assert_eq!(asked(&node, "/parties/main/lobby", &signed(&rs)).await.status, 200);
    }
}

#[tokio::test]
async fn an_issuer_that_was_never_reached_makes_clients_wait() {
    let ed = Issuer::ed("ed");
    let provider = Provider::start(&[&ed]).await;
    provider.say(None);
    let node = provider.node().await;
    let reply = asked(&node, "/parties/main/lobby", &signed(&ed)).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    let path = format!("/parties/main/lobby?token={}", signed(&ed));
    let refused = TestClient::try_connect(node.addr(), &path, &[]).await.err();
    assert_eq!(refused, Some(503));
    provider.say(Some(published(&[&ed])));
    assert_eq!(asked(&node, "/parties/main/lobby", &signed(&ed)).await.status, 200);
    // A name that leads to this machine is not enough.
    let port = provider.server.host().rsplit(':').next().unwrap().to_owned();
    let own = json!({ "jwks": format!("http://localhost.localdomain:{port}/keys") });
    let node = started(Setup::memory().auth(&own)).await;
    assert_eq!(asked(&node, "/parties/main/lobby", &signed(&ed)).await.status, 503);
}

/// Returns a ticket that a room makes.
async fn ticket(node: &TestNode, room: Option<&str>, ms: u64, once: bool) -> String {
    let bearer = format!("Bearer {}", token("maker", 60));
    let body = json!([{ "ticket": [room, ms, once] }]).to_string();
    let headers = [("authorization", bearer.as_str())];
    let reply = node.request("POST", "/parties/main/maker", &headers, body.as_bytes()).await;
    script(&reply)[0].clone()
}

#[tokio::test]
async fn a_ticket_of_a_room_opens_the_rooms_that_it_names() {
    let node = node().await;
    let one = ticket(&node, Some("lobby"), 60_000, false).await;
    let all = ticket(&node, None, 60_000, false).await;
    for _ in 0..2 {
        let mut client = node.connect(&format!("lobby?quiet=1&ticket={one}")).await;
        assert_eq!(client.echo("hi").await, "hi");
    }
    let other = format!("/parties/main/other?quiet=1&ticket={one}");
    let mut client = TestClient::connect(node.addr(), &other).await;
    assert_eq!(client.closed().await, (4401, "the ticket is for another room".to_owned()));
    assert_eq!(asked(&node, "/parties/main/other", &all).await.status, 200);
    assert_eq!(asked(&node, "/parties/main/lobby", &one).await.status, 200);
    // Another project has another key.
    let stranger = self::node().await;
    assert_eq!(asked(&stranger, "/parties/main/lobby", &one).await.status, 401);
    let shared = json!({ "secret": "AUTH_SECRET", "ticket_secret": "AUTH_SECRET" });
    let (a, b) = (Setup::memory().auth(&shared), Setup::memory().auth(&shared));
    let (a, b) = (started(a).await, started(b).await);
    let both = ticket(&a, Some("lobby"), 60_000, false).await;
    assert_eq!(asked(&b, "/parties/main/lobby", &both).await.status, 200);
}

#[tokio::test]
async fn a_ticket_of_single_use_is_used_once_also_over_a_restart() {
    let node = started(Setup::disk().auth(&section())).await;
    let once = ticket(&node, Some("lobby"), 600_000, true).await;
    // A client that does not get in may try again.
    assert_eq!(refused(&node, &format!("ticket={once}&verdict=refuse")).await.0, 4403);
    let mut client = node.connect(&format!("lobby?quiet=1&ticket={once}")).await;
    assert_eq!(client.echo("hi").await, "hi");
    let used = (4401, "the ticket was used already: it is valid once".to_owned());
    assert_eq!(refused(&node, &format!("ticket={once}")).await, used);
    let (unused, many) = (
        ticket(&node, Some("lobby"), 600_000, true).await,
        ticket(&node, Some("lobby"), 600_000, false).await,
    );
    drop(client);
    let node = started(node.stop().await).await;
    for ticket in [&once, &unused] {
        let (code, reason) = refused(&node, &format!("ticket={ticket}")).await;
        assert_eq!(code, 4401);
        assert!(reason.contains("restarted"), "{reason}");
    }
    assert_eq!(asked(&node, "/parties/main/lobby", &many).await.status, 200);
}

/// Returns a ticket that an operator asks for.
async fn operated(node: &TestNode, body: &Value) -> Reply {
    let bearer = format!("Bearer {}", node.secret());
    let headers = [("authorization", bearer.as_str())];
    let body = body.to_string();
    node.request("POST", "/_room/admin/tickets", &headers, body.as_bytes()).await
}

#[tokio::test]
async fn capabilities_of_a_ticket_bound_what_its_client_sends_and_hears() {
    let node = node().await;
    let with = async |capabilities: &[&str]| {
        let body = json!({
            "party": "main", "room": "lobby", "ms": 60_000, "capabilities": capabilities,
            "claims": { "sub": "guest" },
        });
        operated(&node, &body).await.json()["ticket"].as_str().unwrap().to_owned()
    };
    let (read, write) = (with(&["read"]).await, with(&["write", "presence"]).await);
    let mut reader = node.connect(&format!("lobby?quiet=1&_pk=r&ticket={read}")).await;
    let mut writer = node.connect(&format!("lobby?quiet=1&_pk=w&ticket={write}")).await;
    let mut both = node.connect(&format!("lobby?quiet=1&_pk=b&token={}", token("ann", 60))).await;
    let report = asked(&node, "/parties/main/lobby", &token("ann", 60)).await.json();
    let may: Vec<&Value> =
        report["connections"].as_array().unwrap().iter().map(|one| &one["may"]).collect();
    assert_eq!(may, ["r", "wp", "rwp"]);
    assert_eq!(report["connections"][0]["claims"]["sub"], "guest");
    writer.tell(json!([{ "broadcast": "to all" }, { "say": "to the writer" }])).await;
    assert_eq!(reader.text().await, "to all");
    assert_eq!(both.text().await, "to all");
    writer.tell(json!([{ "close": [4000, "over"] }])).await;
    // It heard nothing but the end.
    assert_eq!(writer.closed().await, (4000, "over".to_owned()));
    reader.send("mine").await;
    assert_eq!(reader.closed().await, (4403, "the ticket does not allow sending".to_owned()));
    let bearer = format!("Bearer {read}");
    let headers = [("authorization", bearer.as_str())];
    let reply = node.request("POST", "/parties/main/lobby", &headers, b"[]").await;
    let challenge = Some("Bearer error=\"insufficient_scope\"");
    assert_eq!((reply.status, reply.header("www-authenticate")), (403, challenge));
    assert_eq!(asked(&node, "/parties/main/lobby", &write).await.status, 403);
    assert_eq!(asked(&node, "/parties/main/lobby", &read).await.status, 200);
}

#[tokio::test]
async fn an_operator_reads_what_is_wrong_with_a_ticket() {
    let node = node().await;
    let good = json!({ "party": "main", "room": "lobby", "ms": 1, "capabilities": [] });
    for (key, value, part) in [
        ("ms", json!(0), "ticket_ms_max"),
        ("capabilities", json!(["fly"]), "is not a capability"),
        ("party", json!("nowhere"), "nowhere"),
        ("room", json!(""), "empty"),
        ("claims", json!([]), "the body is invalid"),
        ("colour", json!(1), "colour"),
    ] {
        let mut body = good.clone();
        body[key] = value;
        let reply = operated(&node, &body).await;
        assert!(matches!(reply.status, 400 | 404), "{part}: {}", reply.status);
        assert!(reply.text().contains(part), "{part}: {}", reply.text());
    }
    let plain = Setup::memory().start().await;
    assert!(operated(&plain, &good).await.text().contains("no [auth]"));
    assert_eq!(node.request("POST", "/_room/admin/tickets", &[], b"{}").await.status, 401);
}

#[tokio::test]
async fn no_token_and_no_ticket_is_in_logs_reports_and_errors() {
    let node = node().await;
    let (ann, old) = (token("ann", 60), token("old", -60));
    let one = ticket(&node, Some("lobby"), 60_000, false).await;
    let _a = node.connect(&format!("lobby?_pk=a&token={ann}")).await;
    let _b = node.connect(&format!("lobby?_pk=b&ticket={one}")).await;
    let failed = refused(&node, &format!("token={ann}&connect=panic")).await;
    let expired = refused(&node, &format!("token={old}")).await;
    let bearer = format!("Bearer {}", node.secret());
    let operator = [("authorization", bearer.as_str())];
    let mut seen = format!("{failed:?} {expired:?}");
    for path in ["rooms/main/lobby", "rooms", "overview", "logs"] {
        let reply = node.request("GET", &format!("/_room/admin/{path}"), &operator, &[]).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        seen.push_str(&reply.text());
    }
    assert!(seen.contains("the token has expired"), "{seen}");
    for secret in [&ann, &old, &one] {
        let signature = secret.rsplit('.').next().unwrap();
        assert!(!seen.contains(signature), "{secret}: {seen}");
    }
    assert!(!seen.contains(SECRET));
}
