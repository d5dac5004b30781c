//! Clients that connect by server-sent events. Owns which requests do, and the response that carries the connection.
//!
//! Invariant: such a client is admitted as one with a WebSocket is, and the first event tells it alone the secret for its
//! own messages. A stock `EventSource` comes again after every end, but for refusals and final closes. It does not know
//! what a room sends.

mod events;
mod stream;

use crate::address::{query_value, with_query};
use crate::carrier::SseCarrier;
use crate::http::append;
use crate::identity;
use crate::listener::{ConnectionSlot, RequestArrival, admit_connect};
use crate::socket::{self, HandshakeOutcome, JoinedClient};
use crate::status::{ClientError, status_of_refusal};
use crate::{FrontDoor, NamedRoom};
use ::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use events::{LAST_EVENT_ID, LastEvent};
use room_core::config::SseAccess;
use room_core::connection::Transport;
use room_core::event::CloseFrame;
use room_core::limits::Limits;
use room_core::logs::LogLevel;
use room_core::metrics::Refusal;
use stream::EventSink;
use tokio::time::Instant;

/// The close codes of errors after which another attempt may help.
const LATER: std::ops::RangeInclusive<u16> = 1011..=1013;

/// Returns true if a request is to open a connection by server-sent events: its party has them, and the client prefers
/// them to everything else that it accepts.
pub(super) fn is_asked_for(door: &FrontDoor, request: &Request, named: &NamedRoom) -> bool {
    *request.method() == Method::GET
        && prefers_events(request.headers())
        && named.as_ref().ok().and_then(Option::as_ref).is_some_and(|room| {
            door.0.rooms.entrance(room).is_ok_and(|it| it.party().sse == SseAccess::On)
        })
}

/// Returns true if `Accept` names event streams, and nothing with a larger weight or before it with the same one.
fn prefers_events(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    let texts = values.map(|value| value.to_str().unwrap_or_default());
    let mut best: Option<(f32, bool)> = None;
    for item in texts.flat_map(|text| text.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
        });
        let weight: f32 = weight.unwrap_or(1.0);
        if !kind.is_empty() && weight > best.map_or(0.0, |(best, _)| best) {
            best = Some((weight, kind.eq_ignore_ascii_case("text/event-stream")));
        }
    }
    best.is_some_and(|(_, is_events)| is_events)
}

/// Opens a connection to the room, or answers why there is none.
pub(super) async fn open(door: FrontDoor, mut request: Request, named: &NamedRoom) -> Response {
    let (begun, metrics) = (Instant::now(), door.0.metrics.door.clone());
    if request.headers().get_all(LAST_EVENT_ID).iter().any(events::is_final) {
        // The one answer after which an EventSource does not come again.
        return (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response();
    }
    if let Err(error) = admit_connect(&request) {
        metrics.refusals.count(error.refusal());
        // No log line for each: a flood would fill the log.
        let shown = error.show(door.0.audience);
        let after_ms = u64::from(shown.retry_after.unwrap_or_default()).saturating_mul(1_000);
        return later(&shown, after_ms.max(retry_ms(&door.0.limits)));
    }
    if let Some(uri) = returning_uri(&request) {
        *request.uri_mut() = uri;
    }
    // As long as the stream lasts, its connection counts for the client's address.
    let place = request.extensions().get::<RequestArrival>().map(|arrival| arrival.place.clone());
    match socket::join(&door, request, named, Transport::Sse).await {
        Ok(HandshakeOutcome::Joined(client)) => {
            metrics.open_seconds.record(begun.elapsed());
            welcome(&door, *client, place)
        }
        Ok(HandshakeOutcome::Response(response)) => {
            metrics.refusals.count(Refusal::Hook);
            let status = response.status();
            let text = format!("a client was turned away by on_before_connect with {status}");
            door.note(LogLevel::Info, named, &text);
            response
        }
        Ok(HandshakeOutcome::Refused(frame, added)) => {
            metrics.refusals.count(Refusal::Hook);
            let CloseFrame { code, reason } = frame;
            let text =
                format!("a client was turned away by on_before_connect with {code}: {reason}");
            door.note(LogLevel::Info, named, &text);
            let mut response = (status_of_refusal(code), reason).into_response();
            append(response.headers_mut(), added);
            response
        }
        Err(error) => {
            metrics.refusals.count(error.refusal());
            let shown = door.refuse(&error, named);
            match LATER.contains(&shown.frame.code) {
                true => later(&shown, retry_ms(&door.0.limits)),
                false => shown.into_response(),
            }
        }
    }
}

/// Answers a client that should come again. An EventSource gives up for good after any status but 200, so the stream is
/// opened and closed at once with the reason.
fn later(shown: &ClientError, after_ms: u64) -> Response {
    let mut body = Vec::new();
    events::write_retry(&mut body, after_ms);
    events::write_close(&mut body, &shown.frame);
    let mut response = body.into_response();
    set_headers(response.headers_mut());
    response
}

/// Begins the stream of a client that its room has admitted.
fn welcome(door: &FrontDoor, client: JoinedClient, place: Option<ConnectionSlot>) -> Response {
    let JoinedClient { membership, added, .. } = client;
    let mut first = Vec::new();
    events::write_retry(&mut first, retry_ms(&door.0.limits));
    let (sink, body) = EventSink::beginning_with(first.into());
    let (limits, closing) = (door.0.limits.clone(), door.0.closing.clone());
    let end = identity::end_of(membership.joined.ends_ms, door.0.clock);
    let carrier = SseCarrier::new(&limits, Instant::now(), end);
    door.0.sockets.spawn(async move {
        stream::run(sink, carrier, membership, limits, closing).await;
        drop(place);
    });
    let mut response = Response::new(body);
    append(response.headers_mut(), added);
    set_headers(response.headers_mut());
    response
}

/// Returns the URL with what the client's last event says, in the parameters by which any client comes back. `None` if it
/// says nothing, or the URL has them already.
fn returning_uri(request: &Request) -> Option<Uri> {
    let value = request.headers().get(LAST_EVENT_ID)?.to_str().ok()?;
    let LastEvent { since, connection } = LastEvent::parse(value)?;
    let uri = request.uri();
    let query = uri.query().unwrap_or_default();
    if query_value(query, "_since").is_some() {
        return None;
    }
    let mut pairs = vec![format!("_since={since}")];
    if let Some((secret, connection)) = connection {
        pairs.push(format!("_resume={secret}"));
        if query_value(query, "_pk").is_none() {
            pairs.push(format!("_pk={connection}"));
        }
    }
    if !query.is_empty() {
        pairs.insert(0, query.to_owned());
    }
    Some(with_query(uri, &pairs.join("&")))
}

fn set_headers(headers: &mut HeaderMap) {
    let fixed = HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, fixed("text/event-stream"));
    // A proxy that compresses or buffers would hold events back.
    headers.insert(header::CACHE_CONTROL, fixed("no-store, no-transform"));
    headers.insert("x-accel-buffering", fixed("no"));
}

/// Returns when a client comes again after the end, by chance, so that not all come at once.
fn retry_ms(limits: &Limits) -> u64 {
    let chance = uuid::Uuid::new_v4().as_u64_pair().0 % limits.sse_retry_ms.saturating_add(1);
    limits.sse_retry_ms.saturating_add(chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_preferred_only_if_nothing_is_accepted_before_them() {
        let prefers = |accept: &[&str]| {
            let values = accept.iter().map(|value| (header::ACCEPT, value.parse().unwrap()));
            prefers_events(&values.collect())
        };
        for accept in [
            &["text/event-stream"][..],
            &["Text/Event-Stream"],
            &["text/event-stream, */*"],
            &["text/event-stream;q=0.9, application/json;q=0.8"],
            &["application/json; q=0.5", "text/event-stream"],
            &["text/event-stream; charset=utf-8 ; q=1.0, text/html;q=0.9"],
        ] {
            assert!(prefers(accept), "{accept:?}");
        }
        for accept in [
            &[][..],
            &[""],
            &["*/*"],
            &["text/*"],
            &["text/html, text/event-stream"],
            &["text/event-stream;q=0"],
            &["text/event-stream;q=much"],
            &["text/event-stream;q=0.5, */*"],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            &["text/event-streams"],
        ] {
            assert!(!prefers(accept), "{accept:?}");
        }
    }

    #[test]
    fn clients_come_again_at_different_times() {
        let limits = Limits::default();
        let times: Vec<u64> = (0..64).map(|_| retry_ms(&limits)).collect();
        let most = 2 * limits.sse_retry_ms;
        assert!(times.iter().all(|time| (limits.sse_retry_ms..=most).contains(time)), "{times:?}");
        assert!(times.iter().any(|time| *time != times[0]), "{times:?}");
    }
}
