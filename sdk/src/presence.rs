//! Who is in the room, and what each of them shows.
//!
//! Owns [`Presence`] and [`PresentUser`]. Invariant: what a turn changes takes effect when it commits, and its own reads see
//! it. It does not know clients, or how they learn of a change.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;
use crate::connection::Connection;
use crate::context::Context;
use crate::error::PresenceError;
use crate::host::{Current, Host as _, UserRecord};

/// A user that is present.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresentUser<T> {
    /// The claim `sub` of the user's connections, or the id of its connection.
    pub user: String,
    /// What it shows.
    pub data: T,
    /// How many connections it has, with those whose clients are away; 0 while its grace goes on.
    pub connections: u32,
    /// The flags that have not ended.
    pub flags: Vec<String>,
}

/// The users of a room, each of which shows a `T`: made by [`Context::presence`].
pub struct Presence<'a, T> {
    ctx: &'a Context,
    shown: PhantomData<fn() -> T>,
}

impl Context {
    /// Who is in the room. The party has to ask for it in room.toml, with `presence = true` or
    /// `presence = { grace = "5s", every = "30ms" }`.
    ///
    /// A user is the claim `sub` of its token or ticket, or the id of its connection, and counts once however many
    /// connections it has. It is present from its first [`set`](Presence::set) until [`clear`](Presence::clear), or until its
    /// last connection is gone for the party's `grace`. Clients get all users when they connect, and from then on what
    /// changes.
    ///
    /// ```
    /// use std::time::Duration;
    /// use room_sdk::prelude::*;
    /// use room_sdk::test::TestRoom;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Person {
    ///     color: String,
    /// }
    ///
    /// #[derive(Default)]
    /// struct Lounge;
    ///
    /// impl Room for Lounge {
    ///     fn on_connect(&mut self, ctx: &Context, conn: &Connection, _: &Request) -> Result {
    ///         ctx.presence().set(conn, &Person { color: "teal".to_owned() })
    ///     }
    ///
    ///     fn on_message(&mut self, ctx: &Context, conn: &Connection, _: Message) -> Result {
    ///         ctx.presence::<Person>().flag(conn, "typing", Duration::from_secs(5))
    ///     }
    /// }
    ///
    /// let room = TestRoom::<Lounge>::builder("lobby").presence().build();
    /// let ada = room.connect("ada");
    /// ada.send_text("h");
    /// let present = room.present_users::<Person>();
    /// assert_eq!((present[0].user.as_str(), present[0].flags.len()), ("ada", 1));
    /// ada.lose();
    /// room.advance(Duration::from_secs(4));
    /// assert_eq!(room.present_users::<Person>().len(), 1);
    /// room.advance(Duration::from_secs(1));
    /// assert!(room.present_users::<Person>().is_empty());
    /// ```
    pub fn presence<T>(&self) -> Presence<'_, T> {
        Presence { ctx: self, shown: PhantomData }
    }
}

impl<T> Presence<'_, T> {
    /// Shows `data` of the connection's user from now on. The connection may be the one that
    /// [`Room::on_close`](crate::Room::on_close) is about.
    ///
    /// # Errors
    /// [`PresenceError`]; or the value cannot be written as JSON. Nothing is changed then.
    pub fn set(&self, conn: &Connection, data: &T) -> Result
    where
        T: Serialize,
    {
        let data = serde_json::to_string(data)?;
        Ok(Current::set_presence(conn.id(), &data)?)
    }

    /// Ends the presence of the connection's user, until the next [`set`](Self::set).
    ///
    /// # Errors
    /// [`PresenceError`].
    pub fn clear(&self, conn: &Connection) -> Result {
        Ok(Current::clear_presence(conn.id())?)
    }

    /// Gives the connection's user a flag that ends by itself: `ctx.presence::<Person>().flag(conn, "typing",
    /// Duration::from_secs(5))?`. A flag that the user has already is renewed, and [`Duration::ZERO`] ends it.
    ///
    /// # Errors
    /// [`PresenceError`]: the user is not present, or the flag is for longer than a minute, among others.
    pub fn flag(&self, conn: &Connection, flag: &str, lasting: Duration) -> Result {
        let for_ms = u32::try_from(lasting.as_millis()).unwrap_or(u32::MAX);
        Ok(Current::flag_presence(conn.id(), flag, for_ms)?)
    }

    /// The users that are present, by their names. A user that shows something else than a `T`, as clients may if the party
    /// lets them, is left out. Without `presence` in room.toml the turn fails.
    pub fn users(&self) -> Vec<PresentUser<T>>
    where
        T: DeserializeOwned,
    {
        let users = self.found(Current::present_users());
        users.into_iter().filter_map(PresentUser::of).collect()
    }

    /// The user with this name; `None` if it is not present, or shows something else than a `T`. Without `presence` in
    /// room.toml the turn fails.
    pub fn user(&self, name: &str) -> Option<PresentUser<T>>
    where
        T: DeserializeOwned,
    {
        self.found(Current::present_user(name)).and_then(PresentUser::of)
    }

    /// Returns what was found, or nothing and lets the turn fail.
    fn found<F: Default>(&self, found: Result<F, PresenceError>) -> F {
        found.unwrap_or_else(|error| {
            self.ctx.fail(error.into());
            F::default()
        })
    }
}

impl<T: DeserializeOwned> PresentUser<T> {
    /// Reads a user; `None` if it shows no `T`.
    pub(crate) fn of(record: UserRecord) -> Option<Self> {
        let UserRecord { name, data, connections, flags } = record;
        let data = serde_json::from_str(&data).ok()?;
        Some(Self { user: name, data, connections, flags })
    }
}

impl<T> fmt::Debug for Presence<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presence")
    }
}
