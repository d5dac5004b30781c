//! Crons of a project: checked at a deployment, called once after a stop, run by an operator.

use room_runtime::CronSetting;
use room_tests::{Reply, Requests, Setup, TestNode, guest, script, until};
use serde_json::{Value, json};

/// A cron that is not due while a test runs.
fn yearly(name: &str) -> CronSetting {
    CronSetting::new(name, "0 0 1 1 *")
}

async fn operated(node: &TestNode, method: &str, path: &str) -> Reply {
    let bearer = format!("Bearer {}", node.secret());
    node.request(method, &format!("/_room/admin/{path}"), &[("authorization", &bearer)], &[]).await
}

async fn listed(node: &TestNode) -> Vec<Value> {
    let answer = operated(node, "GET", "crons").await.json();
    answer["crons"].as_array().unwrap().clone()
}

/// Returns the names of the crons that have called the room, in order.
async fn called(node: &TestNode, room: &str) -> Vec<String> {
    let events = node.report(room).await["events"].clone();
    let events = events.as_array().into_iter().flatten().filter_map(Value::as_str);
    let name = |event: &str| Some(event.strip_prefix("cron ")?.split(' ').next()?.to_owned());
    events.filter_map(name).collect()
}

#[tokio::test]
async fn an_operator_lists_the_crons_and_runs_one() {
    let all = CronSetting { room: None, ..yearly("all") };
    let node = Setup::memory().crons(&[yearly("prune"), all]).start().await;
    let list = listed(&node).await;
    let first = (&list[0]["name"], &list[0]["schedule"], &list[0]["party"], &list[0]["room"]);
    assert_eq!(first, (&json!("prune"), &json!("0 0 1 1 *"), &json!("main"), &json!("prune")));
    assert!(list[0]["next_ms"].is_u64() && list[0]["last"].is_null(), "{list:?}");
    assert_eq!((&list[1]["room"], &list[1]["zone"]), (&Value::Null, &json!("UTC")));
    let mut client = node.connect("prune?quiet=1").await;
    let ran = operated(&node, "POST", "crons/prune/run").await.json();
    assert_eq!((&ran["rooms"], &ran["dropped"]), (&json!(1), &json!(0)), "{ran}");
    assert_eq!(client.text().await, "cron prune");
    assert_eq!(listed(&node).await[0]["last"]["rooms"], 1);
    node.post("other", &json!([{"put": ["k", 1]}])).await;
    assert_eq!(operated(&node, "POST", "crons/all/run").await.json()["rooms"], 2);
    assert_eq!(called(&node, "prune").await, ["prune", "all"]);
    assert_eq!(called(&node, "other").await, ["all"]);
    let unknown = operated(&node, "POST", "crons/nobody/run").await;
    assert_eq!(
        (unknown.status, unknown.text()),
        (404, "the project has no cron \"nobody\"".to_owned())
    );
}

#[tokio::test]
async fn a_missed_cron_is_called_once_after_a_restart() {
    let node = Setup::disk().crons(&[yearly("prune")]).start().await;
    assert!(called(&node, "prune").await.is_empty());
    let file = node.data_dir().unwrap().join("crons");
    let setup = node.stop().await;
    // As if the server had stopped three years ago.
    let mut notes: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let done_ms = notes["prune"]["done_ms"].as_u64().unwrap();
    notes["prune"]["done_ms"] = (done_ms - 3 * 366 * 86_400_000).into();
    std::fs::write(&file, notes.to_string()).unwrap();
    let node = setup.start().await;
    until("the cron to be called", async || listed(&node).await[0]["last"]["rooms"] == 1).await;
    assert_eq!(called(&node, "prune").await, ["prune"]);
    let node = node.restart().await;
    assert_eq!(listed(&node).await[0]["last"]["rooms"], 1);
    assert_eq!(called(&node, "prune").await, ["prune"]);
}

#[tokio::test]
async fn a_cron_wakes_a_room_that_left_memory_and_survives_a_deployment() {
    let limits = |limits: &mut room_runtime::Limits| limits.idle_evict_ms = 20;
    let node = Setup::memory().limits(limits).crons(&[yearly("prune")]).start().await;
    node.post("prune", &json!([{"put": ["k", 1]}])).await;
    until("the room to be evicted", async || node.running().await == 0).await;
    assert_eq!(operated(&node, "POST", "crons/prune/run").await.json()["rooms"], 1);
    let next = listed(&node).await[0]["next_ms"].clone();
    node.deploy(guest("puppet"), &[("VERSION", "2")]).await.unwrap();
    let again = listed(&node).await[0].clone();
    assert_eq!((&again["next_ms"], &again["last"]["rooms"]), (&next, &json!(1)));
    assert_eq!(called(&node, "prune").await, ["prune"]);
}

#[tokio::test]
async fn a_run_that_fails_is_reported_with_its_error() {
    let node = Setup::memory().crons(&[yearly("prune")]).start().await;
    for steps in [json!([{"err": "asked to fail"}]), json!(["trap"])] {
        node.post("prune", &json!([{"plan": ["on_cron", 1, steps]}])).await;
        let ran = operated(&node, "POST", "crons/prune/run").await.json();
        assert_eq!((&ran["rooms"], &ran["dropped"]), (&json!(0), &json!(1)), "{ran}");
        assert!(ran["error"].as_str().unwrap().starts_with("main/prune: "), "{ran}");
    }
    assert_eq!(operated(&node, "POST", "crons/prune/run").await.json()["rooms"], 1);
    // The turn that failed left nothing.
    assert_eq!(called(&node, "prune").await, ["prune"]);
    assert_eq!(script(&node.post("prune", &json!([{"say": "here"}])).await), ["here"]);
}

#[tokio::test]
async fn an_invalid_cron_is_refused_at_the_deployment() {
    let good = yearly("prune");
    for (cron, part) in [
        (CronSetting::new("prune", "0 25 * * *"), "the hour \"25\""),
        (
            CronSetting { zone: "Berlin".to_owned(), ..good.clone() },
            "did you mean \"Europe/Berlin\"?",
        ),
        (CronSetting { party: "chat".to_owned(), ..good.clone() }, "the project has main"),
    ] {
        let node = Setup::memory().crons(&[cron]).start_empty().await;
        let error = node.deploy(guest("puppet"), &[]).await.unwrap_err().to_string();
        assert!(error.contains("\"prune\"") && error.contains(part), "{error}");
        assert_eq!(node.get("/party/lobby").await.status, 503);
    }
}

#[tokio::test]
async fn crons_of_a_module_without_on_cron_are_refused() {
    let (known, other) = (b"room:runtime/cron-events@0.1.0", b"room:runtime/cron-evenxs@0.1.0");
    let mut module = guest("puppet").to_vec();
    let places = module.windows(known.len()).enumerate();
    let named: Vec<usize> =
        places.filter_map(|(at, bytes)| (bytes == known).then_some(at)).collect();
    assert!(!named.is_empty());
    for at in named {
        module[at..at + other.len()].copy_from_slice(other);
    }
    let node = Setup::memory().crons(&[yearly("prune")]).start_empty().await;
    let error = node.deploy(module.clone().into(), &[]).await.unwrap_err().to_string();
    assert!(error.contains("\"prune\"") && error.contains("has no on_cron"), "{error}");
    // Without crons it is served as before.
    let node = Setup::memory().start_empty().await;
    node.deploy(module.into(), &[]).await.unwrap();
    assert_eq!(node.get("/party/lobby").await.status, 200);
}
