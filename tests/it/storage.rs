//! The storage of a room: listings, large values, and their state after a restart.

use room_runtime::{Runtime, StorageConfig};
use room_tests::{Requests, Setup, TestNode, guest, script};
use serde_json::json;

async fn list(node: &TestNode, options: serde_json::Value) -> String {
    let reply = node.post("lobby", &json!([{"list": options}])).await;
    script(&reply).pop().unwrap_or_else(|| panic!("{}", reply.text()))
}

async fn listings(node: TestNode) {
    let puts = ["a", "b", "b:1", "b:2", "b:3", "c", "é"].map(|key| json!({"put": [key, 1]}));
    assert_eq!(node.post("lobby", &json!(puts)).await.status, 200);
    assert_eq!(node.post("other", &json!([{"put": ["b:0", 1]}])).await.status, 200);
    assert_eq!(list(&node, json!({})).await, "a,b,b:1,b:2,b:3,c,é");
    assert_eq!(list(&node, json!({"reverse": true})).await, "é,c,b:3,b:2,b:1,b,a");
    assert_eq!(list(&node, json!({"prefix": "b:"})).await, "b:1,b:2,b:3");
    assert_eq!(list(&node, json!({"prefix": "b:", "reverse": true, "limit": 2})).await, "b:3,b:2");
    assert_eq!(list(&node, json!({"prefix": "b:", "start_after": "b:1"})).await, "b:2,b:3");
    assert_eq!(list(&node, json!({"start": "b:2", "end": "c"})).await, "b:2,b:3");
    assert_eq!(list(&node, json!({"start": "b:2", "end": "c", "reverse": true})).await, "b:3,b:2");
    assert_eq!(list(&node, json!({"start": "c", "end": "b"})).await, "");
    assert_eq!(list(&node, json!({"prefix": "z"})).await, "");
    assert_eq!(list(&node, json!({"limit": 0})).await, "");
}

#[tokio::test]
async fn lists_of_a_store_in_memory_match_a_model() {
    listings(Setup::memory().start().await).await;
}

#[tokio::test]
async fn lists_of_a_store_on_disk_match_a_model() {
    listings(Setup::disk().start().await).await;
}

#[tokio::test]
async fn a_long_listing_is_complete_across_its_pages() {
    let node = Setup::memory().limits(|limits| limits.list_page_entries_max = 7).start().await;
    node.post("lobby", &json!([{"put_many": 100}])).await;
    let all: Vec<String> = (0..100).map(|key| format!("many-{key:06}")).collect();
    assert_eq!(list(&node, json!({"prefix": "many-"})).await, all.join(","));
    let last: Vec<&str> = all.iter().rev().take(20).map(String::as_str).collect();
    let options = json!({"prefix": "many-", "reverse": true, "limit": 20});
    assert_eq!(list(&node, options).await, last.join(","));
}

#[tokio::test]
async fn acknowledged_writes_survive_a_restart() {
    let node = Setup::disk().start().await;
    let reply = node
        .post("lobby", &json!([{"put": ["k", {"v": 1}]}, {"put_bytes": ["big", 1 << 20]}, {"put": ["gone", 1]}]))
        .await;
    assert_eq!(reply.status, 200);
    node.post("lobby", &json!([{"delete": "gone"}])).await;
    node.post("emptied", &json!([{"put_many": 50}, {"put_bytes": ["big", 100_000]}])).await;
    node.post("emptied", &json!(["delete_all", {"put": ["new", 1]}])).await;
    let node = node.restart().await;
    let said = node.post("lobby", &json!([{"get": "k"}, {"size": "big"}, {"get": "gone"}])).await;
    assert_eq!(script(&said), [r#"{"v":1}"#, "1048576", "null"]);
    assert_eq!(node.report("emptied").await["keys"], json!(["new"]));
    // A shorter value leaves nothing of the longer one.
    node.post("lobby", &json!([{"put_bytes": ["big", 5_000]}])).await;
    let node = node.restart().await;
    assert_eq!(script(&node.post("lobby", &json!([{"size": "big"}])).await), ["5000"]);
}

#[tokio::test]
async fn a_counter_counts_each_acknowledged_step_across_restarts() {
    let mut node = Setup::disk().start().await;
    for round in 0..3 {
        let mut client = node.connect("lobby").await;
        for step in 1..=10 {
            assert_eq!(client.ask(json!([{"add": "n"}])).await, (round * 10 + step).to_string());
        }
        node = node.restart().await;
    }
}

#[tokio::test]
async fn two_nodes_cannot_open_the_same_folder() {
    let node = Setup::disk().start().await;
    let config = room_runtime::Config {
        listen: ([127, 0, 0, 1], 0).into(),
        storage: StorageConfig::Disk(node.data_dir().unwrap()),
        cache_dir: None,
        tls: None,
        proxies: room_runtime::Proxies::default(),
        limits: node.limits().clone(),
        audience: room_runtime::Audience::Developer,
    };
    let error =
        Runtime::start(config).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("in use by another process"), "{error}");
    node.deploy(guest("puppet"), &[]).await.unwrap();
    assert_eq!(node.report("lobby").await["starts"], 1);
}

#[tokio::test]
async fn a_room_knows_its_bytes_and_their_bound() {
    let node = Setup::disk().limits(|limits| limits.room_bytes_max = 2_000_000).start().await;
    let bytes = |said: &String| -> u64 {
        said.strip_suffix(" of 2000000").and_then(|bytes| bytes.parse().ok()).expect(said)
    };
    let undone = json!({"transaction": [{"put_bytes": ["kk", 500]}, "bytes", {"err": ""}]});
    let steps = json!(["bytes", {"put_bytes": ["k", 1_000]}, "bytes", undone, "bytes", {"put_bytes": ["k", 100]}]);
    let said = script(&node.post("lobby", &steps).await);
    let first = bytes(&said[0]);
    assert_eq!(bytes(&said[1]), first + 1_001);
    assert_eq!(bytes(&said[2]), first + 1_503);
    assert_eq!(bytes(&said[4]), first + 1_001);
    let next = script(&node.post("lobby", &json!(["bytes", "delete_all", "bytes"])).await);
    assert_eq!([bytes(&next[0]), bytes(&next[1])], [first + 101, 0]);
    let node = node.restart().await;
    let after =
        script(&node.post("lobby", &json!(["delete_all", {"put": ["k", 1]}, "bytes"])).await);
    assert_eq!(bytes(&after[0]), 2);
}
