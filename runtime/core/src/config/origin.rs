//! Which pages may open WebSockets. Owns what an origin is, and which origins a project lets in.
//!
//! Invariant: a listed origin is one that a browser can send. An empty list lets every page in, because a room's own
//! hook may decide better. Pure: it does not know requests, only the texts of their headers.

use crate::limits::Limits;
use std::fmt;
use std::sync::Arc;

/// The origin of a page, as a browser sends it: `https://chat.example.com`, with a port if it is not the scheme's
/// default, or `null` if the browser hides it. In a project's list, `https://*.example.com` matches every name below
/// `example.com` but not `example.com` itself, and `http://localhost:*` matches every port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(OriginKind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum OriginKind {
    /// The origin of a page that hides it: a file, or a frame in a sandbox, which any site can make.
    Hidden,
    Site(OriginSite),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct OriginSite {
    scheme: String,
    host: OriginHost,
    port: OriginPort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OriginPort {
    /// The scheme's default port.
    Own,
    /// This port.
    Is(u16),
    /// Every port.
    Any,
}

/// The text of a hidden origin.
const HIDDEN: &str = "null";

#[derive(Clone, Debug, PartialEq, Eq)]
enum OriginHost {
    /// This host, in lower case.
    Is(String),
    /// All hosts with this suffix: `.example.com`.
    Below(String),
}

/// Why a text is not an origin, as a sentence that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OriginError(String);

impl OriginError {
    /// Returns an error with this text.
    pub(super) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// The longest host name: RFC 1035 section 2.3.4.
pub(super) const HOST_BYTES_MAX: usize = 253;

impl Origin {
    /// Parses an origin of a project's list.
    ///
    /// # Errors
    /// [`OriginError`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let wrong = |why: &str| {
            let shown: String = text.chars().take(HOST_BYTES_MAX).collect();
            Err(OriginError(format!("{shown:?} is not an origin: {why}")))
        };
        if text == "*" {
            return wrong("to let every page in, list no origins at all");
        }
        if text == HIDDEN {
            return Ok(Self(OriginKind::Hidden));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("it must start with a scheme, such as https://chat.example.com");
        };
        if rest.contains(['/', '?', '#']) {
            return wrong("it must end after the host and the port, without a path or a slash");
        }
        if rest.contains('@') {
            return wrong("it must not contain a user");
        }
        let Some(site) = OriginSite::read(scheme, rest) else {
            return wrong(
                "its host is a name in ASCII or an address, as in https://chat.example.com:8443, and a \
                 star stands only for the first part of a name with others behind it, or for the port",
            );
        };
        Ok(Self(OriginKind::Site(site)))
    }
}

impl OriginSite {
    /// Parses an origin as a browser sends it. It names one page, so a star in it is invalid.
    fn sent(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let site = Self::read(scheme, rest)?;
        (matches!(site.host, OriginHost::Is(_)) && site.port != OriginPort::Any).then_some(site)
    }

    fn read(scheme: &str, authority: &str) -> Option<Self> {
        let scheme = scheme.to_ascii_lowercase();
        let named = scheme.starts_with(|c: char| c.is_ascii_lowercase());
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
        if !named || !scheme.chars().all(plain) {
            return None;
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            OriginPort::Is(port) if Some(port) == own_port(&scheme) => OriginPort::Own,
            port => port,
        };
        let host = match host.strip_prefix('*') {
            Some(below) => {
                let parts = below.strip_prefix('.').filter(|parts| is_host(parts));
                parts.filter(|parts| !parts.starts_with('['))?;
                OriginHost::Below(below.to_ascii_lowercase())
            }
            None => OriginHost::Is(Some(host).filter(|host| is_host(host))?.to_ascii_lowercase()),
        };
        Some(Self { scheme, host, port })
    }

    fn covers(&self, page: &Self) -> bool {
        let host = match (&self.host, &page.host) {
            (OriginHost::Is(own), OriginHost::Is(host)) => own == host,
            (OriginHost::Below(end), OriginHost::Is(host)) => {
                host.len() > end.len() && host.ends_with(end)
            }
            (_, OriginHost::Below(_)) => false,
        };
        let port = self.port == OriginPort::Any || self.port == page.port;
        host && port && self.scheme == page.scheme
    }

    /// Returns true if the page came from this server, according to the `OriginHost` header. A proxy may have
    /// terminated TLS, so the server takes the page's scheme as its own.
    fn is_at(&self, host: &str) -> bool {
        let web = matches!(self.scheme.as_str(), "http" | "https");
        web && Self::read(&self.scheme, host).is_some_and(|own| own == *self)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            OriginKind::Hidden => f.write_str(HIDDEN),
            OriginKind::Site(site) => site.fmt(f),
        }
    }
}

impl fmt::Display for OriginSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (star, host) = match &self.host {
            OriginHost::Is(host) => ("", host),
            OriginHost::Below(end) => ("*", end),
        };
        write!(f, "{}://{star}{host}", self.scheme)?;
        match self.port {
            OriginPort::Own => Ok(()),
            OriginPort::Is(port) => write!(f, ":{port}"),
            OriginPort::Any => f.write_str(":*"),
        }
    }
}

/// Splits `host[:port]`. Returns `None` if the port is not a number from 0 to 65535.
fn split_port(authority: &str) -> Option<(&str, OriginPort)> {
    // The colons of an IPv6 address are inside its brackets.
    let from = authority.rfind(']').unwrap_or(0);
    let Some(colon) = authority[from..].find(':') else {
        return Some((authority, OriginPort::Own));
    };
    let (host, port) = (&authority[..from + colon], &authority[from + colon + 1..]);
    if port == "*" {
        return Some((host, OriginPort::Any));
    }
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.then(|| port.parse().ok())??;
    Some((host, OriginPort::Is(port)))
}

fn own_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Returns true for a host name and for an IPv6 address in brackets. The origin of a browser extension has its id as
/// name.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']');
        return address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let part = |part: &str| !part.is_empty() && part.bytes().all(letter);
    host.len() <= HOST_BYTES_MAX && host.split('.').all(part)
}

/// The origins whose pages a project lets in. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Arc<[Origin]>);

impl Origins {
    /// Parses a project's list.
    ///
    /// # Errors
    /// [`OriginError`]: an origin is invalid, or there are more than [`Limits::origins_max`].
    pub fn parse(list: &[String], limits: &Limits) -> Result<Self, OriginError> {
        let max = limits.origins_max;
        if list.len() as u64 > max {
            let count = list.len();
            return Err(OriginError(format!("{count} origins, origins_max allows {max}")));
        }
        list.iter().map(|text| Origin::parse(text)).collect::<Result<_, _>>().map(Self)
    }

    /// Returns true if a page of this origin may open a WebSocket to a server that the page called `host`.
    pub fn let_in(&self, origin: &str, host: Option<&str>) -> bool {
        self.0.is_empty() || self.owns(origin, host)
    }

    /// Returns true if a page with this origin is the project's: it is listed, or it is a page of the server itself,
    /// which clients reach as `host`.
    pub fn owns(&self, origin: &str, host: Option<&str>) -> bool {
        if origin == HIDDEN {
            return self.0.iter().any(|own| own.0 == OriginKind::Hidden);
        }
        OriginSite::sent(origin).is_some_and(|page| {
            let listed =
                |own: &Origin| matches!(&own.0, OriginKind::Site(site) if site.covers(&page));
            host.is_some_and(|host| page.is_at(host)) || self.0.iter().any(listed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn origins(list: &[&str]) -> Origins {
        let list: Vec<String> = list.iter().map(|text| (*text).to_owned()).collect();
        Origins::parse(&list, &Limits::default()).unwrap()
    }

    #[test]
    fn an_empty_list_admits_every_page() {
        assert!(origins(&[]).let_in("https://anything.example", None));
        assert!(origins(&[]).let_in("null", None));
    }

    #[test]
    fn a_listed_origin_is_admitted_and_a_similar_one_is_not() {
        let own = origins(&["https://chat.example.com", "http://localhost:3000"]);
        for page in [
            "https://chat.example.com",
            "https://CHAT.example.com",
            "https://chat.example.com:443",
            "http://localhost:3000",
        ] {
            assert!(own.let_in(page, None), "{page}");
        }
        for page in [
            "http://chat.example.com",
            "https://chat.example.com:8443",
            "https://chat.example.com.evil.example",
            "https://evilchat.example.com",
            "https://example.com",
            "https://chat.example.com@evil.example",
            "https://chat.example.com/",
            "http://localhost",
            "null",
            "",
            "*",
        ] {
            assert!(!own.let_in(page, None), "{page}");
        }
    }

    #[test]
    fn a_star_matches_every_subdomain_but_not_the_domain() {
        let own = origins(&["https://*.example.com"]);
        assert!(own.let_in("https://a.example.com", None));
        assert!(own.let_in("https://a.b.example.com", None));
        for page in [
            "https://example.com",
            "https://.example.com",
            "https://evilexample.com",
            "https://*.example.com",
            "http://a.example.com",
        ] {
            assert!(!own.let_in(page, None), "{page}");
        }
    }

    #[test]
    fn a_star_as_port_matches_every_port_and_nothing_else() {
        let own = origins(&["http://localhost:*", "https://*.example.com:*", "http://[::1]:*"]);
        for page in [
            "http://localhost",
            "http://localhost:80",
            "http://localhost:3000",
            "http://LOCALHOST:65535",
            "https://a.example.com:8443",
            "https://a.example.com",
            "http://[::1]:5173",
        ] {
            assert!(own.let_in(page, None), "{page}");
        }
        for page in [
            "https://localhost:3000",
            "http://localhost.evil.example:3000",
            "http://localhost:*",
            "http://127.0.0.1:3000",
            "http://localhost:3000:4000",
            "https://example.com:8443",
            "null",
        ] {
            assert!(!own.let_in(page, None), "{page}");
        }
        assert!(!own.let_in("http://a.example", Some("a.example:*")));
    }

    #[test]
    fn an_opaque_origin_is_admitted_only_if_null_is_listed() {
        let own = origins(&["null", "https://chat.example.com"]);
        assert!(own.let_in("null", None));
        assert!(own.let_in("https://chat.example.com", None));
        for page in ["NULL", "null://", "null:80", "", "http://null", "https://evil.example"] {
            assert!(!own.let_in(page, None), "{page}");
        }
        assert!(!origins(&["https://chat.example.com"]).let_in("null", Some("null")));
    }

    #[test]
    fn a_page_of_the_server_itself_is_always_admitted() {
        let own = origins(&["https://elsewhere.example"]);
        for (page, host) in [
            ("http://localhost:1999", "localhost:1999"),
            ("https://chat.example.com", "chat.example.com"),
            ("https://chat.example.com", "Chat.Example.com:443"),
            ("http://[::1]:1999", "[::1]:1999"),
        ] {
            assert!(own.let_in(page, Some(host)), "{page} at {host}");
        }
        for (page, host) in [
            ("http://localhost:2000", "localhost:1999"),
            ("https://chat.example.com", "chat.example.com:80"),
            ("chrome-extension://abc", "abc"),
            ("http://a.example.com", "*.example.com"),
        ] {
            assert!(!own.let_in(page, Some(host)), "{page} at {host}");
        }
    }

    #[test]
    fn an_invalid_origin_is_refused_with_a_reason() {
        for (text, why) in [
            ("*", "list no origins"),
            ("chat.example.com", "scheme"),
            ("https://chat.example.com/", "slash"),
            ("https://me@example.com", "user"),
            ("https://", "host"),
            ("https://*", "star"),
            ("https://a.*.com", "star"),
            ("https://*example.com", "star"),
            ("https://*.[::1]", "star"),
            ("https://münchen.example", "ASCII"),
            ("https://a:99999", "host"),
            ("https://a:", "host"),
            ("https://a:**", "port"),
            ("https://a:8*", "port"),
            ("https://*:*", "star"),
            ("Null", "scheme"),
            ("1https://a", "host"),
        ] {
            let error = Origin::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let many = vec!["https://a.example".to_owned(); 3];
        let limits = Limits { origins_max: 2, ..Limits::default() };
        let error = Origins::parse(&many, &limits).unwrap_err().to_string();
        assert_eq!(error, "3 origins, origins_max allows 2");
    }

    proptest! {
        #[test]
        fn a_printed_origin_parses_to_the_same_origin(text in "(https?|app)://(\\*\\.)?[a-z0-9.]{1,12}(:[0-9]{1,5}|:\\*)?|null") {
            if let Ok(origin) = Origin::parse(&text) {
                prop_assert_eq!(Origin::parse(&origin.to_string()), Ok(origin));
            }
        }

        #[test]
        fn parsing_any_text_as_an_origin_never_panics(text in any::<String>(), host in any::<String>()) {
            let _ = Origin::parse(&text);
            let _ = origins(&["https://*.example.com:*", "null"]).let_in(&text, Some(&host));
        }
    }
}
