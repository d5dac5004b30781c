//! Requests, and what happens to them after their own turn. Owns the order in which the room, its guest and the client
//! learn of it.
//!
//! Invariant: the guest gets the end of each open response that it did not complete, once, and no piece of a body after
//! that. It does not know HTTP.

use super::super::RoomError;
use super::super::exchanges::{Arrival, ArrivingRequest};
use super::super::handle::IncomingRequest;
use super::super::mail::PieceMail;
use super::super::outlet::{DueOutputs, Reply};
use super::super::responses::{PieceVerdict, RoomAnswer};
use super::Actor;
use room_core::event::{BodyDelivery, BodyPiece, Event, GuestAnswer, StreamEnd};
use room_core::id::RequestId;
use room_core::metrics::StreamCut;
use room_core::report;
use room_core::turn::ResponsePhase;
use room_guest::GuestFault;
use room_store::StoreError;
use tokio::sync::oneshot;
use tokio::time::Instant;

impl Actor {
    /// Handles a request. Its response comes with this turn, or with later ones.
    pub(super) async fn request(
        &mut self,
        IncomingRequest { request, identity }: IncomingRequest,
        body: BodyDelivery,
        reply: oneshot::Sender<Result<RoomAnswer, RoomError>>,
    ) -> Result<(), StoreError> {
        let mailbox = self.mailbox.clone();
        self.turns.outlet.exchanges.arrive(ArrivingRequest { reply, body, mailbox });
        let outcome = self.turn(&Event::Request(request, identity), None).await?;
        match (outcome, self.turns.outlet.exchanges.arrived()) {
            (Ok(mut turn), Some(Arrival::Waits(ArrivingRequest { reply, .. }))) => {
                let reply = match std::mem::replace(&mut turn.answer, GuestAnswer::Done) {
                    GuestAnswer::Response(response) | GuestAnswer::Refused(response) => {
                        let answer = RoomAnswer::Whole(response);
                        Reply::Response(DueOutputs::new(reply, Ok(answer)))
                    }
                    GuestAnswer::Done
                    | GuestAnswer::Tags(_)
                    | GuestAnswer::Returned(_)
                    | GuestAnswer::Later => Reply::Nobody,
                };
                self.turns.hold(turn, reply);
            }
            (Err(error), Some(Arrival::Waits(ArrivingRequest { reply, .. }))) => {
                self.refuse(Reply::Response(DueOutputs::new(reply, Err(error))));
            }
            // A flush has left the response open, and the rest of the callback failed.
            (Err(error), Some(Arrival::LeftOpen(id))) => {
                self.close_stream(id, StreamEnd::Failed, error).await?;
            }
            (Ok(turn), Some(Arrival::LeftOpen(id))) => {
                let refused = matches!(turn.answer, GuestAnswer::Refused(_));
                self.turns.hold(turn, Reply::Nobody);
                if refused {
                    let fault = GuestFault::Rejected("a response that is open".to_owned());
                    self.close_stream(id, StreamEnd::Failed, fault.into()).await?;
                }
            }
            (Ok(turn), None) => self.turns.hold(turn, Reply::Nobody),
            (Err(_), None) => {}
        }
        Ok(())
    }

    /// Handles a piece of a request's body.
    pub(super) async fn piece(&mut self, mail: PieceMail) -> Result<(), StoreError> {
        let PieceMail { id, piece, taken } = mail;
        let verdict = self.take_piece(id, piece).await?;
        // A client that has left sends no other piece.
        let _left = taken.send(verdict);
        Ok(())
    }

    async fn take_piece(
        &mut self,
        id: RequestId,
        piece: BodyPiece,
    ) -> Result<PieceVerdict, StoreError> {
        if self.turns.outlet.exchanges.phase(id).is_none() {
            return Ok(PieceVerdict::Unwanted);
        }
        let fault = match piece {
            BodyPiece::Failed(fault) => Some(fault),
            BodyPiece::More(_) | BodyPiece::Last(_) => None,
        };
        match self.turn(&Event::Body { id, piece }, None).await? {
            Ok(turn) => self.turns.hold(turn, Reply::Nobody),
            Err(error) => {
                self.close_stream(id, StreamEnd::Failed, error).await?;
                return Ok(PieceVerdict::Unwanted);
            }
        }
        self.turns.outlet.exchanges.touch(id);
        let waits = self.turns.outlet.exchanges.phase(id) == Some(ResponsePhase::Waiting);
        if let Some(fault) = fault
            && waits
        {
            self.close_stream(id, StreamEnd::Failed, RoomError::Body(fault)).await?;
        }
        Ok(PieceVerdict::Taken)
    }

    /// Ends a response that the room has not completed, unless that was done already: its client gets the error if the
    /// response has not begun, and the guest gets the end.
    pub(super) async fn close_stream(
        &mut self,
        id: RequestId,
        end: StreamEnd,
        error: RoomError,
    ) -> Result<(), StoreError> {
        if !self.turns.outlet.exchanges.close(id) {
            return Ok(());
        }
        self.turns.parts.metrics.streams_cut.count(cut(end));
        report!(debug, self.turns.log(), [], "the response to request {id} ended: {}", end.name());
        self.turns.outlet.answer(None, Reply::Cut(id, error));
        self.tell_stream_end(id, end).await
    }

    /// Delivers the end of a response to the guest. If that is impossible now, keeps it for later.
    pub(super) async fn tell_stream_end(
        &mut self,
        id: RequestId,
        end: StreamEnd,
    ) -> Result<(), StoreError> {
        match self.turn(&Event::StreamClose { id, end }, None).await? {
            Ok(turn) => self.turns.hold(turn, Reply::Nobody),
            Err(RoomError::Guest(_)) => {}
            Err(_) => self.unheard_streams.push((id, end)),
        }
        Ok(())
    }

    /// Ends the responses for which the room took too long.
    pub(super) async fn cut_overdue(&mut self) -> Result<(), StoreError> {
        for (id, end) in self.turns.outlet.exchanges.overdue() {
            self.close_stream(id, end, RoomError::TimedOut).await?;
        }
        // The next event tries to start the guest again.
        self.failed_start = None;
        self.last_event = Instant::now();
        self.turns.release()
    }
}

fn cut(end: StreamEnd) -> StreamCut {
    match end {
        StreamEnd::Left => StreamCut::Left,
        StreamEnd::Slow => StreamCut::Slow,
        StreamEnd::Idle => StreamCut::Idle,
        StreamEnd::Late => StreamCut::Late,
        StreamEnd::Failed => StreamCut::Failed,
    }
}
