//! When a webhook that failed is tried again. Owns the pauses.
//!
//! Invariant: the pauses grow, are never longer than a limit and a tenth of it, and are the same for the same webhook and
//! try. Pure: it does not know why a try failed.

use hashbrown::DefaultHashBuilder;
use room_core::limits::Limits;
use room_core::webhooks::WebhookId;
use std::hash::BuildHasher;

/// The pauses of Standard Webhooks, in seconds: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h.
const PAUSES_S: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// Returns the pause before the next try of a webhook that has failed so often, in milliseconds; `None` if that was the
/// last one.
pub(super) fn pause_ms(id: &WebhookId, tries: u32, limits: &Limits) -> Option<u64> {
    if u64::from(tries) >= limits.webhook_tries_max {
        return None;
    }
    let at = (tries.saturating_sub(1) as usize).min(PAUSES_S.len() - 1);
    let pause_ms = (PAUSES_S[at] * 1_000).min(limits.webhook_retry_ms_max);
    // Webhooks that failed together are not tried again together.
    let jitter_ms = DefaultHashBuilder::default().hash_one((id, tries)) % (pause_ms / 10 + 1);
    Some(pause_ms + jitter_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::id::{PartyName, RoomId, SequenceNumber};
    use room_core::jobs::JobId;

    #[test]
    fn pauses_grow_to_a_limit_and_end_with_the_last_try() {
        let room = RoomId::new(PartyName::parse("main").unwrap(), "a", 256).unwrap();
        let id = WebhookId { room, job: JobId::first_of(SequenceNumber::default()) };
        let limits = Limits::default();
        for (tries, pause_s) in (1..).zip(PAUSES_S) {
            let pause_ms = pause_ms(&id, tries, &limits).unwrap();
            let (least, most) = (pause_s * 1_000, pause_s * 1_100);
            assert!((least..=most).contains(&pause_ms), "{tries}: {pause_ms}");
        }
        assert_eq!(pause_ms(&id, 10, &limits), None);
        let often = Limits { webhook_tries_max: 99, webhook_retry_ms_max: 20, ..limits };
        let capped = pause_ms(&id, 50, &often).unwrap();
        assert!((20..=22).contains(&capped), "{capped}");
    }
}
