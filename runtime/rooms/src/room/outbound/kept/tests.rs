//! Logs on a store: rooms that restart at random, and clients that continue.

use super::super::super::returning::Gap;
use super::super::SharedLog;
use super::*;
use proptest::prelude::*;
use room_core::byte_budget::ByteBudget;
use room_core::clock::Clock;
use room_core::config::{HistoryAccess, HistoryDurability, Retention};
use room_core::connection::{Connection, connection};
use room_core::id::{ModuleHash, PartyName, RoomId};
use room_core::limits::Limits;
use room_core::turn::{History, HistoryQuery, HistoryRefusal, Output, Writes};
use room_store::{CommitExtras, RoomStore, Store};

fn retention(messages_max: usize) -> Retention {
    Retention {
        resume_ms: 60_000,
        history: HistoryAccess::Everyone,
        messages_max,
        bytes_max: 1 << 20,
        keep_ms: u64::MAX,
        durability: HistoryDurability::Stored,
    }
}

fn logs() -> Logs {
    Logs::new(&Limits::default(), Clock::system())
}

fn mark(client: u8) -> ClientMark {
    ClientMark([client; 16])
}

fn all(text: &str) -> Output {
    Output::Broadcast { message: Message::text(text), tag: None, without: BTreeSet::new() }
}

/// A room's store and log, without the room.
struct Place {
    store: Store,
    own: RoomStore,
    log: OutboundLog,
    settings: Retention,
    budget: ByteBudget,
}

impl Place {
    async fn new(settings: Retention) -> Self {
        let store = Store::in_memory(&Limits::default()).unwrap();
        let budget = ByteBudget::new(1 << 20);
        let (own, log) = Self::activate(&store, settings, &budget).await;
        Self { store, own, log, settings, budget }
    }

    async fn activate(
        store: &Store,
        settings: Retention,
        budget: &ByteBudget,
    ) -> (RoomStore, OutboundLog) {
        let id = RoomId::new(PartyName::parse("main").unwrap(), "lobby", 256).unwrap();
        let own = store.room(&id).await.unwrap();
        let mut log = OutboundLog::new(own.sequence().last(), settings, budget);
        let facts = own.facts().outbound;
        log.keep(Some(KeptLog::of((own.outbound(), logs()), facts)), facts);
        (own, log)
    }

    async fn restart(&mut self) {
        // As if the former room were gone: its commits are in the tree.
        self.facts().await;
        (self.own, self.log) = Self::activate(&self.store, self.settings, &self.budget).await;
    }

    /// Runs a turn with these outputs, of an event that has a number, too.
    async fn turn(
        &mut self,
        outputs: &[Output],
        mark_of: impl Fn(Serial) -> Option<ClientMark>,
        (horizon, now_ms): (u64, u64),
    ) -> Vec<Arc<LogEntry>> {
        self.own.sequence().take(1);
        let first = self.own.sequence().take(outputs.len());
        let newest = Some(Serial(horizon));
        let entries = self.log.append_marked((first, outputs), newest, now_ms, mark_of);
        if !entries.is_empty() || self.log.has_to_begin() {
            let outbound = self.log.take_change(&entries);
            let extras = CommitExtras { outbound, ..CommitExtras::default() };
            let code = ModuleHash::NONE;
            self.own.commit_with(Writes::default(), code, None, extras).await.unwrap();
        }
        entries
    }

    /// Says this to all, in a turn that is durable.
    async fn say(&mut self, text: &str, now_ms: u64) -> SequenceNumber {
        let entries = self.turn(&[all(text)], |_| None, (0, now_ms)).await;
        let number = entries[0].number;
        self.log.release(number, now_ms);
        number
    }

    fn below(&self) -> usize {
        self.log.kept.as_ref().and_then(|kept| kept.below()).map_or(0, |(_, entries, _)| entries)
    }

    /// Returns the facts of the room, as of its last commit.
    async fn facts(&self) -> Option<OutboundFacts> {
        self.store.facts(self.own.outbound().room()).await.unwrap().and_then(|facts| facts.outbound)
    }

    async fn stored(&self) -> u64 {
        self.facts().await.map_or(0, |facts| facts.entries)
    }
}

fn texts<'a>(entries: impl IntoIterator<Item = &'a Arc<LogEntry>>) -> Vec<String> {
    let text = |entry: &Arc<LogEntry>| match entry.message() {
        Message::Text(text) => text.as_str().to_owned(),
        Message::Binary(bytes) => format!("{bytes:?}"),
    };
    entries.into_iter().map(text).collect()
}

#[tokio::test]
async fn a_restarted_room_reads_its_messages_only_when_a_client_needs_them() {
    let mut place = Place::new(retention(10)).await;
    let begun = place.log.position();
    let first = place.say("one", 0).await;
    let last = place.say("two", 0).await;
    place.restart().await;
    assert_eq!((place.below(), place.log.position()), (2, last));
    assert_eq!(place.log.since(last, 0).map(texts), Ok(vec![]));
    assert_eq!(place.below(), 2, "a client that has everything needs nothing of the disk");
    place.say("three", 0).await;
    assert_eq!(place.log.since(last, 0).map(texts), Ok(vec!["three".to_owned()]));
    assert_eq!(place.below(), 2);
    let missed = place.log.since(first, 0).map(texts);
    assert_eq!(missed, Ok(vec!["two".to_owned(), "three".to_owned()]));
    assert_eq!((place.below(), place.log.summary(0).entries), (0, 3));
    let whole = place.log.since(begun, 0).map(texts);
    assert_eq!(whole.map(|whole| whole.len()), Ok(3), "the beginning is an id, too");
}

#[tokio::test]
async fn an_id_of_a_time_that_was_undone_is_unknown_and_one_of_a_forgotten_time_is_too_old() {
    let mut place = Place::new(retention(2)).await;
    let begun = place.log.position();
    for text in ["one", "two", "three"] {
        place.say(text, 0).await;
    }
    place.restart().await;
    assert_eq!(place.log.since(begun, 0).map(texts), Err(Gap::TooOld));
    let newest = place.log.position();
    let undone = SequenceNumber { seq: newest.seq + 1, ..newest };
    assert_eq!(place.log.since(undone, 0).map(texts), Err(Gap::UnknownId));
    place.say("four", 0).await;
    assert_eq!(place.log.since(undone, 0).map(texts), Err(Gap::UnknownId), "not the end");
}

#[tokio::test]
async fn the_store_forgets_with_the_log_though_nobody_reads_it() {
    let mut place = Place::new(retention(5)).await;
    for round in 0..4 {
        for at in 0..6 {
            place.say(&format!("{round} {at}"), 0).await;
        }
        place.restart().await;
        // What the last commit could not know of is forgotten by the next.
        assert!(place.stored().await <= 6, "{}", place.stored().await);
    }
    let query = HistoryQuery::default();
    let log = std::mem::replace(
        &mut place.log,
        OutboundLog::new(SequenceNumber::default(), place.settings, &place.budget),
    );
    let page = SharedLog::new(log).read(&query, 1 << 20).unwrap();
    let read: Vec<_> = page.messages.iter().map(|sent| sent.message.clone()).collect();
    assert_eq!(read, ["3 1", "3 2", "3 3", "3 4", "3 5"].map(Message::text));
}

#[tokio::test]
async fn old_messages_are_forgotten_in_bounded_steps() {
    let settings = Retention { keep_ms: 1_000, ..retention(1_000) };
    let mut place = Place::new(settings).await;
    let outputs = vec![all("old"); 300];
    let entries = place.turn(&outputs, |_| None, (0, 0)).await;
    place.log.release(entries[299].number, 0);
    place.log.prune(5_000);
    assert_eq!(place.log.summary(0).entries, 0);
    place.say("young", 5_000).await;
    assert_eq!(place.stored().await, 301 - 66);
    for _ in 0..4 {
        place.say("young", 5_000).await;
    }
    assert_eq!(place.stored().await, 5);
}

#[tokio::test]
async fn a_client_gets_what_it_missed_though_the_node_has_no_memory_for_it() {
    let mut place = Place::new(retention(10)).await;
    let begun = place.log.position();
    let text = "x".repeat(6_000);
    for _ in 0..3 {
        place.say(&text, 0).await;
    }
    place.budget = ByteBudget::new(0);
    place.restart().await;
    for _ in 0..2 {
        let missed = place.log.since(begun, 0).map(texts);
        assert_eq!(missed.map(|texts| texts.len()), Ok(3));
        place.log.prune(0);
        assert!(place.below() >= 2, "the store alone has most of them again");
    }
}

#[tokio::test]
async fn a_node_without_memory_left_forgets_no_stored_message() {
    let mut place = Place::new(retention(100)).await;
    let begun = place.log.position();
    place.say("x", 0).await;
    let mut others = place.budget.permit();
    assert!(others.cover((1 << 20) - 8_192));
    let text = "x".repeat(6_000);
    for _ in 0..5 {
        place.say(&text, 0).await;
    }
    assert!(place.below() >= 4, "memory has no space for them");
    assert_eq!((place.log.summary(0).entries, place.stored().await), (6, 6));
    drop(others);
    assert_eq!(place.log.since(begun, 0).map(texts).map(|texts| texts.len()), Ok(6));
    assert_eq!(place.below(), 0);
}

#[tokio::test]
async fn a_damaged_entry_is_a_gap_and_what_follows_it_is_read() {
    let mut place = Place::new(retention(10)).await;
    let first = place.say("one", 0).await;
    let second = place.say("two", 0).await;
    place.say("three", 0).await;
    let entries = [(second, Bytes::from_static(b"not an entry"))].into();
    let change = OutboundChange { entries, ..OutboundChange::default() };
    let extras = CommitExtras { outbound: Some(Box::new(change)), ..CommitExtras::default() };
    place.own.commit_with(Writes::default(), ModuleHash::NONE, None, extras).await.unwrap();
    place.restart().await;
    assert_eq!(place.log.since(first, 0).map(texts), Err(Gap::TooOld));
    assert_eq!(place.log.since(second, 0).map(texts), Ok(vec!["three".to_owned()]));
    place.say("four", 0).await;
    assert_eq!(place.stored().await, 2, "the next commit deletes what cannot be read");
}

#[tokio::test]
async fn a_turn_reads_what_was_sent_before_a_restart() {
    let mut place = Place::new(retention(10)).await;
    let first = place.say("one", 7).await;
    place.say("two", 8).await;
    place.restart().await;
    let undone = SequenceNumber { seq: 99, ..first };
    let log = std::mem::replace(
        &mut place.log,
        OutboundLog::new(SequenceNumber::default(), place.settings, &place.budget),
    );
    let log = SharedLog::new(log);
    let after = |after| HistoryQuery { after: Some(after), ..HistoryQuery::default() };
    let page = log.read(&after(first), 1 << 20).unwrap();
    assert_eq!((page.messages.len(), page.messages[0].at_ms), (1, 8));
    assert_eq!(log.read(&after(undone), 1 << 20), Err(HistoryRefusal::Forgotten));
    assert_eq!(log.read(&HistoryQuery::default(), 1 << 20).map(|page| page.messages.len()), Ok(2));
}

fn entries() -> impl Strategy<Value = LogEntry> {
    let message = prop_oneof![
        ".{0,20}".prop_map(Message::text),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Message::Binary(bytes.into())),
    ];
    let audience = prop_oneof![
        Just(LogAudience::One(NOBODY)),
        prop::option::of("[a-z]{0,9}")
            .prop_map(|tag| { LogAudience::Many { tag, without: BTreeSet::new(), horizon: None } }),
    ];
    let marks = prop::collection::vec(any::<u8>().prop_map(mark), 0..4);
    (message, audience, marks, any::<u64>()).prop_map(|(message, audience, marks, at_ms)| {
        let (number, framed) = (SequenceNumber { epoch: 7, seq: 42 }, OnceLock::new());
        LogEntry { number, message, audience, at_ms, marks: marks.into(), framed }
    })
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
    /// The room is gone, with all its connections, and comes again.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::vec(0..7_u8, 0..4).prop_map(Step::Turn),
        5 => Just(Step::Durable),
        2 => (0..3_usize, 0..3_usize).prop_map(|(who, lost)| Step::Lost(who, lost)),
        3 => (0..3_usize).prop_map(Step::Back),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

/// A client with its connection, and all that it is owed.
struct Client {
    /// `None` from the end of its room to its return.
    own: Option<Connection>,
    is_away: bool,
    tags: &'static [&'static str],
    mark: ClientMark,
    former: Option<SequenceNumber>,
    got: Vec<SequenceNumber>,
    owed: Vec<SequenceNumber>,
    begun: SequenceNumber,
}

impl Client {
    fn cursor(&self) -> SequenceNumber {
        self.got.last().copied().unwrap_or(self.begun)
    }

    /// Comes back to its connection, or continues it with a new one of this serial.
    fn come_back(&mut self, log: &mut OutboundLog, serial: u64) -> Result<(), TestCaseError> {
        if self.own.is_some() && !self.is_away {
            return Ok(());
        }
        let (cursor, forgets) = (self.cursor(), log.floor);
        let is_new = self.own.is_none();
        if is_new {
            self.own = Some(connection("client", serial, self.tags));
            self.former = Some(cursor);
        }
        self.is_away = false;
        let Some(own) = &self.own else { return Ok(()) };
        let (mark, continues) = (self.mark, self.former.is_some());
        let is_owed = |entry: &&Arc<LogEntry>| {
            (continues && entry.was_for(own, mark)) || (!is_new && entry.is_for(own))
        };
        let missed = log.since(cursor, 0);
        match missed.map(|missed| missed.filter(is_owed).map(|entry| entry.number).collect()) {
            Ok::<Vec<_>, _>(missed) => {
                self.got.extend(missed);
                prop_assert_eq!(&self.got, &self.owed);
            }
            Err(gap) => {
                prop_assert_eq!(gap, Gap::TooOld, "no id of an honest client is unknown");
                prop_assert!(forgets > cursor || log.floor > cursor, "nothing is forgotten");
                self.begun = log.position();
                (self.got, self.owed, self.former) = (vec![], vec![], None);
                self.own = Some(connection("client", serial, self.tags));
            }
        }
        Ok(())
    }
}

/// A turn that waits: its entries, with the clients that each one is for.
type HeldTurn = Vec<(Arc<LogEntry>, [bool; 3])>;

fn output(to: u8, clients: &[Client]) -> Option<(Output, [bool; 3])> {
    let serial = |at: usize| clients[at].own.as_ref().map(|own| own.serial);
    let message = Message::text("x");
    let many = |tag: Option<&str>, without: BTreeSet<Serial>| Output::Broadcast {
        message: Message::text("x"),
        tag: tag.map(str::to_owned),
        without,
    };
    let red = [true, true, false];
    Some(match to {
        0..3 => {
            let to = usize::from(to);
            (Output::Send { to: serial(to)?, message }, [0, 1, 2].map(|at| at == to))
        }
        3 => (many(None, BTreeSet::new()), [true; 3]),
        4 => {
            let out = [0, 1].map(|at| serial(at).is_some());
            (many(None, [0, 1].into_iter().filter_map(serial).collect()), [!out[0], !out[1], true])
        }
        5 => (many(Some("red"), BTreeSet::new()), red),
        _ => {
            (many(Some("red"), serial(0).into_iter().collect()), [serial(0).is_none(), true, false])
        }
    })
}

fn is_durable(log: &mut OutboundLog, turn: HeldTurn, clients: &mut [Client]) {
    if let Some((newest, _)) = turn.last() {
        log.release(newest.number, 0);
    }
    for (entry, owed) in turn {
        for (client, _) in clients.iter_mut().zip(owed).filter(|(_, owed)| *owed) {
            client.owed.push(entry.number);
            if client.own.is_some() && !client.is_away {
                client.got.push(entry.number);
            }
        }
    }
}

/// Returns three clients that are connected.
fn people(begun: SequenceNumber) -> Vec<Client> {
    [(1, &["red"][..]), (2, &["red"]), (3, &[])]
        .map(|(serial, tags)| Client {
            own: Some(connection("client", serial, tags)),
            is_away: false,
            tags,
            mark: mark(u8::try_from(serial).unwrap()),
            former: None,
            got: vec![],
            owed: vec![],
            begun,
        })
        .into()
}

async fn live(steps: Vec<Step>, messages_max: usize) -> Result<(), TestCaseError> {
    let mut place = Place::new(retention(messages_max)).await;
    place.turn(&[], |_| None, (0, 0)).await;
    let begun = place.log.position();
    let mut serials = 3;
    let mut clients = people(begun);
    let mut held: VecDeque<HeldTurn> = VecDeque::new();
    for step in steps {
        match step {
            Step::Turn(to) => {
                let outputs = to.into_iter().filter_map(|to| output(to, &clients));
                let (outputs, owed): (Vec<_>, Vec<_>) = outputs.unzip();
                let mark_of = |serial| {
                    let own = |client: &&Client| {
                        client.own.as_ref().is_some_and(|own| own.serial == serial)
                    };
                    clients.iter().find(own).map(|client| client.mark)
                };
                let entries = place.turn(&outputs, mark_of, (serials, 0)).await;
                held.push_back(entries.into_iter().zip(owed).collect());
            }
            Step::Durable => {
                if let Some(turn) = held.pop_front() {
                    is_durable(&mut place.log, turn, &mut clients);
                }
            }
            Step::Lost(who, lost) => {
                let client = &mut clients[who];
                if client.own.is_some() && !client.is_away {
                    client.is_away = true;
                    // What it had when it continued does not get lost again.
                    let floor = client.former.unwrap_or_default();
                    let had = client.got.partition_point(|own| *own <= floor);
                    client.got.truncate(client.got.len().saturating_sub(lost).max(had));
                }
            }
            // A client is admitted when what the gate holds has left.
            Step::Back(who) => {
                while let Some(turn) = held.pop_front() {
                    is_durable(&mut place.log, turn, &mut clients);
                }
                serials += 1;
                clients[who].come_back(&mut place.log, serials)?;
            }
            Step::Restart => {
                // What was committed is durable, though the room told nobody.
                for client in &mut clients {
                    client.own = None;
                }
                while let Some(turn) = held.pop_front() {
                    is_durable(&mut place.log, turn, &mut clients);
                }
                place.restart().await;
                // Serials are those of an activation.
                serials = 0;
            }
        }
    }
    while let Some(turn) = held.pop_front() {
        is_durable(&mut place.log, turn, &mut clients);
    }
    for client in &mut clients {
        serials += 1;
        client.come_back(&mut place.log, serials)?;
        prop_assert_eq!(&client.got, &client.owed);
    }
    prop_assert!(place.log.summary(0).entries <= messages_max);
    prop_assert_eq!(place.store.verify().await.unwrap().problems, Vec::<String>::new());
    Ok(())
}

proptest! {
    #[test]
    fn an_entry_is_read_back_and_any_bytes_are_one_or_damaged(
        entry in entries(),
        other in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let read = decode(entry.number, encode(&entry)).unwrap();
        let is_told = entry.audience != LogAudience::One(NOBODY) || !entry.marks.is_empty();
        prop_assert_eq!(read.at_ms, entry.at_ms);
        prop_assert_eq!((&read.audience, &read.marks), (&entry.audience, &entry.marks));
        match is_told {
            true => prop_assert_eq!(read.message, entry.message),
            false => prop_assert!(read.message.is_empty()),
        }
        drop(decode(entry.number, other.into()));
    }

    #[test]
    fn a_client_gets_everything_once_in_order_or_a_gap_though_its_room_restarts(
        steps in steps(),
        messages_max in prop_oneof![1..8_usize, Just(500)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(live(steps, messages_max))?;
    }
}
