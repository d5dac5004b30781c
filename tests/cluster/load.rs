//! Clients that count in rooms, over any node, while parts of the cluster fail. Owns their connections.
//!
//! Invariant: each client has one increment under way at most, and notes it before it is sent and each turn when it comes.
//! It does not judge: `history` does.

use crate::ground::{Cluster, PATIENCE, until};
use crate::history::{History, Stored, Turn};
use futures_util::{SinkExt, StreamExt};
use room_tests::Requests;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Time after which a client takes its connection for dead, and opens another.
const ANSWER: Duration = Duration::from_secs(6);

/// Clients that count until they are stopped.
pub(crate) struct Load {
    history: Arc<Mutex<History>>,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts clients in each of these rooms. They choose one of the nodes' addresses after the other.
    pub(crate) fn start(addrs: Vec<SocketAddr>, rooms: &[&str], clients: usize) -> Self {
        let (history, stop) = (Arc::<Mutex<History>>::default(), watch::Sender::new(false));
        let mut running = JoinSet::new();
        for room in rooms {
            for number in 0..clients {
                let client = CountingClient {
                    name: format!("c{number}"),
                    room: (*room).to_owned(),
                    addrs: addrs.clone(),
                    history: history.clone(),
                };
                running.spawn(client.run(number, stop.subscribe()));
            }
        }
        Self { history, stop, clients: running }
    }

    /// Returns how many increments were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.history.lock().unwrap().acknowledged()
    }

    /// Waits until as many more increments are acknowledged.
    pub(crate) async fn goes_on(&self, what: &str, more: usize) {
        let from = self.acknowledged();
        until(what, async || self.acknowledged() >= from + more).await;
    }

    /// Stops the clients, and fails if anything was lost, doubled, early or out of order.
    pub(crate) async fn judge(mut self, cluster: &Cluster) -> usize {
        self.stop.send_replace(true);
        while self.clients.join_next().await.is_some() {}
        let history = self.history.lock().unwrap().clone();
        let mut stored = BTreeMap::new();
        for room in history.rooms() {
            stored.insert(room.to_owned(), stored_in(cluster, room).await);
        }
        let problems = history.problems(&stored);
        assert!(problems.is_empty(), "{}\n{}", problems.join("\n"), cluster.logs());
        history.acknowledged()
    }
}

/// Returns what a room has stored, from any node that answers.
async fn stored_in(cluster: &Cluster, room: &str) -> Stored {
    let mut stored = None;
    until("a room to show what it has stored", async || {
        let addr = cluster.any().addr();
        let reply = timeout(PATIENCE, addr.get(&format!("/parties/main/{room}"))).await.unwrap();
        if reply.status == 200 {
            let state = reply.json();
            let counts = state["counts"].as_object().unwrap().iter();
            stored = Some(Stored {
                turn: state["turn"].as_u64().unwrap(),
                counts: counts.map(|(who, n)| (who.clone(), n.as_u64().unwrap())).collect(),
            });
        }
        stored.is_some()
    })
    .await;
    stored.unwrap()
}

struct CountingClient {
    name: String,
    room: String,
    addrs: Vec<SocketAddr>,
    history: Arc<Mutex<History>>,
}

impl CountingClient {
    async fn run(self, first: usize, mut stop: watch::Receiver<bool>) {
        let counting = async {
            for at in first.. {
                let addr = self.addrs[at % self.addrs.len()];
                if let Ok(Some(socket)) = timeout(ANSWER, self.connect(addr)).await {
                    self.count(socket).await;
                }
                // Others get the processor, also if nothing answers at all.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = counting => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn connect(&self, addr: SocketAddr) -> Option<WebSocketStream<TcpStream>> {
        let tcp = TcpStream::connect(addr).await.ok()?;
        tcp.set_nodelay(true).ok()?;
        let url = format!("ws://{addr}/parties/main/{}?_pk={}", self.room, self.name);
        Some(client_async(url, tcp).await.ok()?.0)
    }

    /// Counts over a connection until it ends or does not answer.
    async fn count(&self, mut socket: WebSocketStream<TcpStream>) -> Option<()> {
        let connection = self.history.lock().unwrap().connected(&self.room, &self.name);
        loop {
            self.history.lock().unwrap().sent(connection);
            timeout(ANSWER, socket.send(Message::text("inc"))).await.ok()?.ok()?;
            loop {
                let got = timeout(ANSWER, socket.next()).await.ok()??.ok()?;
                let Message::Text(text) = got else { continue };
                let (is_own, turn) = turn_of(&text)?;
                self.history.lock().unwrap().saw(connection, turn);
                if is_own {
                    break;
                }
            }
        }
    }
}

/// Reads `did TURN inc WHO COUNT`, or `saw …` of another client's turn.
fn turn_of(text: &str) -> Option<(bool, Turn)> {
    let words: Vec<&str> = text.split(' ').collect();
    let [how, number, "inc", who, count] = words[..] else { return None };
    let turn =
        Turn { number: number.parse().ok()?, who: who.to_owned(), count: count.parse().ok()? };
    Some((how == "did", turn))
}
