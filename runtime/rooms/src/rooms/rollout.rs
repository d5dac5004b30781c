//! New code for running rooms. Owns the order in which they take it over, and the way back.
//!
//! Invariant: either all rooms run the new code, or all that can run the old code do; a bounded number takes
//! over at a time. It does not know where the code comes from or how a room takes it over.

use super::{Party, Resident, ResidentPhase, Rooms};
use crate::room::{RoomError, StartFallback};
use futures_util::stream::{FuturesUnordered, StreamExt};
use hashbrown::HashMap;
use room_core::event::CloseFrame;
use room_core::id::{PartyName, RoomId};
use room_core::limits::{ms, size};
use std::sync::Arc;

/// The outcome of a change of code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Rooms that took it over.
    pub rooms: usize,
    /// Connections that stayed open during the change.
    pub connections: usize,
}

/// The reason why the old code is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadError {
    /// The room in which the new code did not start.
    pub room: Option<RoomId>,
    /// The room's error.
    pub error: RoomError,
}

impl Rooms {
    /// Gives all parties other code, and lets the running rooms take it over between two turns. If it does
    /// not start in one of them, every room gets the old code again.
    ///
    /// # Errors
    /// [`ReloadError`] names the first room whose new code did not start, or no room if some did not answer
    /// in time.
    ///
    /// # Cancel safety
    /// The caller must not drop it: some rooms might run the new code and some the old.
    pub async fn deploy(
        &self,
        parties: HashMap<PartyName, Party>,
    ) -> Result<Reloaded, ReloadError> {
        let parties = parties.into_iter().map(|(name, party)| (name, Arc::new(party)));
        let parties: HashMap<PartyName, Arc<Party>> = parties.collect();
        let old = std::mem::replace(&mut self.state().parties, parties.clone());
        let limit = ms(self.0.parts.limits.reload_ms_max);
        let reload = self.reload_all(&parties, StartFallback::KeepOld);
        let outcome = tokio::time::timeout(limit, reload)
            .await
            .unwrap_or(Err(ReloadError { room: None, error: RoomError::TimedOut }));
        match &outcome {
            Ok(_) => {
                self.change_answers(&parties);
                self.stop_rooms_without(&parties);
            }
            Err(_) => {
                self.state().parties = old.clone();
                // Every room gets the old code, whatever becomes of the others. A room in which the old code
                // does not start either starts it afresh at its next event.
                drop(tokio::time::timeout(limit, self.reload_all(&old, StartFallback::Rest)).await);
            }
        }
        outcome
    }

    async fn reload_all(
        &self,
        parties: &HashMap<PartyName, Arc<Party>>,
        otherwise: StartFallback,
    ) -> Result<Reloaded, ReloadError> {
        let together = size(self.0.parts.limits.reload_rooms_max);
        let mut reloads = FuturesUnordered::new();
        // A room that waits for its content takes the code of the moment at which it starts.
        let running = self.residents().into_iter();
        let mut running =
            running.filter(|(_, resident)| matches!(resident.phase, ResidentPhase::Running(_)));
        let (mut done, mut failed) = (Reloaded::default(), None);
        loop {
            let goes_on = failed.is_none() || otherwise == StartFallback::Rest;
            while goes_on
                && reloads.len() < together
                && let Some((room, resident)) = running.next()
            {
                if let Some(party) = parties.get(room.party()).cloned() {
                    reloads.push(self.reload_one(room, resident, party, otherwise));
                }
            }
            match reloads.next().await {
                None => return failed.map_or(Ok(done), Err),
                Some((_, Ok(Some(connections)))) => {
                    done.rooms += 1;
                    done.connections += connections;
                }
                // It runs that code already, or has left memory.
                Some((_, Ok(None))) => {}
                Some((room, Err(error))) => {
                    failed.get_or_insert(ReloadError { room: Some(room), error });
                }
            }
        }
    }

    /// Passes the new auto-responses to the open sockets.
    fn change_answers(&self, parties: &HashMap<PartyName, Arc<Party>>) {
        let mut state = self.state();
        state.answers.retain(|name, _| parties.contains_key(name));
        for (name, party) in parties {
            state.answers.entry(name.clone()).or_default().send_if_modified(|answer| {
                let changed = *answer != party.auto_response;
                answer.clone_from(&party.auto_response);
                changed
            });
        }
    }

    /// Ends the rooms whose party is gone, and closes their connections.
    fn stop_rooms_without(&self, parties: &HashMap<PartyName, Arc<Party>>) {
        for (room, resident) in self.residents() {
            if !parties.contains_key(room.party()) {
                resident.handle.stop(CloseFrame::new(1012, "the party is not served any more"));
            }
        }
    }

    /// Lets one room take over other code, when a spare is free. Returns how many connections stayed; `None`
    /// if the room takes over nothing.
    async fn reload_one(
        &self,
        room: RoomId,
        resident: Resident,
        party: Arc<Party>,
        otherwise: StartFallback,
    ) -> (RoomId, Result<Option<usize>, RoomError>) {
        let spare = self.0.parts.spares.clone().acquire_owned().await;
        // The spares are never closed.
        let Ok(spare) = spare else { return (room, Err(RoomError::Draining)) };
        let queued = {
            let mut state = self.state();
            let found = state.running.get_mut(&room);
            found.filter(|found| found.has(resident.handle.mailbox())).and_then(|found| {
                let queued = found.handle.reload(party.orders(), otherwise, spare).ok()?;
                found.phase = ResidentPhase::Running(party);
                Some(queued)
            })
        };
        // It has left memory. The next visitor reaches the new code.
        let Some(outcome) = queued else { return (room, Ok(None)) };
        let outcome = match outcome.await {
            // A room that ends during the reload proves nothing about the code.
            Err(RoomError::Storage(_) | RoomError::Draining | RoomError::Gone) => Ok(None),
            outcome => outcome,
        };
        (room, outcome)
    }
}
