//! The seam between the SDK and whatever runs the room.
//!
//! Owns [`Host`], the contract's imports in the SDK's own types, and [`Current`], the one of this
//! build: the runtime on wasm, the mock of [`test`](crate::test) elsewhere. Invariant: nothing else
//! in the SDK asks on which target it runs. It does not know rooms or callbacks.

use crate::Result as AnyResult;
use crate::error::{ConnectionError, OutcallError, StorageError, StreamError, TimerError};
use crate::hook_fetch::HookFetch;
use crate::http::{Request, Response};
use crate::log::Level;
use crate::message::Message;
use crate::outcall::{OutcallFailure, PendingRequest, Redirects};

#[cfg(target_family = "wasm")]
pub(crate) use crate::guest::Wasm as Current;
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::test::Mock as Current;

/// A key and its value.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// A client, as the host describes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionData {
    pub(crate) id: String,
    pub(crate) uri: String,
    pub(crate) tags: Vec<String>,
    pub(crate) state: Vec<u8>,
}

/// Which keys a listing returns. Every bound that is given must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListOptions {
    pub(crate) start: Option<Vec<u8>>,
    pub(crate) start_after: Option<Vec<u8>>,
    pub(crate) end: Option<Vec<u8>>,
    pub(crate) prefix: Option<Vec<u8>>,
    pub(crate) reverse: bool,
    pub(crate) limit: Option<u32>,
}

/// A part of a listing, and whether there may be more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    pub(crate) more: bool,
}

/// A timer, as the host describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimerRecord {
    pub(crate) id: String,
    pub(crate) at_ms: u64,
    pub(crate) every_ms: Option<u64>,
    pub(crate) tag: String,
    pub(crate) data: Vec<u8>,
    pub(crate) tries: u32,
}

/// A room of the project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoomAddress {
    pub(crate) party: String,
    pub(crate) room: String,
}

/// How a request to another server is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FetchOptions {
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) redirects: Redirects,
    pub(crate) retries: u32,
    pub(crate) chunks: bool,
    pub(crate) best_effort: bool,
}

/// A request to another server or room.
#[derive(Clone, Debug)]
pub(crate) struct OutcallRecord {
    pub(crate) tag: String,
    pub(crate) target: OutcallTarget,
}

/// What is asked, and whom.
#[derive(Clone, Debug)]
pub(crate) enum OutcallTarget {
    Fetch { request: Request, options: FetchOptions },
    Call { to: RoomAddress, data: Vec<u8> },
    Request { to: RoomAddress, request: Request },
}

/// The imports of the contract. `sdk/wit` says what each does.
pub(crate) trait Host {
    fn connections(tag: Option<&str>) -> Vec<ConnectionData>;
    fn connection_ids(tag: Option<&str>) -> Vec<String>;
    fn connection(id: &str) -> Option<ConnectionData>;
    fn send(id: &str, message: Message) -> Result<(), ConnectionError>;
    fn broadcast(
        message: Message,
        tag: Option<&str>,
        without: &[String],
    ) -> Result<(), ConnectionError>;
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
    fn open_streams() -> Vec<String>;

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
}
