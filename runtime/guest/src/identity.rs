//! Who clients are, as guests learn it. Owns the translation between `sdk/wit/identity.wit` and what the door found out.
//!
//! Invariant: what a guest learns comes from the host's own connection or request, and never from what a client sent.
//! A ticket is a function of the guest's time and randomness, so it is the same when a turn is repeated. It does not
//! know how a token is checked.

use crate::bindings::room::runtime::identity;
use crate::host::{Call, HostState};
use room_auth::TicketGrant;
use room_core::identity::{Capabilities, Identity};

/// Why a project without `[auth]` has no tickets.
const OFF: &str = "the project has no [auth] in room.toml, so no ticket opens its rooms: add `[auth]`, with a key or none";

impl identity::Host for HostState {
    fn of_request(&mut self) -> wasmtime::Result<Option<identity::Proof>> {
        Ok(self.identity.as_ref().map(identity::Proof::of))
    }

    fn of_connection(&mut self, id: String) -> wasmtime::Result<Option<identity::Proof>> {
        let connection = self.turn()?.connection(&id);
        let identity = connection.and_then(|connection| connection.identity.as_ref());
        Ok(identity.map(identity::Proof::of))
    }

    fn ticket(&mut self, grant: identity::Grant) -> Call<String, String> {
        // Hooks run for strangers, and nothing records what they did.
        self.turn()?;
        let Some(mint) = &self.mint else { return Ok(Err(OFF.to_owned())) };
        let (now_ms, number) = (self.now_ms(), u128::from_le_bytes(self.samples.random()));
        Ok(mint.make(granted(grant), now_ms, number))
    }
}

impl identity::Proof {
    /// Makes the contract's form of an identity.
    fn of(own: &Identity) -> Self {
        let (claims, ends) = (own.claims().to_owned(), own.ends_ms());
        let has = |one| own.capabilities().has(one);
        let capabilities = identity::Capabilities {
            read: has(Capabilities::READ),
            write: has(Capabilities::WRITE),
            presence: has(Capabilities::PRESENCE),
        };
        Self { claims, capabilities, ends }
    }
}

fn granted(grant: identity::Grant) -> TicketGrant {
    let identity::Grant { party, room, ms, capabilities, once, claims } = grant;
    let all = [
        (capabilities.read, Capabilities::READ),
        (capabilities.write, Capabilities::WRITE),
        (capabilities.presence, Capabilities::PRESENCE),
    ];
    let granted = all.into_iter().filter(|(held, _)| *held);
    let granted = granted.fold(Capabilities::NONE, |some, (_, one)| some.with(one));
    TicketGrant { party, room, ms, capabilities: granted, once, claims }
}
