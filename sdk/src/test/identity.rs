//! Who the clients of a room under test are.
//!
//! Owns the tickets of tests, and what a test says about a client. Invariant: as on a server, a ticket opens only what
//! it was made for, until its end, and once if it says so. It does not know tokens: a test says what claims are in them.

use serde_json::{Map, Value, json};

use serde::Serialize;

use super::limits;
use super::world::World;
use crate::host::{GrantRecord, IdentityRecord};
use crate::http::Request;
use crate::identity::{Capabilities, Identity};

/// What a ticket of a test begins with. No server takes it.
const MARK: &str = "test-ticket:";

impl World {
    /// Makes a ticket.
    pub(super) fn ticket(&mut self, grant: &GrantRecord) -> Result<String, String> {
        self.turn_mut();
        if !(1..=limits::TICKET_MS_MAX).contains(&grant.ms) {
            let (max, ms) = (limits::TICKET_MS_MAX, grant.ms);
            return Err(format!(
                "a ticket is valid for 1 to {max} ms (ticket_ms_max), not for {ms}"
            ));
        }
        if grant.once && grant.room.is_none() {
            return Err(
                "a ticket that is valid once is for one room: name the room, whose node remembers the use"
                    .to_owned(),
            );
        }
        let claims = grant.claims.as_deref().map(claims_of).transpose()?;
        self.tickets_made += 1;
        let held = NAMES.iter().filter(|(one, _)| grant.capabilities.has(*one));
        let names: Vec<&str> = held.map(|(_, name)| *name).collect();
        let ticket = json!({
            "party": grant.party,
            "room": grant.room,
            "ends": self.now_ms.saturating_add(grant.ms),
            "capabilities": names,
            "once": grant.once.then_some(self.tickets_made),
            "claims": claims,
        });
        Ok(format!("{MARK}{ticket}"))
    }

    /// Who the client of a ticket is; the error is how it is refused.
    pub(super) fn admit(&mut self, ticket: &str) -> Result<IdentityRecord, (u16, String)> {
        let refused = |why: &str| (4401, why.to_owned());
        let json = ticket.strip_prefix(MARK);
        let parsed = json.and_then(|json| serde_json::from_str::<Value>(json).ok());
        let ticket =
            parsed.ok_or_else(|| refused("the token is malformed: it is not a whole ticket"))?;
        if ticket["ends"].as_u64().is_none_or(|ends| self.now_ms >= ends) {
            return Err(refused("the token has expired"));
        }
        let named = ticket["room"].as_str().is_none_or(|room| room == self.name);
        if ticket["party"] != self.party.as_str() || !named {
            return Err(refused("the ticket is for another room"));
        }
        if let Some(number) = ticket["once"].as_u64()
            && !self.tickets_used.insert(number)
        {
            return Err(refused("the ticket was used already: it is valid once"));
        }
        let mut capabilities = Capabilities::NONE;
        for name in ticket["capabilities"].as_array().into_iter().flatten() {
            let found = NAMES.iter().find(|(_, own)| name == own).map(|(one, _)| *one);
            capabilities = capabilities | found.unwrap_or(Capabilities::NONE);
        }
        let claims = match &ticket["claims"] {
            Value::Null => "{}".to_owned(),
            claims => claims.to_string(),
        };
        Ok(IdentityRecord { claims, capabilities, ends_ms: None })
    }
}

impl World {
    /// Notes who the client of a new connection is.
    pub(super) fn introduce(&mut self, client: usize, id: &str, identity: Option<IdentityRecord>) {
        let capabilities =
            identity.as_ref().map_or(Capabilities::ALL, |identity| identity.capabilities);
        self.clients[client].is_deaf = !capabilities.has(Capabilities::READ);
        self.clients[client].is_mute = !capabilities.has(Capabilities::WRITE);
        match identity {
            Some(identity) => drop(self.identities.insert(id.to_owned(), identity)),
            None => drop(self.identities.remove(id)),
        }
    }
}

impl Request {
    /// Sends it with a token that has these claims, an object. Only a test can: it is as if `[auth]` had checked the
    /// token.
    ///
    /// # Panics
    /// If the value is no JSON object.
    #[must_use]
    #[track_caller]
    pub fn with_claims<T: Serialize + ?Sized>(mut self, claims: &T) -> Self {
        self.identity = Some(with_claims(claims));
        self
    }

    /// As [`with_claims`](Self::with_claims), for what was made already.
    #[doc(hidden)]
    #[must_use]
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }
}

/// Who the client of a token with these claims is.
#[track_caller]
pub(super) fn with_claims<T: Serialize + ?Sized>(claims: &T) -> Identity {
    let text = serde_json::to_string(claims).map_err(|error| error.to_string());
    match text.and_then(|text| identity_of(&text)) {
        Ok(identity) => identity,
        Err(error) => panic!("the claims are invalid: {error}"),
    }
}

/// Who the client of a token with these claims is, the text of a JSON object.
#[doc(hidden)]
pub fn identity_of(claims: &str) -> Result<Identity, String> {
    let claims = Value::Object(claims_of(claims)?).to_string();
    Ok(Identity::of(IdentityRecord { claims, capabilities: Capabilities::ALL, ends_ms: None }))
}

const NAMES: [(Capabilities, &str); 3] = [
    (Capabilities::READ, "read"),
    (Capabilities::WRITE, "write"),
    (Capabilities::PRESENCE, "presence"),
];

/// Reads claims, which are an object.
fn claims_of(text: &str) -> Result<Map<String, Value>, String> {
    if text.len() > limits::CLAIMS_BYTES_MAX {
        let max = limits::CLAIMS_BYTES_MAX;
        return Err(format!("the claims have {} bytes, claims_bytes_max allows {max}", text.len()));
    }
    serde_json::from_str(text).map_err(|_| {
        "the claims of a ticket must be a JSON object, such as {\"sub\":\"ann\"}".to_owned()
    })
}
