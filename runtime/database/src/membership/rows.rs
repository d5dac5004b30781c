//! The rows of nodes and shards. Owns every statement about them.
//!
//! Invariant: a row of a node that is dead never lives again, and it is marked as dead under a lock that waits for the
//! commits that it guards (`FOR KEY SHARE`), and that later ones wait for. A shard goes from one live node to another only
//! by the statement of the former. Only the database's clock judges. It does not know when a statement is due.

use super::key::ClusterKey;
use super::shard_map::{ClusterNode, ShardMap};
use crate::connect::{LoneClient, ask};
use crate::lease::Incarnation;
use crate::{DatabaseError, MembershipError};
use room_core::config::PeerNode;
use room_core::limits::fixed::NODE_LEFT_S_MAX;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// A live node with a name that another one wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NameHolder {
    pub(super) address: String,
    /// Its last heartbeat, in microseconds on the database's clock.
    pub(super) heartbeat_us: i64,
}

/// Adds a node, and removes old rows of nodes that left. If an operator has drained `before`, the former life of the same
/// process, the new life is drained, too. Returns `None` if a live node has the name.
pub(super) async fn add(
    client: &LoneClient,
    (own, before): (&PeerNode, Incarnation),
    (program, lease_ms): (&str, i64),
    takes_shards: bool,
) -> Result<Option<Incarnation>, DatabaseError> {
    let old = "DELETE FROM room.nodes n WHERE NOT alive \
               AND heartbeat < clock_timestamp() - $1::bigint * interval '1 second' \
               AND NOT EXISTS (SELECT FROM room.shards s WHERE s.incarnation = n.incarnation)";
    ask(client, old, &[&i64::try_from(NODE_LEFT_S_MAX).unwrap_or(i64::MAX)]).await?;
    let add = "WITH before AS (SELECT coalesce(bool_or(drained), false) AS drained FROM room.nodes \
                   WHERE incarnation = $6) \
               INSERT INTO room.nodes (name, address, program, lease_ms, draining, drained) \
               SELECT $1, $2, $3, $4, $5 OR before.drained, before.drained FROM before \
               ON CONFLICT (name) WHERE alive DO NOTHING RETURNING incarnation";
    let (name, address, is_idle) = (own.name().as_str(), own.authority(), !takes_shards);
    let values: [&(dyn ToSql + Sync); 6] =
        [&name, &address, &program, &lease_ms, &is_idle, &before.0];
    let added = ask(client, add, &values).await?;
    Ok(added.first().map(|row| Incarnation(row.get(0))))
}

/// Returns the live node with this name.
pub(super) async fn holder(
    client: &LoneClient,
    name: &str,
) -> Result<Option<NameHolder>, DatabaseError> {
    let held = "SELECT address, (extract(epoch FROM heartbeat) * 1000000)::bigint \
                FROM room.nodes WHERE name = $1 AND alive";
    let held = ask(client, held, &[&name]).await?;
    Ok(held.first().map(|row| NameHolder { address: row.get(0), heartbeat_us: row.get(1) }))
}

/// Returns the cluster's key.
pub(super) async fn key(client: &LoneClient) -> Result<ClusterKey, MembershipError> {
    let found = ask(client, "SELECT key FROM room.cluster", &[]).await?;
    let bytes = found.first().map(|row| row.get::<_, Vec<u8>>(0)).unwrap_or_default();
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| MembershipError::NoKey)?;
    Ok(ClusterKey::new(bytes))
}

/// Notes a heartbeat, and returns true if this incarnation is alive.
pub(super) async fn beat(
    client: &LoneClient,
    own: Incarnation,
    figures: &str,
) -> Result<bool, DatabaseError> {
    // It changes no column of a key, so it does not wait for the guards of commits.
    let beat = "UPDATE room.nodes SET heartbeat = clock_timestamp(), figures = $2 \
                WHERE incarnation = $1 AND alive RETURNING incarnation";
    Ok(!ask(client, beat, &[&own.0, &figures]).await?.is_empty())
}

/// Marks nodes as dead whose last heartbeat is older than their lease. A node whose heartbeat arrives first stays alive.
/// A node with a commit under way is left for the next look, so that nobody waits for it.
pub(super) async fn declare_dead(client: &LoneClient) -> Result<(), DatabaseError> {
    let dead = "WITH late AS MATERIALIZED (SELECT incarnation FROM room.nodes WHERE alive \
                    AND heartbeat < clock_timestamp() - lease_ms * interval '1 millisecond' \
                    FOR UPDATE SKIP LOCKED) \
                UPDATE room.nodes n SET alive = false FROM late \
                WHERE n.incarnation = late.incarnation RETURNING n.name";
    for row in ask(client, dead, &[]).await? {
        let name: &str = row.get(0);
        tracing::warn!(
            node = name,
            "a node of the cluster sends no heartbeats, and lost its place"
        );
    }
    Ok(())
}

/// Marks an incarnation as dead. It runs no room any more.
pub(super) async fn leave(client: &LoneClient, own: Incarnation) -> Result<(), DatabaseError> {
    let leave = "WITH own AS MATERIALIZED (SELECT incarnation FROM room.nodes \
                     WHERE incarnation = $1 AND alive FOR UPDATE) \
                 UPDATE room.nodes n SET alive = false FROM own WHERE n.incarnation = own.incarnation";
    ask(client, leave, &[&own.0]).await.map(drop)
}

/// Lets an incarnation that joined without taking shards take them, unless an operator has drained it.
pub(super) async fn take_part(client: &LoneClient, own: Incarnation) -> Result<(), DatabaseError> {
    let part = "UPDATE room.nodes SET draining = drained WHERE incarnation = $1 AND alive";
    ask(client, part, &[&own.0]).await.map(drop)
}

/// Lets an incarnation that is about to leave take no more shards.
pub(super) async fn take_no_part(
    client: &LoneClient,
    own: Incarnation,
) -> Result<(), DatabaseError> {
    let part = "UPDATE room.nodes SET draining = true WHERE incarnation = $1 AND alive";
    ask(client, part, &[&own.0]).await.map(drop)
}

/// Asks a node to give up its shards. Returns false if no live node has this name.
pub(super) async fn drain(client: &LoneClient, name: &str) -> Result<bool, DatabaseError> {
    let drain = "UPDATE room.nodes SET draining = true, drained = true WHERE name = $1 AND alive RETURNING name";
    Ok(!ask(client, drain, &[&name]).await?.is_empty())
}

/// Returns who is there, and who has which shard.
pub(super) async fn look(client: &LoneClient) -> Result<ShardMap, DatabaseError> {
    // In this order: a shard that moves in between, to a node that is not on the list, shows no owner.
    let nodes = "SELECT name, address, program, incarnation, draining, figures, \
                     (extract(epoch FROM started) * 1000)::bigint, \
                     (extract(epoch FROM clock_timestamp() - heartbeat) * 1000)::bigint, lease_ms \
                 FROM room.nodes WHERE alive ORDER BY name";
    let nodes = ask(client, nodes, &[]).await?;
    let shards = "SELECT array_agg(incarnation ORDER BY shard) FROM room.shards";
    let shards = ask(client, shards, &[]).await?;
    let shards = shards.first().and_then(|row| row.get::<_, Option<Vec<Option<i64>>>>(0));
    let shards = shards.unwrap_or_default();
    Ok(ShardMap::new(nodes.iter().filter_map(node).collect(), &shards))
}

fn node(row: &Row) -> Option<ClusterNode> {
    let (name, address): (&str, &str) = (row.get(0), row.get(1));
    let Ok(peer) = format!("{name}=http://{address}").parse() else {
        tracing::error!(name, address, "a node of the cluster has no valid name and address");
        return None;
    };
    Some(ClusterNode {
        peer,
        program: row.get(2),
        incarnation: Incarnation(row.get(3)),
        is_draining: row.get(4),
        figures: row.get(5),
        started_ms: row.get(6),
        silent_ms: row.get(7),
        lease_ms: row.get(8),
    })
}

/// Takes those of these shards that no live incarnation has, and returns how many. Takes none if this incarnation is dead
/// or gives up its shards.
pub(super) async fn take(
    client: &LoneClient,
    own: Incarnation,
    shards: &[i16],
) -> Result<usize, DatabaseError> {
    let take = "WITH own AS MATERIALIZED (SELECT incarnation FROM room.nodes \
                    WHERE incarnation = $1 AND alive AND NOT draining FOR KEY SHARE) \
                UPDATE room.shards s SET incarnation = own.incarnation FROM own \
                WHERE s.shard = ANY ($2) AND (s.incarnation IS NULL OR EXISTS ( \
                    SELECT FROM room.nodes n WHERE n.incarnation = s.incarnation AND NOT n.alive)) \
                RETURNING s.shard";
    Ok(ask(client, take, &[&own.0, &shards]).await?.len())
}

/// Gives each of these shards to its heir, or to nobody if the heir is dead or drains. Their rooms are gone.
pub(super) async fn hand_over(
    client: &LoneClient,
    own: Incarnation,
    (shards, heirs): (&[i16], &[Option<i64>]),
) -> Result<(), DatabaseError> {
    let give = "WITH alive AS MATERIALIZED (SELECT incarnation FROM room.nodes \
                    WHERE incarnation = ANY ($3) AND alive AND NOT draining FOR KEY SHARE) \
                UPDATE room.shards s SET incarnation = alive.incarnation \
                FROM unnest($2::smallint[], $3::bigint[]) AS given (shard, heir) \
                    LEFT JOIN alive ON alive.incarnation = given.heir \
                WHERE s.shard = given.shard AND s.incarnation = $1";
    ask(client, give, &[&own.0, &shards, &heirs]).await.map(drop)
}
