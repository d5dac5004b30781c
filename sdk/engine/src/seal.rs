//! The end of a heap that is frozen. Owns what a component does to its heap before the image of it is taken.
//!
//! Invariant: the objects and functions of then are never written to because something refers to them, and are never freed.
//! What a room makes later is counted and collected as ever. `before-quickjs.h` is the other half, in QuickJS. It does not
//! know what is in a heap.

use rquickjs::Context;

/// The largest hole that is looked for, in bytes, and the step from one size to the next.
const HOLE_BYTES_MAX: usize = 64 << 10;
const HOLE_STEP_BYTES: usize = 8;

/// Ends the heap: from now on QuickJS counts no references to its objects.
pub(crate) fn seal(context: &Context) {
    set_sealing(1);
    context.runtime().run_gc();
    set_sealing(0);
    fill_holes();
}

/// Says whether a run of the cycle collector marks what is frozen.
#[expect(unsafe_code, reason = "it is a variable of QuickJS")]
fn set_sealing(is_sealing: std::ffi::c_int) {
    unsafe extern "C" {
        static mut room_is_sealing: std::ffi::c_int;
    }
    // Safety: a component has one thread, and QuickJS reads the variable only while it is called.
    unsafe { room_is_sealing = is_sealing };
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
