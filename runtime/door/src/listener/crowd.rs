//! How many connections may be open at a time. Owns the counts of each client's address, and of the connections that
//! have not sent a request yet.
//!
//! Invariant: a place is freed when its connection ends. Of too many silent connections the one that has been silent
//! longest is closed, because a client that means to send a request has done so by then. It does not know what a
//! request asks for.

use crate::status::DoorError;
use room_core::limits::{Limits, size};
use room_core::lock::lock;
use room_core::rate::{Meter, Rate};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The number of connections that listeners admit together. Cheap to clone; clones share the counts.
#[derive(Clone)]
pub struct Capacity {
    places: Arc<Semaphore>,
    pub(super) addresses: Addresses,
    pub(super) half_open: HalfOpen,
    /// `None` if no limit bounds how fast an address connects.
    pub(super) connects: Option<ConnectRates>,
}

impl Capacity {
    /// Returns the capacity that these limits allow.
    pub fn new(limits: &Limits) -> Self {
        let places = size(limits.connections_max).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            addresses: Addresses::new(limits),
            half_open: HalfOpen::new(limits),
            connects: ConnectRates::of(limits),
        }
    }

    /// Returns a place for one more connection, as soon as one is free. Returns `None` if there will never be one.
    ///
    /// # Cancel safety
    /// If dropped before it returns, no place is taken.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }
}

/// The bits of an IPv6 address that name a network: a client with one address can use all of its network.
const NETWORK: u128 = !((1 << 64) - 1);

/// The counts of connections by client address. Cheap to clone; clones share the counts.
#[derive(Clone)]
pub(super) struct Addresses(Arc<AddressCounts>);

struct AddressCounts {
    open: Mutex<HashMap<IpAddr, usize>>,
    max: usize,
}

/// What the listener does with a new connection of an address.
pub(super) enum AddressEntry {
    /// Serves it.
    Place(AddressSlot),
    /// Answers that there are too many connections.
    Refused(AddressSlot),
    /// Closes it at once: there are too many refused connections, too.
    Closed,
}

/// A place among the connections of one address.
pub(super) struct AddressSlot {
    all: Addresses,
    addr: IpAddr,
}

impl Addresses {
    pub(super) fn new(limits: &Limits) -> Self {
        let max = size(limits.connections_per_address_max);
        Self(Arc::new(AddressCounts { open: Mutex::default(), max }))
    }

    /// Takes a place for one more connection of this address.
    pub(super) fn enter(&self, addr: IpAddr) -> AddressEntry {
        let addr = network(addr);
        let max = self.0.max;
        let mut open = self.open();
        let count = open.entry(addr).or_default();
        if *count > max.saturating_add(max / 8) {
            return AddressEntry::Closed;
        }
        *count += 1;
        let is_over = *count > max;
        drop(open);
        let place = AddressSlot { all: self.clone(), addr };
        if is_over { AddressEntry::Refused(place) } else { AddressEntry::Place(place) }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        lock(&self.0.open)
    }
}

impl Drop for AddressSlot {
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

/// Returns the address under which a client is counted: an IPv6 client counts as its network.
fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & NETWORK).into(),
        addr @ IpAddr::V4(_) => addr,
    }
}

/// How fast each address begins connections to rooms. Cheap to clone; clones share the meters.
///
/// It keeps two generations of meters, each at most half of what the limit allows. A full one becomes the older one, whose
/// meters are dropped, so an address that connected lately is known however many others there are.
#[derive(Clone)]
pub(crate) struct ConnectRates(Arc<AddressMeters>);

struct AddressMeters {
    meters: Mutex<[HashMap<IpAddr, Meter>; 2]>,
    rate: Rate,
    max: u64,
    generation_max: usize,
}

impl ConnectRates {
    fn of(limits: &Limits) -> Option<Self> {
        let max = limits.address_connects_per_s;
        let rate = Rate::per_second(max, limits.rates_burst_s)?;
        let generation_max = size(limits.rated_addresses_max / 2).max(1);
        Some(Self(Arc::new(AddressMeters { meters: Mutex::default(), rate, max, generation_max })))
    }

    /// Lets this address begin one more connection.
    ///
    /// # Errors
    /// [`DoorError::ConnectsTooFast`].
    pub(crate) fn admit(&self, addr: IpAddr, now: Instant) -> Result<(), DoorError> {
        let AddressMeters { meters, rate, max, generation_max } = &*self.0;
        let addr = network(addr);
        let mut meters = lock(meters);
        let [young, old] = &mut *meters;
        let known = young.get(&addr).or_else(|| old.get(&addr)).copied();
        let mut meter = known.unwrap_or_else(|| Meter::new(now));
        let taken = meter.take(*rate, 1, now);
        if young.len() >= *generation_max && !young.contains_key(&addr) {
            *old = std::mem::take(young);
        }
        young.insert(addr, meter);
        taken.map_err(|after| {
            let after_s = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            DoorError::ConnectsTooFast { max: *max, after_s }
        })
    }
}

/// The connections that have not sent a request yet. Cheap to clone; clones share the list.
#[derive(Clone)]
pub(super) struct HalfOpen(Arc<SilentConnections>);

struct SilentConnections {
    /// Ordered by arrival.
    silent: Mutex<SilentByAge>,
    max: usize,
}

#[derive(Default)]
struct SilentByAge {
    next: u64,
    by_age: BTreeMap<u64, CancellationToken>,
}

/// The place of a connection that has not sent a request yet.
pub(super) struct SilentSlot {
    all: HalfOpen,
    number: u64,
    pushed_out: CancellationToken,
    asked: CancellationToken,
}

impl HalfOpen {
    pub(super) fn new(limits: &Limits) -> Self {
        let max = size(limits.half_open_max);
        Self(Arc::new(SilentConnections { silent: Mutex::default(), max }))
    }

    /// Takes a place for a connection. Returns also whether another connection was pushed out for it.
    pub(super) fn enter(&self) -> (SilentSlot, bool) {
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
        (SilentSlot { all: self.clone(), number, pushed_out, asked }, oldest.is_some())
    }

    fn silent(&self) -> MutexGuard<'_, SilentByAge> {
        lock(&self.0.silent)
    }
}

impl SilentSlot {
    /// Frees the place, because the connection has sent a request.
    pub(super) fn asked(&self) {
        if !self.asked.is_cancelled() {
            self.all.silent().by_age.remove(&self.number);
            self.asked.cancel();
        }
    }

    /// Waits until the connection is pushed out to make space for others. Never returns once it has sent a request.
    ///
    /// # Cancel safety
    /// If dropped before it returns, nothing is lost.
    pub(super) async fn pushed_out(&self) {
        tokio::select! {
            () = self.pushed_out.cancelled() => {}
            () = self.has_asked() => std::future::pending().await,
        }
    }

    /// Waits until the connection has sent a request.
    ///
    /// # Cancel safety
    /// If dropped before it returns, nothing is lost.
    pub(super) async fn has_asked(&self) {
        self.asked.cancelled().await;
    }
}

impl Drop for SilentSlot {
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
    fn an_address_has_a_bound_and_extra_slots_for_refusals() {
        let all = addresses(8);
        let enter = |addr: &str| all.enter(addr.parse().unwrap());
        let mut places: Vec<AddressEntry> = (0..8).map(|_| enter("192.0.2.1")).collect();
        assert!(places.iter().all(|entry| matches!(entry, AddressEntry::Place(_))));
        places.extend([enter("192.0.2.1"), enter("::ffff:192.0.2.1")]);
        assert!(places[8..].iter().all(|entry| matches!(entry, AddressEntry::Refused(_))));
        assert!(matches!(enter("192.0.2.1"), AddressEntry::Closed));
        assert!(matches!(enter("192.0.2.2"), AddressEntry::Place(_)));
        places.truncate(7);
        assert!(matches!(enter("192.0.2.1"), AddressEntry::Place(_)));
        drop(places);
        assert!(all.open().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_floods_leaves_the_others_their_rate() {
        let limits = Limits {
            address_connects_per_s: 2,
            rates_burst_s: 2,
            rated_addresses_max: 8,
            ..Limits::default()
        };
        let rates = ConnectRates::of(&limits).unwrap();
        let connects = |addr: &str| rates.admit(addr.parse().unwrap(), Instant::now());
        for _ in 0..4 {
            assert_eq!(connects("192.0.2.1"), Ok(()));
        }
        for _ in 0..1_000 {
            let refused = DoorError::ConnectsTooFast { max: 2, after_s: 1 };
            assert_eq!(connects("::ffff:192.0.2.1"), Err(refused));
        }
        for number in 0..100 {
            assert_eq!(connects(&format!("2001:db8:0:{number}::1")), Ok(()));
            assert!(lock(&rates.0.meters).iter().map(HashMap::len).sum::<usize>() <= 8);
            // It comes again and again, so it is not forgotten.
            assert!(connects("192.0.2.1").is_err(), "{number}");
        }
        for _ in 0..4 {
            assert_eq!(connects("2001:db8::1"), Ok(()), "it was forgotten, or never known");
        }
        assert!(connects("2001:db8::2").is_err(), "of the same network");
        tokio::time::advance(std::time::Duration::from_millis(500)).await;
        assert_eq!(connects("192.0.2.1"), Ok(()));
        assert!(ConnectRates::of(&Limits::default()).is_none());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let all = addresses(1);
        let _place = all.enter("2001:db8::1".parse().unwrap());
        assert!(!matches!(all.enter("2001:db8::2".parse().unwrap()), AddressEntry::Place(_)));
        assert!(matches!(all.enter("2001:db8:0:1::1".parse().unwrap()), AddressEntry::Place(_)));
    }

    #[test]
    fn the_oldest_silent_connection_is_dropped_when_there_are_too_many() {
        let all = HalfOpen::new(&Limits { half_open_max: 2, ..Limits::default() });
        let places = [(); 4].map(|()| all.enter());
        assert_eq!([0, 1, 2, 3].map(|at| places[at].1), [false, false, true, true]);
        let out = |at: usize| places[at].0.pushed_out().now_or_never().is_some();
        assert_eq!([0, 1, 2, 3].map(out), [true, true, false, false]);
        // A connection that has sent a request is not counted.
        places[2].0.asked();
        let (_more, pushes) = all.enter();
        assert!(!pushes);
        drop(places);
        assert_eq!(all.silent().by_age.len(), 1);
    }
}
