//! The bounds of the mock host, equal to the runtime's defaults.
//!
//! Owns the numbers and the checks that need nothing else. Invariant: what the runtime refuses by
//! default the mock refuses, with the same error. It does not know a project's own `[limits]`.

use crate::connection::NO_CODE;
use crate::delivery::Delivery;
use crate::error::{ConnectionError, OutcallError, PresenceError, StorageError, TimerError};
use crate::host::{OutcallRecord, OutcallTarget, TimerRecord};
use crate::http::{Header, Request, Response, Rest, Verdict};
use crate::message::Message;
use crate::uri;

/// A longer message from a client ends its connection with 1009.
pub(super) const MESSAGE_BYTES_MAX: u32 = 1024 * 1024;
/// A longer message of a room is refused.
const ROOM_MESSAGE_BYTES_MAX: u32 = 32 * 1024 * 1024;
/// A longer key of a message that replaces another is refused.
const LATEST_KEY_BYTES_MAX: u32 = 128;
/// More present users are refused.
const PRESENCE_USERS_MAX: usize = 1_000;
/// A longer name of a user is refused.
const PRESENCE_USER_BYTES_MAX: usize = 256;
/// More JSON of a user is refused.
const PRESENCE_DATA_BYTES_MAX: u32 = 4 * 1024;
/// More bytes of names, data and flags of the present users are refused.
const PRESENCE_ROOM_BYTES_MAX: usize = 512 * 1024;
/// More flags of a user are refused.
const PRESENCE_FLAGS_MAX: usize = 8;
/// A longer name of a flag is refused.
const PRESENCE_FLAG_BYTES_MAX: usize = 32;
/// A flag for longer is refused.
const PRESENCE_FLAG_MS_MAX: u32 = 60_000;
/// What a user counts besides its texts.
const PRESENT_USER_BYTES: usize = 64;
/// A longer key is refused.
pub(super) const KEY_BYTES_MAX: u32 = 2048;
/// A longer value is refused.
pub(super) const VALUE_BYTES_MAX: u32 = 1024 * 1024;
/// More state for a connection is refused.
pub(super) const CONNECTION_STATE_BYTES_MAX: u32 = 16 * 1024;
/// More bytes of keys and values in one turn are refused.
pub(super) const TURN_WRITE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// More keys changed in one turn, or asked for in one call, are refused.
pub(super) const TURN_WRITES_MAX: usize = 10_000;
/// More messages, broadcasts and closes in one turn are refused.
pub(super) const TURN_SENDS_MAX: usize = 10_000;
/// More bytes sent in one turn are refused; a broadcast counts once.
pub(super) const TURN_SEND_BYTES_MAX: usize = 32 * 1024 * 1024;
/// More transactions that are open in one turn, one in the other, are refused.
pub(super) const TURN_SAVEPOINTS_MAX: usize = 16;
/// More bytes of keys and values in a room are refused, unless a test wants fewer.
pub(super) const ROOM_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// A page of a listing ends here. Small, so that tests of rooms cross pages.
pub(super) const LIST_PAGE_ENTRIES_MAX: usize = 64;
/// More tags for a connection fail its turn.
const TAGS_MAX: usize = 9;
/// A longer tag fails the turn, and nobody carries one.
pub(super) const TAG_BYTES_MAX: usize = 256;
/// A larger body of a response fails the turn.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// More headers of a response fail the turn.
const RESPONSE_HEADERS_MAX: usize = 256;
/// More headers that a hook adds to an answer fail it.
const ADDED_HEADERS_MAX: usize = 64;
/// More bytes of their names and values fail it.
const ADDED_HEADERS_BYTES_MAX: usize = 16 * 1024;
/// After more replacements of one id within the window, a newcomer is closed with 1013.
pub(super) const REPLACEMENTS_MAX: u64 = 10;
/// Time in which they count together.
pub(super) const REPLACEMENT_WINDOW_MS: u64 = 60_000;
/// More open responses are refused.
pub(super) const STREAMS_MAX: usize = 1_000;
/// A response that has not begun by then is 504.
pub(super) const ANSWER_LATER_MS_MAX: u64 = 60_000;
/// A stream without a write for so long is cut.
pub(super) const STREAM_IDLE_MS_MAX: u64 = 3_600_000;
/// A ticket that is valid for longer is refused.
pub(super) const TICKET_MS_MAX: u64 = 86_400_000;
/// Larger claims are refused.
pub(super) const CLAIMS_BYTES_MAX: usize = 4 * 1024;
/// A longer reason is refused; the WebSocket protocol has no space for more.
const CLOSE_REASON_BYTES_MAX: usize = 123;

/// More pending timers are refused.
const TIMERS_MAX: usize = 10_000;
/// More bytes of the tags and data of pending timers are refused.
const TIMERS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// More data of a timer is refused.
const TIMER_DATA_BYTES_MAX: usize = 64 * 1024;
/// A longer tag of a timer is refused.
const TIMER_TAG_BYTES_MAX: usize = 256;
/// A timer that repeats more often is refused.
const TIMER_EVERY_MS_MIN: u64 = 1_000;
/// Ticks at a shorter pause are refused.
const TICK_EVERY_MS_MIN: u32 = 10;

/// The data of a user.
pub(super) fn check_presence(user: &str, data: &str) -> Result<(), PresenceError> {
    if user.len() > PRESENCE_USER_BYTES_MAX {
        let (max, bytes) = (PRESENCE_USER_BYTES_MAX, user.len());
        let why = format!("a user's name has at most {max} bytes, this one {bytes}");
        return Err(PresenceError::Invalid(why));
    }
    match data.len() > PRESENCE_DATA_BYTES_MAX as usize {
        true => Err(PresenceError::TooLarge(PRESENCE_DATA_BYTES_MAX)),
        false => Ok(()),
    }
}

/// The name of a flag, and how long it is for.
pub(super) fn check_flag(flag: &str, for_ms: u32) -> Result<(), PresenceError> {
    if !(1..=PRESENCE_FLAG_BYTES_MAX).contains(&flag.len()) {
        let (max, bytes) = (PRESENCE_FLAG_BYTES_MAX, flag.len());
        let why = format!("a flag's name has 1 to {max} bytes, this one {bytes}");
        return Err(PresenceError::Invalid(why));
    }
    if for_ms > PRESENCE_FLAG_MS_MAX {
        let max = PRESENCE_FLAG_MS_MAX;
        let why = format!("a flag is for at most {max} ms, this one for {for_ms}: renew it");
        return Err(PresenceError::Invalid(why));
    }
    Ok(())
}

/// The number of a user's flags.
pub(super) fn check_flags(flags: usize) -> Result<(), PresenceError> {
    within("presence_flags_max", flags, PRESENCE_FLAGS_MAX)
}

/// The present users with the bytes of their texts.
pub(super) fn check_users(users: usize, bytes: usize) -> Result<(), PresenceError> {
    within("presence_users_max", users, PRESENCE_USERS_MAX)?;
    let bytes = bytes + users * PRESENT_USER_BYTES;
    within("presence_room_bytes_max", bytes, PRESENCE_ROOM_BYTES_MAX)
}

fn within(limit: &str, is: usize, max: usize) -> Result<(), PresenceError> {
    match is > max {
        true => Err(PresenceError::BeyondLimit { limit: limit.to_owned(), max: max as u64 }),
        false => Ok(()),
    }
}

/// A timer beside others, which are so many with so many bytes.
pub(super) fn check_timer(
    timer: &TimerRecord,
    (count, bytes): (usize, usize),
) -> Result<(), TimerError> {
    if timer.every_ms.is_some_and(|every_ms| every_ms < TIMER_EVERY_MS_MIN) {
        return Err(too_often("timer_every_ms_min", TIMER_EVERY_MS_MIN));
    }
    let (tag, data) = (timer.tag.len(), timer.data.len());
    let bounds = [
        (tag, TIMER_TAG_BYTES_MAX, "timer_tag_bytes_max"),
        (data, TIMER_DATA_BYTES_MAX, "timer_data_bytes_max"),
        (count + 1, TIMERS_MAX, "timers_max"),
        (bytes + tag + data, TIMERS_BYTES_MAX, "timers_bytes_max"),
    ];
    match bounds.into_iter().find(|(is, max, _)| is > max) {
        Some((_, max, limit)) => {
            Err(TimerError::BeyondLimit { limit: limit.to_owned(), max: max as u64 })
        }
        None => Ok(()),
    }
}

/// More requests that wait for an answer are refused.
const OUTCALLS_MAX: usize = 1_000;
/// A longer tag of a request is refused.
const OUTCALL_TAG_BYTES_MAX: usize = 256;
/// More data of a call is refused.
const CALL_DATA_BYTES_MAX: usize = 1024 * 1024;

/// A request beside others, which are so many.
pub(super) fn check_outcall(outcall: &OutcallRecord, count: usize) -> Result<(), OutcallError> {
    let OutcallRecord { tag, target } = outcall;
    let data = match target {
        OutcallTarget::Call { data, .. } => data.len(),
        OutcallTarget::Fetch { .. } | OutcallTarget::Request { .. } => 0,
    };
    let bounds = [
        (tag.len(), OUTCALL_TAG_BYTES_MAX, "outcall_tag_bytes_max"),
        (data, CALL_DATA_BYTES_MAX, "call_data_bytes_max"),
        (count + 1, OUTCALLS_MAX, "outcalls_max"),
    ];
    match bounds.into_iter().find(|(is, max, _)| is > max) {
        Some((_, max, limit)) => {
            Err(OutcallError::BeyondLimit { limit: limit.to_owned(), max: max as u64 })
        }
        None => Ok(()),
    }
}

/// The pause of ticks.
pub(super) fn check_ticks(every_ms: u32) -> Result<(), TimerError> {
    match every_ms < TICK_EVERY_MS_MIN {
        true => Err(too_often("tick_every_ms_min", TICK_EVERY_MS_MIN.into())),
        false => Ok(()),
    }
}

fn too_often(limit: &str, min: u64) -> TimerError {
    TimerError::TooOften { limit: limit.to_owned(), min }
}

/// The refusal of what goes beyond a limit of a turn's sends.
pub(super) fn too_many_sends(limit: &str, max: usize) -> ConnectionError {
    ConnectionError::TooManySends { limit: limit.to_owned(), max: max as u64 }
}

/// The refusal of what goes beyond a limit of writes.
pub(super) fn too_many_writes(limit: &str, max: u64) -> StorageError {
    StorageError::TooManyWrites { limit: limit.to_owned(), max }
}

fn fits(bytes: &[u8], max: u32) -> bool {
    u32::try_from(bytes.len()).is_ok_and(|len| len <= max)
}

/// True if a client may send it.
pub(super) fn may_come(message: &Message) -> bool {
    fits(message.as_bytes(), MESSAGE_BYTES_MAX)
}

/// Refuses the key of a message that cannot be one.
pub(super) fn check_delivery(delivery: &Delivery) -> Result<(), ConnectionError> {
    match delivery {
        Delivery::Latest(key) if key.is_empty() || key.len() > LATEST_KEY_BYTES_MAX as usize => {
            Err(ConnectionError::InvalidKey(LATEST_KEY_BYTES_MAX))
        }
        _ => Ok(()),
    }
}

/// A message of the room.
pub(super) fn check_message(message: &Message) -> Result<(), ConnectionError> {
    if fits(message.as_bytes(), ROOM_MESSAGE_BYTES_MAX) {
        Ok(())
    } else {
        Err(ConnectionError::MessageTooLarge(ROOM_MESSAGE_BYTES_MAX))
    }
}

pub(super) fn check_state(state: &[u8]) -> Result<(), ConnectionError> {
    if fits(state, CONNECTION_STATE_BYTES_MAX) {
        Ok(())
    } else {
        Err(ConnectionError::StateTooLarge(CONNECTION_STATE_BYTES_MAX))
    }
}

pub(super) fn check_close(code: u16, reason: &str) -> Result<(), ConnectionError> {
    if code == NO_CODE {
        // The SDK has no way to give it a reason.
        return Ok(());
    }
    if !(1000..=4999).contains(&code) || matches!(code, 1004..=1006 | 1015) {
        let why = format!(
            "a room may close with 1000 to 4999 except 1004, 1005, 1006 and 1015, not {code}"
        );
        return Err(ConnectionError::InvalidClose(why));
    }
    if reason.len() > CLOSE_REASON_BYTES_MAX {
        let why = format!(
            "a close reason has at most {CLOSE_REASON_BYTES_MAX} bytes, this one has {}",
            reason.len()
        );
        return Err(ConnectionError::InvalidClose(why));
    }
    Ok(())
}

pub(super) fn check_key(key: &[u8]) -> Result<(), StorageError> {
    if !key.is_empty() && fits(key, KEY_BYTES_MAX) {
        Ok(())
    } else {
        Err(StorageError::InvalidKey(KEY_BYTES_MAX))
    }
}

pub(super) fn check_value(value: &[u8]) -> Result<(), StorageError> {
    if fits(value, VALUE_BYTES_MAX) {
        Ok(())
    } else {
        Err(StorageError::ValueTooLarge(VALUE_BYTES_MAX))
    }
}

pub(super) fn check_tags(tags: &[String]) -> Result<(), String> {
    if tags.len() > TAGS_MAX {
        return Err(format!("a connection has at most {TAGS_MAX} tags, not {}", tags.len()));
    }
    match tags.iter().find(|tag| tag.is_empty() || tag.len() > TAG_BYTES_MAX) {
        Some(tag) => Err(format!("a tag is 1 to {TAG_BYTES_MAX} bytes, not {}", tag.len())),
        None => Ok(()),
    }
}

/// Headers that frame a message: only the server knows what they must be.
const FRAMING: [&str; 7] =
    ["connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

pub(super) fn check_response(response: &Response) -> Result<(), String> {
    if response.rest != Rest::Nothing {
        return Err("only on_request can leave its response open".to_owned());
    }
    if !(200..=599).contains(&response.status) {
        return Err(format!("the response's status is {}, not 200 to 599", response.status));
    }
    let bytes = response.body.len();
    if bytes > RESPONSE_BYTES_MAX {
        return Err(format!(
            "the response's body has {bytes} bytes, response_bytes_max allows {RESPONSE_BYTES_MAX}"
        ));
    }
    let count = response.headers.len();
    if count > RESPONSE_HEADERS_MAX {
        return Err(format!(
            "the response has {count} headers, at most {RESPONSE_HEADERS_MAX} are allowed"
        ));
    }
    response.headers.iter().try_for_each(|(name, value)| check_header(name, value))
}

/// A response in place of a 500.
pub(super) fn check_refusal(error: &str, response: &Response) -> Result<(), String> {
    if !(400..=599).contains(&response.status) {
        let status = response.status;
        return Err(format!("{error} (a request is refused with 400 to 599, not with {status})"));
    }
    check_response(response)
}

fn check_header(name: &str, value: &[u8]) -> Result<(), String> {
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("{name:?} is not a valid name for a response header"));
    }
    if FRAMING.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("a room cannot set the response header {name:?}"));
    }
    if value.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f)) {
        Ok(())
    } else {
        Err(format!("the response header {name:?} has control characters in it"))
    }
}

/// A header that a hook adds to those before.
pub(super) fn check_added(before: &[Header], name: &str, value: &[u8]) -> Result<(), String> {
    check_header(name, value)?;
    if name.to_ascii_lowercase().starts_with("sec-websocket-") {
        return Err(format!(
            "a hook cannot add the response header {name:?}; `sec-websocket-protocol` of the request that goes on \
             chooses the subprotocol"
        ));
    }
    if before.len() >= ADDED_HEADERS_MAX {
        return Err(format!("a hook adds at most {ADDED_HEADERS_MAX} headers (added_headers_max)"));
    }
    let bytes: usize = before.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes + name.len() + value.len() > ADDED_HEADERS_BYTES_MAX {
        return Err(format!(
            "the headers that a hook adds have at most {ADDED_HEADERS_BYTES_MAX} bytes (added_headers_bytes_max)"
        ));
    }
    Ok(())
}

/// A character of a header's name: RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a hook decided, as it reaches the client: of a reason as much as a close frame carries.
pub(super) fn check_verdict(verdict: Verdict, original: &Request) -> Result<Verdict, String> {
    match verdict {
        Verdict::Forward(request) if !same_room(&request, original) => {
            let uri = &request.uri;
            Err(format!("a hook cannot send a request to another room or host: {uri}"))
        }
        Verdict::Forward(request) => Ok(Verdict::Forward(request)),
        Verdict::Respond(response) => {
            check_response(&response).map(|()| Verdict::Respond(response))
        }
        Verdict::Refuse { code, reason } if (4000..=4999).contains(&code) => {
            Ok(Verdict::Refuse { code, reason: cut_reason(&reason) })
        }
        Verdict::Refuse { code, .. } => {
            Err(format!("a hook may refuse with 4000 to 4999, not {code}"))
        }
    }
}

fn same_room(request: &Request, original: &Request) -> bool {
    let prefix = &original.prefix;
    uri::room(&request.uri, prefix) == uri::room(&original.uri, prefix)
}

/// As much of a reason as fits into a close frame.
pub(super) fn cut_reason(reason: &str) -> String {
    let mut end = reason.len().min(CLOSE_REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}
