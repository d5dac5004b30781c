use super::*;
use crate::testing::{Issuer, RSA_1024_PEM, RSA_2048_PEM};
use crate::ticket::TicketKey;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW_S: u64 = 1_700_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn auth(settings: &Value) -> Result<PartyAuth, String> {
    let settings: AuthSettings = serde_json::from_value(settings.clone()).unwrap();
    let plan = settings.check().map_err(|error| error.to_string())?;
    let variable = |name: &str| match name {
        "SECRET" => Some(SECRET),
        "SHORT" => Some("hush"),
        _ => None,
    };
    let limits = Arc::new(Limits::default());
    let mint = TicketMint::new(TicketKey::random(), "", &limits);
    let project = ProjectAuth::new((&settings, plan), variable, (None, mint), &limits);
    let project = project.map_err(|error| error.to_string())?;
    Ok(project.of_party(None).unwrap())
}

async fn prove(auth: &PartyAuth, token: &str) -> Result<String, AuthError> {
    let used = UsedTickets::new(&Limits::default(), 0);
    let proof = auth.prove(token, None, NOW_S * 1_000, &used).await?;
    Ok(proof.identity.claims().to_owned())
}

fn claims() -> Value {
    json!({ "sub": "ann", "iss": "https://auth", "aud": "chat", "exp": NOW_S + 60 })
}

/// Returns the claims with one of them replaced; `null` removes it.
fn with(name: &str, value: &Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value.clone(),
    }
    claims
}

fn hs_settings() -> Value {
    json!({ "secret": "SECRET", "issuer": "https://auth", "audience": ["chat", "more"] })
}

#[tokio::test]
async fn tokens_of_all_four_algorithms_are_believed() {
    let ed = Issuer::ed("ed");
    let es = Issuer::es("es");
    let keys = [ed.jwk().to_string(), es.jwk().to_string(), RSA_2048_PEM.to_owned()];
    let auth = auth(&json!({ "secret": "SECRET", "keys": keys })).unwrap();
    for issuer in [ed, es, Issuer::rs("any"), Issuer::hs(SECRET)] {
        let found = prove(&auth, &issuer.token(&claims())).await.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&found).unwrap()["sub"], "ann");
    }
}

#[tokio::test]
async fn every_bad_claim_has_its_own_error() {
    let auth = auth(&hs_settings()).unwrap();
    let issuer = Issuer::hs(SECRET);
    let cases: &[(&str, Value, &str)] = &[
        ("exp", json!(NOW_S - 30), "has expired"),
        ("exp", json!(NOW_S - 29), ""),
        ("exp", json!(NOW_S as f64 + 0.5), ""),
        ("exp", json!("1800000000"), "`exp` is not a number"),
        ("exp", json!(-1), "`exp` is not a number"),
        ("exp", Value::Null, "`exp` is missing"),
        ("exp", json!(1e300), ""),
        ("nbf", json!(NOW_S + 30), ""),
        ("nbf", json!(NOW_S + 31), "not valid yet"),
        ("nbf", json!([]), "`nbf` is not a number"),
        ("iss", json!("https://evil"), "another issuer"),
        ("iss", Value::Null, "another issuer"),
        ("iss", json!(["https://auth"]), "`iss` is not a text"),
        ("aud", json!(["x", "more"]), ""),
        ("aud", json!(["x"]), "another audience"),
        ("aud", json!([]), "another audience"),
        ("aud", Value::Null, "another audience"),
        ("aud", json!(["chat", 7]), "`aud` is not a text"),
        ("aud", json!({ "chat": true }), "`aud` is not a text"),
        ("blob", json!("x".repeat(5_000)), "claims_bytes_max"),
    ];
    for (name, value, part) in cases {
        let outcome = prove(&auth, &issuer.token(&with(name, value))).await;
        match (outcome, part.is_empty()) {
            (Ok(_), true) => {}
            (Err(error), false) => {
                assert!(error.to_string().contains(part), "{name} {value}: {error}");
            }
            (outcome, _) => panic!("{name} {value}: {outcome:?}"),
        }
    }
    for payload in [json!([]), json!("x"), json!(null)] {
        let error = prove(&auth, &issuer.token(&payload)).await.unwrap_err();
        assert_eq!(error, AuthError::Claims("they are not a JSON object"));
    }
}

#[tokio::test]
async fn a_token_cannot_choose_how_it_is_checked() {
    let rsa = Issuer::rs("a");
    let public = auth(&json!({ "keys": [RSA_2048_PEM] })).unwrap();
    // The public key as the secret of HS256, in the two forms that it has.
    for secret in [RSA_2048_PEM, RSA_2048_PEM.trim()] {
        let forged = Issuer::hs(secret).token(&claims());
        assert_eq!(prove(&public, &forged).await, Err(AuthError::Algorithm));
        let both = auth(&json!({ "keys": [RSA_2048_PEM], "secret": "SECRET" })).unwrap();
        assert_eq!(prove(&both, &forged).await, Err(AuthError::Signature));
    }
    for name in ["none", "None", "NONE", "", "hs256", "RS512", "PS256", "ES384"] {
        let token = rsa.token_with(&json!({ "alg": name }), &claims());
        assert_eq!(prove(&public, &token).await, Err(AuthError::Algorithm), "{name}");
        let (unsigned, _) = token.rsplit_once('.').unwrap();
        assert_eq!(prove(&public, &format!("{unsigned}.")).await, Err(AuthError::Algorithm));
    }
    // A key of another kind than the token says.
    let token = rsa.token_with(&json!({ "alg": "ES256" }), &claims());
    assert_eq!(prove(&public, &token).await, Err(AuthError::UnknownKey));
    let token = rsa.token_with(&json!({ "alg": "RS256", "crit": ["exp"] }), &claims());
    assert!(matches!(prove(&public, &token).await, Err(AuthError::Malformed(_))));
    // A key that the token brings along is not looked at.
    let own = Issuer::ed("own");
    let head = json!({ "alg": "EdDSA", "jwk": own.jwk(), "jku": "https://evil" });
    assert_eq!(prove(&public, &own.token_with(&head, &claims())).await, Err(AuthError::UnknownKey));
}

#[tokio::test]
async fn a_changed_or_broken_token_is_refused() {
    let auth = auth(&hs_settings()).unwrap();
    let token = Issuer::hs(SECRET).token(&claims());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (head, _) = signed.split_once('.').unwrap();
    let other = BASE64_URL_SAFE_NO_PAD.encode(with("sub", &json!("bob")).to_string());
    for (changed, wanted) in [
        (format!("{head}.{other}.{signature}"), AuthError::Signature),
        (format!("{signed}.{}", &signature[4..]), AuthError::Signature),
        (format!("{signed}."), AuthError::Signature),
        (Issuer::hs(&"x".repeat(32)).token(&claims()), AuthError::Signature),
    ] {
        assert_eq!(prove(&auth, &changed).await, Err(wanted), "{changed}");
    }
    for broken in [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        signed,
        "{}.{}.{}",
        &format!("{token}="),
        &"x".repeat(9_000),
    ] {
        let outcome = prove(&auth, broken).await;
        assert!(matches!(outcome, Err(AuthError::Malformed(_))), "{broken}: {outcome:?}");
    }
    let error = auth.prove("rt1.a.b", None, 0, &UsedTickets::new(&Limits::default(), 0)).await;
    assert_eq!(error.err(), Some(AuthError::OtherRoom));
}

#[tokio::test]
async fn claims_that_occur_twice_are_handed_on_once() {
    let auth = auth(&json!({ "secret": "SECRET" })).unwrap();
    let payload = format!(r#"{{"sub":"ann","exp":{},"sub":"bob"}}"#, NOW_S + 60);
    let text = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", text(r#"{"alg":"HS256"}"#), text(&payload));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let token =
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())));
    let found = prove(&auth, &token).await.unwrap();
    assert_eq!(found.matches("sub").count(), 1, "{found}");
}

#[test]
fn weak_and_missing_keys_are_refused_with_advice_and_without_their_value() {
    for (settings, part) in [
        (json!({ "secret": "SHORT" }), "4 bytes"),
        (json!({ "secret": "NOWHERE" }), "room env set NOWHERE"),
        (
            json!({ "keys": [RSA_2048_PEM, RSA_1024_PEM] }),
            "key 2 of [auth] cannot be used: its RSA",
        ),
        (json!({ "keys": ["nonsense"] }), "key 1"),
    ] {
        let error = auth(&settings).err().unwrap();
        assert!(error.contains(part) && !error.contains("hush"), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "(rt1\\.)?[ -~é.]{0,80}", head in any::<Vec<u8>>(), tail in any::<Vec<u8>>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let auth = auth(&json!({ "secret": "SECRET", "keys": [RSA_2048_PEM] })).unwrap();
        let encoded = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let parts = format!("{}.{}.{}", encoded(&head), encoded(&tail), encoded(&head));
        let real = encoded(br#"{"alg":"RS256"}"#);
        let headed = format!("{real}.{}.{}", encoded(&tail), encoded(&head));
        runtime.block_on(async {
            for text in [text.as_str(), &parts, &headed] {
                assert!(prove(&auth, text).await.is_err());
            }
        });
    }
}
