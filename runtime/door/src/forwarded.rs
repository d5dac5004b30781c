//! Who the client of a request is, as reported by the proxies on the way. Owns `Forwarded` and `X-Forwarded-*`.
//!
//! Invariant: a request that passed `settle` names its client in exactly one `X-Forwarded-For` with one address, and
//! the client could not choose that address. If the peer is neither a trusted proxy nor a node of this cluster, all its
//! headers that only a proxy may send are removed. It does not know which requests are answered.

use crate::listener::Scheme;
use ::http::uri::PathAndQuery;
use ::http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use room_core::config::Proxies;
use std::net::IpAddr;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// The prefix of all headers that proxies add.
const MADE_UP: &str = "x-forwarded-";

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// Its address, or the source address in its PROXY header.
    pub(super) addr: IpAddr,
    /// The scheme of the connection.
    pub(super) scheme: Scheme,
    /// Whether it may send requests on behalf of other clients.
    pub(super) asks_for: AsksFor,
}

/// On whose behalf the other end of a connection may send requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AsksFor {
    /// On its own behalf, and also on behalf of other clients if it is a trusted proxy.
    Anybody,
    /// On behalf of a client that its proxy could not name: its forwarding headers are not believed.
    Unknown,
}

/// Who has sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestSender {
    /// A node of this node's cluster. It has proved that.
    Node,
    /// Anybody else.
    Other,
}

/// What the forwarding headers say about the client.
#[derive(Debug, Default, PartialEq, Eq)]
struct ForwardingHeaders {
    client: Option<IpAddr>,
    scheme: Option<Scheme>,
    host: Option<HeaderValue>,
}

/// The client of a request, as the server believes it to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ForwardedClient {
    pub(super) addr: IpAddr,
    /// The scheme of the URL that the client called.
    pub(super) scheme: Scheme,
}

impl Peer {
    /// Returns true if the server believes the peer's forwarding headers.
    pub(super) fn is_trusted(&self, proxies: &Proxies) -> bool {
        self.asks_for == AsksFor::Anybody && proxies.trusts(self.addr)
    }
}

/// Replaces the forwarding headers of a request by what the server believes of its client.
pub(super) fn settle<B>(
    request: &mut Request<B>,
    peer: Peer,
    proxies: &Proxies,
    sender: RequestSender,
) -> ForwardedClient {
    let is_trusted = sender == RequestSender::Node || peer.is_trusted(proxies);
    let told = match is_trusted {
        true => told(request.headers(), proxies),
        false => ForwardingHeaders::default(),
    };
    forget(request.headers_mut(), is_trusted);
    let addr = told.client.unwrap_or(peer.addr).to_canonical();
    if let Ok(client) = HeaderValue::try_from(addr.to_string()) {
        request.headers_mut().insert(FOR, client);
    }
    if let Some(host) = told.host.or_else(|| named(request)) {
        rename(request, host);
    }
    ForwardedClient { addr, scheme: told.scheme.unwrap_or(peer.scheme) }
}

/// Returns the host in the request's absolute URL. It takes precedence over `Host` (RFC 9112 section 3.2.2).
fn named<B>(request: &Request<B>) -> Option<HeaderValue> {
    HeaderValue::try_from(request.uri().authority()?.as_str()).ok()
}

/// Removes the headers that `settle` replaces, and a stranger's `X-Forwarded-*`. A trusted proxy's others are kept.
fn forget(headers: &mut HeaderMap, is_trusted: bool) {
    for name in [header::FORWARDED, FOR, PROTO, HOST, REAL_IP] {
        headers.remove(name);
    }
    if !is_trusted {
        let made_up = headers.keys().filter(|name| name.as_str().starts_with(MADE_UP));
        for name in made_up.cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
    }
}

/// Sets `Host` to the name that the client called. A head with two `Host` headers stays as it is, and is refused later.
fn rename<B>(request: &mut Request<B>, host: HeaderValue) {
    if request.headers().get_all(header::HOST).iter().count() > 1 {
        return;
    }
    request.headers_mut().insert(header::HOST, host);
    if request.uri().authority().is_some() {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
    }
}

/// Reads the forwarding headers of a trusted proxy. `X-Forwarded-*` take precedence over `Forwarded`: few proxies know
/// the latter, and proxies that do not know it pass on a stranger's `Forwarded` unchanged.
fn told(headers: &HeaderMap, proxies: &Proxies) -> ForwardingHeaders {
    let all = |name: &HeaderName| -> Vec<String> {
        headers.get_all(name).iter().flat_map(listed).collect()
    };
    let (mut clients, mut schemes, mut hosts) = (all(&FOR), all(&PROTO), all(&HOST));
    if clients.is_empty() && schemes.is_empty() && hosts.is_empty() {
        let elements = headers.get_all(header::FORWARDED).iter();
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        for element in elements.flat_map(|value| parts(&text(value), ',')) {
            clients.push(parameter(&element, "for").unwrap_or_default());
            schemes.push(parameter(&element, "proto").unwrap_or_default());
            hosts.push(parameter(&element, "host").unwrap_or_default());
        }
    }
    let (client, hops) = client(&clients, proxies);
    // Each proxy of a chain either appends its own entry or overwrites the entry before it.
    let own = |list: &[String]| {
        list.len().checked_sub(1).and_then(|last| list.get(last.saturating_sub(hops))).cloned()
    };
    let host = own(&hosts).filter(|host| !host.is_empty());
    ForwardingHeaders {
        client,
        scheme: own(&schemes).and_then(|scheme| scheme_of(&scheme)),
        host: host.and_then(|host| HeaderValue::try_from(host).ok()),
    }
}

/// Returns the last address that is not a trusted proxy's, and the number of trusted proxies behind it. An unparsable
/// entry ends the chain: entries before it are ignored.
fn client(list: &[String], proxies: &Proxies) -> (Option<IpAddr>, usize) {
    let mut found = (None, 0);
    for (hops, text) in list.iter().rev().enumerate() {
        let Some(addr) = address(text) else { break };
        found = (Some(addr), hops);
        if !proxies.trusts(addr) {
            break;
        }
    }
    found
}

fn scheme_of(text: &str) -> Option<Scheme> {
    match text.to_ascii_lowercase().as_str() {
        "http" | "ws" => Some(Scheme::Http),
        "https" | "wss" => Some(Scheme::Https),
        _ => None,
    }
}

/// Parses `192.0.2.7`, `192.0.2.7:80`, `2001:db8::7`, `[2001:db8::7]` or `[2001:db8::7]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|addr| addr.ip());
    bare.parse().ok().or_else(with_port).map(|addr: IpAddr| addr.to_canonical())
}

/// Splits a comma-separated header. A value that is not visible ASCII yields one empty entry.
fn listed(value: &HeaderValue) -> Vec<String> {
    let words = value.to_str().unwrap_or_default().split(',');
    words.map(|word| word.trim().to_owned()).collect()
}

/// Splits a text at the separators that are outside quotes.
fn parts(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == separator && !quoted => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

/// Returns a parameter of one element of `Forwarded`: RFC 7239 section 4.
fn parameter(element: &str, name: &str) -> Option<String> {
    let named = parts(element, ';').into_iter().find_map(|pair| {
        let (own, value) = pair.split_once('=')?;
        own.eq_ignore_ascii_case(name).then(|| value.to_owned())
    })?;
    let Some(quoted) = named.strip_prefix('"') else { return Some(named) };
    let mut escaped = false;
    let plain = |c: &char| {
        escaped = *c == '\\' && !escaped;
        !escaped
    };
    Some(quoted.strip_suffix('"')?.chars().filter(plain).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_test_inputs::Inputs;

    fn proxies() -> Proxies {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap());
        Proxies { trusted: trusted.to_vec(), ..Proxies::default() }
    }

    fn peer(addr: &str) -> Peer {
        let addr = addr.parse().unwrap();
        Peer { addr, scheme: Scheme::Http, asks_for: AsksFor::Anybody }
    }

    /// Returns client, scheme and host of a settled request, and the names of all its headers.
    fn settled(peer: Peer, headers: &[(&str, &str)]) -> (String, String) {
        let mut request = Request::builder().uri("/").header("host", "here");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        let scheme = settle(&mut request, peer, &proxies(), RequestSender::Other).scheme;
        let text = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        let mut names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let told = format!("{} {}://{}", text("x-forwarded-for"), scheme.as_str(), text("host"));
        (told, names.join(" "))
    }

    #[test]
    fn an_absolute_url_overrides_the_host_header() {
        let request =
            Request::builder().uri("http://one.example/a?b").header("host", "two.example");
        let mut request = request.body(()).unwrap();
        settle(&mut request, peer("192.0.2.9"), &proxies(), RequestSender::Other);
        assert_eq!(request.uri(), "/a?b");
        assert_eq!(request.headers()["host"], "one.example");
    }

    #[test]
    fn no_forwarding_header_of_an_untrusted_peer_remains() {
        let (told, names) = settled(
            peer("192.0.2.9"),
            &[
                ("x-forwarded-for", "6.6.6.6"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "evil"),
                ("x-forwarded-user", "admin"),
                ("x-real-ip", "6.6.6.6"),
                ("forwarded", "for=6.6.6.6;proto=https"),
                ("accept", "*/*"),
            ],
        );
        assert_eq!(told, "192.0.2.9 http://here");
        assert_eq!(names, "accept host x-forwarded-for");
        let unknown = Peer { asks_for: AsksFor::Unknown, ..peer("10.0.0.1") };
        let (told, names) =
            settled(unknown, &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-x", "")]);
        assert_eq!(
            (told.as_str(), names.as_str()),
            ("10.0.0.1 http://here", "host x-forwarded-for")
        );
    }

    #[test]
    fn a_node_of_the_cluster_names_the_client_as_a_trusted_proxy_does() {
        let mut request = Request::builder().uri("/").header("host", "chat.org");
        request =
            request.header("x-forwarded-for", "192.0.2.7").header("x-forwarded-proto", "https");
        let mut request = request.body(()).unwrap();
        let client = settle(&mut request, peer("192.0.2.9"), &proxies(), RequestSender::Node);
        assert_eq!((client.addr.to_string().as_str(), client.scheme), ("192.0.2.7", Scheme::Https));
        assert_eq!(request.headers()["x-forwarded-for"], "192.0.2.7");
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        let told = |headers: &[(&str, &str)]| settled(peer("10.0.0.1"), headers).0;
        let for_ = |list: &str| told(&[("x-forwarded-for", list)]);
        assert_eq!(for_("192.0.2.7"), "192.0.2.7 http://here");
        // The entry before it was sent by the client.
        assert_eq!(for_("6.6.6.6, 192.0.2.7,10.0.0.9"), "192.0.2.7 http://here");
        assert_eq!(for_("10.0.0.8, 10.0.0.9"), "10.0.0.8 http://here");
        assert_eq!(for_("[2001:db8::7]:80"), "2001:db8::7 http://here");
        assert_eq!(for_("::ffff:192.0.2.7"), "192.0.2.7 http://here");
        assert_eq!(for_("192.0.2.7:4711, fd00::1"), "192.0.2.7 http://here");
        // An unparsable entry hides the entries before it.
        for list in ["unknown", "6.6.6.6, unknown", "6.6.6.6,", "6.6.6.6 7.7.7.7", ""] {
            assert_eq!(for_(list), "10.0.0.1 http://here", "{list}");
        }
        assert_eq!(for_("6.6.6.6, _x, 10.0.0.9"), "10.0.0.9 http://here");
        let two = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(told(&two), "192.0.2.7 http://here");
    }

    #[test]
    fn scheme_and_host_come_from_the_hop_next_to_the_client() {
        let told = |list: &str, proto: &str, host: &str| {
            let headers = [
                ("x-forwarded-for", list),
                ("x-forwarded-proto", proto),
                ("x-forwarded-host", host),
            ];
            settled(peer("10.0.0.1"), &headers).0
        };
        assert_eq!(told("192.0.2.7", "https", "chat.org"), "192.0.2.7 https://chat.org");
        assert_eq!(told("192.0.2.7", "WSS", ""), "192.0.2.7 https://here");
        assert_eq!(told("192.0.2.7", "gopher", "a:8"), "192.0.2.7 http://a:8");
        assert_eq!(told("192.0.2.7, 10.0.0.9", "https, http", "out, in"), "192.0.2.7 https://out");
        assert_eq!(told("192.0.2.7, 10.0.0.9", "https", "out"), "192.0.2.7 https://out");
        assert_eq!(told("6.6.6.6, 192.0.2.7", "http, https", "a, b"), "192.0.2.7 https://b");
        let (_, names) =
            settled(peer("10.0.0.1"), &[("x-forwarded-user", "me"), ("x-real-ip", "x")]);
        assert_eq!(names, "host x-forwarded-for x-forwarded-user");
    }

    #[test]
    fn the_forwarded_header_is_read_if_the_older_ones_are_missing() {
        let told = |value: &str| settled(peer("10.0.0.1"), &[("forwarded", value)]).0;
        assert_eq!(told("for=192.0.2.7"), "192.0.2.7 http://here");
        assert_eq!(
            told(r#"for=6.6.6.6, For="[2001:db8::7]:4711";Proto=https;host="a:8", for=10.0.0.9"#),
            "2001:db8::7 https://a:8"
        );
        assert_eq!(told(r#"for="1\92.0.2.7""#), "192.0.2.7 http://here");
        for odd in ["for=unknown", "for=_x", "for", "", r#"for="192.0.2.7"#, r#"for="a,b;c""#] {
            assert_eq!(told(odd), "10.0.0.1 http://here", "{odd}");
        }
        let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(settled(peer("10.0.0.1"), &both).0, "192.0.2.7 http://here");
    }

    #[test]
    fn a_forwarded_host_replaces_one_host_and_never_two() {
        let mut request = Request::builder().uri("http://inner/a?b").header("host", "inner");
        request = request.header("x-forwarded-host", "outer");
        let mut request = request.body(()).unwrap();
        settle(&mut request, peer("10.0.0.1"), &proxies(), RequestSender::Other);
        assert_eq!(request.uri().to_string(), "/a?b");
        assert_eq!(request.headers()["host"], "outer");
        request.headers_mut().append("host", "b".parse().unwrap());
        request.headers_mut().append("x-forwarded-host", "outer".parse().unwrap());
        settle(&mut request, peer("10.0.0.1"), &proxies(), RequestSender::Other);
        assert_eq!(request.headers().get_all("host").iter().count(), 2);
    }

    /// Returns a request with these headers, one a line. Lines that are not valid headers are left out.
    fn request_of(input: &[u8]) -> Request<()> {
        let mut request = Request::builder().uri("/").header("host", "here").body(()).unwrap();
        for line in input.split(|byte| *byte == b'\n') {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                request.headers_mut().append(name, value);
            }
        }
        request
    }

    /// Settles a request, and checks that exactly one header names its client.
    fn settled_once(request: &mut Request<()>, peer: Peer) -> ForwardedClient {
        let client = settle(request, peer, &proxies(), RequestSender::Other);
        let named: Vec<_> = request.headers().get_all(FOR).iter().collect();
        assert_eq!(named, [&client.addr.to_string()]);
        assert_eq!(client.addr, client.addr.to_canonical());
        for name in [header::FORWARDED, PROTO, HOST, REAL_IP] {
            assert!(!request.headers().contains_key(&name), "{name}");
        }
        client
    }

    #[test]
    fn a_client_cannot_choose_its_address() {
        let words =
            ["192.0.2.7", "10.0.0.9", "[::1]:7", "for=", "proto=https", "\"", "\\", ", ", ";"];
        Inputs::of("forwarded", &words).each(|input| {
            let mut stranger = request_of(input);
            let client = settled_once(&mut stranger, peer("192.0.2.9"));
            assert_eq!((client.addr, client.scheme), (peer("192.0.2.9").addr, Scheme::Http));
            let made_up =
                stranger.headers().keys().filter(|name| name.as_str().starts_with(MADE_UP));
            assert_eq!(made_up.count(), 1);
            // Settling a second time changes nothing, so two trusted proxies may stand in a row.
            let mut proxied = request_of(input);
            let client = settled_once(&mut proxied, peer("10.0.0.1"));
            let host = proxied.headers()[header::HOST].clone();
            assert_eq!(settled_once(&mut proxied, peer("10.0.0.1")).addr, client.addr);
            assert_eq!(proxied.headers()[header::HOST], host);
            // A proxy appends the address of its own client to the headers that it received.
            let mut added = request_of(input);
            added.headers_mut().append(FOR, HeaderValue::from_static("192.0.2.7"));
            let client = settled_once(&mut added, peer("10.0.0.1"));
            assert_eq!(client.addr.to_string(), "192.0.2.7");
        });
    }
}
