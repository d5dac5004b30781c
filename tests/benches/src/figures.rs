//! The results of a load. Owns how several runs become one figure, and how the load's report is read.
//!
//! Invariant: a figure is the median of its runs, each number for itself. It does not know what was loaded.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The measured values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

/// The report of `room bench --json` about one scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Report {
    pub(crate) figures: Figures,
    /// The last delivery of broadcasts, or a warm room beside a cold one.
    pub(crate) beside: Figures,
    /// The server's memory for each idle connection.
    pub(crate) connection_bytes: f64,
}

impl Report {
    /// Reads the first run of a report.
    ///
    /// # Errors
    /// It lacks one of the numbers that every report has.
    pub(crate) fn read(json: &[u8]) -> Result<Self> {
        let report: Value = serde_json::from_slice(json).context("the report is not JSON")?;
        let run = &report["runs"][0];
        let latency = |of: &Value| -> Option<Figures> {
            let us = |name: &str| of[name].as_f64();
            let (p50_us, p99_us, max_us) = (us("p50")?, us("p99")?, us("max")?);
            Some(Figures { per_second: run["per_second"].as_f64()?, p50_us, p99_us, max_us })
        };
        Ok(Self {
            figures: latency(&run["latency_us"]).with_context(|| format!("no figures in {run}"))?,
            beside: latency(&run["beside"]["latency_us"]).unwrap_or_default(),
            connection_bytes: run["memory"]["per_connection_bytes"].as_f64().unwrap_or_default(),
        })
    }

    /// Returns the medians of several runs.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let of = |number: fn(&Self) -> f64| median(runs.iter().map(number).collect());
        Self {
            figures: Figures::median(runs.iter().map(|run| run.figures).collect()),
            beside: Figures::median(runs.iter().map(|run| run.beside).collect()),
            connection_bytes: of(|run| run.connection_bytes),
        }
    }
}

impl Figures {
    /// Returns the medians of several runs.
    pub(crate) fn median(runs: Vec<Self>) -> Self {
        let of = |number: fn(&Self) -> f64| median(runs.iter().map(number).collect());
        Self {
            per_second: of(|run| run.per_second),
            p50_us: of(|run| run.p50_us),
            p99_us: of(|run| run.p99_us),
            max_us: of(|run| run.max_us),
        }
    }
}

/// Returns the number in the middle; zero if there is none.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_several_runs_become_their_median() {
        let json = |a_second: f64| {
            format!(
                r#"{{"runs":[{{"per_second":{a_second},"latency_us":{{"p50":1,"p99":2.5,"max":9}},
                    "memory":{{"per_connection_bytes":{a_second}}}}}]}}"#
            )
        };
        let runs = [5.0, 1.0, 3.0].map(|a_second| Report::read(json(a_second).as_bytes()).unwrap());
        let median = Report::median(&runs);
        assert_eq!(median.figures.per_second, 3.0);
        assert_eq!((median.figures.p99_us, median.beside.p99_us), (2.5, 0.0));
        assert_eq!(median.connection_bytes, 3.0);
        assert!(Report::read(br#"{"runs":[]}"#).is_err());
    }
}
