//! Messages that come by plain HTTP: what they wait for, and whose they are.

use super::*;
use crate::room::{ClientPost, Publication, RepeatedPublication};
use room_core::id::ConnectionSecret;

/// Lets a client in that has no socket.
async fn without_socket(node: &TestNode, id: &str) -> (Client, ConnectionSecret) {
    let secret = ConnectionSecret::random();
    let visitor =
        ConnectingClient { transport: Transport::Sse, secret: Some(secret), ..visitor(id) };
    let (entrance, outboxes) = (node.rooms.entrance(&lobby()).unwrap(), node.rooms.outboxes());
    let to = (&outboxes, ConnectionKey(0));
    let joined = within(node.rooms.connect(&entrance, visitor, to)).await.unwrap().unwrap();
    let client = Client { joined, outboxes };
    let first = heard(&client, 1).await;
    assert!(matches!(&first[..], [OutboxItem::Welcome(_)]), "{first:?}");
    (client, secret)
}

fn posted(id: &str, secret: ConnectionSecret, text: &str) -> ClientPost {
    ClientPost { connection: id.to_owned(), secret, message: Message::text(text) }
}

async fn publish(
    node: &TestNode,
    script: &str,
    key: Option<&str>,
) -> Result<Option<String>, Unreachable> {
    let entrance = node.rooms.entrance(&lobby())?;
    let until_ms = Clock::system().wall_ms() + 3_600_000;
    let once = key.map(|key| RepeatedPublication { key: key.to_owned(), until_ms });
    let publication = Publication { message: Message::text(script), once };
    within(node.rooms.publish(&entrance, publication)).await
}

#[tokio::test]
async fn answers_to_posts_and_publications_wait_for_the_disk_as_their_outputs_do() {
    let node = TestNode::start().await;
    let (a, secret) = without_socket(&node, "a").await;
    let room = lobby();
    node.rooms.post(&room, posted("a", secret, "free")).await.unwrap();
    assert_eq!(heard(&a, 1).await, [text("free")]);
    node.disk.hold();
    let script = r#"[{"put":["k",1]},{"say":"wrote"}]"#;
    let mut post = std::pin::pin!(node.rooms.post(&room, posted("a", secret, script)));
    let mut published = std::pin::pin!(publish(&node, r#"[{"broadcast":"published"}]"#, None));
    let mut again = std::pin::pin!(node.rooms.post(&room, posted("a", secret, "behind")));
    for _ in 0..100 {
        assert!(futures_util::poll!(post.as_mut()).is_pending());
        assert!(futures_util::poll!(published.as_mut()).is_pending());
        assert!(futures_util::poll!(again.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    node.held().await;
    assert_eq!(a.take(9), []);
    node.disk.work();
    within(post).await.unwrap();
    assert!(within(published).await.unwrap().is_some());
    within(again).await.unwrap();
    assert_eq!(heard(&a, 3).await, [text("wrote"), text("published"), text("behind")]);
}

#[tokio::test]
async fn a_post_or_publication_whose_commit_is_lost_is_not_confirmed() {
    let node = TestNode::start().await;
    let (_a, secret) = without_socket(&node, "a").await;
    node.disk.hold();
    let room = lobby();
    let script = r#"[{"put":["lost",1]}]"#;
    let mut post = std::pin::pin!(node.rooms.post(&room, posted("a", secret, script)));
    let mut published = std::pin::pin!(publish(&node, script, Some("key")));
    assert!(futures_util::poll!(post.as_mut()).is_pending());
    assert!(futures_util::poll!(published.as_mut()).is_pending());
    node.held().await;
    node.disk.fail();
    assert!(matches!(within(post).await, Err(Unreachable::Room(RoomError::Storage(_)))));
    assert!(matches!(within(published).await, Err(Unreachable::Room(RoomError::Storage(_)))));
    node.disk.work();
    node.works_again().await;
    // The lost one left no receipt, so a repetition is carried out.
    let first = publish(&node, r#"[{"add":"n"}]"#, Some("key")).await.unwrap();
    assert_eq!(publish(&node, r#"[{"add":"n"}]"#, Some("key")).await.unwrap(), first);
    assert_eq!(
        node.request(r#"[{"get":"n"},{"get":"lost"}]"#).await,
        Ok(r#"["1","null"]"#.to_owned())
    );
}

#[tokio::test]
async fn a_publication_interrupted_behind_a_flush_is_not_carried_out_again() {
    let node = TestNode::start().await;
    let script = r#"[{"add":"n"},"flush",{"err":"no"}]"#;
    assert!(publish(&node, script, Some("key")).await.is_err());
    let again = publish(&node, script, Some("key")).await.unwrap_err().to_string();
    assert!(again.contains("in part"), "{again}");
    assert_eq!(node.request(r#"[{"get":"n"}]"#).await, Ok(r#"["1"]"#.to_owned()));
}

#[tokio::test]
async fn the_clients_of_the_connections_that_ended_last_learn_that_from_a_post() {
    let node = TestNode::start().await;
    let room = lobby();
    let (_stays, _) = without_socket(&node, "stays").await;
    let mut secrets = Vec::new();
    for number in 0..70 {
        let (client, secret) = without_socket(&node, &format!("c{number}")).await;
        secrets.push(secret);
        drop(client);
    }
    settle().await;
    let answer = async |number: usize, secret: ConnectionSecret| {
        let post = posted(&format!("c{number}"), secret, "x");
        match within(node.rooms.post(&room, post)).await {
            Err(Unreachable::Room(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(answer(69, secrets[69]).await, RoomError::Over);
    assert_eq!(answer(6, secrets[6]).await, RoomError::Over);
    // The room remembers 64.
    assert_eq!(answer(5, secrets[5]).await, RoomError::NotYours);
    assert_eq!(answer(69, secrets[68]).await, RoomError::NotYours);
}
