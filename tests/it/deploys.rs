//! Deployments that go wrong: cut off, crossed, without space, by another version.

use crate::operated::Operated;
use room_runtime::Limits;
use room_runtime::server::BlobId;
use room_tests::{RawClient, Requests, TestClient, guest, until, variant, within};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Returns the files in the folder of uploads.
fn blobs(data: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(data.join("blobs")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Checks that each stored file is whole, and that nothing else is there.
fn only_whole(data: &Path) -> bool {
    blobs(data).iter().all(|name| {
        let bytes = std::fs::read(data.join("blobs").join(name)).unwrap_or_default();
        *name == BlobId::of(&bytes).to_string()
    })
}

#[tokio::test]
async fn an_interrupted_upload_leaves_nothing_and_can_be_retried() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    operated.deploy("chat", &guest("puppet"), "1").await;
    let mut client = TestClient::connect(operated.server.addr(), "/parties/main/lobby").await;
    let module = variant(&guest("puppet"), 2);
    let id = BlobId::of(&module).to_string();
    let before = blobs(dir.path()).len();
    let head = format!(
        "PUT /_room/admin/blobs/{id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n",
        operated.token
    );
    let half = module.len() / 2;
    let (said, chunk) = (module.len(), format!("{half:x}"));
    for framing in [
        format!("Content-Length: {said}\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n{chunk}\r\n"),
    ] {
        let mut cut = RawClient::open(operated.server.admin_addr()).await;
        cut.write(format!("{head}{framing}").as_bytes()).await;
        cut.write(&module[..half]).await;
        until("a part of it to be there", async || blobs(dir.path()).len() > before).await;
        drop(cut);
        until("the partial file to be deleted", async || blobs(dir.path()).len() == before).await;
    }
    assert!(only_whole(dir.path()));
    let release = json!({"parties": [{"name": "main", "module": id}]});
    let plan = operated.good("POST", "projects/chat/plan", release.clone()).await;
    assert_eq!((&plan["current"], &plan["missing"]), (&json!(1), &json!([id])));
    let said = operated.refused(409, "POST", "projects/chat/deploy", &release).await;
    assert_eq!(said, "files of the release are missing, upload them first: 1");
    assert_eq!(client.echo("served on").await, "served on");
    let done = operated.deploy("chat", &module, "2").await;
    assert_eq!((&done["version"], &done["connections"]), (&json!(2), &json!(1)));
    assert_eq!(operated.report("lobby").await["version"], "2");
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn an_upload_that_is_too_large_or_mismatches_its_hash_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { module_bytes_max: 1_000, ..Limits::default() };
    let operated = Operated::start_with(dir.path(), limits).await;
    let (large, small) = (vec![b'x'; 1_001], vec![b'x'; 1_000]);
    let at = |bytes: &[u8]| format!("blobs/{}", BlobId::of(bytes));
    let reply = operated.ask("PUT", &at(&large), &large).await;
    assert_eq!(
        (reply.status, reply.json()["error"].clone()),
        (413, json!("the body has more than 1000 bytes"))
    );
    let reply = operated.ask("PUT", &at(b"other"), &small).await;
    assert!(
        reply.status == 400 && reply.text().contains("altered or truncated"),
        "{}",
        reply.text()
    );
    assert_eq!(blobs(dir.path()), Vec::<String>::new());
    assert_eq!(operated.ask("PUT", &at(&small), &small).await.status, 200);
    let release = vec![b' '; (8 << 20) + 1];
    let reply = operated.ask("POST", "projects/chat/plan", &release).await;
    assert_eq!(reply.status, 413, "{}", reply.text());
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_deployments_each_get_an_outcome_and_one_is_served_whole() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    let mut releases = Vec::new();
    for mark in 1..=6_u8 {
        let module = variant(&guest("puppet"), mark);
        releases.push(operated.release(&module, &mark.to_string()).await);
    }
    // The project is new, so that its creation is contested, too.
    let deploying = releases.iter().map(async |release| {
        let body = release.to_string();
        operated.ask("POST", "projects/chat/deploy", body.as_bytes()).await
    });
    let replies = within("all to end", futures_util::future::join_all(deploying)).await;
    let mut done = Vec::new();
    for (release, reply) in releases.iter().zip(&replies) {
        match reply.status {
            200 => done.push((reply.json()["version"].as_u64().unwrap(), release)),
            409 => assert_eq!(reply.json()["error"], "another change of this project is running"),
            status => panic!("{status}: {}", reply.text()),
        }
    }
    done.sort_by_key(|(version, _)| *version);
    let numbers: Vec<u64> = done.iter().map(|(version, _)| *version).collect();
    assert_eq!(numbers, (1..=done.len() as u64).collect::<Vec<_>>());
    // Code, variable and page are of the last deployment.
    let (last, release) = done.last().unwrap();
    let versions = operated.good("GET", "projects/chat/versions", Value::Null).await;
    let current = versions.as_array().unwrap().iter().find(|version| version["current"] == true);
    assert_eq!(current.unwrap()["number"], *last);
    assert_eq!(current.unwrap()["parties"][0]["module"], release["parties"][0]["module"]);
    let served = operated.report("lobby").await["version"].clone();
    assert_eq!(served, release["vars"]["VERSION"]);
    assert_eq!(json!(operated.page().await), served);
    within("a server to stop", operated.server.drain()).await;
}

/// A small disk.
struct Small(tempfile::TempDir);

impl Small {
    /// Makes one, or `None`: only root may mount.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=160m", "tmpfs"])
            .arg(dir.path())
            .output();
        mount.is_ok_and(|mount| mount.status.success()).then_some(Self(dir))
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        use std::io::Write;
        let mut ballast = std::fs::File::create(self.0.path().join("ballast")).unwrap();
        let piece = vec![0; 1 << 16];
        while ballast.write_all(&piece).is_ok() {}
        // Also the space that is smaller than a piece.
        while ballast.write_all(&[0]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.path().join("ballast")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0.path()).status());
    }
}

#[tokio::test]
async fn a_full_disk_refuses_deployments_and_the_served_version_continues() {
    let Some(small) = Small::new() else { return };
    let data = small.0.path().join("data");
    let operated = Operated::start(&data).await;
    let puppet = guest("puppet");
    operated.deploy("chat", &puppet, "1").await;
    let second = variant(&puppet, 2);
    let release = operated.release(&second, "2").await;
    small.fill();
    // The server refuses the upload.
    let third = variant(&puppet, 3);
    let reply = operated.ask("PUT", &format!("blobs/{}", BlobId::of(&third)), &third).await;
    let said = reply.json()["error"].clone();
    assert!(reply.status == 507 && said.as_str().unwrap().contains("No space left"), "{said}");
    assert!(only_whole(&data));
    // The uploaded files are not served, as the server could not note the version.
    let said = operated.refused(507, "POST", "projects/chat/deploy", &release).await;
    assert!(said.contains("No space left"), "{said}");
    let fresh = operated.ask("POST", "projects/new/deploy", release.to_string().as_bytes()).await;
    assert_ne!(fresh.status, 200, "{}", fresh.text());
    let versions = operated.good("GET", "projects/chat/versions", Value::Null).await;
    assert_eq!((versions.as_array().unwrap().len(), &versions[0]["current"]), (1, &json!(true)));
    assert_eq!(operated.page().await, "1");
    small.free();
    until("the deployment to be taken", async || {
        let body = release.to_string();
        operated.ask("POST", "projects/chat/deploy", body.as_bytes()).await.status == 200
    })
    .await;
    assert_eq!(operated.page().await, "2");
    assert_eq!(operated.report("other").await["version"], "2");
    let mut client = TestClient::connect(operated.server.addr(), "/parties/main/lobby").await;
    assert_eq!(client.echo("at work").await, "at work");
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn a_rollback_to_a_version_that_does_not_start_keeps_the_served_one() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    let puppet = guest("puppet");
    // No client is there, so nobody notices that it does not start.
    let mut broken = operated.release(&variant(&puppet, 1), "1").await;
    broken["vars"]["START"] = json!("panic");
    operated.good("POST", "projects/chat/deploy", broken).await;
    operated.deploy("chat", &puppet, "2").await;
    operated.deploy("chat", &variant(&puppet, 3), "3").await;
    let mut client = TestClient::connect(operated.server.addr(), "/parties/main/lobby").await;
    let said =
        operated.refused(422, "POST", "projects/chat/rollback?version=1", &Value::Null).await;
    assert!(said.contains("does not start in room main/lobby, the old one is back"), "{said}");
    // A version whose module was damaged on the disk cannot be restored either.
    let damaged = dir.path().join("blobs").join(BlobId::of(&puppet).to_string());
    std::fs::write(&damaged, b"no module").unwrap();
    for why in ["the file is damaged, and was moved to", "it is missing"] {
        let said =
            operated.refused(500, "POST", "projects/chat/rollback?version=2", &Value::Null).await;
        assert!(said.contains(why) && said.contains("`room deploy` uploads it again"), "{said}");
    }
    let versions = operated.good("GET", "projects/chat/versions", Value::Null).await;
    let current = |version: &Value| version["current"] == true;
    let current: Vec<_> = versions.as_array().unwrap().iter().filter(|v| current(v)).collect();
    assert_eq!(current[0]["number"], 3);
    assert_eq!(client.echo("still here").await, "still here");
    assert_eq!(
        (operated.report("lobby").await["version"].clone(), operated.page().await),
        (json!("3"), "3".to_owned())
    );
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn a_client_with_another_protocol_version_learns_what_to_upgrade() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    let admin = operated.server.admin_addr();
    let bearer = format!("Bearer {}", operated.token);
    let asked = async |version: &str| {
        let headers = [("authorization", bearer.as_str()), ("room-api", version)];
        let reply = admin.request("GET", "/_room/admin/projects", &headers, &[]).await;
        assert_eq!(reply.header("room-api"), Some("1"));
        (reply.status, reply.text())
    };
    assert_eq!(asked("1").await.0, 200);
    for (version, remedy) in
        [("2", "in version 2: upgrade the server"), ("0", "in version 0: upgrade `room`")]
    {
        let (status, said) = asked(version).await;
        assert!(status == 400 && said.contains(remedy), "{said}");
    }
    let (status, said) = asked("new").await;
    assert!(status == 400 && said.contains("`room-api` is a number"), "{said}");
    // A client that does not know the token learns nothing.
    let reply = admin.request("GET", "/_room/admin/projects", &[("room-api", "9")], &[]).await;
    assert_eq!(reply.status, 401);
    within("a server to stop", operated.server.drain()).await;
}
