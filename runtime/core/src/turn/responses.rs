//! The responses that a turn leaves open, begins, continues and ends. Owns the rules by which a guest may do so.
//!
//! Invariant: the guest reaches only responses that are open, and a turn that fails changes none. A response begins
//! once, and nothing follows its end. It does not know clients, or how long a response may stay open.

use super::{Output, Refusal, Turn};
use crate::event::{BodyDelivery, Message, Response};
use crate::id::RequestId;
use crate::limits::size;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far an open response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResponsePhase {
    /// Its client has nothing yet.
    Waiting,
    /// Its head is sent, and more follows.
    Begun,
}

/// The open responses of a room.
pub type OpenResponses = BTreeMap<RequestId, ResponsePhase>;

/// What follows the response that an output carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResponseRest {
    /// Nothing: it is whole.
    Nothing,
    /// Writes, until the response ends.
    Writes,
}

/// What the client of a response learns at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResponseFinish {
    /// It is complete.
    Complete,
    /// It is not: the room gave it up.
    BrokenOff,
}

/// The request that the running `on_request` handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRequest {
    /// Its id.
    pub id: RequestId,
    /// Whether pieces of its body follow.
    pub body: BodyDelivery,
}

/// The open responses of a room as one turn sees them.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct TurnResponses {
    /// Those before the turn; `None` if there are none.
    open: Option<Arc<OpenResponses>>,
    own: Option<OwnRequest>,
}

impl Turn {
    /// Gives the turn its room's open responses.
    #[must_use]
    #[inline]
    pub fn with_responses(mut self, open: Option<Arc<OpenResponses>>) -> Self {
        self.responses.open = open;
        self
    }

    /// Makes it the turn of a request's own event.
    #[must_use]
    pub fn for_request(mut self, own: Option<OwnRequest>) -> Self {
        self.responses.own = own;
        self
    }

    /// Returns the request that the event is about.
    pub fn own_request(&self) -> Option<OwnRequest> {
        self.responses.own
    }

    /// Returns true if a later turn completes the response to the turn's own request.
    pub fn is_deferred(&self) -> bool {
        let Some(own) = self.responses.own else { return false };
        self.effects.responses.contains_key(&own.id)
            || self.responses.open.as_ref().is_some_and(|open| open.contains_key(&own.id))
    }

    /// Returns the ids of the open responses, in the order of their requests.
    pub fn open_responses(&self) -> Vec<RequestId> {
        let before = self.responses.open.iter().flat_map(|open| open.keys().copied());
        let mut ids: Vec<_> = before.chain(self.effects.responses.keys().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| self.phase(*id).is_some());
        ids
    }

    /// Leaves the response to the turn's own request to a later turn. The second time in one turn changes nothing.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] if the event is not a client's request; [`Refusal::UsedUp`] if as many are open as allowed.
    pub fn defer(&mut self) -> Result<RequestId, Refusal> {
        let Some(own) = self.responses.own else {
            // The answer to another room is stored with the turn that gives it.
            let why =
                "a response is left open in the on_request of a client's request, and nowhere else";
            return Err(Refusal::Invalid(why.to_owned()));
        };
        if self.is_deferred() {
            return Ok(own.id);
        }
        let before = self.responses.open.as_ref().map_or(0, |open| open.len());
        if before >= size(self.limits.streams_max) {
            return Err(Refusal::UsedUp("streams_max"));
        }
        self.effects.responses.insert(own.id, Some(ResponsePhase::Waiting));
        Ok(own.id)
    }

    /// Answers a request whose response is open: the whole response, or its beginning.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if it is not open; [`Refusal::Invalid`] if it has begun, or is no valid response;
    /// [`Refusal::UsedUp`].
    pub fn respond(
        &mut self,
        id: &str,
        response: Response,
        rest: ResponseRest,
    ) -> Result<(), Refusal> {
        let to = self.open_response(id)?;
        if self.phase(to) != Some(ResponsePhase::Waiting) {
            return Err(Refusal::Invalid(format!("the response to request {to} has begun")));
        }
        if let Some(problem) = response.problem(self.limits.response_bytes_max) {
            return Err(Refusal::Invalid(problem));
        }
        self.count_output()?;
        self.count_sent(response.body.len())?;
        let phase = match rest {
            ResponseRest::Nothing => None,
            ResponseRest::Writes => Some(ResponsePhase::Begun),
        };
        self.effects.responses.insert(to, phase);
        self.effects.outputs.push(Output::Respond { to, response: Box::new(response), rest });
        Ok(())
    }

    /// Writes to a response that is open. What is written before the response begins follows its beginning.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::TooLarge`], [`Refusal::UsedUp`].
    pub fn write_response(&mut self, id: &str, piece: Bytes) -> Result<(), Refusal> {
        let to = self.open_response(id)?;
        self.admit(&Message::Binary(piece.clone()))?;
        self.effects.outputs.push(Output::Write { to, piece });
        Ok(())
    }

    /// Ends a response that has begun.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Invalid`] if it has not begun; [`Refusal::UsedUp`].
    pub fn end_response(&mut self, id: &str, finish: ResponseFinish) -> Result<(), Refusal> {
        let to = self.open_response(id)?;
        if self.phase(to) == Some(ResponsePhase::Waiting) {
            let why = format!("the response to request {to} has not begun, so it cannot end");
            return Err(Refusal::Invalid(why));
        }
        self.count_output()?;
        self.effects.responses.insert(to, None);
        self.effects.outputs.push(Output::End { to, finish });
        Ok(())
    }

    fn open_response(&self, id: &str) -> Result<RequestId, Refusal> {
        let id = RequestId::parse(id).filter(|id| self.phase(*id).is_some());
        id.ok_or(Refusal::NotFound)
    }

    /// Returns how far a response is as this turn sees it; `None` if it is not open.
    fn phase(&self, id: RequestId) -> Option<ResponsePhase> {
        match self.effects.responses.get(&id) {
            Some(changed) => *changed,
            None => self.responses.open.as_ref()?.get(&id).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::EmptyView;
    use super::*;
    use crate::id::SequenceNumber;
    use crate::limits::Limits;

    fn id(seq: u64) -> RequestId {
        RequestId(SequenceNumber { epoch: 1, seq })
    }

    fn turn(own: Option<u64>, open: &[(u64, ResponsePhase)]) -> Turn {
        let limits = Limits { streams_max: 2, room_message_bytes_max: 4, ..Limits::default() };
        let open: OpenResponses = open.iter().map(|(seq, phase)| (id(*seq), *phase)).collect();
        let own = own.map(|seq| OwnRequest { id: id(seq), body: BodyDelivery::Whole });
        Turn::new(Arc::new(EmptyView), Arc::default(), None, Arc::new(limits))
            .with_responses((!open.is_empty()).then(|| Arc::new(open)))
            .for_request(own)
    }

    fn head(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: Bytes::new() }
    }

    #[test]
    fn a_response_begins_once_and_nothing_follows_its_end() {
        let mut turn = turn(Some(3), &[]);
        assert!(!turn.is_deferred());
        assert_eq!(turn.write_response("1-3", Bytes::new()), Err(Refusal::NotFound));
        assert_eq!((turn.defer(), turn.defer()), (Ok(id(3)), Ok(id(3))));
        assert!(turn.is_deferred());
        // What is written waits for the beginning.
        assert_eq!(turn.write_response("1-3", Bytes::from_static(b"one")), Ok(()));
        assert!(matches!(
            turn.end_response("1-3", ResponseFinish::BrokenOff),
            Err(Refusal::Invalid(_))
        ));
        assert!(matches!(
            turn.respond("1-3", head(99), ResponseRest::Writes),
            Err(Refusal::Invalid(_))
        ));
        assert_eq!(turn.respond("1-3", head(200), ResponseRest::Writes), Ok(()));
        assert!(matches!(
            turn.respond("1-3", head(200), ResponseRest::Nothing),
            Err(Refusal::Invalid(_))
        ));
        assert_eq!(
            turn.write_response("1-3", Bytes::from_static(b"large")),
            Err(Refusal::TooLarge(4))
        );
        assert_eq!(turn.open_responses(), [id(3)]);
        assert_eq!(turn.end_response("1-3", ResponseFinish::Complete), Ok(()));
        assert_eq!(turn.write_response("1-3", Bytes::new()), Err(Refusal::NotFound));
        assert!(turn.open_responses().is_empty() && turn.is_deferred());
        let effects = turn.finish().unwrap();
        assert_eq!((effects.outputs.len(), effects.responses), (3, [(id(3), None)].into()));
    }

    #[test]
    fn a_later_turn_reaches_open_responses_and_no_others() {
        let open = [(3, ResponsePhase::Waiting), (5, ResponsePhase::Begun)];
        let mut turn = turn(None, &open);
        assert!(matches!(turn.defer(), Err(Refusal::Invalid(_))));
        assert_eq!(turn.respond("1-3", head(200), ResponseRest::Nothing), Ok(()));
        assert_eq!(turn.write_response("1-5", Bytes::new()), Ok(()));
        for other in ["1-3", "1-4", "2-5", "", "x"] {
            assert_eq!(turn.write_response(other, Bytes::new()), Err(Refusal::NotFound), "{other}");
        }
        assert_eq!(turn.open_responses(), [id(5)]);
    }

    #[test]
    fn open_responses_are_bounded_by_name() {
        let open = [(3, ResponsePhase::Waiting), (5, ResponsePhase::Begun)];
        assert_eq!(turn(Some(7), &open).defer(), Err(Refusal::UsedUp("streams_max")));
        assert_eq!(turn(Some(7), &open[..1]).defer(), Ok(id(7)));
    }

    #[test]
    fn a_savepoint_undoes_what_happened_to_responses() {
        let mut turn = turn(Some(7), &[(5, ResponsePhase::Begun)]);
        let mark = turn.savepoint().unwrap();
        turn.defer().unwrap();
        turn.write_response("1-5", Bytes::new()).unwrap();
        turn.end_response("1-5", ResponseFinish::Complete).unwrap();
        turn.roll_back(mark).unwrap();
        assert!(!turn.is_deferred());
        assert_eq!(turn.open_responses(), [id(5)]);
        let effects = turn.finish().unwrap();
        assert!(effects.outputs.is_empty() && effects.responses.is_empty());
    }
}
