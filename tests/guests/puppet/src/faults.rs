//! The attacks of a guest on its host. Owns the mischief.
//!
//! Invariant: every function here ends only when the host ends it. It does not know why it is called.

use std::hint::black_box;

/// Computes forever.
pub(crate) fn endless_loop() -> ! {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

/// Takes the messages that wait, and goes on asking behind the last one.
#[cfg(target_os = "wasi")]
pub(crate) fn endless_next() -> ! {
    loop {
        black_box(room_sdk::bindings::room::runtime::inbox::next(Ok(())));
    }
}

#[cfg(not(target_os = "wasi"))]
pub(crate) fn endless_next() -> ! {
    unreachable!("the puppet runs as a guest")
}

/// Calls itself until the stack is full. With a `FRAME` of 0 the frames are small and the host's stack fills.
/// Otherwise the guest's own stack fills, which lies in its memory.
pub(crate) fn endless_recursion<const FRAME: usize>(n: u64) -> u64 {
    let frame = black_box([n; FRAME]);
    if n == u64::MAX {
        return n;
    }
    black_box(endless_recursion::<FRAME>(n + 1)) + frame.first().copied().unwrap_or(1)
}

/// Allocates until there is no memory.
pub(crate) fn endless_allocation() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Stops at once, without a message.
pub(crate) fn trap() -> ! {
    std::process::abort()
}

/// Calls the contract past the SDK, which does not make this mistake.
#[cfg(target_family = "wasm")]
pub(crate) fn roll_back_unknown() -> room_sdk::Result {
    use room_sdk::bindings::room::runtime::room;
    room::rollback(7);
    Ok(())
}

/// Calls the contract past the SDK, which does not make this mistake.
#[cfg(target_family = "wasm")]
pub(crate) fn flush_inside() -> room_sdk::Result {
    use room_sdk::bindings::room::runtime::room;
    drop(room::savepoint());
    room::flush();
    Ok(())
}

#[cfg(not(target_family = "wasm"))]
pub(crate) fn roll_back_unknown() -> room_sdk::Result {
    unreachable!("the puppet runs as a guest")
}

#[cfg(not(target_family = "wasm"))]
pub(crate) fn flush_inside() -> room_sdk::Result {
    unreachable!("the puppet runs as a guest")
}
