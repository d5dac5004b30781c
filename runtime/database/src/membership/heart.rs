//! The heartbeats of one incarnation. Owns the connection on which they are sent.
//!
//! Invariant: a heartbeat that arrived renews the lease from the moment before it was sent. A connection that does not
//! answer in time is replaced while the lease still lasts. It does not know shards.

use super::{MembershipInner, rows};
use crate::DatabaseError;
use crate::connect::LoneClient;
use crate::lease::Incarnation;
use room_core::clock::Moment;
use room_core::lock::lock;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Sends heartbeats until the database takes this incarnation for dead, or the lease is over.
///
/// # Cancel safety
/// If dropped, the lease ends by itself.
pub(super) async fn beat(node: &MembershipInner, own: Incarnation) {
    // Half of what remains at a lost heartbeat, so that another connection has the other half.
    let answer_max = node.pace.certain() / 2;
    let mut client = None;
    let mut beats = interval(node.pace.heartbeat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let sent = Moment::now();
        match timeout(answer_max, once(node, own, &mut client)).await {
            Ok(Ok(true)) if node.lease.is_certain() => {
                node.lease.renew(own, sent, node.pace.certain());
            }
            Ok(Ok(_)) => return,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a heartbeat did not reach the cluster's database");
                client = None;
            }
            Err(_) => {
                let ms = answer_max.as_millis();
                tracing::warn!("the cluster's database did not answer a heartbeat within {ms} ms");
                client = None;
            }
        }
    }
}

/// Sends one heartbeat. Returns false if this incarnation is dead.
async fn once(
    node: &MembershipInner,
    own: Incarnation,
    client: &mut Option<LoneClient>,
) -> Result<bool, DatabaseError> {
    let client = match client {
        Some(client) => client,
        None => client.insert(node.database.beside().await?),
    };
    let figures = lock(&node.figures).clone();
    rows::beat(client, own, &figures).await
}
