//! What the node does for its rooms outside of them. Owns the way from one room to another.
//!
//! Invariant: a call is queued at the other room before `call` returns, unless that room is just leaving memory. It does
//! not know turns.

use super::{Rooms, RoomsInner, Unreachable};
use crate::cluster::ProjectHomes;
use crate::room::{CallOutcome, FetchedChunk, Outside, RoomCall, RoomError, RoomHandle, RoomLeft};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use room_core::event::Response;
use room_core::fetch::{FetchFailure, FetchHead, FetchRequest};
use room_core::id::{PartyName, RoomId};
use room_core::jobs::{CallId, OutcallAnswer, OutcallFailure, RoomAddress};
use room_core::limits::{Limits, size};
use room_fetch::{FetchClient, FetchPart};
use std::sync::{Arc, Weak};
use tokio::sync::mpsc;

/// The node, as its rooms see it.
pub(super) struct NodeOutside {
    pub(super) rooms: Weak<RoomsInner>,
    pub(super) client: FetchClient,
    pub(super) homes: ProjectHomes,
    /// The store's name. The keys of the requests begin with it and the project's.
    pub(super) store: u128,
    pub(super) limits: Arc<Limits>,
}

impl NodeOutside {
    /// Returns the other room's handle, which activates it.
    fn handle(&self, to: &RoomId) -> Result<RoomHandle, Unreachable> {
        let rooms = self.rooms.upgrade().map(Rooms);
        rooms.ok_or(RoomError::Draining)?.handle(to)
    }

    fn id_of(&self, to: &RoomAddress) -> Result<RoomId, OutcallFailure> {
        let bytes_max = size(self.limits.room_name_bytes_max);
        let party = PartyName::parse(&to.party);
        party.and_then(|party| RoomId::new(party, &to.room, bytes_max)).map_err(|error| {
            OutcallFailure::new("invalid-room", format!("there is no such room: {error}"))
        })
    }
}

impl NodeOutside {
    /// Returns what distinguishes a request from all others that this node's or another node's projects send to the same
    /// server. `own` distinguishes it within the store.
    fn idempotency_key(&self, own: &str) -> String {
        let (store, project) = (self.store, self.homes.project());
        match project {
            "" => format!("{store:032x}.{own}"),
            project => format!("{store:032x}.{project}.{own}"),
        }
    }
}

impl Outside for NodeOutside {
    fn fetch(
        &self,
        by: &RoomId,
        request: FetchRequest,
        idempotency_key: String,
        chunks: Option<mpsc::Sender<FetchedChunk>>,
    ) -> BoxFuture<'static, Result<Response, FetchFailure>> {
        let client = self.client.clone();
        let rooms = self.rooms.upgrade().map(Rooms);
        // A party that is gone lists no host.
        let hosts = rooms.and_then(|rooms| rooms.fetch_hosts(by.party())).unwrap_or_default();
        let key = self.idempotency_key(&idempotency_key);
        async move {
            let key = Some(key.as_str());
            match chunks {
                None => client.fetch(&request, &hosts, key).await,
                Some(chunks) => {
                    let (sink, parts) = mpsc::channel(1);
                    let fetch = client.fetch_stream(&request, &hosts, key, sink);
                    let (done, response) = tokio::join!(fetch, pass_on(parts, chunks));
                    done?;
                    response
                        .ok_or_else(|| FetchFailure::Protocol("there was no response".to_owned()))
                }
            }
        }
        .boxed()
    }

    fn call(&self, to: &RoomAddress, call: RoomCall) -> BoxFuture<'static, CallOutcome> {
        let room = match self.id_of(to) {
            Ok(room) => room,
            Err(failure) => return std::future::ready(CallOutcome::Failed(failure)).boxed(),
        };
        if self.homes.is_moving(&room) {
            return std::future::ready(CallOutcome::NotNow(RoomError::Moved)).boxed();
        }
        if self.homes.is_elsewhere(&room) {
            let message =
                format!("another node serves {room}, and rooms call only rooms of their own node");
            let failure = OutcallFailure::new("other-node", message);
            return std::future::ready(CallOutcome::Failed(failure)).boxed();
        }
        let mut call = Box::new(call);
        // A room that is leaving memory is off the list in the same step, so a second look finds another one.
        for _ in 0..2 {
            match self.handle(&room).map(|handle| handle.call(call)) {
                Ok(Ok(answer)) => return answered(answer).boxed(),
                Ok(Err(RoomLeft(back))) => call = back,
                Err(error) => return std::future::ready(unreachable(error)).boxed(),
            }
        }
        std::future::ready(CallOutcome::NotNow(RoomError::Gone)).boxed()
    }

    fn forget(&self, to: &RoomAddress, call: CallId) {
        if let Ok(room) = self.id_of(to)
            && !self.homes.is_elsewhere(&room)
            && let Ok(handle) = self.handle(&room)
        {
            handle.forget(call);
        }
    }
}

async fn answered(answer: impl Future<Output = Result<OutcallAnswer, RoomError>>) -> CallOutcome {
    match answer.await {
        Ok(answer) => CallOutcome::Answered(answer),
        Err(error) => CallOutcome::NotNow(error),
    }
}

fn unreachable(error: Unreachable) -> CallOutcome {
    match error {
        Unreachable::Room(error) => CallOutcome::NotNow(error),
        Unreachable::UnknownParty(_) => {
            CallOutcome::Failed(OutcallFailure::new("unknown-party", error.to_string()))
        }
    }
}

/// Passes the body of a response on, until nobody takes it any longer. Returns the response without its body.
async fn pass_on(
    mut parts: mpsc::Receiver<FetchPart>,
    chunks: mpsc::Sender<FetchedChunk>,
) -> Option<Response> {
    let mut head: Option<FetchHead> = None;
    while let Some(part) = parts.recv().await {
        match (part, &head) {
            (FetchPart::Head(it), _) => head = Some(it),
            (FetchPart::Chunk(bytes), Some(FetchHead { status, .. })) => {
                if chunks.send(FetchedChunk { status: *status, bytes }).await.is_err() {
                    break;
                }
            }
            (FetchPart::Chunk(_), None) => break,
        }
    }
    let FetchHead { status, headers, .. } = head?;
    Some(Response { status, headers, body: Bytes::new() })
}
