//! How fast clients may send to a room. Owns the meters of a room and of each connection.
//!
//! Invariant: a message that one meter refuses uses up nothing of another one. Without a limit there is no meter, and a
//! message costs one branch. It does not know what a client learns of a refusal.

use room_core::limits::Limits;
use room_core::lock::lock;
use room_core::metrics::{RateBound, RoomMetrics};
use room_core::rate::{Meter, Rate};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Why a message came too fast.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too fast: {limit} allows {max}; try again in {} s", self.seconds())]
pub struct RateOverrun {
    /// The name of the limit.
    pub limit: &'static str,
    /// Its value.
    pub max: u64,
    /// When the same message may come.
    pub after: Duration,
}

impl RateOverrun {
    /// Returns after how many whole seconds the same message may come.
    pub fn seconds(&self) -> u64 {
        self.after.as_secs() + u64::from(self.after.subsec_nanos() > 0)
    }
}

/// The rates of one room, and its own meters.
pub(super) struct RoomRates {
    rates: [Option<RateLimit>; 4],
    meters: Mutex<[Meter; 2]>,
    metrics: Arc<RoomMetrics>,
}

impl std::fmt::Debug for RoomRates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RoomRates")
    }
}

/// The meters of one connection: of its messages, and of their bytes.
#[derive(Debug)]
pub(super) struct ConnectionMeters([Meter; 2]);

/// A limit that is a rate.
#[derive(Clone, Copy, Debug)]
struct RateLimit {
    bound: RateBound,
    name: &'static str,
    max: u64,
    rate: Rate,
}

impl RateLimit {
    fn of(bound: RateBound, name: &'static str, max: u64, burst_s: u64) -> Option<Self> {
        Rate::per_second(max, burst_s).map(|rate| Self { bound, name, max, rate })
    }

    /// Takes units of a meter, without a trace if there are not enough.
    fn take(
        &self,
        meter: &mut Meter,
        units: u64,
        now: Instant,
    ) -> Result<(), (RateBound, RateOverrun)> {
        meter
            .take(self.rate, units, now)
            .map_err(|after| (self.bound, RateOverrun { limit: self.name, max: self.max, after }))
    }
}

impl RoomRates {
    /// Returns the rates of a room; `None` if no limit bounds any.
    pub(super) fn of(limits: &Limits, metrics: &Arc<RoomMetrics>) -> Option<Arc<Self>> {
        let of = |bound, name, max| RateLimit::of(bound, name, max, limits.rates_burst_s);
        let rates = [
            of(
                RateBound::ConnectionMessages,
                "connection_messages_per_s",
                limits.connection_messages_per_s,
            ),
            of(RateBound::ConnectionBytes, "connection_bytes_per_s", limits.connection_bytes_per_s),
            of(RateBound::RoomMessages, "room_messages_per_s", limits.room_messages_per_s),
            of(RateBound::RoomBytes, "room_bytes_per_s", limits.room_bytes_per_s),
        ];
        let meters = Mutex::new([Meter::new(Instant::now()); 2]);
        let is_bound = rates.iter().any(Option::is_some);
        is_bound.then(|| Arc::new(Self { rates, meters, metrics: metrics.clone() }))
    }

    /// Lets a message of a connection through.
    ///
    /// # Errors
    /// [`RateOverrun`].
    pub(super) fn admit(
        &self,
        connection: &mut ConnectionMeters,
        bytes: usize,
    ) -> Result<(), RateOverrun> {
        let now = Instant::now();
        let mut own = connection.0;
        let [messages, of_bytes, ..] = &self.rates;
        self.take([messages, of_bytes], &mut own, bytes, now)?;
        self.admit_to_room(bytes, now)?;
        connection.0 = own;
        Ok(())
    }

    /// Lets a message through that comes from no connection.
    ///
    /// # Errors
    /// [`RateOverrun`].
    pub(super) fn admit_publication(&self, bytes: usize) -> Result<(), RateOverrun> {
        self.admit_to_room(bytes, Instant::now())
    }

    fn admit_to_room(&self, bytes: usize, now: Instant) -> Result<(), RateOverrun> {
        let [.., messages, of_bytes] = &self.rates;
        let mut meters = lock(&self.meters);
        let mut after = *meters;
        self.take([messages, of_bytes], &mut after, bytes, now)?;
        *meters = after;
        Ok(())
    }

    fn take(
        &self,
        limits: [&Option<RateLimit>; 2],
        meters: &mut [Meter; 2],
        bytes: usize,
        now: Instant,
    ) -> Result<(), RateOverrun> {
        let units = [1, bytes as u64];
        for ((limit, meter), units) in limits.into_iter().zip(meters).zip(units) {
            if let Some(limit) = limit {
                limit.take(meter, units, now).map_err(|(bound, overrun)| {
                    self.metrics.rate_overruns.count(bound);
                    overrun
                })?;
            }
        }
        Ok(())
    }
}

impl ConnectionMeters {
    /// Starts with the whole burst.
    pub(super) fn new() -> Self {
        Self([Meter::new(Instant::now()); 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::metrics::Metrics;

    fn rates(change: impl FnOnce(&mut Limits)) -> Option<Arc<RoomRates>> {
        let mut limits = Limits { rates_burst_s: 1, ..Limits::default() };
        change(&mut limits);
        RoomRates::of(&limits, &Metrics::new().rooms)
    }

    #[tokio::test(start_paused = true)]
    async fn each_rate_refuses_what_is_beyond_it_and_uses_nothing_up() {
        assert!(rates(|_| {}).is_none());
        let rates = rates(|limits| {
            (limits.connection_messages_per_s, limits.room_messages_per_s) = (3, 5);
            limits.room_bytes_per_s = 100;
        });
        let rates = rates.unwrap();
        let (mut one, mut other) = (ConnectionMeters::new(), ConnectionMeters::new());
        let refused = |result: Result<(), RateOverrun>| result.unwrap_err().limit;
        for _ in 0..3 {
            rates.admit(&mut one, 10).unwrap();
        }
        for _ in 0..9 {
            assert_eq!(refused(rates.admit(&mut one, 10)), "connection_messages_per_s");
        }
        // The other connection gets what the first one could not use.
        assert_eq!(refused(rates.admit(&mut other, 80)), "room_bytes_per_s");
        rates.admit(&mut other, 10).unwrap();
        rates.admit_publication(10).unwrap();
        assert_eq!(refused(rates.admit(&mut other, 10)), "room_messages_per_s");
        assert_eq!(refused(rates.admit_publication(1)), "room_messages_per_s");
        let overrun = rates.admit(&mut other, 10).unwrap_err();
        assert_eq!(overrun.to_string(), "too fast: room_messages_per_s allows 5; try again in 1 s");
        tokio::time::advance(overrun.after).await;
        rates.admit(&mut other, 10).unwrap();
    }
}
