//! The examples of `sdk/STAYING_CONNECTED.md`, line by line.

use room_runtime::{HistorySetting, RetentionSettings};
use room_tests::{Requests, Setup, TestClient, TestNode, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../sdk/STAYING_CONNECTED.md");

/// The people of one example.
#[derive(Default)]
struct Stage {
    clients: BTreeMap<String, Client>,
    /// What each one keeps that is lost: the parameters with which it returns.
    cards: BTreeMap<String, String>,
}

struct Client {
    socket: TestClient,
    welcome: Value,
    since: String,
}

impl Client {
    async fn open(node: &TestNode, name: &str, query: &str) -> Self {
        let path = format!("/parties/main/lobby?quiet&_pk={name}{query}");
        let headers = [("sec-websocket-protocol", "room.ids")];
        let mut socket = TestClient::try_connect(node.addr(), &path, &headers).await.unwrap();
        let first: Value = serde_json::from_str(&socket.text().await).unwrap();
        let welcome = first["welcome"].clone();
        let since = welcome["at"].as_str().unwrap().to_owned();
        Self { socket, welcome, since }
    }
}

impl Stage {
    /// Plays one line, and returns the node, which may be another one.
    async fn play(&mut self, node: TestNode, line: &str) -> TestNode {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["server", "restarts"] => return node.restart().await,
            ["room", "says", count, "times", "more"] => {
                let says =
                    (0..count.parse().unwrap()).map(|at: u32| json!({"broadcast": at.to_string()}));
                act(&node, says.collect()).await;
            }
            ["room", "says", text] => act(&node, json!([{"broadcast": text}])).await,
            ["room", "tells", to, text] => act(&node, json!([{"send_to": [to, text]}])).await,
            [who, "opens"] => {
                self.clients.insert(who.to_owned(), Client::open(&node, who, "").await);
            }
            [who, "opens", query] => {
                let query = query.replace('?', "&");
                self.clients.insert(who.to_owned(), Client::open(&node, who, &query).await);
            }
            [who, "returns"] => {
                let card = self.cards.remove(who).expect("who returns was lost");
                self.clients.insert(who.to_owned(), Client::open(&node, who, &card).await);
            }
            [who, "is", "lost"] => {
                let lost = self.clients.remove(who).expect("who is lost was there");
                let secret = lost.welcome["secret"].as_str().unwrap();
                self.cards
                    .insert(who.to_owned(), format!("&_since={}&_resume={secret}", lost.since));
                drop(lost);
                until("the room to notice", async || away(&node).await == 1).await;
            }
            [who, "is", arrival] => {
                assert_eq!(self.clients[who].welcome["arrival"], arrival, "{line}");
            }
            [who, "hears", text] => {
                let client = self.clients.get_mut(who).expect("who hears is there");
                let framed = client.socket.text().await;
                let (id, heard) = framed.split_once(' ').unwrap();
                assert_eq!(heard, text, "{line}");
                client.since = id.to_owned();
            }
            _ => panic!("no line of an example: {line}"),
        }
        node
    }
}

/// Lets the room do something.
async fn act(node: &TestNode, script: Value) {
    let body = script.to_string();
    let reply = node.request("POST", "/parties/main/lobby", &[], body.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// Returns how many clients are away.
async fn away(node: &TestNode) -> u64 {
    let secret = format!("Bearer {}", node.secret());
    let path = "/_room/admin/rooms/main/lobby";
    let reply = node.request("GET", path, &[("authorization", &secret)], &[]).await;
    reply.json()["log"]["away"].as_u64().unwrap_or_default()
}

#[tokio::test]
async fn the_examples_about_staying_connected_are_what_happens() {
    let examples: Vec<_> =
        PAGE.split("```session\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 4);
    for example in examples {
        let history = HistorySetting {
            keep: Some(100),
            keep_for: Some("24h".parse().unwrap()),
            durable: true,
        };
        let resume = Some("2m".parse().unwrap());
        let settings = RetentionSettings { resume, history: Some(history) };
        let mut node = Setup::disk().remembering(settings).start().await;
        let mut stage = Stage::default();
        for line in example.lines() {
            node = stage.play(node, line).await;
        }
    }
}
