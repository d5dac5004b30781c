//! `room new`. Owns the place of a new project.
//!
//! Invariant: it overwrites no file. It does not know what the files are; that is `template`.

use crate::args::{NewArgs, TemplateName};
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::print::{self, BOLD, DIM, GOOD, styled};
use crate::project::shown;
use crate::template::{self, Home, ProjectName, Sdk, VENDORED};
use crate::workspace::{Workspace, relative};
use std::path::Path;
use std::process::ExitCode;

/// Writes the files and prints the next steps.
pub(crate) fn run(args: &NewArgs) -> anyhow::Result<ExitCode> {
    let name = name_of(&args.path, args.template)?;
    refuse_if_used(&args.path)?;
    let is_script = template::is_script(args.template);
    let workspace = if is_script { None } else { Workspace::of(&args.path) };
    let home = if workspace.is_some() { Home::Member } else { Home::Alone };
    let sdk = match (&args.sdk, &workspace) {
        (Some(path), _) => Sdk::Folder(sdk_folder(path)?),
        (None, Some(workspace)) => share_sdk(&args.path, workspace)?,
        (None, None) => Sdk::Copy,
    };
    for file in template::render(args.template, &name, &sdk, home) {
        put(&args.path.join(&file.path), &file.content)?;
    }
    if let Some(Workspace { root, .. }) = &workspace {
        let text = format!("it is a member of the workspace in {}", shown(root));
        print::talk(styled(DIM, text));
    }
    next_steps(&args.path, &name, is_script);
    Ok(ExitCode::SUCCESS)
}

/// Returns the last part of the path, as a name; for a path such as `.` that of the folder it names.
fn name_of(path: &Path, template: TemplateName) -> anyhow::Result<ProjectName> {
    let here = path.canonicalize().ok();
    let named = path.file_name().or_else(|| here.as_ref()?.file_name());
    let last = named.and_then(|name| name.to_str()).unwrap_or_default();
    Ok(ProjectName::of(last, template)?)
}

/// Refuses a folder with files in it: they are somebody's work.
fn refuse_if_used(path: &Path) -> anyhow::Result<()> {
    let used = match std::fs::read_dir(path) {
        // Many projects start in an empty repository.
        Ok(entries) => entries.flatten().any(|entry| entry.file_name() != ".git"),
        Err(_) => path.exists(),
    };
    if !used {
        return Ok(());
    }
    Err(Mistake::new(Code::Exists, format_args!("{} exists and is not empty", path.display()))
        .help("choose another name, or empty the folder first")
        .into())
}

/// Returns the checkout's folder as an absolute path, which holds wherever the new project lies.
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

/// Returns the SDK of a workspace's members: the one its manifest names, or one copy for all of them.
pub(super) fn share_sdk(dir: &Path, workspace: &Workspace) -> anyhow::Result<Sdk> {
    if workspace.has_sdk {
        return Ok(Sdk::Inherited);
    }
    let copy = workspace.root.join(VENDORED);
    if !copy.join("Cargo.toml").exists() {
        for file in template::vendored() {
            put(&workspace.root.join(&file.path), &file.content)?;
        }
    }
    Ok(Sdk::Folder(relative(dir, &copy)))
}

fn put(path: &Path, content: &[u8]) -> Result<(), Mistake> {
    let parent = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    parent.and_then(|()| std::fs::write(path, content)).map_err(|err| {
        Mistake::new(Code::NotWritable, format_args!("{} cannot be written: {err}", path.display()))
    })
}

fn next_steps(path: &Path, name: &ProjectName, is_script: bool) {
    print::talk(format_args!("{} {}", styled(GOOD, "✓ made"), styled(BOLD, name.as_str())));
    let is_here = path.canonicalize().ok() == std::env::current_dir().ok();
    let step = if is_here { String::new() } else { format!("\n  cd {}", shown(path)) };
    print::talk(step);
    let install = if is_script { "install its npm packages, " } else { "" };
    print::talk(format_args!("  room dev     # {install}serve it here, reload at every save"));
    print::talk("  room test    # run its tests, no server needed\n");
}
