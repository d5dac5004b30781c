//! Which rooms are due, how many end at once, and the effect of a restart, a changed ttl and a lost file.

use super::*;
use crate::cluster::ProjectHomes;
use crate::rooms::{GuestHost, Party};
use room_core::clock::Clock;
use room_core::config::{Cors, Origins, WhenQuiet};
use room_core::event::{BodyDelivery, Request};
use room_core::id::ModuleHash;
use room_core::metrics::Metrics;
use room_core::turn::{AlarmChange, Writes};
use room_guest::Code;
use room_store::LastUse;

const HOUR: u64 = 3_600_000;

fn limits() -> Arc<Limits> {
    Arc::new(Limits {
        rooms_active_max: 32,
        door_instances_max: 1,
        expiries_batch_max: 4,
        ..Limits::default()
    })
}

fn room(number: u64) -> RoomId {
    RoomId::new(main(), &format!("room-{number:05}"), 256).unwrap()
}

fn main() -> PartyName {
    PartyName::parse("main").unwrap()
}

/// Stores a value for a room that was used at this time.
async fn use_room(store: &Store, room: &RoomId, at_ms: u64) {
    let writes = Writes { alarm: AlarmChange::Set(u64::MAX), ..Writes::default() };
    let touch = Some(LastUse { at_ms, tries: 0 });
    store.room(room).await.unwrap().commit(writes, ModuleHash::NONE, touch).await.unwrap();
}

/// Returns the expiry of a node that has served for `served_ms`, with rooms that end after eight hours, or never.
async fn expiry(store: &Store, served_ms: u64, lifetime: Option<Lifetime>) -> Expiry {
    let (limits, served) = (limits(), Served::from(served_ms));
    let guests = GuestHost::alone(&limits).unwrap();
    let (clock, counts) = (Clock::system(), Metrics::new().rooms);
    let rooms =
        Rooms::new(store.clone(), (clock, served), &guests, counts, ProjectHomes::default());
    let module = guests.engine.load(&room_test_guest::guest("puppet").into()).unwrap();
    let code = Code { module, vars: Arc::default(), mint: None };
    let (when_quiet, origins) = (WhenQuiet::Stay, Origins::default());
    let party = Party {
        code,
        when_quiet,
        auto_response: None,
        lifetime,
        origins,
        cors: Cors::Off,
        fetch_hosts: Default::default(),
        request_bodies: Default::default(),
        retention: None,
        presence: None,
        sse: Default::default(),
        webhooks: Default::default(),
        auth: None,
    };
    rooms.deploy([(main(), party)].into_iter().collect()).await.unwrap();
    Expiry::new(store.clone(), rooms, served, limits)
}

fn eight_hours() -> Option<Lifetime> {
    Some(Lifetime::new(8 * HOUR, 0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_unused_rooms_expire_a_few_at_a_time() {
    let store = Store::in_memory(&limits()).unwrap();
    // In another order than that of their last uses, which are an hour apart.
    for number in (0..5_000).map(|number| (number * 7) % 5_000) {
        use_room(&store, &room(number), number * HOUR).await;
    }
    drop(store.room(&room(0)).await.unwrap());
    // Six are due: nine hours after their last use.
    let mut expiry = expiry(&store, 14 * HOUR, eight_hours()).await;
    let numbered = |numbers: std::ops::Range<u64>| numbers.map(room).collect::<Vec<_>>();
    let (due, _) = expiry.due().unwrap();
    assert_eq!(due, numbered(0..4));
    assert_eq!(expiry.due().unwrap().0, []);
    // A room that could not end rests, and does not delay the others.
    expiry.resting.extend(expiry.told.drain());
    let (due, _) = expiry.due().unwrap();
    assert_eq!(due, numbered(4..6));
    expiry.resting.clear();
    expiry.told.clear();
    assert_eq!(expiry.due().unwrap().0, numbered(0..4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_next_scan_waits_for_the_next_deadline_or_a_change() {
    let store = Store::in_memory(&limits()).unwrap();
    let look_max = ms(limits().expiry_look_ms_max);
    let mut none = expiry(&store, 100 * HOUR, eight_hours()).await;
    assert_eq!(none.due().unwrap(), (Vec::new(), look_max));
    use_room(&store, &room(1), 91 * HOUR + 5_000).await;
    drop(store.room(&room(1)).await.unwrap());
    let mut soon = expiry(&store, 100 * HOUR, eight_hours()).await;
    let (due, wait) = soon.due().unwrap();
    assert_eq!(due, []);
    assert!(wait <= Duration::from_secs(5), "{wait:?}");
    // A party without a ttl keeps its rooms.
    let mut kept = expiry(&store, 9_000 * HOUR, None).await;
    assert_eq!(kept.due().unwrap(), (Vec::new(), look_max));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_new_or_shorter_ttl_counts_from_now_and_a_longer_one_from_where_it_was() {
    let store = Store::in_memory(&limits()).unwrap();
    let hours = |hours: u64| -> Ttl { format!("{hours}h").parse().unwrap() };
    let at = |served: u64, ttl: Option<Ttl>| {
        let served = Served::from(served * HOUR);
        let ttls: Vec<_> = ttl.map(|ttl| (main(), ttl)).into_iter().collect();
        let lifetimes = lifetimes(&store, served, &ttls).unwrap();
        keep(&store, served, Some(&lifetimes));
        lifetimes.get(&main()).map(|lifetime| lifetime.since_ms() / HOUR)
    };
    assert_eq!(at(10, Some(hours(8))), Some(10));
    assert_eq!(at(20, Some(hours(8))), Some(10));
    assert_eq!(at(30, Some(hours(16))), Some(10));
    assert_eq!(at(40, Some(hours(8))), Some(40));
    assert_eq!(at(50, None), None);
    assert_eq!(at(60, Some(hours(8))), Some(60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_continues_the_service_clock_or_the_last_use_if_the_file_is_lost() {
    let store = Store::in_memory(&limits()).unwrap();
    keep(&store, Served::from(7 * HOUR), None);
    let served = |store: &Store| store.service().unwrap().served_ms / HOUR;
    assert_eq!(served(&store), 7);
    use_room(&store, &room(1), 9 * HOUR).await;
    drop(store.room(&room(1)).await.unwrap());
    assert_eq!(served(&store), 9);
    keep(&store, Served::from(12 * HOUR), None);
    assert_eq!(served(&store), 12);
}

/// Every due room ends, as the puppet observes, and no other room does.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn due_rooms_are_deleted_and_the_others_remain() {
    let store = Store::in_memory(&limits()).unwrap();
    for number in 0..20 {
        use_room(&store, &room(number), if number < 15 { 0 } else { 100 * HOUR }).await;
    }
    drop(store.room(&room(0)).await.unwrap());
    let expiry = expiry(&store, 100 * HOUR, eight_hours()).await;
    let run = tokio::spawn(expiry.run());
    let ended = async {
        // Rooms end several at a time, in any order.
        for number in 0..15 {
            while store.facts(&room(number)).await.unwrap().is_some() {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    for number in 15..20 {
        assert!(store.facts(&room(number)).await.unwrap().is_some(), "{number}");
    }
    run.abort();
    drop(run.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_room_that_is_used_after_it_was_found_is_not_deleted() {
    let store = Store::in_memory(&limits()).unwrap();
    for number in 0..2 {
        use_room(&store, &room(number), 0).await;
    }
    drop(store.room(&room(0)).await.unwrap());
    let mut expiry = expiry(&store, 100 * HOUR, eight_hours()).await;
    assert_eq!(expiry.due().unwrap().0, [room(0), room(1)]);
    let request = Request {
        method: "GET".to_owned(),
        uri: "http://localhost/parties/main/room-00000".to_owned(),
        headers: Vec::new(),
        body: bytes::Bytes::new(),
    };
    let entrance = expiry.rooms.entrance(&room(0)).unwrap();
    let asked = expiry.rooms.request(&entrance, request, BodyDelivery::Whole);
    assert_eq!(asked.await.unwrap().unwrap().whole().unwrap().status, 200);
    for number in 0..2 {
        let (_, answer) = tell(expiry.rooms.clone(), room(number)).await;
        assert!(answer == ExpiryOutcome::DealtWith);
    }
    // Waits until the store has the writes of that turn.
    drop(store.room(&room(2)).await.unwrap());
    assert!(store.facts(&room(0)).await.unwrap().is_some());
    assert_eq!(store.facts(&room(1)).await.unwrap(), None);
}
