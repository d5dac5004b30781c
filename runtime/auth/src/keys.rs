//! The keys that check signatures. Owns how they are read from PEM and from JSON Web Keys, and which are too weak.
//!
//! Invariant: a key checks signatures of one algorithm alone, so no token chooses what its key is taken for. It does not
//! know whose keys they are.

use crate::der::{self, KeyBytes};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use room_core::config::AuthAlgorithm;
use room_core::limits::fixed::{JWKS_KEYS_MAX, RSA_BITS_MIN};
use serde::Deserialize;

/// The longest RSA key that signatures are checked with, in bits: a longer one costs too much.
const RSA_BITS_CEILING: usize = 8_192;

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key {
    id: Option<String>,
    kind: KeyKind,
}

#[derive(Clone, PartialEq, Eq)]
enum KeyKind {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key as a JSON Web Key has it: RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde_json::Value>,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
}

/// Several of them: RFC 7517 section 5. One that is not understood is left out.
#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

const PRIVATE: &str = "it is a private key: list its public half, which `openssl pkey -pubout` prints, and make a new \
                       pair if this one was shown to anybody";
const WEAK: &str = "its RSA modulus has fewer than 2048 bits: make a longer key";
const UNKNOWN: &str = "it is not a public key of RSA, P-256 or Ed25519: write a PEM block `PUBLIC KEY`, or a JSON Web Key";

impl Key {
    /// Reads a key of a project: a PEM block, or a JSON Web Key.
    ///
    /// # Errors
    /// What is wrong with it, as a clause about the key.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.starts_with('{') {
            let jwk: Jwk = serde_json::from_str(text).map_err(|_| UNKNOWN)?;
            return Self::of_jwk(jwk);
        }
        let rest = text.strip_prefix("-----BEGIN ").ok_or(UNKNOWN)?;
        let (label, rest) = rest.split_once("-----").ok_or(UNKNOWN)?;
        if label.contains("PRIVATE") {
            return Err(PRIVATE);
        }
        if label == "CERTIFICATE" {
            return Err(
                "it is a certificate: list its key, which `openssl x509 -pubkey -noout` prints",
            );
        }
        let (body, _) = rest.split_once("-----END ").ok_or(UNKNOWN)?;
        let body: String = body.split_whitespace().collect();
        let der = BASE64_STANDARD.decode(body).map_err(|_| UNKNOWN)?;
        let bytes = match label {
            "PUBLIC KEY" => der::public_key(&der),
            "RSA PUBLIC KEY" => der::rsa_key(&der),
            _ => None,
        };
        Self::of(None, bytes.ok_or(UNKNOWN)?)
    }

    /// Reads the keys that an issuer publishes. Those that check no signature of ours are left out, and those that are
    /// too weak. Returns `None` if the text is no set of keys.
    pub(crate) fn read_set(json: &[u8]) -> Option<Vec<Self>> {
        let set: JwkSet = serde_json::from_slice(json).ok()?;
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        let keys = keys.filter_map(|jwk| Self::of_jwk(jwk).ok());
        Some(keys.take(JWKS_KEYS_MAX).collect())
    }

    fn of_jwk(jwk: Jwk) -> Result<Self, &'static str> {
        if jwk.d.is_some() {
            return Err(PRIVATE);
        }
        if jwk.purpose.is_some_and(|purpose| purpose != "sig")
            || jwk.key_ops.is_some_and(|ops| !ops.iter().any(|op| op == "verify"))
        {
            return Err("it is not a key for signatures");
        }
        let bytes = |text: &Option<String>| {
            let text = text.as_ref().ok_or(UNKNOWN)?;
            BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| UNKNOWN)
        };
        let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (bytes(&jwk.n)?, bytes(&jwk.e)?);
                Self::of(jwk.kid, KeyBytes::Rsa(der::without_zeros(&n), der::without_zeros(&e)))
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
                // An uncompressed point: SEC 1 section 2.3.3.
                Self::of(jwk.kid, KeyBytes::P256(&[&[4], &x[..], &y[..]].concat()))
            }
            ("OKP", Some("Ed25519")) => Self::of(jwk.kid, KeyBytes::Ed25519(&bytes(&jwk.x)?)),
            _ => Err(UNKNOWN),
        }?;
        match jwk.alg {
            Some(alg) if alg != key.algorithm().name() => {
                Err("its `alg` is not the algorithm of its kind: RS256, ES256 or EdDSA")
            }
            _ => Ok(key),
        }
    }

    fn of(id: Option<String>, bytes: KeyBytes<'_>) -> Result<Self, &'static str> {
        let kind = match bytes {
            KeyBytes::Rsa(modulus, exponent) => {
                let first = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
                let bits = (modulus.len() * 8).saturating_sub(first);
                if bits < RSA_BITS_MIN {
                    return Err(WEAK);
                }
                if bits > RSA_BITS_CEILING {
                    return Err("its RSA modulus has more than 8192 bits");
                }
                KeyKind::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() }
            }
            KeyBytes::P256(point) if point.len() == 65 && point[0] == 4 => {
                KeyKind::P256(point.to_vec())
            }
            KeyBytes::Ed25519(point) if point.len() == 32 => KeyKind::Ed25519(point.to_vec()),
            _ => return Err(UNKNOWN),
        };
        Ok(Self { id, kind })
    }

    /// Returns the algorithm whose signatures it checks.
    pub(crate) fn algorithm(&self) -> AuthAlgorithm {
        match self.kind {
            KeyKind::Rsa { .. } => AuthAlgorithm::Rs256,
            KeyKind::P256(_) => AuthAlgorithm::Es256,
            KeyKind::Ed25519(_) => AuthAlgorithm::EdDsa,
        }
    }

    /// Returns true if it may have signed a token with this algorithm, which names this key or none. A key without an id
    /// may be any.
    pub(crate) fn fits(&self, algorithm: AuthAlgorithm, id: Option<&str>) -> bool {
        let named = match (id, &self.id) {
            (Some(asked), Some(own)) => asked == own,
            _ => true,
        };
        named && self.algorithm() == algorithm
    }

    /// Returns true if the signature of these bytes is its own.
    pub(crate) fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        match &self.kind {
            KeyKind::Rsa { modulus, exponent } => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, bytes, signature).is_ok()
            }
            KeyKind::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(bytes, signature)
                .is_ok(),
            KeyKind::Ed25519(point) => {
                UnparsedPublicKey::new(&ED25519, point).verify(bytes, signature).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{RSA_1024_PEM, RSA_2048_PEM, ec_pair, ed_pair};
    use ring::signature::KeyPair as _;

    fn text(bytes: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn keys_are_read_from_pem_and_from_json() {
        assert_eq!(
            Key::read(RSA_2048_PEM).ok().map(|key| key.algorithm()),
            Some(AuthAlgorithm::Rs256)
        );
        let ed = ed_pair();
        let jwk = format!(
            r#"{{"kty":"OKP","crv":"Ed25519","kid":"a","x":"{}"}}"#,
            text(ed.public_key().as_ref())
        );
        let key = Key::read(&jwk).ok().unwrap();
        assert!(key.fits(AuthAlgorithm::EdDsa, Some("a")) && key.fits(AuthAlgorithm::EdDsa, None));
        assert!(
            !key.fits(AuthAlgorithm::EdDsa, Some("b")) && !key.fits(AuthAlgorithm::Es256, None)
        );
        assert!(
            key.verifies(b"x", ed.sign(b"x").as_ref())
                && !key.verifies(b"y", ed.sign(b"x").as_ref())
        );
        let ec = ec_pair();
        let point = ec.public_key().as_ref();
        let spki = [
            &[0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01][..],
            &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00],
            point,
        ]
        .concat();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            BASE64_STANDARD.encode(spki)
        );
        let jwk = format!(
            r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#,
            text(&point[1..33]),
            text(&point[33..])
        );
        assert!(Key::read(&pem).ok().unwrap() == Key::read(&jwk).ok().unwrap());
    }

    #[test]
    fn a_key_that_is_weak_or_private_or_no_key_is_refused_with_advice() {
        for (key, part) in [
            (RSA_1024_PEM, "2048 bits"),
            ("-----BEGIN PRIVATE KEY-----\nMC4\n-----END PRIVATE KEY-----", "public half"),
            (r#"{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}"#, "public half"),
            ("-----BEGIN CERTIFICATE-----\nMC4\n-----END CERTIFICATE-----", "openssl x509"),
            (r#"{"kty":"oct","k":"AAAA"}"#, "not a public key"),
            (r#"{"kty":"RSA","n":"AA","e":"AQAB","use":"enc"}"#, "signatures"),
            (r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, "not a public key"),
            ("a secret", "not a public key"),
            ("-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----", "not a public key"),
            ("", "not a public key"),
        ] {
            let problem = Key::read(key).err().unwrap_or_default();
            assert!(problem.contains(part), "{key}: {problem}");
        }
    }

    #[test]
    fn a_set_has_the_keys_that_are_understood() {
        let ed = text(ed_pair().public_key().as_ref());
        let json = format!(
            r#"{{"keys":[{{"kty":"oct","k":"AA"}},7,{{"kty":"OKP","crv":"Ed25519","x":"{ed}"}}]}}"#
        );
        assert_eq!(Key::read_set(json.as_bytes()).unwrap().len(), 1);
        assert!(Key::read_set(b"<html>").is_none() && Key::read_set(b"{}").is_none());
        assert_eq!(Key::read_set(br#"{"keys":[]}"#).map(|keys| keys.len()), Some(0));
    }
}
