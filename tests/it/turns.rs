//! A callback is a turn: all or nothing.

use room_tests::{Requests, Setup, script};
use serde_json::json;

/// Returns everything that a turn can do, and then an end.
fn everything_and(end: serde_json::Value) -> serde_json::Value {
    json!([
        {"put": ["key", 1]}, {"delete": "old"}, {"say": "mine"}, {"broadcast": "to all"},
        {"send_to": ["b", "to b"]}, {"set_state": "new"}, {"alarm_in": 3_600_000},
        {"close_other": ["b", 4000, "bye"]}, end,
    ])
}

async fn leaves_nothing(end: serde_json::Value) {
    let node = Setup::memory().start().await;
    let mut a = node.connect("lobby?_pk=a&state=old").await;
    let mut b = node.connect("lobby?_pk=b").await;
    assert_eq!(a.ask(json!([{"put": ["old", 0]}, {"say": "put"}])).await, "put");
    a.tell(everything_and(end)).await;
    assert_eq!(a.echo("next").await, "next");
    assert_eq!(b.echo("next").await, "next");
    assert_eq!(a.ask(json!(["state"])).await, r#""old""#);
    let report = node.report("lobby").await;
    assert_eq!((&report["keys"], &report["alarm"]), (&json!(["old"]), &json!(null)));
}

#[tokio::test]
async fn a_turn_that_returns_an_error_leaves_nothing() {
    leaves_nothing(json!({"err": "no"})).await;
}

#[tokio::test]
async fn a_turn_that_panics_leaves_nothing() {
    leaves_nothing(json!({"panic": "no"})).await;
}

#[tokio::test]
async fn a_turn_that_returns_takes_effect_as_a_whole() {
    let node = Setup::memory().start().await;
    let mut a = node.connect("lobby?_pk=a&state=old").await;
    let mut b = node.connect("lobby?_pk=b").await;
    a.tell(everything_and(json!({"say": "end"}))).await;
    for expected in ["mine", "to all", "end"] {
        // The text of `delete` comes first.
        let text = a.text().await;
        assert_eq!(if text == "false" { a.text().await } else { text }, expected);
    }
    assert_eq!([b.text().await, b.text().await], ["to all", "to b"]);
    assert_eq!(b.closed().await, (4000, "bye".to_owned()));
    assert_eq!(a.ask(json!(["state"])).await, r#""new""#);
    let report = node.report("lobby").await;
    assert_eq!(report["keys"], json!(["key"]));
    assert!(report["alarm"].is_u64());
}

#[tokio::test]
async fn a_request_that_fails_leaves_nothing() {
    let node = Setup::memory().start().await;
    let reply = node.post("lobby", &json!([{"put": ["key", 1]}, {"err": "no"}])).await;
    assert_eq!(reply.status, 500);
    assert_eq!(node.report("lobby").await["keys"], json!([]));
}

#[tokio::test]
async fn a_connect_that_fails_leaves_nothing_and_closes_with_1011() {
    let node = Setup::memory().start().await;
    for how in ["err", "panic"] {
        let mut client = node.connect(&format!("lobby?hello=never&connect={how}")).await;
        assert_eq!(client.closed().await.0, 1011);
    }
    let mut tagged = node.connect("lobby?tags=1,2,3,4,5,6,7,8,9,10").await;
    assert_eq!(tagged.closed().await.0, 1011);
    let report = node.report("lobby").await;
    assert_eq!((&report["connections"], &report["events"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn a_flush_keeps_what_came_before_it() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby").await;
    client
        .tell(json!([
            {"put": ["kept", 1]}, {"say": "kept"}, "flush",
            {"put": ["lost", 1]}, {"say": "lost"}, {"err": "no"},
        ]))
        .await;
    assert_eq!(client.text().await, "kept");
    assert_eq!(client.echo("next").await, "next");
    assert_eq!(node.report("lobby").await["keys"], json!(["kept"]));
}

#[tokio::test]
async fn an_error_keeps_the_instance_and_a_panic_does_not() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby").await;
    client.tell(json!([{"err": "no"}])).await;
    assert_eq!(client.echo("x").await, "x");
    assert_eq!(node.report("lobby").await["starts"], 1);
    client.tell(json!([{"panic": "no"}])).await;
    assert_eq!(client.echo("x").await, "x");
    assert_eq!(node.report("lobby").await["starts"], 2);
}

#[tokio::test]
async fn a_turn_reads_its_own_writes() {
    let node = Setup::memory().start().await;
    let said = node
        .post("lobby", &json!([
            {"put": ["a", 1]}, {"get": "a"}, {"delete": "a"}, {"get": "a"}, {"put": ["b", 2]},
            {"put": ["c", 3]}, {"list": {}}, "delete_all", {"list": {}}, {"put": ["d", 4]}, {"list": {}},
            {"alarm_in": 3_600_000}, "alarm_is_set", "alarm_delete", "alarm_is_set",
        ]))
        .await;
    assert_eq!(script(&said), ["1", "true", "null", "b,c", "", "d", "true", "false"]);
    assert_eq!(node.report("lobby").await["keys"], json!(["d"]));
}
