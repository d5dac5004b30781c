//! A shared store's rooms in memory, and what is beside them in the database: notes, webhooks, copies.

use super::super::testing::alarms;
use super::super::{
    CommitExtras, CronNote, OutboundChange, RoomStore, Service, Settled, Store, StoreError, TtlNote,
};
use super::cluster::{Cluster, shard};
use super::{commit, listed, room, value, works_again, writes};
use bytes::Bytes;
use room_core::id::{ModuleHash, SequenceNumber};
use room_core::jobs::JobId;
use room_core::limits::Limits;
use room_core::span::{ListOptions, Span};
use room_core::turn::{AlarmChange, Cleared, Writes};
use room_core::webhooks::WebhookId;
use room_database::testing::TestPostgres;
use room_database::{DatabaseError, SHARDS};
use std::sync::Arc;

/// Sets limits under which a room of a few keys does not fit into memory, and every listing takes several questions.
fn small() -> Limits {
    Limits {
        room_loaded_bytes_max: 100,
        room_cache_bytes_max: 10,
        database_page_rows_max: 3,
        database_page_bytes_max: 40,
        database_answer_ms_max: 300,
        store_retry_ms: 1,
        ..Limits::default()
    }
}

async fn handle(store: &Store, name: &str) -> RoomStore {
    store.room(&room(name)).await.unwrap()
}

async fn remember(store: &Store, room: &RoomStore, text: &str) -> Settled {
    let first = room.sequence().take(1);
    let floor = Some(SequenceNumber { seq: first.seq - 1, ..first });
    let entries = [(first, Bytes::copy_from_slice(text.as_bytes()))].into();
    let change = OutboundChange { is_fresh: false, floor, entries };
    let extras = CommitExtras { outbound: Some(Box::new(change)), ..CommitExtras::default() };
    let offset = room.commit_with(Writes::default(), ModuleHash::NONE, None, extras).await.unwrap();
    store.settled().wait_for(|at| *at >= offset).await.unwrap();
    room.settled(offset)
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_a_room_in_memory_need_no_database_and_those_of_a_larger_one_do() {
    let cluster = Cluster::on(Arc::new(TestPostgres::start("")));
    let store = cluster.node_with(&small()).store_with("chat", &small());
    let (few, many) = (handle(&store, "few").await, handle(&store, "many").await);
    let long = "a value of more than ten bytes";
    assert_eq!(
        commit(&store, &few, writes(&[("a", Some(long)), ("b", Some(long))])).await,
        Settled::Durable
    );
    assert_eq!(remember(&store, &few, "hello").await, Settled::Durable);
    let five: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|key| (*key, Some(long))).collect();
    assert_eq!(commit(&store, &many, writes(&five)).await, Settled::Durable);
    drop((few, many));
    let (few, many) = (handle(&store, "few").await, handle(&store, "many").await);
    assert_eq!((listed(&few), listed(&many)), ("a b".to_owned(), "a b c d e".to_owned()));
    cluster.server.kill();
    assert_eq!((few.view().get(b"a"), few.view().get(b"z")), (Ok(value(long)), Ok(None)));
    assert_eq!(listed(&few), "a b");
    let newest = SequenceNumber { epoch: u64::MAX, seq: u64::MAX };
    assert_eq!(few.outbound().read(SequenceNumber::default(), newest).unwrap().len(), 1);
    assert!(many.view().get(b"a").is_err());
    assert!(many.view().scan(&Span::ALL).next().unwrap().is_err());
    cluster.server.restart();
    assert_eq!(many.view().get(b"a"), Ok(value(long)));
    assert_eq!(listed(&many), "a b c d e");
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_together_hold_no_more_than_their_project_may() {
    let limits = Limits { rooms_loaded_bytes_max: 50, room_loaded_bytes_max: 40, ..small() };
    let cluster = Cluster::on(Arc::new(TestPostgres::start("")));
    let store = cluster.node_with(&limits).store_with("chat", &limits);
    let (one, two) = (handle(&store, "one").await, handle(&store, "two").await);
    let text = "twenty-nine bytes of a value.";
    for room in [&one, &two] {
        assert_eq!(commit(&store, room, writes(&[("a", Some(text))])).await, Settled::Durable);
    }
    // The second one has found no space. After a start, it is the first one that finds none.
    drop((one, two));
    let two = handle(&store, "two").await;
    let one = handle(&store, "one").await;
    cluster.server.kill();
    assert_eq!(two.view().get(b"a"), Ok(value(text)));
    assert!(one.view().get(b"a").is_err());
    cluster.server.restart();
    works_again(&store).await;
    drop((one, two));
    let one = handle(&store, "one").await;
    cluster.server.kill();
    assert_eq!(one.view().get(b"a"), Ok(value(text)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_grows_and_shrinks_has_exact_counts_in_memory_and_out_of_it() {
    let cluster = Cluster::start();
    let store = cluster.node(0..SHARDS).store_with("chat", &small());
    let one = handle(&store, "one").await;
    let mut wanted = 0;
    for at in 0..10 {
        let key = format!("key {at}");
        wanted += key.len() + 20;
        let text = "x".repeat(20);
        assert_eq!(commit(&store, &one, writes(&[(&key, Some(&text))])).await, Settled::Durable);
        assert_eq!(one.view().bytes(), wanted as u64);
    }
    let reverse =
        ListOptions { direction: room_core::span::Direction::Reverse, ..ListOptions::default() };
    let view = one.view();
    let keys: Vec<_> =
        view.scan(&Span::of(&reverse).unwrap()).map(|entry| entry.unwrap().0).collect();
    assert!(keys.len() == 10 && keys.is_sorted_by(|a, b| a > b));
    commit(&store, &one, writes(&[("key 3", Some("")), ("key 4", None)])).await;
    assert_eq!(one.view().bytes(), (wanted - 20 - 25) as u64);
    let cleared = Writes { cleared: Cleared::Yes, ..writes(&[("a", Some("1"))]) };
    commit(&store, &one, cleared).await;
    assert_eq!((one.view().bytes(), listed(&one)), (2, "a".to_owned()));
    assert_eq!(store.verify().await.unwrap().problems, Vec::<String>::new());
    assert_eq!(cluster.sql("SELECT count(*) FROM room.entries"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_database_cannot_index_costs_its_own_room_alone() {
    let cluster = Cluster::start();
    let store = cluster.node(0..SHARDS).store();
    let (one, two) = (handle(&store, "one").await, handle(&store, "two").await);
    let long = "k".repeat(2_600);
    let refused = one.commit(writes(&[(&long, Some("1"))]), ModuleHash::NONE, None).await.unwrap();
    let beside = two.commit(writes(&[("a", Some("1"))]), ModuleHash::NONE, None).await.unwrap();
    store.settled().wait_for(|at| *at >= beside).await.unwrap();
    let Settled::Lost(error) = one.settled(refused) else { panic!("it was written") };
    assert!(error.to_string().contains("use shorter keys or room names"), "{error}");
    assert_eq!((two.settled(beside), store.failure()), (Settled::Durable, None));
    // The longest key of a room with the longest name fits.
    let widest = handle(&store, &"n".repeat(256)).await;
    let key = "k".repeat(2_048);
    assert_eq!(commit(&store, &widest, writes(&[(&key, Some("1"))])).await, Settled::Durable);
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_of_two_nodes_are_seen_by_both_and_none_is_lost() {
    let cluster = Cluster::start();
    let (here, there) = (cluster.node(0..SHARDS).store(), cluster.node([]).store());
    here.keep_ticket_key("first".to_owned()).unwrap();
    there.keep_ticket_key("second".to_owned()).unwrap();
    assert_eq!([here.ticket_key(), there.ticket_key()].map(Option::unwrap), ["first", "first"]);
    let note = |done_ms| CronNote { setting: "{}".to_owned(), done_ms, outcome: None };
    // Both write at the same time, each its own notes.
    let writing = |store: Store, name: &'static str| {
        std::thread::spawn(move || {
            for done_ms in 1..=20 {
                let mut notes = store.cron_notes();
                notes.insert(name.to_owned(), note(done_ms));
                store.keep_cron_notes(notes).unwrap();
            }
        })
    };
    let writers = [writing(here.clone(), "mine"), writing(there.clone(), "theirs")];
    tokio::task::block_in_place(|| writers.map(|writer| writer.join().unwrap()));
    let wanted = [("mine".to_owned(), note(20)), ("theirs".to_owned(), note(20))].into();
    assert_eq!([here.cron_notes(), there.cron_notes()], [&wanted, &wanted].map(Clone::clone));
    // A node that is behind sets nothing back, and a note that is gone stays gone.
    let mut notes = here.cron_notes();
    notes.insert("theirs".to_owned(), note(3));
    notes.remove("mine");
    here.keep_cron_notes(notes).unwrap();
    assert_eq!(there.cron_notes(), [("theirs".to_owned(), note(20))].into());
    let ttls = |name: &str| [(name.to_owned(), TtlNote { ttl_ms: 1, since_ms: 1 })].into();
    here.keep_service(Service { served_ms: 50, ttls: ttls("a") }).unwrap();
    there.keep_service(Service { served_ms: 40, ttls: ttls("b") }).unwrap();
    let known = here.service().unwrap();
    assert_eq!((known.served_ms, known.ttls.len()), (50, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_found_by_the_node_that_owns_their_rooms() {
    let cluster = Cluster::start();
    let (a, b) = (cluster.node([shard("one")]), cluster.node([shard("three")]));
    let (here, there) = (a.store(), b.store());
    let id = |name: &str| WebhookId {
        room: room(name),
        job: JobId::first_of(SequenceNumber { epoch: 1, seq: 1 }),
    };
    for (store, name) in [(&here, "one"), (&there, "three")] {
        let webhooks = [(id(name), Some(Bytes::from_static(b"hook")))].into();
        let extras = CommitExtras { webhooks, outbound: None };
        let room = handle(store, name).await;
        let offset = room.commit_with(Writes::default(), ModuleHash::NONE, None, extras).await;
        room.durable(offset.unwrap()).await.unwrap();
    }
    let ids =
        |found: Vec<(WebhookId, Bytes)>| found.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(here.webhooks().await.unwrap()), [id("one")]);
    // Of what a node notes about several, it keeps its own alone.
    let both = [(id("one"), None), (id("three"), None)].into();
    here.keep_webhooks(both).await.unwrap();
    assert!(here.webhooks().await.unwrap().is_empty());
    assert_eq!(ids(there.webhooks().await.unwrap()), [id("three")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_shared_store_has_the_rooms_of_all_nodes_as_of_one_moment() {
    let (cluster, dir) = (Cluster::start(), tempfile::tempdir().unwrap());
    let (here, there) =
        (cluster.node(0..SHARDS).store_with("chat", &small()), cluster.node([]).store());
    let one = handle(&here, "one").await;
    for at in 0..20 {
        let text = at.to_string();
        let both = writes(&[("first", Some(&text)), ("second", Some(&text)), (&text, Some("1"))]);
        assert_eq!(commit(&here, &one, both).await, Settled::Durable);
    }
    assert_eq!(remember(&here, &one, "hello").await, Settled::Durable);
    // It is made by a node that owns no room, while the owner goes on.
    let writing = tokio::spawn(async move {
        for at in 20..200 {
            let text = at.to_string();
            let both = writes(&[("first", Some(&text)), ("second", Some(&text))]);
            one.commit(both, ModuleHash::NONE, None).await.unwrap();
        }
        one
    });
    let file = dir.path().join("backup");
    assert!(there.backup(file.clone()).await.unwrap() > 0);
    let one = writing.await.unwrap();
    Store::restore(&file, &dir.path().join("restored")).unwrap();
    let restored = Store::open(&dir.path().join("restored"), &Limits::default()).unwrap();
    assert_eq!(restored.verify().await.unwrap().problems, Vec::<String>::new());
    let copy = handle(&restored, "one").await;
    assert_eq!(copy.view().get(b"first"), copy.view().get(b"second"));
    assert_eq!((copy.facts().keys, copy.facts().outbound.map(|sent| sent.entries)), (22, Some(1)));
    // A room goes from one kind of store to the other, and back.
    let exported = restored.export(&room("one"), dir.path().join("room")).await.unwrap().unwrap();
    drop(one);
    here.import(exported.clone(), None).await.unwrap();
    let again = there.export(&room("one"), dir.path().join("room")).await.unwrap().unwrap();
    assert_eq!((again.entries, again.sent), (exported.entries, exported.sent));
    restored.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_opens_no_store_and_fails_commits_until_it_is_back() {
    let cluster = Cluster::on(Arc::new(TestPostgres::start("")));
    let node = cluster.node_with(&small());
    let store = node.store_with("chat", &small());
    let one = handle(&store, "one").await;
    commit(&store, &one, writes(&[("a", Some("1"))])).await;
    cluster.server.kill();
    let Settled::Lost(error) = commit(&store, &one, writes(&[("b", Some("1"))])).await else {
        panic!("it was written")
    };
    assert!(matches!(error, StoreError::Database(DatabaseError::Unreachable(_))), "{error}");
    drop(one);
    assert!(store.room(&room("one")).await.is_err() && store.failure().is_some());
    cluster.server.restart();
    works_again(&store).await;
    let one = handle(&store, "one").await;
    assert_eq!(listed(&one), "a");
    assert_eq!(commit(&store, &one, writes(&[("b", Some("1"))])).await, Settled::Durable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_one_node_is_restored_into_a_database_whole_and_over_nothing() {
    let (cluster, dir) = (Cluster::start(), tempfile::tempdir().unwrap());
    let node = cluster.node_with(&small());
    let single = Store::open(&dir.path().join("single"), &Limits::default()).unwrap();
    let one = handle(&single, "one").await;
    for at in 0..30 {
        let change = writes(&[(&format!("key {at}"), Some("value"))]);
        let set = Writes { alarm: AlarmChange::Set(at), ..change };
        assert_eq!(commit(&single, &one, set).await, Settled::Durable);
    }
    assert_eq!(remember(&single, &one, "hello").await, Settled::Durable);
    let backup = dir.path().join("backup");
    single.backup(backup.clone()).await.unwrap();
    let restore = |to: &str| {
        let scratch = dir.path().join(to);
        tokio::task::block_in_place(|| {
            Store::restore_shared(&backup, &scratch, (&node.database, "chat"), &small())
        })
    };
    restore("a").unwrap();
    let store = node.store_with("chat", &small());
    assert_ne!(store.id(), single.id());
    let copy = handle(&store, "one").await;
    assert_eq!((listed(&copy), copy.facts().keys), (listed(&one), 30));
    assert_eq!(copy.facts().outbound, one.facts().outbound);
    assert_eq!(alarms(&store), [(29, room("one"))]);
    assert!(copy.sequence().last() > one.sequence().last());
    assert_eq!(store.verify().await.unwrap().problems, Vec::<String>::new());
    let refused = restore("b").unwrap_err().to_string();
    assert!(refused.contains("the project `chat` has rooms in the database"), "{refused}");
    assert_eq!(listed(&handle(&store, "one").await), listed(&one));
    store.close();
    cluster.sql("DELETE FROM room.entries; DELETE FROM room.stores");
    restore("c").unwrap();
    assert_eq!(listed(&handle(&node.store_with("chat", &small()), "one").await), listed(&one));
}
