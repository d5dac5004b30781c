//! Who is in a room under test.
//!
//! Owns the users, their flags and their graces. Invariant: as on a server, a user is present until it is cleared, or its
//! last connection is gone for the grace, and a failed turn changes nothing. It does not know callbacks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::limits;
use super::turn::Undo;
use super::world::{Phase, World};
use super::{Builder, TestClient, TestRoom};
use crate::Room;
use crate::error::PresenceError;
use crate::host::UserRecord;
use crate::identity::Capabilities;
use crate::presence::PresentUser;

/// The grace of a party that names none.
const GRACE_MS: u64 = 5_000;

/// The users of a room whose party has `presence`.
#[derive(Debug)]
pub(super) struct Users {
    grace_ms: u64,
    shown: BTreeMap<String, ShownUser>,
    /// When the users leave that have no connection.
    gone: BTreeMap<String, u64>,
}

/// What a user shows.
#[derive(Clone, Debug)]
pub(super) struct ShownUser {
    data: String,
    /// When each flag ends.
    flags: BTreeMap<String, u64>,
}

impl<R: Room> Builder<R> {
    /// With users, as `presence = true` of the party in `room.toml`: what [`Context::presence`](crate::Context::presence)
    /// needs. A user without a connection is present for 5 s.
    pub fn presence(self) -> Self {
        self.presence_grace(Duration::from_millis(GRACE_MS))
    }

    /// As [`presence`](Self::presence), with another `grace`.
    pub fn presence_grace(mut self, grace: Duration) -> Self {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let (shown, gone) = Default::default();
        self.world.users = Some(Users { grace_ms, shown, gone });
        self
    }
}

impl<R: Room> TestRoom<R> {
    /// The users that are present now, by their names.
    ///
    /// # Panics
    /// If one shows no `T`, or the room has no [`presence`](Builder::presence).
    #[track_caller]
    pub fn present_users<T: DeserializeOwned>(&self) -> Vec<PresentUser<T>> {
        let records = self.user_records();
        let records = records.unwrap_or_else(|error| panic!("{error}: Builder::presence"));
        let read = |record: UserRecord| {
            let text = record.data.clone();
            PresentUser::of(record).unwrap_or_else(|| panic!("a user shows something else: {text}"))
        };
        records.into_iter().map(read).collect()
    }

    /// The users that are present now, as the host has them: for tests of rooms in scripts.
    ///
    /// # Errors
    /// [`PresenceError::NotKept`].
    #[doc(hidden)]
    pub fn user_records(&self) -> Result<Vec<UserRecord>, PresenceError> {
        let mut runner = self.runner.borrow_mut();
        runner.world.end_presence();
        runner.world.user_records()
    }
}

impl<R: Room> TestClient<R> {
    /// Shows a value of its own user, as a client of `room.1` may. The room's code is not called.
    ///
    /// # Errors
    /// [`PresenceError`]: what the server would answer.
    ///
    /// # Panics
    /// If the value cannot be written as JSON.
    #[track_caller]
    pub fn show<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), PresenceError> {
        match serde_json::to_string(data) {
            Ok(data) => self.show_json(&data),
            Err(error) => panic!("the value cannot be written as JSON: {error}"),
        }
    }

    /// As [`show`](Self::show), with the text of the JSON: for tests of rooms in scripts.
    ///
    /// # Errors
    /// [`PresenceError`].
    #[doc(hidden)]
    pub fn show_json(&self, data: &str) -> Result<(), PresenceError> {
        self.present(|world, id| world.set_presence(id, data))
    }

    /// Ends the presence of its own user.
    ///
    /// # Errors
    /// [`PresenceError`].
    pub fn hide(&self) -> Result<(), PresenceError> {
        self.present(World::clear_presence)
    }

    /// Gives its own user a flag for some time.
    ///
    /// # Errors
    /// [`PresenceError`].
    pub fn flag(&self, flag: &str, lasting: Duration) -> Result<(), PresenceError> {
        let for_ms = u32::try_from(lasting.as_millis()).unwrap_or(u32::MAX);
        self.present(|world, id| world.flag_presence(id, flag, for_ms))
    }

    fn present(
        &self,
        change: impl FnOnce(&mut World, &str) -> Result<(), PresenceError>,
    ) -> Result<(), PresenceError> {
        let mut runner = self.runner.borrow_mut();
        let world = &mut runner.world;
        let own = world.identities.get(&self.id);
        if own.is_some_and(|own| !own.capabilities.has(Capabilities::PRESENCE)) {
            return Err(PresenceError::Forbidden);
        }
        world.begin();
        let outcome = change(world, &self.id);
        world.commit();
        outcome
    }
}

impl World {
    /// The user of a connection: the claim `sub`, or the id.
    fn user_of(&self, id: &str) -> String {
        let claims = self.identities.get(id).map(|own| own.claims.as_str());
        let claims = claims.and_then(|claims| serde_json::from_str::<Value>(claims).ok());
        match claims.as_ref().and_then(|claims| claims.get("sub")) {
            Some(Value::String(sub)) => sub.clone(),
            Some(Value::Null) | None => id.to_owned(),
            Some(other) => other.to_string(),
        }
    }

    fn connections_of(&self, user: &str) -> u32 {
        let own = self.links.iter().filter(|link| self.user_of(&link.data.id) == user);
        u32::try_from(own.count()).unwrap_or(u32::MAX)
    }

    /// Notes that a connection has begun or ended.
    pub(super) fn count_user(&mut self, id: &str) {
        self.end_presence();
        let user = self.user_of(id);
        self.follow_grace(user);
        self.end_presence();
    }

    /// Begins the grace of a user without a connection, if it has not begun, and ends that of a connected one. The next
    /// [`World::end_presence`] forgets the grace of a user that is not present.
    fn follow_grace(&mut self, user: String) {
        let is_gone = self.connections_of(&user) == 0;
        let now_ms = self.now_ms;
        let Some(users) = &mut self.users else { return };
        let leaves = now_ms.saturating_add(users.grace_ms);
        match is_gone {
            true => drop(users.gone.entry(user).or_insert(leaves)),
            false => drop(users.gone.remove(&user)),
        }
    }

    /// Ends what has come to its end by now.
    pub(super) fn end_presence(&mut self) {
        let now_ms = self.now_ms;
        let Some(Users { shown, gone, .. }) = &mut self.users else { return };
        shown.retain(|user, _| gone.get(user).is_none_or(|end_ms| *end_ms > now_ms));
        gone.retain(|user, _| shown.contains_key(user));
        shown.values_mut().for_each(|own| own.flags.retain(|_, end_ms| *end_ms > now_ms));
    }

    /// Forgets all users, as the death of the server does.
    pub(super) fn lose_presence(&mut self) {
        if let Some(Users { shown, gone, .. }) = &mut self.users {
            shown.clear();
            gone.clear();
        }
    }

    pub(super) fn set_presence(&mut self, id: &str, data: &str) -> Result<(), PresenceError> {
        let (user, before) = self.speaks(id)?;
        let data: Value = serde_json::from_str(data).map_err(|error| {
            PresenceError::Invalid(format!("the data is not valid JSON: {error}"))
        })?;
        let data = data.to_string();
        limits::check_presence(&user, &data)?;
        let flags = before.map(|before| before.flags).unwrap_or_default();
        self.show(user, Some(ShownUser { data, flags }))
    }

    pub(super) fn clear_presence(&mut self, id: &str) -> Result<(), PresenceError> {
        let (user, _) = self.speaks(id)?;
        self.show(user, None)
    }

    pub(super) fn flag_presence(
        &mut self,
        id: &str,
        flag: &str,
        for_ms: u32,
    ) -> Result<(), PresenceError> {
        let (user, before) = self.speaks(id)?;
        limits::check_flag(flag, for_ms)?;
        let mut shown = before.ok_or(PresenceError::NotPresent)?;
        match for_ms {
            0 => drop(shown.flags.remove(flag)),
            _ => {
                let end_ms = self.now_ms.saturating_add(u64::from(for_ms));
                shown.flags.insert(flag.to_owned(), end_ms);
            }
        }
        limits::check_flags(shown.flags.len())?;
        self.show(user, Some(shown))
    }

    /// The user of a connection that is open, or that the running callback is about, and what it shows.
    fn speaks(&mut self, id: &str) -> Result<(String, Option<ShownUser>), PresenceError> {
        self.turn_mut();
        if self.users.is_none() {
            return Err(PresenceError::NotKept);
        }
        let is_about = self.about.as_ref().is_some_and(|about| about.id == id);
        let is_open = self.links.iter().any(|link| link.data.id == id && link.phase == Phase::Open);
        if !is_about && !is_open {
            return Err(PresenceError::NotFound);
        }
        let user = self.user_of(id);
        let shown = self.users.as_ref().and_then(|users| users.shown.get(&user)).cloned();
        Ok((user, shown))
    }

    /// Changes what a user shows, if the room has space for it.
    fn show(&mut self, user: String, shown: Option<ShownUser>) -> Result<(), PresenceError> {
        let old = self.replace_shown(&user, shown);
        self.turn_mut().journal.push(Undo::Presence { user: user.clone(), old: old.clone() });
        let Some(users) = &self.users else { return Err(PresenceError::NotKept) };
        let bytes = |(user, own): (&String, &ShownUser)| {
            user.len() + own.data.len() + own.flags.keys().map(String::len).sum::<usize>()
        };
        let (count, bytes) = (users.shown.len(), users.shown.iter().map(bytes).sum());
        limits::check_users(count, bytes).inspect_err(|_| {
            self.replace_shown(&user, old);
        })?;
        // The close of its last connection may show a user.
        self.follow_grace(user);
        Ok(())
    }

    pub(super) fn replace_shown(
        &mut self,
        user: &str,
        shown: Option<ShownUser>,
    ) -> Option<ShownUser> {
        let users = self.users.as_mut()?;
        match shown {
            Some(shown) => users.shown.insert(user.to_owned(), shown),
            None => users.shown.remove(user),
        }
    }

    pub(super) fn user_records(&self) -> Result<Vec<UserRecord>, PresenceError> {
        let users = self.users.as_ref().ok_or(PresenceError::NotKept)?;
        Ok(users.shown.iter().map(|(user, own)| self.record(user, own)).collect())
    }

    pub(super) fn user_record(&self, user: &str) -> Result<Option<UserRecord>, PresenceError> {
        let users = self.users.as_ref().ok_or(PresenceError::NotKept)?;
        Ok(users.shown.get(user).map(|own| self.record(user, own)))
    }

    fn record(&self, user: &str, own: &ShownUser) -> UserRecord {
        UserRecord {
            name: user.to_owned(),
            data: own.data.clone(),
            connections: self.connections_of(user),
            flags: own.flags.keys().cloned().collect(),
        }
    }
}
