//! The way of clients to rooms. Owns the one look at a room's party by which a client is admitted or turned
//! away.
//!
//! Invariant: an entrance leads to a room only while the party that it shows is the one that the room runs.
//! `through` checks this in the same step in which it queues the client's request, and a running room gets
//! other code in the same step in which that code is noted for it. So no deployment comes between the
//! decision to let a client in and the code that the client reaches. It does not know who decides, or how.

use super::{Party, ResidentPhase, Rooms, RoomsState, Unreachable};
use crate::room::{
    ClientPoll, ClientPost, ConnectingClient, ConnectionKey, IncomingRequest, JoinedConnection,
    Outboxes, Publication, RoomAnswer, RoomError, RoomHandle, RoomLeft, RoomParts,
};
use room_core::event::BodyDelivery;
use room_core::id::{PartyName, RoomId};
use room_core::jobs::OutcallAnswer;
use std::sync::Arc;

/// The party that PartyKit's projects always have.
const MAIN: &str = "main";

/// The party that a room runs at one moment.
pub struct RoomEntrance {
    room: RoomId,
    party: Arc<Party>,
}

impl RoomEntrance {
    /// Returns the room.
    pub fn room(&self) -> &RoomId {
        &self.room
    }

    /// Returns the party by whose settings clients are admitted.
    pub fn party(&self) -> &Party {
        &self.party
    }
}

impl Rooms {
    /// Looks up the party that a room runs, and activates nothing.
    ///
    /// # Errors
    /// [`Unreachable::UnknownParty`].
    pub fn entrance(&self, room: &RoomId) -> Result<RoomEntrance, Unreachable> {
        let state = self.state();
        let party = state.party(room)?;
        let party = state.running.get(room).map_or(party, |resident| resident.runs(party)).clone();
        Ok(RoomEntrance { room: room.clone(), party })
    }

    /// Returns the party whose code answers for the project as a whole: `main`. A project without that party has the
    /// first one by name that fits.
    pub fn spokesman(&self, fits: impl Fn(&Party) -> bool) -> Option<PartyName> {
        let state = self.state();
        let main = PartyName::parse(MAIN).expect("main is a valid name");
        if state.parties.contains_key(&main) {
            return Some(main);
        }
        state.parties.iter().filter(|(_, party)| fits(party)).map(|(name, _)| name).min().cloned()
    }

    /// Makes the outboxes of a new socket.
    pub fn outboxes(&self) -> Outboxes {
        let RoomParts { limits, metrics, bytes, .. } = &*self.0.parts;
        Outboxes::new(limits, metrics.clone(), bytes.clone())
    }

    /// Lets a client into a room, and activates the room if it does not run. Returns `None` if the room has
    /// another code or other settings by now: the caller must take a new entrance and decide again.
    ///
    /// # Errors
    /// [`Unreachable`].
    ///
    /// # Cancel safety
    /// As [`RoomHandle::connect`].
    pub async fn connect(
        &self,
        entrance: &RoomEntrance,
        visitor: ConnectingClient,
        to: (&Outboxes, ConnectionKey),
    ) -> Result<Option<JoinedConnection>, Unreachable> {
        let mut visitor = Box::new(visitor);
        loop {
            match self.through(entrance, |handle| handle.connect(visitor, to))? {
                None => return Ok(None),
                Some(Ok(joined)) => return Ok(Some(joined.await?)),
                Some(Err(RoomLeft(back))) => visitor = back,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Asks a room for a response, and activates the room if it does not run. `None` as with
    /// [`Rooms::connect`].
    ///
    /// # Errors
    /// [`Unreachable`].
    ///
    /// # Cancel safety
    /// As [`RoomHandle::request`].
    pub async fn request(
        &self,
        entrance: &RoomEntrance,
        request: impl Into<IncomingRequest>,
        body: BodyDelivery,
    ) -> Result<Option<RoomAnswer>, Unreachable> {
        let mut request = request.into();
        loop {
            match self.through(entrance, |handle| handle.request(request, body))? {
                None => return Ok(None),
                Some(Ok(response)) => return Ok(Some(response.await?)),
                Some(Err(RoomLeft(back))) => request = back,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Passes on a message of a client without a socket. A room that does not run has no connections, and is not
    /// activated.
    ///
    /// # Errors
    /// [`Unreachable`].
    ///
    /// # Cancel safety
    /// As [`RoomHandle::post`].
    pub async fn post(&self, room: &RoomId, post: ClientPost) -> Result<(), Unreachable> {
        let running = self.state().running.get(room).map(|resident| resident.handle.clone());
        match running.map(|handle| handle.post(post)) {
            Some(Ok(answer)) => Ok(answer.await?),
            Some(Err(_)) | None => Err(RoomError::NotYours.into()),
        }
    }

    /// Gives a connection to the next poll of its client. A room that does not run has no connections, and is not
    /// activated.
    ///
    /// # Errors
    /// [`Unreachable`].
    ///
    /// # Cancel safety
    /// As [`RoomHandle::poll`].
    pub async fn poll(
        &self,
        room: &RoomId,
        poll: ClientPoll,
        to: (&Outboxes, ConnectionKey),
    ) -> Result<JoinedConnection, Unreachable> {
        let running = self.state().running.get(room).map(|resident| resident.handle.clone());
        match running.map(|handle| handle.poll(poll, to)) {
            Some(Ok(answer)) => Ok(answer.await?),
            Some(Err(_)) | None => Err(RoomError::NotYours.into()),
        }
    }

    /// Returns who is in a room, as JSON; `None` if it is not in memory, or its party keeps no presence. A room that does not
    /// run is not activated.
    ///
    /// # Errors
    /// [`RoomError::Busy`] or [`RoomError::TimedOut`]: the room is busy.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn present_users(&self, room: &RoomId) -> Result<Option<String>, RoomError> {
        let running = self.state().running.get(room).map(|resident| resident.handle.clone());
        match running.map(|handle| handle.present_users()) {
            Some(Ok(answer)) => answer.await,
            Some(Err(RoomLeft(()))) | None => Ok(None),
        }
    }

    /// Passes on a publication, and activates the room if it does not run. `None` as with [`Rooms::connect`]. Otherwise
    /// returns the number of the turn's event, as text.
    ///
    /// # Errors
    /// [`Unreachable`].
    ///
    /// # Cancel safety
    /// As [`RoomHandle::publish`].
    pub async fn publish(
        &self,
        entrance: &RoomEntrance,
        mut publication: Publication,
    ) -> Result<Option<String>, Unreachable> {
        loop {
            match self.through(entrance, |handle| handle.publish(publication))? {
                None => return Ok(None),
                Some(Ok(answer)) => {
                    return match answer.await? {
                        OutcallAnswer::Returned(id) => {
                            Ok(Some(String::from_utf8_lossy(&id).into_owned()))
                        }
                        _ => Err(RoomError::Gone.into()),
                    };
                }
                Some(Err(RoomLeft(back))) => publication = back,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Calls `ask` with the room's handle, if the entrance still leads to the room, in one step with that
    /// check.
    fn through<T>(
        &self,
        entrance: &RoomEntrance,
        ask: impl FnOnce(&RoomHandle) -> T,
    ) -> Result<Option<T>, Unreachable> {
        let (mut state, room) = (self.state(), &entrance.room);
        if state.draining {
            return Err(RoomError::Draining.into());
        }
        self.check_lives_here(room)?;
        let party = state.party(room)?;
        if let Some(resident) = state.running.get(room) {
            let is_open = Arc::ptr_eq(resident.runs(party), &entrance.party);
            return Ok(is_open.then(|| ask(&resident.handle)));
        }
        if !Arc::ptr_eq(party, &entrance.party) {
            return Ok(None);
        }
        let handle = self.activate(&mut state, room, entrance.party.clone());
        Ok(Some(ask(&handle)))
    }
}

impl RoomsState {
    /// Returns the party of a room, as it holds for rooms that start now.
    pub(super) fn party(&self, room: &RoomId) -> Result<&Arc<Party>, Unreachable> {
        self.check_not_aside(room.party())?;
        let party = self.parties.get(room.party());
        party.ok_or_else(|| Unreachable::UnknownParty(room.party().clone()))
    }
}

impl super::Resident {
    /// Returns the party that a mail queued now will reach, where `newest` is the party for rooms that start
    /// now. A resident that waits for its content takes the newest party when it starts.
    fn runs<'a>(&'a self, newest: &'a Arc<Party>) -> &'a Arc<Party> {
        match &self.phase {
            ResidentPhase::Waiting => newest,
            ResidentPhase::Running(party) => party,
        }
    }
}
