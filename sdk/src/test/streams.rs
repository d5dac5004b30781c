//! The open responses of a room under test, and what their clients got.
//!
//! Owns the rules by which a room begins, continues and ends them. Invariant: plain data; the journal of the turn undoes
//! its changes, and a client gets nothing before its turn commits. It does not know callbacks.

use std::collections::{BTreeMap, VecDeque};

use super::limits;
use super::turn::{Output, Undo};
use super::world::World;
use crate::error::{ConnectionError, StreamError};
use crate::http::{Header, Response, Rest};
use crate::message::Message;
use crate::stream::StreamEnd;

/// The responses of a room, by the numbers of their requests.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// How many requests there were: the number of the last one.
    made: u64,
    /// The request that the running `on_request` handles, and whether its body follows.
    pub(super) own: Option<(u64, bool)>,
    open: BTreeMap<u64, OpenResponse>,
    clients: BTreeMap<u64, Received>,
    /// Responses that ended early and whose `on_stream_close` is still to run.
    pub(super) ended: VecDeque<(u64, StreamEnd)>,
}

/// A response that is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenResponse {
    begun: bool,
    /// When the room last sent something of it, or got a piece of the request's body.
    active_ms: u64,
}

/// What the client of a request got.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// The response, without what was written to it.
    pub(super) head: Option<Response>,
    /// What was written to it and was not taken yet, the head's body included.
    pub(super) body: Vec<u8>,
    pub(super) end: Option<ClientEnd>,
    /// What the hook adds to the head of the room's response.
    pub(super) added: Vec<Header>,
}

/// How a response ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientEnd {
    Complete,
    BrokenOff,
}

/// The id of the request with this number, in the form that the runtime gives it.
pub(super) fn id(number: u64) -> String {
    format!("1-{number}")
}

impl Streams {
    /// A new request; returns its number.
    pub(super) fn arrive(&mut self, body_follows: bool) -> u64 {
        self.made += 1;
        self.own = Some((self.made, body_follows));
        self.clients.insert(self.made, Received::default());
        self.made
    }

    pub(super) fn client(&mut self, number: u64) -> &mut Received {
        self.clients.entry(number).or_default()
    }

    /// The response with what the hook adds to it.
    pub(super) fn with_added(&mut self, number: u64, mut response: Response) -> Response {
        let client = self.clients.get_mut(&number);
        let added = client.map(|client| std::mem::take(&mut client.added));
        response.headers.extend(added.unwrap_or_default());
        response
    }

    pub(super) fn is_open(&self, number: u64) -> bool {
        self.open.contains_key(&number)
    }

    /// True if the response to this request was left open: it is, or its client got something of it.
    pub(super) fn is_deferred(&self, number: u64) -> bool {
        let got = self.clients.get(&number);
        self.is_open(number)
            || got
                .is_some_and(|got| got.head.is_some() || !got.body.is_empty() || got.end.is_some())
    }

    /// True if the client waits for a response that has not begun.
    pub(super) fn waits(&self, number: u64) -> bool {
        self.open.get(&number).is_some_and(|open| !open.begun)
    }

    pub(super) fn set(&mut self, number: u64, open: Option<OpenResponse>) -> Option<OpenResponse> {
        match open {
            Some(open) => self.open.insert(number, open),
            None => self.open.remove(&number),
        }
    }

    /// The ids of the open ones.
    pub(super) fn ids(&self) -> Vec<String> {
        self.open.keys().map(|number| id(*number)).collect()
    }

    /// Notes that a piece of the body of a request came.
    pub(super) fn touch(&mut self, number: u64, now_ms: u64) {
        if let Some(open) = self.open.get_mut(&number) {
            open.active_ms = now_ms;
        }
    }

    /// Ends a response early. Its client gets `otherwise` if it has not begun.
    pub(super) fn cut(&mut self, number: u64, end: StreamEnd, otherwise: Option<Response>) {
        if self.open.remove(&number).is_none() {
            return;
        }
        self.ended.push_back((number, end));
        let client = self.client(number);
        match otherwise.filter(|_| client.head.is_none()) {
            Some(response) => client.answer(response),
            None => client.end = Some(ClientEnd::BrokenOff),
        }
    }

    /// Breaks off all open responses. The room does not hear of it.
    pub(super) fn break_off(&mut self) {
        for number in std::mem::take(&mut self.open).into_keys() {
            self.client(number).end = Some(ClientEnd::BrokenOff);
        }
        self.ended.clear();
    }

    /// When the first open response is overdue.
    pub(super) fn due(&self) -> Option<u64> {
        self.open.values().map(OpenResponse::due_ms).min()
    }

    /// The response that is overdue, and why.
    pub(super) fn overdue(&self, now_ms: u64) -> Option<(u64, StreamEnd)> {
        let overdue = self.open.iter().find(|(_, open)| open.due_ms() <= now_ms);
        overdue.map(|(number, open)| {
            (*number, if open.begun { StreamEnd::Idle } else { StreamEnd::Late })
        })
    }

    /// Sends what a turn did.
    pub(super) fn let_out(&mut self, output: StreamOutput) {
        match output {
            StreamOutput::Respond { number, response } => {
                let response = self.with_added(number, response);
                let client = self.client(number);
                match response.rest {
                    Rest::Nothing => client.answer(response),
                    _ => {
                        // What was written before follows the head's own body.
                        let written = std::mem::take(&mut client.body);
                        client.body = [response.body.clone(), written].concat();
                        client.head = Some(response);
                    }
                }
            }
            StreamOutput::Write { number, bytes } => {
                let client = self.client(number);
                if client.end.is_none() {
                    client.body.extend(bytes);
                }
            }
            StreamOutput::End { number, end } => {
                self.client(number).end.get_or_insert(end);
            }
        }
    }
}

/// What a turn does to a response.
#[derive(Debug)]
pub(super) enum StreamOutput {
    Respond { number: u64, response: Response },
    Write { number: u64, bytes: Vec<u8> },
    End { number: u64, end: ClientEnd },
}

impl OpenResponse {
    fn due_ms(&self) -> u64 {
        let patience_ms =
            if self.begun { limits::STREAM_IDLE_MS_MAX } else { limits::ANSWER_LATER_MS_MAX };
        self.active_ms.saturating_add(patience_ms)
    }
}

impl Received {
    /// Gets a whole response.
    pub(super) fn answer(&mut self, response: Response) {
        self.body = response.body.clone();
        self.head = Some(response);
        self.end = Some(ClientEnd::Complete);
    }
}

impl World {
    pub(super) fn defer(&mut self) -> Result<String, StreamError> {
        self.turn_mut();
        let Some((number, _)) = self.streams.own else {
            let why =
                "a response is left open in the on_request of a client's request, and nowhere else";
            return Err(StreamError::Invalid(why.to_owned()));
        };
        if !self.streams.is_open(number) {
            if self.streams.open.len() >= limits::STREAMS_MAX {
                let (limit, max) = ("streams_max".to_owned(), limits::STREAMS_MAX as u64);
                return Err(StreamError::TooMany { limit, max });
            }
            self.set_stream(number, Some(OpenResponse { begun: false, active_ms: self.now_ms }));
        }
        Ok(id(number))
    }

    /// Answers an open response, or begins it.
    pub(super) fn respond(&mut self, id: &str, response: Response) -> Result<(), StreamError> {
        let (number, open) = self.open_response(id)?;
        if open.begun {
            return Err(StreamError::Invalid(format!("the response to request {id} has begun")));
        }
        let whole = Response { rest: Rest::Nothing, ..response.clone() };
        limits::check_response(&whole).map_err(StreamError::Invalid)?;
        self.count_sent(response.body.len())?;
        let begun = OpenResponse { begun: true, active_ms: self.now_ms };
        self.set_stream(number, (response.rest != Rest::Nothing).then_some(begun));
        self.put_out(StreamOutput::Respond { number, response });
        Ok(())
    }

    pub(super) fn write_stream(&mut self, id: &str, bytes: &[u8]) -> Result<(), StreamError> {
        let (number, open) = self.open_response(id)?;
        limits::check_message(&Message::Binary(bytes.to_vec())).map_err(refusal)?;
        self.count_sent(bytes.len())?;
        self.set_stream(number, Some(OpenResponse { active_ms: self.now_ms, ..open }));
        self.put_out(StreamOutput::Write { number, bytes: bytes.to_vec() });
        Ok(())
    }

    pub(super) fn end_stream(&mut self, id: &str, end: ClientEnd) -> Result<(), StreamError> {
        let (number, open) = self.open_response(id)?;
        if !open.begun {
            let why = format!("the response to request {id} has not begun, so it cannot end");
            return Err(StreamError::Invalid(why));
        }
        self.count_sent(0)?;
        self.set_stream(number, None);
        self.put_out(StreamOutput::End { number, end });
        Ok(())
    }

    fn open_response(&mut self, wanted: &str) -> Result<(u64, OpenResponse), StreamError> {
        self.turn_mut();
        let found = self.streams.open.iter().find(|(number, _)| id(**number) == wanted);
        found.map(|(number, open)| (*number, *open)).ok_or(StreamError::NotFound)
    }

    fn set_stream(&mut self, number: u64, open: Option<OpenResponse>) {
        let old = self.streams.set(number, open);
        self.turn_mut().journal.push(Undo::Stream { number, old });
    }

    fn put_out(&mut self, output: StreamOutput) {
        self.turn_mut().outputs.push(Output::Stream(output));
    }

    fn count_sent(&mut self, bytes: usize) -> Result<(), StreamError> {
        self.count_bytes(bytes).map_err(refusal)
    }
}

/// The refusal of a send as one of a write.
fn refusal(error: ConnectionError) -> StreamError {
    match error {
        ConnectionError::MessageTooLarge(max) => StreamError::TooLarge(max),
        ConnectionError::TooManySends { limit, max } => StreamError::TooMany { limit, max },
        other => StreamError::Invalid(other.to_string()),
    }
}
