//! HTTP as a room sees it.
//!
//! Owns [`Request`], [`Response`], and what a party decides before a room is reached: [`Verdict`]
//! about a request for a [`Lobby`]. Invariant: header names are in lower case. It does not know
//! sockets; bodies are whole.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::hook_fetch::HookFetch;
use crate::host::{Current, Host as _};
use crate::identity::Identity;
use crate::time::Timestamp;
use crate::uri;

/// A header: name in lower case, value as it was sent.
pub(crate) type Header = (String, Vec<u8>);

/// Replaces every header of this name.
fn set_header(headers: &mut Vec<Header>, name: &str, value: &str) {
    let name = name.to_ascii_lowercase();
    headers.retain(|(other, _)| *other != name);
    headers.push((name, value.as_bytes().to_vec()));
}

/// Adds a header after those of this name.
fn add_header(headers: &mut Vec<Header>, name: &str, value: &str) {
    headers.push((name.to_ascii_lowercase(), value.as_bytes().to_vec()));
}

/// The values of all headers of this name that are UTF-8, in order.
pub(crate) fn header_all<'a>(headers: &'a [Header], name: &str) -> impl Iterator<Item = &'a str> {
    let named = headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name));
    named.filter_map(|(_, value)| std::str::from_utf8(value).ok())
}

/// The first header of this name, if it is UTF-8.
fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(value).ok()
}

/// The headers whose values are UTF-8, in order.
fn pairs(headers: &[Header]) -> impl Iterator<Item = (&str, &str)> {
    headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value).ok()?)))
}

/// An HTTP request, also the one that opened a WebSocket.
///
/// ```
/// use room_sdk::Request;
///
/// let request = Request::get("http://localhost/parties/main/lobby/history?limit=5");
/// assert_eq!(request.method(), "GET");
/// assert_eq!(request.rest(), "/history");
/// assert_eq!(request.query("limit").as_deref(), Some("5"));
///
/// let request = Request::get("/?tag=a&tag=b").with_header("x-is", "1").with_header_added("x-is", "2");
/// assert_eq!(request.query_all("tag"), ["a", "b"]);
/// assert_eq!(request.header_all("x-is").collect::<Vec<_>>(), ["1", "2"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) headers: Vec<Header>,
    pub(crate) body: Vec<u8>,
    /// The project's own path of its rooms, or nothing.
    pub(crate) prefix: String,
    /// Who sent it.
    pub(crate) identity: Option<Identity>,
}

impl Request {
    /// A request without headers and body, for tests. [`TestRoom`](crate::test::TestRoom) takes a
    /// bare path (`/history?limit=5`) as one below the room's URL.
    pub fn new(method: impl Into<String>, uri: impl Into<String>) -> Self {
        let (headers, body, prefix) = (Vec::new(), Vec::new(), String::new());
        Self { method: method.into(), uri: uri.into(), headers, body, prefix, identity: None }
    }

    /// A `GET` request; see [`new`](Self::new).
    pub fn get(uri: impl Into<String>) -> Self {
        Self::new("GET", uri)
    }

    /// A `POST` request; see [`new`](Self::new).
    pub fn post(uri: impl Into<String>) -> Self {
        Self::new("POST", uri)
    }

    /// Sets a header in place of all of that name, so that what a client sent under it is gone.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        set_header(&mut self.headers, name, value);
        self
    }

    /// Adds a header and leaves those of the same name as they are.
    #[must_use]
    pub fn with_header_added(mut self, name: &str, value: &str) -> Self {
        add_header(&mut self.headers, name, value);
        self
    }

    /// Removes every header of this name.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// Sets the whole URL.
    #[must_use]
    pub fn with_uri(mut self, uri: impl Into<String>) -> Self {
        self.uri = uri.into();
        self
    }

    /// Sets what follows the room's name in the path, percent-encoded as it is to be sent: `/history`. The query stays.
    #[must_use]
    pub fn with_rest(mut self, rest: &str) -> Self {
        self.uri = uri::with_rest(&self.uri, &self.prefix, rest);
        self
    }

    /// Sets a query parameter in place of all of that name, so that what a client sent under it is gone.
    #[must_use]
    pub fn with_query(mut self, name: &str, value: &str) -> Self {
        self.uri = uri::with_query(&self.uri, name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The method in capitals.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The whole URL as the client asked for it.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The path of the URL, still percent-encoded: `/parties/main/lobby/history`.
    pub fn path(&self) -> &str {
        uri::path(&self.uri)
    }

    /// What follows the room's name in the path: `/history`, and `/` for the room's own URL.
    pub fn rest(&self) -> &str {
        uri::rest(&self.uri, &self.prefix)
    }

    /// The first value of a query parameter, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        uri::query_all(&self.uri, name).next()
    }

    /// All values of a query parameter, decoded, in the order they came.
    pub fn query_all(&self, name: &str) -> Vec<String> {
        uri::query_all(&self.uri, name).collect()
    }

    /// The first header of this name in any case, if its value is UTF-8.
    ///
    /// The server sets `x-forwarded-for` to the client's address, and to nothing else: it is there in
    /// every request that came from outside, and no client can choose it.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The values of all headers of this name in any case, in the order they came; those that are not
    /// UTF-8 are left out.
    pub fn header_all(&self, name: &str) -> impl Iterator<Item = &str> {
        header_all(&self.headers, name)
    }

    /// Names in lower case and values, those of one name in the order they came; values that are not UTF-8
    /// are left out.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.headers)
    }

    /// The whole body; empty for an upgrade.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    ///
    /// # Errors
    /// The body is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.body).context("the request's body is not text")
    }

    /// The body read as JSON. `T` may borrow from it.
    ///
    /// # Errors
    /// The body is not JSON, or not that of a `T`.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(&self.body).context("the request's body is not the expected JSON")
    }
}

/// An HTTP response.
///
/// ```
/// use room_sdk::Response;
///
/// let response = Response::json(&[1, 2])?
///     .with_status(201)
///     .with_header("cache-control", "no-store")
///     .with_header_added("set-cookie", "a=1")
///     .with_header_added("set-cookie", "b=2");
/// assert_eq!(response.status_code(), 201);
/// assert_eq!(response.header_all("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
/// assert_eq!(response.header("content-type"), Some("application/json"));
/// # Ok::<(), room_sdk::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<Header>,
    pub(crate) body: Vec<u8>,
    pub(crate) rest: Rest,
}

/// What of a response is still to come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing: it is whole.
    #[default]
    Nothing,
    /// What is written to the stream with this id.
    Stream(String),
    /// All of it.
    All,
}

impl Response {
    /// An empty response. The runtime sends 200 to 599; another status fails the turn.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), rest: Rest::Nothing }
    }

    /// 200 with plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::typed("text/plain; charset=utf-8", text.into().into_bytes())
    }

    /// 200 with an HTML page. Nothing is escaped: what users wrote does not belong into it.
    pub fn html(html: impl Into<String>) -> Self {
        Self::typed("text/html; charset=utf-8", html.into().into_bytes())
    }

    /// 200 with JSON.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let body = serde_json::to_vec(value).context("the response cannot be written as JSON")?;
        Ok(Self::typed("application/json", body))
    }

    fn typed(content_type: &str, body: Vec<u8>) -> Self {
        Self { body, ..Self::status(200).with_header("content-type", content_type) }
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Sets a header in place of all of that name. One that only a server may set (`connection`,
    /// `transfer-encoding`, `content-length`, `upgrade` and their like) fails the turn, as does one
    /// that is not valid HTTP.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        set_header(&mut self.headers, name, value);
        self
    }

    /// Adds a header after those of the same name, such as a second `set-cookie`. What
    /// [`with_header`](Self::with_header) says of names holds.
    #[must_use]
    pub fn with_header_added(mut self, name: &str, value: &str) -> Self {
        add_header(&mut self.headers, name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The status.
    pub fn status_code(&self) -> u16 {
        self.status
    }

    /// The first header of this name in any case, if its value is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The values of all headers of this name in any case, in order; those that are not UTF-8 are left out.
    pub fn header_all(&self, name: &str) -> impl Iterator<Item = &str> {
        header_all(&self.headers, name)
    }

    /// The whole body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text, for tests; what is not UTF-8 is replaced.
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body read as JSON, for tests.
    ///
    /// # Errors
    /// The body is not JSON, or not that of a `T`.
    pub fn body_json<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(&self.body).context("the response's body is not the expected JSON")
    }
}

/// What becomes of a request before it reaches its room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on to the room with the headers and the URL of this request: so a name that was checked is
    /// handed on. The path after the room's name and the query may differ from the original; a URL of
    /// another room, another host or another scheme fails the hook. Method and body are the original's.
    /// A connection's id stays the client's, whatever the query says afterwards.
    ///
    /// Of a WebSocket's `sec-websocket-protocol` the first that is left is the subprotocol that the
    /// client is answered. So a hook chooses among the client's offers by
    /// [`with_header`](Request::with_header), and none by
    /// [`without_header`](Request::without_header). One that the client did not offer fails the hook.
    Forward(Request),
    /// Answered with this; the room gets no event. A browser's WebSocket cannot read it and
    /// tries again: prefer [`Refuse`](Self::Refuse) for one.
    Respond(Response),
    /// A WebSocket is accepted and closed at once, so that the client can know why and stop. A plain
    /// request is answered with `code - 4000` if that is 400 to 499, else 403.
    Refuse {
        /// 4000 to 4999.
        code: u16,
        /// At most 123 bytes.
        reason: String,
    },
}

impl Verdict {
    /// [`Verdict::Forward`].
    pub fn forward(request: Request) -> Self {
        Self::Forward(request)
    }

    /// [`Verdict::Respond`].
    pub fn respond(response: Response) -> Self {
        Self::Respond(response)
    }

    /// [`Verdict::Refuse`].
    pub fn refuse(code: u16, reason: impl Into<String>) -> Self {
        Self::Refuse { code, reason: reason.into() }
    }
}

/// The room that a request asks for, as the hooks before it may know it.
#[derive(Clone, Debug)]
pub struct Lobby {
    pub(crate) party: String,
    pub(crate) room: String,
}

impl Lobby {
    /// The party's name, in kebab-case.
    pub fn party(&self) -> &str {
        &self.party
    }

    /// The room's name.
    pub fn room(&self) -> &str {
        &self.room
    }

    /// Adds a header to the answer that the client gets, after those of the same name: so a hook sets a cookie.
    ///
    /// It is in the answer that opens a WebSocket, also in one that a [`Verdict::Refuse`] closes at once, and in the
    /// response to a plain request, the room's or the hook's own. It is not in an answer with which the server reports
    /// a failure, nor after `Err`. What [`Response::with_header`] says of names holds, and for `sec-websocket-…`, too:
    /// such a header fails the hook. So do more than 64 headers, or 16 KiB.
    ///
    /// ```
    /// use room_sdk::prelude::*;
    /// use room_sdk::test::TestRoom;
    ///
    /// #[derive(Default)]
    /// struct Club;
    ///
    /// impl Room for Club {
    ///     fn on_before_connect(request: Request, lobby: &Lobby) -> Result<Verdict> {
    ///         lobby.add_response_header("set-cookie", "seen=1; Path=/; HttpOnly");
    ///         Ok(Verdict::forward(request))
    ///     }
    /// }
    ///
    /// let ann = TestRoom::<Club>::new("lobby").connect("ann");
    /// assert_eq!(ann.header_all("set-cookie"), ["seen=1; Path=/; HttpOnly"]);
    /// ```
    pub fn add_response_header(&self, name: &str, value: &str) {
        Current::add_response_header(name, value.as_bytes());
    }

    /// A variable or secret of the room's project.
    pub fn var(&self, name: &str) -> Option<String> {
        Current::var(name)
    }

    /// A request to another server, which the hook waits for: `lobby.fetch(Request::get(url)).send()?`. The host has to
    /// be listed in `[fetch] hosts` of `room.toml`.
    pub fn fetch(&self, request: Request) -> HookFetch {
        HookFetch::new(request)
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(Current::now_ms())
    }
}
