//! Cryptography for the library.
//!
//! Owns the primitives of `crypto.subtle`. Invariant: keys of the wrong length are refused by name, and a signature or tag
//! that does not fit is an answer and no error. It does not know keys as the web has them.

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm, Nonce};
use hmac::{Hmac, Mac as _};
use num_bigint::BigUint;
use rquickjs::{Ctx, Result};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::natives;
use crate::values::{Bytes, Text, refuse};

natives! {
    "digest" => digest,
    "hmac" => hmac_of,
    "aesGcm" => aes_gcm_of,
    "ed25519Public" => ed25519_public,
    "ed25519Sign" => ed25519_sign,
    "ed25519Verify" => ed25519_verify,
    "ecdsaVerify" => ecdsa_verify,
    "rsaVerify" => rsa_verify,
    "timingSafeEqual" => timing_safe_equal,
}

/// The largest RSA modulus, in bytes: 8,192 bits.
const RSA_BYTES_MAX: usize = 1_024;

fn unsupported(ctx: &Ctx<'_>, what: &str, name: &str) -> rquickjs::Error {
    refuse(ctx, "not-supported", &format!("{what} {name:?} is not supported"))
}

fn hash_of(ctx: &Ctx<'_>, name: &str, data: &[u8]) -> Result<Vec<u8>> {
    Ok(match name {
        "SHA-1" => Sha1::digest(data).to_vec(),
        "SHA-256" => Sha256::digest(data).to_vec(),
        "SHA-384" => Sha384::digest(data).to_vec(),
        "SHA-512" => Sha512::digest(data).to_vec(),
        other => return Err(unsupported(ctx, "the hash", other)),
    })
}

fn digest(ctx: Ctx<'_>, hash: Text, data: Bytes) -> Result<Bytes> {
    hash_of(&ctx, &hash.0, &data.0).map(Bytes)
}

fn hmac_of(ctx: Ctx<'_>, hash: Text, key: Bytes, data: Bytes) -> Result<Bytes> {
    macro_rules! mac {
        ($hash:ty) => {{
            let mut mac = <Hmac<$hash> as hmac::Mac>::new_from_slice(&key.0)
                .map_err(|error| refuse(&ctx, "invalid-key", &error.to_string()))?;
            mac.update(&data.0);
            Ok(Bytes(mac.finalize().into_bytes().to_vec()))
        }};
    }
    match hash.0.as_str() {
        "SHA-1" => mac!(Sha1),
        "SHA-256" => mac!(Sha256),
        "SHA-384" => mac!(Sha384),
        "SHA-512" => mac!(Sha512),
        other => Err(unsupported(&ctx, "the hash", other)),
    }
}

/// Encrypts or decrypts; `None` if the tag does not fit.
fn aes_gcm_of(
    ctx: Ctx<'_>,
    encrypt: bool,
    key: Bytes,
    iv: Bytes,
    aad: Bytes,
    data: Bytes,
) -> Result<Option<Bytes>> {
    if iv.0.len() != 12 {
        return Err(refuse(&ctx, "not-supported", "an iv has to have 12 bytes"));
    }
    let nonce = Nonce::from_slice(&iv.0);
    let payload = Payload { msg: &data.0, aad: &aad.0 };
    macro_rules! cipher {
        ($cipher:ty) => {{
            let cipher = <$cipher>::new_from_slice(&key.0)
                .map_err(|error| refuse(&ctx, "invalid-key", &error.to_string()))?;
            if encrypt { cipher.encrypt(nonce, payload) } else { cipher.decrypt(nonce, payload) }
        }};
    }
    let done = match key.0.len() {
        16 => cipher!(Aes128Gcm),
        32 => cipher!(Aes256Gcm),
        _ => {
            return Err(refuse(
                &ctx,
                "invalid-key",
                "a key for AES-GCM has to have 16 or 32 bytes",
            ));
        }
    };
    Ok(done.ok().map(Bytes))
}

fn key_pair(ctx: &Ctx<'_>, seed: &Bytes) -> Result<ed25519_compact::KeyPair> {
    let seed = ed25519_compact::Seed::from_slice(&seed.0)
        .map_err(|_| refuse(ctx, "invalid-key", "a private key of Ed25519 has to have 32 bytes"))?;
    Ok(ed25519_compact::KeyPair::from_seed(seed))
}

fn ed25519_public(ctx: Ctx<'_>, seed: Bytes) -> Result<Bytes> {
    Ok(Bytes(key_pair(&ctx, &seed)?.pk.to_vec()))
}

fn ed25519_sign(ctx: Ctx<'_>, seed: Bytes, data: Bytes) -> Result<Bytes> {
    Ok(Bytes(key_pair(&ctx, &seed)?.sk.sign(&data.0, None).to_vec()))
}

fn ed25519_verify(ctx: Ctx<'_>, public: Bytes, signature: Bytes, data: Bytes) -> Result<bool> {
    let public = ed25519_compact::PublicKey::from_slice(&public.0)
        .map_err(|_| refuse(&ctx, "invalid-key", "a public key of Ed25519 has to have 32 bytes"))?;
    let Ok(signature) = ed25519_compact::Signature::from_slice(&signature.0) else {
        return Ok(false);
    };
    Ok(public.verify(&data.0, &signature).is_ok())
}

fn ecdsa_verify(
    ctx: Ctx<'_>,
    curve: Text,
    hash: Text,
    point: Bytes,
    signature: Bytes,
    data: Bytes,
) -> Result<bool> {
    let hashed = hash_of(&ctx, &hash.0, &data.0)?;
    macro_rules! verify {
        ($curve:ident) => {{
            use $curve::ecdsa::signature::hazmat::PrehashVerifier as _;
            let key = $curve::ecdsa::VerifyingKey::from_sec1_bytes(&point.0)
                .map_err(|_| refuse(&ctx, "invalid-key", "the key is not a point of the curve"))?;
            let signature = $curve::ecdsa::Signature::from_slice(&signature.0);
            Ok(signature.is_ok_and(|signature| key.verify_prehash(&hashed, &signature).is_ok()))
        }};
    }
    match curve.0.as_str() {
        "P-256" => verify!(p256),
        "P-384" => verify!(p384),
        other => Err(unsupported(&ctx, "the curve", other)),
    }
}

/// Verifies RSASSA-PKCS1-v1_5: RFC 8017 section 8.2.2. All of it is public, so its time tells nothing.
fn rsa_verify(
    ctx: Ctx<'_>,
    hash: Text,
    modulus: Bytes,
    exponent: Bytes,
    signature: Bytes,
    data: Bytes,
) -> Result<bool> {
    let n = BigUint::from_bytes_be(&modulus.0);
    let len = n.to_bytes_be().len();
    if !(128..=RSA_BYTES_MAX).contains(&len) || exponent.0.is_empty() || exponent.0.len() > 8 {
        return Err(refuse(
            &ctx,
            "invalid-key",
            "an RSA key has to have 1,024 to 8,192 bits and a small exponent",
        ));
    }
    // DigestInfo of each hash: RFC 8017 section 9.2, note 1.
    let prefix: &[u8] = match hash.0.as_str() {
        "SHA-1" => &[
            0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04,
            0x14,
        ],
        "SHA-256" => &[
            0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            0x01, 0x05, 0x00, 0x04, 0x20,
        ],
        "SHA-384" => &[
            0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            0x02, 0x05, 0x00, 0x04, 0x30,
        ],
        "SHA-512" => &[
            0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            0x03, 0x05, 0x00, 0x04, 0x40,
        ],
        other => return Err(unsupported(&ctx, "the hash", other)),
    };
    if signature.0.len() != len {
        return Ok(false);
    }
    let opened = BigUint::from_bytes_be(&signature.0);
    if opened >= n {
        return Ok(false);
    }
    let opened = opened.modpow(&BigUint::from_bytes_be(&exponent.0), &n).to_bytes_be();
    let hashed = hash_of(&ctx, &hash.0, &data.0)?;
    let padding = len - 3 - prefix.len() - hashed.len();
    // The number's first byte is 0, which it does not write.
    let mut expected = vec![1];
    expected.extend(std::iter::repeat_n(0xFF, padding));
    expected.push(0);
    expected.extend(prefix);
    expected.extend(hashed);
    Ok(opened == expected)
}

fn timing_safe_equal(a: Bytes, b: Bytes) -> bool {
    let (a, b) = (a.0, b.0);
    let differ = a.iter().zip(&b).fold(0, |differ, (a, b)| differ | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differ) == 0
}
