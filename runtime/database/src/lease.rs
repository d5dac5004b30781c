//! This node's right to run rooms. Owns which shards are its own, and until when that is certain.
//!
//! Invariant: every node with this code gives a room the same shard. The right ends by the node's own monotonic clock,
//! before the database would give it to another node. It does not know how the right is had or lost: `membership` notes
//! that here.

use room_core::clock::Moment;
use room_core::id::RoomId;
use room_core::lock::lock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The number of shards of a cluster. It never changes: stored rows name their shard.
pub const SHARDS: u16 = 1_024;

/// One life of a node: the number of its row in the database. Each start of the process, and each return after its right
/// was lost, has a greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incarnation(pub i64);

/// Some of the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSet(Box<[u64; SHARDS as usize / 64]>);

/// What this node may do, as of its last heartbeat. Cheap to clone; clones are the same lease.
#[derive(Clone)]
pub struct Lease(Arc<LeaseInner>);

struct LeaseInner {
    incarnation: AtomicI64,
    began: Moment,
    /// Milliseconds since `began` up to which the right is certain.
    until_ms: AtomicI64,
    shards: Mutex<LeasedShards>,
}

/// The shards of a lease.
struct LeasedShards {
    /// Those whose rooms may commit.
    owned: Arc<ShardSet>,
    /// Those of them whose rooms may start.
    open: Arc<ShardSet>,
}

/// Returns the shard of a project's room.
pub fn shard_of(project: &str, room: &RoomId) -> u16 {
    let mut hasher = blake3::Hasher::new();
    for text in [project, room.party().as_str(), room.name()] {
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    let hash = hasher.finalize();
    let [first, second, ..] = hash.as_bytes();
    u16::from_be_bytes([*first, *second]) % SHARDS
}

impl ShardSet {
    /// Returns the set of these shards.
    pub fn of(shards: impl IntoIterator<Item = u16>) -> Self {
        let mut words = Box::new([0; SHARDS as usize / 64]);
        for shard in shards.into_iter().filter(|shard| *shard < SHARDS) {
            words[usize::from(shard / 64)] |= 1 << (shard % 64);
        }
        Self(words)
    }

    /// Returns true if a shard is in the set.
    pub fn has(&self, shard: u16) -> bool {
        self.0.get(usize::from(shard / 64)).is_some_and(|word| word & (1 << (shard % 64)) != 0)
    }

    /// Returns how many shards the set has.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Returns true if the set has no shard.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Returns the shards of the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..SHARDS).filter(|shard| self.has(*shard))
    }
}

impl Default for LeasedShards {
    fn default() -> Self {
        let none = Arc::new(ShardSet::of([]));
        Self { owned: none.clone(), open: none }
    }
}

impl Lease {
    /// Returns the lease of a node that has no right yet.
    pub fn none() -> Self {
        Self(Arc::new(LeaseInner {
            incarnation: AtomicI64::new(0),
            began: Moment::now(),
            until_ms: AtomicI64::new(i64::MIN),
            shards: Mutex::new(LeasedShards::default()),
        }))
    }

    /// Returns the node's incarnation, by which the database guards its commits.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.0.incarnation.load(Ordering::Acquire))
    }

    /// Returns true if the node's right is certain now. Outputs leave, and rooms start, only then.
    pub fn is_certain(&self) -> bool {
        self.now_ms() < self.0.until_ms.load(Ordering::Acquire)
    }

    /// Returns for how long the right is certain if no further heartbeat arrives.
    pub fn rest(&self) -> Duration {
        let rest = self.0.until_ms.load(Ordering::Acquire).saturating_sub(self.now_ms());
        Duration::from_millis(u64::try_from(rest).unwrap_or_default())
    }

    /// Returns true if rooms of this shard may start now.
    pub fn covers(&self, shard: u16) -> bool {
        self.is_certain() && lock(&self.0.shards).open.has(shard)
    }

    fn now_ms(&self) -> i64 {
        let passed = Moment::now().since(self.0.began).as_millis();
        i64::try_from(passed).unwrap_or(i64::MAX)
    }

    /// Returns the shards whose rooms this node runs, those that are about to stop included.
    pub fn owned(&self) -> Arc<ShardSet> {
        lock(&self.0.shards).owned.clone()
    }

    /// Notes the shards whose rooms this node runs.
    pub fn own(&self, shards: ShardSet) {
        self.own_but(shards, |_| false);
    }

    /// Notes the shards whose rooms this node runs, except that no room starts in those that leave.
    pub fn own_but(&self, owned: ShardSet, leaves: impl Fn(u16) -> bool) {
        let open = ShardSet::of(owned.iter().filter(|shard| !leaves(*shard)));
        *lock(&self.0.shards) = LeasedShards { owned: Arc::new(owned), open: Arc::new(open) };
    }

    /// Notes a heartbeat of this incarnation that was sent at `sent` and arrived. The right is certain for `length` from
    /// then on.
    pub fn renew(&self, incarnation: Incarnation, sent: impl Into<Moment>, length: Duration) {
        let until = (sent.into() + length).since(self.0.began);
        self.0.incarnation.store(incarnation.0, Ordering::Release);
        let until = i64::try_from(until.as_millis()).unwrap_or(i64::MAX);
        self.0.until_ms.store(until, Ordering::Release);
    }

    /// Ends the right at once.
    pub fn end(&self) {
        self.0.until_ms.store(i64::MIN, Ordering::Release);
        self.own(ShardSet::of([]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::id::PartyName;

    /// Stored rows name their shard, so these answers never change.
    #[test]
    fn known_rooms_have_known_shards() {
        let shard = |project: &str, name: &str| {
            shard_of(project, &RoomId::new(PartyName::parse("main").unwrap(), name, 256).unwrap())
        };
        let shards = [
            shard("", "lobby"),
            shard("chat", "lobby"),
            shard("chat", "é"),
            shard("c", "hatlobby"),
        ];
        assert_eq!(shards, [521, 255, 646, 647]);
    }

    #[test]
    fn a_set_has_what_it_was_made_of() {
        let set = ShardSet::of([0, 63, 64, 1_023, 1_024]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 1_023]);
        assert!(!set.has(1) && !set.has(1_024));
        assert!(set.len() == 4 && !set.is_empty() && ShardSet::of([]).is_empty());
    }

    #[test]
    fn a_right_is_certain_until_its_time_is_over() {
        let lease = Lease::none();
        assert!(!lease.is_certain());
        lease.own(ShardSet::of([7]));
        lease.renew(Incarnation(3), Moment::now(), Duration::from_secs(60));
        assert!(lease.covers(7) && !lease.covers(8) && lease.rest() > Duration::from_secs(1));
        assert_eq!(lease.incarnation(), Incarnation(3));
        lease.own_but(ShardSet::of([7, 8]), |shard| shard == 7);
        assert!(lease.owned().has(7) && !lease.covers(7) && lease.covers(8));
        lease.end();
        assert!(!lease.is_certain() && lease.owned().is_empty() && lease.rest().is_zero());
        lease.renew(Incarnation(4), Moment::now(), Duration::ZERO);
        lease.own(ShardSet::of([7]));
        assert!(!lease.covers(7));
    }
}
