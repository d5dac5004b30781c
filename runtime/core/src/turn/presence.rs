//! Who is in the room, in a turn. Owns which connections a turn may speak for.
//!
//! Invariant: a turn's changes take effect with its other effects or not at all, and its reads see them. It does not know how
//! changes add up, or clients.

use super::Turn;
use crate::presence::{PresenceDraft, PresenceEntry, PresenceRefusal, PresenceUser};
use std::sync::Arc;

impl Turn {
    /// Gives the turn the users of its room; `None` if the party keeps no presence.
    #[must_use]
    pub fn with_presence(mut self, presence: Option<PresenceDraft>) -> Self {
        self.presence = presence.map(Box::new);
        self
    }

    /// Shows this data of a connection's user, the text of a JSON value.
    ///
    /// # Errors
    /// [`PresenceRefusal`].
    pub fn set_presence(&mut self, id: &str, data: &str) -> Result<(), PresenceRefusal> {
        let user = self.user_of(id)?;
        let limits = self.limits.clone();
        self.draft()?.set(&user, data, &limits)
    }

    /// Ends the presence of a connection's user.
    ///
    /// # Errors
    /// [`PresenceRefusal`].
    pub fn clear_presence(&mut self, id: &str) -> Result<(), PresenceRefusal> {
        let user = self.user_of(id)?;
        let limits = self.limits.clone();
        self.draft()?.clear(&user, &limits)
    }

    /// Gives a connection's user a flag for some time, or ends it at 0 ms.
    ///
    /// # Errors
    /// [`PresenceRefusal`].
    pub fn flag_presence(
        &mut self,
        id: &str,
        flag: &str,
        for_ms: u64,
    ) -> Result<(), PresenceRefusal> {
        let user = self.user_of(id)?;
        let limits = self.limits.clone();
        self.draft()?.flag(&user, (flag, for_ms), &limits)
    }

    /// Returns the present users, by their names.
    ///
    /// # Errors
    /// [`PresenceRefusal::NotKept`].
    pub fn present_users(&mut self) -> Result<Vec<(Arc<str>, PresenceEntry)>, PresenceRefusal> {
        Ok(self.draft()?.all())
    }

    /// Returns the user with this name; `None` if it is not present.
    ///
    /// # Errors
    /// [`PresenceRefusal::NotKept`].
    pub fn present_user(&mut self, name: &str) -> Result<Option<PresenceEntry>, PresenceRefusal> {
        Ok(self.draft()?.get(name))
    }

    fn draft(&mut self) -> Result<&mut PresenceDraft, PresenceRefusal> {
        self.presence.as_deref_mut().ok_or(PresenceRefusal::NotKept)
    }

    /// Returns the user of an open connection, or of the one that the event is about.
    fn user_of(&self, id: &str) -> Result<PresenceUser, PresenceRefusal> {
        if self.presence.is_none() {
            return Err(PresenceRefusal::NotKept);
        }
        let connection = self.connection(id).ok_or(PresenceRefusal::NotFound)?;
        Ok(PresenceUser::of(&connection.id, connection.identity.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Connections, connection};
    use crate::limits::Limits;
    use crate::presence::PresentUsers;
    use crate::turn::EmptyView;

    fn turn(keeps: bool) -> Turn {
        let (mut all, mut users) = (Connections::default(), PresentUsers::default());
        for (at, id) in ["ada", "bob"].into_iter().enumerate() {
            let own = connection(id, at as u64, &[]);
            users.enter(&PresenceUser::of(&own.id, None));
            all.insert(own);
        }
        let limits = Arc::new(Limits::default());
        let turn = Turn::new(Arc::new(EmptyView), Arc::new(all), None, limits);
        turn.with_presence(keeps.then(|| PresenceDraft::new(Arc::new(users))))
    }

    #[test]
    fn a_turn_reads_what_it_changed_and_a_savepoint_undoes_it() {
        let mut turn = turn(true);
        turn.set_presence("ada", "1").unwrap();
        let savepoint = turn.savepoint().unwrap();
        turn.set_presence("bob", "2").unwrap();
        turn.flag_presence("ada", "typing", 9).unwrap();
        assert_eq!(turn.present_users().unwrap().len(), 2);
        turn.roll_back(savepoint).unwrap();
        assert_eq!(turn.present_user("bob"), Ok(None));
        let ada = turn.present_user("ada").unwrap().unwrap();
        assert!(ada.shown.flags.is_empty());
        assert_eq!(turn.set_presence("eve", "1"), Err(PresenceRefusal::NotFound));
        let effects = turn.finish().unwrap();
        assert_eq!(effects.presence.keys().collect::<Vec<_>>(), ["ada"]);
        assert_eq!(effects.presence["ada"].data.as_deref(), Some("1"));
    }

    #[test]
    fn without_the_setting_every_use_is_refused() {
        let mut turn = turn(false);
        let refused = Err(PresenceRefusal::NotKept);
        assert_eq!(turn.set_presence("ada", "1"), refused);
        assert_eq!(turn.clear_presence("eve"), refused);
        assert_eq!(turn.flag_presence("ada", "typing", 1), refused);
        assert_eq!(turn.present_users(), Err(PresenceRefusal::NotKept));
        assert_eq!(turn.present_user("ada"), Err(PresenceRefusal::NotKept));
        assert!(turn.finish().unwrap().presence.is_empty());
    }
}
