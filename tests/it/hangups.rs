//! Operators who disconnect while the server makes their change: it is made once or not at all, and audited with
//! start and end.

use crate::operated::Operated;
use room_runtime::Limits;
use room_runtime::server::BlobId;
use room_tests::{Dice, RawClient, Requests, TestClient, guest, seed, until, within};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// Every way to change something: the method, and the path as `openapi.json` has it.
const CHANGES: [(&str, &str); 12] = [
    ("POST", "/_room/admin/tokens"),
    ("DELETE", "/_room/admin/tokens/{id}"),
    ("PUT", "/_room/admin/blobs/{hash}"),
    ("DELETE", "/_room/admin/projects/{project}"),
    ("POST", "/_room/admin/projects/{project}/plan"),
    ("POST", "/_room/admin/projects/{project}/deploy"),
    ("POST", "/_room/admin/projects/{project}/rollback"),
    ("PUT", "/_room/admin/projects/{project}/env/{name}"),
    ("DELETE", "/_room/admin/projects/{project}/env/{name}"),
    ("POST", "/_room/admin/projects/{project}/node/{path}"),
    ("PUT", "/_room/admin/projects/{project}/node/{path}"),
    ("DELETE", "/_room/admin/projects/{project}/node/{path}"),
];

/// The moment at which the operator disconnects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// As soon as the head is sent.
    AfterHead,
    /// Anywhere in the head or the body.
    Inside,
    /// At the last byte, or a little later.
    AfterLast,
    /// When the audit has the start of the change.
    OnceBegun,
}

/// The moment that waits for the audit comes first: all tokens are made at one path, where a change that an operator
/// left earlier may start at any time.
const MOMENTS: [Moment; 4] =
    [Moment::OnceBegun, Moment::AfterHead, Moment::Inside, Moment::AfterLast];

/// One change that one operator requests.
struct Attempt {
    row: (&'static str, &'static str),
    moment: Moment,
    /// Behind `/_room/admin/`.
    path: String,
    body: Vec<u8>,
    /// The way to find the effect, as [`done`] reads it.
    effect: Effect,
}

/// The state after a change was made.
#[derive(Clone, Debug)]
enum Effect {
    Token(String),
    NoToken(String),
    Blob(BlobId),
    NoProject(String),
    /// The project has one version, which is served.
    First(String),
    /// The project serves this version.
    Serves(String, u64),
    Variable(String),
    NoVariable(String),
    Key(String),
    NoKey(String),
    /// No effect that can be checked after a restart.
    Nothing,
}

/// Returns the lines of the audit.
fn audit(data: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(data.join("audit.log")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn begun(data: &Path, method: &str, path: &str) -> usize {
    let path = format!("/_room/admin/{}", path.split('?').next().unwrap());
    let is_it = |line: &&Value| {
        line["phase"] == "begun" && line["method"] == method && line["path"] == path
    };
    audit(data).iter().filter(is_it).count()
}

/// Makes a change that must succeed, once no other change of the same project runs.
async fn made(operated: &Operated, method: &str, path: &str, body: Value) -> Value {
    let body = body.to_string();
    let mut reply = None;
    until("a change to be made", async || {
        let got = operated.ask(method, path, body.as_bytes()).await;
        assert!(matches!(got.status, 200 | 409), "{method} {path}: {}", got.text());
        let good = got.status == 200;
        reply = Some(got);
        good
    })
    .await;
    reply.unwrap().json()
}

/// Prepares the state for the change, and returns the request.
async fn prepare(
    operated: &Operated,
    row: (&'static str, &'static str),
    moment: Moment,
    number: usize,
) -> Attempt {
    let release = async |project: &str, version: &str| {
        operated.named_release(project, &guest("puppet"), version).await
    };
    let deploy = async |project: &str, version: &str| {
        let release = release(project, version).await;
        made(operated, "POST", &format!("projects/{project}/deploy"), release).await;
    };
    let key = format!("projects/chat/node/rooms/main/lobby/storage/key-{number}-{}", row.0);
    let variable = format!("{}_{number}", row.0);
    let own = format!("{}-{number}", if row.0 == "DELETE" { "gone" } else { "own" });
    let (path, body, effect) = match (row.0, row.1.rsplit('/').next().unwrap()) {
        ("POST", "tokens") => {
            let body = json!({"name": own, "scope": "read"}).to_string();
            ("tokens".to_owned(), body, Effect::Token(own))
        }
        ("DELETE", "{id}") => {
            let made =
                made(operated, "POST", "tokens", json!({"name": own, "scope": "read"})).await;
            let id = made["id"].as_str().unwrap();
            (format!("tokens/{id}"), String::new(), Effect::NoToken(own))
        }
        ("PUT", "{hash}") => {
            let body = format!("blob {number} ").repeat(10_000);
            let id = BlobId::of(body.as_bytes());
            (format!("blobs/{id}"), body, Effect::Blob(id))
        }
        ("DELETE", "{project}") => {
            deploy(&own, "its own page").await;
            (format!("projects/{own}"), String::new(), Effect::NoProject(own))
        }
        ("POST", "plan") => {
            let body = release("chat", "2").await.to_string();
            ("projects/chat/plan".to_owned(), body, Effect::Nothing)
        }
        ("POST", "deploy") => {
            let body = release(&own, "1").await.to_string();
            (format!("projects/{own}/deploy"), body, Effect::First(own))
        }
        ("POST", "rollback") => {
            let own = format!("back-{number}");
            deploy(&own, "1").await;
            deploy(&own, "2").await;
            (format!("projects/{own}/rollback"), String::new(), Effect::Serves(own, 1))
        }
        ("PUT", "{name}") => {
            let body = json!({"value": "set"}).to_string();
            (format!("projects/chat/env/{variable}"), body, Effect::Variable(variable))
        }
        ("DELETE", "{name}") => {
            let path = format!("projects/chat/env/{variable}");
            made(operated, "PUT", &path, json!({"value": "set"})).await;
            (path, String::new(), Effect::NoVariable(variable))
        }
        ("POST", "{path}") => {
            let room = format!("visited-{number}");
            operated.report(&room).await;
            let path = format!("projects/chat/node/rooms/main/{room}/close");
            (path, String::new(), Effect::Nothing)
        }
        ("PUT", "{path}") => (key.clone(), "7".to_owned(), Effect::Key(key)),
        ("DELETE", "{path}") => {
            made(operated, "PUT", &key, json!(7)).await;
            (key.clone(), String::new(), Effect::NoKey(key))
        }
        other => panic!("{other:?} has no attempt"),
    };
    Attempt { row, moment, path, body: body.into_bytes(), effect }
}

/// Sends the request, and disconnects.
async fn leave(operated: &Operated, data: &Path, attempt: &Attempt, dice: &mut Dice) {
    let before = begun(data, attempt.row.0, &attempt.path);
    let head = format!(
        "{} /_room/admin/{} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        attempt.row.0,
        attempt.path,
        operated.token,
        attempt.body.len()
    );
    let whole = [head.as_bytes(), &attempt.body].concat();
    let sent = match attempt.moment {
        Moment::AfterHead => head.len(),
        Moment::Inside => 1 + dice.below(whole.len() - 1),
        Moment::AfterLast | Moment::OnceBegun => whole.len(),
    };
    let mut client = RawClient::open(operated.server.admin_addr()).await;
    client.write(&whole[..sent]).await;
    match attempt.moment {
        Moment::OnceBegun => {
            until("the change to start", async || {
                begun(data, attempt.row.0, &attempt.path) > before
            })
            .await;
        }
        // The moment is random, and waits for nothing.
        Moment::AfterLast => {
            tokio::time::sleep(Duration::from_micros(dice.roll() % 20_000)).await;
        }
        Moment::AfterHead | Moment::Inside => {}
    }
    drop(client);
}

/// Returns whether the change was made. Fails if it is neither made nor without effect.
async fn done(operated: &Operated, data: &Path, effect: &Effect) -> Option<bool> {
    let listed = async |path: &str, name: &str| {
        let all = operated.good("GET", path, Value::Null).await;
        let count = all.as_array().unwrap().iter().filter(|one| one["name"] == name).count();
        assert!(count <= 1, "{name} is there {count} times");
        count == 1
    };
    Some(match effect {
        Effect::Token(name) => listed("tokens", name).await,
        Effect::NoToken(name) => !listed("tokens", name).await,
        Effect::Blob(id) => match std::fs::read(data.join("blobs").join(id.to_string())) {
            Ok(bytes) => {
                assert_eq!(BlobId::of(&bytes), *id);
                true
            }
            Err(_) => false,
        },
        Effect::NoProject(name) => {
            let listed = listed("projects", name).await;
            assert_eq!(listed, data.join("projects").join(name).exists(), "{name}");
            // Otherwise the project without a host answers.
            let page = if listed { "its own page" } else { "1" };
            assert_eq!(operated.asked(name, "/").await, Some(page.into()), "{name}");
            !listed
        }
        Effect::First(name) => {
            let listed = listed("projects", name).await;
            assert_eq!(listed, data.join("projects").join(name).exists(), "{name}");
            if listed {
                let path = format!("projects/{name}/versions");
                let versions = operated.good("GET", &path, Value::Null).await;
                assert_eq!(versions.as_array().map(Vec::len), Some(1));
                assert_eq!(operated.asked(name, "/").await, Some(b"1".to_vec()));
            }
            listed
        }
        Effect::Serves(name, number) => {
            let path = format!("projects/{name}/versions");
            let versions = operated.good("GET", &path, Value::Null).await;
            let current = versions.as_array().unwrap().iter().find(|one| one["current"] == true);
            let current = current.unwrap()["number"].as_u64().unwrap();
            assert_eq!(operated.asked(name, "/").await, Some(current.to_string().into_bytes()));
            current == *number
        }
        Effect::Variable(name) => listed("projects/chat/env", name).await,
        Effect::NoVariable(name) => !listed("projects/chat/env", name).await,
        Effect::Key(path) => operated.ask("GET", path, &[]).await.status == 200,
        Effect::NoKey(path) => operated.ask("GET", path, &[]).await.status == 404,
        Effect::Nothing => return None,
    })
}

/// Waits for the end of a change that has started. A change that came while another one of the same project still ran
/// was refused, and is requested again.
async fn insist(operated: &Operated, data: &Path, attempt: &Attempt, dice: &mut Dice) {
    let (method, path) = (attempt.row.0, attempt.path.as_str());
    loop {
        until("it to end", async || ended(data, method, path).is_some()).await;
        if ended(data, method, path) != Some(json!(409)) {
            break;
        }
        leave(operated, data, attempt, dice).await;
    }
}

/// Returns how the newest change of this kind ended; `None` if it has not ended or not started.
fn ended(data: &Path, method: &str, path: &str) -> Option<Value> {
    let path = format!("/_room/admin/{}", path.split('?').next().unwrap());
    let lines = audit(data);
    let newest = lines.iter().rev().find(|line| line["method"] == method && line["path"] == path);
    newest.filter(|line| line["phase"] == "done").map(|line| line["status"].clone())
}

/// Checks that each started change ended once, and returns how many succeeded, by method and path.
fn ended_well(data: &Path) -> BTreeMap<(String, String), usize> {
    let mut open = BTreeSet::new();
    let mut well = BTreeMap::new();
    for line in audit(data) {
        let id = line["id"].as_str().unwrap().to_owned();
        match line["phase"].as_str().unwrap() {
            "begun" => {
                assert!(line["status"].is_null() && open.insert(id), "{line}");
            }
            "done" => {
                assert!(open.remove(&id), "it ended without a start, or twice: {line}");
                let asked = |name: &str| line[name].as_str().unwrap().to_owned();
                let count = well.entry((asked("method"), asked("path"))).or_default();
                *count += usize::from(line["status"] == 200);
            }
            other => panic!("{other}: {line}"),
        }
    }
    assert_eq!(open, BTreeSet::new(), "changes that started and never ended");
    well
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_made_once_or_not_at_all_if_its_operator_disconnects() {
    let mut dice = Dice(seed());
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let operated = Operated::start(data).await;
    let mut release = operated.release(&guest("puppet"), "1").await;
    release["limits"] = json!({"rooms_active_max": 16, "door_instances_max": 1});
    operated.good("POST", "projects/chat/deploy", release).await;
    operated.server.addr().post("lobby", &json!([{"put": ["k", 1]}])).await;
    let mut attempts = Vec::new();
    for row in CHANGES {
        for moment in MOMENTS {
            let attempt = prepare(&operated, row, moment, attempts.len()).await;
            leave(&operated, data, &attempt, &mut dice).await;
            if moment == Moment::OnceBegun {
                insist(&operated, data, &attempt, &mut dice).await;
            }
            attempts.push(attempt);
        }
    }
    // The stop waits for changes that have started.
    let operated = operated.restart(data).await;
    let well = ended_well(data);
    assert_eq!(operated.server.broken(), []);
    for attempt in &attempts {
        let Attempt { row, moment, path, effect, .. } = attempt;
        let noted = (row.0.to_owned(), format!("/_room/admin/{path}"));
        let noted = well.get(&noted).copied().unwrap_or_default();
        let done = done(&operated, data, effect).await;
        // All tokens are made at one path.
        if let (Some(done), true) = (done, path != "tokens") {
            assert_eq!(usize::from(done), noted, "{row:?} {moment:?} {path} {effect:?}");
        }
        if *moment == Moment::OnceBegun {
            assert!(noted > 0 && done != Some(false), "{row:?} {path} {effect:?}");
        }
    }
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn every_documented_change_is_tested_with_a_disconnecting_operator() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    let described: Value = operated.good("GET", "openapi.json", Value::Null).await;
    let mut changes = BTreeSet::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|method| *method != "get") {
            changes.insert((method.to_uppercase(), path.clone()));
        }
    }
    // Only a node of a cluster makes these: `tests/cluster` has them.
    changes.retain(|(_, path)| !path.starts_with("/_room/admin/nodes/"));
    let tried = CHANGES.map(|(method, path)| (method.to_owned(), path.to_owned()));
    assert_eq!(changes, BTreeSet::from(tried));
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_completes_after_its_operator_disconnected() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let operated = Operated::start_draining_for(&data, 2_000).await;
    operated.deploy("chat", &guest("puppet"), "1").await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(TestClient::connect(operated.server.addr(), "/parties/main/lobby").await);
    }
    let (project, marker) = (data.join("projects/chat"), data.join("projects/chat/deleted"));
    let request = format!(
        "DELETE /_room/admin/projects/chat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        operated.token
    );
    let mut client = RawClient::open(operated.server.admin_addr()).await;
    client.write(request.as_bytes()).await;
    until("the deletion to start", async || marker.exists()).await;
    drop(client);
    // A crash right now: another server serves this copy.
    let crashed = dir.path().join("crashed");
    copy(&data, &crashed);
    // No other change gets in between.
    let release = operated.release(&guest("puppet"), "2").await;
    let said = operated.refused(409, "POST", "projects/chat/deploy", &release).await;
    assert_eq!(said, "another change of this project is running");
    operated.refused(409, "DELETE", "projects/chat", &Value::Null).await;
    let listed = operated.good("GET", "projects", Value::Null).await;
    assert_eq!(listed, json!([]));
    until("the folder to be deleted", async || !project.exists()).await;
    until("the name to be free", async || {
        let body = release.to_string();
        operated.ask("POST", "projects/chat/deploy", body.as_bytes()).await.status == 200
    })
    .await;
    let operated = operated.restart(&data).await;
    let versions = operated.good("GET", "projects/chat/versions", Value::Null).await;
    assert_eq!(versions.as_array().map(Vec::len), Some(1));
    assert_eq!(operated.page().await, "2");
    let token = operated.token.clone();
    within("a server to stop", operated.server.drain()).await;

    let operated = Operated { token, ..Operated::start(&crashed).await };
    assert_eq!((operated.server.projects(), operated.server.broken()), (vec![], vec![]));
    assert_eq!(std::fs::read_dir(crashed.join("projects")).unwrap().count(), 0);
    within("a server to stop", operated.server.drain()).await;
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            // The other server may have just removed the file.
            false => drop(std::fs::copy(entry.path(), to)),
        }
    }
}

#[tokio::test]
async fn a_failed_first_deployment_leaves_nothing_and_frees_its_slot() {
    let dir = tempfile::tempdir().unwrap();
    let projects = dir.path().join("projects");
    let operated = Operated::start(dir.path()).await;
    operated.deploy("chat", &guest("puppet"), "1").await;
    let mut broken = operated.named_release("broken", b"this is no module", "1").await;
    operated.refused(422, "POST", "projects/broken/deploy", &broken).await;
    // It also needs the slot of the healthy one.
    broken["hosts"] = json!([]);
    operated.refused(409, "POST", "projects/broken/deploy", &broken).await;
    let names = || {
        let entries = std::fs::read_dir(&projects).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["chat"]);
    // A crash in the middle of one: the change has no effect.
    let cut = projects.join("cut");
    std::fs::create_dir_all(cut.join("rooms/log")).unwrap();
    std::fs::write(cut.join("new"), "cut").unwrap();
    let operated = operated.restart(dir.path()).await;
    assert_eq!(
        (operated.server.projects(), operated.server.broken()),
        (vec!["chat".into()], vec![])
    );
    assert_eq!(names(), ["chat"]);
    assert_eq!(operated.page().await, "1");
    // The names are free.
    for project in ["broken", "cut"] {
        let release = operated.named_release(project, &guest("puppet"), "1").await;
        let done = operated.good("POST", &format!("projects/{project}/deploy"), release).await;
        assert_eq!(done["version"], 1);
    }
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn changes_beyond_the_limit_get_503_and_a_stalled_upload_does_not_block_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { admin_changes_max: 1, drain_spread_ms: 1, ..Limits::default() };
    let operated = Operated::start_with(dir.path(), limits).await;
    let id = BlobId::of(b"whole");
    let head = format!(
        "PUT /_room/admin/blobs/{id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 5\r\n\r\nwh",
        operated.token
    );
    let silent = async || {
        let mut client = RawClient::open(operated.server.admin_addr()).await;
        client.write(head.as_bytes()).await;
        client
    };
    let first = silent().await;
    until("the upload to start", async || begun(dir.path(), "PUT", &format!("blobs/{id}")) == 1)
        .await;
    let wish = json!({"name": "ci", "scope": "read"});
    let said = operated.refused(503, "POST", "tokens", &wish).await;
    assert!(said.contains("admin_changes_max"), "{said}");
    // A reader is not delayed.
    operated.good("GET", "tokens", Value::Null).await;
    drop(first);
    until("its place to be free", async || {
        operated.ask("POST", "tokens", wish.to_string().as_bytes()).await.status == 200
    })
    .await;
    let _second = silent().await;
    until("the upload to start", async || begun(dir.path(), "PUT", &format!("blobs/{id}")) == 2)
        .await;
    within("a server to stop", operated.server.drain()).await;
    let refused = audit(dir.path()).into_iter().filter(|line| line["phase"] == "refused").count();
    assert!(refused > 0);
}
