//! A WebSocket client. Owns one end of one socket.
//!
//! Invariant: received messages are handed out in order, and every wait for one ends.

use crate::within;
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, handshake::client::Response};

/// A client of a room.
pub struct TestClient {
    socket: WebSocketStream<TcpStream>,
    response: Response,
}

/// A received message or end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame: code and reason.
    Close(u16, String),
    /// Nothing more: the connection ended.
    End,
}

impl TestClient {
    /// Connects to a path with its query.
    ///
    /// # Panics
    /// When the handshake is not answered with 101.
    pub async fn connect(addr: SocketAddr, path: &str) -> Self {
        let client = Self::try_connect(addr, path, &[]).await;
        client.unwrap_or_else(|status| panic!("{path} was answered with {status}"))
    }

    /// Connects with additional headers.
    ///
    /// # Errors
    /// The status and body of an answer that is not 101.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn try_connect(
        addr: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let mut request = format!("ws://{addr}{path}").into_client_request().expect("a good URL");
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().expect("a good header"));
        }
        let tcp = within("a TCP connection", TcpStream::connect(addr)).await;
        let tcp = tcp.expect("the node listens");
        tcp.set_nodelay(true).expect("a live socket");
        // The limits under test are the server's.
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let config = Some(config);
        let handshake = tokio_tungstenite::client_async_with_config(request, tcp, config);
        match within("a handshake", handshake).await {
            Ok((socket, response)) => Ok(Self { socket, response }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("no handshake: {error}"),
        }
    }

    /// Returns a header of the handshake's answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Returns the values of all headers of the handshake's answer with this name, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let values = self.response.headers().get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok()).collect()
    }

    /// Sends a text message.
    ///
    /// # Panics
    /// When the connection has ended.
    pub async fn send(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into())).await;
    }

    /// Sends a script to the puppet.
    ///
    /// # Panics
    /// When the connection has ended.
    pub async fn tell(&mut self, script: serde_json::Value) {
        self.send(script.to_string()).await;
    }

    /// Sends a binary message.
    ///
    /// # Panics
    /// When the connection has ended.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.send_message(Message::binary(bytes.to_vec())).await;
    }

    /// Sends a ping.
    ///
    /// # Panics
    /// When the connection has ended.
    pub async fn ping(&mut self, bytes: &[u8]) {
        self.send_message(Message::Ping(bytes.to_vec().into())).await;
    }

    async fn send_message(&mut self, message: Message) {
        let sent = within("a message to be sent", self.socket.send(message)).await;
        sent.expect("the connection is open");
    }

    /// Sends a message if the connection still takes one.
    pub async fn try_send(&mut self, text: &str) {
        drop(
            within("a message to be sent", self.socket.send(Message::text(text.to_owned()))).await,
        );
    }

    /// Sends a close frame, and waits for nothing.
    ///
    /// # Panics
    /// When the connection has ended.
    pub async fn close(&mut self, frame: Option<(u16, &str)>) {
        let frame = frame.map(|(code, reason)| CloseFrame {
            code: code.into(),
            reason: reason.to_owned().into(),
        });
        let sent = within("a close frame to be sent", self.socket.close(frame)).await;
        sent.expect("the connection is open");
    }

    /// Returns the next message or close frame. It skips pings and answers them.
    pub async fn recv(&mut self) -> Got {
        loop {
            return match within("a frame from the server", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => Got::Text(text.to_string()),
                Some(Ok(Message::Binary(bytes))) => Got::Binary(bytes.to_vec()),
                Some(Ok(Message::Pong(bytes))) => Got::Pong(bytes.to_vec()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    Got::Close(frame.code.into(), frame.reason.to_string())
                }
                Some(Ok(Message::Close(None))) => Got::Close(1005, String::new()),
                Some(Ok(Message::Ping(_) | Message::Frame(_))) => continue,
                Some(Err(_)) | None => Got::End,
            };
        }
    }

    /// Returns the next message, which must be text.
    ///
    /// # Panics
    /// When it is anything else.
    pub async fn text(&mut self) -> String {
        match self.recv().await {
            Got::Text(text) => text,
            other => panic!("wanted a text, got {other:?}"),
        }
    }

    /// Returns the close frame, which must be next.
    ///
    /// # Panics
    /// When it is anything else.
    pub async fn closed(&mut self) -> (u16, String) {
        match self.recv().await {
            Got::Close(code, reason) => (code, reason),
            other => panic!("wanted a close frame, got {other:?}"),
        }
    }

    /// Sends a text and returns the next one that comes. With the puppet it proves that the room handled everything
    /// sent before, and sent nothing else.
    pub async fn echo(&mut self, text: &str) -> String {
        self.send(text).await;
        self.text().await
    }

    /// Sends a script and returns the next text that comes.
    pub async fn ask(&mut self, script: serde_json::Value) -> String {
        self.tell(script).await;
        self.text().await
    }
}
