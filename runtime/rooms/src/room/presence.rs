//! Who is in one room. Owns its users from their first connection to the end of their grace, and what clients know of them.
//!
//! Invariant: turns read what was committed, and clients get only what the gate has let out. A user's data lives here, and
//! neither the guest's end nor other code changes it. It does not know outboxes or guests.

mod ask;
mod entrance;
mod shared;
mod times;

pub use ask::PresenceAsk;
pub(super) use ask::PresenceOrder;
pub(super) use entrance::PresenceEntrance;
pub use shared::PresenceEvent;
pub(super) use shared::SharedPresence;

use entrance::ForgottenUser;
use hashbrown::HashMap;
use room_core::config::{Presence, PresentBy};
use room_core::connection::Connection;
use room_core::id::Serial;
use room_core::identity::{Capabilities, Identity};
use room_core::limits::{Limits, ms, size};
use room_core::presence::{
    PresenceDraft, PresenceEdits, PresenceEntry, PresenceRefusal, PresenceUser, PresentUsers,
    UserProof,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use times::PresenceTimes;
use tokio::time::Instant;

/// The users of a room whose party has `presence`.
pub(super) struct RoomPresence {
    settings: Presence,
    limits: Arc<Limits>,
    users: Arc<PresentUsers>,
    /// The users of connections. A connection that speaks for nobody is not there.
    members: HashMap<Serial, Arc<str>>,
    times: PresenceTimes,
    /// The users whose last changes the gate does not have yet.
    changed: BTreeSet<Arc<str>>,
    /// What the gate has let out and clients do not have yet.
    let_out: BTreeMap<Arc<str>, Option<PresenceEntry>>,
    /// When clients get what was let out.
    flush_at: Option<Instant>,
    shared: SharedPresence,
}

/// Users as they are after a turn, for clients.
#[derive(Debug)]
pub(super) struct PresenceChanges {
    /// The clients' knowledge that they change.
    shared: SharedPresence,
    /// `None` for a user that is not present.
    users: Vec<(Arc<str>, Option<PresenceEntry>)>,
}

impl PresenceChanges {
    /// Returns the bytes of what waits with it.
    pub(super) fn bytes(&self) -> usize {
        let data =
            |entry: &Option<PresenceEntry>| entry.as_ref().map_or(0, |it| it.shown.data.len());
        self.users.iter().map(|(name, entry)| name.len() + data(entry)).sum()
    }
}

impl RoomPresence {
    /// Makes the presence of a room without users. Clients know its states by numbers that follow `before`.
    pub(super) fn new(settings: Presence, limits: Arc<Limits>, before: u64) -> Self {
        let (users, members, times, changed, let_out) = Default::default();
        let shared = SharedPresence::new(before);
        Self { settings, limits, users, members, times, changed, let_out, flush_at: None, shared }
    }

    /// Follows the party's settings. The end of a grace that has begun does not change.
    pub(super) fn set(&mut self, settings: Presence) {
        self.settings = settings;
    }

    /// Returns what clients know.
    pub(super) fn shared(&self) -> &SharedPresence {
        &self.shared
    }

    /// Begins the changes of a turn.
    pub(super) fn draft(&self) -> PresenceDraft {
        PresenceDraft::new(self.users.clone())
    }

    /// Returns the number of users that are present.
    pub(super) fn count(&self) -> usize {
        self.users.present()
    }

    /// Counts a connection that opens. Returns what [`RoomPresence::undo`] needs if the connection is refused.
    pub(super) fn enter(&mut self, connection: &Connection) -> PresenceEntrance {
        let mut entrance = PresenceEntrance::of(connection.serial);
        let user = PresenceUser::of(&connection.id, connection.identity.as_ref());
        if user.name.len() > size(self.limits.presence_user_bytes_max) {
            return entrance;
        }
        if self.users.get(&user.name).is_some_and(|known| known.proof != user.proof) {
            match user.proof {
                // Its client chose the name of a signed-in user as its id, and speaks for nobody.
                UserProof::Client => return entrance,
                UserProof::Claim => entrance.forgotten = self.forget(&user.name),
            }
        }
        let key = Arc::make_mut(&mut self.users).enter(&user);
        let grace = (key.clone(), None);
        entrance.grace = self.times.get(&grace);
        self.times.set(grace, None);
        self.note(&key);
        self.members.insert(connection.serial, key);
        entrance
    }

    /// Counts a connection that has ended.
    pub(super) fn leave(&mut self, serial: Serial) {
        let Some(key) = self.members.remove(&serial) else { return };
        Arc::make_mut(&mut self.users).leave(&key);
        self.note(&key);
        self.begin_grace(key);
    }

    /// Forgets a user that somebody else proves to be.
    fn forget(&mut self, name: &str) -> Option<ForgottenUser> {
        let key = self.users.key(name)?;
        let shown = self.users.get(name).and_then(|record| record.shown.clone());
        let mut members = Vec::new();
        self.members.retain(|serial, own| {
            let stays = *own != key;
            if !stays {
                members.push(*serial);
            }
            stays
        });
        let ends = self.times.remove(&key);
        Arc::make_mut(&mut self.users).forget(name);
        self.note(&key);
        Some(ForgottenUser { key, shown, members, ends })
    }

    /// Carries out the changes of a turn that has committed.
    pub(super) fn apply(&mut self, edits: PresenceEdits) {
        for (name, edit) in edits {
            let Some(key) = self.users.key(&name) else { continue };
            let before = self.users.get(&name).and_then(|record| record.shown.as_ref());
            let shown = edit.over(before);
            Arc::make_mut(&mut self.users).show(&name, shown);
            self.follow_flags(&key, &edit.flags);
            self.changed.insert(key.clone());
            // The room may show a user in the close of its last connection.
            self.begin_grace(key);
        }
    }

    /// Carries out what a client asks for its own user.
    ///
    /// # Errors
    /// [`PresenceRefusal`]. Nothing was changed.
    pub(super) fn change(
        &mut self,
        connection: &Connection,
        ask: &PresenceAsk,
    ) -> Result<(), PresenceRefusal> {
        if self.settings.by == PresentBy::Room {
            return Err(PresenceRefusal::ByRoom);
        }
        let identity = connection.identity.as_ref();
        if !Identity::capabilities_of(identity).has(Capabilities::PRESENCE) {
            return Err(PresenceRefusal::Forbidden);
        }
        let (user, limits) = (PresenceUser::of(&connection.id, identity), self.limits.clone());
        let mut draft = self.draft();
        match &ask.data {
            Some(Some(data)) => draft.set(&user, data, &limits)?,
            Some(None) => draft.clear(&user, &limits)?,
            None => {}
        }
        if let Some((flag, for_ms)) = &ask.flag {
            draft.flag(&user, (flag, *for_ms), &limits)?;
        }
        self.apply(draft.into_edits());
        Ok(())
    }

    /// Sets when the flags of a user end: those that it has got or renewed just now, and none that it has not.
    fn follow_flags(&mut self, key: &Arc<str>, renewed: &BTreeMap<String, u64>) {
        let shown = self.users.get(key).and_then(|record| record.shown.as_ref());
        let kept = |flag: &str| shown.is_some_and(|shown| shown.flags.contains(flag));
        for flag in self.times.flags(key) {
            if !kept(&flag) {
                self.times.set((key.clone(), Some(flag)), None);
            }
        }
        let now = Instant::now();
        for (flag, for_ms) in renewed.iter().filter(|(flag, _)| kept(flag)) {
            let end = now + ms(*for_ms);
            self.times.set((key.clone(), Some(flag.as_str().into())), Some(end));
        }
    }

    /// Begins the grace of a user that is present without a connection, if it has not begun.
    fn begin_grace(&mut self, key: Arc<str>) {
        let is_gone = self.users.get(&key).is_some_and(|record| record.connections == 0);
        let end = (key, None);
        match is_gone {
            true if self.times.get(&end).is_some() => {}
            true => self.times.set(end, Some(Instant::now() + ms(self.settings.grace_ms))),
            false => self.times.set(end, None),
        }
    }

    /// Ends the graces and the flags whose time has come. Returns true if a user has changed.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        while let Some((key, flag)) = self.times.take_due(now) {
            let mut shown = self.users.get(&key).and_then(|record| record.shown.clone());
            match (&mut shown, flag) {
                (Some(shown), Some(flag)) => drop(shown.flags.remove(&flag)),
                (_, None) => shown = None,
                (None, Some(_)) => continue,
            }
            Arc::make_mut(&mut self.users).show(&key, shown);
            self.follow_flags(&key, &BTreeMap::new());
            self.changed.insert(key);
        }
        !self.changed.is_empty()
    }

    fn note(&mut self, key: &Arc<str>) {
        self.changed.insert(key.clone());
    }

    /// Returns what has changed since the last call, for the gate.
    pub(super) fn take_changes(&mut self) -> Option<Box<PresenceChanges>> {
        if self.changed.is_empty() {
            return None;
        }
        let mut users = Vec::with_capacity(self.changed.len());
        for key in std::mem::take(&mut self.changed) {
            let entry = self.users.entry(&key);
            users.push((key, entry));
        }
        Some(Box::new(PresenceChanges { shared: self.shared.clone(), users }))
    }

    /// Takes what the gate has let out. Changes from before the party gave its presence up have no effect.
    pub(super) fn let_out(&mut self, changes: PresenceChanges) {
        if !changes.shared.is(&self.shared) {
            return;
        }
        self.let_out.extend(changes.users);
        let pause = ms(self.settings.every_ms);
        self.flush_at.get_or_insert_with(|| Instant::now() + pause);
    }

    /// Returns when something ends, or when clients get what changed.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.times.next(), self.flush_at].into_iter().flatten().min()
    }

    /// Returns true if something is due.
    pub(super) fn is_due(&self) -> bool {
        self.next().is_some_and(|next| next <= Instant::now())
    }

    /// Returns what clients get now, if it is time and something has changed for them.
    pub(super) fn flush(&mut self, now: Instant) -> Option<Arc<PresenceEvent>> {
        self.flush_at.take_if(|at| *at <= now)?;
        self.shared.change(std::mem::take(&mut self.let_out))
    }
}

#[cfg(test)]
mod tests;
