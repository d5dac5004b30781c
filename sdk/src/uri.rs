//! Reading URLs.
//!
//! Owns how a URL splits into path, sub-path and query. Invariant: a malformed escape is kept as it
//! stands, nothing is refused. It does not know requests or connections, and not what a room does
//! with a sub-path.

/// The path of a URL, without scheme, host, query and fragment; `/` if it has none.
pub(crate) fn path(uri: &str) -> &str {
    let from_path = match uri.find("://") {
        Some(scheme) => {
            let host = &uri[scheme + 3..];
            &host[host.find(['/', '?', '#']).unwrap_or(host.len())..]
        }
        None => uri,
    };
    match from_path.split(['?', '#']).next() {
        None | Some("") => "/",
        Some(path) => path,
    }
}

/// What follows the room's name in a URL: `/` for the room's own URL, else with its leading slash.
///
/// A room's URL is `/parties/:party/:room`, `/party/:room`, or has the project's own prefix before `/:party/:room`.
pub(crate) fn rest<'a>(uri: &'a str, prefix: &str) -> &'a str {
    let path = path(uri);
    let below = path.strip_prefix(prefix).filter(|below| below.starts_with('/'));
    let segments = match path.split('/').nth(1) {
        Some("parties") => 3,
        Some("party") => 2,
        _ if !prefix.is_empty() && below.is_some() => prefix.matches('/').count() + 2,
        _ => return path,
    };
    match path.match_indices('/').nth(segments) {
        Some((at, _)) => &path[at..],
        None => "/",
    }
}

/// The part of a URL that says which room it is of: all before the sub-path and the query.
#[cfg(any(not(target_family = "wasm"), feature = "test-host"))]
pub(crate) fn room<'a>(uri: &'a str, prefix: &str) -> &'a str {
    let before = uri.split(['?', '#']).next().unwrap_or_default();
    before.strip_suffix(rest(before, prefix)).unwrap_or(before)
}

/// A URL with another sub-path, and with the query that it had.
pub(crate) fn with_rest(uri: &str, prefix: &str, new: &str) -> String {
    let (whole, query) = (uri.split('#').next().unwrap_or_default(), query(uri));
    let before = whole.split('?').next().unwrap_or_default();
    // The URL of a room may end without a slash.
    let own = before.strip_suffix(rest(before, prefix)).unwrap_or(before);
    let slash = if new.starts_with('/') { "" } else { "/" };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{own}{slash}{new}{query}")
}

/// A URL in which a query parameter has this one value, whatever values it had.
pub(crate) fn with_query(uri: &str, name: &str, value: &str) -> String {
    let whole = uri.split('#').next().unwrap_or_default();
    let before = whole.split('?').next().unwrap_or_default();
    let pairs = query(uri).unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let others = pairs.filter(|pair| decode(pair.split('=').next().unwrap_or_default()) != name);
    let own = format!("{}={}", encode(name), encode(value));
    let pairs: Vec<&str> = others.chain([own.as_str()]).collect();
    format!("{before}?{}", pairs.join("&"))
}

fn query(uri: &str) -> Option<&str> {
    uri.split('#').next().and_then(|whole| whole.split_once('?')).map(|(_, query)| query)
}

/// The values of a query parameter, decoded, in order.
pub(crate) fn query_all(uri: &str, name: &str) -> impl Iterator<Item = String> {
    let (_, query) = uri.split_once('?').unwrap_or_default();
    let query = query.split('#').next().unwrap_or_default();
    // Without a query there is one empty pair, which is not a parameter.
    query.split('&').filter(|pair| !pair.is_empty()).filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == name).then(|| decode(value))
    })
}

/// Undoes percent-encoding and `+` for a space.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 3).and_then(hex);
        match (bytes[at], escaped) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Returns the byte of two hexadecimal digits.
fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(digits[0])? * 16 + digit(digits[1])?)
}

/// Percent-encodes everything but letters, digits and `-._~`, so that it fits a segment or a query.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_splits() {
        let uri = "http://localhost:1999/parties/main/my%20room/history/2?a=1&b=x%20y+z&a=2";
        assert_eq!(path(uri), "/parties/main/my%20room/history/2");
        assert_eq!(rest(uri, ""), "/history/2");
        let query = |name| query_all(uri, name).collect::<Vec<_>>();
        assert_eq!(query("a"), ["1", "2"]);
        assert_eq!(query("b"), ["x y z"]);
        assert_eq!(query("c"), [""; 0]);
    }

    #[test]
    fn the_url_of_a_room_has_the_path_slash() {
        for uri in ["/party/lobby", "http://h/parties/main/lobby?x", "/party/lobby/", "http://h"] {
            assert_eq!(rest(uri, ""), "/", "{uri}");
        }
        assert_eq!(rest("/party/lobby/a?b", ""), "/a");
        assert_eq!(rest("http://h/api/rooms/main/lobby/a?b", "/api/rooms"), "/a");
        assert_eq!(rest("http://h/api/rooms/main/lobby", "/api/rooms"), "/");
        assert_eq!(rest("/party/lobby/a?b", "/api/rooms"), "/a");
        assert_eq!(rest("/api/roomsx/y", "/api/rooms"), "/api/roomsx/y");
    }

    #[test]
    fn a_url_gets_another_sub_path_or_another_value() {
        let uri = "http://h/parties/main/lobby";
        assert_eq!(with_rest(uri, "", "/a/b"), "http://h/parties/main/lobby/a/b");
        assert_eq!(with_rest("http://h/party/lobby/?x=1", "", "a"), "http://h/party/lobby/a?x=1");
        assert_eq!(
            with_rest("http://h/party/lobby/old?x=/y", "", "/"),
            "http://h/party/lobby/?x=/y"
        );
        assert_eq!(with_query(uri, "user", "a b&c"), format!("{uri}?user=a%20b%26c"));
        let forged = "http://h/party/l?user=eve&x=1&%75ser=eve&user#f";
        assert_eq!(with_query(forged, "user", "ann"), "http://h/party/l?x=1&user=ann");
    }

    #[test]
    fn an_encoded_text_decodes_to_itself() {
        for text in ["", "a b", "100%", "%zz", "é/ü?&=+#", "%4", "+"] {
            assert_eq!(decode(&encode(text)), text);
        }
        assert_eq!(decode("%zz%4"), "%zz%4");
    }
}
