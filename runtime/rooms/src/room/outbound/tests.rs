//! The log against a memory that forgets nothing, with clients that are lost and come back at random.

use super::super::returning::AbsenceMarks;
use super::*;
use proptest::prelude::*;
use room_core::config::HistoryDurability;
use room_core::connection::connection;

const DAY_MS: u64 = 86_400_000;

fn number(seq: u64) -> SequenceNumber {
    SequenceNumber { epoch: 7, seq }
}

fn retention(messages_max: usize) -> Retention {
    Retention {
        resume_ms: 60_000,
        history: HistoryAccess::Everyone,
        messages_max,
        bytes_max: 1 << 20,
        keep_ms: DAY_MS,
        durability: HistoryDurability::Memory,
    }
}

fn log(messages_max: usize) -> OutboundLog {
    OutboundLog::new(number(0), retention(messages_max), &ByteBudget::new(1 << 20))
}

fn all(text: &str) -> Output {
    Output::Broadcast { message: Message::text(text), tag: None, without: BTreeSet::new() }
}

/// Says this to all, in a turn of its own that is durable.
fn say(log: &mut OutboundLog, seq: u64, text: &str, now_ms: u64) {
    log.append(number(seq), &[all(text)], Some(Serial(9)), now_ms);
    log.release(number(seq), now_ms);
}

fn seqs<'a>(entries: impl IntoIterator<Item = &'a Arc<LogEntry>>) -> Vec<u64> {
    entries.into_iter().map(|entry| entry.number.seq).collect()
}

#[test]
fn a_cursor_gets_what_followed_it_and_a_forgotten_one_gets_a_gap() {
    let mut log = log(3);
    assert_eq!(log.position(), number(0));
    assert_eq!(log.since(number(0), 0).map(seqs), Ok(vec![]));
    for seq in [2, 3, 5, 8] {
        say(&mut log, seq, "hi", 0);
    }
    assert_eq!(log.since(number(2), 0).map(seqs), Ok(vec![3, 5, 8]), "the newest forgotten one");
    assert_eq!(log.since(number(3), 0).map(seqs), Ok(vec![5, 8]));
    assert_eq!(log.since(number(8), 0).map(seqs), Ok(vec![]));
    assert_eq!(log.since(number(0), 0).map(seqs), Err(Gap::TooOld));
    for unknown in [number(4), number(9), SequenceNumber { epoch: 8, seq: 1 }] {
        assert_eq!(log.since(unknown, 0).map(seqs), Err(Gap::UnknownId), "{unknown}");
    }
    let earlier = SequenceNumber { epoch: 6, seq: 1_000 };
    assert_eq!(log.since(earlier, 0).map(seqs), Err(Gap::TooOld));
}

#[test]
fn entries_that_may_be_lost_are_shown_to_nobody_and_not_forgotten() {
    let mut log = log(1);
    say(&mut log, 1, "durable", 0);
    log.append(number(2), &[all("held"), all("held, too")], Some(Serial(9)), 0);
    assert_eq!(log.position(), number(1));
    assert_eq!(log.since(number(1), DAY_MS * 2).map(seqs), Ok(vec![]));
    assert_eq!(log.since(number(2), 0).map(seqs), Err(Gap::UnknownId));
    log.release(number(3), 0);
    assert_eq!(log.position(), number(3));
    assert_eq!(log.since(number(2), 0).map(seqs), Ok(vec![3]));
    log.clear(number(3));
    log.release(number(9), 0);
    assert_eq!((log.position(), log.bytes, log.permit.cover(0)), (number(3), 0, true));
}

#[test]
fn the_log_forgets_by_count_by_bytes_and_by_time() {
    let mut by_time = log(10);
    say(&mut by_time, 1, "old", 1_000);
    say(&mut by_time, 2, "young", DAY_MS);
    assert_eq!(by_time.since(number(0), DAY_MS + 1_000).map(seqs), Ok(vec![1, 2]));
    assert_eq!(by_time.since(number(1), DAY_MS + 1_001).map(seqs), Ok(vec![2]));
    assert_eq!(by_time.since(number(0), DAY_MS + 1_001).map(seqs), Err(Gap::TooOld));

    let settings = Retention { bytes_max: 10_000, ..retention(100) };
    let mut by_bytes = OutboundLog::new(number(0), settings, &ByteBudget::new(1 << 20));
    for seq in 1..=5 {
        say(&mut by_bytes, seq, &"x".repeat(3_000), 0);
    }
    assert!(by_bytes.bytes <= 10_000);
    assert_eq!(by_bytes.since(number(2), 0).map(seqs), Ok(vec![3, 4, 5]));
    assert_eq!(by_bytes.since(number(1), 0).map(seqs), Err(Gap::TooOld));
}

#[test]
fn a_node_without_memory_left_makes_a_room_forget_its_own_oldest_messages() {
    let budget = ByteBudget::new(32 * 1024);
    let mut other = budget.permit();
    assert!(other.cover(16 * 1024));
    let mut log = OutboundLog::new(number(0), retention(100), &budget);
    for seq in 1..=20 {
        say(&mut log, seq, &"x".repeat(3_000), 0);
    }
    assert!(budget.granted() <= 32 * 1024);
    let kept = log.since(number(18), 0).map(seqs);
    assert_eq!(kept, Ok(vec![19, 20]), "the newest are there");
    assert_eq!(log.since(number(1), 0).map(seqs), Err(Gap::TooOld));
    drop(log);
    assert_eq!(budget.granted(), 16 * 1024);
}

#[test]
fn a_new_connection_may_read_what_was_sent_to_all_and_to_its_tags() {
    let mut log = log(100);
    let tagged = |tag: &str| {
        let (message, tag) = (Message::text("tagged"), Some(tag.to_owned()));
        Output::Broadcast { message, tag, without: [Serial(1)].into() }
    };
    let direct = Output::Send { to: Serial(1), message: Message::text("for one") };
    let outputs = [all("1"), tagged("red"), direct, tagged("blue"), all("5")];
    log.append(number(1), &outputs, Some(Serial(1)), 5_000);
    log.append(number(6), &[all("held")], Some(Serial(1)), 5_000);
    log.release(number(5), 5_000);
    let late = connection("late", 4, &["red"]);
    let mut read = |rewind, now_ms| log.rewound(rewind, &late, now_ms).map(|own| seqs(&own));
    assert_eq!(read(Rewind::Messages(2), 5_000), Ok(vec![2, 5]));
    assert_eq!(read(Rewind::Messages(u64::MAX), 5_000), Ok(vec![1, 2, 5]));
    assert_eq!(read(Rewind::Ms(1_000), 6_000), Ok(vec![1, 2, 5]));
    assert_eq!(read(Rewind::Ms(999), 6_000), Ok(vec![]));
    assert_eq!(read(Rewind::Since(number(2)), 6_000), Ok(vec![5]));
    assert_eq!(read(Rewind::Since(number(4)), 6_000), Ok(vec![5]), "of another audience");
    assert_eq!(read(Rewind::Since(number(6)), 6_000), Err(Gap::UnknownId));
    let resuming = Retention { history: HistoryAccess::Resuming, ..retention(100) };
    log.set_retention(resuming, 5_000);
    let refused = log.rewound(Rewind::Messages(1), &late, 5_000);
    assert_eq!(refused.map(|own| seqs(&own)), Err(Gap::TooOld));
}

// Clients that are lost and come back.

/// Returns what is wrong with the messages that a client got, if it was owed these.
fn problem(got: &[SequenceNumber], owed: &[SequenceNumber]) -> Option<String> {
    if got.is_sorted_by(|a, b| a < b) && got == owed {
        return None;
    }
    let missing = owed.iter().find(|own| !got.contains(own));
    let extra = got.iter().find(|own| !owed.contains(own));
    Some(format!("missing {missing:?}, not owed {extra:?}, or twice or out of order: {got:?}"))
}

#[test]
fn the_checker_finds_lost_doubled_swapped_and_foreign_messages() {
    let owed = [number(1), number(2), number(5)];
    assert_eq!(problem(&owed, &owed), None);
    for got in [&[1, 5][..], &[1, 2], &[1, 2, 2, 5], &[2, 1, 5], &[1, 2, 4, 5], &[]] {
        let got: Vec<_> = got.iter().map(|seq| number(*seq)).collect();
        assert!(problem(&got, &owed).is_some(), "{got:?}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A turn with these outputs: to whom, by a number.
    Turn(Vec<u8>),
    /// The oldest turn that waits is durable.
    Durable,
    /// A client loses its transport, and this many of the messages on the way to it.
    Lost(usize, usize),
    Back(usize),
    Later(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => prop::collection::vec(0..8_u8, 0..4).prop_map(Step::Turn),
        5 => Just(Step::Durable),
        2 => (0..3_usize, 0..3_usize).prop_map(|(who, lost)| Step::Lost(who, lost)),
        3 => (0..3_usize).prop_map(Step::Back),
        1 => (0..40_000_u64).prop_map(Step::Later),
    ];
    prop::collection::vec(step, 1..80)
}

/// A client, and all that it is owed: what was sent to it since it came, or since its last gap.
struct Client {
    own: Connection,
    sent: SequenceNumber,
    absence: Option<AbsenceMarks>,
    got: Vec<SequenceNumber>,
    owed: Vec<SequenceNumber>,
    begun: SequenceNumber,
}

impl Client {
    fn cursor(&self) -> SequenceNumber {
        self.got.last().copied().unwrap_or(self.begun)
    }

    fn come_back(&mut self, log: &mut OutboundLog, now_ms: u64) -> Result<(), TestCaseError> {
        let Some(marks) = self.absence.take() else { return Ok(()) };
        let forgets = log.floor;
        let missed = log.since(marks.cursor(self.cursor()), now_ms);
        let own = |missed: &Arc<LogEntry>| missed.is_for(&self.own).then_some(missed.number);
        match missed.map(|missed| missed.filter_map(own).collect::<Vec<_>>()) {
            Ok(missed) => {
                self.got.extend(missed);
                prop_assert_eq!(problem(&self.got, &self.owed), None);
            }
            Err(gap) => {
                prop_assert_eq!(gap, Gap::TooOld, "no id of an honest client is unknown");
                let is_new = forgets == number(0) && log.floor == number(0);
                prop_assert!(!is_new, "a log that has forgotten nothing told of a gap");
                (self.got, self.owed, self.begun) = (vec![], vec![], log.position());
                self.sent = self.begun;
            }
        }
        Ok(())
    }
}

fn output(to: u8) -> Output {
    let message = Message::text("x");
    let many = |tag: Option<&str>, without: &[u64]| Output::Broadcast {
        message: Message::text("x"),
        tag: tag.map(str::to_owned),
        without: without.iter().map(|serial| Serial(*serial)).collect(),
    };
    match to {
        0..3 => Output::Send { to: Serial(u64::from(to) + 1), message },
        3 => many(None, &[]),
        4 => many(None, &[1, 2]),
        5 => many(Some("red"), &[]),
        6 => many(Some("red"), &[1]),
        _ => Output::Close { to: Serial(99), frame: room_core::event::CloseFrame::new(4000, "") },
    }
}

proptest! {
    #[test]
    fn a_client_that_comes_back_gets_everything_once_in_order_or_a_gap(
        steps in steps(),
        messages_max in 1..12_usize,
    ) {
        let mut log = log(messages_max);
        let settings = Retention { keep_ms: 60_000, ..retention(messages_max) };
        log.set_retention(settings, 0);
        let mut clients: Vec<_> = [(1, &["red"][..]), (2, &["red"]), (3, &[])]
            .map(|(serial, tags)| Client {
                own: connection(&serial.to_string(), serial, tags),
                sent: number(0),
                absence: None,
                got: vec![],
                owed: vec![],
                begun: number(0),
            })
            .into();
        let (mut next, mut now_ms, mut held) = (1, 0, VecDeque::new());
        for step in steps {
            match step {
                Step::Turn(to) => {
                    let outputs: Vec<_> = to.into_iter().map(output).collect();
                    held.push_back(log.append(number(next), &outputs, Some(Serial(3)), now_ms));
                    next += outputs.len() as u64 + 1;
                }
                Step::Durable => {
                    let Some(entries) = held.pop_front() else { continue };
                    if let Some(newest) = entries.last() {
                        log.release(newest.number, now_ms);
                    }
                    for entry in entries {
                        for client in clients.iter_mut().filter(|c| entry.is_for(&c.own)) {
                            client.owed.push(entry.number);
                            client.sent = entry.number;
                            if client.absence.is_none() {
                                client.got.push(entry.number);
                            }
                        }
                    }
                }
                Step::Lost(who, lost) => {
                    let client = &mut clients[who];
                    if client.absence.is_none() {
                        let marks = AbsenceMarks { sent: client.sent, position: log.position() };
                        client.absence = Some(marks);
                        client.got.truncate(client.got.len().saturating_sub(lost));
                    }
                }
                Step::Back(who) => clients[who].come_back(&mut log, now_ms)?,
                Step::Later(ms) => now_ms += ms,
            }
        }
        for client in &mut clients {
            client.come_back(&mut log, now_ms)?;
            prop_assert_eq!(problem(&client.got, &client.owed), None);
        }
    }
}

#[test]
fn a_turn_reads_what_earlier_turns_sent_to_all_and_to_tags_before_it_is_durable() {
    let mut log = log(100);
    let direct = Output::Send { to: Serial(1), message: Message::text("for one") };
    let tagged = Output::Broadcast {
        message: Message::text("2"),
        tag: Some("red".to_owned()),
        without: BTreeSet::new(),
    };
    log.append(number(1), &[all("1"), tagged, direct, all("4")], None, 5);
    let read = |log: &OutboundLog, limit, before: Option<u64>, after: Option<u64>| {
        let query = HistoryQuery { limit, before: before.map(number), after: after.map(number) };
        let page = log.page(&query, 1 << 20)?;
        let seqs: Vec<_> = page.messages.iter().map(|sent| sent.number.seq).collect();
        Ok::<_, HistoryRefusal>((seqs, page.more))
    };
    assert_eq!(read(&log, None, None, None), Ok((vec![1, 2, 4], false)));
    assert_eq!(read(&log, Some(2), None, None), Ok((vec![2, 4], true)));
    assert_eq!(read(&log, Some(0), None, None), Ok((vec![], true)));
    assert_eq!(read(&log, None, Some(4), Some(1)), Ok((vec![2], false)));
    assert_eq!(read(&log, None, Some(1), Some(4)), Ok((vec![], false)));
    assert_eq!(read(&log, None, Some(99), None), Ok((vec![1, 2, 4], false)));
    assert_eq!(read(&log, None, None, Some(9)), Err(HistoryRefusal::Forgotten));
    let page = log.page(&HistoryQuery::default(), 1).unwrap();
    assert_eq!((page.messages.len(), page.more), (1, true), "one fits in any case");
    let sent = &log.page(&HistoryQuery::default(), 1 << 20).unwrap().messages[1];
    assert_eq!((sent.at_ms, sent.tag.as_deref()), (5, Some("red")));
    log.set_retention(Retention { history: HistoryAccess::Resuming, ..retention(9) }, 5);
    assert_eq!(read(&log, None, None, None), Err(HistoryRefusal::NotKept));
}
