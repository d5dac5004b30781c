//! The requests of a room under test to other servers and rooms, and the answers that a test gives.
//!
//! Owns what waits for an answer, and answers whose turn failed. Invariant: plain data; the journal of the turn undoes
//! its changes. A request is shown to the test only after its turn. It does not know callbacks.

use std::collections::BTreeMap;

use super::limits;
use super::turn::Undo;
use super::world::World;
use crate::error::OutcallError;
use crate::host::{FetchOptions, OutcallRecord, OutcallTarget, RoomAddress};
use crate::http::{Request, Response};
use crate::outcall::{OutcallFailure, PendingRequest};

/// The requests that wait for an answer, by their numbers, which no two share.
pub(super) type Outcalls = BTreeMap<u64, OutcallRecord>;

/// An answer that has had no successful turn yet.
#[derive(Clone, Debug)]
pub(super) struct PendingAnswer {
    pub(super) number: u64,
    pub(super) tag: String,
    pub(super) answer: GivenAnswer,
    pub(super) due_ms: u64,
    pub(super) failures: u32,
}

/// What a test answers.
#[derive(Clone, Debug)]
pub(super) enum GivenAnswer {
    Response(Result<Response, OutcallFailure>),
    Returned(Result<Vec<u8>, OutcallFailure>),
}

/// A request of a room under test to another server, which waits for the test's answer.
#[derive(Clone, Debug)]
pub struct PendingFetch {
    pub(super) number: u64,
    tag: String,
    request: Request,
    options: FetchOptions,
}

impl PendingFetch {
    /// The request's id.
    pub fn id(&self) -> String {
        id_of(self.number)
    }

    /// The request's tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// How often the room wants it to be tried again.
    pub fn retries(&self) -> u32 {
        self.options.retries
    }

    /// True if the room wants the body in chunks.
    pub fn is_in_chunks(&self) -> bool {
        self.options.chunks
    }

    /// True if a crash may lose it.
    pub fn is_best_effort(&self) -> bool {
        self.options.best_effort
    }
}

/// A call of a room under test to another room, which waits for the test's answer.
#[derive(Clone, Debug)]
pub struct PendingCall {
    pub(super) number: u64,
    tag: String,
    pub(super) to: RoomAddress,
    pub(super) asked: CallPayload,
}

/// What a call carries.
#[derive(Clone, Debug)]
pub(super) enum CallPayload {
    Data(Vec<u8>),
    Request(Request),
}

impl PendingCall {
    /// The call's id.
    pub fn id(&self) -> String {
        id_of(self.number)
    }

    /// The call's tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The party of the room that is called.
    pub fn party(&self) -> &str {
        &self.to.party
    }

    /// The name of the room that is called.
    pub fn room(&self) -> &str {
        &self.to.room
    }

    /// The data of a call; `None` for a request.
    pub fn data(&self) -> Option<&[u8]> {
        match &self.asked {
            CallPayload::Data(data) => Some(data),
            CallPayload::Request(_) => None,
        }
    }

    /// The request to the other room; `None` for a call.
    pub fn request(&self) -> Option<&Request> {
        match &self.asked {
            CallPayload::Data(_) => None,
            CallPayload::Request(request) => Some(request),
        }
    }
}

/// The id of a request, in the form that the runtime gives it.
pub(super) fn id_of(number: u64) -> String {
    format!("2-{number}-0")
}

/// Returns the error for a room that wants something done after its end.
pub(super) fn beyond_end(what: &str) -> String {
    format!(
        "on_expire cannot {what}: the room is deleted with this turn; do it in an earlier callback, such as on_close"
    )
}

impl World {
    pub(super) fn ask(&mut self, record: OutcallRecord) -> Result<String, OutcallError> {
        self.turn_mut();
        if self.ends {
            return Err(OutcallError::Invalid(beyond_end("ask another server or room")));
        }
        limits::check_outcall(&record, self.outcalls.len())?;
        self.outcalls_made += 1;
        let number = self.outcalls_made;
        self.set_outcall(number, Some(record));
        Ok(id_of(number))
    }

    pub(super) fn cancel_outcall(&mut self, id: &str) -> bool {
        self.turn_mut();
        let Some(number) = self.outcalls.keys().copied().find(|number| id_of(*number) == id) else {
            return false;
        };
        self.set_outcall(number, None);
        true
    }

    /// Sets or removes a request in the running turn.
    pub(super) fn set_outcall(&mut self, number: u64, record: Option<OutcallRecord>) {
        let old = self.replace_outcall(number, record);
        self.turn_mut().journal.push(Undo::Outcall { number, old });
    }

    /// Sets or removes a request, and returns the one before.
    pub(super) fn replace_outcall(
        &mut self,
        number: u64,
        record: Option<OutcallRecord>,
    ) -> Option<OutcallRecord> {
        match record {
            Some(record) => self.outcalls.insert(number, record),
            None => self.outcalls.remove(&number),
        }
    }

    /// Keeps a flush from committing that a request has its answer, which the end of the answer's turn does. Returns the
    /// request.
    pub(super) fn keep_answering(&mut self) -> Option<u64> {
        let (number, record) = self.answering.clone()?;
        self.replace_outcall(number, Some(record));
        Some(number)
    }

    pub(super) fn pending_outcalls(&self) -> Vec<PendingRequest> {
        let pending = |(number, record): (&u64, &OutcallRecord)| PendingRequest {
            id: id_of(*number),
            tag: record.tag.clone(),
            target: shown(&record.target),
            tries: 0,
        };
        self.outcalls.iter().map(pending).collect()
    }

    /// The requests to other servers that no answer was given to.
    pub(super) fn pending_fetches(&self) -> Vec<PendingFetch> {
        let fetch = |(number, record): (&u64, &OutcallRecord)| match &record.target {
            OutcallTarget::Fetch { request, options } => Some(PendingFetch {
                number: *number,
                tag: record.tag.clone(),
                request: request.clone(),
                options: options.clone(),
            }),
            OutcallTarget::Call { .. } | OutcallTarget::Request { .. } => None,
        };
        self.unanswered().filter_map(fetch).collect()
    }

    /// The calls of other rooms that no answer was given to.
    pub(super) fn pending_calls(&self) -> Vec<PendingCall> {
        let call = |(number, record): (&u64, &OutcallRecord)| {
            let (to, asked) = match &record.target {
                OutcallTarget::Fetch { .. } => return None,
                OutcallTarget::Call { to, data } => (to.clone(), CallPayload::Data(data.clone())),
                OutcallTarget::Request { to, request } => {
                    (to.clone(), CallPayload::Request(request.clone()))
                }
            };
            Some(PendingCall { number: *number, tag: record.tag.clone(), to, asked })
        };
        self.unanswered().filter_map(call).collect()
    }

    fn unanswered(&self) -> impl Iterator<Item = (&u64, &OutcallRecord)> {
        let is_answered = |number| self.answers.iter().any(|answer| answer.number == number);
        self.outcalls.iter().filter(move |(number, _)| !is_answered(**number))
    }

    /// The answer that is due first, if it is due by then. One whose request was given up is dropped.
    pub(super) fn due_answer(&mut self, until_ms: u64) -> Option<PendingAnswer> {
        let outcalls = &self.outcalls;
        self.answers.retain(|answer| outcalls.contains_key(&answer.number));
        let first = self.answers.iter().min_by_key(|answer| (answer.due_ms, answer.number));
        first.filter(|answer| answer.due_ms <= until_ms).cloned()
    }
}

fn shown(target: &OutcallTarget) -> String {
    match target {
        OutcallTarget::Fetch { request, .. } => {
            let uri = request.uri();
            let end = uri.find(['?', '#']).unwrap_or(uri.len());
            format!("{} {}", request.method(), &uri[..end])
        }
        OutcallTarget::Call { to, .. } => format!("call {}/{}", to.party, to.room),
        OutcallTarget::Request { to, request } => {
            format!("{} {}/{}", request.method(), to.party, to.room)
        }
    }
}
