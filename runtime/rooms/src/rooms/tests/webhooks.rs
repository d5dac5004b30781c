//! Webhooks of rooms on a disk that waits or fails.

use super::{TestNode, settle, within};
use room_core::limits::Limits;
use room_core::webhooks::{Webhook, WebhookEvent};
use room_store::testing::Disk;
use std::time::Duration;

async fn start() -> TestNode {
    let all = WebhookEvent::ALL.into_iter().collect();
    let limits = Limits { rooms_active_max: 4, ..Limits::default() };
    TestNode::of(Disk::default(), limits, |party| party.webhooks = all).await
}

/// Takes the events of the webhooks that the node's bell has reported, in the order of the room.
fn rung(node: &TestNode) -> Vec<WebhookEvent> {
    let fresh = node.rooms.parts().store.webhook_bell().take();
    assert!(!fresh.missed);
    fresh.new.values().filter_map(|bytes| Some(Webhook::decode(bytes)?.event)).collect()
}

async fn until_rung(node: &TestNode, wanted: &[WebhookEvent]) {
    let mut found = Vec::new();
    let rings = async {
        while found.len() < wanted.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            found.extend(rung(node));
        }
    };
    within(rings).await;
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn a_webhook_exists_when_its_turn_is_durable_and_not_before() {
    let node = start().await;
    node.disk.hold();
    let mut client = Box::pin(node.connect("a"));
    assert!(futures_util::poll!(client.as_mut()).is_pending());
    node.held().await;
    assert_eq!(rung(&node), []);
    node.disk.work();
    let client = within(client).await;
    until_rung(&node, &[WebhookEvent::Created, WebhookEvent::Connected]).await;
    drop(client);
    until_rung(&node, &[WebhookEvent::Disconnected, WebhookEvent::Emptied]).await;
}

#[tokio::test]
async fn a_webhook_is_lost_with_its_turn() {
    let node = start().await;
    let client = node.connect("a").await;
    until_rung(&node, &[WebhookEvent::Created, WebhookEvent::Connected]).await;
    node.disk.fail();
    drop(client);
    settle().await;
    let failed = node.request(r#"[{"put":["k",1]}]"#).await;
    assert!(failed.is_err(), "{failed:?}");
    node.disk.work();
    node.works_again().await;
    let stored = node.rooms.parts().store.webhooks().await.unwrap();
    assert_eq!((stored.len(), rung(&node)), (2, vec![]));
    // The room stores something, so it is not created again.
    drop(node.connect("b").await);
    let after = [WebhookEvent::Connected, WebhookEvent::Disconnected, WebhookEvent::Emptied];
    until_rung(&node, &after).await;
}
