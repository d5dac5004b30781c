//! The order of messages, with several clients sending at once.

use futures_util::future::join_all;
use room_tests::{Setup, TestClient};
use serde_json::json;
use std::collections::HashMap;

const CLIENTS: usize = 8;
const MESSAGES: usize = 100;

#[tokio::test]
async fn a_clients_messages_are_handled_in_order() {
    let node = Setup::memory().start().await;
    let talk = async |id: usize| {
        let mut client = node.connect(&format!("lobby?_pk={id}&quiet=1")).await;
        for message in 0..MESSAGES {
            client.send(format!("{id}:{message}")).await;
        }
        for message in 0..MESSAGES {
            assert_eq!(client.text().await, format!("{id}:{message}"));
        }
    };
    join_all((0..CLIENTS).map(talk)).await;
}

#[tokio::test]
async fn a_broadcast_reaches_everyone_once_and_in_the_same_order() {
    let node = Setup::memory().start().await;
    let mut clients = Vec::new();
    for id in 0..CLIENTS {
        clients.push(node.connect(&format!("lobby?_pk={id}")).await);
    }
    let talk = async |(id, client): (usize, &mut TestClient)| {
        for message in 0..MESSAGES {
            client.tell(json!([{"broadcast": format!("{id}:{message}")}])).await;
        }
        let mut heard = Vec::new();
        for _ in 0..CLIENTS * MESSAGES {
            heard.push(client.text().await);
        }
        heard
    };
    let heard = join_all(clients.iter_mut().enumerate().map(talk)).await;
    assert!(heard.windows(2).all(|two| two[0] == two[1]), "two clients heard different orders");
    let mut next: HashMap<&str, usize> = HashMap::new();
    for text in &heard[0] {
        let (id, message) = text.split_once(':').unwrap();
        let expected = next.entry(id).or_default();
        assert_eq!(message, expected.to_string(), "a message of {id} is missing or early");
        *expected += 1;
    }
    assert_eq!(clients[0].echo("end").await, "end");
}

#[tokio::test]
async fn a_broadcast_skips_excluded_connections_and_follows_its_tag() {
    let node = Setup::memory().start().await;
    let mut red = node.connect("lobby?_pk=red&tags=team-red,all").await;
    let mut blue = node.connect("lobby?_pk=blue&tags=team-blue,all").await;
    let mut none = node.connect("lobby?_pk=none").await;
    red.tell(json!([
        {"broadcast_except": ["not red", ["red"]]},
        {"broadcast_except": ["only none", ["red", "blue", "nobody"]]},
        {"broadcast_tagged": ["for blue", "team-blue"]},
        {"broadcast_tagged": ["for all", "all"]},
        {"broadcast_tagged": ["an id is a tag", "none"]},
    ]))
    .await;
    red.send("end").await;
    blue.send("end").await;
    none.send("end").await;
    let heard = async |client: &mut TestClient| {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|text| text != "end") {
            heard.push(client.text().await);
        }
        heard
    };
    assert_eq!(heard(&mut red).await, ["for all", "end"]);
    // Others' messages may overtake `end` on its way to the room, so the test awaits it in the room's order.
    assert!(ordered(&heard(&mut blue).await, &["not red", "for blue", "for all"]));
    assert!(ordered(&heard(&mut none).await, &["not red", "only none", "an id is a tag"]));
}

/// Returns true if these are the texts besides `end`, as far as they came before it.
fn ordered(heard: &[String], expected: &[&str]) -> bool {
    let heard: Vec<&str> = heard.iter().map(String::as_str).filter(|text| *text != "end").collect();
    expected.starts_with(&heard)
}

#[tokio::test]
async fn a_later_client_does_not_receive_earlier_broadcasts() {
    let node = Setup::disk().start().await;
    let mut first = node.connect("lobby?_pk=first").await;
    // The broadcast waits for the disk while the second one connects.
    first.tell(json!([{"put": ["k", 1]}, {"broadcast": "early"}])).await;
    let mut second = node.connect("lobby?_pk=second&hello=hello").await;
    assert_eq!(first.text().await, "early");
    let heard = second.text().await;
    assert!(heard == "hello" || heard == "early", "{heard}");
    if heard == "early" {
        // The node let it in before the room handled the first one's message.
        assert_eq!(second.text().await, "hello");
    }
    assert_eq!(second.echo("end").await, "end");
}
