//! Members against the mock host: which tokens count, and how often the provider is asked.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_compact::{KeyPair, Seed};
use room_example_members::Members;
use room_sdk::OutcallFailure;
use room_sdk::prelude::*;
use room_sdk::test::TestRoom;
use serde_json::{Value, json};

const URL: &str = "https://login.example.com/keys";

fn key(seed: u8) -> KeyPair {
    KeyPair::from_seed(Seed::new([seed; 32]))
}

fn room() -> TestRoom<Members> {
    TestRoom::<Members>::builder("lobby")
        .var("JWKS_URL", URL)
        .var("ISSUER", "https://login.example.com")
        .var("AUDIENCE", "members")
        .build()
}

/// Lets the provider publish these keys, and returns how often it was asked.
fn publish(room: &TestRoom<Members>, seeds: &[u8]) -> Rc<Cell<usize>> {
    let keys = seeds.iter().map(|seed| {
        let x = URL_SAFE_NO_PAD.encode(*key(*seed).pk);
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": format!("key {seed}"), "x": x })
    });
    let set = json!({ "keys": keys.collect::<Vec<Value>>() });
    let asked = Rc::new(Cell::new(0));
    let count = asked.clone();
    room.answer_hooks(move |request| {
        assert_eq!(request.uri(), URL);
        count.set(count.get() + 1);
        Response::json(&set).map_err(|error| OutcallFailure::new("invalid", &error.to_string()))
    });
    asked
}

/// Returns a token of a member that ends this many seconds after now.
fn token(room: &TestRoom<Members>, seed: u8, seconds: i64, claims: Value) -> String {
    let now = i64::try_from(room.now().as_millis() / 1_000).expect("a time of this century");
    let issuer = "https://login.example.com";
    let mut all = json!({ "sub": "ann", "iss": issuer, "aud": "members", "exp": now + seconds });
    let (own, more) = (all.as_object_mut(), claims.as_object());
    own.expect("an object").extend(more.expect("an object").clone());
    let head = json!({ "alg": "EdDSA", "typ": "JWT", "kid": format!("key {seed}") });
    let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encoded(&head), encoded(&all));
    let signature = key(seed).sk.sign(&signed, None);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(*signature))
}

/// Returns the refusal of a client with a token, if it was refused.
fn refusal(room: &TestRoom<Members>, token: &str) -> Option<(u16, String)> {
    let client = room.client("a").query("token", token).connect();
    let refusal = client.closed().map(|close| (close.code, close.reason));
    if refusal.is_none() {
        client.lose();
    }
    refusal
}

#[test]
fn a_member_talks_under_the_name_that_the_token_proves() {
    let room = room();
    publish(&room, &[1]);
    let client = room.client("a").query("token", &token(&room, 1, 60, json!({}))).connect();
    client.send_text("hi");
    assert_eq!(client.received_json::<Value>(), [json!({ "member": "ann", "text": "hi" })]);
}

#[test]
fn tokens_that_prove_nothing_are_refused() {
    let room = room();
    publish(&room, &[1]);
    assert_eq!(refusal(&room, &token(&room, 1, 60, json!({ "aud": ["x", "members"] }))), None);
    let good = token(&room, 1, 60, json!({}));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let forged = token(&room, 1, 60, json!({ "sub": "eve" }));
    let forged = format!("{}.{signature}", forged.rsplit_once('.').unwrap().0);
    let unsigned = format!("{head}.");
    let none = URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "kid": "key 1" }).to_string());
    let none = format!("{none}.{}.", head.rsplit_once('.').unwrap().1);
    for bad in [
        "nonsense",
        &forged,
        &unsigned,
        &none,
        &token(&room, 1, -31, json!({})),
        &token(&room, 1, 60, json!({ "aud": "others" })),
        &token(&room, 1, 60, json!({ "iss": "https://evil.example" })),
        &token(&room, 1, 60, json!({ "nbf": i64::from(u32::MAX) })),
        &token(&room, 2, 60, json!({})),
    ] {
        assert_eq!(refusal(&room, bad).map(|(code, _)| code), Some(4401), "{bad}");
    }
    assert_eq!(room.connect("none").closed().map(|close| close.code), Some(4401));
}

#[test]
fn the_providers_keys_are_kept_and_new_ones_are_found() {
    let room = room();
    let asked = publish(&room, &[1]);
    for _ in 0..10 {
        assert_eq!(refusal(&room, &token(&room, 1, 60, json!({}))), None);
    }
    assert_eq!(asked.get(), 1);
    // The provider changes its keys. Clients with unknown keys cannot make this server ask all the time.
    let asked = publish(&room, &[1, 2]);
    for _ in 0..10 {
        assert_eq!(refusal(&room, &token(&room, 2, 60, json!({}))), None);
        assert!(refusal(&room, &token(&room, 3, 60, json!({}))).is_some());
    }
    assert_eq!(asked.get(), 1);
    room.advance(Duration::from_secs(61));
    assert!(refusal(&room, &token(&room, 3, 60, json!({}))).is_some());
    assert_eq!(asked.get(), 2);
}

#[test]
fn clients_may_try_again_while_the_provider_is_away() {
    let room = room();
    room.answer_hooks(|_| {
        Err(OutcallFailure::new("timed-out", "no complete response within 5000 ms"))
    });
    assert_eq!(refusal(&room, &token(&room, 1, 60, json!({}))).map(|(code, _)| code), Some(1006));
    publish(&room, &[1]);
    assert_eq!(refusal(&room, &token(&room, 1, 60, json!({}))), None);
}
