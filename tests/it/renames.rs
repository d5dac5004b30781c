//! Parties that get another name: their rooms keep everything.

use crate::operated::Operated;
use room_runtime::{CronSetting, DeployError, PartyConfig};
use room_tests::{Requests, Setup, TestClient, TestNode, guest, script, until, within};
use serde_json::{Value, json};

/// Returns the puppet as a party with these names.
fn party(node: &TestNode, name: &str, was: Option<&str>) -> PartyConfig {
    let (name, was) = (name.to_owned(), was.map(str::to_owned));
    PartyConfig { name, was, ..node.party(guest("puppet"), &[]) }
}

async fn post(node: &TestNode, path: &str, steps: &Value) -> Vec<String> {
    let (path, body) = (format!("/parties/{path}"), steps.to_string());
    script(&node.request("POST", &path, &[], body.as_bytes()).await)
}

#[tokio::test]
async fn the_rooms_of_a_renamed_party_keep_their_data_alarms_and_timers() {
    let node = Setup::disk().start().await;
    let steps = json!([{"put": ["k", 7]}, {"alarm_in": 400}, {"timer_in": [400, "kept"]}]);
    post(&node, "main/lobby", &steps).await;
    post(&node, "main/other", &json!([{"put": ["k", 8]}])).await;
    let mut client = node.connect("lobby?quiet=1").await;
    node.deploy_project(vec![party(&node, "chat", Some("main"))]).await.unwrap();
    assert_eq!(client.closed().await.0, 1012);
    assert_eq!(node.get("/parties/main/lobby").await.status, 404);
    assert_eq!(post(&node, "chat/other", &json!([{"get": "k"}])).await, ["8"]);
    assert_eq!(post(&node, "chat/lobby", &json!([{"get": "k"}])).await, ["7"]);
    until("the alarm and the timer", async || {
        let events = node.get("/parties/chat/lobby").await.json()["events"].clone();
        let events = events.as_array().unwrap();
        events.contains(&json!("alarm in lobby")) && events.contains(&json!("timer kept"))
    })
    .await;
    // The line may stay.
    node.deploy_project(vec![party(&node, "chat", Some("main"))]).await.unwrap();
    let setup = node.stop().await;
    let node = setup.start_empty().await;
    node.deploy_project(vec![party(&node, "chat", Some("main"))]).await.unwrap();
    assert_eq!(post(&node, "chat/lobby", &json!([{"get": "k"}])).await, ["7"]);
    // A version from before the line brings the rooms back, with what they stored since.
    post(&node, "chat/lobby", &json!([{"put": ["k", 9]}])).await;
    node.deploy_project(vec![party(&node, "main", None)]).await.unwrap();
    assert_eq!(post(&node, "main/lobby", &json!([{"get": "k"}])).await, ["9"]);
    assert_eq!(node.get("/parties/chat/lobby").await.status, 404);
}

#[tokio::test]
async fn a_rename_is_confirmed_when_its_line_goes() {
    let node = Setup::memory().start().await;
    post(&node, "main/lobby", &json!([{"put": ["k", 7]}])).await;
    node.deploy_project(vec![party(&node, "chat", Some("main"))]).await.unwrap();
    node.deploy_project(vec![party(&node, "chat", None)]).await.unwrap();
    // Another party with the old name has rooms of its own.
    let both = [party(&node, "chat", None), party(&node, "main", None)];
    node.deploy_project(both.to_vec()).await.unwrap();
    assert_eq!(post(&node, "main/lobby", &json!([{"get": "k"}])).await, ["null"]);
    assert_eq!(post(&node, "chat/lobby", &json!([{"get": "k"}])).await, ["7"]);
    // Now both have rooms.
    post(&node, "main/lobby", &json!([{"put": ["k", 1]}])).await;
    let error = node.deploy_project(vec![party(&node, "chat", Some("main"))]).await.unwrap_err();
    assert!(
        error.to_string().contains("rooms are stored for the party chat and for main"),
        "{error}"
    );
    assert_eq!(post(&node, "main/lobby", &json!([{"get": "k"}])).await, ["1"]);
    assert_eq!(post(&node, "chat/lobby", &json!([{"get": "k"}])).await, ["7"]);
}

#[tokio::test]
async fn a_deployment_that_fails_leaves_the_rooms_their_name() {
    let node = Setup::disk().start().await;
    post(&node, "main/lobby", &json!([{"put": ["k", 7]}])).await;
    let both = [party(&node, "main", None), party(&node, "game", None)];
    node.deploy_project(both.to_vec()).await.unwrap();
    post(&node, "game/x", &json!([{"put": ["k", 1]}])).await;
    // The code of another party does not start in a room that runs.
    let mut game = party(&node, "game", None);
    game.vars = vec![("START".to_owned(), "err".to_owned())];
    let renamed = vec![party(&node, "chat", Some("main")), game];
    let error = node.deploy_project(renamed).await.unwrap_err();
    assert!(matches!(error, DeployError::Start { .. } | DeployError::Load { .. }), "{error}");
    assert_eq!(post(&node, "main/lobby", &json!([{"get": "k"}])).await, ["7"]);
    assert_eq!(node.get("/parties/chat/lobby").await.status, 404);
    let stray = [party(&node, "main", None), party(&node, "chat", Some("main"))];
    let error = node.deploy_project(stray.to_vec()).await.unwrap_err().to_string();
    assert!(error.contains("still a party"), "{error}");
}

#[tokio::test]
async fn a_server_renames_a_party_and_a_rollback_brings_its_rooms_back() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    operated.deploy("chat", &guest("puppet"), "1").await;
    let addr = operated.server.addr();
    let say = async |path: &str, steps: Value| {
        let reply = addr.request("POST", path, &[], steps.to_string().as_bytes()).await;
        (reply.status, reply.text())
    };
    say("/parties/main/lobby", json!([{"put": ["k", 7]}])).await;
    let mut client = TestClient::connect(addr, "/parties/main/lobby?quiet=1").await;
    let mut release = operated.release(&guest("puppet"), "2").await;
    release["parties"][0]["name"] = json!("talk");
    release["parties"][0]["was"] = json!("main");
    let cron = CronSetting { party: "talk".to_owned(), ..CronSetting::new("prune", "@yearly") };
    release["crons"] = json!([cron]);
    operated.good("POST", "projects/chat/deploy", release).await;
    assert_eq!(client.closed().await.0, 1012);
    let read = json!([{"get": "k"}]);
    assert_eq!(say("/parties/talk/lobby", read.clone()).await, (200, "[\"7\"]".to_owned()));
    let exported = operated.ask("GET", "projects/chat/node/rooms/talk/lobby/export", &[]).await;
    assert!(exported.text().contains("\"party\":\"talk\""), "{}", exported.text());
    operated.good("POST", "projects/chat/rollback", Value::Null).await;
    assert_eq!(say("/parties/main/lobby", read).await, (200, "[\"7\"]".to_owned()));
    assert_eq!(say("/parties/talk/lobby", json!([])).await.0, 404);
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn a_party_whose_rooms_wait_for_answers_keeps_its_name() {
    let node = Setup::disk().start().await;
    // The other room never starts, so the call is tried again and again.
    let call = json!({"party": "main", "room": "fail-start-always", "tag": "t", "script": []});
    post(&node, "main/lobby", &json!([{"put": ["k", 7]}, {"ask": {"call": call}}])).await;
    let renamed = || vec![party(&node, "chat", Some("main"))];
    let error = node.deploy_project(renamed()).await.unwrap_err().to_string();
    assert!(error.contains("main/lobby") && error.contains("waits for the answer"), "{error}");
    assert_eq!(post(&node, "main/lobby", &json!([{"get": "k"}])).await, ["7"]);
    assert_eq!(node.get("/parties/chat/lobby").await.status, 404);
    post(&node, "main/lobby", &json!([{"ask": {"cancel": "t"}}])).await;
    node.deploy_project(renamed()).await.unwrap();
    assert_eq!(post(&node, "chat/lobby", &json!([{"get": "k"}])).await, ["7"]);
}
