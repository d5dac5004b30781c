//! Guards that `src/bindings.rs` says what `wit/room.wit` says.
//!
//! The bindings are committed so that a room's author compiles no WIT parser. After a change of the
//! contract, `UPDATE_BINDINGS=1 cargo test -p room-sdk --test bindings` writes them again.

use std::fs;
use std::path::Path;

use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator as _};

#[test]
fn committed_bindings_match_the_contract() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/bindings.rs");
    let fresh = generate(&root.join("wit"));
    if std::env::var_os("UPDATE_BINDINGS").is_some() {
        fs::write(&committed, &fresh).expect("the sdk's sources are writable");
    }
    let found = fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        found == fresh,
        "sdk/src/bindings.rs does not match sdk/wit: \
         run `UPDATE_BINDINGS=1 cargo test -p room-sdk --test bindings`"
    );
}

/// The WIT package in a folder → the text of the Rust bindings of its world `module`.
fn generate(wit: &Path) -> String {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).expect("the contract parses");
    let world = resolve.select_world(&[package], Some("module")).expect("the world exists");
    let options = wit_bindgen_rust::Opts {
        format: true,
        generate_all: true,
        pub_export_macro: true,
        ..Default::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files).expect("bindings can be generated");
    let (_, text) = files.iter().next().expect("one file is generated");
    String::from_utf8(text.to_vec()).expect("Rust is UTF-8")
}
