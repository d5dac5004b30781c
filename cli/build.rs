//! Tells cargo about the embedded folders, and compiles the engine of rooms in TypeScript, which is embedded, too.
//!
//! The engine is a component of its own: the crate `room-engine`, for the target of rooms. Its QuickJS is written in C, so
//! clang compiles it. A machine without clang gets a program without the engine, and a warning.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target for which guests are compiled.
const TARGET: &str = "wasm32-wasip2";

/// What QuickJS looks for and the C library that comes with it does not have.
const MALLOC_H: &str = "#include <stddef.h>\nsize_t malloc_usable_size(void *);\n";

fn main() {
    let embedded = [
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
        "../sdk/engine/Cargo.toml",
        "../sdk/engine/src",
        "../sdk/engine/js/server",
        "../sdk/engine/js/web",
        "../Cargo.lock",
    ];
    for folder in embedded {
        println!("cargo:rerun-if-changed={folder}");
    }
    println!("cargo:rustc-check-cfg=cfg(room_engine)");
    match engine() {
        Ok(path) => {
            println!("cargo:rustc-cfg=room_engine");
            println!("cargo:rustc-env=ROOM_ENGINE={}", path.display());
        }
        Err(why) => {
            println!("cargo:warning=this `room` cannot run rooms in TypeScript: {why}");
            // A file that is never there makes cargo try again at each build: clang may have come.
            println!("cargo:rerun-if-changed=an-engine-that-is-missing");
        }
    }
}

/// Compiles the engine and returns its file.
fn engine() -> Result<PathBuf, String> {
    let clang = tool(&["clang".to_owned()], "clang")?;
    let names: Vec<String> = std::iter::once("llvm-ar".to_owned())
        .chain((14..=24).rev().map(|n| format!("llvm-ar-{n}")))
        .collect();
    let archiver = tool(&names, "llvm")?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    // One folder for all profiles of the program: the engine is the same.
    let target_dir = out
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .unwrap_or(&out)
        .join("engine");
    let headers = out.join("include");
    std::fs::create_dir_all(&headers)
        .and_then(|()| std::fs::write(headers.join("malloc.h"), MALLOC_H))
        .map_err(|error| format!("{} cannot be written: {error}", headers.display()))?;
    let library = quickjs()?.join("vendor/wasi-libc/include");
    ensure_target()?;
    let mut cargo = nested("cargo");
    cargo.args([
        "build",
        "--package",
        "room-engine",
        "--lib",
        "--profile",
        "engine",
        "--target",
        TARGET,
    ]);
    cargo.arg("--manifest-path").arg("../Cargo.toml").arg("--target-dir").arg(&target_dir);
    cargo.env("RQUICKJS_SYS_NO_WASI_SDK", "1");
    cargo.env("CC_wasm32_wasip2", clang).env("AR_wasm32_wasip2", archiver);
    let mut flags = OsString::from("-nostdlibinc -isystem ");
    flags.push(&headers);
    flags.push(" -isystem ");
    flags.push(&library);
    cargo.env("CFLAGS_wasm32_wasip2", flags);
    let done = cargo.output().map_err(|error| format!("cargo cannot be run: {error}"))?;
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr);
        let last: Vec<&str> =
            words.lines().filter(|line| !line.contains("cargo:")).rev().take(20).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        return Err(format!("its engine does not compile: {}", last.join(" | ")));
    }
    Ok(target_dir.join(TARGET).join("engine/room_engine.wasm"))
}

/// The first of some programs that is on the path.
fn tool(names: &[String], package: &str) -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = names.iter().find_map(|name| {
        env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
    });
    found.ok_or_else(|| {
        format!(
            "{} is missing: `apt-get install clang llvm`, and build again ({package})",
            names[0]
        )
    })
}

/// A command that does not inherit what cargo sets for this build.
fn nested(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let kept = ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_OFFLINE"].contains(&text.as_ref());
        let of_cargo =
            text.starts_with("CARGO") || text.starts_with("RUSTC") || text == "RUSTFLAGS";
        let of_build =
            ["OUT_DIR", "TARGET", "HOST", "PROFILE", "OPT_LEVEL", "DEBUG"].contains(&text.as_ref());
        if (of_cargo && !kept) || of_build {
            command.env_remove(&name);
        }
    }
    command
}

/// The folder of the crate with QuickJS.
fn quickjs() -> Result<PathBuf, String> {
    let mut command = cargo_metadata::MetadataCommand::new();
    command.manifest_path("../Cargo.toml");
    let metadata =
        command.exec().map_err(|error| format!("cargo cannot list its packages: {error}"))?;
    let package = metadata.packages.iter().find(|package| package.name == "rquickjs-sys");
    let package = package.ok_or("rquickjs-sys is not among the packages")?;
    Ok(package.manifest_path.as_std_path().parent().unwrap_or(Path::new(".")).to_owned())
}

/// Adds the target for guests, if the toolchain does not have it.
fn ensure_target() -> Result<(), String> {
    let printed = nested("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let printed = printed.map_err(|error| format!("rustc cannot be run: {error}"))?;
    if Path::new(String::from_utf8_lossy(&printed.stdout).trim()).is_dir() {
        return Ok(());
    }
    let added = nested("rustup").args(["target", "add", TARGET]).output();
    match added {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(format!(
            "the target {TARGET} cannot be added: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        )),
        Err(error) => {
            Err(format!("the target {TARGET} is missing, and rustup cannot be run: {error}"))
        }
    }
}
