//! Deployments to a cluster: one node takes them, and all serve them.

use crate::ground::{Cluster, until};
use room_tests::{Requests, TestClient};
use serde_json::{Value, json};

/// Messages of each client in one room.
const MESSAGES: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_to_one_node_is_served_by_all() {
    let mut cluster = Cluster::start(&["a", "b", "c"]).await;
    cluster.deploy("a", "puppet", "1").await;
    one_order_for_clients_of_all_nodes(&cluster).await;
    // A secret that is set over b reaches the rooms of all nodes, and is not in the database.
    let secret = json!({"value": "s3cret-9", "secret": true});
    cluster.good("b", "PUT", "projects/chat/env/VERSION", secret).await;
    for node in ["a", "b", "c"] {
        let addr = cluster.node(node).addr();
        until("a room to have the secret", async || {
            addr.report(&format!("of-{node}")).await["version"] == "s3cret-9"
        })
        .await;
    }
    let kept = cluster.sql("SELECT encode(variables, 'escape') || versions FROM room.projects");
    assert!(kept.contains("index.html") && !kept.contains("s3cret-9"), "{kept}");
    cluster.good("c", "DELETE", "projects/chat/env/VERSION", Value::Null).await;
    cluster.deploy("b", "puppet", "2").await;
    cluster.good("c", "POST", "projects/chat/rollback", Value::Null).await;
    cluster.all_serve("1").await;
    one_of_two_deployments_at_once_wins(&cluster).await;
    // A node that was away serves nothing old.
    assert!(cluster.node_mut("b").stop().await, "{}", cluster.logs());
    cluster.deploy("a", "puppet", "5").await;
    cluster.launch("b").await;
    assert_eq!(cluster.node("b").addr().get("/").await.text(), "5");
    tokens_are_for_all_nodes(&cluster).await;
    // A project that is deleted and deployed again has other rooms.
    let addr = cluster.node("a").addr();
    assert_eq!(addr.post("lobby", &json!([{"put": ["k", "old"]}])).await.status, 200);
    cluster.good("c", "DELETE", "projects/chat", Value::Null).await;
    cluster.deploy("b", "puppet", "6").await;
    until("the new project's rooms", async || {
        let reply = addr.post("lobby", &json!([{"get": "k"}])).await;
        reply.status == 200 && reply.json() == json!(["null"])
    })
    .await;
}

async fn one_order_for_clients_of_all_nodes(cluster: &Cluster) {
    let mut clients = Vec::new();
    for addr in cluster.addrs() {
        clients.push(TestClient::connect(addr, "/parties/main/lobby").await);
    }
    for number in 0..MESSAGES {
        for (at, client) in clients.iter_mut().enumerate() {
            client.tell(json!([{"broadcast": format!("{at}.{number}")}])).await;
        }
    }
    let mut seen = Vec::new();
    for client in &mut clients {
        let mut texts = Vec::new();
        for _ in 0..MESSAGES * 3 {
            texts.push(client.text().await);
        }
        seen.push(texts);
    }
    assert!(seen[0] == seen[1] && seen[1] == seen[2], "{seen:?}");
}

async fn one_of_two_deployments_at_once_wins(cluster: &Cluster) {
    let three = cluster.release("a", "puppet", "3").await;
    let four = cluster.release("b", "puppet", "4").await;
    let deploy = async |node: &str, release: &Value| {
        let (token, body) = (cluster.token(), release.to_string().into_bytes());
        cluster.node(node).ask(token, "POST", "projects/chat/deploy", &body).await.unwrap()
    };
    let (one, two) = tokio::join!(deploy("a", &three), deploy("b", &four));
    let statuses = [one.status, two.status];
    assert!(statuses.contains(&200), "{} {}", one.text(), two.text());
    assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
    let versions = cluster.good("c", "GET", "projects/chat/versions", Value::Null).await;
    let numbers = versions.as_array().unwrap().iter().map(|version| version["number"].as_u64());
    let numbers: Vec<u64> = numbers.map(Option::unwrap).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    let served = cluster.sql("SELECT versions FROM room.projects");
    let served: Value = serde_json::from_str(&served).unwrap();
    let current = served["versions"].as_array().unwrap().iter();
    let mut current = current.filter(|version| version["number"] == served["current"]);
    let page = current.next().unwrap()["release"]["vars"]["VERSION"].as_str().unwrap().to_owned();
    cluster.all_serve(&page).await;
}

async fn tokens_are_for_all_nodes(cluster: &Cluster) {
    let wish = json!({"name": "ci", "scope": "read"});
    // A node also revokes a token that it has not seen yet.
    let fresh = cluster.good("b", "POST", "tokens", wish.clone()).await;
    let path = format!("tokens/{}", fresh["id"].as_str().unwrap());
    cluster.good("c", "DELETE", &path, Value::Null).await;
    let made = cluster.good("b", "POST", "tokens", wish).await;
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let status = async |node: &str| {
        cluster.node(node).ask(secret, "GET", "projects", b"").await.unwrap().status
    };
    until("c to know the token", async || status("c").await == 200).await;
    cluster.good("c", "DELETE", &format!("tokens/{id}"), Value::Null).await;
    until("b to refuse the token", async || status("b").await == 401).await;
    let audit =
        cluster.sql("SELECT node || ' ' || line FROM room.audit WHERE line LIKE '%tokens%'");
    assert!(audit.contains("b {") && audit.contains("c {") && !audit.contains(secret), "{audit}");
}
