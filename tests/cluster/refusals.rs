//! Nodes that cannot be members: a refusal says what to do, and nothing is harmed.

use crate::ground::{Cluster, KEY, PATIENCE, ask, room};
use room_tests::Requests;
use serde_json::{Value, json};
use std::path::Path;
use tokio::time::timeout;

/// Starts a node that must not start, and returns what it says.
async fn refused(folder: &Path, url: &str, words: &[&str]) -> String {
    let mut command = room();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"])
        .arg(folder)
        .args(["--cluster", url])
        .args(words);
    let ran = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(ran.stdout.is_empty(), "{said}");
    // Lines are broken to the width of a terminal.
    said.split_whitespace().filter(|word| !["│", "|"].contains(word)).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_bad_settings_is_refused_and_says_what_to_do() {
    let cluster = Cluster::start(&["a"]).await;
    cluster.deploy("a", "puppet", "1").await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (key, other) = (write("key", KEY), write("other", &KEY.replace("00", "ff")));
    let short = write("short", "0001");
    let data = folder.path().join("data");
    let own = ["--node", "b", "--advertise", "127.0.0.1:9", "--cluster-key", &key];
    let with_key = |key| ["--node", "b", "--advertise", "127.0.0.1:9", "--cluster-key", key];
    let url = &cluster.url;
    let nowhere = "postgres://room:s3cret@127.0.0.1:9/room?sslmode=disable";
    let missing = url.replace("/room_0", "/room_9");
    cluster.sql("CREATE ROLE stranger LOGIN");
    let powerless = url.replace("room@", "stranger@");
    for (url, words, wanted) in [
        ("mysql://db", &own[..], "write postgres://USER@HOST"),
        (nowhere, &own, "check the address in --cluster"),
        (&missing, &own, "CREATE DATABASE room OWNER room"),
        (&powerless, &own, "permission denied"),
        (url, &own[..4], "openssl rand -hex 32"),
        (url, &with_key(&short), "not 32 bytes in hexadecimal or base64"),
        (url, &with_key(&other), "another cluster key than the cluster's first node"),
        (url, &["--node", "b", "--advertise", "0.0.0.0:1", "--cluster-key", &key], "HOST:PORT"),
        (
            url,
            &["--node", "a", "--advertise", "127.0.0.1:9", "--cluster-key", &key],
            "another node",
        ),
    ] {
        let said = refused(&data, url, words).await;
        assert!(said.contains(wanted) && said.contains("R0076"), "{wanted}: {said}");
        assert!(!said.contains("s3cret@") && !said.contains(KEY), "{said}");
    }
    cluster.sql("INSERT INTO room.versions (version) VALUES (99)");
    let said = refused(&data, url, &own).await;
    assert!(said.contains("the database has schema 99"), "{said}");
    // The node that was there serves as before.
    let addr = cluster.node("a").addr();
    assert_eq!(addr.post("lobby", &json!([{"put": ["k", 1]}])).await.status, 200);
    strangers_get_nothing(&cluster).await;
}

/// A client that says that it is a node of the cluster is a client like any other.
async fn strangers_get_nothing(cluster: &Cluster) {
    let node = cluster.node("a");
    let headers = [
        ("room-forwarded-by", "b"),
        ("room-node-proof", "00"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
    ];
    let forged = node.addr().request("GET", "/parties/main/lobby/reflect", &headers, b"").await;
    let seen = forged.json();
    let known = |name: &str| {
        let headers = seen["headers"].as_array().unwrap().iter();
        headers.filter(|header| header[0] == name).map(|header| &header[1]).collect::<Vec<_>>()
    };
    assert_eq!(known("x-forwarded-for"), ["127.0.0.1"], "{seen}");
    assert_eq!(
        (known("room-forwarded-by").len(), known("x-forwarded-proto").len()),
        (0, 0),
        "{seen}"
    );
    assert!(seen["uri"].as_str().unwrap().starts_with("http://"), "{seen}");
    for path in ["nodes", "nodes/a/drain"] {
        let method = if path == "nodes" { "GET" } else { "POST" };
        let reply = node.ask("room_0", method, path, b"").await.unwrap();
        assert_eq!(reply.status, 401, "{path}");
    }
    let reply =
        ask(node.addr(), ("GET", "/_room/admin/nodes"), cluster.token(), b"").await.unwrap();
    assert_eq!(reply.status, 404);
    let unknown = node.ask(cluster.token(), "POST", "nodes/zoe/drain", b"").await.unwrap();
    assert_eq!(
        (unknown.status, &unknown.json()["error"]),
        (404, &json!("the cluster has no node zoe"))
    );
    let nodes = cluster.good("a", "GET", "nodes", Value::Null).await;
    assert_eq!(nodes["nodes"][0]["shards"], 1_024, "{nodes}");
}
