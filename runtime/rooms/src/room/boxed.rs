//! Boxes whose content is made where it stays. Owns the order of allocation and making.
//!
//! Invariant: nothing can unwind between the two, so the compiler need not keep the content on the stack, and writes it
//! into the box. It does not know what is in a box.

/// Boxes what `make` returns. `Box::new` makes its content first and then copies all of it: for the future of a turn
/// these are some kilobytes.
#[inline]
pub(super) fn boxed<T>(make: impl FnOnce() -> T) -> Box<T> {
    let space = Box::new_uninit();
    Box::write(space, make())
}
