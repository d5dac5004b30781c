//! Further kinds of clients: sessions of the subprotocol `room.1`, and long polls. Owns how each is connected.
//!
//! Invariant: a session reaches the room of the run by a frame, over a socket that another room opened, and a poll is a
//! connection of HTTP of its own, so that neither kind comes as the others do. It does not know what a client is owed.

use super::clients::{Card, ClientKind, Heard, socket};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// The room by which sessions open their sockets.
const HALL: &str = "hall";

/// Sessions, which join the room of the run as their second one.
pub(crate) struct Sessions;

/// Long polls.
pub(crate) struct Polls;

/// A client that polls.
pub(crate) struct PollLink {
    addr: SocketAddr,
    /// The path without the client's id to continue after.
    path: String,
    since: Option<String>,
    secret: Option<String>,
    waiting: VecDeque<Heard>,
}

impl ClientKind for Sessions {
    const NAME: &'static str = "sessions";
    type Link = WebSocketStream<TcpStream>;

    async fn open(addr: SocketAddr, room: &str, card: &Card) -> Option<Self::Link> {
        let path = format!("/parties/main/{HALL}?quiet&_pk={}", card.id);
        let mut link = socket(addr, &path, "room.1").await?;
        let mut join = json!({
            "type": "join", "ref": 1, "room": room, "id": card.id, "query": card.query(),
        });
        if let (Some(since), Some(secret)) = (&card.since, &card.secret) {
            (join["since"], join["resume"]) = (since.as_str().into(), secret.as_str().into());
        }
        link.send(Message::text(join.to_string())).await.ok()?;
        Some(link)
    }

    async fn next(link: &mut Self::Link) -> Option<Heard> {
        loop {
            let frame: Value = match link.next().await?.ok()? {
                Message::Text(text) => serde_json::from_str(&text).unwrap(),
                Message::Close(_) => return None,
                _ => continue,
            };
            // The hall has channel 0, and says nothing.
            let is_hall = frame["channel"] == 0;
            let text = |key: &str| frame[key].as_str().map(str::to_owned);
            match text("type").unwrap_or_default().as_str() {
                "joined" if !is_hall => return Some(Heard::Welcome(frame)),
                "message" if !is_hall => {
                    return Some(Heard::Message { id: text("id"), text: text("data")? });
                }
                "joined" | "message" => {}
                // A refused join, or the end of the connection: the client comes again.
                _ => return None,
            }
        }
    }
}

impl ClientKind for Polls {
    const NAME: &'static str = "polls";
    type Link = PollLink;

    async fn open(addr: SocketAddr, room: &str, card: &Card) -> Option<PollLink> {
        let path = format!("/parties/main/{room}?_poll&_pk={}&{}", card.id, card.query());
        let (since, secret) = (card.since.clone(), card.secret.clone());
        Some(PollLink { addr, path, since, secret, waiting: VecDeque::new() })
    }

    async fn next(link: &mut PollLink) -> Option<Heard> {
        loop {
            if let Some(heard) = link.waiting.pop_front() {
                return Some(heard);
            }
            let answer = link.poll().await?;
            let text = |of: &Value| of.as_str().map(str::to_owned);
            if let Some(welcome) = answer.get("welcome") {
                link.secret = text(&welcome["secret"]);
                link.waiting.push_back(Heard::Welcome(welcome.clone()));
            }
            for message in answer["messages"].as_array()? {
                let (id, text) = (text(&message["id"]), text(&message["text"])?);
                link.waiting.push_back(Heard::Message { id, text });
            }
            link.since = text(&answer["since"]);
            if answer.get("closed").is_some() || answer.get("superseded").is_some() {
                return link.waiting.pop_front();
            }
        }
    }
}

impl PollLink {
    /// Returns the next answer. Returns `None` if the server does not answer, or refuses the client.
    async fn poll(&self) -> Option<Value> {
        let mut path = self.path.clone();
        if let (Some(since), Some(secret)) = (&self.since, &self.secret) {
            path += &format!("&_since={since}&_resume={secret}");
        }
        let mut tcp = TcpStream::connect(self.addr).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| serde_json::from_str(body).ok())?
    }
}
