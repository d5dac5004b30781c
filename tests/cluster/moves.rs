//! Rooms that move because operators say so: a node drains, stops, or joins.

use crate::ground::{Cluster, named, room, until};
use crate::load::Load;
use serde_json::Value;
use std::collections::BTreeMap;

/// The rooms in which clients count.
const ROOMS: [&str; 2] = ["lobby", "game"];

#[tokio::test(flavor = "multi_thread")]
async fn nodes_drain_stop_and_join_and_no_increment_is_lost() {
    let mut cluster = Cluster::start(&["a", "b"]).await;
    cluster.deploy("a", "ledger", "1").await;
    let load = Load::start(cluster.addrs(), &ROOMS, 2);
    load.goes_on("the clients to count", 20).await;
    // A third node takes its share, and nothing else moves.
    let before = owners(&cluster);
    cluster.add("c").await;
    until("c to have its share", async || shards(&cluster, "c").await > 200).await;
    until("the shards to settle", async || owners(&cluster).len() == 1_024).await;
    let moved: Vec<String> = owners(&cluster)
        .into_iter()
        .filter(|(shard, owner)| before.get(shard) != Some(owner))
        .map(|(_, owner)| owner)
        .collect();
    assert!(moved.iter().all(|owner| owner == "c"), "{moved:?}");
    assert!((200..500).contains(&moved.len()), "{}", moved.len());
    load.goes_on("the clients to count after the join", 20).await;
    // A node that drains has no rooms, and leads its clients to the others.
    let said = operated(&cluster, &["drain", "b"]).await;
    assert!(said.contains("b hands its rooms over"), "{said}");
    until("b to be empty", async || shards(&cluster, "b").await == 0).await;
    let listed = operated(&cluster, &["nodes"]).await;
    assert!(listed.contains("NODE") && listed.contains("drains"), "{listed}");
    load.goes_on("the clients to count after the drain", 20).await;
    // A node that is stopped hands its rooms over by itself.
    assert!(cluster.node_mut("a").stop().await, "{}", cluster.logs());
    let left = cluster.sql("SELECT count(*) FROM room.nodes WHERE name = 'a' AND alive");
    assert_eq!(left, "0");
    until("c to have all", async || shards(&cluster, "c").await == 1_024).await;
    load.goes_on("the clients to count after the stop", 20).await;
    load.judge(&cluster).await;
}

/// Returns the live owner of each shard.
fn owners(cluster: &Cluster) -> BTreeMap<String, String> {
    let rows = cluster.sql(
        "SELECT s.shard || ' ' || n.name FROM room.shards s JOIN room.nodes n USING (incarnation) WHERE n.alive",
    );
    rows.lines().filter_map(|row| row.split_once(' ')).map(|(a, b)| (a.into(), b.into())).collect()
}

/// Returns how many shards a node has.
async fn shards(cluster: &Cluster, node: &str) -> u64 {
    let nodes = cluster.good(&cluster.any().name, "GET", "nodes", Value::Null).await;
    named(&nodes, node).and_then(|node| node["shards"].as_u64()).unwrap_or_default()
}

/// Runs an operator's command against the first node, and returns what it says.
async fn operated(cluster: &Cluster, words: &[&str]) -> String {
    let url = format!("http://{}", cluster.any().admin());
    let ran = room().args(words).args(["--to", &url, "--token", cluster.token()]).output();
    let ran = ran.await.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}
