//! Calls between rooms: durable, answered in a turn, carried out once.

use room_tests::{Requests, Setup, TestNode, guest, script, until, variant};
use serde_json::{Value, json};

fn call(room: &str, tag: &str, script: &Value) -> Value {
    json!({"ask": {"call": {"party": "main", "room": room, "tag": tag, "script": script}}})
}

/// Returns what happened in a room about requests, in order.
async fn events(node: &TestNode, room: &str) -> Vec<String> {
    let events = node.report(room).await["events"].clone();
    events.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

async fn until_events(node: &TestNode, room: &str, wanted: &[&str]) {
    until("the events", async || events(node, room).await.len() >= wanted.len()).await;
    assert_eq!(events(node, room).await, wanted);
}

async fn counted(node: &TestNode, name: &str) -> u64 {
    let text = node.get("/_room/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap().parse().unwrap()
}

async fn pending(node: &TestNode, room: &str) -> Vec<String> {
    script(&node.post(room, &json!([{"ask": "pending"}])).await)
}

#[tokio::test]
async fn a_call_is_carried_out_and_its_answer_is_a_turn() {
    let node = Setup::disk().start().await;
    let steps = json!([{"say": "hello"}, {"put": ["key", "value"]}]);
    node.post("ada", &json!([call("bob", "greet", &steps)])).await;
    until_events(&node, "ada", &[r#"answer greet ["hello"]"#]).await;
    until_events(&node, "bob", &["call main/ada"]).await;
    assert_eq!(node.report("bob").await["keys"], json!(["key"]));
    assert_eq!(pending(&node, "ada").await, [""]);
    assert_eq!(counted(&node, "room_calls_answered_total").await, 1);
}

#[tokio::test]
async fn a_request_reaches_another_room_past_the_hooks() {
    let node = Setup::memory().start().await;
    let ask = |tag: &str, path: &str, body: Value| json!({"ask": {"room": {"party": "main", "room": "bob", "tag": tag, "path": path, "body": body}}});
    let post = ask("post", "/?verdict=refuse", json!([{"say": "hi"}]));
    node.post("ada", &json!([post, ask("get", "/status?code=404", json!("gone"))])).await;
    until_events(&node, "ada", &[r#"response post 200 ["hi"]"#, r#"response get 404 "gone""#])
        .await;
    // A turn that fails has a failure and no response.
    node.post("ada", &json!([ask("bad", "/", json!([{"err": "no"}]))])).await;
    let failed = "response bad failed no (refused)";
    until("the failure", async || events(&node, "ada").await.contains(&failed.to_owned())).await;
}

#[tokio::test]
async fn a_call_that_cannot_be_carried_out_says_why() {
    let node = Setup::memory().start().await;
    let other =
        json!({"ask": {"call": {"party": "nobody", "room": "x", "tag": "party", "script": []}}});
    let nameless =
        json!({"ask": {"call": {"party": "main", "room": "", "tag": "name", "script": []}}});
    node.post("ada", &json!([other, nameless])).await;
    until_events(
        &node,
        "ada",
        &[
            "answer party failed party nobody not found (unknown-party)",
            "answer name failed there is no such room: the room name is empty (invalid-room)",
        ],
    )
    .await;
    let fails = call("bob", "refused", &json!([{"put": ["key", "value"]}, {"err": "not you"}]));
    let traps = call("bob", "traps", &json!(["trap"]));
    node.post("eve", &json!([fails, traps])).await;
    until("both answers", async || events(&node, "eve").await.len() == 2).await;
    let [refused, trapped] = &events(&node, "eve").await[..] else { panic!("two answers") };
    assert_eq!(refused, "answer refused failed not you (refused)");
    assert!(trapped.contains("failed") && trapped.ends_with("(failed)"), "{trapped}");
    // Neither left anything in the other room.
    assert_eq!(node.report("bob").await["keys"], json!([]));
    assert_eq!(events(&node, "bob").await, [""; 0]);
}

#[tokio::test]
async fn a_turn_that_fails_or_gives_up_calls_nobody() {
    let node = Setup::memory().start().await;
    let fails = json!([call("bob", "never", &json!([])), {"err": "no"}]);
    assert_eq!(node.post("ada", &fails).await.status, 500);
    let gives_up = json!([call("bob", "never", &json!([])), {"ask": {"cancel": "never"}}]);
    assert_eq!(script(&node.post("ada", &gives_up).await), ["1"]);
    node.post("ada", &json!([call("bob", "last", &json!([]))])).await;
    until_events(&node, "ada", &["answer last []"]).await;
    assert_eq!(events(&node, "bob").await, ["call main/ada"]);
}

#[tokio::test]
async fn rooms_in_a_circle_call_each_other_and_go_on() {
    let node = Setup::memory().start().await;
    // Each of three rooms calls the next one, nine times in all, and the last one calls itself.
    let circle = ["ada", "bob", "eve"]
        .iter()
        .cycle()
        .take(9)
        .fold(json!([]), |script, room| json!([call(room, "next", &script), {"say": room}]));
    node.post("ada", &circle).await;
    for room in ["ada", "bob", "eve"] {
        until("three calls and their answers", async || events(&node, room).await.len() >= 6).await;
    }
    let mut client = node.connect("other?quiet=1").await;
    assert_eq!(client.ask(json!([{"say": "served"}])).await, "served");
    // A room may call itself.
    node.post("self", &json!([call("self", "own", &json!([{"say": "me"}]))])).await;
    until_events(&node, "self", &["call main/self", r#"answer own ["me"]"#]).await;
}

#[tokio::test]
async fn calls_of_one_room_arrive_in_their_order() {
    let node = Setup::memory().start().await;
    let calls: Vec<_> = (0..50)
        .map(|number| call("bob", &number.to_string(), &json!([{"note": number.to_string()}])))
        .collect();
    node.post("ada", &json!(calls)).await;
    until("all answers", async || events(&node, "ada").await.len() == 50).await;
    let notes = events(&node, "bob").await;
    let notes: Vec<_> = notes.iter().filter(|note| *note != "call main/ada").collect();
    let wanted: Vec<_> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(notes, wanted.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn calls_survive_a_restart_and_are_carried_out_once() {
    let node = Setup::disk().start().await;
    let calls: Vec<_> =
        (0..40).map(|number| call(&format!("bob-{number}"), "t", &json!([{"sleep": 1}]))).collect();
    // Some are under way, and some wait for others.
    let node = {
        node.post("ada", &json!(calls)).await;
        node.restart().await
    };
    until("all answers", async || events(&node, "ada").await.len() == 40).await;
    for number in 0..40 {
        assert_eq!(events(&node, &format!("bob-{number}")).await, ["call main/ada"]);
    }
    assert_eq!(pending(&node, "ada").await, [""]);
}

#[tokio::test]
async fn an_answer_whose_turn_fails_comes_again_and_nothing_is_called_twice() {
    let quick = |limits: &mut room_runtime::Limits| {
        (limits.alarm_retry_ms_min, limits.alarm_tries_max) = (1, 3);
    };
    let node = Setup::disk().limits(quick).start().await;
    node.post("ada", &json!([call("bob", "fails-3", &json!([]))])).await;
    until_events(&node, "ada", &["answer fails-3 []"]).await;
    assert_eq!(events(&node, "bob").await, ["call main/ada"]);
    // One that always fails is dropped in the end, and keeps no other one back.
    node.post("eve", &json!([call("bob", "fails-99", &json!([])), call("bob", "ok", &json!([]))]))
        .await;
    until("the drop", async || counted(&node, "room_answers_dropped_total").await == 1).await;
    until_events(&node, "eve", &["answer ok []"]).await;
    assert_eq!(pending(&node, "eve").await, [""]);
}

#[tokio::test]
async fn an_answer_that_waits_is_delivered_by_the_code_that_replaced_its_own() {
    let node = Setup::disk().limits(|limits| limits.alarm_retry_ms_min = 200).start().await;
    node.post(
        "ada",
        &json!([{"plan": ["on_answer", 1, ["trap"]]}, call("bob", "kept", &json!([]))]),
    )
    .await;
    until("the trap", async || counted(&node, "room_calls_answered_total").await == 1).await;
    node.deploy(variant(&guest("puppet"), 1), &[("VERSION", "2")]).await.unwrap();
    until_events(&node, "ada", &["answer kept []"]).await;
    assert_eq!(node.report("ada").await["version"], "2");
}

#[tokio::test]
async fn a_room_makes_no_more_calls_than_its_limits_allow() {
    let few = |limits: &mut room_runtime::Limits| {
        (limits.outcalls_max, limits.call_data_bytes_max) = (2, 64);
    };
    let node = Setup::memory().limits(few).start().await;
    let own = call("bob", "t", &json!([]));
    let three = node.post("ada", &json!([own, own, own])).await;
    assert_eq!(three.status, 500);
    let large = call("bob", "t", &json!([{"say": "x".repeat(64)}]));
    assert_eq!(node.post("ada", &json!([large])).await.status, 500);
    assert_eq!(node.post("ada", &json!([own, own])).await.status, 200);
    until("both answers", async || events(&node, "ada").await.len() == 2).await;
    // What a call returns is bounded, too.
    node.post("eve", &json!([call("bob", "big", &json!([{"say_bytes": 99}]))])).await;
    until("the answer", async || events(&node, "eve").await.len() == 1).await;
    let answer = &events(&node, "eve").await[0];
    assert!(answer.contains("call_data_bytes_max") && answer.ends_with("(refused)"), "{answer}");
}

#[tokio::test]
async fn a_room_lists_the_rooms_of_its_project_in_pages() {
    let node = Setup::memory().limits(|limits| limits.list_page_entries_max = 3).start().await;
    let names: Vec<_> = (0..8).map(|number| format!("room-{number}")).collect();
    for name in &names {
        node.post(name, &json!([{"put": ["key", 1]}])).await;
    }
    let list = |party: &str| json!([{"ask": {"rooms": party}}]);
    until("all names", async || {
        let said = script(&node.post("room-0", &list("main")).await);
        said == [names.join(",")]
    })
    .await;
    assert_eq!(script(&node.post("room-0", &list("nobody")).await), [""]);
    assert_eq!(node.post("room-0", &list("no party")).await.status, 500);
}

#[tokio::test]
async fn a_call_of_a_room_that_does_not_start_is_tried_again() {
    let node = Setup::memory().limits(|limits| limits.call_retry_ms_min = 1).start().await;
    // Its first start fails.
    node.post("ada", &json!([call("fail-start-once", "t", &json!([]))])).await;
    until_events(&node, "ada", &["answer t []"]).await;
    assert_eq!(events(&node, "fail-start-once").await, ["call main/ada"]);
}
