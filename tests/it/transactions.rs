//! Parts of a turn that are undone alone, in real rooms.

use room_tests::{Requests, Setup, TestNode, script, until};
use serde_json::{Value, json};

async fn said(node: &TestNode, steps: Value) -> Vec<String> {
    let reply = node.post("lobby", &steps).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    script(&reply)
}

#[tokio::test]
async fn a_transaction_that_fails_undoes_only_what_happened_inside() {
    let node = Setup::disk().start().await;
    let mut client = node.connect("lobby?_pk=a").await;
    let inner = json!([{"put": ["inner", 1]}, {"broadcast": "inner"}, {"err": "inner end"}]);
    let failing = json!([
        {"put": ["kept", 2]}, {"put": ["lost", 1]}, {"delete": "gone"}, {"alarm_in": 1},
        {"set_state": "lost"}, {"broadcast": "lost"}, {"transaction": inner},
        "delete_all", {"put": ["lost too", 1]}, {"close": [4000, "lost"]}, {"err": "outer end"},
    ]);
    client
        .tell(json!([
            {"put": ["kept", 1]}, {"put": ["gone", 1]}, {"set_state": "kept"}, {"say": "before"},
            {"transaction": failing},
            {"transaction": [{"put": ["released", 1]}, {"broadcast": "released"}]},
            "state", {"get": "kept"}, "alarm_is_set",
        ]))
        .await;
    for text in ["before", "undone: outer end", "released", "\"kept\"", "1", "false"] {
        assert_eq!(client.text().await, text);
    }
    assert_eq!(node.report("lobby").await["keys"], json!(["gone", "kept", "released"]));
    let node = node.restart().await;
    assert_eq!(node.report("lobby").await["keys"], json!(["gone", "kept", "released"]));
}

#[tokio::test]
async fn a_transaction_that_fails_leaves_timers_and_ticks_as_they_were() {
    let node = Setup::disk().start().await;
    let hour = 3_600_000;
    let set = json!([{"timer_in": [hour, "stored"]}, {"timer_in": [hour + 1, "cancelled"]}]);
    assert_eq!(node.post("lobby", &set).await.status, 200);
    let failing = json!([
        {"timer_cancel": "stored"}, "delete_all", {"timer_in": [hour, "lost"]}, {"tick": 60_000},
        "timers", {"err": "end"},
    ]);
    let steps = json!([
        {"timer_in": [hour + 2, "own"]}, {"timer_cancel": "cancelled"}, {"transaction": failing},
        {"transaction": [{"timer_in": [hour + 3, "released"]}]}, "timers",
    ]);
    let kept = "stored,own,released";
    assert_eq!(said(&node, steps).await, ["1", "1", "lost", "undone: end", kept]);
    assert_eq!(said(&node, json!(["timers"])).await, [kept]);
    // A refusal undoes them, too, and what was flushed before it stays.
    let refuse = json!([
        {"timer_cancel": "own"}, "flush", "delete_all", {"timer_in": [hour, "lost"]},
        {"refuse": [404, "refused"]},
    ]);
    assert_eq!(node.post("lobby", &refuse).await.status, 404);
    let node = node.restart().await;
    assert_eq!(said(&node, json!(["timers"])).await, ["stored,released"]);
    let removed = json!([{"transaction": ["delete_all"]}, "timers"]);
    assert_eq!(said(&node, removed).await, [""]);
    let node = node.restart().await;
    assert_eq!(said(&node, json!(["timers"])).await, [""]);
}

#[tokio::test]
async fn a_timer_whose_transaction_fails_is_handled_all_the_same() {
    let node = Setup::memory().start().await;
    let failing = json!({"transaction": [{"put": ["lost", 1]}, "delete_all", {"err": "end"}]});
    let handled = json!([failing, "flush", {"put": ["handled", 1]}]);
    let steps = json!([{"plan": ["on_timer", 1, handled]}, {"timer_in": [1, "soon"]}]);
    assert_eq!(node.post("lobby", &steps).await.status, 200);
    until("the timer to be handled", async || {
        node.report("lobby").await["keys"].to_string().contains("handled")
    })
    .await;
    assert_eq!(said(&node, json!(["timers"])).await, [""]);
    assert!(!node.report("lobby").await["keys"].to_string().contains("lost"));
}

#[tokio::test]
async fn a_released_part_goes_with_the_part_around_it() {
    let node = Setup::memory().start().await;
    let inner = json!([{"put": ["a", 2]}, "delete_all", {"put": ["b", 2]}, {"say": "inner"}]);
    let outer = json!([{"put": ["c", 1]}, {"transaction": inner}, {"err": "outer"}]);
    let steps = json!([{"put": ["a", 1]}, {"transaction": outer}, {"list": {}}, {"get": "a"}]);
    // The answer to a request is not an output of the turn.
    assert_eq!(said(&node, steps).await, ["inner", "undone: outer", "a", "1"]);
}

#[tokio::test]
async fn a_trap_inside_a_transaction_fails_the_whole_turn() {
    let node = Setup::memory().start().await;
    for fault in [json!("trap"), json!({"panic": "inside"}), json!("roll_back_unknown")] {
        let inside = json!([{"put": ["inside", 1]}, fault]);
        let steps = json!([{"put": ["before", 1]}, {"transaction": inside}]);
        assert_eq!(node.post("lobby", &steps).await.status, 500, "{fault}");
        assert_eq!(node.report("lobby").await["keys"], json!([]), "{fault}");
    }
}

#[tokio::test]
async fn a_guest_that_misuses_savepoints_gets_a_named_trap() {
    let node = Setup::memory().start().await;
    for (step, words) in [
        ("roll_back_unknown", "no savepoint 7 is open"),
        ("flush_inside", "cannot be flushed while a savepoint is open"),
    ] {
        let reply = node.post("lobby", &json!([{"put": ["before", 1]}, step])).await;
        assert_eq!(reply.status, 500, "{step}");
        assert!(reply.text().contains(words), "{step}: {}", reply.text());
        assert_eq!(node.report("lobby").await["keys"], json!([]), "{step}");
    }
}

#[tokio::test]
async fn a_flush_inside_a_transaction_commits_nothing() {
    let node = Setup::memory().start().await;
    let inside = json!([{"put": ["inside", 1]}, "flush"]);
    let undone = said(&node, json!([{"put": ["before", 1]}, {"transaction": inside}])).await;
    assert!(undone[0].contains("a transaction cannot be flushed"), "{undone:?}");
    assert_eq!(node.report("lobby").await["keys"], json!(["before"]));
}

#[tokio::test]
async fn nested_transactions_and_the_counts_of_undone_parts_follow_the_limits() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.turn_writes_max, limits.turn_savepoints_max) = (50, 3);
    };
    let node = Setup::memory().limits(limits).start().await;
    let refused = said(&node, json!([{"nest": 3}, {"nest": 4}])).await;
    assert_eq!(refused[0], "");
    assert!(refused[1].contains("turn_savepoints_max = 3"), "{refused:?}");
    let undone = json!({"transaction": [{"put_many": 40}, {"err": "again"}]});
    let steps = json!([undone, undone, undone, {"put_many": 50}]);
    assert_eq!(said(&node, steps).await, ["undone: again"; 3]);
    assert_eq!(node.report("lobby").await["keys"].as_array().map(Vec::len), Some(50));
}

#[tokio::test]
async fn an_error_with_a_status_reaches_its_client_and_drops_the_turn() {
    let node = Setup::memory().start().await;
    let lost = json!({"put": ["lost", 1]});
    let reply = node.post("lobby", &json!([lost, {"refuse": [404, "no such game"]}])).await;
    assert_eq!((reply.status, reply.text().as_str()), (404, "no such game"));
    // A part that was flushed before stays.
    let steps = json!([{"put": ["kept", 1]}, "flush", lost, {"refuse": [409, "taken"]}]);
    let reply = node.post("lobby", &steps).await;
    assert_eq!((reply.status, reply.text().as_str()), (409, "taken"));
    assert_eq!(node.report("lobby").await["keys"], json!(["kept"]));
    // It is an answer and no fault. Any other status is one.
    let reply = node.post("lobby", &json!([lost, {"refuse": [302, "elsewhere"]}])).await;
    assert_eq!(reply.status, 500);
    assert!(reply.text().contains("not with 302"), "{}", reply.text());
    assert_eq!(node.post("lobby", &json!([lost, {"err": "secret"}])).await.status, 500);
    assert_eq!(node.report("lobby").await["starts"], 1);
}

#[tokio::test]
async fn a_refusal_is_forgotten_with_its_call() {
    let node = Setup::memory().start().await;
    assert_eq!(node.post("lobby", &json!([{"refuse": [404, "first"]}])).await.status, 404);
    assert_eq!(node.post("lobby", &json!([{"err": "second"}])).await.status, 500);
    assert_eq!(node.post("lobby", &json!([{"refuse": [404, "third"]}])).await.status, 404);
    assert_eq!(node.post("lobby", &json!([{"say": "fourth"}])).await.status, 200);
}
