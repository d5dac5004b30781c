//! A small HTTP client. Owns one request and its answer.
//!
//! Invariant: one connection a request, read to its end.

use crate::{RawClient, TestNode};
use serde_json::Value;
use std::net::SocketAddr;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Returns the first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Returns the values of all headers with this name, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(found, _)| found == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
    }

    /// Returns an answer with this head, and the bytes after it until the connection ended.
    pub fn of(head: &str, rest: Vec<u8>) -> Self {
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let reply = Self { status: status.unwrap_or_default(), headers, body: Vec::new() };
        let chunked = reply.header("transfer-encoding") == Some("chunked");
        let body = if chunked { join_chunks(&rest) } else { rest };
        Self { body, ..reply }
    }
}

fn join_chunks(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok()).unwrap_or_default();
        let Some(chunk) = bytes.get(end + 2..end + 2 + size) else { break };
        body.extend_from_slice(chunk);
        bytes = bytes.get(end + 4 + size..).unwrap_or_default();
    }
    body
}

/// Requests to a node.
pub trait Requests {
    /// Returns the address of the node.
    fn target(&self) -> SocketAddr;

    /// Sends a request with these headers, and a body if it has one.
    fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> impl Future<Output = Reply> {
        let addr = self.target();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let request = [head.as_bytes(), body].concat();
        async move {
            let mut client = RawClient::open(addr).await;
            client.write(&request).await;
            let head = client.head().await;
            Reply::of(&head, client.rest().await)
        }
    }

    /// Gets a path.
    fn get(&self, path: &str) -> impl Future<Output = Reply> {
        self.request("GET", path, &[], &[])
    }

    /// Sends a script to the puppet of a room of `main`, and returns what it said.
    fn post(&self, room: &str, script: &Value) -> impl Future<Output = Reply> {
        let (path, body) = (format!("/parties/main/{room}"), script.to_string());
        async move { self.request("POST", &path, &[], body.as_bytes()).await }
    }

    /// Returns the puppet's report about a room of `main`.
    fn report(&self, room: &str) -> impl Future<Output = Value> {
        let path = format!("/parties/main/{room}");
        async move {
            let reply = self.get(&path).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            reply.json()
        }
    }
}

impl Requests for TestNode {
    fn target(&self) -> SocketAddr {
        self.addr()
    }
}

impl Requests for SocketAddr {
    fn target(&self) -> SocketAddr {
        *self
    }
}

/// Returns the outputs of a script, one text after the other.
pub fn script(reply: &Reply) -> Vec<String> {
    serde_json::from_value(reply.json()).unwrap_or_default()
}
