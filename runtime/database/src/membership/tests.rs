//! Memberships of one database, several in this process, each with rooms that only count.

use super::*;
use crate::lease::{SHARDS, shard_of};
use crate::testing::TestPostgres;
use futures_util::task::AtomicWaker;
use room_core::id::{PartyName, RoomId};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::task::JoinHandle;

/// Long enough for everything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster with a server of PostgreSQL of its own.
struct Cluster {
    server: TestPostgres,
    database: Database,
    name: String,
    limits: Limits,
}

/// A node of it, as a task that can be paused as a whole.
struct Member {
    membership: Membership,
    paused: Arc<Paused>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// The largest number of shards that were leaving at the same time.
    left_max: Arc<Mutex<usize>>,
}

impl Cluster {
    async fn start(lease_ms: u64) -> Self {
        let limits = Limits {
            node_heartbeat_ms: lease_ms / 8,
            node_lease_ms: lease_ms,
            shard_look_ms: 10,
            ..Limits::default()
        };
        let server = TestPostgres::start("");
        let settings = server.settings();
        let name = settings.config().get_dbname().unwrap().to_owned();
        let database = Database::open(&settings, &limits).await.unwrap();
        Self { server, database, name, limits }
    }

    async fn try_join(&self, name: &str) -> Result<Membership, MembershipError> {
        Membership::join(&self.database, &peer(name), "1.0.0", &self.limits).await
    }

    async fn join(&self, name: &str) -> Member {
        Member::of(self.try_join(name).await.unwrap())
    }

    fn sql(&self, statement: &str) -> String {
        self.server.sql(&self.name, statement)
    }

    /// Returns the names of the live nodes.
    fn alive(&self) -> String {
        self.sql("SELECT string_agg(name, ' ' ORDER BY name) FROM room.nodes WHERE alive")
    }
}

fn peer(name: &str) -> PeerNode {
    format!("{name}=http://127.0.0.1:1").parse().unwrap()
}

impl Member {
    fn of(membership: Membership) -> Self {
        let (paused, stop) = (Arc::new(Paused::default()), CancellationToken::new());
        let left_max = Arc::new(Mutex::new(0));
        let (orders, told) = mpsc::channel(1);
        let (own, stopping, most) = (membership.clone(), stop.clone(), left_max.clone());
        let work = async move {
            let rooms = obey(own.lease().clone(), told, most);
            tokio::select! {
                () = own.run(orders, stopping) => {}
                () = rooms => panic!("the orders ended first"),
            }
        };
        let task = tokio::spawn(Pausable { work: Box::pin(work), paused: paused.clone() });
        Self { membership, paused, stop, task, left_max }
    }

    fn lease(&self) -> &Lease {
        self.membership.lease()
    }

    /// Waits until the picture of this node shows something.
    async fn sees(&self, what: impl FnMut(&Arc<ShardMap>) -> bool) -> Arc<ShardMap> {
        let mut map = self.membership.map();
        let seen = tokio::time::timeout(PATIENCE, map.wait_for(what)).await;
        seen.expect("the picture never showed it").unwrap().clone()
    }

    /// Waits until each shard is on the one of these nodes on which it belongs.
    async fn sees_shared_by(&self, names: &[&str]) -> Arc<ShardMap> {
        let proposed = ring::proposals(names.iter().copied());
        self.sees(|map| owners(map) == proposed).await
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it does not stop").unwrap();
    }
}

/// Returns the name of each shard's owner, or nothing if one has none.
fn owners(map: &ShardMap) -> Vec<&str> {
    (0..SHARDS).map_while(|shard| Some(map.owner(shard)?.peer.name().as_str())).collect()
}

/// Does what the membership orders, as rooms would that are quick.
async fn obey(lease: Lease, mut orders: mpsc::Receiver<ShardOrder>, left_max: Arc<Mutex<usize>>) {
    while let Some(order) = orders.recv().await {
        match order {
            ShardOrder::Taken(shards) => assert!(!shards.is_empty()),
            ShardOrder::Leave { shards, done } => {
                assert!(shards.iter().all(|shard| !lease.covers(shard)), "rooms could start again");
                let leaving = lease.owned().iter().filter(|shard| !lease.covers(*shard)).count();
                let mut most = lock(&left_max);
                *most = (*most).max(leaving.max(shards.len()));
                assert_eq!(done.send(()), Ok(()));
            }
            ShardOrder::Stop { done } => {
                assert!(!lease.is_certain() && lease.owned().is_empty());
                assert_eq!(done.send(()), Ok(()));
            }
        }
    }
}

/// Whether a task is paused, as a process is by SIGSTOP.
#[derive(Default)]
struct Paused {
    is_paused: AtomicBool,
    waker: AtomicWaker,
}

impl Paused {
    fn set(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::SeqCst);
        self.waker.wake();
    }
}

struct Pausable {
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
    paused: Arc<Paused>,
}

impl Future for Pausable {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.paused.waker.register(context.waker());
        match self.paused.is_paused.load(Ordering::SeqCst) {
            true => Poll::Pending,
            false => self.work.as_mut().poll(context),
        }
    }
}

/// Numbers that look random, from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_gets_its_share_in_steps_and_one_that_leaves_gives_it_back() {
    let cluster = Cluster::start(8_000).await;
    let (a, b) = (cluster.join("a").await, cluster.join("b").await);
    let two = a.sees_shared_by(&["a", "b"]).await;
    assert_eq!(
        a.lease().owned().iter().collect::<Vec<_>>(),
        two.shards_of(a.lease().incarnation()).iter().collect::<Vec<_>>()
    );
    let c = cluster.join("c").await;
    let three = c.sees_shared_by(&["a", "b", "c"]).await;
    let moved = owners(&two).into_iter().zip(owners(&three)).filter(|(from, to)| from != to);
    assert!(moved.clone().count() > 0 && moved.clone().all(|(_, to)| to == "c"));
    for member in [&a, &b] {
        let most = *lock(&member.left_max);
        assert!((1..=64).contains(&most), "{most} shards left at once");
    }
    // The others take nothing of each other when it leaves.
    c.stop().await;
    let again = a.sees_shared_by(&["a", "b"]).await;
    assert_eq!(owners(&again), owners(&two));
    assert_eq!(cluster.alive(), "a b");
    let covered =
        |member: &Member| (0..SHARDS).filter(|shard| member.lease().covers(*shard)).count();
    b.sees_shared_by(&["a", "b"]).await;
    assert_eq!(covered(&a) + covered(&b), usize::from(SHARDS));
    a.stop().await;
    b.stop().await;
    let free = cluster.sql("SELECT count(*) FROM room.shards WHERE incarnation IS NULL");
    assert_eq!((cluster.alive().as_str(), free.as_str()), ("", "1024"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shards_of_a_silent_node_are_taken_and_its_late_commits_are_refused() {
    let cluster = Cluster::start(600).await;
    let (a, b) = (cluster.join("a").await, cluster.join("b").await);
    b.sees_shared_by(&["a", "b"]).await;
    let lost = a.lease().incarnation();
    a.paused.set(true);
    b.sees_shared_by(&["b"]).await;
    assert!(!a.lease().is_certain());
    let guarded = format!(
        "WITH own AS MATERIALIZED (SELECT FROM room.nodes WHERE incarnation = {} AND alive FOR KEY SHARE) \
         SELECT count(*) FROM own",
        lost.0
    );
    assert_eq!(cluster.sql(&guarded), "0");
    // It comes back with another life, and gets the shards that belong on it.
    a.paused.set(false);
    a.sees(|map| map.incarnation_of("a").is_some_and(|own| own != lost)).await;
    a.sees_shared_by(&["a", "b"]).await;
    assert!(a.lease().incarnation() > lost && a.lease().is_certain());
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_node_is_uncertain_before_another_node_owns_its_shards() {
    let cluster = Cluster::start(400).await;
    let (a, b) = (cluster.join("a").await, cluster.join("b").await);
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let proposed = ring::proposals(["a", "b"].into_iter());
        let its: Vec<u16> = (0..SHARDS).filter(|at| proposed[usize::from(*at)] == "a").collect();
        let one = its[usize::try_from(dice.below(its.len() as u64)).unwrap()];
        a.sees(|_| a.lease().covers(one)).await;
        // Somewhere between two heartbeats.
        tokio::time::sleep(Duration::from_millis(dice.below(50))).await;
        a.paused.set(true);
        let watched = async {
            while !b.lease().covers(one) {
                tokio::task::yield_now().await;
            }
            assert!(!a.lease().is_certain(), "seed {seed}: two nodes are certain");
        };
        tokio::time::timeout(PATIENCE, watched).await.expect("nobody takes it");
        a.paused.set(false);
    }
    a.stop().await;
    b.stop().await;
}

/// Returns which shards each lease claims.
fn claims(leases: &[Lease]) -> Vec<BTreeSet<u16>> {
    let of = |lease: &Lease| match lease.is_certain() {
        true => lease.owned().iter().collect(),
        false => BTreeSet::new(),
    };
    leases.iter().map(of).collect()
}

/// Looks for a shard that two nodes claim at the same time. A shard that a node claims in both of two readings was claimed
/// between them, too.
fn shared_claim(leases: &[Lease]) -> Option<u16> {
    let (first, second) = (claims(leases), claims(leases));
    let held: Vec<BTreeSet<u16>> = first.iter().zip(&second).map(|(a, b)| a & b).collect();
    let pairs = (0..held.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
    pairs.filter_map(|(one, other)| held[one].intersection(&held[other]).next().copied()).next()
}

#[test]
fn a_claim_of_two_nodes_is_found() {
    let lease = |shards: &[u16]| {
        let lease = Lease::none();
        lease.own(ShardSet::of(shards.iter().copied()));
        lease.renew(Incarnation(1), Moment::now(), PATIENCE);
        lease
    };
    assert_eq!(shared_claim(&[lease(&[1, 2]), lease(&[3]), lease(&[])]), None);
    assert_eq!(shared_claim(&[lease(&[1, 2]), lease(&[3]), lease(&[2, 4])]), Some(2));
    let over = lease(&[2]);
    over.renew(Incarnation(1), Moment::now(), Duration::ZERO);
    assert_eq!(shared_claim(&[lease(&[1, 2]), over]), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_never_own_one_shard() {
    for seed in 1..=3 {
        let cluster = Cluster::start(400).await;
        let (leases, over) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
        let (watched, ends, _ends) = (leases.clone(), over.clone(), over.clone().drop_guard());
        let checker = tokio::task::spawn_blocking(move || {
            let (mut found, mut looks) = (None, 0_u64);
            while !ends.is_cancelled() && found.is_none() {
                found = shared_claim(&lock(&watched));
                looks += 1;
            }
            (found, looks)
        });
        let (mut members, mut dice) = (Vec::<Member>::new(), Dice(seed));
        for step in 0..40 {
            let place = usize::try_from(dice.below(members.len().max(1) as u64)).unwrap();
            match dice.below(6) {
                0 | 1 if members.len() < 4 => {
                    let member = cluster.join(&format!("n{step}")).await;
                    lock(&leases).push(member.lease().clone());
                    members.push(member);
                }
                2 if members.len() > 1 => {
                    let member = members.swap_remove(place);
                    member.paused.set(false);
                    member.stop.cancel();
                }
                3 if !members.is_empty() => members[place].paused.set(true),
                4 if members.len() > 1 => members.swap_remove(place).task.abort(),
                _ => members.iter().for_each(|member| member.paused.set(false)),
            }
            tokio::time::sleep(Duration::from_millis(dice.below(120))).await;
        }
        // In the end each shard has an owner again.
        members.iter().for_each(|member| member.paused.set(false));
        let last = cluster.join("last").await;
        last.sees(|map| owners(map).len() == usize::from(SHARDS)).await;
        over.cancel();
        let (found, looks) = checker.await.unwrap();
        assert_eq!(found, None, "seed {seed}: two nodes claimed a shard");
        let lives: u64 = cluster.sql("SELECT count(*) FROM room.nodes").parse().unwrap();
        assert!(looks > 100 && lives > 4, "seed {seed}: {looks} looks at {lives} lives");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_drained_gives_up_its_shards_and_stays_until_it_stops() {
    let cluster = Cluster::start(8_000).await;
    let (a, b) = (cluster.join("a").await, cluster.join("b").await);
    a.sees_shared_by(&["a", "b"]).await;
    assert!(b.membership.drain("a").await.unwrap());
    assert!(!b.membership.drain("nobody").await.unwrap());
    b.sees_shared_by(&["b"]).await;
    a.sees_shared_by(&["b"]).await;
    assert!(a.lease().owned().is_empty());
    b.membership.set_figures("{\"rooms\":3}".to_owned());
    let seen = a.sees(|map| map.nodes().iter().any(|node| node.figures == "{\"rooms\":3}")).await;
    let shown: Vec<_> =
        seen.nodes().iter().map(|node| (node.peer.name().as_str(), node.is_draining)).collect();
    assert_eq!((shown, cluster.alive().as_str()), (vec![("a", true), ("b", false)], "a b"));
    a.stop().await;
    assert_eq!(cluster.alive(), "b");
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_that_loses_its_place_stays_drained_until_its_process_starts_again() {
    let cluster = Cluster::start(600).await;
    let (a, b) = (cluster.join("a").await, cluster.join("b").await);
    b.sees_shared_by(&["a", "b"]).await;
    assert!(b.membership.drain("a").await.unwrap());
    b.sees_shared_by(&["b"]).await;
    let lost = a.lease().incarnation();
    a.paused.set(true);
    b.sees(|map| map.incarnation_of("a").is_none()).await;
    a.paused.set(false);
    let again = b.sees(|map| map.incarnation_of("a").is_some()).await;
    assert!(again.incarnation_of("a").is_some_and(|own| own > lost));
    let drains = "SELECT string_agg(name, ' ') FROM room.nodes WHERE alive AND draining";
    assert_eq!(cluster.sql(drains), "a");
    a.stop().await;
    let a = cluster.join("a").await;
    a.sees_shared_by(&["a", "b"]).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_drained_before_it_takes_shards_takes_none() {
    let cluster = Cluster::start(8_000).await;
    let (database, limits) = (&cluster.database, &cluster.limits);
    let idle = Membership::join_idle(database, &peer("a"), "1.0.0", limits).await.unwrap();
    let (a, b) = (Member::of(idle), cluster.join("b").await);
    assert!(b.membership.drain("a").await.unwrap());
    a.membership.take_shards().await.unwrap();
    b.sees_shared_by(&["b"]).await;
    let drains = "SELECT string_agg(name, ' ') FROM room.nodes WHERE alive AND draining";
    assert_eq!(cluster.sql(drains), "a");
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_stops_slowly_holds_up_few_shards() {
    let cluster = Cluster::start(8_000).await;
    let own = cluster.try_join("a").await.unwrap();
    let (orders, mut told) = mpsc::channel(1);
    let (stop, (slow, held)) = (CancellationToken::new(), oneshot::channel());
    let (stopping, mut map) = (stop.clone(), own.map());
    let a = tokio::spawn(async move { own.run(orders, stopping).await });
    let rooms = tokio::spawn(async move {
        let mut slow = Some(slow);
        while let Some(order) = told.recv().await {
            match order {
                ShardOrder::Taken(_) => {}
                ShardOrder::Leave { shards, done } => match slow.take() {
                    Some(slow) => assert!(slow.send((shards, done)).is_ok()),
                    None => assert_eq!(done.send(()), Ok(())),
                },
                ShardOrder::Stop { .. } => panic!("the node lost its place"),
            }
        }
    });
    let all = map.wait_for(|map| owners(map).len() == usize::from(SHARDS));
    tokio::time::timeout(PATIENCE, all).await.expect("it does not take all shards").unwrap();
    let b = cluster.join("b").await;
    let (shards, done) = tokio::time::timeout(PATIENCE, held).await.unwrap().unwrap();
    assert!((1..=8).contains(&shards.len()), "{} shards wait for one room", shards.len());
    let proposed = ring::proposals(["a", "b"].into_iter());
    let is_there = |map: &ShardMap, shard: u16| {
        let owner = map.owner(shard).map(|node| node.peer.name().as_str());
        owner == Some(if shards.has(shard) { "a" } else { proposed[usize::from(shard)] })
    };
    b.sees(|map| (0..SHARDS).all(|shard| is_there(map, shard))).await;
    assert_eq!(done.send(()), Ok(()));
    b.sees_shared_by(&["a", "b"]).await;
    stop.cancel();
    tokio::time::timeout(PATIENCE, a).await.expect("it does not stop").unwrap();
    rooms.await.unwrap();
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_of_one_name_is_refused_and_a_crashed_one_is_replaced() {
    let cluster = Cluster::start(600).await;
    let a = cluster.join("a").await;
    let error = cluster.try_join("a").await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "another node at 127.0.0.1:1 is named a and sends heartbeats: give each node of the cluster a name of its own"
    );
    let before = a.lease().incarnation();
    a.task.abort();
    let again = cluster.join("a").await;
    assert!(again.lease().incarnation() > before && cluster.alive() == "a");
    again.sees_shared_by(&["a"]).await;
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_rights_is_refused_with_the_rights_to_grant() {
    let cluster = Cluster::start(600).await;
    cluster.sql("CREATE ROLE poor LOGIN; GRANT USAGE ON SCHEMA room TO poor; GRANT SELECT ON room.versions TO poor");
    let port = cluster.server.settings().config().get_ports()[0];
    let url = format!("postgres://poor@127.0.0.1:{port}/{}?sslmode=disable", cluster.name);
    let settings = crate::DatabaseSettings::parse(&url, None).unwrap();
    let database = Database::open(&settings, &cluster.limits).await.unwrap();
    let joined = Membership::join(&database, &peer("a"), "1.0.0", &cluster.limits).await;
    let error = joined.err().unwrap();
    assert!(matches!(error, MembershipError::Rights(_)), "{error}");
    assert!(error.to_string().contains("grant it USAGE on the schema room"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_have_one_key_and_a_database_without_it_is_refused() {
    let cluster = Cluster::start(600).await;
    let (a, b) = (cluster.try_join("a").await.unwrap(), cluster.try_join("b").await.unwrap());
    assert!(a.key() == b.key() && *a.key() != ClusterKey::new([0; 32]));
    cluster.sql("UPDATE room.cluster SET key = 'short'");
    assert_eq!(cluster.try_join("c").await.err(), Some(MembershipError::NoKey));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stops_costs_the_lease_and_nothing_else() {
    let cluster = Cluster::start(600).await;
    let a = cluster.join("a").await;
    a.sees_shared_by(&["a"]).await;
    let room = RoomId::new(PartyName::parse("main").unwrap(), "lobby", 256).unwrap();
    let (shard, before) = (shard_of("chat", &room), a.lease().incarnation());
    assert!(a.lease().covers(shard));
    cluster.server.kill();
    let uncertain = async {
        while a.lease().is_certain() {
            tokio::time::sleep(a.lease().rest()).await;
        }
    };
    tokio::time::timeout(PATIENCE, uncertain).await.expect("it stays certain without a database");
    cluster.server.restart();
    a.sees(|map| map.incarnation_of("a").is_some_and(|own| own > before)).await;
    a.sees_shared_by(&["a"]).await;
    assert!(a.lease().covers(shard));
    a.stop().await;
}
