//! A guest's inputs besides its event and the stored entries. Owns the one source of time and randomness.
//!
//! Invariant: every clock reading and every random byte that a guest gets is a sample of its instance's
//! source, in the order in which the guest asked. So a turn is a function of its event, the stored entries,
//! the connections, and its samples. It does not know what the guest does with them.
//!
//! One thing still depends on timing: a guest that waits for two moments at once learns which one came first.

use rand::rand_core::Infallible;
use rand::{Rng, TryRng};
use room_core::clock::Clock;
use room_core::lock::lock;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// A source of the samples of one instance.
pub trait SampleSource: Send {
    /// Returns the time since 1970-01-01T00:00:00Z.
    fn wall(&mut self) -> Duration;

    /// Returns the time since a moment that stays the same while the instance lives.
    fn monotonic(&mut self) -> Duration;

    /// Fills these bytes at random.
    fn random(&mut self, bytes: &mut [u8]);
}

/// The node's clock, and random bytes of a generator.
pub struct LiveSamples<R> {
    clock: Clock,
    random: R,
}

impl LiveSamples<()> {
    /// Returns the source of guests in production. Its random bytes come from the process's generator, which
    /// the system seeds again and again.
    pub fn of_system(clock: Clock) -> Box<dyn SampleSource> {
        Box::new(LiveSamples { clock, random: |bytes: &mut [u8]| rand::rng().fill_bytes(bytes) })
    }

    /// Returns a source whose random bytes follow from the seed.
    #[cfg(test)]
    pub(crate) fn seeded(clock: Clock, seed: u64) -> Box<dyn SampleSource> {
        let mut generator: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(seed);
        Box::new(LiveSamples { clock, random: move |bytes: &mut [u8]| generator.fill_bytes(bytes) })
    }
}

impl<R: FnMut(&mut [u8]) + Send> SampleSource for LiveSamples<R> {
    fn wall(&mut self) -> Duration {
        self.clock.wall()
    }

    fn monotonic(&mut self) -> Duration {
        self.clock.monotonic()
    }

    fn random(&mut self, bytes: &mut [u8]) {
        (self.random)(bytes);
    }
}

/// Connects everything in WASI that is time or randomness to one source. The insecure seed, from which guests
/// make the order of their hash maps, is drawn at once. Returns the source, for the host's own needs.
pub(super) fn give(builder: &mut WasiCtxBuilder, source: Box<dyn SampleSource>) -> Samples {
    let samples = Samples(Arc::new(Mutex::new(source)));
    let seed = samples.random();
    builder
        .wall_clock(samples.clone())
        .monotonic_clock(samples.clone())
        .secure_random(samples.clone())
        .insecure_random(samples.clone())
        .insecure_random_seed(u128::from_le_bytes(seed));
    samples
}

/// The source, shared by the parts of WASI.
#[derive(Clone)]
pub(super) struct Samples(Arc<Mutex<Box<dyn SampleSource>>>);

impl Samples {
    fn source(&self) -> MutexGuard<'_, Box<dyn SampleSource>> {
        lock(&self.0)
    }

    /// Returns the time of day, in milliseconds since 1970.
    pub(super) fn wall_ms(&self) -> u64 {
        u64::try_from(self.source().wall().as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns random bytes.
    pub(super) fn random<const BYTES: usize>(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        self.source().random(&mut bytes);
        bytes
    }
}

impl HostWallClock for Samples {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.source().wall()
    }
}

impl HostMonotonicClock for Samples {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.source().monotonic().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl TryRng for Samples {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.random()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.random()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.source().random(bytes);
        Ok(())
    }
}
