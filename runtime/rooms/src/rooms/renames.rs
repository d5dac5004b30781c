//! Parties whose rooms get another name. Owns that no room of either name runs, or is changed, during that.
//!
//! Invariant: while a party is set aside, no actor of its rooms runs and none starts: its clients read that the room is
//! busy. It does not know where the data of rooms goes.

use super::{Party, Resident, Rooms, RoomsState};
use crate::room::RoomError;
use hashbrown::HashMap;
use room_core::event::CloseFrame;
use room_core::id::PartyName;
use std::sync::Arc;

/// The parties that were served before they were set aside.
#[must_use = "they are served again by `bring_back`"]
pub struct AsideParties(HashMap<PartyName, Arc<Party>>);

impl Rooms {
    /// Ends all rooms of these parties, closes their connections, and lets no room of them start until
    /// [`Rooms::admit`] or [`Rooms::bring_back`]. Returns the parties that were served.
    ///
    /// # Cancel safety
    /// If the future is dropped, the parties stay set aside.
    pub async fn set_aside(&self, names: &[PartyName]) -> AsideParties {
        let (served, ending) = {
            let mut state = self.state();
            state.aside.extend(names.iter().cloned());
            let served = names.iter().filter_map(|name| state.parties.remove_entry(name));
            let served = AsideParties(served.collect());
            let theirs = state.running.iter().filter(|(room, _)| names.contains(room.party()));
            let ending: Vec<Resident> = theirs.map(|(_, resident)| resident.clone()).collect();
            (served, ending)
        };
        for resident in &ending {
            resident.handle.stop(CloseFrame::new(1012, "the party gets another name"));
        }
        for resident in ending {
            resident.ended.cancelled().await;
        }
        served
    }

    /// Lets rooms of all parties start that are served.
    pub fn admit(&self) {
        self.state().aside.clear();
    }

    /// Serves parties again that were set aside.
    pub fn bring_back(&self, AsideParties(parties): AsideParties) {
        let mut state = self.state();
        state.parties.extend(parties);
        state.aside.clear();
    }
}

impl RoomsState {
    /// Checks that a room of this party may run.
    ///
    /// # Errors
    /// [`RoomError::Busy`].
    pub(super) fn check_not_aside(&self, party: &PartyName) -> Result<(), RoomError> {
        if self.aside.contains(party) { Err(RoomError::Busy) } else { Ok(()) }
    }
}
