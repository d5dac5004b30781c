//! A server of many projects, with the default limits.

use crate::operated::Operated;
use room_runtime::Limits;
use room_tests::{Requests, TestClient, guest, variant, within};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use tokio::time::Instant;

/// Returns the number of projects: more than a process could hold when each had an engine of its own, which ended
/// with the third. `PROJECTS=1000` asks for as many as a server may have.
fn projects() -> usize {
    let asked = std::env::var_os("PROJECTS");
    asked.map_or(12, |number| number.to_str().unwrap().parse().unwrap())
}

async fn start(data: &Path) -> Operated {
    Operated::start_as_shipped(data, Limits { drain_spread_ms: 1, ..Limits::default() }).await
}

/// A project's limits may be valid by themselves, and still leave no valid set where the process has less.
#[tokio::test]
async fn limits_beyond_the_process_are_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    let mut release = operated.release(&guest("puppet"), "1").await;
    release["limits"] = json!({"turn_ms_max": 5, "tick_ms": 5});
    let said = operated.refused(400, "POST", "projects/chat/deploy", &release).await;
    let wanted = "within the limits of the process, tick_ms must not exceed turn_ms_max";
    assert!(said.contains(wanted), "{said}");
    operated.refused(400, "POST", "projects/chat/plan", &release).await;
    release["limits"] = json!({"tick_ms": 5});
    operated.good("POST", "projects/chat/deploy", release).await;
    // A later release is checked against the same limits.
    let mut later = operated.release(&guest("puppet"), "2").await;
    later["limits"] = json!({"turn_ms_max": 5, "tick_ms": 5});
    operated.refused(400, "POST", "projects/chat/deploy", &later).await;
    within("a server to stop", operated.server.drain()).await;
}

fn host(number: usize) -> String {
    format!("p{number}.example.com")
}

/// Returns the report of the lobby of the project at this host.
async fn report(operated: &Operated, host: &str) -> (u16, Value) {
    let reply = operated.server.addr().get(&format!("http://{host}/parties/main/lobby")).await;
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
}

#[tokio::test]
async fn many_projects_on_default_limits_are_served_at_once_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut operated = start(dir.path()).await;
    let (puppet, projects) = (guest("puppet"), projects());
    for number in 0..projects {
        let mut release = operated.release(&puppet, "1").await;
        release["hosts"] = json!([host(number)]);
        release["vars"] = json!({"VERSION": number.to_string()});
        operated.good("POST", &format!("projects/p{number}/deploy"), release).await;
    }
    for restarted in [false, true] {
        if restarted {
            within("a server to stop", operated.server.drain()).await;
            let begun = Instant::now();
            operated = start(dir.path()).await;
            say(&format!("{projects} projects start in {:.1} s", begun.elapsed().as_secs_f64()));
        }
        assert_eq!(operated.server.broken(), [], "after a restart: {restarted}");
        assert_eq!(operated.server.projects().len(), projects);
        for number in 0..projects {
            let (status, report) = report(&operated, &host(number)).await;
            assert_eq!(status, 200, "{number} after a restart: {restarted}");
            assert_eq!(report["version"], json!(number.to_string()), "{report}");
        }
    }
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn deploying_the_same_release_again_creates_no_version_and_reloads_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let operated = start(dir.path()).await;
    let puppet = guest("puppet");
    operated.deploy("chat", &puppet, "1").await;
    let mut client = TestClient::connect(operated.server.addr(), "/parties/main/lobby").await;
    client.ask(json!([{"put": ["k", 1]}, {"say": "put"}])).await;
    let again = operated.deploy("chat", &puppet, "1").await;
    assert_eq!((&again["version"], &again["rooms"]), (&json!(1), &json!(0)), "{again}");
    let versions = operated.good("GET", "projects/chat/versions", Value::Null).await;
    assert_eq!(versions.as_array().unwrap().len(), 1, "{versions}");
    // Other files with the same code: a new version, for which no room restarts.
    let other = operated.deploy("chat", &puppet, "2").await;
    assert_eq!((&other["version"], &other["rooms"]), (&json!(2), &json!(1)), "{other}");
    let mut release = operated.release(&puppet, "2").await;
    release["assets"] = json!([]);
    let files = operated.good("POST", "projects/chat/deploy", release).await;
    assert_eq!((&files["version"], &files["rooms"]), (&json!(3), &json!(0)), "{files}");
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn rooms_of_all_projects_share_the_slots_of_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { rooms_active_max: 2, drain_spread_ms: 1, ..Limits::default() };
    let operated = Operated::start_as_shipped(dir.path(), limits).await;
    let puppet = guest("puppet");
    for number in 0..3 {
        let mut release = operated.release(&variant(&puppet, number), "1").await;
        release["hosts"] = json!([host(usize::from(number))]);
        operated.good("POST", &format!("projects/p{number}/deploy"), release).await;
    }
    // Three rooms of three projects for two places: the least recently used one leaves, whichever project has it.
    for round in 0..3 {
        for number in 0..3 {
            let (status, _) = report(&operated, &host(number)).await;
            assert_eq!(status, 200, "round {round}, project {number}");
        }
    }
    let mut live = 0;
    for number in 0..3 {
        let node =
            operated.good("GET", &format!("projects/p{number}/node/overview"), Value::Null).await;
        live += node["rooms"]["live"].as_u64().unwrap();
        assert_eq!(node["rooms"]["live_max"], json!(2), "{node}");
    }
    assert!(live <= 2, "{live} rooms are live");
    within("a server to stop", operated.server.drain()).await;
}

/// Prints a figure for the person who runs this with `--nocapture`.
fn say(text: &str) {
    // A closed output loses nothing that the test needs.
    drop(writeln!(std::io::stdout(), "{text}"));
}
