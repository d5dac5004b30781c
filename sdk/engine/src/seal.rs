//! The end of a frozen heap. Owns what a component does to its heap before the image of it is taken.
//!
//! Invariant: what is in the heap then is never written to because something refers to it, and what a room makes later is not
//! taken for a part of it. `before-quickjs.h` is the other half, in QuickJS. It does not know what is in a heap.

use rquickjs::Context;

/// The largest hole that is looked for, in bytes, and the step from one size to the next.
const HOLE_BYTES_MAX: usize = 64 << 10;
const HOLE_STEP_BYTES: usize = 8;

/// The largest block that QuickJS puts into an arena with others of its size, in bytes, and the step between such sizes.
const ARENA_BLOCK_BYTES_MAX: usize = 504;
const ARENA_STEP_BYTES: usize = 8;

/// Ends the frozen heap: from now on QuickJS counts no references to its objects, and so frees none of them. Free places in
/// its arenas are filled, as an object that a room puts there would be taken for a frozen one.
#[expect(
    unsafe_code,
    reason = "rquickjs has no safe way to allocate, and the end is a variable of QuickJS"
)]
pub(crate) fn seal(context: &Context) {
    unsafe extern "C" {
        static mut room_frozen_end: usize;
    }
    fill_holes();
    let end = std::hint::black_box(Vec::<u8>::with_capacity(2 * HOLE_BYTES_MAX));
    let end = end.as_ptr().addr();
    context.with(|ctx| {
        for size in (ARENA_STEP_BYTES..=ARENA_BLOCK_BYTES_MAX).step_by(ARENA_STEP_BYTES) {
            // Safety: the context is alive, and nothing uses the block.
            let fill = || unsafe { rquickjs::qjs::js_malloc(ctx.as_raw().as_ptr(), size as _) };
            while (1..end).contains(&fill().addr()) {}
        }
    });
    // Safety: a component has one thread, and QuickJS reads the variable only while it is called.
    unsafe { room_frozen_end = end };
}

/// Fills the holes that evaluation left in the heap, and leaves them filled. A room that allocates then gets new pages,
/// one after the other. Otherwise it would get holes all over the image, and a page of its own for each of them.
fn fill_holes() {
    let mut size = HOLE_BYTES_MAX;
    while size >= HOLE_STEP_BYTES {
        // Behind everything that is there: at the end, or in a hole that is even larger.
        let end = std::hint::black_box(Vec::<u8>::with_capacity(2 * HOLE_BYTES_MAX));
        let filling = std::hint::black_box(Vec::<u8>::with_capacity(size));
        if filling.as_ptr() < end.as_ptr() {
            std::mem::forget(filling);
        } else {
            size -= HOLE_STEP_BYTES;
        }
    }
}
