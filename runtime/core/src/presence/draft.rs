//! Changes of presence before they take effect: those of a turn, or of one frame of a client. Owns how they add up.
//!
//! Invariant: reads see the draft's own changes, and a change that a limit refuses leaves the draft as it was. Equal drafts
//! have equal edits, so that a turn and its repetition can be compared. It does not know who makes the changes.

use super::{
    PresenceEntry, PresenceRefusal, PresenceTallies, PresenceUser, PresentUsers, ShownPresence,
    data_of,
};
use crate::limits::{Limits, size};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What changes of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceEdit {
    /// True if what it showed before is gone first.
    pub leaves: bool,
    /// Its data from now on.
    pub data: Option<String>,
    /// For how many milliseconds it has each flag from now on; 0 ends the flag.
    pub flags: BTreeMap<String, u64>,
}

/// The changes of all users, by their names.
pub type PresenceEdits = BTreeMap<String, PresenceEdit>;

/// The users of a room, with changes that have not taken effect.
#[derive(Clone, Debug)]
pub struct PresenceDraft {
    users: Arc<PresentUsers>,
    edits: PresenceEdits,
    tallies: PresenceTallies,
}

/// The changes of a draft at some time.
#[derive(Clone, Debug)]
pub struct PresenceMark {
    edits: PresenceEdits,
    tallies: PresenceTallies,
}

impl PresenceEdit {
    /// Returns what a user shows after the change.
    pub fn over(&self, before: Option<&ShownPresence>) -> Option<ShownPresence> {
        let before = before.filter(|_| !self.leaves);
        let data = match &self.data {
            Some(data) => data.as_str().into(),
            None => before?.data.clone(),
        };
        let mut flags = before.map(|shown| shown.flags.clone()).unwrap_or_default();
        for (flag, for_ms) in &self.flags {
            match for_ms {
                0 => drop(flags.remove(flag.as_str())),
                _ => drop(flags.insert(flag.as_str().into())),
            }
        }
        Some(ShownPresence { data, flags })
    }
}

impl PresenceDraft {
    /// Begins a draft without changes.
    pub fn new(users: Arc<PresentUsers>) -> Self {
        let tallies = users.tallies;
        Self { users, edits: PresenceEdits::new(), tallies }
    }

    /// Shows this data of a user, the text of a JSON value.
    ///
    /// # Errors
    /// [`PresenceRefusal`], for each of its reasons but `NotKept`, `ByRoom` and `NotPresent`.
    pub fn set(
        &mut self,
        user: &PresenceUser,
        data: &str,
        limits: &Limits,
    ) -> Result<(), PresenceRefusal> {
        self.check(user, limits)?;
        let data = data_of(data, limits)?;
        self.edit(&user.name, limits, |edit| edit.data = Some(data))
    }

    /// Ends the presence of a user.
    ///
    /// # Errors
    /// [`PresenceRefusal::Forbidden`], [`PresenceRefusal::Invalid`].
    pub fn clear(&mut self, user: &PresenceUser, limits: &Limits) -> Result<(), PresenceRefusal> {
        self.check(user, limits)?;
        let left = PresenceEdit { leaves: true, ..PresenceEdit::default() };
        self.edit(&user.name, limits, |edit| *edit = left)
    }

    /// Gives a present user a flag for some time, or ends it at 0 ms.
    ///
    /// # Errors
    /// [`PresenceRefusal::NotPresent`], [`PresenceRefusal::Invalid`] for the flag's name or its time,
    /// [`PresenceRefusal::Full`], [`PresenceRefusal::Forbidden`].
    pub fn flag(
        &mut self,
        user: &PresenceUser,
        (flag, for_ms): (&str, u64),
        limits: &Limits,
    ) -> Result<(), PresenceRefusal> {
        self.check(user, limits)?;
        let (bytes_max, ms_max) = (limits.presence_flag_bytes_max, limits.presence_flag_ms_max);
        if !(1..=size(bytes_max)).contains(&flag.len()) {
            let text = format!("a flag's name has 1 to {bytes_max} bytes, this one {}", flag.len());
            return Err(PresenceRefusal::Invalid(text));
        }
        if for_ms > ms_max {
            let text =
                format!("a flag is for at most {ms_max} ms, this one for {for_ms}: renew it");
            return Err(PresenceRefusal::Invalid(text));
        }
        let shown = self.shown(&user.name).ok_or(PresenceRefusal::NotPresent)?;
        let max = limits.presence_flags_max;
        let is_new = for_ms > 0 && !shown.flags.contains(flag);
        if is_new && shown.flags.len() >= size(max) {
            return Err(PresenceRefusal::Full { limit: "presence_flags_max", max });
        }
        self.edit(&user.name, limits, |edit| {
            edit.flags.insert(flag.to_owned(), for_ms);
        })
    }

    /// Returns what others will see of a user; `None` if it is not present.
    pub fn get(&self, name: &str) -> Option<PresenceEntry> {
        let connections = self.users.get(name)?.connections;
        Some(PresenceEntry { shown: self.shown(name)?, connections })
    }

    /// Returns the present users, by their names.
    pub fn all(&self) -> Vec<(Arc<str>, PresenceEntry)> {
        let known = self.users.users.keys();
        known.filter_map(|name| Some((name.clone(), self.get(name)?))).collect()
    }

    /// Returns the changes.
    pub fn into_edits(self) -> PresenceEdits {
        self.edits
    }

    /// Returns the draft without changes.
    #[must_use]
    pub fn undone(self) -> Self {
        Self::new(self.users)
    }

    /// Marks the draft's present changes.
    pub fn mark(&self) -> PresenceMark {
        PresenceMark { edits: self.edits.clone(), tallies: self.tallies }
    }

    /// Undoes the changes since a mark.
    pub fn roll_back(&mut self, mark: PresenceMark) {
        (self.edits, self.tallies) = (mark.edits, mark.tallies);
    }

    fn shown(&self, name: &str) -> Option<ShownPresence> {
        let before = self.users.get(name)?.shown.as_ref();
        match self.edits.get(name) {
            Some(edit) => edit.over(before),
            None => before.cloned(),
        }
    }

    /// Checks that a connection may speak for its user.
    fn check(&self, user: &PresenceUser, limits: &Limits) -> Result<(), PresenceRefusal> {
        let max = limits.presence_user_bytes_max;
        if user.name.len() > size(max) {
            let text =
                format!("a user's name has at most {max} bytes, this one {}", user.name.len());
            return Err(PresenceRefusal::Invalid(text));
        }
        // Otherwise another client proves to be this user, or the user's last connection has ended.
        match self.users.get(&user.name).is_some_and(|record| record.proof == user.proof) {
            true => Ok(()),
            false => Err(PresenceRefusal::Forbidden),
        }
    }

    fn edit(
        &mut self,
        name: &str,
        limits: &Limits,
        change: impl FnOnce(&mut PresenceEdit),
    ) -> Result<(), PresenceRefusal> {
        let (before, old) = (self.edits.get(name).cloned(), self.shown(name));
        change(self.edits.entry(name.to_owned()).or_default());
        let new = self.shown(name);
        let mut tallies = self.tallies;
        tallies.replace(name, old.as_ref(), new.as_ref());
        // A user that shows less than before is let through, also where the limits were lowered.
        let full = [
            ("presence_users_max", limits.presence_users_max, tallies.users, self.tallies.users),
            (
                "presence_room_bytes_max",
                limits.presence_room_bytes_max,
                tallies.bytes,
                self.tallies.bytes,
            ),
        ];
        let full = full.into_iter().find(|(_, max, new, old)| *new > size(*max) && new > old);
        if let Some((limit, max, ..)) = full {
            match before {
                Some(before) => drop(self.edits.insert(name.to_owned(), before)),
                None => drop(self.edits.remove(name)),
            }
            return Err(PresenceRefusal::Full { limit, max });
        }
        self.tallies = tallies;
        Ok(())
    }
}
