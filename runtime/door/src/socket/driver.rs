//! The driver of one WebSocket. Owns its bytes and timers, and the connections that its carrier has in rooms.
//!
//! Invariant: frames go to the carrier in the order in which they were read. A room's outputs are written in order,
//! with one flush for as many frames as are ready. Each side of the socket is polled only when something happened to
//! it, and not whenever something happened to another side, so a message is read once and answered once. It does not
//! know what frames mean.

use super::{shut_down, to_wire};
use crate::answer::Answers;
use crate::carrier::{
    self, Carrier, CarrierAct, ClientInput, Farewell, OutgoingFrame, SocketFault, WireEnd,
    WrittenFrame,
};
use crate::upgrade::{IntakeError, Socket};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use room_core::clock::until;
use room_core::event::{CloseFrame, Ending, Message, Text};
use room_core::identity::Capabilities;
use room_core::limits::{Limits, ms, size};
use room_core::lock::lock;
use room_core::metrics::{AuthRefusal, DoorMetrics};
use room_rooms::room::{ConnectionKey, JoinedConnection, OutboxItem, Outboxes, RoomError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Message as Wire, protocol as wire};
use tokio_util::sync::CancellationToken;

/// The capacity in outputs and frames that a socket keeps while nothing is written.
const KEPT: usize = 4;

/// A client's connection to a room.
pub(crate) struct RoomMembership {
    pub(crate) key: ConnectionKey,
    pub(crate) joined: JoinedConnection,
    /// The outboxes that this socket writes.
    pub(crate) outboxes: Outboxes,
}

/// The connections that one socket has in rooms.
pub(crate) trait Memberships: Send + Sync {
    /// Returns the outboxes that the socket writes.
    fn outboxes(&self) -> &Outboxes;

    /// Calls `with` for the connection with this key, if the socket has it.
    fn with(&self, key: ConnectionKey, with: impl FnOnce(&JoinedConnection));

    /// Throws away what waits for the client, and keeps nothing that rooms send later.
    fn discard(&self);

    /// Forgets the connection with this key, which has ended.
    fn forget(&self, key: ConnectionKey);

    /// Notes that the frames made so far are written.
    fn wrote(&self) {}
}

impl Memberships for RoomMembership {
    fn outboxes(&self) -> &Outboxes {
        &self.outboxes
    }

    #[inline]
    fn with(&self, key: ConnectionKey, with: impl FnOnce(&JoinedConnection)) {
        if self.key == key {
            with(&self.joined);
        }
    }

    fn discard(&self) {
        self.joined.outbox.discard();
    }

    // The socket ends with its only connection.
    fn forget(&self, _key: ConnectionKey) {}
}

/// Connections whose client sends on the socket itself.
pub(super) trait ReadMemberships<C>: Memberships + Sized {
    /// Reads until the socket ends.
    fn read(
        driver: &Driver<C, Self>,
        stream: &mut SplitStream<Socket>,
        metrics: &DoorMetrics,
    ) -> impl Future<Output = Farewell> + Send;
}

/// The way of frames to a client.
pub(crate) trait FrameSink: Send {
    /// Writes the frames, up to the first close frame. An error means that the client is gone.
    fn send<'a>(
        &'a mut self,
        frames: &'a mut Vec<OutgoingFrame>,
    ) -> impl Future<Output = Result<FrameMarks, SinkClosed>> + Send + 'a;
}

/// The client takes no further frames.
#[derive(Debug)]
pub(crate) struct SinkClosed;

/// The state that the sides of a socket share.
pub(crate) struct Driver<C, M> {
    carrier: Mutex<Driven<C>>,
    pub(super) memberships: M,
    /// Signalled when the carrier may want its next tick at another time.
    retimed: Notify,
    pub(super) limits: Arc<Limits>,
    /// The outputs of a room that are taken at once.
    batch_max: usize,
    /// Set whenever bytes of the client arrive.
    alive: Arc<AtomicBool>,
}

/// A carrier, and the frames that it wants to be written before the rooms' outputs: at most one ping and one close.
pub(super) struct Driven<C> {
    pub(super) carrier: C,
    ping: bool,
    close: Option<CloseFrame>,
}

/// Carries frames both ways until the carrier ends the socket.
pub(super) async fn run<C: Carrier, M: ReadMemberships<C>>(
    socket: Socket,
    carrier: C,
    memberships: M,
    limits: Arc<Limits>,
    closing: CancellationToken,
    metrics: &DoorMetrics,
) {
    let alive = socket.get_ref().alive();
    let (mut sink, mut stream) = socket.split();
    let close_max = ms(limits.close_ms_max);
    let driver = Driver::new(carrier, memberships, limits, alive);
    let farewell = {
        let mut sides = FuturesUnordered::<BoxFuture<'_, Farewell>>::new();
        sides.push(Box::pin(M::read(&driver, &mut stream, metrics)));
        sides.push(Box::pin(driver.write(&mut sink)));
        sides.push(Box::pin(driver.keep_time(&closing)));
        sides.next().await.unwrap_or(Farewell::Drop)
    };
    match farewell {
        // tungstenite has the close answer ready; this call sends it.
        Farewell::Reply => drop(tokio::time::timeout(close_max, sink.close()).await),
        Farewell::ShutDown => {}
        Farewell::Drop => return,
    }
    // The drop shows the room that nobody is left to be answered.
    drop(driver);
    if let Ok(mut socket) = sink.reunite(stream) {
        // Boxed, because otherwise every connection would hold its space for its whole life.
        Box::pin(shut_down(&mut socket)).await;
    }
}

impl<C: Carrier> ReadMemberships<C> for RoomMembership {
    async fn read(
        driver: &Driver<C, Self>,
        stream: &mut SplitStream<Socket>,
        metrics: &DoorMetrics,
    ) -> Farewell {
        driver.read(stream, metrics).await
    }
}

impl<C: Carrier> Driver<C, RoomMembership> {
    /// Reads until the socket ends.
    async fn read(&self, stream: &mut SplitStream<Socket>, metrics: &DoorMetrics) -> Farewell {
        let mut answers = Answers::new(self.memberships.joined.answers.clone());
        let mut answered = 0;
        loop {
            let heard = match stream.next().await {
                Some(Ok(frame)) => from_wire(frame),
                Some(Err(error)) => Err(end_by(&error, &self.limits)),
                None => Err(WireEnd::Lost),
            };
            let heard = match heard {
                Ok(heard) => heard,
                Err(end) => return self.end(end).await,
            };
            if matches!(heard, ClientInput::Message(_)) {
                metrics.messages_received.increment(1);
            }
            let Some((key, message)) = self.driven().carrier.heard(heard) else { continue };
            let Some(joined) = self.joined(key) else { continue };
            if let Some(answer) = answers.to(&message) {
                joined.outbox.answer(&answer);
                answered += 1;
                if answered % self.limits.socket_batch_frames_max == 0 {
                    // No room slows this client down, so this side yields to the writing side here.
                    tokio::task::yield_now().await;
                }
                continue;
            }
            if !joined.capabilities.has(Capabilities::WRITE) {
                metrics.auth_refusals.count(AuthRefusal::Forbidden);
                let refused =
                    self.act(|carrier, acts| carrier.forbidden(key, Instant::now(), acts));
                if let Some(farewell) = refused {
                    return farewell;
                }
                if !self.driven().carrier.listens() {
                    return std::future::pending().await;
                }
                continue;
            }
            match joined.message(message).await {
                Err(RoomError::Busy) => {
                    let refused =
                        self.act(|carrier, acts| carrier.refused(key, Instant::now(), acts));
                    if let Some(farewell) = refused {
                        return farewell;
                    }
                    if !self.driven().carrier.listens() {
                        return std::future::pending().await;
                    }
                }
                Err(RoomError::TooFast(overrun)) => {
                    let error = overrun.to_string();
                    let frame = CloseFrame::new(1008, &error);
                    return self.end(WireEnd::Fault(SocketFault { frame, error })).await;
                }
                Ok(()) | Err(_) => {}
            }
            // With any other error the room has said goodbye, and the writing side is about to pass that on. Messages
            // that the client sends until it has read the goodbye have no recipient.
        }
    }

    /// Returns the socket's connection with this key.
    fn joined(&self, key: ConnectionKey) -> Option<&JoinedConnection> {
        (self.memberships.key == key).then_some(&self.memberships.joined)
    }
}

impl<C: Carrier, M: Memberships> Driver<C, M> {
    /// Drives a socket. `alive` is set whenever bytes of the client arrive.
    pub(crate) fn new(
        carrier: C,
        memberships: M,
        limits: Arc<Limits>,
        alive: Arc<AtomicBool>,
    ) -> Self {
        let carrier = Mutex::new(Driven { carrier, ping: false, close: None });
        let batch_max = size(limits.socket_batch_frames_max);
        Self { carrier, memberships, retimed: Notify::new(), limits, batch_max, alive }
    }

    /// Takes all outputs at once that wait, for a client that gets one batch.
    #[must_use]
    pub(crate) fn in_one_batch(self) -> Self {
        Self { batch_max: usize::MAX, ..self }
    }

    /// Reports the end of reading to the carrier. The socket may stay open until more is written.
    pub(crate) async fn end(&self, end: WireEnd) -> Farewell {
        match self.act(|carrier, acts| carrier.ended(end, Instant::now(), acts)) {
            Some(farewell) => farewell,
            None => std::future::pending().await,
        }
    }

    /// Writes until the last frame is out, or the socket ends.
    pub(crate) async fn write(&self, sink: &mut impl FrameSink) -> Farewell {
        let outboxes = self.memberships.outboxes();
        let max = self.batch_max;
        let (mut said, mut frames) = (Vec::new(), Vec::new());
        loop {
            let key = outboxes.next(max, &mut said).await;
            self.encode(key, &mut said, &mut frames);
            let written = tokio::select! {
                biased;
                written = sink.send(&mut frames) => written,
                () = self.patience() => return self.end(WireEnd::Lost).await,
            };
            let Ok(FrameMarks { pinged, closed }) = written else {
                return self.end(WireEnd::Lost).await;
            };
            self.memberships.wrote();
            if pinged && let Some(farewell) = self.written(WrittenFrame::Ping) {
                return farewell;
            }
            if closed {
                match self.written(WrittenFrame::Close) {
                    Some(farewell) => return farewell,
                    None => return std::future::pending().await,
                }
            }
            said.shrink_to(KEPT);
            frames.shrink_to(KEPT);
        }
    }

    /// Appends the frames for a room's outputs, after those that the carrier itself wants to write.
    fn encode(
        &self,
        key: Option<ConnectionKey>,
        said: &mut Vec<OutboxItem>,
        frames: &mut Vec<OutgoingFrame>,
    ) {
        let mut driven = self.driven();
        if std::mem::take(&mut driven.ping) {
            frames.push(OutgoingFrame::Ping);
        }
        driven.carrier.own(frames);
        frames.extend(driven.close.take().map(OutgoingFrame::Close));
        if let Some(key) = key {
            said.drain(..).for_each(|said| driven.carrier.said(key, said, frames));
        }
        for (key, ending) in driven.carrier.departures() {
            self.part(key, ending);
        }
    }

    /// Waits until a client that takes no bytes has used up its time.
    async fn patience(&self) {
        let hopeless = async {
            if C::IS_SHARED {
                std::future::pending::<()>().await;
            }
            self.memberships.outboxes().overflowed().await;
            tokio::time::sleep(ms(self.limits.close_ms_max)).await;
        };
        // The client has used up its time in either case.
        drop(tokio::time::timeout(ms(self.limits.write_ms_max), hopeless).await);
    }

    fn written(&self, written: WrittenFrame) -> Option<Farewell> {
        self.act(|carrier, acts| carrier.written(written, Instant::now(), acts))
    }

    /// Calls the carrier's tick when it is due, and notifies the carrier when the node stops.
    pub(crate) async fn keep_time(&self, closing: &CancellationToken) -> Farewell {
        let mut stopping = false;
        loop {
            let due = self.driven().carrier.due();
            tokio::select! {
                () = until(due) => {
                    if self.alive.swap(false, Ordering::Relaxed) {
                        drop(self.driven().carrier.heard(ClientInput::SignOfLife));
                    }
                    let ticked = self.act(|carrier, acts| carrier.tick(Instant::now(), acts));
                    if let Some(farewell) = ticked {
                        return farewell;
                    }
                }
                () = self.retimed.notified() => {}
                () = closing.cancelled(), if !stopping => {
                    stopping = true;
                    let at = Instant::now() + spread(&self.limits);
                    self.driven().carrier.stop(at);
                }
            }
        }
    }

    /// Calls the carrier, and carries out the acts that it requests. Returns `None` if the socket continues.
    pub(super) fn act(&self, ask: impl FnOnce(&mut C, &mut Vec<CarrierAct>)) -> Option<Farewell> {
        let mut acts = Vec::new();
        let mut driven = self.driven();
        ask(&mut driven.carrier, &mut acts);
        let (mut farewell, mut writes) = (None, false);
        for act in &acts {
            match act {
                CarrierAct::Ping => driven.ping = true,
                CarrierAct::Close(frame) => driven.close = Some(frame.clone()),
                _ => continue,
            }
            writes = true;
        }
        writes |= driven.carrier.has_own();
        drop(driven);
        for act in acts {
            match act {
                CarrierAct::Ping => {}
                CarrierAct::Close(_) => self.memberships.discard(),
                CarrierAct::Report(key, error) => {
                    self.memberships.with(key, |joined| joined.failed(error));
                }
                CarrierAct::Leave(key, ending) => {
                    self.memberships.with(key, |joined| joined.ended(ending));
                }
                CarrierAct::Part(key, ending) => self.part(key, ending),
                CarrierAct::End(key, frame) => {
                    self.memberships.with(key, |joined| joined.outbox.end(frame));
                }
                CarrierAct::HangUp(how) => farewell = Some(how),
            }
        }
        if writes {
            self.memberships.outboxes().wake();
        }
        self.retimed.notify_one();
        farewell
    }

    /// Reports to a room how the connection ended, and forgets the connection.
    fn part(&self, key: ConnectionKey, ending: Ending) {
        self.memberships.with(key, |joined| joined.ended(ending));
        self.memberships.forget(key);
    }

    pub(super) fn driven(&self) -> MutexGuard<'_, Driven<C>> {
        // All sides run in one task, so nobody waits for this lock.
        lock(&self.carrier)
    }
}

/// Which frames of a batch the carrier is notified of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FrameMarks {
    pinged: bool,
    closed: bool,
}

impl FrameMarks {
    /// Returns true if the batch is the last one, and has no close frame.
    #[cfg(test)]
    pub(crate) fn is_complete_without_close(self) -> bool {
        self.pinged && !self.closed
    }

    /// Notes a frame. Returns true if none may follow it.
    pub(crate) fn note(&mut self, frame: &OutgoingFrame) -> bool {
        self.pinged |= matches!(frame, OutgoingFrame::Ping);
        self.closed |= matches!(frame, OutgoingFrame::Close(_));
        self.closed
    }
}

impl FrameSink for SplitSink<Socket, Wire> {
    async fn send<'a>(
        &'a mut self,
        frames: &'a mut Vec<OutgoingFrame>,
    ) -> Result<FrameMarks, SinkClosed> {
        let mut marks = FrameMarks::default();
        for frame in frames.drain(..) {
            let is_last = marks.note(&frame);
            self.feed(frame.into()).await.map_err(|_| SinkClosed)?;
            if is_last {
                break;
            }
        }
        // One flush for all: one for each frame costs ten times as much.
        self.flush().await.map_err(|_| SinkClosed)?;
        Ok(marks)
    }
}

/// Returns when, after the node starts to stop, a socket is closed: a random time within the window. If all clients
/// came back at the same moment, they would overload the node that starts next.
pub(crate) fn spread(limits: &Limits) -> Duration {
    let moments = limits.drain_spread_ms.saturating_add(1);
    ms(uuid::Uuid::new_v4().as_u64_pair().0 % moments)
}

/// Returns what a read error means: whose fault it was, and the close frame for the client.
pub(super) fn end_by(error: &Error, limits: &Limits) -> WireEnd {
    let max = limits.message_bytes_max;
    let frame = match error {
        Error::Capacity(_) => CloseFrame::new(1009, &format!("message over {max} bytes")),
        // The client is gone; it sent nothing invalid.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return WireEnd::Lost,
        Error::Utf8(_) => CloseFrame::new(1007, "a text message is not valid UTF-8"),
        Error::Protocol(error) => CloseFrame::new(1002, &error.to_string()),
        Error::Io(error) => match refused(error) {
            Some(IntakeError::Frame(what)) => CloseFrame::new(1002, what),
            Some(error @ IntakeError::TooLarge { .. }) => CloseFrame::new(1009, &error.to_string()),
            Some(error @ IntakeError::Overdue(_)) => CloseFrame::new(1008, &error.to_string()),
            Some(error @ IntakeError::BuffersFull) => CloseFrame::new(1013, &error.to_string()),
            None => return WireEnd::Lost,
        },
        _ => return WireEnd::Lost,
    };
    WireEnd::Fault(SocketFault { frame, error: error.to_string() })
}

/// Returns why the server stopped reading, if the server decided to.
fn refused(error: &std::io::Error) -> Option<IntakeError> {
    error.get_ref()?.downcast_ref().copied()
}

#[inline]
fn message_to_wire(message: Message) -> Wire {
    match message {
        Message::Binary(bytes) => Wire::Binary(bytes),
        // Frames the text as the library would, but without a second check for valid UTF-8.
        Message::Text(text) => {
            Wire::Frame(wire::frame::Frame::message(text, OpCode::Data(Data::Text), true))
        }
    }
}

impl From<OutgoingFrame> for Wire {
    fn from(frame: OutgoingFrame) -> Self {
        match frame {
            OutgoingFrame::Message(message) => message_to_wire(message),
            // A socket whose client knows ids has them in its messages: its carrier makes neither of these two.
            OutgoingFrame::Entry(entry) => message_to_wire(entry.message().clone()),
            OutgoingFrame::Welcome(welcome) => message_to_wire(carrier::welcome(&welcome)),
            OutgoingFrame::Presence(event) => message_to_wire(carrier::presence(&event)),
            OutgoingFrame::Close(frame) => Self::Close(to_wire(&frame)),
            OutgoingFrame::Ping => Self::Ping(Bytes::new()),
        }
    }
}

pub(super) fn from_wire(frame: Wire) -> Result<ClientInput, WireEnd> {
    match frame {
        Wire::Text(text) => {
            let text = Text::try_from(Bytes::from(text));
            let text = text.expect("the library reads text that is UTF-8");
            Ok(ClientInput::Message(Message::Text(text)))
        }
        Wire::Binary(bytes) => Ok(ClientInput::Message(Message::Binary(bytes))),
        Wire::Ping(_) | Wire::Pong(_) | Wire::Frame(_) => Ok(ClientInput::SignOfLife),
        Wire::Close(frame) => Err(WireEnd::Closed(closed_by(frame))),
    }
}

fn closed_by(frame: Option<wire::CloseFrame>) -> CloseFrame {
    match frame {
        Some(frame) => CloseFrame { code: frame.code.into(), reason: frame.reason.to_string() },
        None => CloseFrame::new(CloseFrame::NO_CODE, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draining_closes_sockets_at_different_times_within_the_window() {
        let limits = Limits { drain_spread_ms: 60_000, ..Limits::default() };
        let moments: Vec<Duration> = (0..64).map(|_| spread(&limits)).collect();
        assert!(moments.iter().all(|moment| *moment <= ms(60_000)), "{moments:?}");
        // One half of the window stays empty with the probability of 64 coins on the same side.
        assert!(moments.iter().any(|moment| *moment < ms(30_000)), "{moments:?}");
        assert!(moments.iter().any(|moment| *moment > ms(30_000)), "{moments:?}");
    }

    #[test]
    fn draining_without_a_window_closes_sockets_at_once() {
        let limits = Limits { drain_spread_ms: 0, ..Limits::default() };
        assert_eq!(spread(&limits), Duration::ZERO);
    }
}
