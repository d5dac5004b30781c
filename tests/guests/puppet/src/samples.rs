//! The values that a guest can get from no event and no storage. Owns the calls.
//!
//! Invariant: every function asks again at each call. It does not know what the answers should be.

use std::hint::black_box;

/// Returns the values of each interface of `wasi:random`, and what the standard library makes of them.
#[cfg(target_os = "wasi")]
pub(crate) fn random() -> String {
    use std::collections::HashSet;
    use wasip2::random::{insecure, insecure_seed, random};
    let set: HashSet<u32> = (0..8).collect();
    let order: Vec<_> = set.into_iter().collect();
    let secure = (random::get_random_bytes(9), random::get_random_u64());
    let weak = (insecure::get_insecure_random_bytes(9), insecure::get_insecure_random_u64());
    format!("{secure:?} {weak:?} {:?} {order:?}", insecure_seed::insecure_seed())
}

/// Returns the times of both clocks.
#[cfg(target_os = "wasi")]
pub(crate) fn time() -> String {
    use wasip2::clocks::{monotonic_clock, wall_clock};
    let (wall, monotonic) = (wall_clock::now(), monotonic_clock::now());
    format!("{}.{:09} {monotonic}", wall.seconds, wall.nanoseconds)
}

#[cfg(not(target_os = "wasi"))]
pub(crate) fn random() -> String {
    unreachable!("the puppet runs as a guest")
}

#[cfg(not(target_os = "wasi"))]
pub(crate) fn time() -> String {
    unreachable!("the puppet runs as a guest")
}

/// Returns the bits of NaN results, whose sign and payload machines choose differently.
pub(crate) fn not_a_number() -> String {
    let (zero, infinite) = (black_box(0.0_f64), black_box(f64::INFINITY));
    let (none, endless) = (black_box(0.0_f64), black_box(f64::INFINITY));
    let payload = black_box(f64::from_bits(0xfff8_0000_dead_beef));
    let small = black_box(0.0_f32) / black_box(0.0_f32);
    let results =
        [zero / none, infinite - endless, (-infinite).sqrt(), zero * infinite, payload + 1.0];
    let bits = results.map(|result| format!("{:016x}", result.to_bits()));
    format!("{} {:08x}", bits.join(" "), small.to_bits())
}
