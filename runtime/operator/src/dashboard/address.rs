//! The address under which a server's dashboard page, as a client, reaches a project. Owns that address.
//!
//! Invariant: the address is the one for this server's clients, with a host that a project lists or with the page's own
//! host. So a link to the page cannot make it talk to another server. It does not know what is on the page.

use super::{host, is_plain_host};
use http::{HeaderMap, Uri};
use std::net::{IpAddr, SocketAddr};

/// The address for clients.
#[derive(Clone, Copy)]
pub struct ClientAddress {
    /// The address that the listener is bound to.
    pub addr: SocketAddr,
    /// Whether it speaks TLS.
    pub scheme: SocketScheme,
}

/// The scheme of clients' WebSockets.
#[derive(Clone, Copy)]
pub enum SocketScheme {
    /// Plain: `ws://`.
    Ws,
    /// TLS: `wss://`.
    Wss,
}

/// Returns the project's host in the query: `?host=chat.example.com`.
pub(super) fn asked(uri: &Uri) -> Option<&str> {
    let mut words = uri.query()?.split('&');
    words.find_map(|word| word.strip_prefix("host=")).filter(|host| is_plain_host(host))
}

impl ClientAddress {
    /// Returns the address for WebSockets, with the host in the query. Without one, the host is the listener's address,
    /// or the page's own host if the server listens on all addresses.
    pub(super) fn sockets(self, asked: Option<&str>, page: &HeaderMap) -> String {
        let Self { addr, scheme } = self;
        let own = || host(page).map(without_port).filter(|_| addr.ip().is_unspecified());
        let name = asked.or_else(own).map_or_else(|| of(addr.ip()), str::to_owned);
        let (scheme, own_port) = match scheme {
            SocketScheme::Ws => ("ws", 80),
            SocketScheme::Wss => ("wss", 443),
        };
        match addr.port() == own_port {
            true => format!("{scheme}://{name}"),
            false => format!("{scheme}://{name}:{}", addr.port()),
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn of(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, header};

    fn to(listen: &str, scheme: SocketScheme, asked: Option<&str>, page: &'static str) -> String {
        let page = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(page))]);
        ClientAddress { addr: listen.parse().unwrap(), scheme }.sockets(asked, &page)
    }

    #[test]
    fn the_dashboard_connects_to_the_clients_address() {
        let (ws, wss) = (SocketScheme::Ws, SocketScheme::Wss);
        assert_eq!(to("0.0.0.0:1999", ws, None, "box:1998"), "ws://box:1999");
        assert_eq!(to("[::]:80", ws, None, "[::1]:1998"), "ws://[::1]");
        assert_eq!(to("0.0.0.0:443", wss, None, "box"), "wss://box");
        assert_eq!(to("127.0.0.1:1999", ws, None, "localhost:1998"), "ws://127.0.0.1:1999");
        assert_eq!(to("[::1]:1999", ws, None, "localhost:1998"), "ws://[::1]:1999");
        assert_eq!(to("0.0.0.0:8443", wss, Some("chat.org"), "box"), "wss://chat.org:8443");
        assert_eq!(to("0.0.0.0:1999", ws, None, "a b"), "ws://0.0.0.0:1999");
    }

    #[test]
    fn a_host_query_accepts_only_a_host_name() {
        let asked =
            |query: &str| asked(&format!("/_room/?{query}").parse().unwrap()).map(str::to_owned);
        assert_eq!(asked("x=1&host=chat.org").as_deref(), Some("chat.org"));
        for query in ["host=", "hosts=a", "host=a%20b", "host=a;b", "host=*", ""] {
            assert_eq!(asked(query), None, "{query}");
        }
    }
}
