//! A plain WebSocket, as browsers and `partysocket` speak it: one connection to one room, whose messages are the
//! frames. Owns how such a connection ends.
//!
//! Invariant: the end is reported to the room once, whichever side ends the connection. A client that breaks the
//! protocol receives the answers to its earlier messages, as far as they come in time, and then the reason for the end.
//! Nothing is written after a close frame. It does not know sockets or timers.

use super::pulse::{Pulse, PulseAct};
use super::{
    Carrier, CarrierAct, ClientInput, Farewell, OutgoingFrame, SocketFault, WireEnd, WrittenFrame,
    ids,
};
use room_auth::AuthError;
use room_core::event::{CloseFrame, CloseHandshake, Ending, Message};
use room_core::limits::{Limits, ms};
use room_rooms::room::{ConnectionKey, OutboxItem};
use std::time::Duration;
use tokio::time::Instant;

/// The connection of a plain WebSocket.
pub(crate) struct PartySocket {
    form: MessageForm,
    stage: ConnectionStage,
    pulse: Pulse,
    stop_at: Option<Instant>,
    /// When the client's token ends.
    end: Option<Instant>,
    close_max: Duration,
}

/// What the frames of messages to the client are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageForm {
    /// The messages themselves.
    Plain,
    /// The subprotocol `room.ids`.
    WithIds,
}

/// The stage of a connection.
enum ConnectionStage {
    Open,
    /// The client broke the protocol, and receives the answers to its earlier messages.
    Failing {
        /// The close frame that it receives last.
        verdict: CloseFrame,
        /// Until when the room may answer; `None` if its answers are not waited for any more.
        answers: Option<Instant>,
        /// When the driver stops waiting for the client.
        end: Instant,
    },
    /// A close frame is being written.
    Closing(Closing),
    /// Our close frame is written, and the client may answer it until this time.
    Closed(Instant),
    Over,
}

/// Why a close frame is being written.
enum Closing {
    /// The connection ends regularly: the client is expected to answer.
    Goodbye,
    /// The client broke the protocol. Until this time it may read the frame; its answer is not awaited.
    Fault(Instant),
}

/// What a client still receives when the server ends its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RemainingOutput {
    /// The answers to all its messages.
    AllAnswers,
    /// The answers that are ready.
    ReadyAnswers,
}

impl PartySocket {
    /// The key of its one connection.
    pub(crate) const KEY: ConnectionKey = ConnectionKey(0);

    /// Starts a connection that a room has admitted. It is closed at `end`, when the client's token ends.
    pub(crate) fn new(
        form: MessageForm,
        limits: &Limits,
        now: Instant,
        end: Option<Instant>,
    ) -> Self {
        let (stage, pulse) = (ConnectionStage::Open, Pulse::new(limits, now));
        Self { form, stage, pulse, stop_at: None, end, close_max: ms(limits.close_ms_max) }
    }

    /// Returns true as long as neither side ends the connection.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, ConnectionStage::Open)
    }

    /// Returns true if the client broke the protocol, and still receives the answers to its earlier messages.
    pub(super) fn is_failing(&self) -> bool {
        matches!(self.stage, ConnectionStage::Failing { .. })
    }

    /// Returns true if messages may be written.
    pub(super) fn writes(&self) -> bool {
        self.is_open() || self.is_failing()
    }

    /// Fails the connection: RFC 6455 section 7.1.7.
    fn fail(
        &mut self,
        fault: SocketFault,
        before: RemainingOutput,
        now: Instant,
        acts: &mut Vec<CarrierAct>,
    ) {
        let SocketFault { frame, error } = fault;
        let ending = Ending { frame: frame.clone(), handshake: CloseHandshake::Missing };
        let reports = [CarrierAct::Report(Self::KEY, error), CarrierAct::Leave(Self::KEY, ending)];
        let end = match before {
            RemainingOutput::AllAnswers => now + 2 * self.close_max,
            RemainingOutput::ReadyAnswers => now + self.close_max,
        };
        match self.stage {
            ConnectionStage::Open => {
                acts.extend(reports);
                let answers = (before == RemainingOutput::AllAnswers).then(|| now + self.close_max);
                if answers.is_none() {
                    acts.push(CarrierAct::End(Self::KEY, frame.clone()));
                }
                self.stage = ConnectionStage::Failing { verdict: frame, answers, end };
            }
            ConnectionStage::Closing(Closing::Goodbye) => {
                acts.extend(reports);
                self.stage = ConnectionStage::Closing(Closing::Fault(end));
            }
            // Nothing follows the close frame, so the connection is shut down.
            ConnectionStage::Closed(_) => {
                acts.push(CarrierAct::Leave(Self::KEY, Ending::broken_off()));
                self.hang_up(Farewell::ShutDown, acts);
            }
            ConnectionStage::Failing { .. }
            | ConnectionStage::Closing(Closing::Fault(_))
            | ConnectionStage::Over => {}
        }
    }

    /// Ends the connection because the client is gone.
    fn lose(&mut self, acts: &mut Vec<CarrierAct>) {
        match self.stage {
            ConnectionStage::Over => return,
            ConnectionStage::Failing { .. } | ConnectionStage::Closing(Closing::Fault(_)) => {}
            ConnectionStage::Open
            | ConnectionStage::Closing(Closing::Goodbye)
            | ConnectionStage::Closed(_) => {
                acts.push(CarrierAct::Leave(Self::KEY, Ending::broken_off()));
            }
        }
        self.hang_up(Farewell::Drop, acts);
    }

    fn hang_up(&mut self, farewell: Farewell, acts: &mut Vec<CarrierAct>) {
        self.stage = ConnectionStage::Over;
        acts.push(CarrierAct::HangUp(farewell));
    }

    /// Returns the close frame to write if the connection ends with `frame`, or `None` if one is being written already.
    fn close(&mut self, frame: CloseFrame) -> Option<CloseFrame> {
        let (frame, closing) = match std::mem::replace(&mut self.stage, ConnectionStage::Over) {
            ConnectionStage::Open => (frame, Closing::Goodbye),
            ConnectionStage::Failing { verdict, end, .. } => (verdict, Closing::Fault(end)),
            stage @ (ConnectionStage::Closing(_)
            | ConnectionStage::Closed(_)
            | ConnectionStage::Over) => {
                self.stage = stage;
                return None;
            }
        };
        self.stage = ConnectionStage::Closing(closing);
        Some(frame)
    }
}

impl Carrier for PartySocket {
    fn heard(&mut self, heard: ClientInput) -> Option<(ConnectionKey, Message)> {
        self.pulse.heard();
        match heard {
            // The room gets what the client sent before it read the room's goodbye.
            ClientInput::Message(message) if self.listens() => Some((Self::KEY, message)),
            ClientInput::Message(_) | ClientInput::SignOfLife => None,
        }
    }

    fn refused(&mut self, _key: ConnectionKey, now: Instant, acts: &mut Vec<CarrierAct>) {
        let error = "the room did not take a message in time".to_owned();
        let frame = CloseFrame::new(1013, "the room is busy");
        self.fail(SocketFault { frame, error }, RemainingOutput::ReadyAnswers, now, acts);
    }

    fn forbidden(&mut self, _key: ConnectionKey, now: Instant, acts: &mut Vec<CarrierAct>) {
        let error = AuthError::Forbidden("sending").to_string();
        let frame = CloseFrame::new(4403, &error);
        self.fail(SocketFault { frame, error }, RemainingOutput::ReadyAnswers, now, acts);
    }

    fn ended(&mut self, end: WireEnd, now: Instant, acts: &mut Vec<CarrierAct>) {
        match end {
            WireEnd::Closed(frame) if self.listens() => {
                acts.push(CarrierAct::Leave(
                    Self::KEY,
                    Ending { frame, handshake: CloseHandshake::Clean },
                ));
                self.hang_up(Farewell::Reply, acts);
            }
            WireEnd::Closed(_) => {}
            WireEnd::Fault(fault) => self.fail(fault, RemainingOutput::AllAnswers, now, acts),
            WireEnd::Lost => self.lose(acts),
        }
    }

    fn listens(&self) -> bool {
        matches!(
            self.stage,
            ConnectionStage::Open
                | ConnectionStage::Closing(Closing::Goodbye)
                | ConnectionStage::Closed(_)
        )
    }

    fn said(&mut self, _key: ConnectionKey, said: OutboxItem, frames: &mut Vec<OutgoingFrame>) {
        let message = match (said, self.form) {
            (OutboxItem::Message(message), MessageForm::Plain) => Ok(message),
            (OutboxItem::Message(message), MessageForm::WithIds) => Ok(ids::unnumbered(&message)),
            (OutboxItem::Entry(entry), MessageForm::Plain) => Ok(entry.message().clone()),
            (OutboxItem::Entry(entry), MessageForm::WithIds) => Ok(ids::entry(&entry)),
            (OutboxItem::Presence(event), _) => Ok(ids::presence(&event)),
            (OutboxItem::Welcome(welcome), MessageForm::WithIds) => Ok(ids::welcome(&welcome)),
            // Its client asks for no acknowledgement.
            (OutboxItem::Welcome(_), MessageForm::Plain) | (OutboxItem::Ack(_), _) => return,
            (OutboxItem::Goodbye(frame), _) => Err(frame),
            (OutboxItem::Overflow, _) => Err(CloseFrame::new(1013, "too slow: the outbox is full")),
        };
        match message {
            Ok(message) => {
                if self.writes() {
                    frames.push(OutgoingFrame::Message(message));
                }
            }
            Err(last) => frames.extend(self.close(last).map(OutgoingFrame::Close)),
        }
    }

    fn written(&mut self, written: WrittenFrame, now: Instant, acts: &mut Vec<CarrierAct>) {
        match (written, &self.stage) {
            (WrittenFrame::Ping, _) => self.pulse.pinged(now),
            (WrittenFrame::Close, ConnectionStage::Closing(Closing::Goodbye)) => {
                self.stage = ConnectionStage::Closed(now + self.close_max);
            }
            (WrittenFrame::Close, ConnectionStage::Closing(Closing::Fault(_))) => {
                self.hang_up(Farewell::ShutDown, acts);
            }
            (WrittenFrame::Close, _) => {}
        }
    }

    fn stop(&mut self, at: Instant) {
        self.stop_at = Some(at);
    }

    fn due(&self) -> Option<Instant> {
        let end = match &self.stage {
            ConnectionStage::Open | ConnectionStage::Closing(Closing::Goodbye) => None,
            ConnectionStage::Failing { answers, end, .. } => Some(answers.unwrap_or(*end)),
            ConnectionStage::Closing(Closing::Fault(end)) | ConnectionStage::Closed(end) => {
                Some(*end)
            }
            ConnectionStage::Over => return None,
        };
        [end, self.pulse.due(), self.stop_at, self.end].into_iter().flatten().min()
    }

    fn tick(&mut self, now: Instant, acts: &mut Vec<CarrierAct>) {
        match &mut self.stage {
            ConnectionStage::Failing { end, .. }
            | ConnectionStage::Closing(Closing::Fault(end))
                if now >= *end =>
            {
                return self.lose(acts);
            }
            ConnectionStage::Closed(end) if now >= *end => return self.lose(acts),
            ConnectionStage::Failing { verdict, answers, .. }
                if answers.is_some_and(|answers| now >= answers) =>
            {
                *answers = None;
                acts.push(CarrierAct::End(Self::KEY, verdict.clone()));
            }
            _ => {}
        }
        match self.pulse.beat(now) {
            PulseAct::Lost => return self.lose(acts),
            // No ping follows a close frame: the client has a time limit to answer that frame.
            PulseAct::Ping
                if matches!(
                    self.stage,
                    ConnectionStage::Open | ConnectionStage::Failing { .. }
                ) =>
            {
                acts.push(CarrierAct::Ping);
            }
            PulseAct::Ping | PulseAct::Nothing => {}
        }
        if self.end.is_some_and(|at| now >= at) {
            self.end = None;
            let frame = CloseFrame::new(4401, &AuthError::Expired.to_string());
            acts.extend(self.close(frame).map(CarrierAct::Close));
        }
        if self.stop_at.is_some_and(|at| now >= at) {
            self.stop_at = None;
            let frame = CloseFrame::new(1012, "the server is shutting down");
            acts.extend(self.close(frame).map(CarrierAct::Close));
        }
    }
}

#[cfg(test)]
mod tests;
