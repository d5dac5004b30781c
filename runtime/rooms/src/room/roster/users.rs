//! How many connections each user has to one room. Owns the counts.
//!
//! Invariant: a user has at most `user_connections_max`, whichever transports and ids they have. Without that limit nothing
//! is counted. Pure: it does not know who a client is, but for what the door checked.

use super::super::RoomError;
use room_core::connection::Connection;
use room_core::id::Serial;
use room_core::identity::Identity;
use room_core::limits::Limits;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The connections of each user.
pub(in super::super) struct ConnectedUsers {
    /// 0 for no bound.
    max: u64,
    counts: HashMap<Arc<str>, u64>,
    by_connection: BTreeMap<Serial, Arc<str>>,
}

impl ConnectedUsers {
    pub(super) fn new(limits: &Limits) -> Self {
        let (counts, by_connection) = Default::default();
        Self { max: limits.user_connections_max, counts, by_connection }
    }

    /// Returns the user whose connections are counted.
    fn counted(&self, identity: Option<&Identity>) -> Option<String> {
        if self.max == 0 { None } else { identity?.user() }
    }

    /// Lets one more connection of a user in, in place of this one.
    ///
    /// # Errors
    /// [`RoomError::UserFull`].
    pub(in super::super) fn admit(
        &self,
        identity: Option<&Identity>,
        replaced: Option<Serial>,
    ) -> Result<(), RoomError> {
        let Some(user) = self.counted(identity) else { return Ok(()) };
        let count = self.counts.get(user.as_str()).copied().unwrap_or_default();
        let replaced = replaced.and_then(|serial| self.by_connection.get(&serial));
        let leaving = u64::from(replaced.is_some_and(|own| **own == *user));
        match count - leaving >= self.max {
            true => Err(RoomError::UserFull(self.max)),
            false => Ok(()),
        }
    }

    /// Counts a connection.
    pub(super) fn enter(&mut self, connection: &Connection) {
        let Some(user) = self.counted(connection.identity.as_ref()) else { return };
        let user: Arc<str> = user.into();
        *self.counts.entry(user.clone()).or_default() += 1;
        self.by_connection.insert(connection.serial, user);
    }

    /// Counts a connection no more.
    pub(super) fn leave(&mut self, serial: Serial) {
        let Some(user) = self.by_connection.remove(&serial) else { return };
        if let Some(count) = self.counts.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::connection::connection;
    use room_core::identity::Capabilities;

    fn client(serial: u64, claims: Option<&str>) -> Connection {
        let identity =
            claims.map(|claims| Identity::new(claims.to_owned(), Capabilities::ALL, None));
        Connection { identity, ..connection("a", serial, &[]) }
    }

    fn users(user_connections_max: u64) -> ConnectedUsers {
        ConnectedUsers::new(&Limits { user_connections_max, ..Limits::default() })
    }

    #[test]
    fn each_user_has_so_many_connections_and_a_client_without_a_user_is_not_counted() {
        let mut all = users(2);
        let ada = Some(r#"{"sub":"ada","n":1}"#);
        for serial in 1..=2 {
            all.enter(&client(serial, ada));
        }
        let admits =
            |all: &ConnectedUsers, claims| all.admit(client(9, claims).identity.as_ref(), None);
        assert_eq!(admits(&all, Some(r#"{"n":2,"sub":"ada"}"#)), Err(RoomError::UserFull(2)));
        for other in [None, Some("{}"), Some(r#"{"sub":null}"#), Some(r#"{"sub":"bob"}"#)] {
            assert_eq!(admits(&all, other), Ok(()), "{other:?}");
            (10..20).for_each(|serial| {
                all.enter(&client(serial, other.filter(|it| !it.contains("bob"))))
            });
        }
        all.leave(Serial(1));
        all.leave(Serial(1));
        assert_eq!(admits(&all, ada), Ok(()));
        all.leave(Serial(2));
        assert!(all.counts.is_empty() && all.by_connection.is_empty());
    }

    #[test]
    fn a_connection_that_is_replaced_frees_a_place_of_its_own_user_alone() {
        let (ada, bob) = (Some(r#"{"sub":"ada"}"#), Some(r#"{"sub":"bob"}"#));
        let mut all = users(1);
        all.enter(&client(1, ada));
        all.enter(&client(2, bob));
        let in_place_of =
            |serial| all.admit(client(9, ada).identity.as_ref(), Some(Serial(serial)));
        assert_eq!(in_place_of(1), Ok(()));
        assert_eq!(in_place_of(2), Err(RoomError::UserFull(1)));
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let mut all = users(0);
        (0..9).for_each(|serial| all.enter(&client(serial, Some(r#"{"sub":"ada"}"#))));
        assert!(all.counts.is_empty());
    }
}
