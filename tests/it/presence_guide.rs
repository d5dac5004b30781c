//! The examples of `sdk/PRESENCE.md`, line by line.

use room_runtime::PresenceSetting;
use room_tests::{Setup, TestClient, TestNode};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../sdk/PRESENCE.md");

/// The people of one example.
#[derive(Default)]
struct Stage {
    clients: BTreeMap<String, TestClient>,
    references: u64,
}

impl Stage {
    async fn play(&mut self, node: &TestNode, line: &str) {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        match words[..] {
            [who, "opens"] => {
                let path = format!("/parties/main/lobby?quiet=1&_pk={who}");
                let headers = [("sec-websocket-protocol", "room.1")];
                let socket = TestClient::try_connect(node.addr(), &path, &headers).await.unwrap();
                self.clients.insert(who.to_owned(), socket);
            }
            [who, "is", "gone"] => {
                let mut gone = self.clients.remove(who).expect("who goes was there");
                gone.close(Some((1000, ""))).await;
            }
            [who, "shows", data] => {
                let data: Value = serde_json::from_str(data).unwrap();
                self.wish(who, json!({ "data": data })).await;
            }
            [who, "hides"] => self.wish(who, json!({ "data": null })).await,
            [who, "flags", rest] => {
                let (flag, rest) = rest.split_once(" for ").unwrap();
                let for_ms: u64 = rest.strip_suffix(" ms").unwrap().parse().unwrap();
                self.wish(who, json!({ "flag": flag, "for_ms": for_ms })).await;
            }
            [who, "hears", event] => {
                let mut event: Value = serde_json::from_str(event).unwrap();
                (event["type"], event["channel"]) = ("presence".into(), 0.into());
                let client = self.clients.get_mut(who).expect("who hears is there");
                loop {
                    let heard: Value = serde_json::from_str(&client.text().await).unwrap();
                    let is_own =
                        heard["updated"][0]["user"] == who || heard["joined"][0]["user"] == who;
                    if heard["type"] == "presence" && (heard == event || !is_own) {
                        assert_eq!(heard, event, "{line}");
                        break;
                    }
                }
            }
            _ => panic!("this is not a line of an example: {line}"),
        }
    }

    /// Sends a wish. Its acknowledgement is read with what the client hears next.
    async fn wish(&mut self, who: &str, mut frame: Value) {
        self.references += 1;
        frame["type"] = "presence".into();
        (frame["channel"], frame["ref"]) = (0.into(), self.references.into());
        let client = self.clients.get_mut(who).expect("who wishes is there");
        client.send(frame.to_string()).await;
    }
}

#[tokio::test]
async fn the_examples_of_the_guide_are_what_a_server_does() {
    let (grace, every) = (Some("5s".parse().unwrap()), Some("30ms".parse().unwrap()));
    assert!(PAGE.contains(r#"presence = { grace = "5s", every = "30ms" }"#));
    let setting = PresenceSetting { grace, every, ..PresenceSetting::default() };
    let examples: Vec<&str> =
        PAGE.split("```session\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let node = Setup::memory().present(setting).start().await;
        let mut stage = Stage::default();
        for line in example.lines() {
            stage.play(&node, line).await;
        }
    }
}
