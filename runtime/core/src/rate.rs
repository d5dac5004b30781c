//! How often something may happen. Owns the arithmetic of one rate with its burst. Pure.
//!
//! Invariant: over any time, no more is let through than the burst and what the rate gives in that time. What is refused
//! uses nothing up. It does not know what is counted, or who waits.

use std::time::Duration;
use tokio::time::Instant;

/// A rate: so many units in a second, and a burst of the units of some seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time that one unit stands for, in nanoseconds.
    unit_ns: u64,
    /// The time whose units may come at once, in nanoseconds.
    burst_ns: u64,
}

/// What is left of a rate: when all that came would have come at its pace (the generic cell rate algorithm).
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    paid_until: Instant,
}

impl Rate {
    /// Returns the rate of so many units a second; `None` if it is 0, which stands for no bound.
    pub fn per_second(units: u64, burst_s: u64) -> Option<Self> {
        let unit_ns = (units > 0).then(|| 1_000_000_000 / units.min(1_000_000_000))?;
        let burst_ns = burst_s.max(1).saturating_mul(1_000_000_000);
        Some(Self { unit_ns, burst_ns })
    }
}

impl Meter {
    /// Starts with the whole burst.
    pub fn new(now: Instant) -> Self {
        Self { paid_until: now }
    }

    /// Lets so many units through.
    ///
    /// # Errors
    /// After how long they may come: nothing is used up. More units than the burst come when all of it is there, and use up
    /// what follows.
    pub fn take(&mut self, rate: Rate, units: u64, now: Instant) -> Result<(), Duration> {
        let cost = Duration::from_nanos(rate.unit_ns.saturating_mul(units));
        let burst = Duration::from_nanos(rate.burst_ns);
        let paid_until = self.paid_until.max(now);
        let ahead = paid_until - now;
        let space = burst.saturating_sub(cost.min(burst));
        if ahead > space {
            return Err(ahead - space);
        }
        self.paid_until = paid_until + cost;
        Ok(())
    }

    /// Returns true if all of the burst is there again, so that a new meter would be the same.
    pub fn is_full(&self, now: Instant) -> bool {
        self.paid_until <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_comes_at_once_and_the_rest_at_its_pace() {
        let (rate, begun) = (Rate::per_second(10, 2).unwrap(), Instant::now());
        let mut meter = Meter::new(begun);
        for _ in 0..20 {
            assert_eq!(meter.take(rate, 1, begun), Ok(()));
        }
        let pause = Duration::from_millis(100);
        assert_eq!(meter.take(rate, 1, begun), Err(pause));
        assert_eq!(meter.take(rate, 3, begun), Err(3 * pause));
        assert_eq!(meter.take(rate, 1, begun + pause), Ok(()));
        assert_eq!(meter.take(rate, 1, begun + pause), Err(pause));
        assert!(!meter.is_full(begun + 20 * pause) && meter.is_full(begun + 21 * pause));
    }

    #[test]
    fn more_than_the_burst_comes_once_and_is_paid_for_later() {
        let (rate, begun) = (Rate::per_second(100, 1).unwrap(), Instant::now());
        let mut meter = Meter::new(begun);
        assert_eq!(meter.take(rate, 1_000, begun), Ok(()));
        assert_eq!(meter.take(rate, 1, begun), Err(Duration::from_millis(9_010)));
        assert_eq!(Rate::per_second(0, 9), None);
    }

    proptest! {
        #[test]
        fn no_more_is_let_through_than_burst_and_pace_allow(
            units in 1_u64..1_000,
            burst_s in 1_u64..5,
            tries in proptest::collection::vec((0_u64..500, 1_u64..50), 1..200),
        ) {
            let (rate, begun) = (Rate::per_second(units, burst_s).unwrap(), Instant::now());
            let (mut meter, mut now, mut taken) = (Meter::new(begun), begun, 0);
            for (pause_ms, wanted) in tries {
                now += Duration::from_millis(pause_ms);
                match meter.take(rate, wanted, now) {
                    Ok(()) => taken += wanted,
                    Err(after) => {
                        // What was refused comes after that time.
                        let mut then = meter;
                        prop_assert!(then.take(rate, wanted, now + after).is_ok());
                    }
                }
                let seconds = (now - begun).as_secs_f64() + burst_s as f64;
                // One batch may be larger than the burst; a unit is a whole number of nanoseconds.
                let most = seconds * units as f64 * 1.001 + 50.0;
                prop_assert!(taken as f64 <= most, "{taken} of {most}");
            }
        }
    }
}
