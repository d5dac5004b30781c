//! Which servers rooms may fetch from. Owns the list `hosts` of `[fetch]`.
//!
//! Invariant: nothing is allowed that is not listed, and an address that is not public is allowed only if it is listed
//! itself: a name that leads to it is not enough. Pure: it does not know how names become addresses.

mod public;

pub use public::is_public;

use super::origin::HOST_BYTES_MAX;
use crate::limits::Limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The section `[fetch]` of a project, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchSettings {
    /// The servers that its rooms may fetch from, as [`FetchHost::parse`] reads them. Without one, they may fetch from
    /// nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

impl FetchSettings {
    /// Returns true if nothing is set.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }
}

/// A scheme that a room may fetch with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchScheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl FetchScheme {
    /// Returns the scheme with this name.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            _ => None,
        }
    }

    /// Returns its name, as in a URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Returns the port of URLs that name none.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// One entry of the list: `api.example.com`, `*.example.com`, `127.0.0.1:8080`, `https://[::1]:8443` or `*`. Without a
/// scheme it stands for both, without a port for the scheme's own. `:*` stands for every port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchHost {
    scheme: Option<FetchScheme>,
    server: FetchServer,
    port: FetchPort,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum FetchServer {
    /// Every host that has a public address.
    Public,
    /// This name, in lower case.
    Is(String),
    /// All names with this suffix: `.example.com`.
    Below(String),
    Address(IpAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FetchPort {
    Own,
    Is(u16),
    Any,
}

/// Why a text does not name a server to fetch from, as a sentence that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FetchHostError(String);

/// The name that every machine has for itself: RFC 6761 section 6.3.
const LOCALHOST: &str = "localhost";

impl FetchHost {
    /// Parses an entry of a project's list.
    ///
    /// # Errors
    /// [`FetchHostError`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, FetchHostError> {
        let wrong = |why: &str| {
            let shown: String = text.chars().take(HOST_BYTES_MAX).collect();
            FetchHostError(format!("{shown:?} does not name a host to fetch from: {why}"))
        };
        let (scheme, rest) = match text.split_once("://") {
            Some((name, rest)) => {
                let scheme = FetchScheme::of(&name.to_ascii_lowercase());
                (Some(scheme.ok_or_else(|| wrong("write https:// or http:// before it"))?), rest)
            }
            None => (None, text),
        };
        if rest.contains(['/', '?', '#']) {
            return Err(wrong("write only the host and its port, without a path or a slash"));
        }
        if rest.contains('@') {
            return Err(wrong("write it without a user; a room sets the header authorization"));
        }
        let (host, port) = split_port(rest).ok_or_else(|| {
            wrong("write the port as a number from 1 to 65535 or as a star, and an IPv6 address in brackets: [::1]:8080")
        })?;
        let server = FetchServer::read(host).map_err(wrong)?;
        Ok(Self { scheme, server, port })
    }

    fn covers(&self, scheme: FetchScheme, host: &str, port: u16) -> bool {
        let named = match &self.server {
            FetchServer::Public => address_of(host).is_none_or(is_public),
            FetchServer::Is(own) => own == host,
            FetchServer::Below(end) => host.len() > end.len() && host.ends_with(end.as_str()),
            FetchServer::Address(own) => address_of(host) == Some(*own),
        };
        named && self.is_reached_by(scheme, port)
    }

    fn is_reached_by(&self, scheme: FetchScheme, port: u16) -> bool {
        let schemes = self.scheme.is_none_or(|own| own == scheme);
        schemes
            && match self.port {
                FetchPort::Own => port == scheme.port(),
                FetchPort::Is(own) => port == own,
                FetchPort::Any => true,
            }
    }

    fn lists(&self, address: IpAddr) -> bool {
        match &self.server {
            FetchServer::Address(own) => *own == address.to_canonical(),
            // Its author means this machine, and nobody else can decide where the name leads.
            FetchServer::Is(name) if name == LOCALHOST => {
                [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
                    .contains(&address)
            }
            FetchServer::Is(_) | FetchServer::Public | FetchServer::Below(_) => false,
        }
    }
}

impl FetchServer {
    fn read(host: &str) -> Result<Self, &'static str> {
        if host == "*" {
            return Ok(Self::Public);
        }
        if let Some(address) = address_of(host) {
            return Ok(Self::Address(address));
        }
        if host.starts_with('[') || host.contains(':') {
            return Err("write an IPv6 address in brackets, such as [::1]:8080");
        }
        let (below, name) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host),
        };
        if name.contains('*') {
            return Err(
                "a star stands for the first part of a name, as in *.example.com, or alone for every public host",
            );
        }
        if !name.is_ascii() {
            return Err("write the name in ASCII, such as xn--bcher-kva.example");
        }
        if name.ends_with('.') {
            return Err("write the name without a dot at its end");
        }
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let part = |part: &str| !part.is_empty() && part.len() <= 63 && part.bytes().all(letter);
        if name.len() > HOST_BYTES_MAX || !name.split('.').all(part) {
            return Err(
                "write a name such as api.example.com, or an address such as 10.1.2.3:8080",
            );
        }
        // `0x7f.1` and `2130706433` are spellings of an address.
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("write an IPv4 address as four numbers, such as 127.0.0.1");
        }
        let name = name.to_ascii_lowercase();
        Ok(if below { Self::Below(format!(".{name}")) } else { Self::Is(name) })
    }
}

/// Returns the address that a host is, if it is not a name. An address of IPv6 may be in brackets.
fn address_of(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
    .map(|address: IpAddr| address.to_canonical())
}

/// Splits `host[:port]`. Returns `None` if the port is invalid, or the host is an IPv6 address without brackets.
fn split_port(authority: &str) -> Option<(&str, FetchPort)> {
    // The colons of an IPv6 address are inside its brackets.
    let from = authority.rfind(']').unwrap_or(0);
    let Some(colon) = authority[from..].find(':') else {
        return Some((authority, FetchPort::Own));
    };
    let (host, port) = (&authority[..from + colon], &authority[from + colon + 1..]);
    if port == "*" {
        return Some((host, FetchPort::Any));
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.then(|| port.parse::<u16>().ok()).flatten().filter(|port| *port > 0)?;
    Some((host, FetchPort::Is(port)))
}

impl fmt::Display for FetchHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(f, "{}://", scheme.name())?;
        }
        match &self.server {
            FetchServer::Public => f.write_str("*")?,
            FetchServer::Is(name) => f.write_str(name)?,
            FetchServer::Below(end) => write!(f, "*{end}")?,
            FetchServer::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            FetchServer::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        match self.port {
            FetchPort::Own => Ok(()),
            FetchPort::Is(port) => write!(f, ":{port}"),
            FetchPort::Any => f.write_str(":*"),
        }
    }
}

/// The servers that a project's rooms may fetch from. Cheap to clone. The default allows nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchHosts(Arc<[FetchHost]>);

impl FetchHosts {
    /// Parses a project's list.
    ///
    /// # Errors
    /// [`FetchHostError`]: an entry is invalid, or there are more than [`Limits::fetch_hosts_max`].
    pub fn parse(list: &[String], limits: &Limits) -> Result<Self, FetchHostError> {
        let (count, max) = (list.len(), limits.fetch_hosts_max);
        if count as u64 > max {
            return Err(FetchHostError(format!(
                "{count} hosts to fetch from, fetch_hosts_max allows {max}"
            )));
        }
        list.iter().map(|text| FetchHost::parse(text)).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the list with one more host.
    #[must_use]
    pub fn and(&self, host: FetchHost) -> Self {
        Self(self.0.iter().cloned().chain([host]).collect())
    }

    /// Returns true if rooms may fetch from nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if rooms may fetch from this host, which is a name in lower case or an address, if the addresses
    /// that it has are allowed, too.
    pub fn allows(&self, scheme: FetchScheme, host: &str, port: u16) -> bool {
        self.0.iter().any(|own| own.covers(scheme, host, port))
    }

    /// Returns true if the list has this very address, so that it is allowed although it may not be public.
    pub fn lists_address(&self, scheme: FetchScheme, address: IpAddr, port: u16) -> bool {
        self.0.iter().any(|own| own.lists(address) && own.is_reached_by(scheme, port))
    }

    /// Returns true if a connection may go to this address, given that the host which has it is allowed.
    pub fn allows_address(&self, scheme: FetchScheme, address: IpAddr, port: u16) -> bool {
        is_public(address) || self.lists_address(scheme, address, port)
    }
}

#[cfg(test)]
mod tests;
