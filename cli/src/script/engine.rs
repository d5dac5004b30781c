//! The engine for scripts, as a component. Owns where this program has it from.
//!
//! Invariant: it is the engine of the sources that this program was built from. It does not know what the engine does.

use crate::codes::Code;
use crate::mistake::Mistake;

/// Returns the engine's component. The first call may take minutes: not for an async thread.
///
/// # Errors
/// A mistake: this program has no engine, and cannot compile it.
pub(super) fn component() -> anyhow::Result<&'static [u8]> {
    source::component().map_err(missing)
}

/// Returns the component that runs tests, as [`component`] does.
///
/// # Errors
/// As there.
pub(super) fn tester() -> anyhow::Result<&'static [u8]> {
    source::tester().map_err(missing)
}

fn missing(why: String) -> anyhow::Error {
    Mistake::new(Code::NoEngine, format_args!("this `room` has no engine for scripts: {why}"))
        .help(source::HELP)
        .into()
}

/// A program for release has it in itself.
#[cfg(room_engine = "embedded")]
mod source {
    pub(super) const HELP: &str = "build it again";

    pub(super) fn component() -> Result<&'static [u8], String> {
        Ok(include_bytes!(env!("ROOM_ENGINE")))
    }

    pub(super) fn tester() -> Result<&'static [u8], String> {
        Ok(include_bytes!(env!("ROOM_TESTER")))
    }
}

/// A program for development compiles it from the sources that it was built from.
#[cfg(room_engine = "checkout")]
mod source {
    use crate::script::compile;
    use std::path::Path;
    use std::sync::OnceLock;

    pub(super) const HELP: &str =
        "install clang (`apt-get install clang llvm`), and run this again";

    pub(super) fn component() -> Result<&'static [u8], String> {
        static COMPILED: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
        let compiled = COMPILED.get_or_init(|| compiled("", &[])).as_deref();
        compiled.map_err(Clone::clone)
    }

    pub(super) fn tester() -> Result<&'static [u8], String> {
        static COMPILED: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
        let compiled =
            COMPILED.get_or_init(|| compiled(compile::TESTING, &[compile::TESTING])).as_deref();
        compiled.map_err(Clone::clone)
    }

    fn compiled(folder: &str, features: &[&str]) -> Result<Vec<u8>, String> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = package.parent().unwrap_or(package);
        let target_dir = Path::new(env!("ROOM_ENGINE_TARGET")).join(folder);
        if !compile::component(&target_dir).is_file() {
            crate::print::talk(
                "compiling the engine for scripts, which is done once in a checkout and takes one or two minutes",
            );
        }
        let path = compile::compile(workspace, &target_dir, features)?;
        std::fs::read(&path).map_err(|error| format!("{} is gone: {error}", path.display()))
    }
}

/// The compilation of this program could not compile it.
#[cfg(room_engine = "missing")]
mod source {
    pub(super) const HELP: &str =
        "install clang (`apt-get install clang llvm`), and build this program again";

    pub(super) fn component() -> Result<&'static [u8], String> {
        Err("it was built without clang".to_owned())
    }

    pub(super) fn tester() -> Result<&'static [u8], String> {
        component()
    }
}
