//! The key of a cluster, with which the variables of projects are sealed. Owns the reading of the key, and the sealing.
//!
//! Invariant: the key is in no file that a server writes, in no table, and in no text that is shown. What is sealed for
//! one purpose opens for no other. It does not know where sealed bytes are kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// The version of the sealed form: this byte, the nonce, the bytes with their tag.
const FORMAT: u8 = 1;

/// The key of a cluster. Every node of the cluster has the same one.
#[derive(Clone, PartialEq, Eq)]
pub struct VaultKey([u8; KEY_BYTES]);

/// Why a text is not a cluster's key. It has no part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cluster's key is not 32 bytes in hexadecimal or base64: make one with `openssl rand -hex 32`, and give every \
     node of the cluster the same"
)]
pub struct VaultKeyError;

/// Why sealed bytes did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum VaultError {
    /// The system has no random bytes.
    #[error("the system gives no random bytes")]
    NoRandom,
    /// The bytes were sealed with another key or for another purpose, or were altered.
    #[error("the cluster's key does not open what is stored")]
    Closed,
}

/// What seals and opens bytes with a cluster's key.
pub(super) struct Vault {
    key: LessSafeKey,
    random: SystemRandom,
}

impl VaultKey {
    /// Reads a key of 64 hexadecimal digits, or of base64, without the white space around it.
    ///
    /// # Errors
    /// [`VaultKeyError`].
    pub fn parse(text: &str) -> Result<Self, VaultKeyError> {
        let text = text.trim();
        // 32 bytes have 64 digits in hexadecimal, and 43 or 44 in base64.
        let bytes = match text.len() == 2 * KEY_BYTES {
            true => blake3::Hash::from_hex(text).ok().map(|bytes| bytes.as_bytes().to_vec()),
            false => STANDARD.decode(text).ok(),
        };
        let key = bytes.and_then(|bytes| <[u8; KEY_BYTES]>::try_from(bytes).ok());
        key.map(Self).ok_or(VaultKeyError)
    }
}

impl fmt::Debug for VaultKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("VaultKey(…)")
    }
}

impl Vault {
    /// Returns the vault of this key.
    pub(super) fn new(key: &VaultKey) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key.0).expect("the key has 32 bytes");
        Self { key: LessSafeKey::new(key), random: SystemRandom::new() }
    }

    /// Seals bytes for a purpose.
    ///
    /// # Errors
    /// [`VaultError::NoRandom`].
    pub(super) fn seal(&self, purpose: &str, bytes: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| VaultError::NoRandom)?;
        let mut sealed = bytes.to_vec();
        let about = Aad::from(purpose.as_bytes());
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        let done = self.key.seal_in_place_append_tag(nonce_of, about, &mut sealed);
        done.map_err(|_| VaultError::NoRandom)?;
        Ok([&[FORMAT][..], &nonce, &sealed].concat())
    }

    /// Opens bytes that were sealed for this purpose.
    ///
    /// # Errors
    /// [`VaultError::Closed`].
    pub(super) fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let rest = sealed.strip_prefix(&[FORMAT]).ok_or(VaultError::Closed)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Closed)?;
        let mut bytes = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.key.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut bytes);
        Ok(opened.map_err(|_| VaultError::Closed)?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hexadecimal_or_base64_and_is_never_shown() {
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let key = VaultKey::parse(&format!(" {hex}\n")).unwrap();
        let base64 = STANDARD.encode(key.0);
        assert_eq!(VaultKey::parse(&base64), Ok(key.clone()));
        assert_eq!(format!("{key:?}"), "VaultKey(…)");
        for bad in ["", "secret", &hex[2..], &base64[4..], &"g".repeat(64)] {
            let error = VaultKey::parse(bad).unwrap_err().to_string();
            assert!(error.contains("openssl rand -hex 32"), "{error}");
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }

    #[test]
    fn only_the_same_key_and_purpose_open_what_was_sealed() {
        let vault = |byte: u8| Vault::new(&VaultKey([byte; KEY_BYTES]));
        let sealed = vault(1).seal("chat", b"s3cret").unwrap();
        assert!(!sealed.windows(6).any(|bytes| bytes == b"s3cret"));
        assert_ne!(sealed, vault(1).seal("chat", b"s3cret").unwrap());
        assert_eq!(vault(1).open("chat", &sealed).unwrap(), b"s3cret");
        assert_eq!(vault(2).open("chat", &sealed), Err(VaultError::Closed));
        assert_eq!(vault(1).open("game", &sealed), Err(VaultError::Closed));
        for length in 0..sealed.len() {
            assert_eq!(vault(1).open("chat", &sealed[..length]), Err(VaultError::Closed));
        }
        let mut altered = sealed;
        *altered.last_mut().unwrap() ^= 1;
        assert_eq!(vault(1).open("chat", &altered), Err(VaultError::Closed));
    }
}
