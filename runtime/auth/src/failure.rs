//! Why a client was refused. Owns the texts, and which of them mean what.
//!
//! Invariant: a text says what the client can do about it, and has nothing of its token. It does not know how the text
//! reaches the client.

use room_core::metrics::AuthRefusal;

/// Why a client was refused by `[auth]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no token.
    #[error("this room needs a token, and the request has none")]
    Missing,
    /// There are several, in one place or in different ones.
    #[error("the request has more than one token: send it in one place")]
    Several,
    /// It is no token.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// Its algorithm is not allowed.
    #[error("the token is signed with an algorithm that is not allowed here")]
    Algorithm,
    /// No key has its id and its algorithm.
    #[error("the token is signed with a key that is not known here")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature of the token is wrong")]
    Signature,
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It is not valid yet.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It comes from another issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// It is meant for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// A claim is missing or of another type than it must have.
    #[error("the claims of the token are invalid: {0}")]
    Claims(&'static str),
    /// The ticket is for other rooms.
    #[error("the ticket is for another room")]
    OtherRoom,
    /// The ticket was used before.
    #[error("the ticket was used already: it is valid once")]
    Used,
    /// The ticket was made before the server started, which knows no earlier use of it.
    #[error(
        "the ticket is valid once, and the server restarted since it was made: ask for a new one"
    )]
    Outlived,
    /// The ticket does not allow it.
    #[error("the ticket does not allow {0}")]
    Forbidden(&'static str),
    /// The token is a cookie, and the page is of another site.
    #[error(
        "a page of another site cannot use the cookie: list its origin in `origins` of [serve]"
    )]
    Origin,
    /// The issuer's keys cannot be fetched.
    #[error("the keys of the issuer cannot be fetched now: try again later")]
    ProviderDown,
    /// As many used tickets are remembered as the limit allows.
    #[error("as many used tickets are remembered as tickets_used_max allows: try again later")]
    Busy,
}

impl AuthError {
    /// Returns under which reason it is counted.
    pub fn kind(self) -> AuthRefusal {
        match self {
            Self::Missing => AuthRefusal::Missing,
            Self::Several => AuthRefusal::Several,
            Self::Malformed(_) => AuthRefusal::Malformed,
            Self::Algorithm => AuthRefusal::Algorithm,
            Self::UnknownKey => AuthRefusal::UnknownKey,
            Self::Signature => AuthRefusal::Signature,
            Self::Expired => AuthRefusal::Expired,
            Self::NotYetValid => AuthRefusal::NotYetValid,
            Self::Issuer => AuthRefusal::Issuer,
            Self::Audience => AuthRefusal::Audience,
            Self::Claims(_) => AuthRefusal::Claims,
            Self::OtherRoom => AuthRefusal::OtherRoom,
            Self::Used | Self::Outlived => AuthRefusal::Used,
            Self::Forbidden(_) => AuthRefusal::Forbidden,
            Self::Origin => AuthRefusal::Origin,
            Self::ProviderDown => AuthRefusal::ProviderDown,
            Self::Busy => AuthRefusal::Busy,
        }
    }

    /// Returns true if the same request may succeed later.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::ProviderDown | Self::Busy)
    }
}
