//! The nodes that serve one space of rooms together, from the point of view of one of them. Owns the names and URLs of nodes.
//!
//! Invariant: a [`Space`] without a [`problem`](Space::problem) names every node once, and tells how to reach each peer.
//! The nodes of a space do not change while it runs. It does not know which node a room lives on, or whether a node is
//! alive.

use super::{Preamble, Proxies};
use crate::id::NodeId;
use crate::limits::fixed::{NODE_NAME_BYTES_MAX, PEERS_MAX};
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The name of a node that is alone.
const ONLY_NODE: &str = "node-1";

/// The nodes that serve one space of rooms together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// The name of this node.
    pub node: NodeId,
    /// The other nodes. Each of them must have the same list of names.
    pub peers: Vec<PeerNode>,
}

/// Another node of the space, such as `b=http://10.0.0.2:1999`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNode {
    name: NodeId,
    host: String,
    port: u16,
}

/// Why a text names no node, as a sentence that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpaceError(String);

impl Default for Space {
    /// Returns the space of a node that is alone.
    fn default() -> Self {
        Self { node: NodeId::new(ONLY_NODE), peers: Vec::new() }
    }
}

impl Space {
    /// Returns what is wrong with the choice, as a sentence; `None` if it can be used. `speaks_tls` is whether clients
    /// reach this node by TLS.
    pub fn problem(&self, proxies: &Proxies, speaks_tls: bool) -> Option<String> {
        if self.peers.is_empty() {
            return None;
        }
        if self.peers.len() > PEERS_MAX {
            let peers = self.peers.len();
            return Some(format!("there are {peers} peers, at most {PEERS_MAX} are allowed"));
        }
        for (at, peer) in self.peers.iter().enumerate() {
            let before = &self.peers[..at];
            let name = peer.name.as_str();
            if peer.name == self.node || before.iter().any(|other| other.name == peer.name) {
                return Some(format!(
                    "two nodes are named {name}: give each node of the space a name of its own"
                ));
            }
            let same = |other: &&PeerNode| (&other.host, other.port) == (&peer.host, peer.port);
            if let Some(other) = before.iter().find(same) {
                let other = other.name.as_str();
                return Some(format!("the nodes {other} and {name} have the same URL"));
            }
        }
        Self::transport_problem(proxies, speaks_tls)
    }

    /// Returns why the other nodes could not reach this one, as a sentence that says what to choose instead. `speaks_tls` is
    /// true if clients connect by TLS.
    pub fn transport_problem(proxies: &Proxies, speaks_tls: bool) -> Option<String> {
        if speaks_tls {
            return Some(
                "nodes reach each other by plain HTTP, and clients reach this node by TLS: leave out \
                 the certificate, and let a proxy before the nodes speak TLS"
                    .to_owned(),
            );
        }
        (proxies.preamble == Preamble::ProxyHeader).then(|| {
            "nodes send each other no PROXY headers: let the proxies before the nodes send \
             X-Forwarded-For instead"
                .to_owned()
        })
    }
}

impl PeerNode {
    /// Returns its name.
    pub fn name(&self) -> &NodeId {
        &self.name
    }

    /// Returns the host and the port at which it listens for clients, as in the authority of a URL.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Returns the host and the port at which it listens for clients.
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl FromStr for PeerNode {
    type Err = SpaceError;

    fn from_str(text: &str) -> Result<Self, SpaceError> {
        let wrong = |why: &str| SpaceError(format!("{why}, as in b=http://10.0.0.2:1999"));
        let (name, url) = text.split_once('=').ok_or_else(|| wrong("write a peer as NODE=URL"))?;
        let name = node_name(name)?;
        let rest = url.strip_prefix("http://").ok_or_else(|| {
            wrong("nodes reach each other by plain HTTP: the URL of a peer must start with http://")
        })?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = host_and_port(rest)
            .ok_or_else(|| wrong("the URL of a peer must be a host, and may have a port"))?;
        Ok(Self { name, host, port })
    }
}

/// Returns the node of this name.
///
/// # Errors
/// [`SpaceError`] if it is not a name.
pub fn node_name(name: &str) -> Result<NodeId, SpaceError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > NODE_NAME_BYTES_MAX || !name.bytes().all(allowed) {
        return Err(SpaceError(format!(
            "{name:?} is not the name of a node: it must have 1 to {NODE_NAME_BYTES_MAX} of a-z, 0-9 and -, \
             as in node-1"
        )));
    }
    Ok(NodeId::new(name))
}

/// Splits `10.0.0.2:1999`, `node-2.internal` or `[fd00::2]:1999`. The host of an IPv6 address is without brackets.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        None => 80,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok()?,
        Some(_) => return None,
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().ok()?.to_string(),
        None => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
            Some(host).filter(|host| !host.is_empty() && host.bytes().all(allowed))?.to_owned()
        }
    };
    (port > 0).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(node: &str, peers: &[&str]) -> Space {
        let peers = peers.iter().map(|peer| peer.parse().unwrap()).collect();
        Space { node: node_name(node).unwrap(), peers }
    }

    #[test]
    fn a_peer_is_a_name_and_a_url() {
        for (text, address) in [
            ("b=http://10.0.0.2:1999", ("10.0.0.2", 1999)),
            ("b=http://node-2.internal/", ("node-2.internal", 80)),
            ("b=http://[fd00::2]:1999", ("fd00::2", 1999)),
            ("b=http://[fd00::2]", ("fd00::2", 80)),
        ] {
            let peer: PeerNode = text.parse().unwrap();
            assert_eq!((peer.name().as_str(), peer.address()), ("b", address), "{text}");
            assert_eq!(format!("b=http://{}", peer.authority()).parse(), Ok(peer), "{text}");
        }
        for (text, why) in [
            ("http://10.0.0.2", "write a peer as NODE=URL"),
            ("b", "write a peer as NODE=URL, as in b=http://10.0.0.2:1999"),
            ("B=http://10.0.0.2", "is not the name of a node"),
            ("=http://10.0.0.2", "is not the name of a node"),
            ("b=https://10.0.0.2", "plain HTTP"),
            ("b=10.0.0.2:1999", "plain HTTP"),
            ("b=http://", "must be a host"),
            ("b=http://10.0.0.2:", "must be a host"),
            ("b=http://10.0.0.2:0", "must be a host"),
            ("b=http://10.0.0.2:65536", "must be a host"),
            ("b=http://10.0.0.2:1999/path", "must be a host"),
            ("b=http://me@10.0.0.2", "must be a host"),
            ("b=http://[fd00::2", "must be a host"),
            ("b=http://[no]:1", "must be a host"),
        ] {
            let said = text.parse::<PeerNode>().unwrap_err().to_string();
            assert!(said.contains(why), "{text}: {said}");
        }
        assert!(node_name(&"a".repeat(64)).is_ok() && node_name(&"a".repeat(65)).is_err());
    }

    #[test]
    fn a_space_names_each_node_once_and_each_can_be_reached() {
        let no_proxies = Proxies::default();
        let problem = |space: &Space| space.problem(&no_proxies, false).unwrap_or_default();
        assert_eq!(problem(&Space::default()), "");
        assert_eq!(problem(&space("a", &["b=http://h:1", "c=http://h:2"])), "");
        let twice = space("a", &["b=http://h:1", "b=http://h:2"]);
        assert!(problem(&twice).starts_with("two nodes are named b"));
        assert!(problem(&space("a", &["a=http://h:1"])).starts_with("two nodes are named a"));
        let same = space("a", &["b=http://h:1", "c=http://h:1/"]);
        assert_eq!(problem(&same), "the nodes b and c have the same URL");
        let many: Vec<String> =
            (0..=PEERS_MAX).map(|n| format!("n{n}=http://h:{}", n + 1)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(problem(&space("a", &many)).contains("at most"));
        let pair = space("a", &["b=http://h:1"]);
        assert!(pair.problem(&no_proxies, true).unwrap().contains("TLS"));
        let headers = Proxies { preamble: Preamble::ProxyHeader, ..Proxies::default() };
        assert!(pair.problem(&headers, false).unwrap().contains("PROXY headers"));
        // A node that is alone may do both.
        assert_eq!(Space::default().problem(&headers, true), None);
    }
}
