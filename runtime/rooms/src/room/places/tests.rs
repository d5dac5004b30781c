//! Which rooms get a place, which rooms go for them, and which rooms wait.

use super::*;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn places(total: u64) -> RoomSlots {
    with_memory(total, GuestMemory::default(), u64::MAX)
}

fn with_memory(total: u64, memory: GuestMemory, bytes: u64) -> RoomSlots {
    let limits = Limits { rooms_memory_bytes_max: bytes, ..limits(total) };
    SharedRoomSlots::new(total, u64::MAX).for_project(&limits, memory)
}

fn limits(total: u64) -> Limits {
    Limits { rooms_active_max: total, ..Limits::default() }
}

async fn take(places: &RoomSlots) -> RoomSlot {
    places.take().await.unwrap()
}

/// Returns true if the room behind this place was asked to go.
fn is_told(place: &RoomSlot) -> bool {
    place.0.standing().told
}

/// Makes a room idle that was last used this many seconds after the start.
fn idle(places: &RoomSlots, place: &RoomSlot, seconds: u32) {
    place.seat().idle(places.0.shared.start + SECOND * seconds);
}

/// Starts a room that wants a place, and lets it run as far as it gets at once.
fn wanting(places: &RoomSlots) -> tokio::task::JoinHandle<Result<RoomSlot, RoomError>> {
    let places = places.clone();
    tokio::spawn(async move { places.take().await })
}

#[tokio::test(start_paused = true)]
async fn the_least_recently_used_room_is_evicted_first() {
    let places = places(3);
    let (a, b, c) = (take(&places).await, take(&places).await, take(&places).await);
    for (place, used) in [(&a, 1), (&b, 2), (&c, 3)] {
        idle(&places, place, used);
    }
    // It is used again, and no search has looked at that so far.
    assert_eq!(a.seat().work(), SeatVerdict::Stay);
    idle(&places, &a, 4);
    let first = wanting(&places);
    tokio::task::yield_now().await;
    assert!(is_told(&b) && !is_told(&a) && !is_told(&c));
    let second = wanting(&places);
    tokio::task::yield_now().await;
    assert!(is_told(&c) && !is_told(&a));
    // Rooms that have given up waiting make no room go. The places that were promised are enough for the
    // next.
    first.abort();
    second.abort();
    drop((first.await, second.await));
    let third = wanting(&places);
    tokio::task::yield_now().await;
    assert!(!is_told(&a));
    drop(b);
    assert!(third.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_gets_the_slot_of_the_evicted_room() {
    let places = places(1);
    let old = take(&places).await;
    idle(&places, &old, 1);
    let new = wanting(&places);
    old.seat().told().await;
    assert_eq!(old.seat().work(), SeatVerdict::Go);
    drop(old);
    let _new = new.await.unwrap().unwrap();
    assert_eq!((places.taken(), places.state().told), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_room_asked_to_leave_during_an_event_leaves_first() {
    let places = places(1);
    let old = take(&places).await;
    idle(&places, &old, 1);
    let new = wanting(&places);
    tokio::task::yield_now().await;
    // It woke for an event, and finds that its place is promised.
    assert_eq!(old.seat().work(), SeatVerdict::Go);
    drop(old);
    let back = wanting(&places);
    let new = new.await.unwrap().unwrap();
    idle(&places, &new, 2);
    tokio::task::yield_now().await;
    assert_eq!(new.seat().work(), SeatVerdict::Go);
    drop(new);
    assert!(back.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_working_room_is_not_evicted_and_a_waiter_gets_the_next_idle_slot() {
    let places = places(2);
    let (a, b) = (take(&places).await, take(&places).await);
    // Both were idle, and work again when the search meets them.
    for place in [&a, &b] {
        idle(&places, place, 1);
        assert_eq!(place.seat().work(), SeatVerdict::Stay);
    }
    let new = wanting(&places);
    tokio::task::yield_now().await;
    assert!(!is_told(&a) && !is_told(&b));
    idle(&places, &b, 2);
    assert!(is_told(&b) && !is_told(&a));
    drop(b);
    assert!(new.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_room_that_must_stay_is_never_evicted() {
    let places = places(2);
    let (a, b) = (take(&places).await, take(&places).await);
    idle(&places, &a, 1);
    assert_eq!(a.seat().work(), SeatVerdict::Stay);
    a.seat().stay();
    b.seat().stay();
    // Waiting would not help, so the answer comes at once.
    let asked = Instant::now();
    assert!(matches!(places.take().await, Err(RoomError::Busy)));
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert!(!is_told(&a) && !is_told(&b));
    // Its last client left.
    assert_eq!(b.seat().work(), SeatVerdict::Stay);
    idle(&places, &b, 2);
    let new = wanting(&places);
    tokio::task::yield_now().await;
    assert!(is_told(&b));
    drop(b);
    assert!(new.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_times_out_gets_a_busy_error_and_takes_no_slot() {
    let places = places(1);
    let works = take(&places).await;
    let asked = Instant::now();
    assert!(matches!(places.take().await, Err(RoomError::Busy)));
    assert_eq!(asked.elapsed(), ms(Limits::default().place_wait_ms_max));
    let gone = wanting(&places);
    tokio::task::yield_now().await;
    gone.abort();
    drop(gone.await);
    drop(works);
    assert_eq!(places.taken(), 0);
    assert!(places.take().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn exceeding_the_guest_memory_bound_evicts_idle_rooms() {
    let memory = GuestMemory::default();
    let places = with_memory(10, memory.clone(), 100);
    let (a, b) = (take(&places).await, take(&places).await);
    memory.add(80);
    idle(&places, &a, 1);
    b.seat().stay();
    // Two have 80 bytes, so three need more than the limit allows.
    let new = wanting(&places);
    a.seat().told().await;
    memory.remove(40);
    drop(a);
    let c = new.await.unwrap().unwrap();
    memory.add(30);
    // A guest that grows in its turn makes another room go, though no room waits for a place.
    idle(&places, &c, 2);
    assert!(!is_told(&c));
    memory.add(40);
    b.seat().stay();
    assert!(is_told(&c));
    memory.remove(70);
    drop(c);
    memory.add(50);
    assert!(matches!(places.take().await, Err(RoomError::Busy)));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_left_the_queue_delays_nobody() {
    let memory = GuestMemory::default();
    let places = with_memory(4, memory.clone(), 100);
    let one = take(&places).await;
    memory.add(60);
    let gone = wanting(&places);
    tokio::task::yield_now().await;
    gone.abort();
    drop(gone.await);
    // Memory is free again, and no task reports it.
    memory.remove(30);
    let asked = Instant::now();
    assert!(places.take().await.is_ok());
    assert_eq!(asked.elapsed(), Duration::ZERO);
    drop(one);
}

/// Lets rooms on many threads come, work, idle and go: no room waits forever, and no place is lost or given
/// twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn slots_are_never_lost_and_never_granted_twice() {
    let limits = Limits { place_wait_ms_max: 60_000, ..limits(3) };
    let places = SharedRoomSlots::new(3, u64::MAX).for_project(&limits, GuestMemory::default());
    let rooms = (0..16).map(|_| {
        let places = places.clone();
        tokio::spawn(async move {
            let mut place: Option<RoomSlot> = None;
            for turn in 0..500 {
                let held = match place.take() {
                    Some(place) => place,
                    None => take(&places).await,
                };
                assert!(places.taken() <= 3);
                let seat = held.seat();
                seat.idle(Instant::now());
                tokio::select! {
                    () = seat.told() => {}
                    () = tokio::task::yield_now() => {}
                }
                let goes = seat.work() == SeatVerdict::Go || turn % 7 == 0;
                place = (!goes).then_some(held);
            }
        })
    });
    for room in rooms.collect::<Vec<_>>() {
        room.await.unwrap();
    }
    let state = places.state();
    assert_eq!((state.free, state.told, state.staying), (3, 0, 0));
    let project = &state.projects[&places.0.number];
    assert!(project.order.is_empty() && project.waiting.is_empty() && state.waiting == 0);
}

/// Checks that a search moves only rooms that were used since it last met them.
#[tokio::test(start_paused = true)]
async fn a_search_among_many_rooms_touches_few() {
    let places = places(50_000);
    let mut held = Vec::new();
    for used in 0..50_000 {
        let place = take(&places).await;
        match used % 100 {
            // Most stay, so they are not in the order at all.
            0 => idle(&places, &place, used),
            _ => place.seat().stay(),
        }
        held.push(place);
    }
    assert_eq!(places.state().projects[&places.0.number].order.len(), 500);
    let new = wanting(&places);
    tokio::task::yield_now().await;
    assert!(is_told(&held[0]));
    drop(held.swap_remove(0));
    assert!(new.await.unwrap().is_ok());
}

/// Makes two projects in a process. The first one may have this many places.
fn two_projects(total: u64, first: u64) -> (RoomSlots, RoomSlots) {
    let shared = SharedRoomSlots::new(total, u64::MAX);
    let of = |total| shared.for_project(&limits(total), GuestMemory::default());
    (of(first), of(total))
}

#[tokio::test(start_paused = true)]
async fn a_project_at_its_own_limit_evicts_only_its_own_rooms() {
    let (small, large) = two_projects(10, 1);
    let (one, other) = (take(&small).await, take(&large).await);
    // The other project's room was last used earlier, and may go.
    idle(&large, &other, 1);
    idle(&small, &one, 2);
    let wants = wanting(&small);
    one.seat().told().await;
    assert!(!is_told(&other));
    drop(one);
    assert!(wants.await.unwrap().is_ok());
    assert_eq!((small.taken(), large.taken(), small.total(), large.total()), (0, 1, 1, 10));
}

#[tokio::test(start_paused = true)]
async fn a_full_process_evicts_the_least_recently_used_room_of_any_project() {
    let (first, second) = two_projects(2, 2);
    let (a, b) = (take(&first).await, take(&first).await);
    idle(&first, &a, 2);
    idle(&first, &b, 1);
    let wants = wanting(&second);
    b.seat().told().await;
    assert!(!is_told(&a));
    drop(b);
    let _c = wants.await.unwrap().unwrap();
    assert_eq!((first.taken(), second.taken()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn waiters_of_one_project_do_not_delay_another_project() {
    let (small, large) = two_projects(2, 1);
    let works = take(&small).await;
    let wants = wanting(&small);
    tokio::task::yield_now().await;
    // A place of the process is free, and the project that waits may not have it.
    let asked = Instant::now();
    let other = take(&large).await;
    assert_eq!(asked.elapsed(), Duration::ZERO);
    drop(works);
    assert!(wants.await.unwrap().is_ok());
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_all_projects_is_bounded_together() {
    let shared = SharedRoomSlots::new(10, 100);
    let all = GuestMemory::default();
    let (one, two) = (all.of_another_project(), all.of_another_project());
    let first = shared.for_project(&limits(10), one.clone());
    let second = shared.for_project(&limits(10), two.clone());
    let a = take(&first).await;
    one.add(80);
    idle(&first, &a, 1);
    let wants = wanting(&second);
    a.seat().told().await;
    one.remove(80);
    drop(a);
    assert!(wants.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_project_frees_all_its_slots() {
    let (first, second) = two_projects(1, 1);
    let place = take(&first).await;
    drop(first);
    let wants = wanting(&second);
    tokio::task::yield_now().await;
    drop(place);
    assert!(wants.await.unwrap().is_ok());
    assert_eq!(second.state().projects.len(), 1);
}
