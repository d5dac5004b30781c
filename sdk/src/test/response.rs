//! A response of a room under test, as it grows.
//!
//! Owns [`TestResponse`]. Invariant: it has only what committed turns sent. It does not know the room's struct, only
//! that it is there.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use super::runner::Runner;
use super::streams::{ClientEnd, Received, id};
use crate::Room;
use crate::http::Response;
use crate::stream::{BodyFault, BodyPiece, StreamEnd};

/// The response to a request that [`TestRoom::begin`](super::TestRoom::begin) or
/// [`TestRoom::upload`](super::TestRoom::upload) sent.
pub struct TestResponse<R> {
    pub(super) runner: Rc<RefCell<Runner<R>>>,
    pub(super) number: u64,
}

impl<R: Room> TestResponse<R> {
    /// The id of the request, as [`Context::request_id`](crate::Context::request_id) had it.
    pub fn id(&self) -> String {
        id(self.number)
    }

    /// The response, as soon as it has begun: status, headers and the body that it began with.
    pub fn head(&self) -> Option<Response> {
        self.received(|received| received.head.clone())
    }

    /// The status, as soon as the response has begun.
    pub fn status(&self) -> Option<u16> {
        self.head().map(|head| head.status_code())
    }

    /// Takes what arrived of the body since the last call.
    pub fn take(&self) -> Vec<u8> {
        self.received(|received| std::mem::take(&mut received.body))
    }

    /// Takes what arrived of the body since the last call as text; what is not UTF-8 is replaced.
    pub fn take_text(&self) -> String {
        String::from_utf8_lossy(&self.take()).into_owned()
    }

    /// Takes the whole events that arrived since the last call, as an `EventSource` reads them: names with data. One
    /// without a name is a `message`.
    pub fn take_events(&self) -> Vec<(String, String)> {
        self.received(|received| {
            let end = received.body.windows(2).rposition(|two| two == b"\n\n");
            let rest = received.body.split_off(end.map_or(0, |end| end + 2));
            let whole = std::mem::replace(&mut received.body, rest);
            let text = String::from_utf8_lossy(&whole).into_owned();
            text.split("\n\n").filter_map(event).collect()
        })
    }

    /// True if the response has come to its end.
    pub fn is_complete(&self) -> bool {
        self.received(|received| received.end == Some(ClientEnd::Complete))
    }

    /// True if it ended before the room completed it.
    pub fn is_broken_off(&self) -> bool {
        self.received(|received| received.end == Some(ClientEnd::BrokenOff))
    }

    /// Leaves before the response has ended: the room sees [`StreamEnd::Left`].
    pub fn leave(&self) {
        self.cut(StreamEnd::Left);
    }

    /// Ends the response for another reason: [`StreamEnd::Slow`], say. Does nothing if it has ended.
    pub fn cut(&self, end: StreamEnd) {
        self.runner.borrow_mut().cut_stream(self.number, end);
    }

    /// Sends a piece of the request's body, after which others follow. Does nothing if the response has ended.
    pub fn send_piece(&self, bytes: impl Into<Vec<u8>>) {
        self.piece(BodyPiece::More(bytes.into()));
    }

    /// Sends the last piece of the request's body.
    pub fn send_last(&self, bytes: impl Into<Vec<u8>>) {
        self.piece(BodyPiece::Last(bytes.into()));
    }

    /// Sends no more of the request's body, as if this had gone wrong.
    pub fn fail_body(&self, fault: BodyFault) {
        self.piece(BodyPiece::Failed(fault));
    }

    fn piece(&self, piece: BodyPiece) {
        self.runner.borrow_mut().piece(self.number, piece);
    }

    fn received<T>(&self, read: impl FnOnce(&mut Received) -> T) -> T {
        read(self.runner.borrow_mut().world.streams.client(self.number))
    }
}

impl<R> fmt::Debug for TestResponse<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestResponse").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The event in these lines, if they have one.
fn event(lines: &str) -> Option<(String, String)> {
    let (mut name, mut data) = ("message", None::<String>);
    for line in lines.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (field, &mut data) {
            ("event", _) => name = value,
            ("data", Some(data)) => {
                data.push('\n');
                data.push_str(value);
            }
            ("data", none) => *none = Some(value.to_owned()),
            _ => {}
        }
    }
    data.map(|data| (name.to_owned(), data))
}
