//! The outcome of a scenario. Owns the printed numbers, as people and as machines read them.
//!
//! Invariant: a latency starts at the moment at which its message was due, and a figure names what it measures. It
//! does not know how it was measured.

use super::check::Check;
use super::memory::Held;
use crate::args::bench::Scenario;
use crate::print::{BAD, BOLD, DIM, styled};
use hdrhistogram::Histogram;
use serde::Serialize;

/// The plan of one scenario.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoadPlan {
    /// The scenario.
    pub(crate) scenario: Scenario,
    /// Connections, or the most at a time.
    pub(crate) clients: usize,
    /// The number of their rooms.
    pub(crate) rooms: usize,
    /// Messages of a client on their way, if there is no rate.
    pub(crate) in_flight: usize,
    /// Messages a second; `None` if as fast as possible.
    pub(crate) rate: Option<u64>,
    /// Size of a message.
    pub(crate) payload_bytes: usize,
    /// The server's process, if the user named it.
    #[serde(skip)]
    pub(crate) pid: Option<u32>,
}

/// Latencies in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latency {
    /// The number of samples.
    pub(crate) count: u64,
    /// Their mean.
    pub(crate) mean: f64,
    /// Half of them are at most this.
    pub(crate) p50: f64,
    /// Of 100, ten are more.
    pub(crate) p90: f64,
    /// Of 100, one is more.
    pub(crate) p99: f64,
    /// Of 1,000, one is more.
    pub(crate) p99_9: f64,
    /// The longest.
    pub(crate) max: f64,
}

impl Latency {
    /// Returns the figures of a histogram of nanoseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let us = |ns: u64| ns as f64 / 1_000.0;
        let at = |quantile| us(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            mean: histogram.mean() / 1_000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: us(histogram.max()),
        }
    }
}

/// The outcome of one scenario.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoadOutcome {
    /// The plan.
    #[serde(flatten)]
    pub(crate) plan: LoadPlan,
    /// The measured time.
    pub(crate) seconds: f64,
    /// The number that came in that time: messages, deliveries, connections, acknowledgements.
    pub(crate) count: u64,
    /// That number a second.
    pub(crate) per_second: f64,
    /// Latency from the moment at which each was due.
    pub(crate) latency_us: Latency,
    /// The same for the second kind, such as visits to a warm room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) beside: Option<Beside>,
    /// Due, and not sent, as the server was too far behind.
    pub(crate) not_sent: u64,
    /// The result of the checks.
    pub(crate) check: Check,
    /// The cost of idle connections to the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Held>,
}

/// A second row of latencies, and its name.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Beside {
    /// `last delivery` of a broadcast, or a `warm room`.
    pub(crate) what: &'static str,
    /// Its figures.
    pub(crate) latency_us: Latency,
}

const HEADINGS: [&str; 8] = ["", "", "a second", "p50", "p90", "p99", "p99.9", "max"];

/// Returns one table of all outcomes, with remarks about each.
pub(crate) fn table(outcomes: &[LoadOutcome]) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    for outcome in outcomes {
        let name = outcome.plan.scenario.name();
        if outcome.plan.scenario != Scenario::Idle {
            let a_second = count(outcome.per_second);
            rows.push(row(name, &described(&outcome.plan), &a_second, &outcome.latency_us));
        }
        if let Some(Beside { what, latency_us }) = &outcome.beside {
            rows.push(row("", what, "", latency_us));
        }
    }
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    let drawn = rows.iter().enumerate().map(|(number, row)| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
            0 | 1 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        if number == 0 { styled(DIM, line.trim_end()) } else { line.trim_end().to_owned() }
    });
    let mut lines: Vec<String> = if rows.len() > 1 { drawn.collect() } else { Vec::new() };
    lines.extend(outcomes.iter().flat_map(remarks));
    lines.join("\n")
}

fn row(name: &str, what: &str, a_second: &str, latency: &Latency) -> [String; 8] {
    let Latency { p50, p90, p99, p99_9, max, .. } = *latency;
    let [p50, p90, p99, p99_9, max] = [p50, p90, p99, p99_9, max].map(time);
    [name.to_owned(), what.to_owned(), a_second.to_owned(), p50, p90, p99, p99_9, max]
}

/// Returns the plan, in few words.
fn described(plan: &LoadPlan) -> String {
    let LoadPlan { clients, rooms, in_flight, rate, .. } = plan;
    let how = match (rate, plan.scenario) {
        (Some(rate), _) => format!(", at {} a second", count(*rate as f64)),
        (None, Scenario::Connect | Scenario::Cold) => String::new(),
        (None, _) => format!(", {in_flight} in flight"),
    };
    let of = |number: usize, what: &str| {
        let end = if number == 1 { "" } else { "s" };
        format!("{} {what}{end}", count(number as f64))
    };
    let rooms = of(*rooms, "room");
    match plan.scenario {
        Scenario::Cold => format!("{} at a time, a new room each{how}", count(*clients as f64)),
        Scenario::Connect => format!("{} at a time, {rooms}{how}", count(*clients as f64)),
        _ => format!("{} in {rooms}{how}", of(*clients, "client")),
    }
}

/// Returns the remarks about a scenario besides its row.
fn remarks(outcome: &LoadOutcome) -> Vec<String> {
    let name = styled(BOLD, outcome.plan.scenario.name());
    let mut remarks = Vec::new();
    if let Some(held) = &outcome.memory {
        remarks.push(format!("{name}: {}", held.described()));
    }
    if outcome.not_sent > 0 {
        let not_sent = count(outcome.not_sent as f64);
        remarks.push(format!(
            "{name}: {not_sent} messages were due and not sent, as the server was too far behind"
        ));
    }
    let looked_at = count(outcome.check.looked_at as f64);
    remarks.push(match outcome.check.faults() {
        Some(faults) => format!("{name}: {}", styled(BAD, faults)),
        None => format!(
            "{name}: {looked_at} checked, {}",
            match outcome.plan.scenario {
                Scenario::Durable => "none lost, no count left out or given twice",
                Scenario::Connect | Scenario::Cold => "all admitted and closed properly",
                Scenario::Idle => "all still there",
                _ => "none lost, none twice, all in order",
            }
        ),
    });
    remarks
}

/// Returns a number with its thousands separated.
pub(crate) fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns a time in its own unit.
fn time(us: f64) -> String {
    match us {
        ..1_000.0 => format!("{us:.0} µs"),
        ..100_000.0 => format!("{:.2} ms", us / 1_000.0),
        ..1_000_000.0 => format!("{:.0} ms", us / 1_000.0),
        _ => format!("{:.2} s", us / 1_000_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn outcome() -> LoadOutcome {
        let mut histogram = Histogram::new(3).unwrap();
        for us in 1..=1_000_u64 {
            histogram.record(us * 1_000).unwrap();
        }
        let plan = LoadPlan {
            scenario: Scenario::Fanout,
            clients: 1_000,
            rooms: 10,
            in_flight: 1,
            rate: None,
            payload_bytes: 64,
            pid: None,
        };
        let latency_us = Latency::of(&histogram);
        LoadOutcome {
            plan,
            seconds: 2.0,
            count: 246_912,
            per_second: 123_456.0,
            beside: Some(Beside { what: "last delivery", latency_us: latency_us.clone() }),
            latency_us,
            not_sent: 0,
            check: Check { looked_at: 300_000, ..Check::default() },
            memory: None,
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_scenario_and_names_what_was_checked() {
        let failed = LoadOutcome {
            not_sent: 7,
            check: Check { lost: 3, ..Check::default() },
            beside: None,
            ..outcome()
        };
        let text = anstream::adapter::strip_str(&table(&[outcome(), failed])).to_string();
        expect![[r#"
                                                            a second     p50     p90     p99   p99.9      max
            fanout  1,000 clients in 10 rooms, 1 in flight   123,456  500 µs  900 µs  990 µs  999 µs  1.00 ms
                    last delivery                                     500 µs  900 µs  990 µs  999 µs  1.00 ms
            fanout  1,000 clients in 10 rooms, 1 in flight   123,456  500 µs  900 µs  990 µs  999 µs  1.00 ms
            fanout: 300,000 checked, none lost, none twice, all in order
            fanout: 7 messages were due and not sent, as the server was too far behind
            fanout: 3 lost"#]]
        .assert_eq(&text);
    }

    #[test]
    fn each_time_is_printed_in_a_fitting_unit() {
        let times = [0.4, 999.0, 1_000.0, 99_000.0, 250_000.0, 1_500_000.0].map(time);
        assert_eq!(times, ["0 µs", "999 µs", "1.00 ms", "99.00 ms", "250 ms", "1.50 s"]);
        assert_eq!(
            [0.0, 999.0, 1_000.0, 1_234_567.0].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
