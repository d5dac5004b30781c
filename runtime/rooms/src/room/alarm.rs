//! The next try of a failed alarm, timer or cron. Pure; owns the back-off.
//!
//! Invariant: tries are counted with the alarm or timer itself, so that a restart does not reset them. It does
//! not know how they are kept or rung.

use room_core::limits::Limits;
use room_store::AlarmRecord;

/// Returns the alarm after one more failure, due after 2 s, 4 s, …; `None` after the last try.
pub(crate) fn next_try(alarm: AlarmRecord, now_ms: u64, limits: &Limits) -> Option<AlarmRecord> {
    let tries = alarm.tries + 1;
    let pause = limits.alarm_retry_ms_min.saturating_mul(2u64.saturating_pow(alarm.tries));
    let due_ms = now_ms.saturating_add(pause);
    (u64::from(tries) <= limits.alarm_tries_max).then_some(AlarmRecord { due_ms, tries })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_alarm_is_retried_six_times_with_doubling_pauses() {
        let limits = Limits::default();
        let mut alarm = AlarmRecord { due_ms: 0, tries: 0 };
        let mut pauses = Vec::new();
        while let Some(next) = next_try(alarm, 1_000, &limits) {
            pauses.push(next.due_ms - 1_000);
            alarm = next;
        }
        assert_eq!(pauses, [2_000, 4_000, 8_000, 16_000, 32_000, 64_000]);
    }
}
