//! What a room wants done at a later time, and in a rhythm.
//!
//! Owns [`Timer`] and [`Schedule`], and the methods of [`Context`] about them. Invariant: a timer is scheduled once,
//! when its [`Schedule`] is dropped or sent, and a failure that no caller could see fails the turn. It does not know
//! who delivers timers.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;
use crate::context::Context;
use crate::error::Error;
use crate::host::{Current, Host as _, TimerRecord};
use crate::time::Timestamp;

/// A durable time at which [`Room::on_timer`](crate::Room::on_timer) is called, at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer(TimerRecord);

impl Timer {
    pub(crate) fn from_data(data: TimerRecord) -> Self {
        Self(data)
    }

    /// Its id, for [`Context::cancel`]. No other timer of the room ever has it, and each try of a delivery has the
    /// same, so it can mark what was done already.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// What it was tagged with.
    pub fn tag(&self) -> &str {
        &self.0.tag
    }

    /// When it is planned. A delivery may be later: the room was busy, the node did not run, or a try failed.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.0.at_ms)
    }

    /// The time from one planned time to the next, if it repeats.
    pub fn every(&self) -> Option<Duration> {
        self.0.every_ms.map(Duration::from_millis)
    }

    /// How many tries of this delivery have failed.
    pub fn tries(&self) -> u32 {
        self.0.tries
    }

    /// The data that it was scheduled with.
    ///
    /// # Errors
    /// The data is not that of a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T> {
        let read = serde_json::from_slice(&self.0.data);
        read.map_err(|error| {
            Error::new(error).context(format!("the data of timer {:?}", self.tag()))
        })
    }

    /// The data as bytes: JSON, if the Rust SDK scheduled it.
    pub fn bytes(&self) -> &[u8] {
        &self.0.data
    }
}

/// A timer that is being scheduled: completed by its methods, scheduled when it is dropped.
///
/// A failure to schedule a dropped one (the data is not JSON, the room has too many timers) fails the turn, as if the
/// callback had returned it. [`id`](Self::id) returns it instead.
#[derive(Debug)]
pub struct Schedule<'a> {
    ctx: &'a Context,
    timer: Option<Result<TimerRecord>>,
}

impl Schedule<'_> {
    /// Repeats it: the next times are one `every` after the other. Those that pass while the node does not run, or
    /// while the room is busy, are skipped, so that missed times are delivered once. At least 1 s, unless
    /// `timer_every_ms_min` in `room.toml [limits]` has another value; for less there is [`Context::tick`].
    pub fn every(mut self, every: Duration) -> Self {
        if let Some(Ok(timer)) = &mut self.timer {
            timer.every_ms = Some(u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
        }
        self
    }

    /// Schedules it now, and returns its id for [`Context::cancel`].
    ///
    /// # Errors
    /// [`TimerError`](crate::TimerError), or the data cannot be written as JSON. Nothing is scheduled then.
    pub fn id(mut self) -> Result<String> {
        match self.timer.take() {
            Some(timer) => Ok(Current::schedule(timer?)?),
            None => Ok(String::new()),
        }
    }
}

impl Drop for Schedule<'_> {
    fn drop(&mut self) {
        let Some(timer) = self.timer.take() else { return };
        let scheduled = timer.and_then(|timer| Ok(Current::schedule(timer)?));
        if let Err(failure) = scheduled {
            self.ctx.fail(failure.context("cannot schedule the timer"));
        }
    }
}

impl Context {
    /// Schedules a timer when the turn commits: at that time [`Room::on_timer`](crate::Room::on_timer) gets `tag` and
    /// `data`. It is durable: it survives eviction, restarts and crashes, and its delivery is tried again if it fails.
    /// A time in the past means now. A room may have many; [`alarm`](Self::alarm) is one more.
    ///
    /// The timer is scheduled when the returned [`Schedule`] is dropped, which is at the end of the statement:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use room_sdk::prelude::*;
    /// # fn example(ctx: &Context) -> Result {
    /// ctx.schedule(ctx.now() + Duration::from_secs(60), "remind", &"Ada");
    /// ctx.schedule(ctx.now(), "prune", &()).every(Duration::from_secs(3_600));
    /// let id = ctx.schedule(ctx.now() + Duration::from_secs(5), "give up", &7).id()?;
    /// ctx.cancel(&id);
    /// # Ok(())
    /// # }
    /// ```
    pub fn schedule<T: Serialize + ?Sized>(
        &self,
        at: impl Into<Timestamp>,
        tag: &str,
        data: &T,
    ) -> Schedule<'_> {
        let (at_ms, tag) = (at.into().as_millis(), tag.to_owned());
        let timer = serde_json::to_vec(data).map_err(Error::new);
        let timer = timer.map(|data| TimerRecord { at_ms, tag, data, ..TimerRecord::default() });
        Schedule { ctx: self, timer: Some(timer) }
    }

    /// Cancels a timer when the turn commits. False if the room has no timer with this id. The timer that a running
    /// `on_timer` is about is gone already, unless it repeats.
    pub fn cancel(&self, id: impl AsRef<str>) -> bool {
        Current::cancel(id.as_ref())
    }

    /// The pending timers, as this turn leaves them so far, the earliest first.
    pub fn timers(&self) -> Vec<Timer> {
        Current::timers().into_iter().map(Timer).collect()
    }

    /// Starts ticks when the turn commits, in place of those before: [`Room::on_tick`](crate::Room::on_tick) is called
    /// at this pause, 10 ms or more. For games and simulations.
    ///
    /// Ticks are not durable. They last as long as the room is in memory: they stay when the code is replaced and after
    /// a panic, and end when a room without connections leaves memory and when the server stops. So
    /// [`Room::on_start`](crate::Room::on_start) or `on_connect` is the place to start them. While clients are connected, a room with
    /// ticks does not hibernate. Each is due one pause after the one before was due, so lateness does not add up; a
    /// room that is late skips ticks, and never two wait.
    ///
    /// # Errors
    /// [`TimerError::TooOften`](crate::TimerError::TooOften): the ticks before continue.
    pub fn tick(&self, every: Duration) -> Result {
        let every_ms = u32::try_from(every.as_millis()).unwrap_or(u32::MAX);
        Ok(Current::tick(Some(every_ms))?)
    }

    /// Ends the ticks when the turn commits.
    pub fn stop_ticks(&self) {
        // The host refuses only pauses.
        let _ = Current::tick(None);
    }
}
