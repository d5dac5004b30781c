//! Who a client is: the tokens of issuers, and tickets. Owns how both are checked, and how a ticket is made.
//!
//! Invariant: nothing of a token is believed before its signature is checked, and its algorithm is one that the project
//! allows and that its key has. No error has a part of a token in it. This crate does not know HTTP, nor where a token
//! was found.

mod der;
mod failure;
mod jwks;
mod keys;
mod party;
mod ticket;
mod token;
mod used;

pub use failure::AuthError;
pub use jwks::{Jwks, KeyFetch};
pub use party::{IdentityProof, PartyAuth, ProjectAuth};
pub use ticket::{TicketGrant, TicketKey, TicketMint};
pub use used::{TicketUse, UsedTickets};

#[cfg(any(test, feature = "testing"))]
pub mod testing;
