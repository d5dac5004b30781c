//! A turn's limits, refusals, and reads of its own writes.

use super::*;
use crate::connection::connection;

const LIMITS: fn() -> Limits = || Limits {
    room_message_bytes_max: 10,
    turn_sends_max: 3,
    turn_send_bytes_max: 20,
    turn_writes_max: 3,
    turn_write_bytes_max: 20,
    value_bytes_max: 10,
    key_bytes_max: 4,
    connection_state_bytes_max: 5,
    connection_tags_max: 2,
    tag_bytes_max: 3,
    list_page_entries_max: 2,
    ..Limits::default()
};

fn turn() -> Turn {
    let mut connections = Connections::default();
    connections.insert(connection("a", 1, &["red"]));
    connections.insert(connection("b", 2, &[]));
    Turn::new(Arc::new(EmptyView), Arc::new(connections), Some(Serial(1)), LIMITS().into())
}

fn text(text: &str) -> Message {
    Message::text(text)
}

fn put(turn: &mut Turn, key: &str, value: &str) -> Result<(), Refusal> {
    turn.put(vec![(key.as_bytes().to_vec(), Bytes::copy_from_slice(value.as_bytes()))])
}

#[test]
fn sends_are_bounded_by_count_size_and_sum() {
    let mut by_count = turn();
    assert_eq!(by_count.send("a", text("eleven byte")), Err(Refusal::TooLarge(10)));
    assert_eq!(by_count.send("x", text("1")), Err(Refusal::NotFound));
    assert_eq!(by_count.send("a", text("1")), Ok(()));
    assert_eq!(by_count.broadcast(text("2"), None, &[]), Ok(()));
    assert_eq!(by_count.close("b", CloseFrame::new(1000, "")), Ok(()));
    assert_eq!(by_count.send("a", text("4")), Err(Refusal::UsedUp("turn_sends_max")));
    let mut by_sum = turn();
    assert_eq!(by_sum.send("a", text("0123456789")), Ok(()));
    assert_eq!(by_sum.send("a", text("0123456789")), Ok(()));
    assert_eq!(by_sum.send("a", text("x")), Err(Refusal::UsedUp("turn_send_bytes_max")));
    assert_eq!(by_sum.finish().unwrap().outputs.len(), 2);
}

#[test]
fn writes_are_bounded_and_a_refused_put_changes_nothing() {
    let mut turn = turn();
    assert_eq!(put(&mut turn, "", "v"), Err(Refusal::Key(4)));
    assert_eq!(put(&mut turn, "12345", "v"), Err(Refusal::Key(4)));
    assert_eq!(put(&mut turn, "k", "eleven byte"), Err(Refusal::TooLarge(10)));
    let entry = |key: &[u8], value: &'static [u8]| (key.to_vec(), Bytes::from_static(value));
    let second_is_bad = vec![entry(b"a", b"1"), entry(b"12345", b"1")];
    assert_eq!(turn.put(second_is_bad), Err(Refusal::Key(4)));
    assert_eq!(turn.get(b"a"), Ok(None));
    for key in ["a", "b", "c"] {
        assert_eq!(put(&mut turn, key, "1"), Ok(()));
    }
    assert_eq!(put(&mut turn, "d", "1"), Err(Refusal::UsedUp("turn_writes_max")));
    // A key that is written again takes no further space.
    assert_eq!(put(&mut turn, "a", "0123456789"), Ok(()));
    assert_eq!(put(&mut turn, "b", "0123456789"), Err(Refusal::UsedUp("turn_write_bytes_max")));
    assert_eq!(put(&mut turn, "a", "0"), Ok(()));
    assert_eq!(put(&mut turn, "b", "0123456789"), Ok(()));
    // Removed keys do not count any more.
    turn.delete_all();
    assert_eq!(put(&mut turn, "d", "0123456789"), Ok(()));
    let writes = turn.finish().unwrap().writes;
    assert_eq!((writes.cleared, writes.keys.len()), (Cleared::Yes, 1));
}

#[test]
fn a_turn_sees_its_own_changes_of_connections() {
    let mut turn = turn();
    let open = |turn: &Turn, tag| turn.open(tag).map(|c| c.id.to_string()).collect::<Vec<_>>();
    assert_eq!(open(&turn, Some("red")), ["a"]);
    assert_eq!(turn.set_tags(Serial(2), vec!["red".to_owned()]), Ok(()));
    assert_eq!(open(&turn, Some("red")), ["a", "b"]);
    assert_eq!(turn.set_state("a", Bytes::from_static(b"123456")), Err(Refusal::StateTooLarge(5)));
    assert_eq!(turn.set_state("a", Bytes::from_static(b"12345")), Ok(()));
    assert_eq!(turn.state_of(turn.connection("a").unwrap()), "12345");
    assert_eq!(turn.close("b", CloseFrame::new(4000, "bye")), Ok(()));
    assert_eq!(open(&turn, None), ["a"]);
    assert_eq!(turn.send("b", text("late")), Err(Refusal::NotFound));
}

#[test]
fn closing_a_closed_connection_changes_nothing_and_is_not_an_error() {
    let mut turn = turn();
    assert_eq!(turn.close("b", CloseFrame::new(4000, "first")), Ok(()));
    for _ in 0..LIMITS().turn_sends_max {
        assert_eq!(turn.close("b", CloseFrame::new(4001, "again")), Ok(()));
    }
    assert_eq!(turn.close("nobody", CloseFrame::new(4000, "")), Err(Refusal::NotFound));
    let first = Output::Close { to: Serial(2), frame: CloseFrame::new(4000, "first") };
    assert_eq!(turn.finish().unwrap().outputs, [first]);

    // The connection that ended, as `on_close` sees it.
    let mut connections = Connections::default();
    connections.insert(Connection { link: Link::Closing, ..connection("a", 1, &[]) });
    let mut turn =
        Turn::new(Arc::new(EmptyView), Arc::new(connections), Some(Serial(1)), LIMITS().into());
    assert_eq!(turn.close("a", CloseFrame::new(1000, "")), Ok(()));
    assert_eq!(turn.finish().unwrap().outputs, []);
}

#[test]
fn the_connection_of_an_event_is_found_even_if_it_is_closed() {
    let mut turn = turn();
    assert_eq!(turn.close("a", CloseFrame::new(1000, "")), Ok(()));
    assert_eq!(turn.close("b", CloseFrame::new(1000, "")), Ok(()));
    assert!(turn.connection("a").is_some() && turn.connection("b").is_none());
}

#[test]
fn tags_are_bounded() {
    let mut turn = turn();
    let mut set = |tags: &[&str]| {
        turn.set_tags(Serial(1), tags.iter().map(|tag| (*tag).to_owned()).collect())
    };
    assert_eq!(set(&["1", "2", "3"]), Err(Refusal::UsedUp("connection_tags_max")));
    assert!(matches!(set(&["four"]), Err(Refusal::Invalid(_))));
    assert!(matches!(set(&[""]), Err(Refusal::Invalid(_))));
    assert_eq!(set(&["one", "two"]), Ok(()));
}

#[test]
fn only_close_frames_that_a_room_may_send_are_accepted() {
    for code in [0, 999, 1004, 1006, 1015, 5000, u16::MAX] {
        let refused = turn().close("a", CloseFrame::new(code, ""));
        assert!(matches!(refused, Err(Refusal::Invalid(_))), "{code}");
    }
    let frame = CloseFrame { code: 4000, reason: "x".repeat(124) };
    assert!(matches!(turn().close("a", frame), Err(Refusal::Invalid(_))));
    let frame = CloseFrame { code: CloseFrame::NO_CODE, reason: "why".to_owned() };
    assert!(matches!(turn().close("a", frame), Err(Refusal::Invalid(_))));
    for code in [1000, 1001, 1003, CloseFrame::NO_CODE, 1007, 1014, 1016, 2999, 3000, 4999] {
        assert_eq!(turn().close("a", CloseFrame::new(code, "")), Ok(()), "{code}");
    }
}

#[test]
fn a_page_ends_at_its_limit_and_reports_more() {
    let mut turn = turn();
    for key in ["a", "b", "c"] {
        put(&mut turn, key, "1").unwrap();
    }
    let list = |turn: &mut Turn, limit| {
        let page = turn.list(&ListOptions { limit, ..ListOptions::default() }).unwrap();
        (page.entries.len(), page.more)
    };
    assert_eq!(list(&mut turn, None), (2, true));
    assert_eq!(list(&mut turn, Some(2)), (2, false));
    assert_eq!(list(&mut turn, Some(1)), (1, false));
    assert_eq!(list(&mut turn, Some(3)), (2, true));
    let (start, start_after) = (Some(b"a".to_vec()), Some(b"a".to_vec()));
    let both = turn.list(&ListOptions { start, start_after, ..ListOptions::default() });
    assert!(matches!(both, Err(Refusal::Invalid(_))));
}

#[test]
fn an_alarms_turn_removes_it_unless_it_sets_another() {
    let mut alarm = turn().for_alarm(0);
    assert_eq!(alarm.alarm(), None);
    alarm.set_alarm(7);
    assert_eq!(alarm.finish().unwrap().writes.alarm, AlarmChange::Set(7));
    assert_eq!(turn().for_alarm(0).finish().unwrap().writes.alarm, AlarmChange::Delete);
    assert!(turn().finish().unwrap().writes.is_empty());
}

/// A store that cannot read.
struct Unreadable;

impl View for Unreadable {
    fn get(&self, _: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Err(ReadError("the disk is gone".to_owned()))
    }

    fn value_len(&self, _: &[u8]) -> Result<Option<usize>, ReadError> {
        Err(ReadError("the disk is gone".to_owned()))
    }

    fn scan<'a>(&'a self, _: &Span) -> Entries<'a, ReadError> {
        Box::new(std::iter::once(Err(ReadError("the disk is gone".to_owned()))))
    }

    fn alarm(&self) -> Option<u64> {
        None
    }

    fn bytes_at_most(&self) -> u64 {
        0
    }

    fn bytes(&self) -> u64 {
        0
    }
}

#[test]
fn a_turn_that_could_not_read_does_not_commit() {
    let mut turn = Turn::new(Arc::new(Unreadable), Arc::default(), None, LIMITS().into());
    assert_eq!(turn.get(b"k"), Err(Refusal::Unavailable));
    assert_eq!(turn.list(&ListOptions::default()), Err(Refusal::Unavailable));
    assert_eq!(put(&mut turn, "k", "v"), Ok(()));
    assert_eq!(turn.finish().err(), Some(ReadError("the disk is gone".to_owned())));
}
