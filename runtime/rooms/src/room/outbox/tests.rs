//! Bounds and ends of one outbox, and the line of many: every order in which rooms and a socket task can act.

use super::*;
use futures_util::task::ArcWake;
use proptest::prelude::*;
use room_core::metrics::Metrics;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

const KEY: ConnectionKey = ConnectionKey(7);

/// The outboxes of one socket with one connection, as its task sees them.
struct Socket {
    outboxes: Outboxes,
    outbox: Outbox,
}

impl Socket {
    fn take(&self, max: usize) -> Vec<OutboxItem> {
        let mut said = Vec::new();
        let key = self.outboxes.take(max, &mut said);
        assert_eq!(key, (!said.is_empty()).then_some(Some(KEY)));
        said
    }
}

fn socket(limits: &Limits, budget: &ByteBudget) -> (OutboxSender, Socket) {
    let outboxes = Outboxes::new(limits, Metrics::new().rooms, budget.clone());
    let (room, outbox) = outboxes.open(KEY);
    (room, Socket { outboxes, outbox })
}

fn small() -> (OutboxSender, Socket) {
    let limits = Limits { outbox_frames_max: 2, outbox_bytes_max: 10, ..Limits::default() };
    socket(&limits, &ByteBudget::new(1 << 20))
}

fn text(text: &str) -> OutboxItem {
    OutboxItem::Message(Message::text(text))
}

#[test]
fn with_an_exhausted_budget_only_clients_that_fall_behind_are_closed() {
    let budget = ByteBudget::new(64 * 1024);
    let new = || socket(&Limits::default(), &budget);
    let large = Message::text("x".repeat(30 * 1024));
    let (slow, behind) = new();
    slow.send(&large);
    slow.send(&large);
    let (room, socket) = new();
    for _ in 0..3 {
        room.send(&large);
        assert!(matches!(&socket.take(10)[..], [OutboxItem::Message(_)]));
        // Items taken before count as written when the task comes back.
        assert_eq!(socket.take(10), []);
    }
    assert!(budget.granted() <= 64 * 1024);
    slow.send(&large);
    assert_eq!(behind.take(10), [OutboxItem::Overflow]);
    assert_eq!(budget.granted(), 0);
}

#[test]
fn a_client_that_is_too_far_behind_loses_its_queue() {
    let (room, socket) = small();
    for text in ["1", "2", "3", "4"] {
        room.send(&Message::text(text));
    }
    assert_eq!(room.lag(), (0, 0));
    assert_eq!(socket.take(10), [OutboxItem::Overflow]);
    let (room, socket) = small();
    room.send(&Message::text("eleven bytes"));
    assert_eq!(socket.take(10), [OutboxItem::Overflow]);
}

#[test]
fn nothing_follows_a_close_frame() {
    let (room, socket) = small();
    room.send(&Message::text("hi"));
    room.close(CloseFrame::new(4001, "bye"));
    room.send(&Message::text("lost"));
    assert_eq!(room.lag(), (1, 2));
    drop(room);
    let last = OutboxItem::Goodbye(CloseFrame::new(4001, "bye"));
    assert_eq!(socket.take(10), [text("hi"), last]);
    assert_eq!(socket.take(10), []);
}

#[test]
fn a_dropped_room_closes_its_outbox_and_a_dropped_socket_holds_nothing() {
    let (room, socket) = small();
    drop(room);
    let last = OutboxItem::Goodbye(CloseFrame::new(1011, "the room stopped"));
    assert_eq!(socket.take(10), [last]);
    let budget = ByteBudget::new(64 * 1024);
    let (room, Socket { outboxes, outbox }) = self::socket(&Limits::default(), &budget);
    room.send(&Message::text("x".repeat(30 * 1024)));
    assert!(!room.is_gone() && budget.granted() > 0);
    drop(outbox);
    assert!(room.is_gone());
    assert_eq!((budget.granted(), outboxes.take(10, &mut Vec::new())), (0, None));
    room.send(&Message::text("x".repeat(30 * 1024)));
    assert_eq!((budget.granted(), outboxes.take(10, &mut Vec::new())), (0, None));
}

#[test]
fn an_automatic_answer_keeps_the_order_and_the_bound() {
    let (room, socket) = small();
    room.send(&Message::text("first"));
    socket.outbox.answer(&Message::text("pong"));
    assert_eq!(socket.take(10), [text("first"), text("pong")]);
    (0..3).for_each(|_| socket.outbox.answer(&Message::text("pong")));
    assert_eq!(socket.take(10), [OutboxItem::Overflow]);
    socket.outbox.answer(&Message::text("pong"));
    assert_eq!(socket.take(10), []);
}

#[test]
fn a_close_by_the_socket_follows_queued_messages_and_overrides_the_rooms_close() {
    let (room, socket) = small();
    room.send(&Message::text("hi"));
    socket.outbox.end(CloseFrame::new(1002, "bad frame"));
    room.close(CloseFrame::new(4001, "too late"));
    let last = OutboxItem::Goodbye(CloseFrame::new(1002, "bad frame"));
    assert_eq!(socket.take(10), [text("hi"), last]);
}

#[test]
fn a_discarded_outbox_delivers_nothing_and_keeps_nothing_later() {
    let budget = ByteBudget::new(64 * 1024);
    let (room, socket) = self::socket(&Limits::default(), &budget);
    let large = Message::text("x".repeat(10 * 1024));
    room.send(&large);
    room.send(&large);
    assert_eq!(socket.take(1).len(), 1);
    socket.outbox.discard();
    room.send(&large);
    room.close(CloseFrame::new(4001, "bye"));
    assert_eq!((room.lag(), room.is_gone()), ((0, 0), false));
    // Items taken before count until they are written.
    assert_eq!((budget.granted(), socket.take(10)), (8 * 1024, Vec::new()));
    assert_eq!(budget.granted(), 0);
}

#[test]
fn taking_messages_frees_space() {
    let (room, socket) = small();
    for _ in 0..5 {
        room.send(&Message::text("five5"));
        assert_eq!(socket.take(1).len(), 1);
    }
}

#[test]
fn a_slot_is_reused_when_both_ends_are_dropped() {
    let (room, Socket { outboxes, outbox }) = small();
    room.send(&Message::text("old"));
    drop(outbox);
    let (second, _reader) = outboxes.open(ConnectionKey(8));
    assert_eq!(second.slot, 1, "the room still has the first");
    drop(room);
    let (third, _reader) = outboxes.open(ConnectionKey(9));
    assert_eq!(third.slot, 0);
    third.send(&Message::text("new"));
    let mut said = Vec::new();
    assert_eq!(outboxes.take(10, &mut said), Some(Some(ConnectionKey(9))));
    assert_eq!(said, [text("new")]);
}

#[test]
fn a_busy_outbox_does_not_delay_another() {
    let limits = Limits::default();
    let outboxes = Outboxes::new(&limits, Metrics::new().rooms, ByteBudget::new(1 << 20));
    let (loud, _loud) = outboxes.open(ConnectionKey(0));
    let (calm, _calm) = outboxes.open(ConnectionKey(1));
    (0..9).for_each(|_| loud.send(&Message::text("loud")));
    calm.send(&Message::text("calm"));
    let mut turns = Vec::new();
    let mut said = Vec::new();
    while let Some(Some(ConnectionKey(key))) = outboxes.take(4, &mut said) {
        turns.push(key);
        loud.send(&Message::text("more"));
        if turns.len() == 4 {
            break;
        }
    }
    assert_eq!(turns, [0, 1, 0, 0]);
}

#[test]
fn a_client_that_is_behind_gets_no_volatile_message_and_is_not_closed_for_one() {
    let limits = Limits { volatile_frames_max: 1, volatile_bytes_max: 10, ..Limits::default() };
    let (room, socket) = socket(&limits, &ByteBudget::new(1 << 20));
    let volatile = |text: &str| room.send_volatile(&Message::text(text));
    let gets: Vec<bool> = (0..4).map(|number| volatile(&number.to_string())).collect();
    assert_eq!(gets, [true, true, false, false]);
    assert_eq!(socket.take(10), [text("0"), text("1")]);
    room.send(&Message::text("eleven more"));
    volatile("lost");
    assert_eq!(socket.take(10), [text("eleven more")]);
    // What the socket writes at the moment counts, too.
    volatile("lost");
    assert_eq!(socket.take(10), []);
    volatile("again");
    assert_eq!(socket.take(10), [text("again")]);
    let limits = Limits { outbox_frames_max: 1, outbox_bytes_max: 10, ..Limits::default() };
    let (room, socket) = self::socket(&limits, &ByteBudget::new(1 << 20));
    room.send_volatile(&Message::text("eleven more"));
    room.send(&Message::text("1"));
    room.send_volatile(&Message::text("2"));
    assert_eq!(socket.take(10), [text("1")]);
}

#[test]
fn a_client_that_does_not_read_has_one_message_for_each_key() {
    let (room, socket) = socket(&Limits::default(), &ByteBudget::new(1 << 20));
    room.send(&Message::text("first"));
    for number in 0..10_000 {
        for key in ["a", "b", "c"] {
            room.send_latest(key, &Message::text(format!("{key}{number}")));
        }
        assert!(room.lag().0 <= 4 && room.lag().1 < 40, "{:?}", room.lag());
    }
    assert!(socket.outboxes.0.state().slots[0].queue.said.len() < 40);
    let newest = ["first", "a9999", "b9999", "c9999"].map(text);
    assert_eq!(socket.take(10), newest);
    room.send_latest("a", &Message::text("later"));
    assert_eq!(socket.take(10), [text("later")]);
}

/// An act of a room or of the task that writes to a client.
#[derive(Clone, Debug)]
enum Act {
    Send(usize),
    Volatile(usize),
    Latest(u8, usize),
    Take(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..6_usize).prop_map(Act::Send),
        2 => (0..6_usize).prop_map(Act::Volatile),
        6 => (0..5_u8, 0..6_usize).prop_map(|(key, bytes)| Act::Latest(key, bytes)),
        1 => (0..8_usize).prop_map(Act::Take),
    ]
}

proptest! {
    #[test]
    fn a_queue_with_keys_equals_a_model_that_moves_every_message(
        acts in prop::collection::vec(act(), 0..400),
        frames_max in 2..60_u64,
    ) {
        let limits = Limits {
            outbox_frames_max: frames_max,
            outbox_bytes_max: 150,
            volatile_frames_max: 4,
            volatile_bytes_max: 12,
            ..Limits::default()
        };
        let (room, socket) = socket(&limits, &ByteBudget::new(1 << 20));
        let mut model: Vec<(Option<u8>, String)> = Vec::new();
        let (mut taken, mut is_over) = (0, false);
        let bytes = |model: &[(Option<u8>, String)]| model.iter().map(|(_, text)| text.len()).sum();
        for (number, act) in acts.iter().enumerate() {
            let word = |bytes: &usize| format!("{number:03}{}", "x".repeat(*bytes));
            let (key, bytes_more) = match act {
                Act::Take(max) => {
                    let max = (*max).min(model.len());
                    let expected: Vec<_> = model.drain(..max).map(|(_, word)| word).collect();
                    taken = expected.iter().map(String::len).sum();
                    let expected: Vec<_> = expected.iter().map(|word| text(word)).collect();
                    let mut said = Vec::new();
                    if max > 0 {
                        socket.outboxes.take(max, &mut said);
                    } else {
                        // The socket has written what it took.
                        socket.outboxes.0.state().written();
                    }
                    prop_assert_eq!(said, expected);
                    continue;
                }
                Act::Volatile(bytes_more) => {
                    let message = word(bytes_more);
                    let gets = room.send_volatile(&Message::text(&*message));
                    let waiting: usize = bytes(&model);
                    let has_space = model.len() as u64 <= 4 && waiting + taken <= 12
                        && (model.len() as u64) < frames_max;
                    prop_assert_eq!(gets, has_space && !is_over);
                    if gets {
                        model.push((None, message));
                    }
                    continue;
                }
                Act::Send(bytes_more) => (None, bytes_more),
                Act::Latest(key, bytes_more) => (Some(*key), bytes_more),
            };
            let message = word(bytes_more);
            match key {
                Some(key) => drop(room.send_latest(&key.to_string(), &Message::text(&*message))),
                None => room.send(&Message::text(&*message)),
            }
            model.retain(|(own, _)| own.is_none() || *own != key);
            model.push((key, message));
            let waiting: usize = bytes(&model);
            is_over |= model.len() as u64 > frames_max || waiting > 150;
            if is_over {
                let last = socket.take(1_000);
                prop_assert_eq!(last, [OutboxItem::Overflow]);
                break;
            }
            prop_assert_eq!(room.lag(), (model.len(), waiting));
        }
        if !is_over {
            let expected: Vec<_> = model.iter().map(|(_, word)| text(word)).collect();
            prop_assert_eq!(socket.take(1_000), expected);
        }
    }
}

/// One step of a model: an action of a room or the socket task under the lock, which nothing interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The room with this number sends its next item.
    Say(usize),
    /// Another task wakes the socket task, which has other work.
    Wake,
    /// The task is polled, if it was woken.
    Poll,
}

/// Whether the task was woken since the last poll.
struct Flag(AtomicBool);

impl ArcWake for Flag {
    fn wake_by_ref(flag: &Arc<Self>) {
        flag.0.store(true, Ordering::Relaxed);
    }
}

/// Runs the steps of two rooms and a task in this order, then the task alone while it is woken.
fn play(steps: &[Step]) {
    let outboxes =
        Outboxes::new(&Limits::default(), Metrics::new().rooms, ByteBudget::new(1 << 20));
    let ends: Vec<_> = (0..2).map(|key| outboxes.open(ConnectionKey(key))).collect();
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = futures_util::task::waker(flag.clone());
    let mut context = Context::from_waker(&waker);
    let (mut expected, mut heard) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let (mut wakes, mut woken) = (0, 0);
    // The future lives across polls, as it does in a task.
    let reader = outboxes.clone();
    let mut task: Pin<Box<dyn Future<Output = ()>>> = {
        let (heard, woken) = (&mut heard, &mut woken);
        Box::pin(async move {
            loop {
                let mut said = Vec::new();
                match reader.next(1, &mut said).await {
                    Some(ConnectionKey(key)) => heard[key].append(&mut said),
                    None => *woken += 1,
                }
            }
        })
    };
    let mut poll = |task: &mut Pin<Box<dyn Future<Output = ()>>>| {
        if flag.0.swap(false, Ordering::Relaxed) {
            assert_eq!(task.as_mut().poll(&mut context), Poll::Pending);
        }
    };
    for step in steps {
        match step {
            Step::Say(room) => {
                let word = expected[*room].len().to_string();
                ends[*room].0.send(&Message::text(&*word));
                expected[*room].push(text(&word));
            }
            Step::Wake => {
                outboxes.wake();
                wakes += 1;
            }
            Step::Poll => poll(&mut task),
        }
    }
    poll(&mut task);
    drop(task);
    assert_eq!(heard, expected, "{steps:?}");
    assert!(woken <= wakes && (woken > 0) == (wakes > 0), "{steps:?}");
}

#[test]
fn no_message_is_lost_in_any_interleaving_of_two_rooms_and_a_task() {
    /// Plays all orders of the remaining steps.
    fn orders(left: &mut Vec<(Step, usize)>, played: &mut Vec<Step>, count: &mut usize) {
        if left.iter().all(|(_, times)| *times == 0) {
            play(played);
            *count += 1;
        }
        for index in 0..left.len() {
            if left[index].1 > 0 {
                left[index].1 -= 1;
                played.push(left[index].0);
                orders(left, played, count);
                played.pop();
                left[index].1 += 1;
            }
        }
    }
    let mut count = 0;
    let mut steps = vec![(Step::Say(0), 2), (Step::Say(1), 2), (Step::Wake, 1), (Step::Poll, 3)];
    orders(&mut steps, &mut Vec::new(), &mut count);
    assert_eq!(count, 1_680);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_rooms_on_many_threads_lose_no_message_and_keep_their_order() {
    const ROOMS: usize = 8;
    const WORDS: usize = 2_000;
    let limits = Limits { outbox_frames_max: 1 << 20, ..Limits::default() };
    let outboxes = Outboxes::new(&limits, Metrics::new().rooms, ByteBudget::new(1 << 30));
    let ends: Vec<_> = (0..ROOMS).map(|key| outboxes.open(ConnectionKey(key))).collect();
    let (senders, _readers): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    for sender in senders {
        tokio::spawn(async move {
            for word in 0..WORDS {
                sender.send(&Message::text(word.to_string()));
                if word % 7 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    let (mut heard, mut ended) = ([0; ROOMS], 0);
    while ended < ROOMS {
        let mut said = Vec::new();
        let next = outboxes.next(16, &mut said);
        let next = tokio::time::timeout(std::time::Duration::from_secs(20), next).await.unwrap();
        let ConnectionKey(key) = next.unwrap();
        for word in said {
            match word {
                OutboxItem::Message(message) => {
                    assert_eq!(message, Message::text(heard[key].to_string()));
                    heard[key] += 1;
                }
                OutboxItem::Goodbye(_) => ended += 1,
                OutboxItem::Overflow => panic!("the bound was not reached"),
                OutboxItem::Entry(_)
                | OutboxItem::Welcome(_)
                | OutboxItem::Presence(_)
                | OutboxItem::Ack(_) => {
                    panic!("nothing is remembered, shown or acknowledged")
                }
            }
        }
    }
    assert_eq!(heard, [WORDS; ROOMS]);
}
