//! The loaded server. Owns the way from a URL to connections that are in a room.
//!
//! Invariant: a connection has received the room's greeting, or there is an error that says what came instead. Every
//! attempt ends. It does not know what is said afterwards.

use super::link::{BenchLink, BenchReader, Broken, Scratch};
use super::message::HELLO;
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::operator::encoded;
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// The longest time until a connection is in its room.
pub(crate) const ENTER_MAX: Duration = Duration::from_secs(10);
/// Connections of one source address. Linux has 28,232 ports for them by default.
const SOURCE_CONNECTIONS: usize = 25_000;

/// A server, and the addresses from which it is called.
pub(crate) struct Target {
    /// The address at which it listens.
    pub(crate) addr: SocketAddr,
    host: String,
    party: String,
    /// The number of connections that were started.
    begun: Cell<usize>,
    /// The most connections at a time.
    planned: Cell<usize>,
    scratch: Scratch,
}

impl Target {
    /// Returns the party of the server that a URL names.
    ///
    /// # Errors
    /// A mistake: the URL is invalid, or its host has no address.
    pub(crate) fn of(url: &str, party: &str) -> anyhow::Result<Self> {
        let wrong = |why: &str| {
            Mistake::new(Code::BadUrl, format_args!("{url} is not a server address: {why}"))
                .help("write it as http://127.0.0.1:1999, as `room dev` prints it")
        };
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        match scheme {
            "http" | "ws" => {}
            "https" | "wss" => return Err(wrong("`room bench` does not support TLS").into()),
            _ => return Err(wrong("it must start with http:// or ws://").into()),
        }
        let host = rest.trim_end_matches('/');
        if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
            return Err(wrong("it must have a host and a port, and no path").into());
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
        let mut found = with_port.to_socket_addrs().map_err(|err| wrong(&err.to_string()))?;
        let addr = found.next().ok_or_else(|| wrong("it has no address"))?;
        Ok(Self {
            addr,
            host: host.to_owned(),
            party: encoded(party.as_bytes()),
            begun: Cell::new(0),
            planned: Cell::new(0),
            scratch: Scratch::default(),
        })
    }

    /// Prepares for so many connections at a time: on loopback, each source address has a part of them.
    pub(crate) fn plan(&self, connections: usize) {
        self.planned.set(connections);
    }

    /// Returns the source address of the next connection; `None` if the system chooses.
    fn source(&self) -> Option<SocketAddr> {
        let addresses = self.planned.get().div_ceil(SOURCE_CONNECTIONS);
        let is_loopback = matches!(self.addr.ip(), IpAddr::V4(ip) if ip.is_loopback());
        if addresses < 2 || !is_loopback {
            return None;
        }
        // 127.0.0.1 is left to others. There are more addresses behind it than anybody has connections for.
        let number = self.begun.get() % addresses;
        let last = Ipv4Addr::new(127, 0, 0, 2).to_bits() + u32::try_from(number).unwrap_or(0);
        Some((Ipv4Addr::from_bits(last), 0).into())
    }

    /// Opens a connection that is in no room yet.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Cancel safety
    /// A started connection is closed.
    pub(crate) async fn dial(&self) -> Result<TcpStream, Broken> {
        let socket = match self.addr {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(source) = self.source() {
            socket.bind(source)?;
        }
        self.begun.set(self.begun.get() + 1);
        let dialing = tokio::time::timeout(ENTER_MAX, socket.connect(self.addr));
        let tcp = dialing.await.map_err(|_| Broken::Silent(ENTER_MAX))??;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    /// Enters a room, and waits for its greeting.
    ///
    /// # Errors
    /// [`Broken`]: it was refused, or met another room than that of benchmarks.
    ///
    /// # Cancel safety
    /// A started connection is closed.
    pub(crate) async fn enter(
        &self,
        tcp: TcpStream,
        room: &str,
    ) -> Result<(Rc<BenchLink>, BenchReader), Broken> {
        let request = format!(
            "GET /parties/{}/{room} HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\n\
             connection: upgrade\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.party, self.host
        );
        let entering = async {
            let (link, mut reader) = BenchLink::upgrade(tcp, &request, &self.scratch).await?;
            let (mut first, mut count) = (None, 0);
            reader
                .read(|body| {
                    count += 1;
                    first.get_or_insert_with(|| body.to_vec());
                })
                .await?;
            match first.as_deref() {
                Some(HELLO) if count == 1 => Ok((link, reader)),
                other => Err(Broken::Stranger(shortened(other.unwrap_or_default()))),
            }
        };
        let entered = tokio::time::timeout(ENTER_MAX, entering).await;
        entered.unwrap_or(Err(Broken::Silent(ENTER_MAX)))
    }

    /// Opens a connection that is in a room.
    ///
    /// # Errors
    /// As [`Target::dial`] and [`Target::enter`].
    ///
    /// # Cancel safety
    /// A started connection is closed.
    pub(crate) async fn open(&self, room: &str) -> Result<(Rc<BenchLink>, BenchReader), Broken> {
        let tcp = self.dial().await?;
        self.enter(tcp, room).await
    }
}

/// Returns the start of a text that others sent, without control characters for the terminal.
fn shortened(body: &[u8]) -> String {
    const CHARS_MAX: usize = 80;
    String::from_utf8_lossy(body).chars().take(CHARS_MAX).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_yields_an_address_or_a_reason() {
        for (url, leads) in [
            ("http://127.0.0.1:7/", "127.0.0.1:7"),
            ("ws://127.0.0.1", "127.0.0.1:80"),
            ("127.0.0.1:7", "127.0.0.1:7"),
            ("ws://[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(Target::of(url, "main").unwrap().addr.to_string(), leads);
        }
        let bad =
            ["", "http://", "https://127.0.0.1:7", "ftp://x", "http://127.0.0.1:7/x", "a b:7"];
        for url in bad {
            assert!(Target::of(url, "main").err().unwrap().is::<Mistake>(), "{url}");
        }
    }

    #[test]
    fn many_connections_on_loopback_come_from_several_addresses() {
        let target = Target::of("127.0.0.1:7", "main").unwrap();
        target.plan(SOURCE_CONNECTIONS);
        assert_eq!(target.source(), None);
        target.plan(2 * SOURCE_CONNECTIONS + 1);
        let sources = (0..4).map(|begun| {
            target.begun.set(begun);
            target.source().unwrap().to_string()
        });
        let wanted = ["127.0.0.2:0", "127.0.0.3:0", "127.0.0.4:0", "127.0.0.2:0"];
        assert_eq!(sources.collect::<Vec<_>>(), wanted);
        let elsewhere = Target::of("192.0.2.1:7", "main").unwrap();
        elsewhere.plan(1_000_000);
        assert_eq!(elsewhere.source(), None);
    }
}
