//! Which alarms are due, by which clock, and which rooms they wake.

use super::*;
use crate::cluster::ProjectHomes;
use crate::rooms::{GuestHost, Guests, Party};
use hashbrown::HashMap;
use room_core::config::{Cors, Origins, WhenQuiet};
use room_core::event::{BodyDelivery, Request};
use room_core::id::{ModuleHash, PartyName};
use room_core::metrics::Metrics;
use room_core::ttl::Served;
use room_core::turn::{AlarmChange, Writes};
use room_guest::Code;
use room_store::testing::{Disk, alarms as found};

const SECOND: Duration = Duration::from_secs(1);
/// The time between two alarms: more than a test takes, less than the longest wait.
const STEP: Duration = Duration::from_secs(8);
const HOUR: Duration = Duration::from_secs(3_600);
/// The time at which these tests run.
const NOW: Duration = Duration::from_secs(1_700_000_000);

fn limits() -> Arc<Limits> {
    Arc::new(Limits {
        rooms_active_max: 32,
        door_instances_max: 1,
        alarms_batch_max: 8,
        ..Limits::default()
    })
}

fn rooms_on(store: &Store, clock: Clock, guests: &Guests) -> Rooms {
    let served = Served::from(0);
    Rooms::new(
        store.clone(),
        (clock, served),
        guests,
        Metrics::new().rooms,
        ProjectHomes::default(),
    )
}

fn alarms(store: &Store, clock: Clock) -> Alarms {
    let limits = limits();
    let rooms = rooms_on(store, clock, &GuestHost::alone(&limits).unwrap());
    Alarms::new(store.clone(), rooms, clock, limits)
}

fn room(name: &str) -> RoomId {
    RoomId::new(PartyName::parse("main").unwrap(), name, 256).unwrap()
}

fn numbered(numbers: impl IntoIterator<Item = u32>) -> Vec<RoomId> {
    numbers.into_iter().map(|number| room(&format!("room-{number}"))).collect()
}

async fn change(store: &Store, room: &RoomId, alarm: AlarmChange) {
    let writes = Writes { alarm, ..Writes::default() };
    store.room(room).await.unwrap().commit(writes, ModuleHash::NONE, None).await.unwrap();
}

async fn set(store: &Store, room: &RoomId, due: Duration) {
    change(store, room, AlarmChange::Set(ms_of(due))).await;
}

fn ms_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// Waits until this number of alarms is durable.
async fn there_are(store: &Store, count: usize) {
    let all = async {
        while found(store).len() != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(20 * SECOND, all).await.unwrap();
}

#[tokio::test]
async fn only_due_alarms_ring_and_in_order_of_their_time() {
    const ROOMS: u32 = 10_000;
    let store = Store::in_memory(&limits()).unwrap();
    // In another order than that of their times.
    for number in (0..ROOMS).map(|number| (number * 7) % ROOMS) {
        set(&store, &numbered([number])[0], NOW + STEP * number).await;
    }
    there_are(&store, ROOMS as usize).await;
    // Twenty are due, and eight may ring at once.
    let mut alarms = alarms(&store, Clock::at(NOW + 19 * STEP));
    let due = |alarms: &mut Alarms| alarms.due().unwrap().0;
    assert_eq!(due(&mut alarms), numbered(0..8));
    assert_eq!(due(&mut alarms), []);
    // A handled alarm leaves the store. An unhandled one rests, and does not delay the others.
    for answered in numbered(0..4) {
        alarms.ringing.remove(&answered);
        change(&store, &answered, AlarmChange::Delete).await;
    }
    there_are(&store, ROOMS as usize - 4).await;
    assert_eq!(due(&mut alarms), numbered(8..12));
    for refused in numbered(4..12) {
        alarms.ringing.remove(&refused);
        alarms.resting.insert(refused);
    }
    assert_eq!(due(&mut alarms), numbered(12..20));
    alarms.ringing.clear();
    for answered in numbered(12..20) {
        change(&store, &answered, AlarmChange::Delete).await;
    }
    there_are(&store, ROOMS as usize - 12).await;
    let (none, wait) = alarms.due().unwrap();
    assert_eq!(none, []);
    assert!(wait <= STEP, "{wait:?}");
    alarms.start_again();
    assert_eq!(due(&mut alarms), numbered(4..12));
}

#[tokio::test]
async fn resting_alarms_are_not_read_again_and_hide_no_earlier_alarm() {
    let store = Store::in_memory(&limits()).unwrap();
    for (number, room) in numbered(0..20).iter().enumerate() {
        set(&store, room, NOW + STEP * u32::try_from(number).unwrap()).await;
    }
    there_are(&store, 20).await;
    let mut alarms = alarms(&store, Clock::at(NOW + HOUR));
    for told in [numbered(0..8), numbered(8..16)] {
        assert_eq!(alarms.due().unwrap().0, told);
        alarms.resting.extend(alarms.ringing.drain());
    }
    let last = AlarmsFrom::behind(ms_of(NOW + STEP * 15), &room("room-15"));
    assert_eq!(alarms.from, last);
    set(&store, &room("early"), NOW - STEP).await;
    there_are(&store, 21).await;
    alarms.store.alarm_bell().rings().await;
    assert_eq!(alarms.due().unwrap().0[0], room("early"));
}

#[tokio::test]
async fn an_alarm_that_rested_after_a_rescan_rings_again() {
    let store = Store::in_memory(&limits()).unwrap();
    set(&store, &room("late"), NOW).await;
    there_are(&store, 1).await;
    let mut alarms = alarms(&store, Clock::at(NOW + HOUR));
    assert_eq!(alarms.due().unwrap().0, [room("late")]);
    alarms.start_again();
    assert_eq!(alarms.due().unwrap().0, []);
    alarms.resting.extend(alarms.ringing.drain());
    assert_eq!(alarms.due().unwrap().0, []);
    assert!(alarms.has_told());
    alarms.start_again();
    assert_eq!(alarms.due().unwrap().0, [room("late")]);
}

#[tokio::test]
async fn a_wait_is_never_longer_than_alarm_look_ms_max() {
    let store = Store::in_memory(&limits()).unwrap();
    let mut alarms = alarms(&store, Clock::at(NOW));
    let look_max = ms(Limits::default().alarm_look_ms_max);
    assert_eq!(alarms.due().unwrap(), (Vec::new(), look_max));
    set(&store, &room("later"), NOW + HOUR).await;
    there_are(&store, 1).await;
    assert_eq!(alarms.due().unwrap(), (Vec::new(), look_max));
}

#[tokio::test]
async fn a_clock_set_back_before_a_restart_only_delays_alarms() {
    let store = Store::in_memory(&limits()).unwrap();
    for name in ["a", "b"] {
        set(&store, &room(name), NOW).await;
    }
    there_are(&store, 2).await;
    assert_eq!(alarms(&store, Clock::at(NOW - HOUR)).due().unwrap().0, []);
    assert_eq!(alarms(&store, Clock::at(NOW + SECOND)).due().unwrap().0, [room("a"), room("b")]);
}

/// Lets the puppet's rooms run on this disk at this time until no alarm is left.
async fn run(disk: &Disk, now: Duration) -> Rooms {
    let (limits, clock) = (limits(), Clock::at(now));
    let (store, guests) = (disk.store(&limits), GuestHost::alone(&limits).unwrap());
    let module = guests.engine.load(&room_test_guest::guest("puppet").into()).unwrap();
    let code = Code { module, vars: Arc::default(), mint: None };
    let (when_quiet, origins) = (WhenQuiet::Stay, Origins::default());
    let party = Party {
        code,
        when_quiet,
        auto_response: None,
        lifetime: None,
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
    let rooms = rooms_on(&store, clock, &guests);
    rooms.deploy(HashMap::from([(PartyName::parse("main").unwrap(), party)])).await.unwrap();
    let ringing = tokio::spawn(Alarms::new(store.clone(), rooms.clone(), clock, limits).run());
    there_are(&store, 0).await;
    ringing.abort();
    drop(ringing.await);
    rooms
}

#[tokio::test]
async fn a_clock_set_forward_before_a_restart_rings_each_alarm_once() {
    let disk = Disk::default();
    let store = disk.store(&limits());
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        set(&store, &room(name), NOW + HOUR * u32::try_from(number).unwrap()).await;
    }
    there_are(&store, 3).await;
    store.close();
    let rooms = run(&disk, NOW + 24 * HOUR).await;
    for name in ["a", "b", "c"] {
        let request = Request {
            method: "GET".to_owned(),
            uri: format!("http://localhost/parties/main/{name}"),
            headers: Vec::new(),
            body: bytes::Bytes::new(),
        };
        let entrance = rooms.entrance(&room(name)).unwrap();
        let asked = rooms.request(&entrance, request, BodyDelivery::Whole);
        let response = asked.await.unwrap().unwrap().whole().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(report["events"], serde_json::json!([format!("alarm in {name}")]));
    }
}
