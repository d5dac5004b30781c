//! Issuers of tokens, for tests. Owns pairs of keys, and how a token is signed.
//!
//! Invariant: a token says what the test asks for, valid or not. It does not know who checks it.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use ring::{hmac, rand};
use serde_json::{Value, json};

/// The public half of the RSA pair of [`Issuer::rs`].
pub const RSA_2048_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEArl289uoW0UNlD3/KLNZL\ntm9mbA5Pe+/ZgdMsttHHgyOeODmoT+3Cj9QWM4lco9JztlCLJhsc20gIeULPXkWt\nCum7TwwlN6OOZQgQoX41SnIU5kM2huvdoBtp148GReJcPmejup6QXFyG9z5ZuKIw\nrZyaUVWT9UugpaVpLGJNM66yAdedpRMesbyZ7FtEMbEqnrZdvrZ/hxzptbsnNXlJ\nsfMS46XbJ+cABie7gdpqQXCMmfah7IC/KZMuKaQPvm6umpDIEoqbPqjBAiu7cd7b\nSe8SminaCFybchMiS+iEgj8jUANDdX78m00FsudJW2Np4wk/wqPJ3jYhyrG7sjBf\n+QIDAQAB\n-----END PUBLIC KEY-----";
/// A key that is too short.
pub const RSA_1024_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDOaVFqpekFW4RvU6sirQ5XeIYC\n8qrCd5PV8FEq2YJ5XDb8cfTu9eVaYftxUrq/hIW1Ei7BFoWZARA0L9tdZ/c3ggsJ\naldT5Rb4rLxgLhbxhxifKm0ASG5TzFz3LOEKA3cqQghLz8kg5T7SLfdkh9C+ePiS\nMlMRvdxLRfBlYSebWQIDAQAB\n-----END PUBLIC KEY-----";
/// A pair that is used for nothing else.
const RSA_PAIR: &str = "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQCuXbz26hbRQ2UPf8os1ku2b2ZsDk9779mB0yy20ceDI544OahP\
    7cKP1BYziVyj0nO2UIsmGxzbSAh5Qs9eRa0K6btPDCU3o45lCBChfjVKchTmQzaG692gG2nXjwZF4lw+Z6O6npBcXIb3Plm4ojCt\
    nJpRVZP1S6ClpWksYk0zrrIB152lEx6xvJnsW0QxsSqetl2+tn+HHOm1uyc1eUmx8xLjpdsn5wAGJ7uB2mpBcIyZ9qHsgL8pky4p\
    pA++bq6akMgSips+qMECK7tx3ttJ7xKaKdoIXJtyEyJL6ISCPyNQA0N1fvybTQWy50lbY2njCT/Co8neNiHKsbuyMF/5AgMBAAEC\
    ggEAFk6+zLYhKi+dn9CBDKBz+kihSWTBTYFfiej6+P64sDHf3aCexG8OK7l+B6Tkub7EeAgw7TSdyf4au2zNO+ndHB7QDGpo3ofp\
    wUo5WnfbmIUk4FqsALHvXjrznRTawBkYJRG8VDVSEcbyq3IKJ4F0idmVsp8ouUKuMFMLtBZ1ew2B+JSjiH2pWCUPHuG6EJrX2cq3\
    rDeEcLVw19YqeCgcbt8e9y73fQzJrwuAnsupy+l9RY4MJ1cjDaoxTuok03ke+M6jHYOEBial+PtP5fBhmxhKWWbDtgfh8SbOClGA\
    qHQzsP+34inLlboCg1UlpvT9+nIALYq9chIZ4A8MwPeSUwKBgQDaYJgbGt4NVMCOwnLLCZD759MeBBLmFks9nuQL6ILRIiDC8vGm\
    /2P12nXJPuf0bPBLM2O19GGcTwhfhBH97QEL2Zy2hB8DVkjw/w51aYcCjWrB1MUbbmR0zaEXMhwXDjr5z3F4R6HiettaQhO6xDbn\
    QUqn6RTekgal2N7x53/ikwKBgQDMaA6rbyowIXL1r5WMbYtSjjN1f7SZ6DRxgQwh3twqF/62J2PGm2W4q1C9sM9Mm96kJDt0d+Qy\
    Q23g4vz8t25yUOkzjLjDYYWnYnlZG5XbWP/OWHMywOFUJmo4nvrp/yhDLIgOsLCrbi1Mz1moBVyCZ5x4I/fzj/tGcl4dKQpOwwKB\
    gEXzhSXBkHmSuW/BZ8YUFWYr11uZEHi1kXp2qDQMUcMt/HKWIcRNsLZzOSGyzdhlAQAFwR3q302Tn2oBQ0Ykoh4qoeFxJwIJpKnV\
    +cqwd/fgVt8qCc2EqhckO0LT4V2dSFT3FzDhOUDz+8nIussryS6Aoqpwpie5fPmpI5k3f6aTAoGBAIUJ6RpddQj0jF0qFdzbY4Ws\
    9gMwxjwx7Qg/JMVaxtNC4M5v3rniZJeIMTn1PUcwX/1Xc7b/XW/1gSuQsXZOcT1IOjAKFCteat4h8rczhBrK11vXJ8tNzJq3kgUe\
    PFNWdj8aWcet6p75S9SlVEZOjwJ1K1rqljRZbwNP5r91+bZ/AoGBAKAmNw5I+r54WCksLPhjX/WtkDc7/jwQm2LSelk8u7sPx6+o\
    7p+3iS1mZJC8TS92180660zCwYoyrZ1+ScbQUix5wesoR5AZwkHm84NmehxnpDUoJ5YrJ8K3n0qmdeqQAvA+7UxOrp+e9dl4rcxH\
    HIte8JsW4P7FN/EFlmF9pbXz";

/// Signs tokens with one key.
pub struct Issuer {
    algorithm: &'static str,
    id: Option<String>,
    pair: IssuerPair,
}

enum IssuerPair {
    Secret(hmac::Key),
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// Returns a new pair of Ed25519.
pub(crate) fn ed_pair() -> Ed25519KeyPair {
    let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("randomness");
    Ed25519KeyPair::from_pkcs8(pair.as_ref()).expect("it was generated")
}

/// Returns a new pair of P-256.
pub(crate) fn ec_pair() -> EcdsaKeyPair {
    let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let pair = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("randomness");
    EcdsaKeyPair::from_pkcs8(kind, pair.as_ref(), &random).expect("it was generated")
}

impl Issuer {
    /// Signs with HS256 and this secret.
    pub fn hs(secret: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        Self { algorithm: "HS256", id: None, pair: IssuerPair::Secret(key) }
    }

    /// Signs with RS256 and a pair that is always the same.
    pub fn rs(id: &str) -> Self {
        let pair = BASE64_STANDARD.decode(RSA_PAIR).expect("base64");
        let pair = RsaKeyPair::from_pkcs8(&pair).expect("a pair");
        let pair = IssuerPair::Rsa(Box::new(pair));
        Self { algorithm: "RS256", id: Some(id.to_owned()), pair }
    }

    /// Signs with ES256 and a new pair.
    pub fn es(id: &str) -> Self {
        Self { algorithm: "ES256", id: Some(id.to_owned()), pair: IssuerPair::Ec(ec_pair()) }
    }

    /// Signs with EdDSA and a new pair.
    pub fn ed(id: &str) -> Self {
        Self { algorithm: "EdDSA", id: Some(id.to_owned()), pair: IssuerPair::Ed(ed_pair()) }
    }

    /// Returns a token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        let mut head = json!({ "alg": self.algorithm, "typ": "JWT" });
        if let Some(id) = &self.id {
            head["kid"] = id.as_str().into();
        }
        self.token_with(&head, claims)
    }

    /// Returns a token with this head, whatever it says.
    pub fn token_with(&self, head: &Value, claims: &Value) -> String {
        let text = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", text(head), text(claims));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let random = rand::SystemRandom::new();
        match &self.pair {
            IssuerPair::Secret(key) => hmac::sign(key, bytes).as_ref().to_vec(),
            IssuerPair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature).expect("it fits");
                signature
            }
            IssuerPair::Ec(pair) => {
                pair.sign(&random, bytes).expect("randomness").as_ref().to_vec()
            }
            IssuerPair::Ed(pair) => pair.sign(bytes).as_ref().to_vec(),
        }
    }

    /// Returns its public key as a JSON Web Key; that of a secret is `null`.
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match &self.pair {
            IssuerPair::Secret(_) => return Value::Null,
            IssuerPair::Rsa(pair) => {
                let public: ring::rsa::PublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({ "kty": "RSA", "n": text(&public.n), "e": text(&public.e) })
            }
            IssuerPair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..]) })
            }
            IssuerPair::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) })
            }
        };
        key["kid"] = self.id.clone().into();
        key
    }
}

/// Returns the keys of these issuers as they publish them.
pub fn jwks_of(issuers: &[&Issuer]) -> Vec<u8> {
    let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.jwk()).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}
