//! Which room a URL names, and the values of its query. Owns the shape of the paths that lead to rooms. Pure.
//!
//! Invariant: a room is exactly one path segment, decoded once, so that no two spellings of a path reach different
//! rooms with one name. It does not know which parties exist.

use ::http::Uri;
use ::http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use room_core::id::{ConnectionId, NameError, PartyName, RoomId};
use room_core::limits::{Limits, size};

/// The party of `/party/:room`.
const DEFAULT_PARTY: &str = "main";

/// Returns the room of `/parties/:party/:room[/rest]` or `/party/:room[/rest]`, or `None` if the path names no room.
///
/// # Errors
/// [`NameError`] if the path has the shape of a room's path but its names are invalid.
pub fn room_of_path(path: &str, limits: &Limits) -> Result<Option<RoomId>, NameError> {
    if let Some(rest) = path.strip_prefix("/parties/") {
        return room_below(rest, limits);
    }
    match path.strip_prefix("/party/") {
        Some(rest) => room_of_party(DEFAULT_PARTY, rest, limits),
        None => Ok(None),
    }
}

/// Returns the room of `:party/:room[/rest]`, the part of a path after the one of all rooms.
///
/// # Errors
/// As [`room_of_path`].
pub(super) fn room_below(rest: &str, limits: &Limits) -> Result<Option<RoomId>, NameError> {
    match rest.split_once('/') {
        Some((party, rest)) => room_of_party(party, rest, limits),
        None => Ok(None),
    }
}

fn room_of_party(party: &str, rest: &str, limits: &Limits) -> Result<Option<RoomId>, NameError> {
    let segment = rest.split('/').next().unwrap_or_default();
    if party.is_empty() || segment.is_empty() {
        return Ok(None);
    }
    let party = PartyName::parse(party)?;
    RoomId::from_segment(party, segment, size(limits.room_name_bytes_max)).map(Some)
}

/// Returns the URL with which a hook hands a request on to the room that the client asked for.
///
/// # Errors
/// Says why the hook may not: the URL is invalid or too long, or of another room, host or scheme.
pub(super) fn forwarded_url(
    original: &str,
    new: &str,
    room: &RoomId,
    named: impl Fn(&str) -> Result<Option<RoomId>, NameError>,
    limits: &Limits,
) -> Result<String, String> {
    if original == new {
        return Ok(new.to_owned());
    }
    let parsed = |url: &str| url.parse::<::http::Uri>().map(::http::Uri::into_parts);
    let (Ok(from), Ok(to)) = (parsed(original), parsed(new)) else {
        return Err(format!("a hook forwards a request with a URL that is invalid: {new:?}"));
    };
    if (&from.scheme, &from.authority) != (&to.scheme, &to.authority) {
        return Err(format!(
            "a hook may change the path and the query of a URL, not its scheme or its host: {new:?}"
        ));
    }
    let path = to.path_and_query.as_ref().map_or("/", |path| path.as_str());
    let max = limits.uri_bytes_max;
    if path.len() > size(max) {
        return Err(format!(
            "a hook forwards a request with a URL of {} bytes, uri_bytes_max allows {max}",
            path.len()
        ));
    }
    let to = to.path_and_query.as_ref().map_or("/", |path| path.path());
    if named(to).as_ref() != Ok(&Some(room.clone())) {
        return Err(format!(
            "a hook cannot send a request for {room} to another room: {to:?} is not its path"
        ));
    }
    let origin = original.split_once("://").and_then(|(scheme, rest)| {
        let host = rest.split(['/', '?']).next()?;
        Some(format!("{scheme}://{host}"))
    });
    // Written again, because a fragment is never sent.
    Ok(format!("{}{path}", origin.unwrap_or_default()))
}

/// Returns the id that a client chose with `_pk`, or a new id if it chose none.
///
/// # Errors
/// [`NameError`] if the id is too long or has control characters in it.
pub fn connection_of_query(
    query: Option<&str>,
    limits: &Limits,
) -> Result<ConnectionId, NameError> {
    match query.and_then(|query| query_value(query, "_pk")) {
        Some(id) if !id.is_empty() => {
            ConnectionId::parse(&id, size(limits.connection_id_bytes_max))
        }
        _ => Ok(ConnectionId::random()),
    }
}

/// Returns the first value of a name in a query, decoded as forms are.
pub(super) fn query_value(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name)
            .then(|| percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
    })
}

/// Returns a URL with another query, none if it is empty. What is taken out of a query, such as a token, is in no part of
/// the result.
pub(super) fn with_query(uri: &Uri, query: &str) -> Uri {
    let path = match query {
        "" => uri.path().to_owned(),
        query => format!("{}?{query}", uri.path()),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(path).ok();
    Uri::from_parts(parts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_url_has_another_query_or_none_and_keeps_the_rest() {
        let whole: Uri = "http://a.example/parties/main/x%20y?token=t&a=1".parse().unwrap();
        for (query, expected) in [
            ("a=1", "http://a.example/parties/main/x%20y?a=1"),
            ("", "http://a.example/parties/main/x%20y"),
        ] {
            assert_eq!(with_query(&whole, query).to_string(), expected);
        }
        let origin: Uri = "/parties/main/x?token=t".parse().unwrap();
        assert_eq!(with_query(&origin, "b").to_string(), "/parties/main/x?b");
        let spoilt = with_query(&origin, "a b\u{7f}").to_string();
        assert!(!spoilt.contains("token"), "{spoilt}");
    }

    fn room(path: &str) -> Result<Option<String>, NameError> {
        room_of_path(path, &Limits::default()).map(|room| room.map(|room| room.to_string()))
    }

    #[test]
    fn paths_lead_to_rooms() {
        let found = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(room("/parties/main/lobby"), found("main/lobby"));
        assert_eq!(room("/parties/ChatRoom/lobby/api/x"), found("chat-room/lobby"));
        assert_eq!(room("/party/lobby"), found("main/lobby"));
        assert_eq!(room("/party/lobby/"), found("main/lobby"));
        assert_eq!(room("/parties/main/a%20b"), found("main/a b"));
        assert_eq!(room("/parties/main/%C3%A9"), found("main/é"));
    }

    #[test]
    fn other_paths_lead_to_no_room() {
        for path in
            ["/", "/parties", "/parties/", "/parties/main", "/parties/main/", "/party/", "/x"]
        {
            assert_eq!(room(path), Ok(None), "{path}");
        }
    }

    #[test]
    fn invalid_names_in_a_path_are_refused() {
        assert!(room("/parties/main/%FF").is_err());
        assert!(room("/parties/main/%00").is_err());
        assert!(room("/parties/a%2Fb/x").is_err());
        assert!(room(&format!("/party/{}", "a".repeat(257))).is_err());
    }

    #[test]
    fn a_hook_changes_the_path_and_the_query_and_never_the_room() {
        let limits = Limits::default();
        let room = room_of_path("/party/lobby", &limits).unwrap().unwrap();
        let from = "http://h:1/party/lobby?x=1";
        let to = |new: &str| {
            forwarded_url(from, new, &room, |path| room_of_path(path, &limits), &limits)
        };
        for (new, wanted) in [
            (from, from),
            ("http://h:1/party/lobby/a?y=2", "http://h:1/party/lobby/a?y=2"),
            ("http://h:1/parties/main/lobby", "http://h:1/parties/main/lobby"),
            ("http://h:1/party/lobby?x#part", "http://h:1/party/lobby?x"),
        ] {
            assert_eq!(to(new).as_deref(), Ok(wanted), "{new}");
        }
        let long = format!("{from}{}", "x".repeat(size(limits.uri_bytes_max)));
        for (new, why) in [
            ("http://h:1/party/other", "another room"),
            ("http://h:1/parties/other/lobby", "another room"),
            ("http://h:1/", "another room"),
            ("http://h:1/party/%00", "another room"),
            ("https://h:1/party/lobby", "scheme"),
            ("http://evil/party/lobby", "host"),
            ("/party/lobby", "host"),
            ("http://h:1/a b", "invalid"),
            ("", "invalid"),
            (&long, "uri_bytes_max"),
        ] {
            let error = to(new).unwrap_err();
            assert!(error.contains(why), "{new}: {error}");
        }
    }

    #[test]
    fn the_id_is_the_clients_or_a_new_one() {
        let id = |query| connection_of_query(query, &Limits::default());
        assert_eq!(id(Some("_pk=abc&x=1")).unwrap().as_str(), "abc");
        assert_eq!(id(Some("x=1&_pk=a%20b+c")).unwrap().as_str(), "a b c");
        assert_eq!(id(Some("_pk=")).unwrap().as_str().len(), 36);
        assert_ne!(id(None).unwrap(), id(None).unwrap());
        assert!(id(Some(&format!("_pk={}", "a".repeat(300)))).is_err());
    }

    proptest! {
        #[test]
        fn parsing_any_path_and_query_never_panics(path in "(/parties/|/party/)?[ -~é%]{0,60}", query in "[ -~]{0,40}") {
            let _ = room_of_path(&path, &Limits::default());
            let _ = connection_of_query(Some(&query), &Limits::default());
            let room = room_of_path("/party/lobby", &Limits::default()).unwrap().unwrap();
            let limits = Limits::default();
            let named = |path: &str| room_of_path(path, &limits);
            let _ = forwarded_url("http://h/party/lobby", &path, &room, named, &limits);
        }
    }
}
