//! `room new`. Owns where a new project goes.
//!
//! Invariant: nothing that exists is written over. It does not know what the files are; that is
//! `template`.

use crate::args::NewArgs;
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::print::{self, BOLD, GOOD, styled};
use crate::project::shown;
use crate::template::{self, ProjectName, Sdk};
use std::path::Path;
use std::process::ExitCode;

/// Writes the files and says what to do next.
pub(crate) fn run(args: &NewArgs) -> anyhow::Result<ExitCode> {
    let name = name_of(&args.path)?;
    refuse_if_used(&args.path)?;
    let sdk = match &args.sdk {
        Some(path) => Sdk::Folder(sdk_folder(path)?),
        None => Sdk::Copy,
    };
    for file in template::render(args.template, &name, &sdk) {
        let path = args.path.join(&file.path);
        write(&path, &file.content).map_err(|err| {
            Mistake::new(
                Code::NotWritable,
                format_args!("{} cannot be written: {err}", path.display()),
            )
        })?;
    }
    next_steps(&args.path, &name);
    Ok(ExitCode::SUCCESS)
}

/// The last part of the path, as a name.
fn name_of(path: &Path) -> anyhow::Result<ProjectName> {
    let last = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(ProjectName::parse(last)?)
}

/// A folder with something in it is somebody's work.
fn refuse_if_used(path: &Path) -> anyhow::Result<()> {
    let used = match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => path.exists(),
    };
    if !used {
        return Ok(());
    }
    Err(Mistake::new(Code::Exists, format_args!("{} exists and is not empty", path.display()))
        .help("choose another name, or empty the folder first")
        .into())
}

/// The checkout's folder, absolute, as the new project's place says nothing about it.
fn sdk_folder(path: &Path) -> anyhow::Result<String> {
    let no_sdk = || {
        Mistake::new(Code::NotTheSdk, format_args!("{} is not the SDK", path.display()))
            .help("--sdk takes the folder `sdk` of a checkout of room, which has a Cargo.toml")
    };
    let absolute = path.canonicalize().map_err(|_| no_sdk())?;
    let manifest = std::fs::read_to_string(absolute.join("Cargo.toml")).map_err(|_| no_sdk())?;
    if !manifest.contains("name = \"room-sdk\"") {
        return Err(no_sdk().into());
    }
    Ok(absolute.to_str().ok_or_else(no_sdk)?.to_owned())
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, content)
}

fn next_steps(path: &Path, name: &ProjectName) {
    print::talk(format_args!("{} {}", styled(GOOD, "✓ made"), styled(BOLD, name.as_str())));
    print::talk(format_args!("\n  cd {}", shown(path)));
    print::talk("  room dev     # serve it here, reload at every save");
    print::talk("  room test    # run its tests, no server needed\n");
}
