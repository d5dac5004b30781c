//! The seam between the SDK and whatever runs the room.
//!
//! Owns [`Host`], the contract's imports in the SDK's own types, and [`Current`], the one of this
//! build: the runtime on wasm, the mock of [`test`](crate::test) elsewhere. Invariant: nothing else
//! in the SDK asks on which target it runs. It does not know rooms or callbacks.
//!
//! It is hidden from the SDK's pages: the engine of rooms in JavaScript is the one other crate that calls the host
//! directly. It changes without notice.

use crate::Result as AnyResult;
use crate::connection::{Connection, Transport};
use crate::delivery::Delivery;
use crate::error::{
    ConnectionError, HistoryError, OutcallError, PresenceError, StorageError, StreamError,
    TimerError,
};
use crate::history::SentMessages;
use crate::hook_fetch::HookFetch;
use crate::http::{Request, Response, Rest};
use crate::identity::{Capabilities, Identity};
use crate::log::Level;
use crate::message::Message;
use crate::outcall::{OutcallFailure, PendingRequest, Redirects};

#[cfg(all(target_family = "wasm", not(feature = "test-host")))]
pub use crate::guest::{Wasm as Current, attached};
#[cfg(any(not(target_family = "wasm"), feature = "test-host"))]
pub use crate::test::Mock as Current;

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A client, as the host describes it.
#[derive(Clone, Debug, Default)]
pub struct ConnectionData {
    pub id: String,
    pub uri: String,
    pub tags: Vec<String>,
    pub state: Vec<u8>,
}

/// Who a client is, as the host describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRecord {
    pub claims: String,
    pub capabilities: Capabilities,
    pub ends_ms: Option<u64>,
}

/// What a ticket allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRecord {
    pub party: String,
    pub room: Option<String>,
    pub ms: u64,
    pub capabilities: Capabilities,
    pub once: bool,
    pub claims: Option<String>,
}

/// Which keys a listing returns. Every bound that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    pub start: Option<Vec<u8>>,
    pub start_after: Option<Vec<u8>>,
    pub end: Option<Vec<u8>>,
    pub prefix: Option<Vec<u8>>,
    pub reverse: bool,
    pub limit: Option<u32>,
}

/// A part of a listing, and whether there may be more.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub entries: Vec<Entry>,
    pub more: bool,
}

/// A timer, as the host describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimerRecord {
    pub id: String,
    pub at_ms: u64,
    pub every_ms: Option<u64>,
    pub tag: String,
    pub data: Vec<u8>,
    pub tries: u32,
}

/// A room of the project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomAddress {
    pub party: String,
    pub room: String,
}

/// How a request to another server is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchOptions {
    pub timeout_ms: Option<u64>,
    pub redirects: Redirects,
    pub retries: u32,
    pub chunks: bool,
    pub best_effort: bool,
}

/// A request to another server or room.
#[derive(Clone, Debug)]
pub struct OutcallRecord {
    pub tag: String,
    pub target: OutcallTarget,
}

/// What is asked, and whom.
#[derive(Clone, Debug)]
pub enum OutcallTarget {
    Fetch { request: Request, options: FetchOptions },
    Call { to: RoomAddress, data: Vec<u8> },
    Request { to: RoomAddress, request: Request },
}

/// Which of the room's messages are read.
#[derive(Clone, Debug, Default)]
pub struct SentOptions {
    pub limit: Option<u32>,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// A user that is present, as the host describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRecord {
    pub name: String,
    /// The text of a JSON value.
    pub data: String,
    pub connections: u32,
    pub flags: Vec<String>,
}

/// The imports of the contract. `sdk/wit` says what each does.
pub trait Host {
    fn connections(tag: Option<&str>) -> Vec<ConnectionData>;
    fn connection_ids(tag: Option<&str>) -> Vec<String>;
    fn connection(id: &str) -> Option<ConnectionData>;
    fn transport(id: &str) -> Option<Transport>;
    fn send(id: &str, message: Message) -> Result<(), ConnectionError>;
    fn broadcast(
        message: Message,
        tag: Option<&str>,
        without: &[String],
    ) -> Result<(), ConnectionError>;
    /// Sends with a delivery that is not reliable.
    fn send_as(id: &str, message: Message, delivery: &Delivery) -> Result<(), ConnectionError>;
    /// Broadcasts with a delivery that is not reliable.
    fn broadcast_as(
        message: Message,
        tag: Option<&str>,
        without: &[String],
        delivery: &Delivery,
    ) -> Result<(), ConnectionError>;
    fn history(options: &SentOptions) -> Result<SentMessages, HistoryError>;
    fn set_presence(connection: &str, data: &str) -> Result<(), PresenceError>;
    fn clear_presence(connection: &str) -> Result<(), PresenceError>;
    fn flag_presence(connection: &str, flag: &str, for_ms: u32) -> Result<(), PresenceError>;
    fn present_users() -> Result<Vec<UserRecord>, PresenceError>;
    fn present_user(name: &str) -> Result<Option<UserRecord>, PresenceError>;
    fn close(id: &str, code: u16, reason: &str) -> Result<(), ConnectionError>;
    fn set_state(id: &str, state: &[u8]) -> Result<(), ConnectionError>;

    fn get(key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;
    fn get_many(keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StorageError>;
    fn put(key: &[u8], value: &[u8]) -> Result<(), StorageError>;
    fn put_many(entries: &[Entry]) -> Result<(), StorageError>;
    fn delete(key: &[u8]) -> Result<bool, StorageError>;
    fn delete_many(keys: &[Vec<u8>]) -> Result<u32, StorageError>;
    fn list(options: &ListOptions) -> Result<Page, StorageError>;
    fn delete_all() -> Result<(), StorageError>;
    fn bytes() -> Result<u64, StorageError>;
    fn bytes_max() -> u64;

    fn alarm() -> Option<u64>;
    fn set_alarm(at: u64);
    fn delete_alarm();
    fn alarm_tries() -> u32;

    /// Schedules a timer as it is described, but for its id and tries.
    fn schedule(timer: TimerRecord) -> Result<String, TimerError>;
    fn cancel(id: &str) -> bool;
    fn timers() -> Vec<TimerRecord>;
    fn tick(every_ms: Option<u32>) -> Result<(), TimerError>;

    fn ask(outcall: OutcallRecord) -> Result<String, OutcallError>;
    fn cancel_outcall(id: &str) -> bool;
    fn outcalls() -> Vec<PendingRequest>;
    /// The next names of a party's rooms, and whether there may be more.
    fn rooms(party: &str, after: Option<&str>) -> Result<(Vec<String>, bool), OutcallError>;

    /// The id of the request that the running `on_request` handles, and whether its body follows in pieces.
    fn request() -> Option<(String, bool)>;
    fn defer() -> Result<String, StreamError>;
    fn respond(id: &str, response: Response) -> Result<(), StreamError>;
    fn begin(id: &str, head: Response) -> Result<(), StreamError>;
    fn write(id: &str, piece: &[u8]) -> Result<(), StreamError>;
    fn end(id: &str) -> Result<(), StreamError>;
    fn abort(id: &str) -> Result<(), StreamError>;
    fn open_streams() -> Vec<String>;

    fn identity_of(connection: &str) -> Option<IdentityRecord>;
    fn ticket(grant: GrantRecord) -> Result<String, String>;

    fn party() -> String;
    fn name() -> String;
    fn flush();
    fn savepoint() -> AnyResult<u32>;
    fn roll_back(savepoint: u32);
    fn release(savepoint: u32);
    fn refuse(response: Response);
    fn add_response_header(name: &str, value: &[u8]);
    fn fetch_now(fetch: HookFetch) -> Result<Response, OutcallFailure>;
    fn log(level: Level, message: &str, fields: &[(&str, String)]);
    fn now_ms() -> u64;
    fn var(name: &str) -> Option<String>;
    /// Every variable and secret of the project, sorted by name.
    fn vars() -> Vec<(String, String)>;
}

/// A request in parts: what the host gives and takes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestParts {
    pub method: String,
    pub uri: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl From<Request> for RequestParts {
    fn from(request: Request) -> Self {
        let Request { method, uri, headers, body, .. } = request;
        Self { method, uri, headers, body }
    }
}

impl From<RequestParts> for Request {
    fn from(parts: RequestParts) -> Self {
        let RequestParts { method, uri, headers, body } = parts;
        Self { headers, body, ..Self::new(method, uri) }
    }
}

/// A response in parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseParts {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl From<Response> for ResponseParts {
    fn from(response: Response) -> Self {
        let Response { status, headers, body, rest: _ } = response;
        Self { status, headers, body }
    }
}

impl From<ResponseParts> for Response {
    fn from(parts: ResponseParts) -> Self {
        let ResponseParts { status, headers, body } = parts;
        Self { status, headers, body, rest: Rest::Nothing }
    }
}

/// The state of a connection, as the host keeps it.
pub fn state_of(conn: &Connection) -> Vec<u8> {
    Current::connection(conn.id()).unwrap_or_default().state
}

/// Who a client is, as the host described it.
pub fn identity_record(identity: &Identity) -> &IdentityRecord {
    identity.record()
}

/// A request that a hook waits for.
pub fn hook_fetch(
    request: Request,
    timeout_ms: Option<u64>,
    redirects: Redirects,
    cached: Option<(String, u64)>,
) -> HookFetch {
    HookFetch { request, timeout_ms, redirects, cached }
}
