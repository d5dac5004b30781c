//! The clients of the run, and the kinds of them. Owns what a client keeps between two connections.
//!
//! Invariant: a client keeps the id of the last message that it heard and its secret, and nothing else, as a page would.
//! It does not know what it is owed. Another kind of client is another `ClientKind`.

use super::judge::{TAG, name};
use super::{Count, ROOM, soon};
use futures_util::{SinkExt, StreamExt};
use room_tests::Dice;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// The longest time for which a client is connected, in milliseconds.
const CONNECTED_MS_MAX: usize = 600;
/// The longest time for which it is away.
const AWAY_MS_MAX: usize = 300;
/// How long a client waits for an answer until it takes its connection for lost.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);

/// Where the server is, and how far the run is.
pub(crate) struct Spot {
    addr: Mutex<SocketAddr>,
    /// How many servers have died whose last words do not count.
    life: AtomicU64,
    /// The clients that have been connected.
    pub(crate) arrived: Count,
    /// Whether the last message is to be said.
    pub(crate) is_over: AtomicBool,
}

/// What a client keeps.
#[derive(Clone, Debug)]
pub(crate) struct Card {
    pub(crate) id: String,
    tag: Option<&'static str>,
    pub(crate) since: Option<String>,
    pub(crate) secret: Option<String>,
    pub(crate) arrivals: Vec<String>,
}

/// Something that came.
pub(crate) enum Heard {
    Welcome(Value),
    Message { id: Option<String>, text: String },
}

/// A way for clients to be connected.
pub(crate) trait ClientKind {
    /// Its name in the report.
    const NAME: &'static str;

    type Link: Send;

    /// Opens a connection to a room with what a client has kept; `None` if the server does not admit it now.
    fn open(
        addr: SocketAddr,
        room: &str,
        card: &Card,
    ) -> impl Future<Output = Option<Self::Link>> + Send;

    /// Returns what comes next; `None` at the end.
    fn next(link: &mut Self::Link) -> impl Future<Output = Option<Heard>> + Send;
}

/// WebSockets of the subprotocol `room.ids`.
pub(crate) struct Sockets;

/// Streams of events.
pub(crate) struct Events;

/// A stream that is open.
pub(crate) struct EventLink {
    tcp: BufReader<TcpStream>,
    text: String,
}

/// A client that is lost and comes back.
pub(crate) struct Wanderer {
    number: usize,
    card: Card,
    spot: Arc<Spot>,
    dice: Dice,
    heard: Vec<String>,
}

/// What a client heard in the whole run.
pub(crate) struct Journey {
    pub(crate) number: usize,
    /// The name of its kind.
    pub(crate) kind: &'static str,
    pub(crate) heard: Vec<String>,
    pub(crate) arrivals: Vec<String>,
}

impl Spot {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        let (life, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { addr: Mutex::new(addr), life, arrived: Count::new(), is_over }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        *self.addr.lock().unwrap()
    }

    /// Returns the number of the server's life. What a client reads in a later one, over a connection of an earlier one,
    /// may have been said without being stored.
    pub(crate) fn life(&self) -> u64 {
        self.life.load(Ordering::SeqCst)
    }

    /// Makes clients ignore what the server says over the connections that are open.
    pub(crate) fn lose_words(&self) {
        self.life.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn moved(&self, addr: SocketAddr) {
        *self.addr.lock().unwrap() = addr;
    }
}

impl Card {
    pub(crate) fn new(id: &str) -> Self {
        let (since, secret, arrivals) = (None, None, Vec::new());
        Self { id: id.to_owned(), tag: None, since, secret, arrivals }
    }

    /// Learns from a welcome, as `sdk/PROTOCOL.md` says.
    pub(crate) fn welcome(&mut self, welcome: &Value) {
        let text = |key: &str| welcome[key].as_str().map(str::to_owned);
        let arrival = text("arrival").unwrap_or_default();
        let goes_on = ["resumed", "continued"].contains(&&*arrival);
        if !goes_on || welcome["is_event"] == true {
            self.since = text("at");
        }
        self.secret = text("secret");
        let gap = text("gap").map(|gap| format!(" {gap}")).unwrap_or_default();
        self.arrivals.push(format!("{arrival}{gap}"));
    }

    pub(crate) fn heard(&mut self, id: Option<String>) {
        self.since = id.or(self.since.take());
    }

    /// Returns what the room reads in the client's query.
    pub(crate) fn query(&self) -> String {
        self.tag.map_or_else(|| "quiet".to_owned(), |tag| format!("quiet&tags={tag}"))
    }

    fn path(&self, room: &str, keeps: bool) -> String {
        let mut path = format!("/parties/main/{room}?_pk={}&{}", self.id, self.query());
        if let (true, Some(since), Some(secret)) = (keeps, &self.since, &self.secret) {
            path += &format!("&_since={since}&_resume={secret}");
        }
        path
    }
}

impl Sockets {
    /// Sends a script to the room; `None` if the connection is over.
    pub(crate) async fn say(link: &mut WebSocketStream<TcpStream>, script: &Value) -> Option<()> {
        link.send(Message::text(script.to_string())).await.ok()
    }
}

/// Opens a WebSocket with a subprotocol; `None` if the server does not admit it now.
pub(crate) async fn socket(
    addr: SocketAddr,
    path: &str,
    protocol: &'static str,
) -> Option<WebSocketStream<TcpStream>> {
    let mut request = format!("ws://{addr}{path}").into_client_request().ok()?;
    let protocol = HeaderValue::from_static(protocol);
    request.headers_mut().append("sec-websocket-protocol", protocol);
    let tcp = TcpStream::connect(addr).await.ok()?;
    tcp.set_nodelay(true).ok()?;
    let handshake = tokio_tungstenite::client_async(request, tcp);
    Some(tokio::time::timeout(SILENCE, handshake).await.ok()?.ok()?.0)
}

impl ClientKind for Sockets {
    const NAME: &'static str = "sockets";
    type Link = WebSocketStream<TcpStream>;

    async fn open(addr: SocketAddr, room: &str, card: &Card) -> Option<Self::Link> {
        socket(addr, &card.path(room, true), "room.ids").await
    }

    async fn next(link: &mut Self::Link) -> Option<Heard> {
        loop {
            let text = match link.next().await?.ok()? {
                Message::Text(text) => text.to_string(),
                Message::Close(_) => return None,
                _ => continue,
            };
            if text.starts_with('{') {
                let welcome: Value = serde_json::from_str(&text).unwrap();
                return Some(Heard::Welcome(welcome["welcome"].clone()));
            }
            let (id, text) = text.split_once(' ').unwrap();
            let id = (id != "-").then(|| id.to_owned());
            return Some(Heard::Message { id, text: text.to_owned() });
        }
    }
}

impl ClientKind for Events {
    const NAME: &'static str = "events";
    type Link = EventLink;

    async fn open(addr: SocketAddr, room: &str, card: &Card) -> Option<EventLink> {
        let mut tcp = TcpStream::connect(addr).await.ok()?;
        let path = card.path(room, false);
        // As a browser does: it returns the id of the last event, whatever is in it.
        let last = card.since.as_ref().map(|id| format!("Last-Event-ID: {id}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\n{}\r\n",
            last.unwrap_or_default()
        );
        tcp.write_all(request.as_bytes()).await.ok()?;
        let mut link = EventLink { tcp: BufReader::new(tcp), text: String::new() };
        let head = async {
            while !link.text.contains("\r\n\r\n") {
                let byte = link.tcp.read_u8().await.ok()?;
                link.text.push(char::from(byte));
            }
            Some(())
        };
        tokio::time::timeout(SILENCE, head).await.ok()??;
        let is_open = link.text.starts_with("HTTP/1.1 200");
        link.text.clear();
        is_open.then_some(link)
    }

    async fn next(link: &mut EventLink) -> Option<Heard> {
        loop {
            while let Some((block, rest)) = link.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                link.text = rest;
                if let Some(heard) = event(&block) {
                    return heard;
                }
            }
            let chunk = link.chunk().await?;
            link.text.push_str(std::str::from_utf8(&chunk).ok()?);
        }
    }
}

impl EventLink {
    /// Returns the next chunk of the response; `None` at its end.
    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut size = String::new();
        while !size.ends_with("\r\n") {
            size.push(char::from(self.tcp.read_u8().await.ok()?));
        }
        let size = usize::from_str_radix(size.trim(), 16).ok().filter(|size| *size > 0)?;
        let mut chunk = vec![0; size + 2];
        self.tcp.read_exact(&mut chunk).await.ok()?;
        chunk.truncate(size);
        Some(chunk)
    }
}

/// Reads an event. Returns `None` for one that says nothing, and `Some(None)` for a close.
fn event(block: &str) -> Option<Option<Heard>> {
    let (mut id, mut named, mut data) = (None, "message", None);
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("id", value)) => id = Some(value.to_owned()),
            Some(("event", value)) => named = value,
            Some(("data", value)) => data = Some(value.to_owned()),
            _ => {}
        }
    }
    match (named, data) {
        (_, None) => None,
        ("welcome", Some(data)) => {
            let mut welcome: Value = serde_json::from_str(&data).unwrap();
            // What a browser returns is the id of the event, not what the welcome says.
            (welcome["at"], welcome["is_event"]) = (id.into(), true.into());
            Some(Some(Heard::Welcome(welcome)))
        }
        ("message", Some(text)) => Some(Some(Heard::Message { id, text })),
        _ => Some(None),
    }
}

impl Wanderer {
    pub(crate) fn new(number: usize, spot: Arc<Spot>, dice: Dice) -> Self {
        let mut card = Card::new(&name(number));
        card.tag = number.is_multiple_of(3).then_some(TAG);
        Self { number, card, spot, dice, heard: Vec::new() }
    }

    /// Is lost and comes back until it has heard the last message.
    pub(crate) async fn run<K: ClientKind>(mut self) -> Journey {
        let mut has_arrived = false;
        loop {
            let life = self.spot.life();
            let link = K::open(self.spot.addr(), ROOM, &self.card).await;
            if let Some(mut link) = link {
                // The first time, it stays until it is admitted, and in the end until it has heard everything.
                let may_be_lost = has_arrived && !self.spot.is_over.load(Ordering::SeqCst);
                let lost = match may_be_lost {
                    true => soon(&mut self.dice, CONNECTED_MS_MAX),
                    false => soon(&mut self.dice, 1) + SILENCE,
                };
                while let Ok(Some(heard)) = tokio::time::timeout_at(lost, K::next(&mut link)).await
                {
                    if self.spot.life() != life {
                        break;
                    }
                    match heard {
                        Heard::Welcome(welcome) => {
                            self.card.welcome(&welcome);
                            if !std::mem::replace(&mut has_arrived, true) {
                                self.spot.arrived.add();
                            }
                        }
                        Heard::Message { id, text } => {
                            self.card.heard(id);
                            let is_last = text.starts_with("last ");
                            self.heard.push(text);
                            if is_last {
                                let Self { number, card, heard, .. } = self;
                                let (kind, arrivals) = (K::NAME, card.arrivals);
                                return Journey { number, kind, heard, arrivals };
                            }
                        }
                    }
                }
            }
            tokio::time::sleep_until(soon(&mut self.dice, AWAY_MS_MAX)).await;
        }
    }
}
