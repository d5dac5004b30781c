//! The functions of Rust that the library calls.
//!
//! Owns the module `room:native`. Invariant: a function is synchronous, and refuses what makes no sense now (see `mode`)
//! before it reaches the host. It does not know who calls.

mod connections;
mod crypto;
mod history;
pub(crate) mod identity;
mod outcalls;
pub(crate) mod presence;
mod storage;
mod streams;
mod web;

use rquickjs::module::{Declarations, Exports, ModuleDef};
use rquickjs::{Ctx, Function, Object, Result};

/// Names and functions of a part of the module, from one list.
macro_rules! natives {
    ($($name:literal => $function:path),* $(,)?) => {
        pub(crate) const NAMES: &[&str] = &[$($name),*];

        pub(crate) fn functions<'js>(ctx: &rquickjs::Ctx<'js>) -> rquickjs::Result<Vec<rquickjs::Function<'js>>> {
            Ok(vec![$(rquickjs::Function::new(ctx.clone(), $function)?.with_name($name)?),*])
        }
    };
}
pub(crate) use natives;

/// The module.
pub(crate) struct Native;

const PARTS: [&[&str]; 9] = [
    connections::NAMES,
    crypto::NAMES,
    history::NAMES,
    identity::NAMES,
    outcalls::NAMES,
    presence::NAMES,
    storage::NAMES,
    streams::NAMES,
    web::NAMES,
];

fn functions<'js>(ctx: &Ctx<'js>) -> Result<[Vec<Function<'js>>; 9]> {
    Ok([
        connections::functions(ctx)?,
        crypto::functions(ctx)?,
        history::functions(ctx)?,
        identity::functions(ctx)?,
        outcalls::functions(ctx)?,
        presence::functions(ctx)?,
        storage::functions(ctx)?,
        streams::functions(ctx)?,
        web::functions(ctx)?,
    ])
}

impl ModuleDef for Native {
    fn declare<'js>(declare: &Declarations<'js>) -> Result<()> {
        for name in PARTS.into_iter().flatten() {
            declare.declare(*name)?;
        }
        declare.declare("default")?;
        Ok(())
    }

    fn evaluate<'js>(ctx: &Ctx<'js>, exports: &Exports<'js>) -> Result<()> {
        let all = Object::new(ctx.clone())?;
        let functions = functions(ctx)?;
        for (name, function) in PARTS.into_iter().flatten().zip(functions.into_iter().flatten()) {
            all.set(*name, function.clone())?;
            exports.export(*name, function)?;
        }
        exports.export("default", all)?;
        Ok(())
    }
}
