//! The table of metrics: the documented metrics are the printed ones.

use super::*;
use expect_test::expect_file;
use std::collections::BTreeSet;

/// Returns the expected content of `METRICS.md`.
fn page() -> String {
    let mut page = "# Metrics\n\n\
        `GET /_room/metrics` prints them in Prometheus' text format. No metric has a room as its label, so\n\
        the output does not grow with the rooms. Counters start at 0 with the node. This page is generated from\n\
        the table in `src/metrics.rs` by its test; `grafana.json` beside it is a dashboard for Grafana that shows\n\
        them all.\n\n\
        `room serve` prints them for all its projects, each line with the label `project`, at the operators' address:\n\n\
        ```yaml\nscrape_configs:\n  - job_name: room\n    metrics_path: /_room/metrics\n    \
        authorization: { credentials_file: /etc/prometheus/room-token } # made by `room token create NAME --scope read`\n    \
        static_configs: [{ targets: [\"127.0.0.1:1998\"] }]\n```\n\n\
        | metric | kind | unit | meaning |\n|---|---|---|---|\n"
        .to_owned();
    for row in METRICS {
        let kind = format!("{:?}", row.kind).to_lowercase();
        let label = row
            .label
            .map_or(String::new(), |(name, words)| format!(" `{name}`: {}.", words.join(", ")));
        page += &format!("| `{}` | {kind} | {} | {}.{label} |\n", row.name, row.unit, row.help);
    }
    let bounds = SECONDS.map(|bound| bound.to_string()).join(", ");
    page + &format!("\nThe buckets of all histograms, in seconds: {bounds}.\n")
}

#[test]
fn metrics_md_is_generated_from_the_table() {
    expect_file!["../../../METRICS.md"].assert_eq(&page());
}

#[test]
fn every_documented_metric_is_printed_from_the_start() {
    let text = Metrics::new().text();
    let printed: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let documented: Vec<String> = METRICS
        .iter()
        .map(|row| format!("{} {}", row.name, format!("{:?}", row.kind).to_lowercase()))
        .collect();
    assert_eq!(printed, documented.iter().map(String::as_str).collect());
    for row in METRICS {
        assert!(text.contains(&format!("# HELP {} {}", row.name, row.help)), "{}", row.name);
        if let Some((label, words)) = row.label {
            for word in words {
                let line = format!("{}{{{label}=\"{word}\"}} 0\n", row.name);
                assert!(text.contains(&line), "{line}");
            }
        }
    }
}

#[test]
fn names_are_in_the_style_of_prometheus_and_end_with_their_unit() {
    for row in METRICS {
        let plain = row.name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(plain && row.name.starts_with("room_"), "{}", row.name);
        assert_eq!(row.name.ends_with("_total"), row.kind == MetricKind::Counter, "{}", row.name);
        assert_eq!(
            row.name.ends_with("_seconds"),
            row.kind == MetricKind::Histogram,
            "{}",
            row.name
        );
    }
}

#[test]
fn two_nodes_of_a_process_count_separately() {
    let (one, two) = (Metrics::new(), Metrics::new());
    one.store.commits.increment(3);
    one.rooms.turns.count(TurnEnd::OutOfStack);
    one.rooms.turn_seconds.record(Duration::from_micros(40));
    let text = one.text();
    for line in [
        "room_store_commits_total 3\n",
        "room_turns_total{outcome=\"out_of_stack\"} 1\n",
        "room_turn_seconds_bucket{le=\"0.000025\"} 0\n",
        "room_turn_seconds_bucket{le=\"0.00005\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(two.text().contains("room_store_commits_total 0\n"));
}

#[test]
fn several_nodes_print_each_metric_once_with_their_names_on_the_lines() {
    let one =
        "# HELP a_total As.\n# TYPE a_total counter\na_total 1\n\n# TYPE b gauge\nb{x=\"y\"} 2\n";
    let two = "# HELP a_total As.\n# TYPE a_total counter\na_total 3\n";
    let nodes = [("chat".to_owned(), one.to_owned()), ("game".to_owned(), two.to_owned())];
    let wanted = "# TYPE b gauge\nb{x=\"z\"} 4\nb{project=\"chat\",x=\"y\"} 2\n# HELP a_total As.\n\
        # TYPE a_total counter\na_total{project=\"chat\"} 1\na_total{project=\"game\"} 3\n";
    assert_eq!(together("# TYPE b gauge\nb{x=\"z\"} 4\n", &nodes), wanted);
}

/// The words of an expression that may be metrics.
fn words(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("room_"))
}

#[test]
fn the_grafana_dashboard_queries_exactly_the_existing_metrics() {
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../../grafana.json")).unwrap();
    let mut asked = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            asked.extend(words(target["expr"].as_str().unwrap()));
        }
    }
    let printed = METRICS.iter().map(|row| match row.kind {
        MetricKind::Histogram => format!("{}_bucket", row.name),
        _ => row.name.to_owned(),
    });
    assert_eq!(asked, printed.collect::<BTreeSet<_>>().iter().map(String::as_str).collect());
}

#[test]
fn the_code_of_every_failed_request_is_a_value_of_its_label() {
    use crate::fetch::FetchFailure;
    let text = String::new;
    let failures = [
        FetchFailure::Invalid(text()),
        FetchFailure::Unreachable(text()),
        FetchFailure::Protocol(text()),
        FetchFailure::TimedOut { ms: 1 },
        FetchFailure::TooLarge { limit: text(), bytes: 1 },
        FetchFailure::TooManyRedirects(1),
        FetchFailure::Busy(text()),
    ];
    for failure in failures {
        let end = FetchEnd::of_code(failure.code());
        assert_eq!(FetchEnd::ALL[end.place()], failure.code());
    }
    assert_eq!(FetchEnd::of_code("what another version says"), FetchEnd::Other);
    assert_eq!(CallEnd::of_code("what another version says"), CallEnd::Other);
    let ends = [200, 304, 404, 503].map(FetchEnd::of_status);
    let [success, client, server] =
        [FetchEnd::Success, FetchEnd::ClientError, FetchEnd::ServerError];
    assert_eq!(ends, [success, success, client, server]);
}

#[test]
fn a_gauge_counts_things_until_they_are_dropped() {
    let metrics = Metrics::new();
    let shares = [(); 3].map(|()| GaugeShare::of(&metrics.rooms.outcalls_running));
    assert!(metrics.text().contains("room_outcalls_running 3\n"));
    drop(shares);
    assert!(metrics.text().contains("room_outcalls_running 0\n"));
}
