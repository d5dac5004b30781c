//! The requests of one room whose responses are open. Owns the ways to their clients, and how long each may wait.
//!
//! Invariant: a response is open from the commit of the turn that left it open until that of the turn that completes
//! it, or until the room handles its early end. What a turn did to it leaves only through the gate. It does
//! not know HTTP, or when an output may leave.

use super::RoomError;
use super::mail::StreamGone;
use super::mailbox::Mailbox;
use super::outbox::{ConnectionKey, OutboxSender, Outboxes};
use super::responses::{OpenResponse, ResponseStart, RoomAnswer};
use super::turns::RoomParts;
use hashbrown::HashMap;
use room_core::event::{BodyDelivery, CloseFrame, Message, StreamEnd};
use room_core::id::{RequestId, SequenceNumber};
use room_core::limits::ms;
use room_core::turn::{
    Effects, OpenResponses, Output, OwnRequest, ResponseFinish, ResponsePhase, ResponseRest,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The code that ends the outbox of a complete response.
pub(super) const COMPLETE: u16 = 1000;

/// The open responses of a room.
pub(super) struct Exchanges {
    /// As turns see them; `None` if there are none.
    open: Option<Arc<OpenResponses>>,
    /// Those of complete responses stay as long as the gate holds outputs to them.
    routes: HashMap<RequestId, ResponseRoute>,
    /// The request in work.
    arrival: Option<Arrival>,
    /// No response is overdue before.
    next: Option<Instant>,
    parts: Arc<RoomParts>,
}

/// A request in work.
pub(super) enum Arrival {
    /// Its response is not left open so far.
    Waits(ArrivingRequest),
    /// Its response is open.
    LeftOpen(RequestId),
}

/// A request whose response may be left open.
pub(super) struct ArrivingRequest {
    pub(super) reply: oneshot::Sender<Result<RoomAnswer, RoomError>>,
    pub(super) body: BodyDelivery,
    /// The mailbox of the room, to which the client's end reports.
    pub(super) mailbox: Mailbox,
}

/// The way to the client of a request.
struct ResponseRoute {
    /// For the response or its beginning; `None` once it is sent.
    head: Option<oneshot::Sender<Result<ResponseStart, RoomError>>>,
    outbox: OutboxSender,
    mailbox: Mailbox,
    /// When the room last sent something, or received a piece of the body.
    active: Instant,
}

/// The open responses of a room as an operator sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamsSummary {
    /// Their number.
    pub count: usize,
    /// Bytes that wait for their clients.
    pub bytes: usize,
}

impl Exchanges {
    /// Returns a room's exchanges, none so far.
    pub(super) fn new(parts: Arc<RoomParts>) -> Self {
        Self { open: None, routes: HashMap::new(), arrival: None, next: None, parts }
    }

    /// Returns the open responses, for a turn to read.
    pub(super) fn open(&self) -> Option<Arc<OpenResponses>> {
        self.open.clone()
    }

    /// Returns true if no response is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none()
    }

    /// Returns how far a response is; `None` if it is not open.
    pub(super) fn phase(&self, id: RequestId) -> Option<ResponsePhase> {
        self.open.as_ref()?.get(&id).copied()
    }

    /// Takes a request whose turn is next.
    pub(super) fn arrive(&mut self, request: ArrivingRequest) {
        self.arrival = Some(Arrival::Waits(request));
    }

    /// Returns the request in work, for its turn. `number` is that of its event.
    pub(super) fn own(&self, number: SequenceNumber) -> Option<OwnRequest> {
        match &self.arrival {
            Some(Arrival::Waits(request)) => {
                Some(OwnRequest { id: RequestId(number), body: request.body })
            }
            _ => None,
        }
    }

    /// Returns what became of the request whose turn is over.
    pub(super) fn arrived(&mut self) -> Option<Arrival> {
        self.arrival.take()
    }

    /// Applies a committed turn's changes. This sends no client anything.
    pub(super) fn apply(&mut self, effects: &mut Effects) {
        for (id, phase) in std::mem::take(&mut effects.responses) {
            if !self.routes.contains_key(&id) {
                self.leave_open(id);
            }
            // The turn has dropped its reference by then, so nothing is copied.
            let open = Arc::make_mut(self.open.get_or_insert_default());
            match phase {
                Some(phase) => {
                    open.insert(id, phase);
                    self.wait_for(phase);
                }
                None => drop(open.remove(&id)),
            }
        }
        self.forget_none();
    }

    /// Leaves the response of the request in work open. Its client learns at once that it waits: that says nothing of
    /// what the turn did.
    fn leave_open(&mut self, id: RequestId) {
        let Some(Arrival::Waits(request)) = self.arrival.take() else { return };
        let ArrivingRequest { reply, body: _, mailbox } = request;
        let RoomParts { limits, metrics, bytes, .. } = &*self.parts;
        let outboxes = Outboxes::new(limits, metrics.clone(), bytes.clone());
        let (outbox, reader) = outboxes.open(ConnectionKey(0));
        let (head, started) = oneshot::channel();
        let open = OpenResponse::new((id, mailbox.clone()), started, (outboxes, reader));
        let active = Instant::now();
        self.routes.insert(id, ResponseRoute { head: Some(head), outbox, mailbox, active });
        self.arrival = Some(Arrival::LeftOpen(id));
        self.parts.metrics.streams_opened.increment(1);
        // If the client has left, the dropped response reports that to the room.
        drop(reply.send(Ok(RoomAnswer::Later(Box::new(open)))));
    }

    /// Takes an early end of a response. Returns false if it is not open.
    pub(super) fn close(&mut self, id: RequestId) -> bool {
        let Some(open) = &mut self.open else { return false };
        let closed = Arc::make_mut(open).remove(&id).is_some();
        self.forget_none();
        closed
    }

    fn forget_none(&mut self) {
        if self.open.as_ref().is_some_and(|open| open.is_empty()) {
            (self.open, self.next) = (None, None);
        }
    }

    // Outputs that the gate has released.

    /// Sends an output to its client. Other outputs are none of ours.
    pub(super) fn let_out(&mut self, output: Output) {
        match output {
            Output::Respond { to, response, rest } => {
                let Some(route) = self.routes.get_mut(&to) else { return };
                route.active = Instant::now();
                if let Some(head) = route.head.take() {
                    // A client that has left needs no answer.
                    drop(head.send(Ok(match rest {
                        ResponseRest::Nothing => ResponseStart::Whole(*response),
                        ResponseRest::Writes => ResponseStart::Stream(*response),
                    })));
                }
                if rest == ResponseRest::Nothing {
                    self.routes.remove(&to);
                }
            }
            Output::Write { to, piece } => {
                let Some(route) = self.routes.get_mut(&to) else { return };
                route.active = Instant::now();
                let was_over = route.outbox.is_over();
                route.outbox.send(&Message::Binary(piece));
                if !was_over && route.outbox.is_over() {
                    // A mailbox that has closed belongs to a room that ends all its responses.
                    drop(route.mailbox.push(StreamGone { id: to, end: StreamEnd::Slow }));
                }
            }
            Output::End { to, finish } => {
                // A route that is dropped as it is leaves its client with a part of the response.
                if let Some(route) = self.routes.remove(&to)
                    && finish == ResponseFinish::Complete
                {
                    route.outbox.close(CloseFrame::new(COMPLETE, ""));
                }
            }
            Output::Send { .. }
            | Output::Broadcast { .. }
            | Output::Fleeting(_)
            | Output::Close { .. } => {}
        }
    }

    /// Breaks off a response, after earlier outputs. The client gets the error if the response has not begun.
    pub(super) fn cut(&mut self, id: RequestId, error: &RoomError) {
        if let Some(route) = self.routes.remove(&id) {
            route.cut(error);
        }
    }

    /// Breaks off all responses.
    pub(super) fn cut_all(&mut self, error: &RoomError) {
        if let Some(Arrival::Waits(request)) = self.arrival.take() {
            drop(request.reply.send(Err(error.clone())));
        }
        (self.open, self.next) = (None, None);
        self.routes.drain().for_each(|(_, route)| route.cut(error));
    }

    // Time.

    /// Notes that a piece of a request's body came.
    pub(super) fn touch(&mut self, id: RequestId) {
        if let Some(route) = self.routes.get_mut(&id) {
            route.active = Instant::now();
        }
    }

    /// Returns when to look for overdue responses next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Returns true if it is time to look for overdue responses.
    pub(super) fn is_due(&self) -> bool {
        // A room without open responses reads no clock.
        self.next.is_some_and(|next| next <= Instant::now())
    }

    /// Returns the responses that are overdue, and when to look next.
    pub(super) fn overdue(&mut self) -> Vec<(RequestId, StreamEnd)> {
        let now = Instant::now();
        let (mut overdue, mut next) = (Vec::new(), None::<Instant>);
        for (id, phase) in self.open.iter().flat_map(|open| open.iter()) {
            let (end, patience) = self.patience(*phase);
            // A response without a route has ended, and its end waits in the mailbox.
            let Some(due) = self.routes.get(id).map(|route| route.active + patience) else {
                continue;
            };
            if due <= now {
                overdue.push((*id, end));
            } else {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        self.next = next;
        overdue
    }

    fn wait_for(&mut self, phase: ResponsePhase) {
        let due = Instant::now() + self.patience(phase).1;
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
    }

    fn patience(&self, phase: ResponsePhase) -> (StreamEnd, Duration) {
        let limits = &self.parts.limits;
        match phase {
            ResponsePhase::Waiting => (StreamEnd::Late, ms(limits.answer_later_ms_max)),
            ResponsePhase::Begun => (StreamEnd::Idle, ms(limits.stream_idle_ms_max)),
        }
    }

    /// Returns what an operator sees.
    pub(super) fn summary(&self) -> StreamsSummary {
        let count = self.open.as_ref().map_or(0, |open| open.len());
        let bytes = self.routes.values().map(|route| route.outbox.lag().1).sum();
        StreamsSummary { count, bytes }
    }
}

impl ResponseRoute {
    /// Ends it before the response is complete. A beginning that was sent is followed by nothing.
    fn cut(self, error: &RoomError) {
        if let Some(head) = self.head {
            // A client that has left needs no answer.
            drop(head.send(Err(error.clone())));
        }
    }
}
