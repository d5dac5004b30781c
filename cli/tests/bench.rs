//! `room bench` against `room dev rooms-examples/bench`, as a shell sees both.
#![cfg(unix)]

#[path = "common/dev.rs"]
mod dev;
#[path = "common/project.rs"]
mod project;

use dev::{Dev, STEP_MAX, room};
use project::Project;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::Path;
use std::process::{Output, Stdio};
use tokio::time::Instant;

fn bench(dir: &Path, dev: &Dev, args: &[&str]) -> Output {
    let url = format!("http://127.0.0.1:{}", dev.port());
    let mut command = room(dir, &[&["bench", &url], args].concat());
    command.output().expect("the command was built with this test")
}

/// What a load that went well printed.
fn report(output: &Output) -> Vec<Value> {
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{talk}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("it was asked for JSON");
    report["runs"].as_array().expect("there are runs").clone()
}

/// Looks at the shape of a run, and that nothing of it was lost.
fn is_whole(run: &Value) {
    let number = |of: &Value| of.as_f64().unwrap_or_else(|| panic!("a number lacks in {run}"));
    for name in ["clients", "rooms", "in_flight", "payload_bytes", "not_sent", "seconds"] {
        number(&run[name]);
    }
    let check = &run["check"];
    for fault in ["lost", "twice", "out_of_order", "altered", "wrong_counts", "broken"] {
        assert_eq!(check[fault], 0, "{fault} {run}");
    }
    assert_eq!(check["broken_by"], serde_json::json!([]));
    assert!(check["looked_at"].as_u64() > Some(0), "{run}");
    let mut latencies = vec![&run["latency_us"]];
    latencies.extend(run.get("beside").map(|beside| &beside["latency_us"]));
    for latency in latencies {
        let names = ["p50", "p90", "p99", "p99_9", "max"];
        let of: Vec<f64> = names.iter().map(|name| number(&latency[name])).collect();
        assert!(of.is_sorted(), "{run}");
        number(&latency["mean"]);
        assert_eq!(number(&latency["count"]) > 0.0, run["scenario"] != "idle", "{run}");
    }
    let counted = number(&run["count"]) > 0.0 && number(&run["per_second"]) > 0.0;
    assert_eq!(counted, run["scenario"] != "idle", "{run}");
}

#[test]
fn every_scenario_yields_figures_and_loses_nothing() {
    let project = Project::copy("rooms-examples/bench", "bench-served");
    let dev = Dev::start(project.root(), &[]);
    let short = ["--clients", "20", "--seconds", "1", "--warmup-seconds", "0"];

    let all = ["echo", "fanout", "connect", "cold", "durable", "idle", "mixed", "--json"];
    let runs = report(&bench(project.root(), &dev, &[&all[..], &short].concat()));
    let names: Vec<_> = runs.iter().map(|run| run["scenario"].as_str().unwrap()).collect();
    let parts = ["echo", "fanout", "durable", "connect"];
    assert_eq!(names, [&all[..6], &parts].concat());
    runs.iter().for_each(is_whole);
    assert_eq!(runs[1]["beside"]["what"], "last delivery");
    assert_eq!(runs[3]["beside"]["what"], "warm room");
    if cfg!(target_os = "linux") {
        assert_eq!(runs[5]["memory"]["connections"], 18, "{}", runs[5]);
        assert!(runs[5]["memory"]["per_connection_bytes"].is_i64(), "{}", runs[5]);
    }
    let rates: Vec<_> = runs[6..].iter().map(|run| run["rate"].as_u64().unwrap()).collect();
    assert_eq!(rates, [1_000, 100, 200, 20]);

    // The counts continue where the previous run ended.
    let again = ["durable", "--rooms", "2", "--in-flight", "4", "--payload", "64", "--json"];
    let runs = report(&bench(project.root(), &dev, &[&again[..], &short].concat()));
    is_whole(&runs[0]);
    assert_eq!((&runs[0]["rooms"], &runs[0]["in_flight"]), (&2.into(), &4.into()));

    let people = bench(project.root(), &dev, &[&["echo", "--rate", "100"][..], &short].concat());
    let table = String::from_utf8(people.stdout).unwrap();
    assert_eq!(people.status.code(), Some(0), "{table}");
    assert!(table.contains("echo  20 clients in 20 rooms, at 100 a second"), "{table}");
    assert!(table.contains("checked, none lost, none twice, all in order"), "{table}");
    assert!(people.stderr.is_empty(), "{}", String::from_utf8_lossy(&people.stderr));

    let elsewhere = bench(project.root(), &dev, &["echo", "--party", "other"]);
    let said = String::from_utf8_lossy(&elsewhere.stderr);
    assert_eq!((elsewhere.status.code(), elsewhere.stdout.len()), (Some(1), 0), "{said}");
    assert!(said.contains("error[R0057]") && said.contains("rooms-examples/bench"), "{said}");

    interrupted(project.root(), &dev);
    assert_eq!(dev.stop().0, Some(0));
}

/// Ctrl-C prints what there is.
fn interrupted(dir: &Path, dev: &Dev) {
    // The connections of earlier runs are closed, so the three belong to this one.
    sockets(dev, 0);
    let url = format!("http://127.0.0.1:{}", dev.port());
    let long = ["bench", &url, "echo", "idle", "--clients", "3", "--seconds", "3600", "--json"];
    let mut command = room(dir, &[&long[..], &["--warmup-seconds", "0"]].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the command was built with this test");
    sockets(dev, 3);
    kill_process(Pid::from_child(&child), Signal::INT).expect("it still runs");
    let runs = report(&child.wait_with_output().expect("a child can be waited for"));
    // If it came before the first message, there is nothing to tell.
    assert!(runs.len() <= 1, "{runs:?}");
    for run in runs {
        assert!(run["seconds"].as_f64() < Some(3_600.0), "{run}");
        assert_eq!(run["check"]["lost"], 0, "{run}");
    }
}

/// Waits until so many WebSockets are open.
fn sockets(dev: &Dev, count: u64) {
    let wanted = format!("room_sockets_open {count}");
    let deadline = Instant::now() + STEP_MAX;
    while !dev.http("GET", "/_room/metrics").1.lines().any(|line| line == wanted) {
        assert!(Instant::now() < deadline, "there are never {count} sockets");
        std::thread::yield_now();
    }
}
