//! Metrics of a node. Owns every metric's name, kind, unit, labels and meaning.
//!
//! Invariant: every metric is a row of the table here, and every value of a label is listed here. No label names
//! a room, so the size of a node's metrics does not grow with its rooms. The part that counts
//! holds its counters and histograms, so that counting looks nothing up. The door sets the gauges when a
//! client reads the metrics. Each node counts separately, even if several share a process. It does not
//! know what the parts do.
//!
//! A count costs 12 ns, a duration 55 ns and 16 bytes until it is sorted into its bucket, and each reading of
//! the clock 26 ns. So a turn pays 0.12 µs, and 0.11 µs more if the gate holds its outputs until they are
//! durable; the store counts writes and syncs once a group (2-core x86-64 VM, release build).

mod labels;

pub use labels::{
    AuthRefusal, BadPreamble, CacheLookup, CallEnd, Crowd, FetchEnd, LabelValues, MissedMessage,
    PollEnd, RateBound, Refusal, ResumeGap, StatusClass, StreamCut, TurnEnd,
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// The interval at which durations are sorted into buckets, so that at most those of one second wait.
const UPKEEP: Duration = Duration::from_secs(1);

/// The bounds of all histograms: from the duration of an empty turn to one that no client waits for.
const SECONDS: [f64; 17] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

/// The content type of Prometheus' text format.
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

const SOURCE: Metadata<'static> = Metadata::new("room", Level::INFO, None);

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A count that starts at 0 with the node and only grows.
    Counter,
    /// The value at the moment of reading.
    Gauge,
    /// A count of durations by their length.
    Histogram,
}

/// One row of the table of metrics. `METRICS.md` is generated from the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricRow {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// Its unit.
    pub unit: &'static str,
    /// The name of its label and all values of the label, if it has one.
    pub label: Option<(&'static str, &'static [&'static str])>,
    /// Its meaning.
    pub help: &'static str,
}

/// A metric as the counting part holds it.
trait Metric {
    const KIND: MetricKind;
    const LABEL: Option<(&'static str, &'static [&'static str])> = None;

    fn register(recorder: &PrometheusRecorder, name: &'static str) -> Self;
}

impl Metric for Counter {
    const KIND: MetricKind = MetricKind::Counter;

    fn register(recorder: &PrometheusRecorder, name: &'static str) -> Self {
        recorder.register_counter(&Key::from_static_name(name), &SOURCE)
    }
}

impl Metric for Gauge {
    const KIND: MetricKind = MetricKind::Gauge;

    fn register(recorder: &PrometheusRecorder, name: &'static str) -> Self {
        recorder.register_gauge(&Key::from_static_name(name), &SOURCE)
    }
}

impl Metric for Histogram {
    const KIND: MetricKind = MetricKind::Histogram;

    fn register(recorder: &PrometheusRecorder, name: &'static str) -> Self {
        recorder.register_histogram(&Key::from_static_name(name), &SOURCE)
    }
}

/// One counter for each value of a label.
pub struct CounterBy<W> {
    counters: Vec<Counter>,
    label: PhantomData<fn(W)>,
}

impl<W: LabelValues> CounterBy<W> {
    /// Adds one to the counter of this value.
    pub fn count(&self, which: W) {
        self.counters[which.place()].increment(1);
    }
}

impl<W: LabelValues> Metric for CounterBy<W> {
    const KIND: MetricKind = MetricKind::Counter;
    const LABEL: Option<(&'static str, &'static [&'static str])> = Some((W::NAME, W::ALL));

    fn register(recorder: &PrometheusRecorder, name: &'static str) -> Self {
        let counter = |word: &&'static str| {
            let label = Label::from_static_parts(W::NAME, word);
            recorder.register_counter(&Key::from_parts(name, vec![label]), &SOURCE)
        };
        Self { counters: W::ALL.iter().map(counter).collect(), label: PhantomData }
    }
}

/// One thing that a gauge counts, until this is dropped.
pub struct GaugeShare(Gauge);

impl GaugeShare {
    /// Counts one more thing.
    pub fn of(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for GaugeShare {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $part:ident $holder:ident {
        $($field:ident: $kind:ty = $name:literal, $unit:literal, $help:literal;)*
    })*) => {
        /// The table of all metrics, in the order of this file.
        pub const METRICS: &[MetricRow] = &[$($(MetricRow {
            name: $name,
            kind: <$kind as Metric>::KIND,
            unit: $unit,
            label: <$kind as Metric>::LABEL,
            help: $help,
        },)*)*];

        $(
            $(#[$doc])*
            pub struct $holder {
                $(#[doc = $help] pub $field: $kind,)*
            }

            impl $holder {
                /// Registers the metrics with the recorder, at zero.
                fn on(recorder: &PrometheusRecorder) -> Self {
                    $(describe(recorder, $name, <$kind as Metric>::KIND, $help);)*
                    Self { $($field: Metric::register(recorder, $name),)* }
                }
            }
        )*

        /// The metrics of one node. Cheap to clone; clones are the same metrics.
        #[derive(Clone)]
        pub struct Metrics {
            $($(#[$doc])* pub $part: Arc<$holder>,)*
            printer: PrometheusHandle,
        }

        impl Metrics {
            fn on(recorder: &PrometheusRecorder) -> Self {
                Self {
                    $($part: Arc::new($holder::on(recorder)),)*
                    printer: recorder.handle(),
                }
            }
        }
    };
}

metrics! {
    /// The metrics of the store.
    store StoreMetrics {
        up: Gauge = "room_store_up", "0 or 1",
            "1 while the store accepts commits, 0 after it failed and until it works again";
        commits: Counter = "room_store_commits_total", "turns",
            "Turns with writes that became durable";
        groups: Counter = "room_store_groups_total", "syncs",
            "Groups of turns that became durable with one sync";
        commit_seconds: Histogram = "room_store_commit_seconds", "seconds",
            "Time to write and sync a group of turns";
        log_bytes: Counter = "room_store_log_bytes_total", "bytes",
            "Bytes written to the log and synced";
        failures: Counter = "room_store_failures_total", "groups",
            "Groups that the store could not write or sync. Their turns are lost, and their rooms break";
        tree_rebuilds: Counter = "room_store_tree_rebuilds_total", "trees",
            "Trees that failed while the node ran and that the store rebuilt from the log";
        snapshots: Counter = "room_store_snapshots_total", "snapshots",
            "Snapshots made. The store cuts the log after each of them";
        waiting_for_disk: Gauge = "room_store_waiting_for_disk", "turns",
            "Turns that are not durable yet";
        waiting_for_tree: Gauge = "room_store_waiting_for_tree", "turns",
            "Durable turns that the store has not applied to the tree yet";
    }
    /// The metrics of the rooms.
    rooms RoomMetrics {
        running: Gauge = "room_rooms_running", "rooms",
            "Rooms in memory, including hibernated ones";
        live: Gauge = "room_rooms_live", "instances",
            "Slots for live instances that are taken";
        live_max: Gauge = "room_rooms_live_max", "instances",
            "Slots for live instances in total";
        activations: Counter = "room_activations_total", "rooms",
            "Rooms that were activated";
        evictions: Counter = "room_evictions_total", "rooms",
            "Rooms that left memory because they had no clients and no events";
        broken: Counter = "room_rooms_broken_total", "rooms",
            "Rooms that stopped or failed to start because the store failed";
        start_seconds: Histogram = "room_start_seconds", "seconds",
            "Time to create an instance and run its start callback, failed starts not counted";
        turns: CounterBy<TurnEnd> = "room_turns_total", "turns",
            "Events that a guest handled, by outcome. A turn with another outcome than ok had no effect";
        turn_seconds: Histogram = "room_turn_seconds", "seconds",
            "Time in which a guest handled an event, including its sleeps";
        gate_seconds: Histogram = "room_gate_seconds", "seconds",
            "Time for which the gate held a turn's outputs until they were durable. Outputs that did not wait are not counted";
        messages_sent: Counter = "room_messages_sent_total", "messages",
            "Messages that sockets took from their outboxes, and writes that streams took";
        rate_overruns: CounterBy<RateBound> = "room_messages_refused_total", "messages",
            "Messages of clients and publications that were refused because they came too fast, by the limit";
        outbox_overflows: Counter = "room_outbox_overflows_total", "connections",
            "Connections and streams that the server closed because the client read too slowly";
        missed: CounterBy<MissedMessage> = "room_messages_missed_total", "messages",
            "Messages that a slow client did not get, as the room allows: volatile ones, and those that a newer one with the same key replaced";
        resumed: Counter = "room_resumed_total", "connections",
            "Clients that came back to their connection and got what they had missed";
        continued: Counter = "room_continued_total", "connections",
            "Clients that came back after their connection was over, and got what they had missed over a new one";
        resume_gaps: CounterBy<ResumeGap> = "room_resume_gaps_total", "clients",
            "Clients that came back and are to start afresh, by what was missing";
        suspended: Gauge = "room_suspended", "connections",
            "Connections whose clients are away and may come back";
        history_bytes: Gauge = "room_history_bytes", "bytes",
            "Bytes that rooms hold of messages that they have sent, and of connections whose clients are away, in pages of 4 KiB";
        alarms_rung: Counter = "room_alarms_rung_total", "alarms",
            "Due alarms that were delivered to a room";
        alarms_retried: Counter = "room_alarms_retried_total", "alarms",
            "Alarms whose turn failed and that the node will retry";
        alarms_dropped: Counter = "room_alarms_dropped_total", "alarms",
            "Alarms that the node dropped because their turn failed too often";
        timers_delivered: Counter = "room_timers_delivered_total", "timers",
            "Due timers whose turn succeeded";
        timers_failed: Counter = "room_timers_failed_total", "timers",
            "Due timers whose turn failed";
        timers_dropped: Counter = "room_timers_dropped_total", "timers",
            "Due timers that the node dropped because their turn failed too often, or the room's code has no on_timer";
        fetches: CounterBy<FetchEnd> = "room_fetches_total", "requests",
            "Requests of rooms to other servers that got their answer, by the status of the response or the code of the failure";
        fetch_seconds: Histogram = "room_fetch_seconds", "seconds",
            "Time of one attempt of a request of a room to another server, until the whole response is there or it failed";
        calls: CounterBy<CallEnd> = "room_calls_total", "calls",
            "Calls of rooms, and requests to other rooms, that got their answer, by the status of the response or the code of the failure";
        call_seconds: Histogram = "room_call_seconds", "seconds",
            "Time of one attempt of a call of another room, until the other room's turn is durable or it failed";
        outcalls_running: Gauge = "room_outcalls_running", "requests",
            "Requests of rooms to other servers and rooms that are under way";
        outcalls_waiting: Gauge = "room_outcalls_waiting", "requests",
            "Requests of rooms that wait until another request of their room ends, because `outcalls_running_max` are under way";
        outcalls_retried: Counter = "room_outcalls_retried_total", "requests",
            "Attempts of requests of rooms that failed and that the node will retry";
        answers_dropped: Counter = "room_answers_dropped_total", "requests",
            "Answers to requests of rooms that the node dropped because their turn failed too often, or the room's code has no callback for them";
        calls_answered: Counter = "room_calls_answered_total", "calls",
            "Calls between rooms that a room carried out";
        streams_opened: Counter = "room_streams_opened_total", "streams",
            "Responses that stayed open after on_request: streams, and answers of later turns";
        streams_cut: CounterBy<StreamCut> = "room_streams_cut_total", "streams",
            "Open responses that ended before their room completed them, by reason";
        crons_delivered: Counter = "room_crons_delivered_total", "calls",
            "Calls of rooms by crons whose turn succeeded";
        crons_failed: Counter = "room_crons_failed_total", "calls",
            "Calls of rooms by crons whose turn failed";
        crons_dropped: Counter = "room_crons_dropped_total", "calls",
            "Calls of rooms by crons that the node dropped because their turn failed too often";
        webhooks_waiting: Gauge = "room_webhooks_waiting", "webhooks",
            "Webhooks that wait for their receiver";
        webhooks_dead: Gauge = "room_webhooks_dead", "webhooks",
            "Dead letters: webhooks that the node gave up and that an operator can send again";
        webhooks_delivered: Counter = "room_webhooks_delivered_total", "webhooks",
            "Webhooks that their receiver answered with 2xx";
        webhooks_failed: Counter = "room_webhooks_failed_total", "tries",
            "Tries of webhooks that failed";
        webhooks_given_up: Counter = "room_webhooks_given_up_total", "webhooks",
            "Webhooks that became dead letters";
        webhooks_dropped: Counter = "room_webhooks_dropped_total", "webhooks",
            "Dead letters that the node dropped because there were too many, and waiting webhooks of a project that has none any more";
        expired: Counter = "room_expired_total", "rooms",
            "Rooms that the node deleted because nobody used them";
        expiries_retried: Counter = "room_expiries_retried_total", "rooms",
            "Calls of on_expire that failed and that the node will retry";
    }
    /// The metrics of the door.
    door DoorMetrics {
        sockets: Gauge = "room_sockets_open", "sockets",
            "Open WebSockets, event streams and waiting polls, including those that are being refused";
        open_seconds: Histogram = "room_open_seconds", "seconds",
            "Time from an accepted client's request to its connection by WebSocket, event stream or poll, including hooks";
        refusals: CounterBy<Refusal> = "room_upgrades_refused_total", "handshakes",
            "WebSocket handshakes, event streams and polls that the server refused";
        polls: CounterBy<PollEnd> = "room_polls_total", "polls",
            "Long polls that the server answered, by what the answer had: a welcome, messages, nothing, a close, or that a newer poll took its place";
        auth_refusals: CounterBy<AuthRefusal> = "room_auth_refused_total", "requests",
            "Requests and WebSocket handshakes that `[auth]` refused, and messages that a ticket does not allow";
        jwks_fetches: CounterBy<FetchEnd> = "room_jwks_fetches_total", "requests",
            "Requests for the keys of an issuer of tokens, by the status of the response or the code of the failure";
        requests: CounterBy<StatusClass> = "room_requests_total", "requests",
            "Requests of clients that the server answered, including handshakes";
        buffered_bytes: Gauge = "room_buffered_bytes", "bytes",
            "Bytes buffered for clients and rooms, bounded by `buffered_bytes_max`";
        hook_fetches: CounterBy<FetchEnd> = "room_hook_fetches_total", "requests",
            "Requests of hooks to other servers, by the status of the response or the code of the failure. Responses from the cache are not counted";
        hook_fetch_seconds: Histogram = "room_hook_fetch_seconds", "seconds",
            "Time of a request of a hook to another server";
        hook_cache: CounterBy<CacheLookup> = "room_hook_cache_lookups_total", "lookups",
            "Responses that hooks asked the cache for: there (hit), under way for another hook (shared), or requested (miss)";
        messages_received: Counter = "room_messages_received_total", "messages",
            "Messages received from clients, by sockets and by POSTs, including those that are answered without the room";
    }
    /// The metrics of the listener. A server with several projects has one listener for all of them.
    listener ListenerMetrics {
        bad_preambles: CounterBy<BadPreamble> = "room_proxy_headers_refused_total", "connections",
            "Connections of trusted proxies that the server closed because they did not start with a valid PROXY header";
        refused: CounterBy<Crowd> = "room_connections_refused_total", "connections",
            "Connections that the server refused or closed because there were too many of their kind";
    }
    /// The metrics of a server in its cluster, at zero without one.
    cluster ClusterMetrics {
        nodes: Gauge = "room_cluster_nodes", "nodes",
            "Live nodes of the cluster, as this one saw them last";
        shards: Gauge = "room_cluster_shards", "shards",
            "Shards whose rooms this node runs, of 1024 that the nodes of a cluster share";
        member: Gauge = "room_cluster_member", "0 or 1",
            "1 while this node may run rooms, 0 while it has no place in the cluster";
        places_lost: Counter = "room_cluster_places_lost_total", "losses",
            "Times that this node lost its place in the cluster, and stopped its rooms";
        behind: Gauge = "room_cluster_projects_behind", "projects",
            "Projects whose newest version this node could not serve yet";
    }
}

fn recorder() -> PrometheusRecorder {
    let builder = PrometheusBuilder::new().set_buckets(&SECONDS);
    builder.expect("there are buckets").build_recorder()
}

fn describe(
    recorder: &PrometheusRecorder,
    name: &'static str,
    kind: MetricKind,
    help: &'static str,
) {
    let (name, help) = (KeyName::from_const_str(name), help.into());
    match kind {
        MetricKind::Counter => recorder.describe_counter(name, None, help),
        MetricKind::Gauge => recorder.describe_gauge(name, None, help),
        MetricKind::Histogram => recorder.describe_histogram(name, None, help),
    }
}

/// The metrics of a server with many nodes that belong to no single node.
#[derive(Clone)]
pub struct ServerMetrics {
    /// The metrics of its listeners.
    pub listener: Arc<ListenerMetrics>,
    /// Its metrics as a node of a cluster.
    pub cluster: Arc<ClusterMetrics>,
    printer: PrometheusHandle,
}

impl ServerMetrics {
    /// Registers all metrics, at zero.
    #[expect(clippy::new_without_default, reason = "each call registers counters of its own")]
    pub fn new() -> Self {
        let recorder = recorder();
        let listener = Arc::new(ListenerMetrics::on(&recorder));
        let cluster = Arc::new(ClusterMetrics::on(&recorder));
        Self { listener, cluster, printer: recorder.handle() }
    }

    /// Returns all metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        self.printer.render()
    }
}

impl Metrics {
    /// Registers all metrics, at zero.
    #[expect(clippy::new_without_default, reason = "each call registers counters of its own")]
    pub fn new() -> Self {
        Self::on(&recorder())
    }

    /// Returns all metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        self.printer.render()
    }

    /// Sorts durations into buckets at regular intervals until the future is dropped.
    ///
    /// # Cancel safety
    /// Dropping the future at any time loses nothing.
    pub async fn look_after(self) {
        let mut due = tokio::time::interval(UPKEEP);
        loop {
            due.tick().await;
            self.printer.run_upkeep();
        }
    }
}

/// Converts a number of things to a gauge's value: exact below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2⁵³")]
pub fn level(count: u64) -> f64 {
    count as f64
}

/// Joins the metrics of a server and its nodes into one text. Each line of a node gets the project's name as
/// a label. The format demands that every metric appears once, with all its lines below it.
pub fn together(server: &str, nodes: &[(String, String)]) -> String {
    // Each with its name, the source that printed it first and so describes it, and its lines.
    let mut families: Vec<(&str, Option<&str>, String)> = Vec::new();
    let nodes = nodes.iter().map(|(project, text)| (Some(project.as_str()), text.as_str()));
    for (project, text) in std::iter::once((None, server)).chain(nodes) {
        let mut at = 0;
        for line in text.lines() {
            if let Some(about) = line.strip_prefix("# ") {
                let name = about.split(' ').nth(1).unwrap_or_default();
                at = families.iter().position(|(known, ..)| *known == name).unwrap_or_else(|| {
                    families.push((name, project, String::new()));
                    families.len() - 1
                });
                let (_, first, lines) = &mut families[at];
                if *first == project {
                    lines.push_str(&format!("{line}\n"));
                }
            } else if let (Some((metric, value)), Some((.., lines))) =
                (line.rsplit_once(' '), families.get_mut(at))
            {
                let metric = labelled(metric, project);
                lines.push_str(&format!("{metric} {value}\n"));
            }
        }
    }
    families.into_iter().map(|(.., lines)| lines).collect()
}

/// Adds the project's label to a metric and its labels.
fn labelled(metric: &str, project: Option<&str>) -> String {
    let Some(project) = project else { return metric.to_owned() };
    let (name, labels) = metric.split_once('{').unwrap_or((metric, "}"));
    let comma = if labels == "}" { "" } else { "," };
    format!("{name}{{project=\"{project}\"{comma}{labels}")
}

#[cfg(test)]
mod tests;
