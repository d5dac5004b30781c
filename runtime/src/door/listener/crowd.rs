//! How many connections may be at a time. Owns the counts of each client's address, and of those that have not asked
//! for anything yet.
//!
//! Invariant: a place is given back with what holds it. Of too many that say nothing, the one that has been silent
//! longest goes, as one that means to ask has asked by then. It does not know what is asked for.

use crate::limits::{Limits, size};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How many connections listeners let in together. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(crate) struct Capacity {
    places: Arc<Semaphore>,
    pub(super) addresses: Addresses,
    pub(super) half_open: HalfOpen,
}

impl Capacity {
    /// As much as these limits allow.
    pub(crate) fn new(limits: &Limits) -> Self {
        let places = size(limits.connections_max).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            addresses: Addresses::new(limits),
            half_open: HalfOpen::new(limits),
        }
    }

    /// A place for one more connection, as soon as there is one. None if there never will be.
    ///
    /// # Cancel safety
    /// Dropped before it returns, no place is taken.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }
}

/// The bits of an IPv6 address that name a network: whoever has one address has all of its network.
const NETWORK: u128 = !((1 << 64) - 1);

/// The clients' addresses. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(super) struct Addresses(Arc<Counts>);

struct Counts {
    open: Mutex<HashMap<IpAddr, usize>>,
    max: usize,
}

/// What a connection of an address meets.
pub(super) enum Entry {
    /// It is served.
    Place(AddressPlace),
    /// It is told that there are too many.
    Refused(AddressPlace),
    /// There are too many of those, too.
    Closed,
}

/// A place among those of an address.
pub(super) struct AddressPlace {
    all: Addresses,
    addr: IpAddr,
}

impl Addresses {
    pub(super) fn new(limits: &Limits) -> Self {
        let max = size(limits.connections_per_address_max);
        Self(Arc::new(Counts { open: Mutex::default(), max }))
    }

    /// A place for one more of this address.
    pub(super) fn enter(&self, addr: IpAddr) -> Entry {
        let addr = network(addr);
        let max = self.0.max;
        let mut open = self.open();
        let count = open.entry(addr).or_default();
        if *count > max.saturating_add(max / 8) {
            return Entry::Closed;
        }
        *count += 1;
        let is_over = *count > max;
        drop(open);
        let place = AddressPlace { all: self.clone(), addr };
        if is_over { Entry::Refused(place) } else { Entry::Place(place) }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Counts are changed by steps that cannot panic, so what a panicking holder left is whole.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut open = self.all.open();
        if let Some(count) = open.get_mut(&self.addr) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.addr);
            }
        }
    }
}

/// What is counted as one client.
fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & NETWORK).into(),
        addr @ IpAddr::V4(_) => addr,
    }
}

/// The connections that have not asked for anything yet. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(super) struct HalfOpen(Arc<Waiting>);

struct Waiting {
    /// By when they came.
    silent: Mutex<Silent>,
    max: usize,
}

#[derive(Default)]
struct Silent {
    next: u64,
    by_age: BTreeMap<u64, CancellationToken>,
}

/// A connection that has not asked for anything yet.
pub(super) struct SilentPlace {
    all: HalfOpen,
    number: u64,
    pushed_out: CancellationToken,
    asked: CancellationToken,
}

impl HalfOpen {
    pub(super) fn new(limits: &Limits) -> Self {
        let max = size(limits.half_open_max);
        Self(Arc::new(Waiting { silent: Mutex::default(), max }))
    }

    /// A place for a connection, and whether another one went for it.
    pub(super) fn enter(&self) -> (SilentPlace, bool) {
        let (pushed_out, asked) = (CancellationToken::new(), CancellationToken::new());
        let mut silent = self.silent();
        let number = silent.next;
        silent.next += 1;
        silent.by_age.insert(number, pushed_out.clone());
        let oldest = match silent.by_age.len() > self.0.max {
            true => silent.by_age.pop_first(),
            false => None,
        };
        drop(silent);
        if let Some((_, oldest)) = &oldest {
            oldest.cancel();
        }
        (SilentPlace { all: self.clone(), number, pushed_out, asked }, oldest.is_some())
    }

    fn silent(&self) -> MutexGuard<'_, Silent> {
        // The list is changed by steps that cannot panic, so what a panicking holder left is whole.
        self.0.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SilentPlace {
    /// It has asked for something, and its place is free.
    pub(super) fn asked(&self) {
        if !self.asked.is_cancelled() {
            self.all.silent().by_age.remove(&self.number);
            self.asked.cancel();
        }
    }

    /// Returns when it has to go, to make space for others; never, once it has asked.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing is lost.
    pub(super) async fn pushed_out(&self) {
        tokio::select! {
            () = self.pushed_out.cancelled() => {}
            () = self.has_asked() => std::future::pending().await,
        }
    }

    /// Returns when it has asked.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing is lost.
    pub(super) async fn has_asked(&self) {
        self.asked.cancelled().await;
    }
}

impl Drop for SilentPlace {
    fn drop(&mut self) {
        self.all.silent().by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn addresses(connections_per_address_max: u64) -> Addresses {
        Addresses::new(&Limits { connections_per_address_max, ..Limits::default() })
    }

    #[test]
    fn an_address_has_so_many_places_and_some_more_for_those_who_are_told() {
        let all = addresses(8);
        let enter = |addr: &str| all.enter(addr.parse().unwrap());
        let mut places: Vec<Entry> = (0..8).map(|_| enter("192.0.2.1")).collect();
        assert!(places.iter().all(|entry| matches!(entry, Entry::Place(_))));
        places.extend([enter("192.0.2.1"), enter("::ffff:192.0.2.1")]);
        assert!(places[8..].iter().all(|entry| matches!(entry, Entry::Refused(_))));
        assert!(matches!(enter("192.0.2.1"), Entry::Closed));
        assert!(matches!(enter("192.0.2.2"), Entry::Place(_)));
        places.truncate(7);
        assert!(matches!(enter("192.0.2.1"), Entry::Place(_)));
        drop(places);
        assert!(all.open().is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let all = addresses(1);
        let _place = all.enter("2001:db8::1".parse().unwrap());
        assert!(!matches!(all.enter("2001:db8::2".parse().unwrap()), Entry::Place(_)));
        assert!(matches!(all.enter("2001:db8:0:1::1".parse().unwrap()), Entry::Place(_)));
    }

    #[test]
    fn of_too_many_silent_ones_the_oldest_goes() {
        let all = HalfOpen::new(&Limits { half_open_max: 2, ..Limits::default() });
        let places = [(); 4].map(|()| all.enter());
        assert_eq!([0, 1, 2, 3].map(|at| places[at].1), [false, false, true, true]);
        let out = |at: usize| places[at].0.pushed_out().now_or_never().is_some();
        assert_eq!([0, 1, 2, 3].map(out), [true, true, false, false]);
        // One that has asked is none of them.
        places[2].0.asked();
        let (_more, pushes) = all.enter();
        assert!(!pushes);
        drop(places);
        assert_eq!(all.silent().by_age.len(), 1);
    }
}
