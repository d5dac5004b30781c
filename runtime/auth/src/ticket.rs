//! Tickets: short-lived rights to enter rooms, which the project itself makes. Owns their form and their checks.
//!
//! Invariant: a ticket is a function of what it grants, the time and a number that nobody else has, so a turn that makes
//! one has no effect. It is valid in one project alone. It does not know who asks for it.
//!
//! A ticket is `rt1.PAYLOAD.MAC`: the payload is JSON in base64url, and the code is HMAC-SHA256 of the project and the
//! payload.

use crate::failure::AuthError;
use crate::used::{TicketUse, UsedTickets};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use room_core::config::AuthConfigError;
use room_core::id::{PartyName, RoomId};
use room_core::identity::{Capabilities, Identity};
use room_core::limits::fixed::AUTH_SECRET_BYTES_MIN;
use room_core::limits::{Limits, size};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// What a ticket begins with. No token of an issuer does.
const MARK: &str = "rt1.";
/// What the code covers besides, so that no other use of the key makes a ticket.
const PURPOSE: &[u8] = b"room ticket 1\0";

/// What a ticket allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketGrant {
    /// The party of the rooms.
    pub party: String,
    /// The room; `None` stands for every room of the party.
    pub room: Option<String>,
    /// How long it is valid, in milliseconds.
    pub ms: u64,
    /// What its client may do.
    pub capabilities: Capabilities,
    /// Whether it is valid once.
    pub once: bool,
    /// The claims that the room gets, the text of a JSON object.
    pub claims: Option<String>,
}

/// A ticket, as it is written.
#[derive(Serialize, Deserialize)]
struct TicketPayload {
    #[serde(rename = "p")]
    party: String,
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    #[serde(rename = "c")]
    capabilities: Capabilities,
    #[serde(rename = "i")]
    made_ms: u64,
    #[serde(rename = "x")]
    ends_ms: u64,
    /// The number of a ticket that is valid once, in hexadecimal digits.
    #[serde(rename = "o", skip_serializing_if = "Option::is_none")]
    once: Option<String>,
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    claims: Option<Map<String, Value>>,
}

/// The key of a project's tickets. No log has it.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey(Vec<u8>);

impl TicketKey {
    /// Returns a new key.
    pub fn random() -> Self {
        let numbers = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        Self(numbers.iter().flat_map(|number| number.as_bytes()).copied().collect())
    }

    /// Returns the key that is this secret.
    ///
    /// # Errors
    /// [`AuthConfigError`]: it is too short. `name` is the variable that has it.
    pub fn of_secret(name: &str, secret: &str) -> Result<Self, AuthConfigError> {
        check_secret(name, secret)?;
        Ok(Self(secret.as_bytes().to_vec()))
    }

    /// Returns the text by which [`TicketKey::restore`] finds the key again.
    pub fn reveal(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(&self.0)
    }

    /// Returns the key that [`TicketKey::reveal`] wrote; `None` for any other text.
    pub fn restore(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() >= AUTH_SECRET_BYTES_MIN).then_some(Self(bytes))
    }
}

/// Refuses a secret that can be guessed.
pub(crate) fn check_secret(name: &str, secret: &str) -> Result<(), AuthConfigError> {
    if secret.len() >= AUTH_SECRET_BYTES_MIN {
        return Ok(());
    }
    Err(AuthConfigError::new(format!(
        "the variable {name} cannot be a secret of [auth]: it has {} bytes, at least {AUTH_SECRET_BYTES_MIN} are needed; set \
         it to random ones, such as $(openssl rand -base64 32)",
        secret.len()
    )))
}

/// Makes and checks a project's tickets. Cheap to clone.
#[derive(Clone)]
pub struct TicketMint(Arc<MintInner>);

struct MintInner {
    bytes: TicketKey,
    key: hmac::Key,
    project: String,
    limits: Arc<Limits>,
}

impl PartialEq for TicketMint {
    fn eq(&self, other: &Self) -> bool {
        (&self.0.bytes, &self.0.project) == (&other.0.bytes, &other.0.project)
    }
}

impl fmt::Debug for TicketMint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketMint")
    }
}

impl TicketMint {
    /// Returns the mint of a project.
    pub fn new(key: TicketKey, project: &str, limits: &Arc<Limits>) -> Self {
        let hmac = hmac::Key::new(hmac::HMAC_SHA256, &key.0);
        let (project, limits) = (project.to_owned(), limits.clone());
        Self(Arc::new(MintInner { bytes: key, key: hmac, project, limits }))
    }

    /// Returns the mint of the same project with another key.
    #[must_use]
    pub fn with_key(&self, key: TicketKey) -> Self {
        Self::new(key, &self.0.project, &self.0.limits)
    }

    /// Returns true if a text is meant to be a ticket.
    pub(crate) fn is_meant(text: &str) -> bool {
        text.starts_with(MARK)
    }

    /// Makes a ticket that is valid from now on. `number` is one that no other ticket has.
    ///
    /// # Errors
    /// A sentence for the author of the room.
    pub fn make(&self, grant: TicketGrant, now_ms: u64, number: u128) -> Result<String, String> {
        let limits = &self.0.limits;
        let party = PartyName::parse(&grant.party).map_err(|error| error.to_string())?;
        if let Some(room) = &grant.room {
            RoomId::new(party.clone(), room, size(limits.room_name_bytes_max))
                .map_err(|error| error.to_string())?;
        }
        if grant.once && grant.room.is_none() {
            return Err(
                "a ticket that is valid once is for one room: name the room, whose node remembers the use"
                    .to_owned(),
            );
        }
        if !(1..=limits.ticket_ms_max).contains(&grant.ms) {
            return Err(format!(
                "a ticket is valid for 1 to {} ms (ticket_ms_max), not for {}",
                limits.ticket_ms_max, grant.ms
            ));
        }
        let claims = grant.claims.as_deref().map(|text| claims(text, limits)).transpose()?;
        let payload = TicketPayload {
            party: party.as_str().to_owned(),
            room: grant.room,
            capabilities: grant.capabilities,
            made_ms: now_ms,
            ends_ms: now_ms.saturating_add(grant.ms),
            once: grant.once.then(|| format!("{number:032x}")),
            claims,
        };
        let json = serde_json::to_vec(&payload).map_err(|error| error.to_string())?;
        let payload = BASE64_URL_SAFE_NO_PAD.encode(json);
        let code = hmac::sign(&self.0.key, &self.signed(&payload));
        let ticket = format!("{MARK}{payload}.{}", BASE64_URL_SAFE_NO_PAD.encode(code));
        match ticket.len() <= size(limits.token_bytes_max) {
            true => Ok(ticket),
            false => Err(format!(
                "the ticket has {} bytes, token_bytes_max allows {}: give it fewer claims",
                ticket.len(),
                limits.token_bytes_max
            )),
        }
    }

    fn signed(&self, payload: &str) -> Vec<u8> {
        [PURPOSE, self.0.project.as_bytes(), b"\0", payload.as_bytes()].concat()
    }

    /// Checks a ticket for a room. Returns who its client is, and the use of the ticket, if it is valid once.
    pub(crate) fn check(
        &self,
        ticket: &str,
        room: &RoomId,
        now_ms: u64,
        used: &Arc<UsedTickets>,
    ) -> Result<(Identity, Option<TicketUse>), AuthError> {
        let malformed = AuthError::Malformed("it is not a whole ticket");
        if ticket.len() > size(self.0.limits.token_bytes_max) {
            return Err(AuthError::Malformed("it is longer than token_bytes_max allows"));
        }
        let rest = ticket.strip_prefix(MARK).ok_or(malformed)?;
        let (payload, code) = rest.split_once('.').ok_or(malformed)?;
        let code = BASE64_URL_SAFE_NO_PAD.decode(code).map_err(|_| malformed)?;
        hmac::verify(&self.0.key, &self.signed(payload), &code)
            .map_err(|_| AuthError::Signature)?;
        let json = BASE64_URL_SAFE_NO_PAD.decode(payload).map_err(|_| malformed)?;
        let own: TicketPayload = serde_json::from_slice(&json).map_err(|_| malformed)?;
        if now_ms >= own.ends_ms {
            return Err(AuthError::Expired);
        }
        let named = own.room.as_deref().is_none_or(|name| name == room.name());
        if own.party != room.party().as_str() || !named {
            return Err(AuthError::OtherRoom);
        }
        let taken = match own.once {
            None => None,
            Some(number) => {
                let number = u128::from_str_radix(&number, 16).map_err(|_| malformed)?;
                Some(used.take(number, (own.made_ms, own.ends_ms), now_ms)?)
            }
        };
        let claims = Value::Object(own.claims.unwrap_or_default()).to_string();
        // The time is that for entering. How long the client stays is up to the room.
        Ok((Identity::new(claims, own.capabilities, None), taken))
    }
}

/// Reads the claims of a ticket.
fn claims(text: &str, limits: &Limits) -> Result<Map<String, Value>, String> {
    if text.len() > size(limits.claims_bytes_max) {
        return Err(format!(
            "the claims have {} bytes, claims_bytes_max allows {}",
            text.len(),
            limits.claims_bytes_max
        ));
    }
    serde_json::from_str(text).map_err(|_| {
        "the claims of a ticket must be a JSON object, such as {\"sub\":\"ann\"}".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn mint(project: &str) -> TicketMint {
        let key = TicketKey::of_secret("S", &"k".repeat(32)).unwrap();
        TicketMint::new(key, project, &Arc::new(Limits::default()))
    }

    fn grant() -> TicketGrant {
        TicketGrant {
            party: "main".to_owned(),
            room: Some("lobby".to_owned()),
            ms: 60_000,
            capabilities: Capabilities::READ,
            once: false,
            claims: None,
        }
    }

    fn room(party: &str, name: &str) -> RoomId {
        RoomId::new(PartyName::parse(party).unwrap(), name, 256).unwrap()
    }

    fn check(
        mint: &TicketMint,
        ticket: &str,
        room: &RoomId,
        now_ms: u64,
    ) -> Result<Identity, AuthError> {
        let used = UsedTickets::new(&Limits::default(), 0);
        mint.check(ticket, room, now_ms, &used).map(|(identity, _)| identity)
    }

    #[test]
    fn a_ticket_opens_its_room_in_its_project_until_its_end() {
        let (own, other) = (mint("chat"), mint("shop"));
        let claims = Some("{\"sub\":\"ann\"}".to_owned());
        let ticket = own.make(TicketGrant { claims, ..grant() }, NOW, 1).unwrap();
        let lobby = room("main", "lobby");
        let identity = check(&own, &ticket, &lobby, NOW + 59_999).unwrap();
        assert_eq!(
            (identity.claims(), identity.capabilities()),
            ("{\"sub\":\"ann\"}", Capabilities::READ)
        );
        assert_eq!(check(&own, &ticket, &lobby, NOW + 60_000), Err(AuthError::Expired));
        assert_eq!(check(&own, &ticket, &room("main", "x"), NOW), Err(AuthError::OtherRoom));
        assert_eq!(check(&own, &ticket, &room("chat", "lobby"), NOW), Err(AuthError::OtherRoom));
        assert_eq!(check(&other, &ticket, &lobby, NOW), Err(AuthError::Signature));
    }

    #[test]
    fn a_ticket_for_a_party_opens_all_its_rooms_and_a_room_named_star_is_one_room() {
        let mint = mint("chat");
        let all = mint.make(TicketGrant { room: None, ..grant() }, NOW, 1).unwrap();
        for name in ["lobby", "*", "a/b"] {
            assert!(check(&mint, &all, &room("main", name), NOW).is_ok(), "{name}");
        }
        assert_eq!(check(&mint, &all, &room("mainly", "lobby"), NOW), Err(AuthError::OtherRoom));
        let star = TicketGrant { room: Some("*".to_owned()), ..grant() };
        let star = mint.make(star, NOW, 1).unwrap();
        assert!(check(&mint, &star, &room("main", "*"), NOW).is_ok());
        assert_eq!(check(&mint, &star, &room("main", "lobby"), NOW), Err(AuthError::OtherRoom));
    }

    #[test]
    fn a_changed_ticket_is_refused() {
        let mint = mint("chat");
        let ticket = mint.make(grant(), NOW, 1).unwrap();
        let lobby = room("main", "lobby");
        let (head, code) = ticket.rsplit_once('.').unwrap();
        let payload = BASE64_URL_SAFE_NO_PAD.decode(head.strip_prefix(MARK).unwrap()).unwrap();
        let wider = String::from_utf8(payload).unwrap().replace("\"c\":1", "\"c\":7");
        let wider = format!("{MARK}{}.{code}", BASE64_URL_SAFE_NO_PAD.encode(wider));
        assert_eq!(check(&mint, &wider, &lobby, NOW), Err(AuthError::Signature));
        assert!(check(&mint, &format!("{ticket}A"), &lobby, NOW).is_err());
        for text in ["rt1.", "rt1.a", "rt1.a.b", "rt1..", &ticket[..ticket.len() - 2], head] {
            assert!(check(&mint, text, &lobby, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn a_ticket_that_cannot_be_kept_is_not_made() {
        let mint = mint("chat");
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(5_000));
        for (grant, part) in [
            (TicketGrant { ms: 0, ..grant() }, "ticket_ms_max"),
            (TicketGrant { ms: u64::MAX, ..grant() }, "ticket_ms_max"),
            (TicketGrant { party: "a b".to_owned(), ..grant() }, "party"),
            (TicketGrant { room: Some(String::new()), ..grant() }, "room"),
            (TicketGrant { room: None, once: true, ..grant() }, "one room"),
            (TicketGrant { claims: Some("[]".to_owned()), ..grant() }, "JSON object"),
            (TicketGrant { claims: Some(large), ..grant() }, "claims_bytes_max"),
        ] {
            let error = mint.make(grant, NOW, 1).unwrap_err();
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn a_key_is_restored_and_a_short_secret_is_refused() {
        let key = TicketKey::random();
        assert!(TicketKey::restore(&key.reveal()) == Some(key));
        assert!(TicketKey::restore("").is_none() && TicketKey::restore("AAAA").is_none());
        let error = TicketKey::of_secret("KEY", "hush").err().unwrap().to_string();
        assert!(error.contains("KEY") && error.contains("4 bytes") && !error.contains("hush"));
    }
}
