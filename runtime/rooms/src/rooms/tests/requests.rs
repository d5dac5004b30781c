//! Requests to other servers and calls between rooms: receipts, repetitions, and what waits for what.

use super::*;
use crate::room::{RoomCall, RoomLeft};
use room_core::config::FetchHosts;
use room_core::event::CallPayload;
use room_core::id::SequenceNumber;
use room_core::jobs::{CallId, JobId, OutcallAnswer, RoomAddress};
use room_core::ttl::Lifetime;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Adds one to a number, and says it.
const ADD: &str = r#"[{"add":"n"}]"#;

fn room(name: &str) -> RoomId {
    RoomId::new(PartyName::parse("main").unwrap(), name, 256).unwrap()
}

/// Returns limits by which a room leaves memory as soon as it is quiet.
fn hasty() -> Limits {
    Limits { rooms_active_max: 4, idle_evict_ms: 1, ..Limits::default() }
}

fn few() -> Limits {
    Limits { rooms_active_max: 4, ..Limits::default() }
}

async fn node(limits: Limits) -> TestNode {
    TestNode::of(Disk::default(), limits, |_| {}).await
}

/// Waits until something is true.
async fn until(mut is_true: impl FnMut() -> bool) {
    let waits = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(waits).await;
}

/// Lets wall time pass at once.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn far() -> u64 {
    Clock::system().wall_ms() + 3_600_000
}

fn call_id(number: u64) -> CallId {
    let from = RoomAddress { party: "main".to_owned(), room: "caller".to_owned() };
    CallId { from, job: JobId::first_of(SequenceNumber { epoch: 1, seq: number }) }
}

/// Calls the lobby with a script, as the room `caller` would with the call of this number.
async fn call(
    node: &TestNode,
    number: u64,
    until_ms: u64,
    script: &str,
) -> Result<OutcallAnswer, RoomError> {
    let payload = CallPayload::Data(Bytes::copy_from_slice(script.as_bytes()));
    let call = RoomCall { id: call_id(number), payload, until_ms };
    // A room that has just left memory is off the list, so the next look finds another one.
    let mut call = Some(Box::new(call));
    loop {
        let handle = node.rooms.handle(&lobby()).unwrap();
        match handle.call(call.take().unwrap()) {
            Ok(answer) => return within(answer).await,
            Err(RoomLeft(back)) => call = Some(back),
        }
    }
}

fn returned(text: &str) -> Result<OutcallAnswer, RoomError> {
    Ok(OutcallAnswer::Returned(Bytes::copy_from_slice(text.as_bytes())))
}

async fn ask(node: &TestNode, room: &RoomId, script: &Value) -> Result<String, Unreachable> {
    let entrance = node.rooms.entrance(room)?;
    let request = Request {
        uri: format!("http://localhost/parties/main/{}", room.name()),
        ..post(&script.to_string())
    };
    let asked = node.rooms.request(&entrance, request, BodyDelivery::Whole);
    let response = within(asked).await?.unwrap().whole().unwrap();
    Ok(String::from_utf8_lossy(&response.body).into_owned())
}

/// Returns a room's report, as JSON.
async fn report(node: &TestNode, room: &RoomId) -> String {
    let said = ask(node, room, &json!(["report"])).await.unwrap_or_default();
    let said: Vec<String> = serde_json::from_str(&said).unwrap_or_default();
    said.concat()
}

/// Waits until a room has noted this.
async fn noted(node: &TestNode, room: &RoomId, wanted: &str) {
    let waits = async {
        while !report(node, room).await.contains(wanted) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(waits).await;
}

async fn rings(node: &TestNode, room: &RoomId) -> bool {
    let (done, answer) = oneshot::channel();
    node.rooms.ring(room, done);
    within(answer).await.is_ok()
}

fn call_step(to: &str, script: &Value) -> Value {
    json!({"ask": {"call": {"party": "main", "room": to, "tag": "tag", "script": script}}})
}

/// A server that reads requests, and answers when the test says so.
struct Slow {
    listener: TcpListener,
}

impl Slow {
    async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn host(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Makes a node whose rooms may fetch from it.
    async fn node(&self, disk: Disk, limits: Limits) -> TestNode {
        let hosts = FetchHosts::parse(&[self.host()], &limits).unwrap();
        TestNode::of(disk, limits, |party| party.fetch_hosts = hosts).await
    }

    fn step(&self, tag: &str, best_effort: bool) -> Value {
        let url = format!("http://{}/{tag}", self.host());
        json!({"ask": {"fetch": {"url": url, "tag": tag, "best_effort": best_effort}}})
    }

    /// Returns the next request: its connection, and its head.
    async fn request(&self) -> (TcpStream, String) {
        let next = async {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert!(stream.read_buf(&mut head).await.unwrap() > 0);
            }
            (stream, String::from_utf8(head).unwrap().to_lowercase())
        };
        within(next).await
    }
}

async fn answer(stream: TcpStream) {
    answer_with(stream, "ok").await;
}

async fn answer_with(mut stream: TcpStream, body: &str) {
    let head = format!("content-length: {}\r\nconnection: close", body.len());
    let response = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
    stream.write_all(response.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_call_that_comes_again_runs_once_and_gets_the_same_answer() {
    let node = node(hasty()).await;
    for _ in 0..3 {
        assert_eq!(call(&node, 1, far(), ADD).await, returned(r#"["1"]"#));
        // The room's memory is gone, and its receipt is not.
        until(|| node.rooms.count() == 0).await;
    }
    assert_eq!(call(&node, 2, far(), ADD).await, returned(r#"["2"]"#));
    let crashed = TestNode::of(node.disk.crashed(), few(), |_| {}).await;
    assert_eq!(call(&crashed, 1, far(), ADD).await, returned(r#"["1"]"#));
    // What a callback removes does not concern the receipts.
    let all = r#"["delete_all",{"say":"gone"}]"#;
    assert_eq!(call(&crashed, 3, far(), all).await, returned(r#"["gone"]"#));
    assert_eq!(call(&crashed, 3, far(), ADD).await, returned(r#"["gone"]"#));
    assert_eq!(call(&crashed, 1, far(), ADD).await, returned(r#"["1"]"#));
}

#[tokio::test]
async fn a_call_whose_time_is_over_does_not_run() {
    let node = node(few()).await;
    assert_eq!(call(&node, 1, 1, ADD).await, Err(RoomError::TimedOut));
    assert_eq!(call(&node, 2, far(), ADD).await, returned(r#"["1"]"#));
}

#[tokio::test]
async fn a_receipt_ends_when_it_is_forgotten_or_its_time_is_over() {
    let node = node(few()).await;
    let soon = Clock::system().wall_ms() + 30_000;
    assert_eq!(call(&node, 1, far(), ADD).await, returned(r#"["1"]"#));
    assert_eq!(call(&node, 2, soon, ADD).await, returned(r#"["2"]"#));
    node.rooms.handle(&lobby()).unwrap().forget(call_id(1));
    assert_eq!(call(&node, 1, far(), ADD).await, returned(r#"["3"]"#));
    assert!(rings(&node, &lobby()).await);
    assert_eq!(call(&node, 2, soon, ADD).await, returned(r#"["2"]"#));
    pass(Duration::from_secs(31)).await;
    assert!(rings(&node, &lobby()).await);
    assert_eq!(call(&node, 2, far(), ADD).await, returned(r#"["4"]"#));
}

#[tokio::test]
async fn a_full_mailbox_takes_the_news_that_a_receipt_may_end() {
    let node = node(Limits { mailbox_events_max: 1, receipts_max: 1, ..few() }).await;
    assert_eq!(call(&node, 1, far(), ADD).await, returned(r#"["1"]"#));
    let handle = node.rooms.handle(&lobby()).unwrap();
    // The room's task does not run before this one waits.
    let payload = CallPayload::Data(Bytes::from_static(ADD.as_bytes()));
    let again = RoomCall { id: call_id(2), payload, until_ms: far() };
    let waits = handle.call(Box::new(again)).unwrap();
    handle.forget(call_id(1));
    assert_eq!(within(waits).await, Err(RoomError::Busy));
    assert_eq!(call(&node, 3, far(), ADD).await, returned(r#"["2"]"#));
}

#[tokio::test]
async fn a_room_full_of_receipts_runs_no_call_and_its_callers_wait() {
    let node = node(Limits { receipts_max: 1, ..few() }).await;
    assert_eq!(call(&node, 1, far(), ADD).await, returned(r#"["1"]"#));
    assert_eq!(call(&node, 2, far(), ADD).await, Err(RoomError::Busy));
    let ada = room("ada");
    let step = call_step("lobby", &json!([{"add": "n"}]));
    ask(&node, &ada, &json!([step])).await.unwrap();
    until(|| node.metrics.text().contains("room_outcalls_retried_total 1\n")).await;
    node.rooms.handle(&lobby()).unwrap().forget(call_id(1));
    pass(Duration::from_secs(1)).await;
    assert!(rings(&node, &ada).await);
    // The calls that did not fit left nothing, in the room's memory neither.
    noted(&node, &ada, r#"answer tag [\"2\"]"#).await;
}

#[tokio::test]
async fn an_answer_that_never_fits_fails_its_call_and_leaves_nothing() {
    let node = node(Limits { receipts_bytes_max: 300, ..few() }).await;
    let big = r#"[{"add":"n"},{"say_bytes":400}]"#;
    let Ok(OutcallAnswer::NotReturned(failure)) = call(&node, 1, far(), big).await else {
        panic!("a failure")
    };
    assert_eq!(failure.code, "refused");
    assert!(failure.message.contains("receipts_bytes_max"), "{}", failure.message);
    assert_eq!(call(&node, 1, far(), ADD).await, returned(r#"["1"]"#));
}

#[tokio::test]
async fn a_call_that_failed_behind_a_flush_is_not_carried_out_again() {
    let node = node(few()).await;
    let half = r#"[{"add":"n"},"flush",{"add":"n"},{"err":"no"}]"#;
    for code in ["refused", "interrupted", "interrupted"] {
        let Ok(OutcallAnswer::NotReturned(failure)) = call(&node, 1, far(), half).await else {
            panic!("a failure")
        };
        assert_eq!(failure.code, code);
    }
    // One that ends well behind two flushes has its own answer.
    let whole = r#"[{"add":"n"},"flush",{"add":"n"},"flush",{"say":"done"}]"#;
    for _ in 0..2 {
        let answer = returned(r#"["2","3","done"]"#);
        assert_eq!(call(&node, 2, far(), whole).await, answer);
    }
    assert_eq!(call(&node, 3, far(), ADD).await, returned(r#"["4"]"#));
}

#[tokio::test]
async fn a_request_that_is_due_waits_until_its_turn_is_durable() {
    let node = node(few()).await;
    let (ada, bob) = (room("ada"), room("bob"));
    ask(&node, &ada, &json!([])).await.unwrap();
    node.disk.hold();
    let steps = json!([call_step("bob", &json!([]))]);
    let mut asked = Box::pin(ask(&node, &ada, &steps));
    assert!(futures_util::poll!(asked.as_mut()).is_pending());
    node.held().await;
    // Long after the time at which a crash would have it sent again.
    pass(Duration::from_secs(5)).await;
    let mut rung = Box::pin(rings(&node, &ada));
    assert!(futures_util::poll!(rung.as_mut()).is_pending());
    settle().await;
    let is_called = || node.rooms.residents().iter().any(|(id, _)| *id == bob);
    assert!(!is_called(), "bob is called before the disk has the turn");
    node.disk.work();
    asked.await.unwrap();
    assert!(rung.await);
    noted(&node, &ada, "answer tag []").await;
    let report = report(&node, &bob).await;
    assert_eq!(report.matches("call main/ada").count(), 1, "{report}");
}

#[tokio::test]
async fn a_request_whose_turn_was_lost_is_never_sent() {
    let node = node(few()).await;
    let (ada, bob) = (room("ada"), room("bob"));
    ask(&node, &ada, &json!([])).await.unwrap();
    node.disk.hold();
    let steps = json!([call_step("bob", &json!([]))]);
    let mut asked = Box::pin(ask(&node, &ada, &steps));
    assert!(futures_util::poll!(asked.as_mut()).is_pending());
    node.held().await;
    node.disk.fail();
    assert!(asked.await.is_err());
    node.disk.work();
    node.works_again().await;
    pass(Duration::from_secs(5)).await;
    assert!(rings(&node, &ada).await);
    assert_eq!(ask(&node, &ada, &json!([{"ask": "pending"}])).await, Ok(r#"[""]"#.to_owned()));
    assert!(!node.rooms.residents().iter().any(|(id, _)| *id == bob));
}

#[tokio::test]
async fn requests_wait_while_as_many_are_under_way_as_the_limit_allows() {
    let slow = Slow::start().await;
    let limits = Limits { outcalls_running_max: 2, ..few() };
    let node = slow.node(Disk::default(), limits).await;
    let ada = room("ada");
    let steps: Vec<_> = ["a", "b", "c", "d"].iter().map(|tag| slow.step(tag, false)).collect();
    ask(&node, &ada, &json!(steps)).await.unwrap();
    let (first, second) = (slow.request().await, slow.request().await);
    settle().await;
    {
        let mut more = std::pin::pin!(slow.listener.accept());
        assert!(futures_util::poll!(more.as_mut()).is_pending());
    }
    // One that waits and is given up is not sent.
    let gave_up = ask(&node, &ada, &json!([{"ask": {"cancel": "c"}}])).await;
    assert_eq!(gave_up, Ok(r#"["1"]"#.to_owned()));
    answer(first.0).await;
    let (third, head) = slow.request().await;
    assert!(head.starts_with("get /d "), "{head}");
    answer(second.0).await;
    answer(third).await;
    for tag in ["a", "b", "d"] {
        noted(&node, &ada, &format!("response {tag} 200 ok")).await;
    }
}

#[tokio::test]
async fn best_effort_requests_under_way_count_against_the_limit() {
    let slow = Slow::start().await;
    let limits = Limits { outcalls_running_max: 1, outcalls_max: 2, ..few() };
    let node = slow.node(Disk::default(), limits).await;
    let ada = room("ada");
    for _ in 0..2 {
        ask(&node, &ada, &json!([slow.step("t", true)])).await.unwrap();
    }
    assert!(ask(&node, &ada, &json!([slow.step("t", true)])).await.is_err());
    let (first, _) = slow.request().await;
    answer(first).await;
    noted(&node, &ada, "response t 200 ok").await;
    ask(&node, &ada, &json!([slow.step("t", true)])).await.unwrap();
}

#[tokio::test]
async fn answers_whose_turns_fail_are_kept_up_to_a_bound() {
    let slow = Slow::start().await;
    let limits = Limits { outcalls_bytes_max: 400, fetch_response_bytes_max: 400, ..few() };
    let node = slow.node(Disk::default(), limits).await;
    let ada = room("ada");
    let steps: Vec<_> = (0..3).map(|_| slow.step("fails-99", false)).collect();
    ask(&node, &ada, &json!(steps)).await.unwrap();
    for _ in 0..3 {
        answer_with(slow.request().await.0, &"x".repeat(250)).await;
    }
    until(|| node.metrics.text().contains("room_fetches_total{outcome=\"ok\"} 3\n")).await;
    until(|| node.metrics.text().contains("room_answers_dropped_total 1\n")).await;
}

#[tokio::test]
async fn a_room_stays_in_memory_while_a_request_is_under_way() {
    let slow = Slow::start().await;
    let node = slow.node(Disk::default(), hasty()).await;
    let (ada, bob) = (room("ada"), room("bob"));
    ask(&node, &ada, &json!([slow.step("t", false)])).await.unwrap();
    let (stream, _) = slow.request().await;
    ask(&node, &bob, &json!([])).await.unwrap();
    let residents =
        || -> Vec<RoomId> { node.rooms.residents().into_iter().map(|(id, _)| id).collect() };
    until(|| residents() == [ada.clone()]).await;
    answer(stream).await;
    until(|| residents().is_empty()).await;
    noted(&node, &ada, "response t 200 ok").await;
}

#[tokio::test]
async fn a_request_that_a_stop_interrupted_is_sent_again_with_its_key() {
    let slow = Slow::start().await;
    let node = slow.node(Disk::default(), few()).await;
    let ada = room("ada");
    ask(&node, &ada, &json!([slow.step("t", false)])).await.unwrap();
    let (mut stream, first) = slow.request().await;
    within(node.rooms.drain()).await;
    assert_eq!(within(stream.read(&mut [0])).await.unwrap_or(0), 0, "the request has ended");
    let again = slow.node(node.disk.crashed(), few()).await;
    pass(Duration::from_secs(3)).await;
    assert!(rings(&again, &ada).await);
    let (stream, second) = slow.request().await;
    let key = |head: &str| {
        let key = head.lines().find_map(|line| line.strip_prefix("idempotency-key: "));
        key.map(str::to_owned).unwrap()
    };
    assert_eq!(key(&first), key(&second));
    answer(stream).await;
    noted(&again, &ada, "response t 200 ok").await;
}

#[tokio::test]
async fn a_room_does_not_expire_while_a_call_may_be_repeated() {
    let node = TestNode::of(Disk::default(), few(), |party| {
        party.lifetime = Some(Lifetime::new(1_000, 0));
    });
    let node = node.await;
    let expires = async || {
        pass(Duration::from_secs(5)).await;
        let (done, answer) = oneshot::channel();
        node.rooms.expire(&lobby(), done);
        within(answer).await.unwrap();
        settle().await;
    };
    assert_eq!(call(&node, 1, far(), ADD).await, returned(r#"["1"]"#));
    expires().await;
    assert_eq!(call(&node, 1, far(), ADD).await, returned(r#"["1"]"#));
    assert_eq!(call(&node, 2, far(), ADD).await, returned(r#"["2"]"#));
    for number in [1, 2] {
        node.rooms.handle(&lobby()).unwrap().forget(call_id(number));
    }
    expires().await;
    assert_eq!(call(&node, 3, far(), ADD).await, returned(r#"["1"]"#));
}
