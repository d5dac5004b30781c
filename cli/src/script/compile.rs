//! The compilation of the engine for scripts, from the sources of this repository. Owns the call of cargo for it.
//!
//! Invariant: the compilation does not see the variables that another cargo sets for its own. The build script of this
//! package uses this file, too, so it does not know the program.
//!
//! The engine is a component of its own: the crate `room-engine`, for the target of rooms. Its QuickJS is written in C,
//! which clang compiles. With the feature `testing` it runs tests of rooms in place of rooms.

use std::env;
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target for which guests are compiled.
const TARGET: &str = "wasm32-wasip2";

/// What QuickJS looks for and the C library that comes with it does not have.
const MALLOC_H: &str = "#include <stddef.h>\nsize_t malloc_usable_size(void *);\n";

/// What every file of QuickJS is compiled after.
const BEFORE_QUICKJS_H: &str = include_str!("before-quickjs.h");

/// The feature of the engine that runs tests of rooms.
pub(super) const TESTING: &str = "testing";

/// Returns the place of the engine's component below this target folder.
pub(super) fn component(target_dir: &Path) -> PathBuf {
    target_dir.join(TARGET).join("engine/room_engine.wasm")
}

/// Compiles the engine of the workspace in this folder with these features, and returns its component. Each choice of
/// features has a target folder of its own. It takes a second if nothing changed.
///
/// # Errors
/// The reason: clang, LLVM's archiver or the target is missing, or the compiler's last lines.
pub(super) fn compile(
    workspace: &Path,
    target_dir: &Path,
    features: &[&str],
) -> Result<PathBuf, String> {
    let clang = tool(&["clang".to_owned()])?;
    let archivers: Vec<String> = std::iter::once("llvm-ar".to_owned())
        .chain((14..=24).rev().map(|version| format!("llvm-ar-{version}")))
        .collect();
    let archiver = tool(&archivers)?;
    let manifest = workspace.join("Cargo.toml");
    let headers = target_dir.join("include");
    std::fs::create_dir_all(&headers)
        .and_then(|()| write_if_other(&headers.join("malloc.h"), MALLOC_H))
        .and_then(|()| write_if_other(&headers.join("before-quickjs.h"), BEFORE_QUICKJS_H))
        .map_err(|error| format!("{} cannot be written: {error}", headers.display()))?;
    let quickjs = quickjs(&manifest)?;
    ensure_target()?;
    let mut cargo = nested("cargo");
    cargo.args(["build", "--package", "room-engine", "--lib", "--profile", "engine"]);
    cargo.args(["--features", &features.join(",")]);
    cargo.args(["--target", TARGET]);
    cargo.arg("--manifest-path").arg(&manifest).arg("--target-dir").arg(target_dir);
    cargo.env("RQUICKJS_SYS_NO_WASI_SDK", "1");
    cargo.env("CC_wasm32_wasip2", clang).env("AR_wasm32_wasip2", archiver);
    let mut flags = OsString::from("-nostdlibinc -isystem ");
    flags.push(&headers);
    flags.push(" -isystem ");
    flags.push(quickjs.join("vendor/wasi-libc/include"));
    flags.push(" -isystem ");
    flags.push(quickjs.join("quickjs"));
    flags.push(" -include before-quickjs.h");
    // Cargo sees another flag, and does not see another header.
    let mut header = DefaultHasher::new();
    BEFORE_QUICKJS_H.hash(&mut header);
    flags.push(format!(" -DBEFORE_QUICKJS_H={}", header.finish()));
    cargo.env("CFLAGS_wasm32_wasip2", flags);
    let done = cargo.output().map_err(|error| format!("cargo cannot be run: {error}"))?;
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr);
        let mut last: Vec<&str> =
            words.lines().filter(|line| !line.contains("cargo:")).rev().take(20).collect();
        last.reverse();
        return Err(format!("its engine does not compile: {}", last.join(" | ")));
    }
    Ok(component(target_dir))
}

/// Writes a file unless it has these contents: compilers look at its time.
fn write_if_other(path: &Path, contents: &str) -> std::io::Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|present| present == contents) {
        return Ok(());
    }
    std::fs::write(path, contents)
}

/// Finds the first of some programs that is on the path.
fn tool(names: &[String]) -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = names.iter().find_map(|name| {
        env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
    });
    found.ok_or_else(|| format!("{} is missing (`apt-get install clang llvm`)", names[0]))
}

/// Returns a command that does not inherit what cargo sets for another compilation.
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

/// Returns the folder of the crate with QuickJS.
fn quickjs(manifest: &Path) -> Result<PathBuf, String> {
    let mut command = cargo_metadata::MetadataCommand::new();
    command.manifest_path(manifest);
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
