//! Clients that keep a server busy until it dies. Owns their requests, and when there are enough answers.
//!
//! Invariant: a client reads until nothing more comes, so a message that reached it before or after the death of the
//! server counts. If the machine dies, and the network with it, only messages from before that count. It does not
//! know what must survive.

use crate::audit::{Heard, State, Witness};
use room_tests::{Dice, Got, TestClient, within};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Rooms of a folder.
const ROOMS: usize = 8;
/// Connections of a room that send requests.
const TALKERS: usize = 2;
/// Most messages of a connection that wait for their answers.
const IN_FLIGHT_MAX: usize = 32;
/// The longest time until a load has enough answers.
const ANSWERS_WAIT: Duration = Duration::from_secs(10);

/// Returns the rooms' names.
pub(crate) fn rooms() -> impl Iterator<Item = String> {
    (0..ROOMS).map(|room| format!("room-{room}"))
}

/// Working clients.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<Witness>,
}

struct Shared {
    /// The number of answers that are still missing.
    missing: AtomicU64,
    enough: Notify,
    /// True when connections may end.
    dying: AtomicBool,
    /// True when messages no longer count.
    deaf: AtomicBool,
}

/// The fate of messages that a server sends while it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// They arrive, and count.
    Heard,
    /// No client receives them.
    Lost,
}

impl Load {
    /// Connects all clients, and lets them send when all are there. `states` is the content of the rooms.
    pub(crate) async fn start(
        addr: SocketAddr,
        states: &BTreeMap<String, State>,
        answers: u64,
        dice: &mut Dice,
    ) -> Self {
        let shared = Arc::new(Shared {
            missing: AtomicU64::new(answers),
            enough: Notify::new(),
            dying: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
        });
        let mut connected = Vec::new();
        for (room, state) in states {
            for number in 0..=TALKERS {
                let who = format!("c{number}");
                let path = format!("/parties/main/{room}?_pk={who}");
                let client = TestClient::connect(addr, &path).await;
                let value = |of: &BTreeMap<String, u64>| of.get(&who).copied().unwrap_or_default();
                let witness = Witness::new(room, &who, value(&state.counts), value(&state.stamps));
                connected.push((client, witness, number < TALKERS));
            }
        }
        let mut clients = JoinSet::new();
        for (client, witness, talks) in connected {
            let window = if talks { 1 + dice.below(IN_FLIGHT_MAX) } else { 0 };
            let caller = Caller {
                client,
                witness,
                dice: Dice(dice.roll()),
                window,
                waiting: 0,
                shared: shared.clone(),
            };
            clients.spawn(caller.run());
        }
        Self { shared, clients }
    }

    /// Waits until there were enough answers. Returns false if they do not come.
    pub(crate) async fn enough(&self) -> bool {
        tokio::time::timeout(ANSWERS_WAIT, self.shared.enough.notified()).await.is_ok()
    }

    /// Notes that connections may end from here on, and that messages are lost if the network dies with the server.
    pub(crate) fn expect_end(&self, words: Words) {
        self.shared.deaf.store(words == Words::Lost, Ordering::SeqCst);
        self.shared.dying.store(true, Ordering::SeqCst);
    }

    /// Returns the messages that all clients sent and received, when the server is dead.
    pub(crate) async fn end(self) -> Vec<Witness> {
        within("all clients to end", self.clients.join_all()).await
    }
}

/// A working client.
struct Caller {
    client: TestClient,
    witness: Witness,
    dice: Dice,
    /// The most messages that wait for their answers; 0 for a client that only listens.
    window: usize,
    waiting: usize,
    shared: Arc<Shared>,
}

impl Caller {
    async fn run(mut self) -> Witness {
        loop {
            while self.waiting < self.window {
                let message = self.draw();
                self.client.try_send(&message).await;
            }
            match self.client.recv().await {
                Got::Text(_) if self.shared.deaf.load(Ordering::SeqCst) => return self.witness,
                Got::Text(text) => {
                    if self.witness.hears(&text) == Heard::Answer {
                        self.waiting = self.waiting.saturating_sub(1);
                        self.shared.answered();
                    }
                }
                end => {
                    if !self.shared.dying.load(Ordering::SeqCst) {
                        self.witness.ends(&format!("{end:?}"));
                    }
                    return self.witness;
                }
            }
        }
    }

    /// Returns the next request.
    fn draw(&mut self) -> String {
        let word = match self.dice.below(100) {
            0..52 => "inc",
            52..72 => "set",
            72..74 => "wipe",
            74..80 => "alarm",
            80..86 => "call",
            86..90 => "fetch",
            90..94 => "half",
            94..98 => "fail err",
            _ => "fail trap",
        };
        // A failing request has no answer.
        self.waiting += usize::from(!word.starts_with("fail"));
        match word {
            "inc" | "half" => self.witness.sends_count(),
            "set" | "wipe" => self.witness.sends_set(),
            "alarm" => return self.draw_alarm(),
            "call" | "fetch" => {
                let id = self.id();
                self.witness.sends_request(&id);
                return format!("{word} {id}");
            }
            _ => {}
        }
        word.to_owned()
    }

    fn draw_alarm(&mut self) -> String {
        let after_ms = if self.dice.below(8) == 0 { 2_000 } else { 300 };
        let after_ms = self.dice.below(after_ms) as u64;
        let id = self.id();
        self.witness.sends_alarm(&id, Duration::from_millis(after_ms));
        format!("alarm {id} {after_ms}")
    }

    /// Returns a name that no other alarm or request of a folder has.
    fn id(&mut self) -> String {
        format!("{}.{:x}", self.witness.who, self.dice.roll())
    }
}

impl Shared {
    fn answered(&self) {
        let less = |missing: u64| missing.checked_sub(1);
        if self.missing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) == Ok(1) {
            self.enough.notify_one();
        }
    }
}
