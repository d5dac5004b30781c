//! What a client proves with that a connection is its own.
//!
//! Owns [`ConnectionSecret`]. Invariant: it is shown only as [`ConnectionSecret::reveal`], so no log and no error has it.
//! It does not know who asks.

use std::fmt;

/// A random number that the server makes for a connection and tells its client alone.
#[derive(Clone, Copy)]
pub struct ConnectionSecret(u128);

impl ConnectionSecret {
    /// Makes a new one, of 122 random bits.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().as_u128())
    }

    /// Parses what [`ConnectionSecret::reveal`] made: 32 hexadecimal digits. Returns `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(Self)
    }

    /// Returns the text for the client.
    pub fn reveal(self) -> String {
        format!("{:032x}", self.0)
    }

    /// Returns a digest that says nothing about the secret: the same for the same secret and text, and no other.
    pub fn digest(self, of: &str) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_derive_key("room: the client of a connection");
        hasher.update(&self.0.to_be_bytes()).update(of.as_bytes());
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        digest
    }

    /// Returns true if it is the same one. The time it takes does not depend on the digits.
    pub fn is(self, other: Self) -> bool {
        self.0 ^ other.0 == 0
    }
}

impl fmt::Debug for ConnectionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_same_for_the_same_secret_and_text_alone() {
        let secret = ConnectionSecret::random();
        assert_eq!(secret.digest("ada"), secret.digest("ada"));
        assert_ne!(secret.digest("ada"), secret.digest("bob"));
        assert_ne!(secret.digest("ada"), ConnectionSecret::random().digest("ada"));
        assert_ne!(secret.digest("").to_vec(), secret.0.to_be_bytes());
    }

    #[test]
    fn a_revealed_secret_is_read_back_and_no_other_text_is() {
        let secret = ConnectionSecret::random();
        let text = secret.reveal();
        assert!(ConnectionSecret::parse(&text).is_some_and(|read| read.is(secret)));
        assert!(!ConnectionSecret::random().is(secret));
        let signed = format!("+{}", &text[1..]);
        for other in ["", "0", &text[1..], &format!("{text}0"), &signed, "é".repeat(16).as_str()] {
            assert!(ConnectionSecret::parse(other).is_none(), "{other}");
        }
        assert_eq!(format!("{secret:?}"), "ConnectionSecret");
    }
}
