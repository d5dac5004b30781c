//! Timers on a disk that waits or fails.

use super::{TestNode, lobby, text, within};
use tokio::sync::oneshot;

/// Rings the room, and returns whether it has handled what is due.
async fn rung(node: &TestNode) -> bool {
    let (done, answer) = oneshot::channel();
    node.rooms.ring(&lobby(), done);
    within(answer).await.is_ok()
}

#[tokio::test]
async fn a_timer_whose_turn_was_lost_is_delivered_again() {
    let node = TestNode::start().await;
    let set = r#"[{"timer_in":[-1,"lost"]},{"timer_in":[-1,"behind"]}]"#;
    assert_eq!(node.request(set).await, Ok("[]".to_owned()));
    let client = node.connect("a").await;
    node.disk.hold();
    let mut handled = std::pin::pin!(rung(&node));
    assert!(futures_util::poll!(handled.as_mut()).is_pending());
    node.held().await;
    // The turn is over, and nobody has seen it.
    assert_eq!(client.take(9), []);
    node.disk.fail();
    assert!(!handled.await);
    node.disk.work();
    node.works_again().await;
    let pending = node.request(r#"["timers"]"#).await;
    assert_eq!(pending, Ok(r#"["lost,behind"]"#.to_owned()));
    let client = node.connect("b").await;
    assert!(rung(&node).await);
    let said = super::heard(&client, 2).await;
    assert_eq!(said, [text("timer lost"), text("timer behind")]);
    assert_eq!(node.request(r#"["timers"]"#).await, Ok(r#"[""]"#.to_owned()));
    // A ring without anything due is answered.
    assert!(rung(&node).await);
}
