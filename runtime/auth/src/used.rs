//! The tickets of single use that were used. Owns how long each is remembered.
//!
//! Invariant: a ticket is used once as long as it is valid. Their number is bounded by `tickets_used_max`, and at the
//! bound no further one is used. A use counts only when the client got in. It does not know what a ticket allows.

use crate::failure::AuthError;
use room_core::limits::{Limits, size};
use room_core::lock::lock;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

/// The used tickets of a project on this node, since it started.
pub struct UsedTickets {
    max: usize,
    since_ms: u64,
    used: Mutex<Uses>,
}

#[derive(Default)]
struct Uses {
    by_id: HashMap<u128, u64>,
    by_end: BTreeSet<(u64, u128)>,
}

/// The use of a ticket. If it is dropped before [`TicketUse::keep`], the ticket was not used.
pub struct TicketUse {
    all: Arc<UsedTickets>,
    id: u128,
    kept: bool,
}

impl UsedTickets {
    /// Remembers no ticket. Those that were made before `since_ms` may have been used, and nobody knows.
    pub fn new(limits: &Limits, since_ms: u64) -> Arc<Self> {
        let max = size(limits.tickets_used_max);
        Arc::new(Self { max, since_ms, used: Mutex::default() })
    }

    /// Uses a ticket that was made and ends at these times.
    pub(crate) fn take(
        self: &Arc<Self>,
        id: u128,
        (made_ms, ends_ms): (u64, u64),
        now_ms: u64,
    ) -> Result<TicketUse, AuthError> {
        if made_ms < self.since_ms {
            return Err(AuthError::Outlived);
        }
        let mut used = lock(&self.used);
        while let Some(&(end, old)) = used.by_end.first()
            && end <= now_ms
        {
            used.by_end.pop_first();
            used.by_id.remove(&old);
        }
        if used.by_id.contains_key(&id) {
            return Err(AuthError::Used);
        }
        if used.by_id.len() >= self.max {
            return Err(AuthError::Busy);
        }
        used.by_id.insert(id, ends_ms);
        used.by_end.insert((ends_ms, id));
        Ok(TicketUse { all: self.clone(), id, kept: false })
    }
}

impl TicketUse {
    /// Makes the use final: the client got in.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for TicketUse {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let mut used = lock(&self.all.used);
        if let Some(end) = used.by_id.remove(&self.id) {
            used.by_end.remove(&(end, self.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_used_once_until_its_end_and_their_number_is_bounded() {
        let limits = Limits { tickets_used_max: 2, ..Limits::default() };
        let all = UsedTickets::new(&limits, 100);
        let take = |id, now_ms| all.take(id, (100, 200), now_ms);
        take(1, 100).ok().unwrap().keep();
        assert_eq!(take(1, 150).err(), Some(AuthError::Used));
        // A client that did not get in may try again.
        drop(take(2, 150).ok().unwrap());
        take(2, 150).ok().unwrap().keep();
        assert_eq!(take(3, 150).err(), Some(AuthError::Busy));
        take(3, 200).ok().unwrap().keep();
        assert_eq!(all.take(4, (99, 300), 150).err(), Some(AuthError::Outlived));
    }
}
