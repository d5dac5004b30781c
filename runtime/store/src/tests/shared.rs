//! A store that several nodes have: who may write, what becomes of a group when the database fails, and what is read where.

use super::super::testing::alarms;
use super::super::{Offset, RoomSpan, RoomStore, Settled, Store, StoreError};
use super::cluster::{Cluster, TestNode, shard};
use super::{commit, listed, room, value, works_again, writes};
use room_core::id::ModuleHash;
use room_core::limits::Limits;
use room_core::turn::{AlarmChange, Writes};
use room_database::testing::{TestPostgres, TestProxy};
use room_database::{DatabaseError, SHARDS};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sets limits by which a database that is away is noticed soon.
fn quick() -> Limits {
    Limits { database_answer_ms_max: 300, store_retry_ms: 1, ..Limits::default() }
}

async fn handle(store: &Store, name: &str) -> RoomStore {
    store.room(&room(name)).await.unwrap()
}

/// Commits one key, and returns the outcome.
async fn put(store: &Store, room: &RoomStore, key: &str, text: &str) -> Settled {
    commit(store, room, writes(&[(key, Some(text))])).await
}

/// Starts a commit of one key. Its outcome comes later.
async fn begin_put(room: &RoomStore, key: &str) -> Offset {
    room.commit(writes(&[(key, Some("1"))]), ModuleHash::NONE, None).await.unwrap()
}

async fn outcome(store: &Store, room: &RoomStore, offset: Offset) -> Settled {
    store.settled().wait_for(|at| *at >= offset).await.unwrap();
    room.settled(offset)
}

/// Returns the shards without those of these rooms.
fn without(names: &[&str]) -> Vec<u16> {
    (0..SHARDS).filter(|at| !names.iter().any(|name| shard(name) == *at)).collect()
}

/// Two nodes: one owns the rooms `one` and `two`, the other one all others.
fn two_nodes(cluster: &Cluster) -> (TestNode, TestNode) {
    (cluster.node([shard("one"), shard("two")]), cluster.node(without(&["one", "two"])))
}

async fn problems(store: &Store) -> Vec<String> {
    store.verify().await.unwrap().problems
}

const DISPLACED: Settled = Settled::Lost(StoreError::Displaced);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_declared_dead_writes_nothing_and_ends_its_lease() {
    let cluster = Cluster::start();
    let node = cluster.node(0..SHARDS);
    let store = node.store();
    let one = handle(&store, "one").await;
    assert_eq!(put(&store, &one, "kept", "1").await, Settled::Durable);
    cluster.declare_dead(&node);
    let rows = cluster.sql("SELECT count(*) FROM room.entries");
    assert_eq!(put(&store, &one, "lost", "1").await, DISPLACED);
    assert_eq!(cluster.sql("SELECT count(*) FROM room.entries"), rows);
    assert!(!node.lease.is_certain() && !node.lease.owned().has(shard("one")));
    assert_eq!(store.room(&room("two")).await.err(), Some(StoreError::Displaced));
    // The store itself works, and the node may join again. What it began before is void.
    assert_eq!(store.failure(), None);
    cluster.join(&node, 0..SHARDS);
    assert_eq!(put(&store, &one, "late", "1").await, DISPLACED);
    drop(one);
    let one = handle(&store, "one").await;
    assert_eq!(listed(&one), "kept");
    assert_eq!(put(&store, &one, "again", "1").await, Settled::Durable);
    assert_eq!(problems(&store).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_ran_under_an_earlier_incarnation_writes_nothing_under_the_next_one() {
    let cluster = Cluster::start();
    let node = cluster.node(0..SHARDS);
    let store = node.store();
    let (old, other) = (handle(&store, "one").await, cluster.node(0..SHARDS));
    assert_eq!(put(&store, &old, "a", "before").await, Settled::Durable);
    // Asleep, the node loses its shards to another one, which writes, and gets them back.
    cluster.declare_dead(&node);
    let elsewhere = other.store();
    let there = handle(&elsewhere, "one").await;
    assert_eq!(put(&elsewhere, &there, "a", "between").await, Settled::Durable);
    drop(there);
    cluster.join(&node, 0..SHARDS);
    assert_eq!(put(&store, &old, "b", "built on before").await, DISPLACED);
    drop(old);
    let new = handle(&store, "one").await;
    assert_eq!((new.view().get(b"a").unwrap(), listed(&new)), (value("between"), "a".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_and_the_declaration_of_its_nodes_death_do_not_overlap() {
    let cluster = Cluster::start();
    let (node, judge) = (cluster.node(0..SHARDS), cluster.node([]));
    let store = node.store();
    let one = handle(&store, "one").await;
    assert_eq!(put(&store, &one, "a", "1").await, Settled::Durable);
    let incarnation = node.lease.incarnation().0;
    let dying = format!("SELECT FROM room.nodes WHERE incarnation = {incarnation} FOR UPDATE");
    // A group that is at work holds the declaration up.
    let gate = judge.locking("SELECT FROM room.entries FOR UPDATE").await;
    let at_work = begin_put(&one, "a").await;
    cluster.until_waiting(1).await;
    let early = judge.locking("").await;
    let refused = early.batch_execute(&format!("{dying} NOWAIT")).await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code().to_owned()).as_deref(), Some("55P03"));
    early.batch_execute("ROLLBACK").await.unwrap();
    gate.batch_execute("COMMIT").await.unwrap();
    assert_eq!(outcome(&store, &one, at_work).await, Settled::Durable);
    // A declaration that is at work holds the group up, which then writes nothing.
    let declaring = judge.locking(&dying).await;
    let late = begin_put(&one, "late").await;
    cluster.until_waiting(1).await;
    let change = format!("UPDATE room.nodes SET alive = false WHERE incarnation = {incarnation}");
    declaring.batch_execute(&format!("{change}; COMMIT")).await.unwrap();
    assert_eq!(outcome(&store, &one, late).await, DISPLACED);
    let elsewhere = cluster.node(0..SHARDS).store();
    assert_eq!(listed(&handle(&elsewhere, "one").await), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_on_one_database_write_for_their_own_rooms_alone() {
    let cluster = Cluster::start();
    let (a, b) = two_nodes(&cluster);
    let (here, there) = (a.store(), b.store());
    assert_eq!(here.id(), there.id());
    let (one, three) = (handle(&here, "one").await, handle(&there, "three").await);
    let alarm = |at| Writes { alarm: AlarmChange::Set(at), ..writes(&[("k", Some("1"))]) };
    assert_eq!(commit(&here, &one, alarm(5)).await, Settled::Durable);
    assert_eq!(commit(&there, &three, alarm(6)).await, Settled::Durable);
    assert_eq!(here.room(&room("three")).await.err(), Some(StoreError::Displaced));
    // Each finds what it has to do itself, and lists everything.
    assert_eq!(alarms(&here), [(5, room("one"))]);
    assert_eq!(alarms(&there), [(6, room("three"))]);
    for store in [&here, &there] {
        let listed = store.rooms(RoomSpan::default(), 9).await.unwrap();
        let names: Vec<_> = listed.iter().map(|(room, _)| room.name().to_owned()).collect();
        assert_eq!(names, ["one", "three"]);
        assert_eq!(store.value(&room("three"), b"k").await, Ok(value("1")));
        assert_eq!(problems(store).await, Vec::<String>::new());
    }
    // Projects do not see each other.
    let other = a.store_with("another", &Limits::default());
    assert_ne!(other.id(), here.id());
    assert!(other.rooms(RoomSpan::default(), 9).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_moves_goes_on_with_what_its_owner_before_committed() {
    let cluster = Cluster::start();
    let (a, b) = two_nodes(&cluster);
    let (here, there) = (a.store(), b.store());
    let one = handle(&here, "one").await;
    for round in 0..4 {
        let set = Writes { alarm: AlarmChange::Set(round), ..writes(&[("a", Some("1"))]) };
        one.sequence().take(3);
        assert_eq!(commit(&here, &one, set).await, Settled::Durable);
    }
    let last = one.sequence().last();
    a.lease.own(room_database::ShardSet::of([shard("two")]));
    assert_eq!(put(&here, &one, "late", "1").await, DISPLACED);
    here.idle().await.unwrap();
    b.lease.own(room_database::ShardSet::of(without(&["two"])));
    there.look_again();
    assert_eq!(there.alarm_bell().take_earliest(), Some(0));
    assert_eq!(alarms(&there), [(3, room("one"))]);
    let moved = handle(&there, "one").await;
    assert_eq!((listed(&moved), moved.facts().turns), ("a".to_owned(), 4));
    let next = moved.sequence().last();
    assert!(next.epoch > last.epoch && next.seq == last.seq, "{next:?} after {last:?}");
    assert_eq!(put(&there, &moved, "b", "1").await, Settled::Durable);
    drop((moved, one));
    // And back.
    b.lease.own(room_database::ShardSet::of(without(&["one", "two"])));
    a.lease.own(room_database::ShardSet::of([shard("one"), shard("two")]));
    assert_eq!(listed(&handle(&here, "one").await), "a b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_answer_is_lost_is_reported_lost_and_found_by_the_next_start() {
    let cluster = Cluster::start();
    let proxy = TestProxy::before(cluster.server.port());
    let node = cluster.node_behind(&proxy, &quick());
    let store = node.store_with("chat", &quick());
    let (one, two) = (handle(&store, "one").await, handle(&store, "two").await);
    assert_eq!(put(&store, &one, "a", "1").await, Settled::Durable);
    proxy.lose_answers(true);
    let lost = Settled::Lost(StoreError::Database(DatabaseError::TimedOut(300)));
    assert_eq!(put(&store, &one, "b", "1").await, lost);
    assert!(two.commit(writes(&[("c", None)]), ModuleHash::NONE, None).await.is_err());
    proxy.lose_answers(false);
    works_again(&store).await;
    // It may have happened, and it has. The room that made it is broken, and starts with the truth.
    assert_eq!(put(&store, &one, "after", "1").await, lost);
    drop(one);
    let one = handle(&store, "one").await;
    assert_eq!((listed(&one), one.facts().keys), ("a b".to_owned(), 2));
    assert_eq!(put(&store, &one, "c", "1").await, Settled::Durable);
    // A room that had nothing in the group goes on.
    assert_eq!(put(&store, &two, "a", "1").await, Settled::Durable);
    assert_eq!(problems(&store).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_given_up_before_it_began_never_happens() {
    let cluster = Cluster::start();
    let proxy = TestProxy::before(cluster.server.port());
    let limits = Limits { store_retry_ms: 1, ..Limits::default() };
    let (node, judge) = (cluster.node_behind(&proxy, &limits), cluster.node([]));
    let store = node.store_with("chat", &limits);
    let one = handle(&store, "one").await;
    assert_eq!(put(&store, &one, "a", "1").await, Settled::Durable);
    // The statement waits in the database when the node loses its connection, and goes on afterwards.
    let gate = judge.locking("SELECT FROM room.nodes FOR UPDATE").await;
    let lost = begin_put(&one, "lost").await;
    cluster.until_waiting(1).await;
    proxy.cut();
    assert!(matches!(outcome(&store, &one, lost).await, Settled::Lost(StoreError::Database(_))));
    drop(one);
    works_again(&store).await;
    gate.batch_execute("COMMIT").await.unwrap();
    cluster.until_waiting(0).await;
    let one = handle(&store, "one").await;
    assert_eq!(put(&store, &one, "b", "1").await, Settled::Durable);
    let elsewhere = cluster.node(0..SHARDS).store();
    assert_eq!(listed(&handle(&elsewhere, "one").await), "a b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_at_work_is_over_before_anything_else_is_written() {
    let cluster = Cluster::start();
    let proxy = TestProxy::before(cluster.server.port());
    let limits = Limits { store_retry_ms: 1, ..Limits::default() };
    let (node, judge) = (cluster.node_behind(&proxy, &limits), cluster.node([]));
    let store = node.store_with("chat", &limits);
    let one = handle(&store, "one").await;
    assert_eq!(put(&store, &one, "a", "1").await, Settled::Durable);
    let gate = judge.locking("SELECT FROM room.entries FOR UPDATE").await;
    let change = writes(&[("a", Some("2"))]);
    let unknown = one.commit(change, ModuleHash::NONE, None).await.unwrap();
    cluster.until_waiting(1).await;
    proxy.cut();
    assert!(matches!(outcome(&store, &one, unknown).await, Settled::Lost(_)));
    drop(one);
    // The next writer waits for the statement.
    cluster.until_waiting(2).await;
    assert!(store.failure().is_some());
    gate.batch_execute("COMMIT").await.unwrap();
    works_again(&store).await;
    assert_eq!(handle(&store, "one").await.view().get(b"a"), Ok(value("2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_loses_the_group_and_recovers() {
    let cluster = Cluster::start();
    let node = cluster.node_with(&quick());
    let store = node.store_with("chat", &quick());
    let one = handle(&store, "one").await;
    assert_eq!(put(&store, &one, "a", "1").await, Settled::Durable);
    // Full: PostgreSQL says so by this code.
    cluster.sql(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$;
         CREATE TRIGGER full_disk BEFORE INSERT ON room.entries EXECUTE FUNCTION full_disk()",
    );
    let Settled::Lost(error) = put(&store, &one, "b", "1").await else { panic!("it was written") };
    assert!(error.is_full(), "{error}");
    cluster.sql("DROP TRIGGER full_disk ON room.entries");
    works_again(&store).await;
    drop(one);
    let one = handle(&store, "one").await;
    assert_eq!(listed(&one), "a");
    assert_eq!(put(&store, &one, "c", "1").await, Settled::Durable);
    // A lock that nobody gives back.
    let gate = cluster.node([]).locking("LOCK TABLE room.entries").await;
    let Settled::Lost(error) = put(&store, &one, "d", "1").await else { panic!("it was written") };
    assert!(matches!(error, StoreError::Database(_)), "{error}");
    gate.batch_execute("ROLLBACK").await.unwrap();
    works_again(&store).await;
    drop(one);
    assert_eq!(listed(&handle(&store, "one").await), "a c");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_only_reads_is_a_failure_until_it_writes_again() {
    let cluster = Cluster::on(Arc::new(TestPostgres::start("")));
    let store = cluster.node_with(&quick()).store_with("chat", &quick());
    let one = handle(&store, "one").await;
    assert_eq!(put(&store, &one, "a", "1").await, Settled::Durable);
    cluster.sql("ALTER SYSTEM SET default_transaction_read_only = on");
    cluster.sql("SELECT pg_reload_conf()");
    // The reload reaches each session by itself, so the first commits may still be written.
    let error = loop {
        if let Settled::Lost(error) = put(&store, &one, "a", "2").await {
            break error;
        }
    };
    assert!(
        matches!(&error, StoreError::Database(DatabaseError::Refused { code, .. }) if code == "25006")
    );
    assert!(store.failure().is_some());
    cluster.sql("ALTER SYSTEM RESET default_transaction_read_only");
    cluster.sql("SELECT pg_reload_conf()");
    works_again(&store).await;
    drop(one);
    let one = handle(&store, "one").await;
    assert_eq!(put(&store, &one, "b", "1").await, Settled::Durable);
    assert_eq!(listed(&one), "a b");
}

/// Each turn writes its number under two keys. Returns the last number that was acknowledged, and the last that was tried.
async fn count_up(store: Store, name: String, stop: Arc<AtomicBool>) -> (u64, u64) {
    let (mut acknowledged, mut tried) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let Ok(counter) = store.room(&room(&name)).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let stored = counter.view().get(b"count").unwrap_or_default();
        let stored = stored.map_or(0, |text| String::from_utf8_lossy(&text).parse().unwrap());
        assert!((acknowledged..=tried).contains(&stored), "{stored} of {acknowledged} to {tried}");
        let mut next: u64 = stored;
        while !stop.load(Ordering::Relaxed) {
            next += 1;
            let text = next.to_string();
            let both = writes(&[("count", Some(&text)), ("twin", Some(&text))]);
            tried = next;
            let Ok(offset) = counter.commit(both, ModuleHash::NONE, None).await else { break };
            store.settled().wait_for(|at| *at >= offset).await.unwrap();
            if counter.settled(offset) != Settled::Durable {
                break;
            }
            acknowledged = next;
        }
    }
    (acknowledged, tried)
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commits_survive_kills_of_the_database() {
    const COUNTERS: usize = 8;
    let cluster = Cluster::on(Arc::new(TestPostgres::start("fsync = on")));
    let node = cluster.node_with(&quick());
    let store = node.store_with("chat", &quick());
    let stop = Arc::new(AtomicBool::new(false));
    let counters: Vec<_> = (0..COUNTERS)
        .map(|at| tokio::spawn(count_up(store.clone(), format!("counter {at}"), stop.clone())))
        .collect();
    let mut groups = 0;
    for _ in 0..4 {
        // Each kill comes in the middle of the work.
        let wanted = groups + 50;
        while groups < wanted {
            groups =
                cluster.sql("SELECT coalesce(max(groups), 0) FROM room.writers").parse().unwrap();
        }
        tokio::task::block_in_place(|| {
            cluster.server.kill();
            cluster.server.restart();
        });
        works_again(&store).await;
    }
    stop.store(true, Ordering::Relaxed);
    for (at, counter) in counters.into_iter().enumerate() {
        let (acknowledged, tried) = counter.await.unwrap();
        assert!(acknowledged > 0);
        let counter = handle(&store, &format!("counter {at}")).await;
        let stored = |key: &[u8]| -> u64 {
            let text = counter.view().get(key).unwrap().unwrap();
            String::from_utf8_lossy(&text).parse().unwrap()
        };
        assert!((acknowledged..=tried).contains(&stored(b"count")));
        assert_eq!(stored(b"count"), stored(b"twin"));
    }
    assert_eq!(problems(&store).await, Vec::<String>::new());
}
