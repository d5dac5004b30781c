//! The functions of Rust for rooms under test.
//!
//! Owns the module `room:tested`. Invariant: what [`room_sdk::test`] answers to misuse with a panic is refused before, with
//! an error that a test can read. It does not know the classes that tests see.

mod asked;
mod people;
mod room;
mod seen;

use rquickjs::module::{Declarations, Exports, ModuleDef};
use rquickjs::{Ctx, Result};

/// The module.
pub(crate) struct Tested;

const PARTS: [&[&str]; 4] = [asked::NAMES, people::NAMES, room::NAMES, seen::NAMES];

impl ModuleDef for Tested {
    fn declare<'js>(declare: &Declarations<'js>) -> Result<()> {
        for name in PARTS.into_iter().flatten() {
            declare.declare(*name)?;
        }
        Ok(())
    }

    fn evaluate<'js>(ctx: &Ctx<'js>, exports: &Exports<'js>) -> Result<()> {
        let functions = [
            asked::functions(ctx)?,
            people::functions(ctx)?,
            room::functions(ctx)?,
            seen::functions(ctx)?,
        ];
        for (name, function) in PARTS.into_iter().flatten().zip(functions.into_iter().flatten()) {
            exports.export(*name, function)?;
        }
        Ok(())
    }
}
