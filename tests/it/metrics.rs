//! The metrics of a node, as its operator reads them.

use crate::operated::Operated;
use room_runtime::{
    Audience, BodyDelivery, Config, METRICS, MetricKind, PartyConfig, Project, Proxies,
    RetentionSettings, Runtime, StorageConfig, WhenQuiet,
};
use room_tests::{Origin, Requests, Setup, TestClient, guest, response, until, within};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Returns the node's metrics.
async fn printed(node: &impl Requests) -> String {
    let reply = node.get("/_room/metrics").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    reply.text()
}

/// Returns the value of a metric, spelled with its label: `room_turns_total{outcome="ok"}`.
#[track_caller]
fn value(text: &str, metric: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{metric} is not in\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn a_node_prints_the_documented_metrics_and_no_room_names() {
    let node = Setup::memory().start().await;
    assert_eq!(node.report("lobby-of-nobody").await["starts"], 1);
    let text = printed(&node).await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let documented: Vec<String> = METRICS
        .iter()
        .map(|row| format!("{} {}", row.name, format!("{:?}", row.kind).to_lowercase()))
        .collect();
    let documented: BTreeSet<&str> = documented.iter().map(String::as_str).collect();
    assert_eq!(types.collect::<BTreeSet<_>>(), documented);
    assert!(METRICS.iter().any(|row| row.kind == MetricKind::Histogram));
    assert!(!text.contains("lobby-of-nobody"));
}

#[tokio::test]
async fn a_node_counts_the_work_of_its_rooms_and_its_door() {
    let limits = |limits: &mut room_runtime::Limits| limits.turn_ms_max = 1_000;
    let node = Setup::disk().limits(limits).start().await;
    let mut client = node.connect("lobby").await;
    assert_eq!(client.ask(json!([{"put": ["k", 1]}, {"say": "wrote"}])).await, "wrote");
    assert_eq!(client.echo("hi").await, "hi");
    for (script, status) in [
        (json!(["no such step"]), 500),
        (json!([{"panic": "ouch"}]), 500),
        (json!(["loop"]), 500),
        (json!([{"add": "n"}]), 200),
    ] {
        assert_eq!(node.post("lobby", &script).await.status, status, "{script}");
    }
    let mut refused = node.connect("lobby?verdict=refuse").await;
    assert_eq!(refused.closed().await.0, 4403);
    let nobody = TestClient::try_connect(node.addr(), "/parties/nobody/lobby", &[]).await;
    assert_eq!(nobody.unwrap().closed().await.0, 4404);
    let text = printed(&node).await;
    for (metric, expected) in [
        ("room_store_up", 1.0),
        ("room_store_failures_total", 0.0),
        ("room_store_waiting_for_disk", 0.0),
        ("room_rooms_running", 1.0),
        ("room_rooms_live", 1.0),
        ("room_activations_total", 1.0),
        ("room_rooms_broken_total", 0.0),
        ("room_turns_total{outcome=\"rejected\"}", 1.0),
        ("room_turns_total{outcome=\"trapped\"}", 1.0),
        ("room_turns_total{outcome=\"out_of_time\"}", 1.0),
        // An instance at first, and one after each lost instance.
        ("room_start_seconds_count", 3.0),
        ("room_open_seconds_count", 1.0),
        ("room_messages_received_total", 2.0),
        ("room_messages_sent_total", 2.0),
        ("room_upgrades_refused_total{reason=\"hook\"}", 1.0),
        ("room_upgrades_refused_total{reason=\"not_found\"}", 1.0),
        ("room_requests_total{status=\"1xx\"}", 3.0),
        ("room_requests_total{status=\"2xx\"}", 1.0),
        ("room_requests_total{status=\"5xx\"}", 3.0),
    ] {
        assert!(
            (value(&text, metric) - expected).abs() < 0.5,
            "{metric} is not {expected}\n{text}"
        );
    }
    // Three starts, a connect, two messages, a request.
    assert!((value(&text, "room_turns_total{outcome=\"ok\"}") - 7.0).abs() < 0.5, "{text}");
    let commits = value(&text, "room_store_commits_total");
    let groups = value(&text, "room_store_groups_total");
    assert!(commits >= 5.0 && groups >= 1.0 && groups <= commits, "{text}");
    assert!(value(&text, "room_store_commit_seconds_count") >= groups, "{text}");
    assert!(value(&text, "room_store_log_bytes_total") > commits, "{text}");
    assert!(value(&text, "room_gate_seconds_count") >= 5.0, "{text}");
}

#[tokio::test]
async fn a_node_counts_what_its_rooms_and_hooks_ask_of_others() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let origin = Origin::behind(gate, |request, _| {
        Some(response(if request.path == "/missing" { 404 } else { 200 }, "ok"))
    })
    .await;
    let few = |limits: &mut room_runtime::Limits| limits.outcalls_running_max = 2;
    let node = Setup::disk().limits(few).fetch_hosts(&[origin.host()]).start().await;
    let fetch = |url: String| json!({"ask": {"fetch": {"url": url, "tag": "t"}}});
    let mut script: Vec<Value> = ["/", "/", "/missing"].map(|path| fetch(origin.url(path))).into();
    script.push(fetch("http://not-listed.example/".to_owned()));
    assert_eq!(node.post("ada", &json!(script)).await.status, 200);
    until("two requests", async || origin.received().len() == 2).await;
    let text = printed(&node).await;
    assert!((value(&text, "room_outcalls_running") - 2.0).abs() < 0.5, "{text}");
    assert!((value(&text, "room_outcalls_waiting") - 2.0).abs() < 0.5, "{text}");
    open.send(true).unwrap();
    let call = json!({"ask": {"call": {"party": "main", "room": "eve", "tag": "t", "script": []}}});
    assert_eq!(node.post("ada", &json!([call])).await.status, 200);
    let hook = format!("lobby?verdict=fetch&url={}&key=k", origin.url("/who"));
    for _ in 0..2 {
        assert_eq!(node.connect(&hook).await.text().await, "x-added: 200 ok");
    }
    let expected = [
        ("room_hook_fetches_total{outcome=\"ok\"}", 1.0),
        ("room_hook_fetch_seconds_count", 1.0),
        ("room_hook_cache_lookups_total{result=\"miss\"}", 1.0),
        ("room_hook_cache_lookups_total{result=\"hit\"}", 1.0),
        ("room_fetches_total{outcome=\"ok\"}", 2.0),
        ("room_fetches_total{outcome=\"4xx\"}", 1.0),
        ("room_fetches_total{outcome=\"host-not-allowed\"}", 1.0),
        ("room_fetch_seconds_count", 4.0),
        ("room_calls_total{outcome=\"ok\"}", 1.0),
        ("room_call_seconds_count", 1.0),
        ("room_outcalls_running", 0.0),
        ("room_outcalls_waiting", 0.0),
    ];
    until("all requests to be counted", async || {
        let text = printed(&node).await;
        expected.iter().all(|(metric, number)| (value(&text, metric) - number).abs() < 0.5)
    })
    .await;
    assert!(!printed(&node).await.contains("not-listed"), "no host is a label");
}

/// Returns the number of clients' requests that were answered.
fn requests(text: &str) -> f64 {
    let lines = text.lines().filter(|line| line.starts_with("room_requests_total"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test]
async fn requests_of_operators_are_not_counted_as_clients_requests() {
    let node = Setup::memory().start().await;
    let bearer = format!("Bearer {}", node.secret());
    let headers = [("authorization", bearer.as_str())];
    for path in ["admin/overview", "admin/rooms", "admin/nowhere", "metrics", "", "dashboard.json"]
    {
        let path = format!("/_room/{path}");
        assert_ne!(node.request("GET", &path, &headers, &[]).await.status, 401, "{path}");
    }
    assert_eq!(node.get("/_room/admin/overview").await.status, 401);
    assert!(requests(&printed(&node).await) < 0.5);
    assert_eq!(node.report("lobby").await["starts"], 1);
    assert_eq!(node.get("/_room/nowhere").await.status, 404);
    let text = printed(&node).await;
    assert!((requests(&text) - 2.0).abs() < 0.5, "{text}");

    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    operated.deploy("chat", &guest("puppet"), "1").await;
    let counted = async || {
        let text = operated.ask("GET", "projects/chat/node/metrics", &[]).await.text();
        assert!(text.contains("room_requests_total"), "{text}");
        requests(&text)
    };
    operated.good("GET", "projects/chat/node/rooms", Value::Null).await;
    operated.good("GET", "projects/chat/node/overview", Value::Null).await;
    assert!(counted().await < 0.5);
    operated.report("lobby").await;
    assert!((counted().await - 1.0).abs() < 0.5);
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn alarms_that_ring_fail_and_are_dropped_are_counted() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.alarm_retry_ms_min, limits.alarm_tries_max) = (1, 2);
    };
    let node = Setup::memory().limits(limits).start().await;
    node.post("lobby", &json!([{"put": ["alarm-fails", 1_000]}, {"alarm_in": 1}])).await;
    until("the alarm to be dropped", async || {
        (value(&printed(&node).await, "room_alarms_dropped_total") - 1.0).abs() < 0.5
    })
    .await;
    let text = printed(&node).await;
    let (rung, retried) =
        (value(&text, "room_alarms_rung_total"), value(&text, "room_alarms_retried_total"));
    assert!(retried >= 1.0 && (rung - retried - 1.0).abs() < 0.5, "{text}");
}

/// A file system of a few megabytes, if this process may have one.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
            .arg(dir.path())
            .output();
        mount.is_ok_and(|mount| mount.status.success()).then_some(Self(dir))
    }

    /// Returns a file that takes all free space.
    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("ballast");
        let mut ballast = std::fs::File::create(&path).unwrap();
        while ballast.write_all(&[1; 4096]).is_ok() {}
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status());
    }
}

/// Returns a node on this folder that serves the puppet.
async fn node_on(dir: &Path, audience: Audience) -> Runtime {
    let limits = room_runtime::Limits {
        rooms_active_max: 8,
        door_instances_max: 2,
        log_segment_bytes: 1 << 20,
        store_retry_ms: 20,
        ..room_runtime::Limits::default()
    };
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        storage: StorageConfig::Disk(dir.join("data")),
        cache_dir: None,
        tls: None,
        proxies: Proxies::default(),
        limits,
        audience,
    };
    let node = Runtime::start(config).await.unwrap();
    let party = PartyConfig {
        name: "main".to_owned(),
        was: None,
        module: guest("puppet").into(),
        vars: Vec::new(),
        when_quiet: WhenQuiet::Stay,
        auto_response: None,
        ttl: None,
        cors: None,
        request_bodies: BodyDelivery::Whole,
        retention: RetentionSettings::default(),
        presence: None,
        auth: None,
        sse: Default::default(),
    };
    node.deploy(Project { parties: vec![party], ..Project::default() }).await.unwrap();
    node
}

#[tokio::test]
async fn a_full_disk_shows_in_health_and_metrics_and_passes_without_a_restart() {
    for audience in [Audience::Developer, Audience::Public] {
        // Only root may mount; the same is tested with a disk that fails on command.
        let Some(small) = Small::new() else { return };
        let node = node_on(small.0.path(), audience).await;
        let addr = node.addr();
        assert_eq!(addr.post("lobby", &json!([{"put": ["before", 1]}])).await.status, 200);
        assert_eq!(addr.get("/_room/health").await.status, 200);
        let ballast = small.fill();
        let reply = addr.post("lobby", &json!([{"put_bytes": ["k", 100_000]}])).await;
        assert_eq!(reply.status, 500);
        until("health to report the failure", async || {
            addr.get("/_room/health").await.status == 503
        })
        .await;
        assert_eq!(addr.get("/_room/health").await.text(), "storage failed\n");
        let bearer = format!("Bearer {}", node.admin_token().secret());
        let headers = [("authorization", bearer.as_str())];
        let overview = addr.request("GET", "/_room/admin/overview", &headers, &[]).await.json();
        let failure = overview["storage_failure"].as_str();
        assert!(failure.is_some_and(|why| why.contains("No space left")), "{overview}");
        let text = printed(&addr).await;
        assert!(value(&text, "room_store_up") < 0.5, "{text}");
        assert!(value(&text, "room_store_failures_total") > 0.5, "{text}");
        assert!(value(&text, "room_rooms_broken_total") > 0.5, "{text}");
        std::fs::remove_file(&ballast).unwrap();
        until("the node to work again", async || addr.get("/_room/health").await.status == 200)
            .await;
        assert_eq!(addr.get("/_room/health").await.text(), "ok\n");
        assert!(value(&printed(&addr).await, "room_store_up") > 0.5);
        assert_eq!(addr.post("lobby", &json!([{"put": ["after", 1]}])).await.status, 200);
        node.drain().await;
    }
}
