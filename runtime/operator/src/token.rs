//! The token of this node's operator. Owns how it is created and compared.
//!
//! Invariant: the token is in no log, and the duration of a comparison reveals nothing about it. It does not know how
//! it reaches the operator.

use std::fmt;
use uuid::Uuid;

/// A secret that only the operator of a node knows. It differs at each start.
#[derive(Clone)]
pub struct AdminToken(String);

impl AdminToken {
    /// Returns a new token: twice the 122 random bits of a UUID.
    pub fn random() -> Self {
        Self(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
    }

    /// Returns the secret itself, for a file that only the operator can read.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Returns true if `offered` is this token. It compares hashes, which blake3 does in constant time.
    pub fn is(&self, offered: &str) -> bool {
        blake3::hash(self.0.as_bytes()) == blake3::hash(offered.as_bytes())
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_equals_only_itself_and_is_not_printed() {
        let token = AdminToken::random();
        assert!(token.is(token.secret()));
        for other in ["", &token.secret()[1..], AdminToken::random().secret()] {
            assert!(!token.is(other));
        }
        assert!(!format!("{token:?}").contains(token.secret()));
    }
}
