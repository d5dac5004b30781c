//! Tells cargo about the embedded folders, and compiles the engine of rooms in TypeScript where it is embedded.
//!
//! A program for release has the engine in itself. One that is built for development compiles it from its checkout when
//! the first script is built, as most who build it never need it, and it takes minutes.

#[path = "src/script/compile.rs"]
mod compiling;

use std::env;
use std::path::PathBuf;

fn main() {
    let embedded = [
        "build.rs",
        "templates",
        "../sdk/src",
        "../sdk/wit",
        "../rooms-examples/chat/src",
        "../rooms-examples/chat/tests",
        "../rooms-examples/chat/web",
        "../rooms-examples/counter/src",
        "../rooms-examples/counter/tests",
        "../rooms-examples/counter/web",
        "../rooms-examples/chat-ts/src",
        "../rooms-examples/chat-ts/web",
        "../rooms-examples/react-ts/src",
        "../rooms-examples/react-ts/page",
        "../rooms-examples/react-ts/web",
    ];
    for folder in embedded {
        println!("cargo:rerun-if-changed={folder}");
    }
    println!(
        "cargo:rustc-check-cfg=cfg(room_engine, values(\"embedded\", \"checkout\", \"missing\"))"
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    // One folder for all profiles of the program: the engine is the same.
    let target_dir = out
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .unwrap_or(&out)
        .join("engine");
    if env::var_os("PROFILE").is_some_and(|profile| profile == "debug") {
        println!("cargo:rustc-cfg=room_engine=\"checkout\"");
        println!("cargo:rustc-env=ROOM_ENGINE_TARGET={}", target_dir.display());
        return;
    }
    let sources = [
        "src/script/compile.rs",
        "../sdk/engine/Cargo.toml",
        "../sdk/engine/src",
        "../sdk/engine/js/server",
        "../sdk/engine/js/testing",
        "../sdk/engine/js/web",
        "../Cargo.lock",
    ];
    for source in sources {
        println!("cargo:rerun-if-changed={source}");
    }
    let compile = |folder: &str, features: &[&str]| {
        compiling::compile(&PathBuf::from(".."), &target_dir.join(folder), features)
    };
    let tests = compiling::TESTING;
    match compile("", &[]).and_then(|rooms| Ok((rooms, compile(tests, &[tests])?))) {
        Ok((rooms, tests)) => {
            println!("cargo:rustc-cfg=room_engine=\"embedded\"");
            println!("cargo:rustc-env=ROOM_ENGINE={}", rooms.display());
            println!("cargo:rustc-env=ROOM_TESTER={}", tests.display());
        }
        Err(why) => {
            println!("cargo:rustc-cfg=room_engine=\"missing\"");
            println!("cargo:warning=this `room` cannot run rooms in TypeScript: {why}");
            // A file that is never there makes cargo try again at each build: clang may have come.
            println!("cargo:rerun-if-changed=an-engine-that-is-missing");
        }
    }
}
