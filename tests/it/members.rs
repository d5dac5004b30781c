//! The example `members` on a real node: its hook checks tokens with the keys that a server on loopback publishes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_compact::{KeyPair, Seed};
use room_runtime::clock::Clock;
use room_tests::{Origin, Requests, Setup, TestClient, TestNode, example, response};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const ISSUER: &str = "https://login.example.com";

fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(Seed::new([seed; 32]))
}

/// Returns the key set with these keys, as a provider publishes it.
fn key_set(seeds: &[u8]) -> String {
    let keys = seeds.iter().map(|seed| {
        let x = URL_SAFE_NO_PAD.encode(*pair(*seed).pk);
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": format!("key {seed}"), "x": x })
    });
    json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
}

/// A provider, and the keys that it publishes now; none while it fails.
struct Provider {
    server: Origin,
    keys: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Provider {
    async fn start(seeds: Option<&[u8]>) -> Self {
        let keys = Arc::new(Mutex::new(seeds.map(<[u8]>::to_vec)));
        let published = keys.clone();
        let server =
            Origin::start(move |_, _| {
                let published = published.lock().unwrap().clone();
                Some(published.map_or_else(
                    || response(503, "later"),
                    |seeds| response(200, &key_set(&seeds)),
                ))
            });
        Self { server: server.await, keys }
    }

    fn publish(&self, seeds: &[u8]) {
        *self.keys.lock().unwrap() = Some(seeds.to_vec());
    }
}

/// Returns a node with the example, whose provider is at this host.
async fn node(host: String) -> TestNode {
    let url = format!("http://{host}/keys");
    let node = Setup::memory().fetch_hosts(&[host]).start_empty().await;
    let vars = [("JWKS_URL", url.as_str()), ("ISSUER", ISSUER), ("AUDIENCE", "members")];
    node.deploy(example("members"), &vars).await.unwrap();
    node
}

/// Returns a token with the id of one key, signed by another, that ends this many seconds after now.
fn token((id, by): (u8, u8), seconds: i64, audience: &str) -> String {
    let now = i64::try_from(Clock::system().wall_ms() / 1_000).unwrap();
    let claims = json!({ "sub": "ann", "iss": ISSUER, "aud": audience, "exp": now + seconds });
    let head = json!({ "alg": "EdDSA", "typ": "JWT", "kid": format!("key {id}") });
    let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encoded(&head), encoded(&claims));
    let signature = pair(by).sk.sign(&signed, None);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(*signature))
}

fn good(key: u8) -> String {
    token((key, key), 60, "members")
}

async fn enter(node: &TestNode, token: &str) -> Result<TestClient, u16> {
    TestClient::try_connect(node.addr(), &format!("/party/lobby?token={token}"), &[]).await
}

/// Checks that a token lets its member in, who talks under the name in it.
async fn enters(node: &TestNode, token: &str) {
    let mut client = enter(node, token).await.unwrap();
    let said: Value = serde_json::from_str(&client.echo("hi").await).unwrap();
    assert_eq!(said, json!({ "member": "ann", "text": "hi" }));
}

#[tokio::test]
async fn members_enter_with_a_token_of_the_providers_keys_and_nobody_else() {
    let provider = Provider::start(Some(&[1])).await;
    let node = node(provider.server.host()).await;
    enters(&node, &good(1)).await;
    for (what, token) in [
        ("expired", token((1, 1), -60, "members")),
        ("wrong key", token((1, 2), 60, "members")),
        ("unknown key", good(3)),
        ("wrong audience", token((1, 1), 60, "others")),
        ("nonsense", "nonsense".to_owned()),
        ("none", String::new()),
    ] {
        let (code, reason) = enter(&node, &token).await.unwrap().closed().await;
        assert_eq!(code, 4401, "{what}: {reason}");
    }
    enters(&node, &good(1)).await;
    // Once at first, and once for the unknown key, however many clients came.
    assert_eq!(provider.server.received().len(), 2);
    let page = node.get("/_room/metrics").await.text();
    assert!(page.contains("room_upgrades_refused_total{reason=\"hook\"} 6\n"), "{page}");
}

#[tokio::test]
async fn a_key_that_the_provider_has_rotated_in_is_found() {
    let provider = Provider::start(Some(&[1])).await;
    let node = node(provider.server.host()).await;
    enters(&node, &good(1)).await;
    provider.publish(&[2]);
    // The keys are kept for longer than this test lasts. The unknown key makes the hook look again.
    enters(&node, &good(2)).await;
    assert_eq!(provider.server.received().len(), 2);
    enters(&node, &good(2)).await;
    assert_eq!(provider.server.received().len(), 2);
}

#[tokio::test]
async fn members_get_503_while_the_provider_is_away() {
    // Nobody listens there.
    let gone = Origin::of(200, "").await.host();
    let node_without = node(gone).await;
    assert_eq!(enter(&node_without, &good(1)).await.err(), Some(503));
    let provider = Provider::start(None).await;
    let node = node(provider.server.host()).await;
    for _ in 0..2 {
        assert_eq!(enter(&node, &good(1)).await.err(), Some(503));
    }
    provider.publish(&[1]);
    enters(&node, &good(1)).await;
}
