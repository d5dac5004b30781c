//! New code for the rooms that run. Owns the order in which they take it over, and the way back.
//!
//! Invariant: all rooms run the new code, or none that could go back to the old one; a bounded number takes it over
//! at a time. It does not know where the code comes from or how a room takes it over.

use super::{Party, Phase, Resident, Rooms};
use crate::event::CloseFrame;
use crate::id::{PartyName, RoomId};
use crate::limits::{ms, size};
use crate::room::{Otherwise, RoomError};
use futures_util::stream::{FuturesUnordered, StreamExt};
use hashbrown::HashMap;
use std::sync::Arc;

/// What a change of code did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reloaded {
    /// Rooms that took it over.
    pub(crate) rooms: usize,
    /// Connections that stayed open meanwhile.
    pub(crate) connections: usize,
}

/// Why new code was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReloadError {
    /// The room in which it did not start.
    pub(crate) room: Option<RoomId>,
    /// What happened there.
    pub(crate) error: RoomError,
}

impl Rooms {
    /// Puts other code in place for all parties, and lets the running rooms take it over between two
    /// turns. If it does not start in one of them, the old code is put back everywhere.
    ///
    /// # Errors
    /// [`ReloadError`]: the first room that did not start, or none if some did not answer in time.
    ///
    /// # Cancel safety
    /// Dropped before it returns, some rooms may run the new code and some the old: not to be dropped.
    pub(crate) async fn deploy(
        &self,
        parties: HashMap<PartyName, Party>,
    ) -> Result<Reloaded, ReloadError> {
        let parties = parties.into_iter().map(|(name, party)| (name, Arc::new(party)));
        let parties: HashMap<PartyName, Arc<Party>> = parties.collect();
        let old = std::mem::replace(&mut self.state().parties, parties.clone());
        let limit = ms(self.0.parts.limits.reload_ms_max);
        let reload = self.reload_all(&parties, Otherwise::KeepOld);
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
                // Every room is told, whatever becomes of the others; one in which the old code does
                // not start either meets it fresh at its next event.
                drop(tokio::time::timeout(limit, self.reload_all(&old, Otherwise::Rest)).await);
            }
        }
        outcome
    }

    async fn reload_all(
        &self,
        parties: &HashMap<PartyName, Arc<Party>>,
        otherwise: Otherwise,
    ) -> Result<Reloaded, ReloadError> {
        let together = size(self.0.parts.limits.reload_rooms_max);
        let mut reloads = FuturesUnordered::new();
        // One that waits for its content takes the code that is in place when it begins.
        let running = self.residents().into_iter();
        let mut running =
            running.filter(|(_, resident)| matches!(resident.phase, Phase::Running(_)));
        let (mut done, mut failed) = (Reloaded::default(), None);
        loop {
            let goes_on = failed.is_none() || otherwise == Otherwise::Rest;
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
                // It runs that code already, or has left.
                Some((_, Ok(None))) => {}
                Some((room, Err(error))) => {
                    failed.get_or_insert(ReloadError { room: Some(room), error });
                }
            }
        }
    }

    /// Tells the open sockets what is answered without their rooms from now on.
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

    /// Ends the rooms whose party is gone, and says so to their clients.
    fn stop_rooms_without(&self, parties: &HashMap<PartyName, Arc<Party>>) {
        for (room, resident) in self.residents() {
            if !parties.contains_key(room.party()) {
                resident.handle.stop(CloseFrame::new(1012, "the party is not served any more"));
            }
        }
    }

    /// Lets one room take over other code, when a spare is free. Returns how many connections stayed; none if the
    /// room takes over nothing.
    async fn reload_one(
        &self,
        room: RoomId,
        resident: Resident,
        party: Arc<Party>,
        otherwise: Otherwise,
    ) -> (RoomId, Result<Option<usize>, RoomError>) {
        let spare = self.0.parts.spares.clone().acquire_owned().await;
        // They are never closed.
        let Ok(spare) = spare else { return (room, Err(RoomError::Draining)) };
        let queued = {
            let mut state = self.state();
            let found = state.running.get_mut(&room);
            found.filter(|found| found.has(resident.handle.mailbox())).and_then(|found| {
                let queued = found.handle.reload(party.orders(), otherwise, spare).ok()?;
                found.phase = Phase::Running(party);
                Some(queued)
            })
        };
        // It has left; the next visitor meets the new code.
        let Some(outcome) = queued else { return (room, Ok(None)) };
        let outcome = match outcome.await {
            // A room that ends in the middle says nothing about the code.
            Err(RoomError::Storage(_) | RoomError::Draining | RoomError::Gone) => Ok(None),
            outcome => outcome,
        };
        (room, outcome)
    }
}
