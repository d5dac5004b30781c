//! Responses that stay open, and request bodies that come in pieces.
//!
//! Owns [`ResponseStream`], [`ServerEvent`] and the methods of [`Context`] about them, and what the callbacks about them
//! get. Invariant: an event is framed so that its reader gets the same text back. It does not know HTTP's framing, or who
//! reads.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use crate::Result;
use crate::context::Context;
use crate::host::{Current, Host as _};
use crate::http::{Response, Rest};

/// A response that later turns write to and end. Its id may be kept in memory and in storage; it names this one response
/// forever.
///
/// Whatever is written leaves when its turn is durable, and in order. A client that reads too slowly is cut off, as a
/// slow WebSocket is, and a stream that the room does not end is cut when nothing was written to it for
/// `stream_idle_ms_max`. [`Room::on_stream_close`](crate::Room::on_stream_close) is called then. Streams stay open
/// when the code is replaced and after a panic, and while a party with `hibernate` has no instance. They are not durable:
/// when the server stops, the client's connection breaks off.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResponseStream {
    id: String,
}

impl ResponseStream {
    /// Its id, for [`Context::stream`]: that of its request.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// [`StreamError`](crate::StreamError): nothing was written.
    pub fn write(&self, bytes: impl AsRef<[u8]>) -> Result {
        Ok(Current::write(&self.id, bytes.as_ref())?)
    }

    /// Writes text.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_text(&self, text: impl AsRef<str>) -> Result {
        self.write(text.as_ref())
    }

    /// Writes an event, for a response that [`Response::events`] began.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn event(&self, event: &ServerEvent) -> Result {
        self.write(event.to_string())
    }

    /// Ends the response, after what was written to it.
    ///
    /// # Errors
    /// [`StreamError`](crate::StreamError): it is not open, or has not begun.
    pub fn end(&self) -> Result {
        Ok(Current::end(&self.id)?)
    }

    /// Breaks the response off, after what was written to it: the client learns that it is not complete.
    ///
    /// # Errors
    /// As [`end`](Self::end).
    pub fn abort(&self) -> Result {
        Ok(Current::abort(&self.id)?)
    }
}

/// A server-sent event, as `EventSource` reads it.
///
/// ```
/// use room_sdk::ServerEvent;
///
/// let event = ServerEvent::json(&50)?.named("progress").with_id("7");
/// assert_eq!(event.to_string(), "event: progress\nid: 7\ndata: 50\n\n");
/// assert_eq!(ServerEvent::text("two\nlines").to_string(), "data: two\ndata: lines\n\n");
/// # Ok::<(), room_sdk::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerEvent {
    name: Option<String>,
    id: Option<String>,
    retry: Option<Duration>,
    data: String,
}

impl ServerEvent {
    /// An event with this text. Line ends of every kind arrive as `\n`.
    pub fn text(data: impl Into<String>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }

    /// An event with a value as JSON.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let data = serde_json::to_string(value).context("the event cannot be written as JSON")?;
        Ok(Self::text(data))
    }

    /// Names it: pages listen for it by `addEventListener(name, …)`, and not by `onmessage`. A line end in a name becomes
    /// a space.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(one_line(name));
        self
    }

    /// Gives it an id: an `EventSource` that connects again sends the last one as the header `last-event-id`. A line end
    /// in an id becomes a space, and a NUL is left out.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        self.id = Some(one_line(id).replace('\0', ""));
        self
    }

    /// Sets the time after which an `EventSource` connects again.
    #[must_use]
    pub fn with_retry(mut self, retry: Duration) -> Self {
        self.retry = Some(retry);
        self
    }
}

impl fmt::Display for ServerEvent {
    /// Writes it as it is sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, id, retry, data } = self;
        if let Some(name) = name {
            writeln!(f, "event: {name}")?;
        }
        if let Some(id) = id {
            writeln!(f, "id: {id}")?;
        }
        if let Some(retry) = retry {
            writeln!(f, "retry: {}", retry.as_millis())?;
        }
        let data = data.replace("\r\n", "\n");
        data.split(['\n', '\r']).try_for_each(|line| writeln!(f, "data: {line}"))?;
        f.write_str("\n")
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// A piece of a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyPiece {
    /// Bytes, after which others follow.
    More(Vec<u8>),
    /// The last bytes, or none: the body is complete.
    Last(Vec<u8>),
    /// The rest does not come. A room that leaves the response open without having begun it leaves the answer to the
    /// server: 413 or 408.
    Failed(BodyFault),
}

/// Why the rest of a request's body does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyFault {
    /// It is larger than `body_pieces_bytes_max`.
    TooLarge,
    /// The client sent nothing for longer than `piece_ms_max`, or the room had no time for what it sent.
    Stalled,
    /// The client left, or broke the protocol.
    Aborted,
}

/// Why an open response ended that the room had not completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEnd {
    /// The client left.
    Left,
    /// The client read too slowly: more was queued than `outbox_bytes_max` or `outbox_frames_max` allows.
    Slow,
    /// The room wrote nothing for longer than `stream_idle_ms_max`.
    Idle,
    /// The room began no response within `answer_later_ms_max`; the client got 504.
    Late,
    /// [`Room::on_body`](crate::Room::on_body) failed, or the body did not arrive and the room did not answer; the
    /// client got 500, 408 or 413. A response that had begun was broken off.
    Failed,
}

impl Response {
    /// 200 with what later turns write to the stream: `ctx.open_stream()?` in the same
    /// [`on_request`](crate::Room::on_request). Status, headers and a first part of the body may be set as in every
    /// response.
    pub fn stream(stream: &ResponseStream) -> Self {
        Self { rest: Rest::Stream(stream.id.clone()), ..Self::status(200) }
    }

    /// As [`stream`](Self::stream), for an `EventSource`: what is written is [`event`](ResponseStream::event)s. While
    /// there are none, the server sends comments, so that proxies keep the connection.
    ///
    /// An `EventSource` connects again when the response ends, also if the room ended it. It gives up at a status other
    /// than 200, such as the 503 of a server that starts; `rooms-examples/progress` shows a page that does not.
    pub fn events(stream: &ResponseStream) -> Self {
        Self::stream(stream)
            .with_header("content-type", "text/event-stream")
            .with_header("cache-control", "no-store")
            // Proxies that buffer responses would delay events.
            .with_header("x-accel-buffering", "no")
    }

    /// No response yet: a later turn gives it by [`Context::respond`], with the [`Context::request_id`] of this one. If
    /// none does within `answer_later_ms_max`, the client gets 504.
    pub fn later() -> Self {
        Self { rest: Rest::All, ..Self::status(200) }
    }
}

impl Context {
    /// The id of the request that the running [`on_request`](crate::Room::on_request) handles; `None` in every other
    /// callback. No other request of the room ever has it.
    pub fn request_id(&self) -> Option<String> {
        Current::request().map(|(id, _)| id)
    }

    /// True in an `on_request` whose request has a body that follows in pieces; see
    /// [`on_body`](crate::Room::on_body).
    pub fn body_follows(&self) -> bool {
        Current::request().is_some_and(|(_, follows)| follows)
    }

    /// Opens the response to the request that the running [`on_request`](crate::Room::on_request) handles as a stream. The
    /// callback returns it as [`Response::stream`] or [`Response::events`].
    ///
    /// ```
    /// # use room_sdk::prelude::*;
    /// # #[derive(Default)]
    /// # struct Feed { reader: Option<String> }
    /// impl Room for Feed {
    ///     fn on_request(&mut self, ctx: &Context, _: Request) -> Result<Response> {
    ///         let stream = ctx.open_stream()?;
    ///         stream.event(&ServerEvent::text("welcome"))?;
    ///         self.reader = Some(stream.id().to_owned());
    ///         Ok(Response::events(&stream))
    ///     }
    ///
    ///     fn on_message(&mut self, ctx: &Context, _: &Connection, message: Message) -> Result {
    ///         if let Some(id) = &self.reader {
    ///             ctx.stream(id).event(&ServerEvent::text(message.as_text().unwrap_or_default()))?;
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn on_stream_close(&mut self, _: &Context, _: &str, _: StreamEnd) -> Result {
    ///         self.reader = None;
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`StreamError`](crate::StreamError): this is not the `on_request` of a client's request (another room that asks gets
    /// its answer with the turn), or too many are open.
    pub fn open_stream(&self) -> Result<ResponseStream> {
        let id = Current::defer()?;
        self.opened.set(true);
        Ok(ResponseStream { id })
    }

    /// The stream with this id. If it is not open any more, what is written to it is refused.
    pub fn stream(&self, id: impl Into<String>) -> ResponseStream {
        ResponseStream { id: id.into() }
    }

    /// The open responses, in the order of their requests: streams, and answers that are due.
    pub fn streams(&self) -> Vec<ResponseStream> {
        Current::open_streams().into_iter().map(|id| ResponseStream { id }).collect()
    }

    /// Answers a request whose response is open and has not begun: with a whole response, or with
    /// [`Response::stream`] of the stream with its id.
    ///
    /// # Errors
    /// [`StreamError`](crate::StreamError): it is not open, has begun, or the response is not valid.
    pub fn respond(&self, id: impl AsRef<str>, response: Response) -> Result {
        let id = id.as_ref();
        match &response.rest {
            Rest::Nothing => Ok(Current::respond(id, response)?),
            Rest::Stream(own) if own == id => Ok(Current::begin(id, response)?),
            Rest::Stream(own) => Err(anyhow::anyhow!(
                "request {id} cannot be answered with the stream {own}: its own is ctx.stream({id:?})"
            )),
            Rest::All => Err(anyhow::anyhow!(
                "Response::later is no answer to request {id}: leave it open, and respond later"
            )),
        }
    }
}

/// Carries out what `on_request` returned: begins a stream, or leaves the response to a later turn. Returns what the host
/// gets, which it ignores if the response is open.
pub(crate) fn opened(ctx: &Context, response: Response) -> Result<Response> {
    let opened = ctx.opened.take();
    match &response.rest {
        Rest::Nothing if !opened => return Ok(response),
        Rest::Nothing => {
            let own = ctx.request_id();
            if ctx.streams().iter().any(|open| Some(&open.id) == own.as_ref()) {
                // Nobody would see the response.
                anyhow::bail!(
                    "on_request opened a stream and returned another response: return \
                     Response::stream(&stream), or Response::later() and respond in a later turn"
                );
            }
            return Ok(response);
        }
        Rest::All => drop(Current::defer()?),
        Rest::Stream(own) if ctx.request_id().as_ref() == Some(own) => {
            ctx.respond(own.clone(), response)?;
        }
        Rest::Stream(own) => {
            anyhow::bail!("on_request returned the stream {own} of another request: open one");
        }
    }
    Ok(Response::status(200))
}

/// Refuses a response that cannot be left open, as there is no room.
#[cfg(all(target_family = "wasm", not(feature = "test-host")))]
pub(crate) fn whole(response: Response) -> Result<Response> {
    match response.rest {
        Rest::Nothing => Ok(response),
        Rest::Stream(_) | Rest::All => {
            Err(anyhow::anyhow!("only on_request can leave its response open"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_framed_so_that_no_text_breaks_out_of_it() {
        let event = |event: ServerEvent| event.to_string();
        assert_eq!(event(ServerEvent::text("")), "data: \n\n");
        assert_eq!(
            event(ServerEvent::text("a\r\nb\rc\nd\n")),
            "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"
        );
        assert_eq!(event(ServerEvent::text(" data: x")), "data:  data: x\n\n");
        let named = ServerEvent::text("x").named("a\ndata: no").with_id("1\r\n2\0");
        assert_eq!(event(named), "event: a data: no\nid: 1  2\ndata: x\n\n");
        let retry = ServerEvent::text("x").with_retry(Duration::from_secs(2));
        assert_eq!(event(retry), "retry: 2000\ndata: x\n\n");
    }
}
