//! The modules that a script may import.
//!
//! Owns the embedded library and the names under which it is imported. Invariant: a name that is not listed is refused
//! with a text that says what to do; nothing is read from disk or network. It does not know what the modules do.

use include_dir::{Dir, include_dir};
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Module, Result};

use crate::native::Native;
use crate::values::type_error;

static WEB: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/js/web");
static SERVER: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/js/server");

/// What tests of rooms import, where they run.
#[cfg(any(feature = "testing", not(target_family = "wasm")))]
static TESTING: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/js/testing");

/// What tests of the library import; a component does not have it.
#[cfg(not(target_family = "wasm"))]
const HARNESS: &[u8] = include_bytes!("../js/tests/harness.js");

/// A module of the library by its path.
fn library(path: &str) -> Option<&'static [u8]> {
    #[cfg(not(target_family = "wasm"))]
    if path == "tests/harness.js" {
        return Some(HARNESS);
    }
    let (folder, file) = path.split_once('/')?;
    let folder = match folder {
        "web" => &WEB,
        "server" => &SERVER,
        #[cfg(any(feature = "testing", not(target_family = "wasm")))]
        "testing" => &TESTING,
        _ => return None,
    };
    folder.get_file(file).map(include_dir::File::contents)
}

/// How the library's modules begin.
pub(crate) const OWN: &str = "room:";

/// Rust's functions.
const NATIVE: &str = "room:native";

/// Rust's functions for rooms under test.
#[cfg(any(feature = "testing", not(target_family = "wasm")))]
const TESTED: &str = "room:tested";

/// The names for authors, and the module that each stands for.
const PUBLIC: [(&str, &str); 6] = [
    ("roomkit/server", "room:server/partyserver.js"),
    ("partyserver", "room:server/partyserver.js"),
    ("partykit/server", "room:server/partykit.js"),
    ("cloudflare:workers", "room:server/cloudflare.js"),
    ("room:native", NATIVE),
    ("room:test", "room:tests/harness.js"),
];

/// Finds modules by name.
pub(crate) struct Names;

impl Resolver for Names {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        let own = base.starts_with(OWN);
        #[cfg(any(feature = "testing", not(target_family = "wasm")))]
        match name {
            "roomkit/test" => return Ok("room:testing/index.js".to_owned()),
            TESTED if own => return Ok(name.to_owned()),
            _ => {}
        }
        if let Some((_, module)) = PUBLIC.iter().find(|(public, _)| *public == name) {
            return Ok((*module).to_owned());
        }
        if own && name.starts_with('.') {
            return Ok(relative(base, name));
        }
        if name.strip_prefix(OWN).is_some_and(|path| library(path).is_some()) {
            return Ok(name.to_owned());
        }
        Err(type_error(ctx, &refusal(name)))
    }
}

/// Why a name cannot be imported, and what to write instead.
fn refusal(name: &str) -> String {
    if name.contains("://") {
        return format!(
            "cannot import {name:?}: a room loads no code from the network; add the package to the project, and import it by \
             its name"
        );
    }
    if name == "roomkit/test" {
        return "cannot import \"roomkit/test\" in a room: files of tests (*.test.ts) import it, and `room test` runs them"
            .to_owned();
    }
    format!(
        "cannot import {name:?}: it is not part of the bundle; install the package (npm install), or import a file of the \
         project"
    )
}

/// The module that `name` names beside `base`.
fn relative(base: &str, name: &str) -> String {
    let mut parts: Vec<&str> = base[OWN.len()..].split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("{OWN}{}", parts.join("/"))
}

/// Reads modules of the library.
pub(crate) struct Library;

impl Loader for Library {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> Result<Module<'js, Declared>> {
        if name == NATIVE {
            return Module::declare_def::<Native, _>(ctx.clone(), name);
        }
        #[cfg(any(feature = "testing", not(target_family = "wasm")))]
        if name == TESTED {
            return Module::declare_def::<crate::testing::Tested, _>(ctx.clone(), name);
        }
        match name.strip_prefix(OWN).and_then(library) {
            Some(source) => Module::declare(ctx.clone(), name, source),
            None => Err(type_error(ctx, &refusal(name))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_name_is_found_beside_its_importer() {
        assert_eq!(
            relative("room:web/streams/index.js", "./readable.js"),
            "room:web/streams/readable.js"
        );
        assert_eq!(relative("room:web/streams/index.js", "../url.js"), "room:web/url.js");
    }
}
