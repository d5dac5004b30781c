//! Open responses on a disk that waits or fails.

use super::{TestNode, lobby, post, settle, within};
use crate::room::{OpenResponse, ResponsePart, ResponseStart, RoomAnswer, RoomError};
use bytes::Bytes;
use room_core::event::{BodyDelivery, Request};

/// Asks the lobby for a response that stays open.
async fn open(node: &TestNode, rest: &str) -> Box<OpenResponse> {
    let entrance = node.rooms.entrance(&lobby()).unwrap();
    let uri = format!("http://localhost/parties/main/lobby{rest}");
    let request = Request { method: "GET".to_owned(), uri, ..post("") };
    let asked = node.rooms.request(&entrance, request, BodyDelivery::Whole);
    match within(asked).await.unwrap().unwrap() {
        RoomAnswer::Later(open) => open,
        RoomAnswer::Whole(response) => panic!("{response:?}"),
    }
}

fn piece(text: &'static str) -> ResponsePart {
    ResponsePart::Piece(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn nothing_of_an_open_response_leaves_before_its_turn_is_durable() {
    let node = TestNode::start().await;
    node.disk.hold();
    let mut response = open(&node, "/stored-stream").await;
    node.held().await;
    // The client waits, and has nothing: neither the head nor what was written.
    let mut started = Box::pin(response.start());
    assert!(futures_util::poll!(started.as_mut()).is_pending());
    drop(started);
    let mut next = Box::pin(response.next());
    assert!(futures_util::poll!(next.as_mut()).is_pending());
    drop(next);
    node.disk.work();
    assert!(matches!(within(response.start()).await, Ok(ResponseStart::Stream(_))));
    assert_eq!(within(response.next()).await, piece("stored"));
    // A later turn that writes nothing waits for one that does, and the order stays.
    node.disk.hold();
    let client = node.connect("a");
    let mut client = std::pin::pin!(client);
    assert!(futures_util::poll!(client.as_mut()).is_pending());
    settle().await;
    let mut end =
        Box::pin(node.request(r#"[{"stream":{"write":["","last"]}},{"stream":{"end":""}}]"#));
    assert!(futures_util::poll!(end.as_mut()).is_pending());
    settle().await;
    let mut next = Box::pin(response.next());
    assert!(futures_util::poll!(next.as_mut()).is_pending());
    drop(next);
    node.disk.work();
    within(client).await;
    assert_eq!(within(end).await, Ok("[]".to_owned()));
    assert_eq!(within(response.next()).await, piece("last"));
    assert_eq!(within(response.next()).await, ResponsePart::End);
}

#[tokio::test]
async fn a_lost_commit_breaks_off_open_responses() {
    let node = TestNode::start().await;
    let mut begun = open(&node, "/stored-stream").await;
    assert!(matches!(within(begun.start()).await, Ok(ResponseStart::Stream(_))));
    assert_eq!(within(begun.next()).await, piece("stored"));
    let mut waiting = open(&node, "/later").await;
    node.disk.hold();
    let lost = r#"[{"put":["k",1]},{"stream":{"respond":["",200,"lost"]}}]"#;
    let mut asked = Box::pin(node.request(lost));
    assert!(futures_util::poll!(asked.as_mut()).is_pending());
    node.held().await;
    node.disk.fail();
    assert!(within(asked).await.is_err());
    assert!(matches!(within(waiting.start()).await, Err(RoomError::Storage(_))));
    assert_eq!(within(begun.next()).await, ResponsePart::Cut);
    node.disk.work();
    node.works_again().await;
    // The next activation knows neither.
    assert_eq!(node.request(r#"[{"stream":{"ids":null}}]"#).await, Ok(r#"[""]"#.to_owned()));
}
