//! Who a client is, as the door found out. Owns [`Identity`] and [`Capabilities`].
//!
//! Invariant: the claims are the text of one JSON object, and no log has them. It does not know tokens, or how they are
//! checked.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What a client may do in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities(u8);

/// The names of the capabilities, in order.
const NAMES: [(Capabilities, &str); 3] = [
    (Capabilities::READ, "read"),
    (Capabilities::WRITE, "write"),
    (Capabilities::PRESENCE, "presence"),
];

impl Capabilities {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// It gets what the room sends.
    pub const READ: Self = Self(1);
    /// It may send.
    pub const WRITE: Self = Self(2);
    /// The room may show it to others. Only the room knows what that means.
    pub const PRESENCE: Self = Self(4);
    /// Everything, as a client without a ticket has it.
    pub const ALL: Self = Self(7);

    /// Returns true if all of the others are among them.
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Returns these and the others.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Returns their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().filter(move |(one, _)| self.has(*one)).map(|(_, name)| name)
    }

    /// Returns the capability with this name.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.into_iter().find(|(_, own)| *own == name).map(|(one, _)| one)
    }
}

/// Who a client is: the claims of its token or ticket, and what it may do. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "IdentityParts", into = "IdentityParts")]
pub struct Identity(Arc<IdentityParts>);

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct IdentityParts {
    claims: String,
    capabilities: Capabilities,
    ends_ms: Option<u64>,
}

impl Identity {
    /// Returns an identity with these claims, the text of a JSON object. `ends_ms` is when its connections are closed,
    /// in milliseconds since 1970; `None` if that is left to the room.
    pub fn new(claims: String, capabilities: Capabilities, ends_ms: Option<u64>) -> Self {
        Self(Arc::new(IdentityParts { claims, capabilities, ends_ms }))
    }

    /// Returns the claims, the text of a JSON object.
    pub fn claims(&self) -> &str {
        &self.0.claims
    }

    /// Returns what the client may do.
    pub fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    /// Returns when its connections are closed, in milliseconds since 1970.
    pub fn ends_ms(&self) -> Option<u64> {
        self.0.ends_ms
    }

    /// Returns true if both are the same client: their claims `sub` are equal, or all claims if they have none.
    pub fn is_client_of(&self, other: &Self) -> bool {
        // A client usually shows the claims that it has, and they need not be read for that.
        if self.claims() == other.claims() {
            return true;
        }
        self.subject().is_some_and(|own| other.subject() == Some(own))
    }

    /// Returns the user that it is, `sub` of its claims, as JSON; `None` if the claims name nobody.
    pub fn user(&self) -> Option<String> {
        self.subject().filter(|subject| !subject.is_null()).map(|subject| subject.to_string())
    }

    /// Returns a text that is the same for two identities of one client, as [`Identity::is_client_of`] says, and no others.
    pub fn client(&self) -> String {
        match self.subject() {
            Some(subject) => format!("sub {subject}"),
            None => format!("claims {}", self.claims()),
        }
    }

    fn subject(&self) -> Option<serde_json::Value> {
        let claims: serde_json::Value = serde_json::from_str(self.claims()).ok()?;
        claims.get("sub").cloned()
    }

    /// Returns what a client may do that has this identity, or none.
    pub fn capabilities_of(identity: Option<&Self>) -> Capabilities {
        identity.map_or(Capabilities::ALL, Self::capabilities)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("capabilities", &self.0.capabilities)
            .finish_non_exhaustive()
    }
}

impl From<IdentityParts> for Identity {
    fn from(parts: IdentityParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl From<Identity> for IdentityParts {
    fn from(identity: Identity) -> Self {
        Arc::unwrap_or_clone(identity.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_by_its_subject() {
        let identity = |claims: &str| Identity::new(claims.to_owned(), Capabilities::ALL, None);
        let ada = identity(r#"{"sub":"ada","exp":1}"#);
        assert!(ada.is_client_of(&identity(r#"{"exp":2,"sub":"ada"}"#)));
        assert_eq!(ada.client(), identity(r#"{"exp":2,"sub":"ada"}"#).client());
        for other in [r#"{"sub":"bob"}"#, r#"{"exp":1}"#, "{}"] {
            assert!(!ada.is_client_of(&identity(other)), "{other}");
            assert_ne!(ada.client(), identity(other).client());
        }
        assert!(identity("{}").is_client_of(&identity("{}")));
        assert!(!identity("{}").is_client_of(&identity(r#"{"name":"eve"}"#)));
    }

    #[test]
    fn capabilities_are_named_and_found_by_their_names() {
        let names = |capabilities: Capabilities| capabilities.names().collect::<Vec<_>>();
        assert_eq!(names(Capabilities::ALL), ["read", "write", "presence"]);
        assert_eq!(names(Capabilities::NONE), [""; 0]);
        assert_eq!(Capabilities::named("write"), Some(Capabilities::WRITE));
        assert_eq!(Capabilities::named("Write"), None);
        assert!(!Capabilities::READ.has(Capabilities::READ.with(Capabilities::WRITE)));
    }

    #[test]
    fn an_identity_is_read_back_and_its_claims_are_not_shown() {
        let identity = Identity::new("{\"sub\":\"ann\"}".to_owned(), Capabilities::READ, Some(7));
        let bytes = postcard::to_allocvec(&identity).unwrap();
        assert_eq!(postcard::from_bytes::<Identity>(&bytes).unwrap(), identity);
        assert!(!format!("{identity:?}").contains("ann"));
    }
}
