//! Who clients are, and tickets for them.
//!
//! Owns [`Identity`], [`Capabilities`] and [`Ticket`]. Invariant: what is found here comes from the host, which checked it,
//! and nothing that a client sends replaces it. It does not know tokens.

use std::ops::BitOr;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::host::{Current, GrantRecord, Host as _, IdentityRecord};
use crate::time::Timestamp;
use crate::{Result, connection, http};

/// What a client may do in a room.
///
/// ```
/// use room_sdk::Capabilities;
///
/// let some = Capabilities::READ | Capabilities::PRESENCE;
/// assert!(some.has(Capabilities::READ) && !some.has(Capabilities::WRITE));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capabilities(u8);

impl Capabilities {
    /// It gets what the room sends. A client without it hears nothing.
    pub const READ: Self = Self(1);
    /// It may send messages, and requests other than `GET` and `HEAD`. A client without it is closed with 4403 if it sends.
    pub const WRITE: Self = Self(2);
    /// The room may show it to others: what that means is the room's own.
    pub const PRESENCE: Self = Self(4);
    /// All of them, as a client without a ticket has them.
    pub const ALL: Self = Self(7);

    /// True if all of the others are among them.
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// None, to which others are added.
    #[doc(hidden)]
    pub const NONE: Self = Self(0);
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

/// Who a client is, as `[auth]` in `room.toml` found out: see [`Connection::identity`](crate::Connection::identity) and
/// [`Request::identity`](crate::Request::identity).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    record: IdentityRecord,
}

impl Identity {
    pub(crate) fn of(record: IdentityRecord) -> Self {
        Self { record }
    }

    pub(crate) fn record(&self) -> &IdentityRecord {
        &self.record
    }

    /// The claims of its token or ticket.
    ///
    /// # Errors
    /// The claims are not those of a `T`.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.record.claims).context("the claims are not the expected ones")
    }

    /// The claims as JSON text.
    pub fn claims_text(&self) -> &str {
        &self.record.claims
    }

    /// What it may do.
    pub fn capabilities(&self) -> Capabilities {
        self.record.capabilities
    }

    /// The claims, unless it has none: a ticket may say only what its client may do.
    fn some<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        if self.record.claims == "{}" { Ok(None) } else { self.claims().map(Some) }
    }

    /// When the server closes its connection with 4401, as its token ends; `None` for a ticket.
    pub fn ends(&self) -> Option<Timestamp> {
        self.record.ends_ms.map(Timestamp::from_millis)
    }
}

impl connection::Connection {
    /// Who the client is; `None` if the project has no `[auth]`, or the client showed no token where none is needed.
    ///
    /// It is kept with the connection: it is the same in each callback, after a reload and after hibernation. It changes only
    /// when the client itself shows a newer token of the same `sub`: when it comes back, with a poll, or with a frame `token`
    /// of the subprotocol `room.1`.
    pub fn identity(&self) -> Option<Identity> {
        Current::identity_of(self.id()).map(Identity::of)
    }

    /// The claims of the client's token or ticket, in one type of the author's; `None` as with
    /// [`identity`](Self::identity), and for a ticket without claims.
    ///
    /// ```
    /// use room_sdk::prelude::*;
    /// use room_sdk::test::TestRoom;
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Member {
    ///     sub: String,
    /// }
    ///
    /// #[derive(Default)]
    /// struct Chat;
    ///
    /// impl Room for Chat {
    ///     fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
    ///         let member: Member = conn.claims()?.ok_or_else(|| anyhow!("who are you?"))?;
    ///         ctx.broadcast(&format!("{}: {}", member.sub, message.as_text().unwrap_or_default()));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let room = TestRoom::<Chat>::new("lobby");
    /// let ann = room.client("tab 1").claims(&serde_json::json!({ "sub": "ann" })).connect();
    /// ann.send_text("hi");
    /// assert_eq!(ann.received_json::<String>(), ["ann: hi"]);
    /// ```
    ///
    /// # Errors
    /// The claims are not those of a `T`.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.identity().map_or(Ok(None), |identity| identity.some())
    }

    /// What the client may do: everything, unless it came with a ticket that says otherwise.
    pub fn capabilities(&self) -> Capabilities {
        self.identity().map_or(Capabilities::ALL, |identity| identity.capabilities())
    }
}

impl http::Request {
    /// Who sent it; `None` if the project has no `[auth]`, or the client showed no token where none is needed. A request
    /// that another room sent, or that the room made itself, is nobody's.
    ///
    /// A hook has it, too: `on_before_connect`, `on_before_request`, `on_fetch` and `on_socket`.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The claims of its sender, as with [`Connection::claims`](crate::Connection::claims).
    ///
    /// # Errors
    /// The claims are not those of a `T`.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.identity.as_ref().map_or(Ok(None), Identity::some)
    }
}

/// A right to enter rooms for a short time, which [`Context::ticket`] makes a text of.
///
/// Without more, it is for a minute, for everything, and valid as often as it is used in that time.
#[must_use = "Context::ticket makes a ticket of it"]
#[derive(Clone, Debug)]
pub struct Ticket {
    grant: GrantRecord,
    failure: Option<String>,
}

impl Ticket {
    /// A ticket for one room.
    pub fn room(party: impl Into<String>, room: impl Into<String>) -> Self {
        Self::of(party.into(), Some(room.into()))
    }

    /// A ticket for every room of a party.
    pub fn party(party: impl Into<String>) -> Self {
        Self::of(party.into(), None)
    }

    fn of(party: String, room: Option<String>) -> Self {
        let grant = GrantRecord {
            party,
            room,
            ms: 60_000,
            capabilities: Capabilities::ALL,
            once: false,
            claims: None,
        };
        Self { grant, failure: None }
    }

    /// For how long it can be used to connect, at most `ticket_ms_max`. It does not say how long the connection lasts.
    pub fn lasting(mut self, time: Duration) -> Self {
        self.grant.ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// What its client may do.
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.grant.capabilities = capabilities;
        self
    }

    /// Its client may read and nothing else.
    pub fn read_only(self) -> Self {
        self.capabilities(Capabilities::READ)
    }

    /// It can be used once, which only a ticket for one room can be.
    pub fn once(mut self) -> Self {
        self.grant.once = true;
        self
    }

    /// The claims that the room gets, an object.
    pub fn claims<T: Serialize + ?Sized>(mut self, claims: &T) -> Self {
        match serde_json::to_string(claims) {
            Ok(claims) => self.grant.claims = Some(claims),
            Err(error) => self.failure = Some(error.to_string()),
        }
        self
    }
}

impl Context {
    /// Makes a ticket, which a client sends in place of a token: as `?ticket=` in the URL of a WebSocket, an
    /// `EventSource` or an image, or as `authorization: Bearer`.
    ///
    /// It has no effect besides, and is not taken back if the turn fails.
    ///
    /// ```
    /// use std::time::Duration;
    /// use room_sdk::prelude::*;
    /// use room_sdk::test::TestRoom;
    ///
    /// #[derive(Default)]
    /// struct Board;
    ///
    /// impl Room for Board {
    ///     fn on_request(&mut self, ctx: &Context, _: Request) -> Result<Response> {
    ///         let watcher = Ticket::room(ctx.party(), ctx.name()).read_only();
    ///         Response::json(&ctx.ticket(watcher.lasting(Duration::from_secs(30)))?)
    ///     }
    ///
    ///     fn on_message(&mut self, ctx: &Context, _: &Connection, message: Message) -> Result {
    ///         ctx.broadcast(message);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let room = TestRoom::<Board>::new("plans");
    /// let ticket: String = serde_json::from_slice(room.request(Request::get("/")).body())?;
    /// let watcher = room.client("watcher").ticket(&ticket).connect();
    /// let author = room.connect("author");
    /// author.send_text("a line");
    /// assert_eq!(watcher.received(), [Message::text("a line")]);
    /// watcher.send_text("mine");
    /// assert_eq!(watcher.closed().map(|close| close.code), Some(4403));
    /// # Ok::<(), room_sdk::Error>(())
    /// ```
    ///
    /// # Errors
    /// The project has no `[auth]`; or the ticket is invalid, lasts too long, or has too large claims.
    pub fn ticket(&self, ticket: Ticket) -> Result<String> {
        let Ticket { grant, failure } = ticket;
        if let Some(failure) = failure {
            return Err(anyhow!("the claims of a ticket cannot be written as JSON: {failure}"));
        }
        Current::ticket(grant).map_err(|why| anyhow!("cannot make a ticket: {why}"))
    }
}
