//! One WebSocket. Owns its reading, its writing and its end.
//!
//! Invariant: what is read goes to the room in order; what the room says is written in order, as many
//! frames to a flush as there are; the room hears of the end once. It does not know what frames mean.

mod pulse;

use super::address::connection_of_query;
use super::answer::Answers;
use super::hooks::{self, Decision, LOOKS_MAX};
use super::http::{plain, respond};
use super::status::DoorError;
use super::upgrade::{Handshake, IntakeError, Socket};
use super::{FrontDoor, Named};
use crate::event::{CloseFrame, Ending, Handshake as Goodbye, Message, Text};
use crate::limits::{Limits, ms, size};
use crate::logs::LogLevel;
use crate::metrics::{DoorMetrics, Refusal};
use crate::room::{Frame, Joined, Outbox, RoomError, Visitor};
use crate::rooms::Entrance;
use crate::wasm::DoorCall;
use ::http::{HeaderMap, header};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use pulse::{Pulse, attend};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Message as Wire, protocol as wire};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Opens a WebSocket to the room of the request's path. The handshake is answered only when the room
/// has let the client in, or by a socket that closes at once with the reason.
pub(super) async fn open(door: FrontDoor, mut request: Request) -> Response {
    let (begun, metrics) = (Instant::now(), door.0.metrics.door.clone());
    let named = door.named(request.uri());
    let handshake = match Handshake::of(&mut request, &door.0.limits, door.0.rooms.bytes()) {
        Ok(handshake) => handshake,
        Err(error) => {
            metrics.refusals.count(error.refusal());
            return door.refuse(&error, &named).into_response();
        }
    };
    let refusal = match join(&door, request, &named).await {
        Ok(Entry::Joined(joined)) => {
            metrics.open_seconds.record(begun.elapsed());
            return welcome(&door, handshake, joined);
        }
        Ok(Entry::Response(response)) => {
            metrics.refusals.count(Refusal::Hook);
            let status = response.status();
            let text = format!("a client was turned away by on_before_connect with {status}");
            door.note(LogLevel::Info, &named, &text);
            return response;
        }
        Ok(Entry::Refused(frame)) => {
            metrics.refusals.count(Refusal::Hook);
            let (code, why) = (frame.code, &frame.reason);
            let text = format!("a client was turned away by on_before_connect with {code}: {why}");
            door.note(LogLevel::Info, &named, &text);
            frame
        }
        Err(error) => {
            metrics.refusals.count(error.refusal());
            let shown = door.refuse(&error, &named);
            // Once open, a client sends what it kept while the server was away, and would lose it
            // here: what may succeed a little later is not opened at all.
            if shown.retry_after.is_some() {
                return shown.into_response();
            }
            shown.frame
        }
    };
    refuse(handshake, refusal, &door.0.limits, &door.0.sockets)
}

/// Answers a handshake with a socket that closes at once with this frame, one of `sockets` until then.
pub(super) fn refuse(
    handshake: Handshake,
    frame: CloseFrame,
    limits: &Limits,
    sockets: &TaskTracker,
) -> Response {
    let (response, socket) = handshake.accept();
    let close_max = ms(limits.close_ms_max);
    sockets.spawn(async move {
        if let Some((socket, _place)) = socket.await {
            turn_away(socket, frame, close_max).await;
        }
    });
    response
}

/// What a handshake leads to.
enum Entry {
    Joined(Joined),
    Response(Response),
    Refused(CloseFrame),
}

/// Origin, hook and room are those of one look at what is in place for the room; if that has changed when the
/// client is to join, all of it is done once more.
async fn join(door: &FrontDoor, request: Request, named: &Named) -> Result<Entry, DoorError> {
    let room = door.room(request.uri(), named)?;
    let id = connection_of_query(request.uri().query(), &door.0.limits)?;
    let (parts, _) = request.into_parts();
    for _ in 0..LOOKS_MAX {
        let entrance = door.0.rooms.entrance(&room)?;
        check_origin(&entrance, &parts.headers)?;
        let request = plain(&parts, Bytes::new());
        let request = match hooks::ask(door, DoorCall::BeforeConnect, &entrance, request).await? {
            Decision::Forward(request) => request,
            Decision::Respond(response) => return Ok(Entry::Response(respond(response))),
            Decision::Refuse(frame) => return Ok(Entry::Refused(frame)),
        };
        let visitor = Visitor { id: id.clone(), request };
        if let Some(joined) = door.0.rooms.connect(&entrance, visitor).await? {
            return Ok(Entry::Joined(joined));
        }
    }
    Err(hooks::outrun())
}

/// Browsers let any page open a WebSocket to any server, with the user's cookies, and say only whose page
/// it is. Clients that are no browsers say nothing, and could say anything.
fn check_origin(entrance: &Entrance, headers: &HeaderMap) -> Result<(), DoorError> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or("an origin that is not text");
        if !entrance.party().origins.let_in(origin, host) {
            return Err(DoorError::Origin(origin.to_owned()));
        }
    }
    Ok(())
}

fn welcome(door: &FrontDoor, handshake: Handshake, joined: Joined) -> Response {
    let (response, socket) = handshake.accept();
    let (limits, closing) = (door.0.limits.clone(), door.0.closing.clone());
    let metrics = door.0.metrics.door.clone();
    door.0.sockets.spawn(async move {
        // Who leaves during the handshake is reported by the drop of `joined`.
        if let Some((socket, _place)) = socket.await {
            run(socket, joined, limits, closing, &metrics).await;
        }
    });
    response
}

/// Accepts and closes, so that the client can read why.
async fn turn_away(mut socket: Socket, frame: CloseFrame, close_max: Duration) {
    let goodbye = async {
        if socket.send(Wire::Close(to_wire(&frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
        shut_down(&mut socket).await;
    };
    // Whoever does not answer in time is left.
    drop(tokio::time::timeout(close_max, goodbye).await);
}

/// How a side of the socket came to its end.
enum Done {
    /// The client closed, or answered our close frame.
    Closed(CloseFrame),
    /// The client is told this, and what it sent was no frame.
    Failed(Fault),
    /// The connection is gone.
    Lost,
    /// We sent a close frame and wait for the client's.
    Closing,
}

/// Why the server ends a connection.
struct Fault {
    /// What the client is told.
    frame: CloseFrame,
    /// What the room is told.
    error: String,
    /// What the client hears before it ends.
    before: Before,
}

/// What a client still hears when the server ends its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The answers to all that it said.
    AllAnswers,
    /// The answers that are there.
    ReadyAnswers,
}

/// Carries frames both ways until one side ends, and says goodbye.
async fn run(
    socket: Socket,
    joined: Joined,
    limits: Arc<Limits>,
    closing: CancellationToken,
    metrics: &DoorMetrics,
) {
    let (mut sink, mut stream) = socket.split();
    let pulse = Pulse::default();
    let end = {
        // Each side is looked at when something happened to it, and not whenever something happened to
        // another: a message is read once and answered once.
        let mut sides = FuturesUnordered::<BoxFuture<'_, Done>>::new();
        sides.push(Box::pin(read(&mut stream, &joined, &pulse, &limits, metrics)));
        sides.push(Box::pin(write(&mut sink, &joined.outbox, &pulse, &limits)));
        sides.push(Box::pin(attend(&joined.outbox, &pulse, &limits, &closing)));
        match sides.next().await {
            // The client may still send until it has read our close frame.
            Some(Done::Closing) => {
                let answer = tokio::time::timeout(ms(limits.close_ms_max), sides.next()).await;
                answer.ok().flatten().unwrap_or(Done::Lost)
            }
            Some(Done::Failed(fault)) => fail(fault, &joined, &limits, &mut sides).await,
            done => done.unwrap_or(Done::Lost),
        }
    };
    match end {
        Done::Closed(frame) => {
            joined.ended(Ending { frame, handshake: Goodbye::Clean });
            // tungstenite has the answer ready; this is what carries it out.
            drop(tokio::time::timeout(ms(limits.close_ms_max), sink.close()).await);
        }
        // The close frame of a fault is out, and the room has heard of its end.
        Done::Closing => {}
        // After the close frame, nothing is left to be said.
        Done::Failed(_) => joined.ended(Ending::broken_off()),
        Done::Lost => return joined.ended(Ending::broken_off()),
    }
    // The room sees that nobody is left to be answered.
    drop(joined);
    if let Ok(mut socket) = sink.reunite(stream) {
        // Boxed, as every connection would hold its space for all its life.
        Box::pin(shut_down(&mut socket)).await;
    }
}

/// Ends a connection by the server's doing: RFC 6455 section 7.1.7. The answers to what the client said before
/// go first. Returns [`Done::Closing`] when the close frame is out.
async fn fail(
    fault: Fault,
    joined: &Joined,
    limits: &Limits,
    sides: &mut FuturesUnordered<BoxFuture<'_, Done>>,
) -> Done {
    let Fault { frame, error, before } = fault;
    let close_max = ms(limits.close_ms_max);
    joined.failed(error);
    if before == Before::AllAnswers {
        joined.outbox.end_later(frame.clone());
    }
    joined.ended(Ending { frame: frame.clone(), handshake: Goodbye::Missing });
    if before == Before::AllAnswers
        && let Ok(done) = tokio::time::timeout(close_max, sides.next()).await
    {
        return done.unwrap_or(Done::Lost);
    }
    joined.outbox.end_now(frame);
    let done = tokio::time::timeout(close_max, sides.next()).await;
    done.ok().flatten().unwrap_or(Done::Lost)
}

/// Ends the connection as RFC 6455 section 7.1.1 asks for it: the client reads the end behind the last frame, and
/// what it still sends is thrown away.
async fn shut_down(socket: &mut Socket) {
    // It is over, whether or not the client was there to hear of it.
    drop(socket.get_mut().shutdown().await);
}

async fn read(
    stream: &mut SplitStream<Socket>,
    joined: &Joined,
    pulse: &Pulse,
    limits: &Limits,
    metrics: &DoorMetrics,
) -> Done {
    let mut answers = Answers::new(joined.answers.clone());
    let mut answered = 0;
    while let Some(frame) = stream.next().await {
        pulse.heard();
        let message = match frame {
            Ok(Wire::Text(text)) => {
                let text = Text::try_from(Bytes::from(text));
                Message::Text(text.expect("the library reads text that is UTF-8"))
            }
            Ok(Wire::Binary(bytes)) => Message::Binary(bytes),
            Ok(Wire::Close(frame)) => return Done::Closed(from_wire(frame)),
            Ok(Wire::Ping(_) | Wire::Pong(_) | Wire::Frame(_)) => continue,
            Err(error) => return failed(&error, limits),
        };
        metrics.messages_received.increment(1);
        if let Some(answer) = answers.to(&message) {
            joined.outbox.answer(&answer);
            answered += 1;
            if answered % limits.socket_batch_frames_max == 0 {
                // No room slows this client down, so the writing side is given its turn here.
                tokio::task::yield_now().await;
            }
            continue;
        }
        match joined.message(message).await {
            Ok(()) => {}
            Err(RoomError::Busy) => {
                let error = "the room did not take a message in time".to_owned();
                let frame = CloseFrame::new(1013, "the room is busy");
                return Done::Failed(Fault { frame, error, before: Before::ReadyAnswers });
            }
            // The room has said goodbye, and the writing side is about to pass it on. Until the client
            // has read it, what it sends is for nobody.
            Err(_) => {}
        }
    }
    Done::Lost
}

async fn write(
    sink: &mut SplitSink<Socket, Wire>,
    outbox: &Outbox,
    pulse: &Pulse,
    limits: &Limits,
) -> Done {
    let mut sent = Sent::All;
    loop {
        if sent == Sent::All {
            outbox.filled().await;
        }
        let batch = send_batch(sink, outbox, pulse, limits);
        sent = tokio::select! {
            biased;
            sent = batch => match sent {
                Ok(Sent::Close) => return Done::Closing,
                Ok(sent) => sent,
                Err(_) => return Done::Lost,
            },
            () = patience(outbox, limits) => return Done::Lost,
        }
    }
}

/// Ends when a client that takes no bytes has been waited for long enough.
async fn patience(outbox: &Outbox, limits: &Limits) {
    let hopeless = async {
        outbox.overflowed().await;
        tokio::time::sleep(ms(limits.close_ms_max)).await;
    };
    // Either way it is over.
    drop(tokio::time::timeout(ms(limits.write_ms_max), hopeless).await);
}

/// What is left after a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// Nothing: the outbox was empty.
    All,
    /// Perhaps more: the batch was full.
    More,
    /// Nothing ever: the last frame is out.
    Close,
}

/// Writes the next batch of the outbox with one flush: a flush for each frame costs ten times as much.
async fn send_batch(
    sink: &mut SplitSink<Socket, Wire>,
    outbox: &Outbox,
    pulse: &Pulse,
    limits: &Limits,
) -> Result<Sent, Error> {
    let max = size(limits.socket_batch_frames_max);
    let frames = outbox.take(max);
    let mut sent = if frames.len() < max { Sent::All } else { Sent::More };
    let pings = frames.contains(&Frame::Ping);
    for frame in frames {
        sent = if matches!(frame, Frame::Close(_)) { Sent::Close } else { sent };
        sink.feed(frame.into()).await?;
    }
    sink.flush().await?;
    if pings {
        pulse.pinged();
    }
    Ok(sent)
}

/// What a read error means: whose fault it was, and what the client is told.
fn failed(error: &Error, limits: &Limits) -> Done {
    let max = limits.message_bytes_max;
    let frame = match error {
        Error::Capacity(CapacityError::MessageTooLong { size, .. }) => {
            CloseFrame::new(1009, &format!("message of {size} bytes, at most {max} are allowed"))
        }
        Error::Capacity(_) => CloseFrame::new(1009, &format!("message over {max} bytes")),
        // Not what the client sent, but that it is gone.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return Done::Lost,
        Error::Utf8(_) => CloseFrame::new(1007, "a text message is not valid UTF-8"),
        Error::Protocol(error) => CloseFrame::new(1002, &error.to_string()),
        Error::Io(error) => match refused(error) {
            Some(IntakeError::Frame(what)) => CloseFrame::new(1002, what),
            Some(error @ IntakeError::Overdue(_)) => CloseFrame::new(1008, &error.to_string()),
            Some(error @ IntakeError::BuffersFull) => CloseFrame::new(1013, &error.to_string()),
            None => return Done::Lost,
        },
        _ => return Done::Lost,
    };
    Done::Failed(Fault { frame, error: error.to_string(), before: Before::AllAnswers })
}

/// Why the client is read no further, if that is the server's doing.
fn refused(error: &std::io::Error) -> Option<IntakeError> {
    error.get_ref()?.downcast_ref().copied()
}

impl From<Frame> for Wire {
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::Message(Message::Binary(bytes)) => Self::Binary(bytes),
            // As the library would frame it, but for that it would check once more what is UTF-8.
            Frame::Message(Message::Text(text)) => {
                Self::Frame(wire::frame::Frame::message(text, OpCode::Data(Data::Text), true))
            }
            Frame::Close(frame) => Self::Close(to_wire(&frame)),
            Frame::Ping => Self::Ping(Bytes::new()),
        }
    }
}

fn to_wire(frame: &CloseFrame) -> Option<wire::CloseFrame> {
    let coded = frame.code != CloseFrame::NO_CODE;
    coded
        .then(|| wire::CloseFrame { code: frame.code.into(), reason: frame.reason.as_str().into() })
}

fn from_wire(frame: Option<wire::CloseFrame>) -> CloseFrame {
    match frame {
        Some(frame) => CloseFrame { code: frame.code.into(), reason: frame.reason.to_string() },
        None => CloseFrame::new(CloseFrame::NO_CODE, ""),
    }
}
