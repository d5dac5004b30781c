//! Who is in the room. Owns the translation of the interface `presence`.
//!
//! Invariant: a refusal names the limit that a change exceeds. It does not know how changes take effect.

use crate::bindings::presenting::room::runtime::presence::{
    Host, PresenceError, PresentUser, add_to_linker as add_interface,
};
use crate::bindings::presenting::room::runtime::types;
use crate::host::{Call, HostState, narrow};
use room_core::presence::{PresenceEntry, PresenceRefusal};
use wasmtime::component::{HasSelf, Linker};

/// Gives guests the interface.
pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    add_interface::<_, HasSelf<_>>(linker, |host: &mut HostState| host)
}

impl Host for HostState {
    fn set(&mut self, connection: String, data: String) -> Call<(), PresenceError> {
        Ok(self.turn()?.set_presence(&connection, &data).map_err(refused))
    }

    fn clear(&mut self, connection: String) -> Call<(), PresenceError> {
        Ok(self.turn()?.clear_presence(&connection).map_err(refused))
    }

    fn flag(&mut self, connection: String, flag: String, for_ms: u32) -> Call<(), PresenceError> {
        let flagged = self.turn()?.flag_presence(&connection, &flag, u64::from(for_ms));
        Ok(flagged.map_err(refused))
    }

    fn users(&mut self) -> Call<Vec<PresentUser>, PresenceError> {
        let users = self.turn()?.present_users().map_err(refused);
        Ok(users.map(|users| users.iter().map(|(name, entry)| user(name, entry)).collect()))
    }

    fn user(&mut self, name: String) -> Call<Option<PresentUser>, PresenceError> {
        let found = self.turn()?.present_user(&name).map_err(refused);
        Ok(found.map(|found| found.map(|entry| user(&name, &entry))))
    }
}

fn user(name: &str, entry: &PresenceEntry) -> PresentUser {
    let PresenceEntry { shown, connections } = entry;
    PresentUser {
        name: name.to_owned(),
        data: shown.data.to_string(),
        connections: narrow(*connections),
        flags: shown.flags.iter().map(ToString::to_string).collect(),
    }
}

fn refused(refusal: PresenceRefusal) -> PresenceError {
    match refusal {
        PresenceRefusal::NotKept => PresenceError::NotKept,
        PresenceRefusal::NotFound => PresenceError::NotFound,
        PresenceRefusal::NotPresent => PresenceError::NotPresent,
        PresenceRefusal::TooLarge { max, .. } => PresenceError::TooLarge(narrow(max)),
        PresenceRefusal::Full { limit, max } => {
            PresenceError::BeyondLimit(types::Limit { name: limit.to_owned(), max })
        }
        PresenceRefusal::Invalid(why) => PresenceError::Invalid(why),
        // `by` concerns clients alone.
        PresenceRefusal::Forbidden | PresenceRefusal::ByRoom => PresenceError::Forbidden,
    }
}
