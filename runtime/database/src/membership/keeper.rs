//! The shards of one incarnation. Owns which of them are taken, and in which order others are given up.
//!
//! Invariant: the lease has a shard only if the database gave it to this incarnation. No room of it starts once its rooms
//! were asked to go, and when they have gone the lease has it no more; only then the database gives it to another node.
//! All of that happens in one loop, so no look at the database is older than what was given up. It does not know
//! heartbeats.

use super::{LifeEnd, MembershipInner, ShardMap, ShardOrder, ring, rows};
use crate::DatabaseError;
use crate::connect::LoneClient;
use crate::lease::{Incarnation, ShardSet};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Shards that leave together. A room that stops slowly holds up the other shards of its order, and each order costs a
/// search among all rooms of the node.
const SHARDS_PER_ORDER: usize = 8;

/// The keeper of one incarnation's shards.
pub(super) struct ShardKeeper<'a> {
    node: &'a MembershipInner,
    own: Incarnation,
    orders: &'a mpsc::Sender<ShardOrder>,
    client: Option<LoneClient>,
    /// Shards that the database still gives to this node, and whose rooms are gone or going.
    leaving: BTreeSet<u16>,
    /// Those of `leaving` whose rooms are gone.
    gone: BTreeSet<u16>,
    /// The shards in which rooms may start.
    open: ShardSet,
    /// Whether the others know that this node gives up its shards.
    is_draining: bool,
}

/// How a round ended.
enum RoundEnd {
    /// Every shard is where it belongs.
    Settled,
    /// Shards are on their way.
    Moving,
    Over(LifeEnd),
}

impl<'a> ShardKeeper<'a> {
    pub(super) fn new(
        node: &'a MembershipInner,
        own: Incarnation,
        orders: &'a mpsc::Sender<ShardOrder>,
    ) -> Self {
        Self {
            node,
            own,
            orders,
            client: None,
            leaving: BTreeSet::new(),
            gone: BTreeSet::new(),
            open: ShardSet::of([]),
            is_draining: false,
        }
    }

    /// Takes shards and gives them up, until this incarnation has left or lost its place.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> LifeEnd {
        let mut leaving = FuturesUnordered::<LeavingRooms>::new();
        let mut is_away = false;
        loop {
            let (mut asked, stops) = (Vec::new(), stop.is_cancelled());
            let round = self.round(stops, &mut asked).await;
            leaving.extend(asked);
            let pause = match round {
                Ok(RoundEnd::Over(end)) => return end,
                Ok(RoundEnd::Settled) => self.node.pace.heartbeat,
                Ok(RoundEnd::Moving) => self.node.pace.look,
                Err(error) => {
                    if !is_away {
                        tracing::warn!(%error, "the shards of the cluster cannot be looked up");
                    }
                    self.client = None;
                    self.node.pace.look
                }
            };
            is_away = self.client.is_none();
            tokio::select! {
                left = next_gone(&mut leaving), if !leaving.is_empty() => match left {
                    Ok(shards) => self.gone.extend(shards),
                    // Nobody knows whether the rooms are gone: the end of the incarnation stops them all.
                    Err(oneshot::error::RecvError { .. }) => return LifeEnd::Lost,
                },
                () = stop.cancelled(), if !stops => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Looks at who has which shard, and goes one step further. Adds to `asked` the rooms that go.
    async fn round(
        &mut self,
        stops: bool,
        asked: &mut Vec<LeavingRooms>,
    ) -> Result<RoundEnd, DatabaseError> {
        let node = self.node;
        let client = match self.client.take() {
            Some(client) => client,
            None => node.database.beside().await?,
        };
        let before = node.map.borrow().clone();
        if !self.hand_over(&client, &before).await {
            return Ok(RoundEnd::Over(LifeEnd::Lost));
        }
        let looked = node.database.within(self.look(&client, stops)).await;
        let map = looked?;
        self.client = Some(client);
        let Some(map) = map else { return Ok(RoundEnd::Over(LifeEnd::Lost)) };
        let plan = ShardPlan::new(&map, self.own);
        let is_settled = plan.is_settled(&map, node) && self.leaving.is_empty();
        if !self.publish(map, &plan, asked).await {
            return Ok(RoundEnd::Over(LifeEnd::Deserted));
        }
        if self.is_draining && self.open.is_empty() && self.leaving.is_empty() {
            return Ok(match self.leave().await {
                true => RoundEnd::Over(LifeEnd::Left),
                false => RoundEnd::Moving,
            });
        }
        Ok(if is_settled { RoundEnd::Settled } else { RoundEnd::Moving })
    }

    /// Gives the shards whose rooms are gone to the nodes on which they belong. Returns false if it is unknown whether
    /// they have them: the statement may still be carried out, and this incarnation may have no shard then.
    async fn hand_over(&mut self, client: &LoneClient, map: &ShardMap) -> bool {
        if self.gone.is_empty() {
            return true;
        }
        let shards: Vec<u16> = std::mem::take(&mut self.gone).into_iter().collect();
        let owned = self.node.lease.owned();
        let rest = ShardSet::of(owned.iter().filter(|shard| !shards.contains(shard)));
        self.node.lease.own_but(rest, |shard| self.leaving.contains(&shard));
        let heirs = ShardPlan::new(map, self.own).heirs_of(&shards);
        let given = (numbers(&shards), heirs);
        let handed = rows::hand_over(client, self.own, (&given.0, &given.1));
        match self.node.database.within(handed).await {
            Ok(()) => {
                self.leaving.retain(|shard| !shards.contains(shard));
                true
            }
            Err(error) => {
                tracing::error!(%error, "shards may not have reached the nodes to which they go");
                false
            }
        }
    }

    /// Declares late nodes dead, takes free shards that belong here, and returns who has which shard then; `None` if this
    /// incarnation is dead.
    async fn look(
        &mut self,
        client: &LoneClient,
        stops: bool,
    ) -> Result<Option<ShardMap>, DatabaseError> {
        if stops && !self.is_draining {
            rows::take_no_part(client, self.own).await?;
            self.is_draining = true;
        }
        let mut map = rows::look(client).await?;
        if map.nodes().iter().any(|node| node.silent_ms > node.lease_ms) {
            rows::declare_dead(client).await?;
            map = rows::look(client).await?;
        }
        let free = numbers(&ShardPlan::new(&map, self.own).free);
        if !free.is_empty() && rows::take(client, self.own, &free).await? > 0 {
            map = rows::look(client).await?;
        }
        let lives = map.nodes().iter().any(|node| node.incarnation == self.own);
        Ok(lives.then_some(map))
    }

    /// Notes what this node has, and orders rooms of shards that belong elsewhere to stop. Returns false if nobody takes
    /// orders.
    async fn publish(
        &mut self,
        map: ShardMap,
        plan: &ShardPlan,
        asked: &mut Vec<LeavingRooms>,
    ) -> bool {
        let places = self.node.pace.leave_max.saturating_sub(self.leaving.len());
        let may_stay = |shard: &u16| !self.leaving.contains(shard);
        let going: Vec<u16> = plan.surplus.iter().copied().filter(may_stay).take(places).collect();
        self.leaving.extend(&going);
        let has = map.shards_of(self.own);
        let open = ShardSet::of(has.iter().filter(|shard| !self.leaving.contains(shard)));
        let new = ShardSet::of(open.iter().filter(|shard| !self.open.has(*shard)));
        self.open = open;
        self.node.lease.own_but(has, |shard| self.leaving.contains(&shard));
        self.node.map.send_replace(Arc::new(map));
        if !new.is_empty() && self.orders.send(ShardOrder::Taken(new)).await.is_err() {
            return false;
        }
        for group in going.chunks(SHARDS_PER_ORDER) {
            let (done, left) = oneshot::channel();
            let (group, shards) = (group.to_vec(), ShardSet::of(group.iter().copied()));
            asked.push(Box::pin(async move { left.await.map(|()| group) }));
            if self.orders.send(ShardOrder::Leave { shards, done }).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Removes this node from the cluster. It has no shard any more.
    async fn leave(&mut self) -> bool {
        let Some(client) = &self.client else { return false };
        match self.node.database.within(rows::leave(client, self.own)).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "this node cannot leave its cluster yet");
                self.client = None;
                false
            }
        }
    }
}

/// Rooms that go. Completed with their shards.
type LeavingRooms =
    std::pin::Pin<Box<dyn Future<Output = Result<Vec<u16>, oneshot::error::RecvError>> + Send>>;

/// Waits until an order is carried out, and returns the shards of all orders that are carried out by then, so that one
/// statement hands them over.
///
/// # Errors
/// An order was dropped.
///
/// # Cancel safety
/// If dropped before it returns, no order is lost.
async fn next_gone(
    leaving: &mut FuturesUnordered<LeavingRooms>,
) -> Result<Vec<u16>, oneshot::error::RecvError> {
    let orders_max = leaving.len().max(1);
    let left = leaving.ready_chunks(orders_max).next().await.unwrap_or_default();
    let shards: Vec<Vec<u16>> = left.into_iter().collect::<Result<_, _>>()?;
    Ok(shards.concat())
}

/// What the ring makes of a look at the shards.
struct ShardPlan {
    /// For each shard the node on which it belongs; empty if no node takes shards.
    heirs: Vec<Option<Incarnation>>,
    /// Shards that belong here, and that no live node has.
    free: Vec<u16>,
    /// Shards that belong here, and that other nodes have.
    awaited: usize,
    /// Shards that are here, and belong on other nodes or on none.
    surplus: Vec<u16>,
}

impl ShardPlan {
    fn new(map: &ShardMap, own: Incarnation) -> Self {
        let takers = map.nodes().iter().filter(|node| !node.is_draining);
        let names = ring::proposals(takers.map(|node| node.peer.name().as_str()));
        let heirs: Vec<_> = names.into_iter().map(|name| map.incarnation_of(name)).collect();
        let mut plan = Self { heirs, free: Vec::new(), awaited: 0, surplus: Vec::new() };
        for shard in 0..crate::SHARDS {
            let belongs_here = plan.heir(shard) == Some(own);
            match (belongs_here, map.owner(shard).map(|node| node.incarnation)) {
                (true, None) => plan.free.push(shard),
                (true, Some(owner)) if owner != own => plan.awaited += 1,
                (false, Some(owner)) if owner == own => plan.surplus.push(shard),
                _ => {}
            }
        }
        plan
    }

    fn heir(&self, shard: u16) -> Option<Incarnation> {
        self.heirs.get(usize::from(shard)).copied().flatten()
    }

    fn heirs_of(&self, shards: &[u16]) -> Vec<Option<i64>> {
        shards.iter().map(|shard| self.heir(*shard).map(|heir| heir.0)).collect()
    }

    /// Returns true if no shard moves, and no node is about to die.
    fn is_settled(&self, map: &ShardMap, node: &MembershipInner) -> bool {
        let silence_max = node.pace.heartbeat * 2;
        let are_heard = map.nodes().iter().all(|other| {
            u128::try_from(other.silent_ms).unwrap_or_default() <= silence_max.as_millis()
        });
        are_heard && self.free.is_empty() && self.surplus.is_empty() && self.awaited == 0
    }
}

fn numbers(shards: &[u16]) -> Vec<i16> {
    shards.iter().filter_map(|shard| i16::try_from(*shard).ok()).collect()
}
