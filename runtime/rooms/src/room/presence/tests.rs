//! Every order in which users come, show themselves and go, against a reference; and clients that apply what they get.

use super::super::outbox::{ConnectionKey, Outbox, OutboxItem, OutboxSender, Outboxes};
use super::*;
use proptest::prelude::*;
use room_core::byte_budget::ByteBudget;
use room_core::connection::connection;
use room_core::event::{CloseFrame, Message};
use room_core::metrics::Metrics;
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;

const SETTINGS: Presence = Presence { grace_ms: 50, every_ms: 10, by: PresentBy::Client };
const USERS: [&str; 3] = ["ada", "bob", "cy"];

/// A connection of one of the users.
fn tab(user: &str, serial: u64) -> Connection {
    let claims = serde_json::json!({ "sub": user }).to_string();
    let identity = Some(Identity::new(claims, Capabilities::ALL, None));
    Connection { identity, ..connection(&format!("tab-{serial}"), serial, &[]) }
}

/// What a client knows, from the events that it got.
#[derive(Default)]
struct Known(BTreeMap<String, Value>);

impl Known {
    fn apply(&mut self, json: &str) {
        let event: Value = serde_json::from_str(json).unwrap();
        let event = event.as_object().unwrap();
        assert!(!event.is_empty(), "{json}");
        if let Some(all) = event.get("sync") {
            self.0.clear();
            self.put(all);
        }
        for key in ["joined", "updated"] {
            if let Some(entries) = event.get(key) {
                for entry in entries.as_array().unwrap() {
                    let known = self.0.contains_key(entry["user"].as_str().unwrap());
                    assert_eq!(known, key == "updated", "{json}");
                }
                self.put(entries);
            }
        }
        for user in event.get("left").and_then(Value::as_array).into_iter().flatten() {
            assert!(self.0.remove(user.as_str().unwrap()).is_some(), "{json}");
        }
    }

    fn put(&mut self, entries: &Value) {
        for entry in entries.as_array().unwrap() {
            self.0.insert(entry["user"].as_str().unwrap().to_owned(), entry.clone());
        }
    }
}

/// A client with a socket of its own, which applies what it takes.
struct Follower {
    sender: OutboxSender,
    _outbox: Outbox,
    outboxes: Outboxes,
    known: Known,
}

impl Follower {
    fn new(shared: &SharedPresence) -> Self {
        Self::within(shared, &ByteBudget::new(1 << 20))
    }

    fn within(shared: &SharedPresence, budget: &ByteBudget) -> Self {
        let outboxes = Outboxes::new(&Limits::default(), Metrics::new().rooms, budget.clone());
        let (sender, outbox) = outboxes.open(ConnectionKey(0));
        sender.follow(shared);
        Self { sender, _outbox: outbox, outboxes, known: Known::default() }
    }

    /// Takes what waits. What was taken before is written by then.
    fn taken(&self) -> Vec<OutboxItem> {
        let mut said = Vec::new();
        self.outboxes.take(9, &mut said);
        said
    }

    fn take(&mut self) {
        let mut said = Vec::new();
        while self.outboxes.take(9, &mut said).is_some() {}
        assert!(said.len() <= 1, "{said:?}");
        for item in said {
            let OutboxItem::Presence(event) = item else { panic!("{item:?}") };
            self.known.apply(event.json());
        }
    }
}

/// One user, as the reference has it.
#[derive(Clone, Default)]
struct Reference {
    tabs: Vec<u64>,
    data: Option<String>,
    flags: BTreeMap<String, u64>,
    gone_at: Option<u64>,
}

impl Reference {
    /// Ends what has ended by this time.
    fn at(&mut self, now_ms: u64) {
        self.flags.retain(|_, end| *end > now_ms);
        if self.gone_at.is_some_and(|end| end <= now_ms) {
            (self.data, self.gone_at) = (None, None);
            self.flags.clear();
        }
    }

    fn entry(&self, user: &str) -> Option<Value> {
        let data: Value = serde_json::from_str(self.data.as_ref()?).unwrap();
        let mut entry =
            serde_json::json!({ "user": user, "data": data, "connections": self.tabs.len() });
        if !self.flags.is_empty() {
            entry["flags"] = self.flags.keys().cloned().collect();
        }
        Some(entry)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Join(usize),
    Lose(usize),
    Set(usize, u8),
    Clear(usize),
    Flag(usize, u8, u64),
    Wait(u64),
    Release(usize),
    Follow,
    Take(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_usize).prop_map(Step::Join),
        3 => (0..3_usize).prop_map(Step::Lose),
        4 => (0..3_usize, any::<u8>()).prop_map(|(who, data)| Step::Set(who, data)),
        1 => (0..3_usize).prop_map(Step::Clear),
        3 => (0..3_usize, 0..2_u8, 0..40_u64).prop_map(|(who, flag, ms)| Step::Flag(who, flag, ms)),
        5 => (1..40_u64).prop_map(Step::Wait),
        4 => (1..4_usize).prop_map(Step::Release),
        1 => Just(Step::Follow),
        4 => (0..4_usize).prop_map(Step::Take),
    ]
}

/// A room with its gate, its clients and the reference.
struct Model {
    presence: RoomPresence,
    users: Vec<Reference>,
    held: VecDeque<PresenceChanges>,
    followers: Vec<Follower>,
    serial: u64,
    begun: Instant,
}

impl Model {
    fn new() -> Self {
        let limits = Arc::new(Limits::default());
        let presence = RoomPresence::new(SETTINGS, limits, 7);
        let followers = vec![Follower::new(presence.shared())];
        let (users, held) = (vec![Reference::default(); USERS.len()], VecDeque::new());
        Self { presence, users, held, followers, serial: 0, begun: Instant::now() }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap()
    }

    fn hold(&mut self) {
        self.held.extend(self.presence.take_changes().map(|changes| *changes));
    }

    fn change(&mut self, who: usize, ask: &PresenceAsk) -> bool {
        let Some(serial) = self.users[who].tabs.first() else { return false };
        let changed = self.presence.change(&tab(USERS[who], *serial), ask);
        let is_refused = self.users[who].data.is_none() && ask.flag.is_some();
        assert_eq!(changed.is_err(), is_refused, "{changed:?}");
        self.hold();
        !is_refused
    }

    async fn run(&mut self, step: Step) {
        let now_ms = self.now_ms();
        match step {
            Step::Join(who) => {
                self.serial += 1;
                self.presence.enter(&tab(USERS[who], self.serial));
                self.users[who].tabs.push(self.serial);
                self.users[who].gone_at = None;
                self.hold();
            }
            Step::Lose(who) => {
                let Some(serial) = self.users[who].tabs.pop() else { return };
                self.presence.leave(Serial(serial));
                let own = &mut self.users[who];
                if own.tabs.is_empty() && own.data.is_some() {
                    own.gone_at = Some(now_ms + SETTINGS.grace_ms);
                }
                self.hold();
            }
            Step::Set(who, data) => {
                let data = data.to_string();
                let ask = PresenceAsk { data: Some(Some(data.clone())), ..PresenceAsk::default() };
                if self.change(who, &ask) {
                    self.users[who].data = Some(data);
                }
            }
            Step::Clear(who) => {
                let ask = PresenceAsk { data: Some(None), ..PresenceAsk::default() };
                if self.change(who, &ask) {
                    self.users[who].data = None;
                    self.users[who].flags.clear();
                }
            }
            Step::Flag(who, flag, ms) => {
                let flag = flag.to_string();
                let ask = PresenceAsk { flag: Some((flag.clone(), ms)), ..PresenceAsk::default() };
                if self.change(who, &ask) {
                    match ms {
                        0 => drop(self.users[who].flags.remove(&flag)),
                        _ => drop(self.users[who].flags.insert(flag, now_ms + ms)),
                    }
                }
            }
            Step::Wait(ms) => self.wait(ms).await,
            Step::Release(count) => self.release(count),
            Step::Follow if self.followers.len() < 4 => {
                self.followers.push(Follower::new(self.presence.shared()));
            }
            Step::Follow => {}
            Step::Take(who) => {
                let count = self.followers.len();
                self.followers[who % count].take();
            }
        }
    }

    fn release(&mut self, count: usize) {
        for changes in self.held.drain(..count.min(self.held.len())) {
            self.presence.let_out(changes);
        }
    }

    /// Lets time pass, as the actor does.
    async fn wait(&mut self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        while let Some(next) = self.presence.next().filter(|next| *next <= until) {
            tokio::time::sleep_until(next).await;
            assert!(self.presence.is_due());
            let now = Instant::now();
            if self.presence.expire(now) {
                self.hold();
            }
            if let Some(event) = self.presence.flush(now) {
                self.followers.iter().for_each(|own| own.sender.present(&event));
            }
        }
        tokio::time::sleep_until(until).await;
        let now_ms = self.now_ms();
        self.users.iter_mut().for_each(|own| own.at(now_ms));
    }

    /// Lets everything out, and compares what the server and each client know with the reference.
    async fn check(&mut self) {
        self.release(usize::MAX);
        // No end of the reference comes between: it counts in whole milliseconds, too.
        self.wait(SETTINGS.every_ms).await;
        self.release(usize::MAX);
        self.wait(SETTINGS.every_ms).await;
        let is_settled = self.held.is_empty() && self.presence.flush_at.is_none();
        if !is_settled {
            return Box::pin(self.check()).await;
        }
        let expected: BTreeMap<String, Value> = USERS
            .iter()
            .zip(&self.users)
            .filter_map(|(user, own)| Some(((*user).to_owned(), own.entry(user)?)))
            .collect();
        let users: Value = serde_json::from_str(&self.presence.shared().users()).unwrap();
        let known =
            |users: &Value| Value::from(expected.values().cloned().collect::<Vec<_>>()) == *users;
        assert!(known(&users["users"]), "{users} is not {expected:?}");
        for follower in &mut self.followers {
            follower.take();
            assert_eq!(follower.known.0, expected);
        }
        assert_eq!(self.presence.draft().all().len(), expected.len());
        assert_eq!(
            self.presence.members.is_empty(),
            self.users.iter().all(|own| own.tabs.is_empty())
        );
    }
}

proptest! {
    #[test]
    fn every_client_that_applies_its_events_knows_what_the_room_knows(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new();
            for step in steps {
                model.run(step).await;
            }
            model.check().await;
        });
    }
}

fn room() -> RoomPresence {
    RoomPresence::new(SETTINGS, Arc::new(Limits::default()), 7)
}

fn set(data: &str) -> PresenceAsk {
    PresenceAsk { data: Some(Some(data.to_owned())), ..PresenceAsk::default() }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_later_state_does_not_get_the_events_before_it_again() {
    let mut presence = room();
    let mut follower = Follower::new(presence.shared());
    presence.enter(&tab("ada", 1));
    presence.change(&tab("ada", 1), &set("1")).unwrap();
    let changes = presence.take_changes().unwrap();
    presence.let_out(*changes);
    tokio::time::advance(Duration::from_millis(10)).await;
    let event = presence.flush(Instant::now()).unwrap();
    // The socket's task takes the sync between the new state and its event.
    follower.take();
    follower.sender.present(&event);
    assert_eq!(follower.outboxes.take(9, &mut Vec::new()), None);
    assert_eq!(follower.known.0.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_room_that_keeps_presence_again_drops_what_the_gate_held_from_before() {
    let mut before = room();
    before.enter(&tab("ada", 1));
    before.change(&tab("ada", 1), &set("1")).unwrap();
    let held = before.take_changes().unwrap();
    let mut presence = room();
    presence.let_out(*held);
    assert_eq!(presence.next(), None);
    assert_eq!(presence.shared().users(), r#"{"users":[]}"#);
}

/// Lets clients have what has changed.
async fn let_out(presence: &mut RoomPresence) -> Option<Arc<PresenceEvent>> {
    if let Some(changes) = presence.take_changes() {
        presence.let_out(*changes);
    }
    tokio::time::advance(Duration::from_millis(SETTINGS.every_ms)).await;
    presence.flush(Instant::now())
}

#[tokio::test(start_paused = true)]
async fn an_event_counts_until_it_is_written_and_a_client_that_is_behind_is_closed_for_one() {
    let mut presence = room();
    for (serial, user) in [(1, "ada"), (2, "bob")] {
        presence.enter(&tab(user, serial));
        let data = format!("\"{}\"", "x".repeat(3_000));
        presence.change(&tab(user, serial), &set(&data)).unwrap();
    }
    assert!(let_out(&mut presence).await.is_some());
    let budget = ByteBudget::new(4_096);
    let follower = || Follower::within(presence.shared(), &budget);
    let (first, second, behind, last) = (follower(), follower(), follower(), follower());
    assert_eq!(budget.granted(), 0, "all of them share what waits");
    assert!(matches!(&first.taken()[..], [OutboxItem::Presence(_)]));
    assert_eq!(budget.granted(), 4_096);
    // Nothing else waits for its client.
    assert!(matches!(&second.taken()[..], [OutboxItem::Presence(_)]));
    behind.sender.send(&Message::text("waits"));
    assert_eq!(behind.taken(), [OutboxItem::Overflow]);
    behind.sender.send(&Message::text("late"));
    assert_eq!((behind.taken(), behind.sender.is_over()), (Vec::new(), true));
    last.sender.close(CloseFrame::new(4001, "bye"));
    let said = last.taken();
    assert!(matches!(&said[..], [OutboxItem::Presence(_), OutboxItem::Goodbye(_)]), "{said:?}");
    assert_eq!((first.taken(), budget.granted()), (Vec::new(), 0));
    let next = follower();
    next.sender.send(&Message::text("waits"));
    assert_eq!((next.taken().len(), budget.granted()), (2, 4_096));
}

#[test]
fn a_client_that_follows_no_longer_gets_nothing_that_waits_and_a_sync_if_it_follows_again() {
    let presence = room();
    let own = Follower::new(presence.shared());
    own.sender.unfollow();
    assert_eq!(own.taken(), []);
    let message = |text: &str| OutboxItem::Message(Message::text(text));
    own.sender.send_latest("k", &Message::text("0"));
    own.sender.follow(presence.shared());
    own.sender.send_latest("l", &Message::text("1"));
    own.sender.send_latest("k", &Message::text("2"));
    own.sender.unfollow();
    own.sender.unfollow();
    assert_eq!(own.sender.lag(), (2, 2));
    own.sender.send_latest("l", &Message::text("3"));
    assert_eq!(own.taken(), [message("2"), message("3")]);
    own.sender.present(&presence.shared().sync());
    assert_eq!(own.taken(), []);
    own.sender.follow(presence.shared());
    assert_eq!(own.taken(), [OutboxItem::Presence(presence.shared().sync())]);
}

#[tokio::test(start_paused = true)]
async fn a_client_speaks_for_its_own_user_and_not_for_a_signed_in_one() {
    let mut presence = room();
    let anonymous = Connection { identity: None, ..connection("ada", 1, &[]) };
    presence.enter(&anonymous);
    presence.change(&anonymous, &set("1")).unwrap();
    // Somebody else proves to be ada.
    presence.enter(&tab("ada", 2));
    assert_eq!(presence.users.entry("ada"), None);
    assert_eq!(presence.change(&anonymous, &set("2")), Err(PresenceRefusal::Forbidden));
    presence.change(&tab("ada", 2), &set("3")).unwrap();
    presence.leave(Serial(1));
    assert_eq!(presence.users.entry("ada").unwrap().connections, 1);
    // A newer client with that id is nobody as long as ada is there.
    let again = Connection { identity: None, ..connection("ada", 3, &[]) };
    presence.enter(&again);
    assert_eq!(presence.change(&again, &set("4")), Err(PresenceRefusal::Forbidden));
    presence.leave(Serial(3));
    assert_eq!(&*presence.users.entry("ada").unwrap().shown.data, "3");
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_leaves_everybody_as_before() {
    let mut presence = room();
    let grace = |user: &str| (Arc::<str>::from(user), None);
    presence.enter(&tab("ada", 1));
    presence.change(&tab("ada", 1), &set("1")).unwrap();
    presence.leave(Serial(1));
    let end = presence.times.get(&grace("ada"));
    tokio::time::advance(Duration::from_millis(30)).await;
    let entrance = presence.enter(&tab("ada", 2));
    assert_eq!(presence.times.get(&grace("ada")), None);
    presence.undo(entrance);
    assert!(end.is_some() && presence.times.get(&grace("ada")) == end);
    // A user without a proof is there again, with its flag and its connection.
    let bob = Connection { identity: None, ..connection("bob", 3, &[]) };
    presence.enter(&bob);
    let ask = PresenceAsk { flag: Some(("typing".to_owned(), 1_000)), ..set("2") };
    presence.change(&bob, &ask).unwrap();
    let flag = ("bob".into(), Some("typing".into()));
    let (users, typing) = (presence.users.clone(), presence.times.get(&flag));
    let entrance = presence.enter(&tab("bob", 4));
    assert_eq!((presence.users.entry("bob"), presence.times.get(&flag)), (None, None));
    presence.undo(entrance);
    assert!(typing.is_some() && presence.times.get(&flag) == typing);
    let entrance = presence.enter(&tab("cy", 5));
    presence.undo(entrance);
    assert_eq!(presence.users, users);
    presence.change(&bob, &set("3")).unwrap();
    presence.leave(Serial(3));
    assert!(presence.times.get(&grace("bob")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_change_that_a_refused_connection_has_committed_stays_for_a_grace() {
    let mut presence = room();
    let bob = Connection { identity: None, ..connection("bob", 1, &[]) };
    presence.enter(&bob);
    presence.change(&bob, &set("1")).unwrap();
    let entrance = presence.enter(&tab("bob", 2));
    presence.change(&tab("bob", 2), &set("2")).unwrap();
    presence.undo(entrance);
    let entry = presence.users.entry("bob").unwrap();
    assert_eq!((&*entry.shown.data, entry.connections), ("2", 0));
    assert_eq!(presence.change(&bob, &set("3")), Err(PresenceRefusal::Forbidden));
    tokio::time::advance(Duration::from_millis(SETTINGS.grace_ms)).await;
    assert!(presence.expire(Instant::now()) && presence.count() == 0);
}

#[tokio::test(start_paused = true)]
async fn a_wish_needs_the_capability_and_a_party_that_lets_clients_show_themselves() {
    let mut presence = room();
    let capabilities = Capabilities::READ.with(Capabilities::WRITE);
    let identity = Identity::new("{}".to_owned(), capabilities, None);
    let mute = Connection { identity: Some(identity), ..connection("bob", 1, &[]) };
    presence.enter(&mute);
    assert_eq!(presence.change(&mute, &set("1")), Err(PresenceRefusal::Forbidden));
    presence.enter(&tab("ada", 2));
    presence.set(Presence { by: PresentBy::Room, ..SETTINGS });
    assert_eq!(presence.change(&tab("ada", 2), &set("1")), Err(PresenceRefusal::ByRoom));
    let long = "x".repeat(257);
    presence.set(SETTINGS);
    presence.enter(&tab(&long, 3));
    let refused = presence.change(&tab(&long, 3), &set("1"));
    assert!(matches!(refused, Err(PresenceRefusal::Invalid(_))), "{refused:?}");
    // Data and a flag are taken together or not at all.
    let both = PresenceAsk { flag: Some(("x".repeat(33), 1)), ..set("1") };
    assert!(presence.change(&tab("ada", 2), &both).is_err());
    assert_eq!(presence.count(), 0);
}
