//! Failures of nodes and of the database, while clients count. The judge sees what the clients saw.

use crate::ground::{Cluster, named, until};
use crate::load::Load;
use crate::wire::Behaviour;
use room_tests::Dice;
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::Duration;

/// The rooms in which clients count, and how many clients each has.
const ROOMS: [&str; 3] = ["lobby", "game", "board"];
const CLIENTS: usize = 2;
/// Acknowledged increments after which a part of the cluster counts as back at work.
const MORE: usize = 30;

/// What fails.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// The owner of a room is killed, and starts again later.
    Kill,
    /// The owner of a room is paused for longer than its lease, and goes on later.
    Pause,
    /// The database crashes, and starts again.
    Database,
    /// One node loses the database for a time.
    Cut,
    /// One node's way to the database holds everything back for a time.
    Hold,
}

const ALL: [Failure; 5] =
    [Failure::Kill, Failure::Pause, Failure::Database, Failure::Cut, Failure::Hold];

#[tokio::test(flavor = "multi_thread")]
async fn failures_lose_nothing_and_show_nothing_early() {
    let number = |name: &str| std::env::var_os(name)?.to_str()?.parse::<u64>().ok();
    let rounds = number("CLUSTER_ROUNDS").map(|rounds| usize::try_from(rounds).unwrap());
    let mut dice = Dice(number("CLUSTER_SEED").unwrap_or(1));
    let mut cluster = Cluster::start(&["a", "b", "c"]).await;
    cluster.deploy("a", "ledger", "1").await;
    let load = Load::start(cluster.addrs(), &ROOMS, CLIENTS);
    load.goes_on("the clients to count", MORE).await;
    for round in 0..rounds.unwrap_or(ALL.len()) {
        // Without a wish, each failure once, in a fixed order.
        let failure = ALL[if rounds.is_some() { dice.below(ALL.len()) } else { round }];
        let room = ROOMS[dice.below(ROOMS.len())];
        fail(&mut cluster, failure, room, &load).await;
        let back = format!("the clients to count after {failure:?} in round {round}");
        load.goes_on(&back, MORE).await;
    }
    let acknowledged = load.judge(&cluster).await;
    assert!(acknowledged >= MORE, "{acknowledged}");
}

async fn fail(cluster: &mut Cluster, failure: Failure, room: &str, load: &Load) {
    let mut owner = None;
    until("the room to have an owner", async || {
        owner = cluster.owner(room);
        owner.is_some()
    })
    .await;
    let owner = owner.unwrap();
    match failure {
        Failure::Kill => {
            cluster.node_mut(&owner).kill().await;
            cluster.moved_from(&owner, room).await;
            load.goes_on("the room to answer elsewhere", MORE).await;
            cluster.launch(&owner).await;
        }
        Failure::Pause => {
            let before = life(cluster, &owner);
            cluster.node(&owner).signal(Signal::STOP);
            cluster.moved_from(&owner, room).await;
            load.goes_on("the room to answer elsewhere", MORE).await;
            cluster.node(&owner).signal(Signal::CONT);
            until("the paused node to join again", async || life(cluster, &owner) != before).await;
        }
        Failure::Database => tokio::task::block_in_place(|| {
            cluster.postgres.kill();
            cluster.postgres.restart();
        }),
        Failure::Cut => away(cluster, &owner, room, Behaviour::Cut).await,
        Failure::Hold => away(cluster, &owner, room, Behaviour::Holds).await,
    }
}

/// Takes the database from a node, until another one has its room, and gives it back.
async fn away(cluster: &Cluster, owner: &str, room: &str, how: Behaviour) {
    let before = life(cluster, owner);
    cluster.node(owner).to_database.set(how);
    cluster.moved_from(owner, room).await;
    cluster.node(owner).to_database.set(Behaviour::Passes(Duration::ZERO));
    until("the node to join again", async || life(cluster, owner) != before).await;
}

/// Returns the incarnation under which a node is alive, if it is.
fn life(cluster: &Cluster, node: &str) -> String {
    cluster.sql(&format!("SELECT incarnation FROM room.nodes WHERE name = '{node}' AND alive"))
}

/// What the node that was away shows of the others' deployment: nothing old, before it has rooms again.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_its_database_gives_up_its_place_and_comes_back() {
    let cluster = Cluster::start(&["a", "b"]).await;
    cluster.deploy("a", "ledger", "1").await;
    cluster.node("b").to_database.set(Behaviour::Cut);
    until("a to be alone", async || {
        let nodes = cluster.good("a", "GET", "nodes", Value::Null).await;
        named(&nodes, "b").is_none() && named(&nodes, "a").unwrap()["shards"] == 1_024
    })
    .await;
    let release = cluster.release("a", "ledger", "2").await;
    cluster.good("a", "POST", "projects/chat/deploy", release).await;
    cluster.node("b").to_database.set(Behaviour::Passes(Duration::from_millis(2)));
    until("b to have its share again", async || {
        let nodes = cluster.good("a", "GET", "nodes", Value::Null).await;
        named(&nodes, "b").is_some_and(|b| b["shards"].as_u64() > Some(200))
    })
    .await;
    cluster.all_serve("2").await;
}
