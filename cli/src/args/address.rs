//! Addresses to listen on, as people write them. Owns which parts of one may be left out.
//!
//! Invariant: a missing part is the default of the flag, so a port alone opens nothing to other machines. It does not
//! know whether an address is free.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The form of an address to listen on.
const EXAMPLES: &str =
    "write it as `localhost`, `127.0.0.1`, `[::1]:8080`, `localhost:8080`, `:8080` or `8080`";

/// A host and a port, each of which may be left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ListenAt {
    /// The addresses of this machine.
    pub(crate) host: Option<Host>,
    /// The port.
    pub(crate) port: Option<u16>,
}

/// Some of this machine's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// This machine itself, by IPv4 and IPv6: browsers take either for `localhost`.
    Localhost,
    /// One address.
    Ip(IpAddr),
}

impl Host {
    /// Returns its addresses with a port. The server must be able to listen on the first.
    pub(crate) fn at(self, port: u16) -> Vec<SocketAddr> {
        match self {
            Self::Localhost => {
                vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
            }
            Self::Ip(ip) => vec![SocketAddr::new(ip, port)],
        }
    }
}

/// Parses a text such as `localhost:8080` into host and port.
pub(crate) fn listen_at(text: &str) -> Result<ListenAt, String> {
    let host = |text: &str| match text {
        "" => Some(None),
        "localhost" => Some(Some(Host::Localhost)),
        text => {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            Some(Some(Host::Ip(bare.unwrap_or(text).parse().ok()?)))
        }
    };
    let port = |text: &str| text.parse::<u16>().ok();
    let whole = || Some(ListenAt { host: host(text)?, port: None });
    let bare_port = || Some(ListenAt { host: None, port: Some(port(text)?) });
    let both = || {
        let (before, behind) = text.rsplit_once(':')?;
        Some(ListenAt { host: host(before)?, port: Some(port(behind)?) })
    };
    let found = (!text.is_empty()).then(|| whole().or_else(bare_port).or_else(both)).flatten();
    found.ok_or_else(|| EXAMPLES.to_owned())
}

/// Parses the clients' address of a server.
pub(crate) fn clients(text: &str) -> Result<SocketAddr, String> {
    or(text, (Ipv4Addr::UNSPECIFIED, 1999).into())
}

/// Parses the operators' address of a server.
pub(crate) fn operators(text: &str) -> Result<SocketAddr, String> {
    or(text, (Ipv4Addr::LOCALHOST, 1998).into())
}

fn or(text: &str, default: SocketAddr) -> Result<SocketAddr, String> {
    let ListenAt { host, port } = listen_at(text)?;
    let ip = match host {
        None => default.ip(),
        Some(Host::Localhost) => Ipv4Addr::LOCALHOST.into(),
        Some(Host::Ip(ip)) => ip,
    };
    Ok(SocketAddr::new(ip, port.unwrap_or(default.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_omit_the_host_or_the_port() {
        let ip = |text: &str| Some(Host::Ip(text.parse().unwrap()));
        let all = [
            ("localhost", Some(Host::Localhost), None),
            ("localhost:80", Some(Host::Localhost), Some(80)),
            (":8080", None, Some(8080)),
            ("8080", None, Some(8080)),
            ("0.0.0.0", ip("0.0.0.0"), None),
            ("10.0.0.1:0", ip("10.0.0.1"), Some(0)),
            ("::1", ip("::1"), None),
            ("[::1]", ip("::1"), None),
            ("[::1]:80", ip("::1"), Some(80)),
        ];
        for (text, host, port) in all {
            assert_eq!(listen_at(text), Ok(ListenAt { host, port }), "{text}");
        }
        for text in ["", "local", "http://localhost", "localhost:", "1:2", "70000", "localhost:x"] {
            assert!(listen_at(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_alone_keeps_the_default_host() {
        assert_eq!(operators("8080"), Ok("127.0.0.1:8080".parse().unwrap()));
        assert_eq!(operators(":8080"), Ok("127.0.0.1:8080".parse().unwrap()));
        assert_eq!(clients(":8080"), Ok("0.0.0.0:8080".parse().unwrap()));
        assert_eq!(clients("localhost"), Ok("127.0.0.1:1999".parse().unwrap()));
    }
}
