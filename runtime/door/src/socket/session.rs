//! Sessions: sockets of the subprotocol `room.1`. Owns how a session joins a further room, and shows a newer token.
//!
//! Invariant: a session gets into a further room as a handshake for that room would: by its origin, its token and the
//! project's hook. It shows the headers of its own handshake and its newest token. It does not know frames, or in which
//! order they are handled: `reading` does.

mod channels;
mod lanes;
mod reading;

use super::{EntryRequest, HandshakeOutcome, JoinedClient, RoomEntry, driver, enter};
use crate::carrier::{JoinAsk, RoomOne, SessionErrorName, SessionRefusal};
use crate::identity::{self, put_token, take_session_token};
use crate::listener::{RequestArrival, admit_arrival};
use crate::returning::{self, ReturnQuery};
use crate::socket::driver::RoomMembership;
use crate::status::DoorError;
use crate::upgrade::UpgradeHandshake;
use crate::{FrontDoor, NamedRoom};
use ::http::request::Parts;
use ::http::{Request, Uri};
use axum::response::Response;
use channels::{ChannelTable, OpenChannel};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use room_auth::{AuthError, IdentityProof, PartyAuth};
use room_core::id::{PartyName, RoomId};
use room_core::identity::Identity;
use room_core::limits::ms;
use room_core::lock::lock;
use room_core::logs::LogLevel;
use room_core::metrics::Refusal;
use room_rooms::room::{ConnectionKey, JoinedConnection, Outboxes, RoomError};
use std::fmt::Write as _;
use std::sync::Mutex;
use tokio::time::Instant;

/// What a client shows when it joins rooms over its session.
pub(super) struct SessionHead {
    /// The handshake, without its token.
    parts: Parts,
    token: Option<String>,
}

/// A client at the door.
struct Session {
    door: FrontDoor,
    parts: Parts,
    /// The newest token that the client has shown, if it has shown one.
    token: Mutex<Option<Box<str>>>,
}

/// A room that a session has joined.
struct EnteredRoom {
    joined: JoinedConnection,
    room: RoomId,
    identity: Option<Identity>,
}

/// What a newer token has changed.
struct RenewedToken {
    /// The channels that have it, and who their client is now.
    taken: Vec<(ConnectionKey, Identity)>,
    /// The channels whose rooms did not take it now.
    missed: Vec<(ConnectionKey, RoomError)>,
}

impl SessionHead {
    /// Keeps what a further room has to see of a handshake.
    pub(super) fn of(parts: &Parts, auth: Option<&PartyAuth>) -> Self {
        let mut kept = Request::new(()).into_parts().0;
        (kept.uri, kept.version) = (parts.uri.clone(), parts.version);
        kept.headers = parts.headers.clone();
        if let Some(arrival) = parts.extensions.get::<RequestArrival>() {
            kept.extensions.insert(arrival.clone());
        }
        let token = take_session_token(&mut kept, auth);
        Self { parts: kept, token }
    }
}

/// Answers the handshake of a session whose first room has admitted its client.
pub(super) fn welcome(
    door: &FrontDoor,
    handshake: UpgradeHandshake,
    (membership, (room, identity)): (RoomMembership, (RoomId, Option<Identity>)),
    head: Box<SessionHead>,
) -> Response {
    let (response, socket) = handshake.accept();
    let door = door.clone();
    let sockets = door.0.sockets.clone();
    sockets.spawn(async move {
        let SessionHead { parts, token } = *head;
        let RoomMembership { joined, outboxes, .. } = membership;
        let end = identity::end_of(joined.ends_ms, door.0.clock);
        // The drop of its connection reports a client that leaves during the handshake.
        if let Some((socket, _place)) = socket.await {
            let (limits, closing) = (door.0.limits.clone(), door.0.closing.clone());
            let (audience, metrics) = (door.0.audience, door.0.metrics.door.clone());
            let carrier = RoomOne::new(&limits, audience, Instant::now(), end);
            let token = Mutex::new(token.map(String::into_boxed_str));
            let session = Session { door, parts, token };
            let channels = ChannelTable::new(session, outboxes);
            channels.open(RoomOne::FIRST, EnteredRoom { joined, room, identity });
            driver::run(socket, carrier, channels, limits, closing, &metrics).await;
        }
    });
    response
}

impl Session {
    /// Joins a further room.
    ///
    /// # Cancel safety
    /// If the future is dropped and the room let the client in, the room receives a close event.
    async fn join(
        &self,
        to: (&Outboxes, ConnectionKey),
        ask: JoinAsk,
    ) -> Result<EnteredRoom, SessionRefusal> {
        let (reference, door) = (Some(ask.reference), &self.door);
        let refused = |error: &DoorError, named: &NamedRoom| {
            door.0.metrics.door.refusals.count(error.refusal());
            let shown = SessionRefusal::of(reference, error, door.0.audience);
            // No log line for each: a flood would fill the log.
            if !matches!(error, DoorError::ConnectsTooFast { .. }) {
                let text = format!("a session was turned away: {error}");
                door.note(LogLevel::Info, named, &text);
            }
            shown
        };
        let arrival = self.parts.extensions.get::<RequestArrival>();
        admit_arrival(arrival).map_err(|error| refused(&error, &Ok(None)))?;
        let mut parts = self.parts.clone();
        parts.uri = uri_of(&ask).map_err(|error| refused(&error, &Ok(None)))?;
        let own = lock(&self.token).clone();
        if let Some(token) = ask.token.as_deref().or(own.as_deref()) {
            put_token(&mut parts, token);
        }
        let named = door.named(&parts.uri);
        let outcome = self.enter(&mut parts, &named, to).await;
        match outcome.map_err(|error| refused(&error, &named))? {
            HandshakeOutcome::Joined(client) => {
                let JoinedClient { membership, whose: (room, identity), .. } = *client;
                Ok(EnteredRoom { joined: membership.joined, room, identity })
            }
            HandshakeOutcome::Response(response) => {
                let status = response.status().as_u16();
                Err(self.turned_away(reference, &named, 4403, &format!("the hook says {status}")))
            }
            HandshakeOutcome::Refused(frame, _) => {
                Err(self.turned_away(reference, &named, frame.code, &frame.reason))
            }
        }
    }

    async fn enter(
        &self,
        parts: &mut Parts,
        named: &NamedRoom,
        to: (&Outboxes, ConnectionKey),
    ) -> Result<HandshakeOutcome, DoorError> {
        let room = self.door.room(&parts.uri, named)?;
        let ReturnQuery { returning, rewind } = returning::take(&mut parts.uri)?;
        let asked = EntryRequest { room, returning, rewind, entry: RoomEntry::Session };
        enter(&self.door, parts, asked, to).await
    }

    /// Returns the refusal of the project's hook.
    fn turned_away(
        &self,
        reference: Option<u64>,
        named: &NamedRoom,
        code: u16,
        reason: &str,
    ) -> SessionRefusal {
        self.door.0.metrics.door.refusals.count(Refusal::Hook);
        let text = format!("a session was turned away by on_before_connect with {code}: {reason}");
        self.door.note(LogLevel::Info, named, &text);
        let mut refusal = SessionRefusal::new(reference, SessionErrorName::Refused, reason);
        refusal.close = Some(code);
        refusal
    }

    /// Shows a newer token for all channels, and for the rooms that the client joins from now on. A channel for which the
    /// token is not valid keeps the older one.
    ///
    /// # Cancel safety
    /// If the future is dropped, some of the rooms may have the newer token.
    async fn renew(
        &self,
        channels: Vec<(ConnectionKey, OpenChannel)>,
        reference: Option<u64>,
        token: String,
    ) -> Result<RenewedToken, SessionRefusal> {
        let mut proved = Vec::new();
        let mut problem = None;
        for (key, channel) in channels {
            let Some(known) = &channel.identity else { continue };
            match self.prove(&channel.room, &token).await {
                Ok(Some(proof)) if known.is_client_of(&proof.identity) => {
                    proved.push((key, channel, proof));
                }
                Ok(Some(_)) => {
                    let text = "the newer token is of another client";
                    return Err(SessionRefusal::new(
                        reference,
                        SessionErrorName::OtherClient,
                        text,
                    ));
                }
                Ok(None) => {}
                Err(error) => problem = Some(error),
            }
        }
        if let (true, Some(error)) = (proved.is_empty(), problem) {
            return Err(SessionRefusal::of(reference, &error, self.door.0.audience));
        }
        *lock(&self.token) = Some(token.into_boxed_str());
        let (mut taken, mut missed) = (Vec::new(), Vec::new());
        let patience = ms(self.door.0.limits.request_ms_max);
        for (key, channel, IdentityProof { identity, used }) in proved {
            let renewed = tokio::time::timeout(patience, channel.joined.renew(identity.clone()));
            match renewed.await.unwrap_or(Err(RoomError::TimedOut)) {
                Ok(()) => {
                    identity::Admitted::got_in(used);
                    taken.push((key, identity));
                }
                Err(error) => missed.push((key, error)),
            }
        }
        Ok(RenewedToken { taken, missed })
    }

    /// Checks a token for a room; `None` if its party asks for none.
    async fn prove(&self, room: &RoomId, token: &str) -> Result<Option<IdentityProof>, DoorError> {
        let entrance = self.door.0.rooms.entrance(room)?;
        let Some(auth) = &entrance.party().auth else { return Ok(None) };
        let now_ms = self.door.0.clock.wall_ms();
        let proof = auth.prove(token, Some(room), now_ms, &self.door.0.used_tickets).await;
        proof.map(Some).map_err(|error: AuthError| {
            self.door.0.metrics.door.auth_refusals.count(error.kind());
            error.into()
        })
    }
}

/// Returns the URL of a room that a client wants to join, as a handshake would have it.
///
/// # Errors
/// [`DoorError`]: the party's name or the query is invalid.
fn uri_of(ask: &JoinAsk) -> Result<Uri, DoorError> {
    let party = PartyName::parse(&ask.party)?;
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut uri = format!("/parties/{party}/{}", encoded(&ask.room));
    let own = ask.parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    let others = Some(ask.query.clone()).filter(|query| !query.is_empty());
    for (at, pair) in own.chain(others).enumerate() {
        let _infallible = write!(uri, "{}{pair}", if at == 0 { '?' } else { '&' });
    }
    let invalid = |problem: String| DoorError::Query { name: "query", problem };
    // A fragment is cut off when a URL is read, and would hide what follows it.
    if ask.query.contains('#') {
        return Err(invalid("it must not have a `#`: write %23".to_owned()));
    }
    uri.parse().map_err(|error: ::http::uri::InvalidUri| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use room_core::limits::size;

    fn ask(room: &str, query: &str) -> JoinAsk {
        JoinAsk {
            reference: 1,
            party: "main".to_owned(),
            room: room.to_owned(),
            query: query.to_owned(),
            parameters: vec![("_pk", "a&b".to_owned())],
            token: None,
        }
    }

    #[test]
    fn a_join_has_the_url_of_a_handshake() {
        let uri = uri_of(&ask("a/b ?", "x=1")).unwrap();
        assert_eq!(uri, "/parties/main/a%2Fb%20%3F?_pk=a%26b&x=1");
        let problem = uri_of(&ask("a", "x=1#y")).unwrap_err().to_string();
        assert_eq!(problem, "query is invalid: it must not have a `#`: write %23");
        let nameless = JoinAsk { party: "no such/party".to_owned(), ..ask("a", "") };
        assert!(matches!(uri_of(&nameless), Err(DoorError::Name(_))));
    }

    proptest! {
        #[test]
        fn no_name_of_a_room_leads_to_another_one(room in any::<String>(), query in any::<String>()) {
            let limits = room_core::limits::Limits::default();
            let party = PartyName::parse("main").unwrap();
            if let Ok(uri) = uri_of(&ask(&room, &query))
                && let Ok(Some(named)) = crate::room_of_path(uri.path(), &limits)
            {
                let own = RoomId::new(party, &room, size(limits.room_name_bytes_max));
                prop_assert_eq!(Ok(named), own);
            }
        }
    }
}
