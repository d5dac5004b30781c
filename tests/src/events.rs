//! A client of server-sent events. Owns one streamed response.
//!
//! Invariant: events are handed out in order, as they came. An announced end is distinguished from one that was not
//! announced.

use crate::{RawClient, TestNode};
use serde_json::Value;
use std::collections::VecDeque;

/// A stream of events.
pub struct EventStream {
    client: RawClient,
    text: String,
    ready: VecDeque<SentEvent>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentEvent {
    /// Its number; `None` if it has none.
    pub id: Option<u64>,
    /// Its name, `message` if it has none.
    pub name: String,
    /// Its data; null if it only has a number.
    pub data: Value,
}

impl EventStream {
    /// Follows a node's log as its operator: the kept lines, and the new ones. `query` is added to the query.
    ///
    /// # Panics
    /// When the answer is not 200.
    pub async fn follow(node: &TestNode, query: &str) -> Self {
        Self::of(RawClient::open(node.addr()).await, node, &format!("follow=1&{query}"), "").await
    }

    /// Reads a node's log with this client, query, and lines of headers.
    ///
    /// # Panics
    /// When the answer is not 200.
    pub async fn of(client: RawClient, node: &TestNode, query: &str, headers: &str) -> Self {
        Self::open(client, node, &format!("logs?{query}"), headers).await
    }

    /// Watches the messages of a room of `main`, from now on.
    ///
    /// # Panics
    /// When the answer is not 200.
    pub async fn watch(node: &TestNode, room: &str) -> Self {
        let path = format!("rooms/main/{room}/messages");
        Self::open(RawClient::open(node.addr()).await, node, &path, "").await
    }

    async fn open(mut client: RawClient, node: &TestNode, path: &str, headers: &str) -> Self {
        let secret = node.secret();
        let request = format!(
            "GET /_room/admin/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n\
             {headers}\r\n"
        );
        client.write(request.as_bytes()).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{path} was answered with {head}");
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        Self { client, text: String::new(), ready: VecDeque::new() }
    }

    /// Returns the next event that has data; `None` at the end.
    ///
    /// # Panics
    /// When the stream breaks off.
    pub async fn next(&mut self) -> Option<SentEvent> {
        loop {
            let event = self.next_block().await?;
            if !event.data.is_null() {
                return Some(event);
            }
        }
    }

    /// Returns the next event, also if it only has a number; `None` at the end.
    ///
    /// # Panics
    /// When the stream breaks off.
    pub async fn next_block(&mut self) -> Option<SentEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let chunk = self.client.chunk().await.expect("the stream announces its end");
            if chunk.is_empty() {
                assert_eq!(self.text, "", "the stream ends after a complete event");
                return None;
            }
            self.text.push_str(std::str::from_utf8(&chunk).expect("events are text"));
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                self.ready.push_back(parse(block));
                self.text = rest.to_owned();
            }
        }
    }

    /// Returns the text of the next line; `None` at the end.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn text(&mut self) -> Option<String> {
        let event = self.next().await?;
        assert_eq!(event.name, "message", "{event:?}");
        Some(event.data["text"].as_str().expect("a line has a text").to_owned())
    }

    /// Returns the texts of all lines up to the first that contains `word`.
    ///
    /// # Panics
    /// When there is none.
    pub async fn texts_to(&mut self, word: &str) -> Vec<String> {
        let mut texts = Vec::new();
        while !texts.last().is_some_and(|text: &String| text.contains(word)) {
            let text = self.text().await;
            texts.push(text.unwrap_or_else(|| panic!("no line with {word} in {texts:?}")));
        }
        texts
    }
}

fn parse(block: &str) -> SentEvent {
    let mut event = SentEvent { id: None, name: "message".to_owned(), data: Value::Null };
    for line in block.lines() {
        match line.split_once(':').map(|(field, value)| (field, value.trim_start())) {
            Some(("id", id)) => event.id = id.parse().ok(),
            Some(("event", name)) => event.name = name.to_owned(),
            Some(("data", data)) => event.data = serde_json::from_str(data).expect("data is JSON"),
            _ => {}
        }
    }
    event
}
